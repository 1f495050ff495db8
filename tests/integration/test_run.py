# SPDX-License-Identifier: Apache-2.0
"""run: the container a step gets, and how a step may end."""
import os
import socket
import subprocess

import pytest
from harness import PATIENCE, SANITIZED, assert_says, copy, prints, run, stage, until

B = "file busybox.tar"


@pytest.fixture(name="place")
def fixture_place_with_base(place):
    place.base("busybox.tar")
    place.base("scratch.tar")
    return place


def printed(daemon, command, **fields):
    """What a command prints, line by line."""
    image = daemon.build(stage(B, run("(%s) > /printed 2>&1" % command, **fields)))
    return image.read("/printed").decode(errors="replace").splitlines()


# ---- the container ---------------------------------------------------------------------

def test_fresh_kernel_file_systems(daemon):
    mounts = printed(daemon, "cat /proc/self/mounts")
    kinds = {line.split()[1]: line.split()[2] for line in mounts}
    assert kinds["/proc"] == "proc" and kinds["/sys"] == "sysfs" and kinds["/dev"] == "tmpfs" and kinds["/dev/pts"] == "devpts"
    assert "/etc/resolv.conf" in kinds and "/etc/hosts" in kinds


def test_devices(daemon):
    lines = printed(daemon, "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; test -L /dev/fd || echo no fd; echo x > /dev/null; "
                            "mknod /tmp/sda b 8 0 && cat /tmp/sda > /dev/null; ls /dev | wc -l")
    assert not [line for line in lines if line.startswith("no ")]
    assert any("mknod" in line or "cat" in line for line in lines), "a block device was opened: %s" % lines


def test_default_capabilities_and_filters(daemon):
    status = dict(line.split(":\t", 1) for line in printed(daemon, "cat /proc/self/status") if ":\t" in line)
    effective = int(status["CapEff"], 16)
    assert not effective >> 21 & 1, "CAP_SYS_ADMIN"
    assert not effective >> 12 & 1, "CAP_NET_ADMIN"
    assert not effective >> 16 & 1, "CAP_SYS_MODULE"
    assert effective >> 0 & 1 and effective >> 7 & 1, "chown and setuid belong to a build"
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "0", "su must work in a run"


def test_masked_and_read_only_paths(daemon):
    lines = printed(daemon, "head -c 1 /proc/kcore 2> /dev/null | wc -c; echo x > /proc/sys/kernel/hostname; echo x > /sys/kernel/mm/ksm/run; mount -t tmpfs x /mnt; echo $?; unshare -m true; echo $?")
    assert lines[0] == "0"
    assert lines[-1] != "0"
    assert any("mount" in line for line in lines)


def test_namespaces(daemon):
    lines = printed(daemon, "echo $$; ls -d /proc/[0-9]* | wc -l; hostname")
    assert int(lines[0]) < 10 and int(lines[1]) < 10
    assert lines[2] != socket.gethostname()


def test_hosts_network_and_resolver(daemon):
    ours = sorted(os.listdir("/sys/class/net"))
    assert sorted(printed(daemon, "ls /sys/class/net")) == ours
    with open("/etc/resolv.conf", encoding="utf-8") as f:
        assert printed(daemon, "cat /etc/resolv.conf") == f.read().splitlines()
    assert any("localhost" in line for line in printed(daemon, "cat /etc/hosts"))


def test_nothing_of_the_container_stays_in_the_image(daemon):
    image = daemon.build(stage(B, run("echo own > /own; ls /dev /proc /sys > /dev/null; echo name x >> /etc/hosts; echo x >> /etc/resolv.conf")))
    assert image.names() == ["/own"]


def test_a_base_without_mount_points(daemon, place):
    """Not even /etc, /dev or /proc are there; afterwards neither."""
    image = daemon.build(stage(B, name="b", transient=True), stage("file scratch.tar", copy("b:/bin/busybox /sh"), run("echo hi > /hi", shell="/sh")))
    assert sorted(image.files) == ["/hi", "/sh"]


def test_environment(daemon):
    lines = printed(daemon, "env", env={"A": "x y\tz", "B": "", "UML": "\u00e4"})
    assert "A=x y\tz" in lines and "B=" in lines and "UML=\u00e4" in lines
    assert any(line.startswith("PATH=/") for line in lines) and "HOME=/root" in lines
    assert not [line for line in lines if "CRUXD" in line or "CX_" in line]


def test_user_of_the_image(daemon, place):
    first = daemon.build(stage(B, run("chmod 777 /tmp")), output=str(place.context / "first"))
    assert first
    from test_build import busybox_layer
    from harness import image_file
    base = image_file.Image(config={"User": "nobody"})
    base.diffs, base.blobs = busybox_layer(place)
    base.config["rootfs"]["diff_ids"] = base.diffs
    base.config["history"] = [{}]
    image = daemon.build(stage(place.image("user.tar", base), run("id -u > /tmp/id; touch /root/x 2> /tmp/denied || true")))
    assert image.read("/tmp/id") == b"65534\n" and b"denied" in image.read("/tmp/denied").lower()
    assert image.files["/tmp/id"].info.uid == 65534


def test_stdin_is_empty(daemon):
    assert printed(daemon, "wc -c") == ["0"]


def test_no_descriptors_leak_in(daemon):
    assert sorted(line for line in printed(daemon, "ls /proc/self/fd")) in (["0", "1", "2", "3"], ["0", "1", "2"])


def test_setuid_programs_may_work(daemon):
    image = daemon.build(stage(B, run("cp /bin/busybox /bin/my-su; chmod 4755 /bin/my-su; grep ' / ' /proc/self/mounts > /mount")))
    assert image.files["/bin/my-su"].info.mode == 0o4755
    assert b"nosuid" not in image.read("/mount") and b"noexec" not in image.read("/mount")


# ---- how it ends --------------------------------------------------------------------------

@pytest.mark.parametrize("command,words", [
    ("exit 3", ["command failed: exit code 3: "]),
    ("echo out; echo because >&2; exit 4", ["command failed: exit code 4: ", "because"]),
    ("echo only stdout; exit 5", ["command failed: exit code 5: ", "only stdout"]),
    ("nosuchprogram", ["command failed: exit code 127: ", "nosuchprogram"]),
    ("sh -c 'kill -9 $$'; exit $?", ["command failed: exit code 137: "]),
    (r"printf 'caf\303\251 \377\376 x' >&2; exit 1", ["command failed: exit code 1: caf\u00e9 \ufffd"]),
    ("printf 'one\\ntwo\\nthree\\n' >&2; exit 1", ["three"]),
    ("(echo if; syntax", ["command failed: exit code 2: "]),
], ids=lambda value: value.replace(" ", "-")[:20] if isinstance(value, str) else "")
def test_failures(daemon, command, words):
    message = daemon.refuse(stage(B, run(command), name="app"))
    assert_says(message, 'stage "app": step 1: ', *words)


def test_killed_from_outside(place, daemon):
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage(B, run("echo up; exec sleep 1000")), stream=True))
        connection.wait_event(prints("up"))
        until(lambda: in_containers(place, "sleep"), "it sleeps")
        os.kill(in_containers(place, "sleep")[0], 9)
        answer = connection.answer()
    assert answer["command"] == "error"
    assert_says(answer["payload"]["message"], "command failed: ", "signal 9")


def test_shell_that_is_not_there(daemon):
    message = daemon.refuse(stage(B, run("true", shell="/bin/nosuchshell")))
    assert_says(message, "/bin/nosuchshell")
    assert_says(daemon.refuse(stage("file scratch.tar", run("true"))), "/bin/sh")


def test_output_of_any_length(daemon, place):
    """1 GB goes by: the tail is in the message, the whole is in the log, memory stays flat."""
    megabytes = 100 if SANITIZED else 1000
    daemon.reset_peak()
    before = daemon.peak_kib()
    message = daemon.refuse(stage(B, run("yes 0123456789abcdef | head -c %d; echo the end; exit 1" % (megabytes << 20))))
    assert_says(message, "the end")
    assert len(message) < 3000
    assert daemon.peak_kib() - before < 32 << 10


def test_full_log_is_kept(daemon, place):
    message = daemon.refuse(stage(B, run("i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done; exit 1")))
    path = next(word.strip("[]") for word in message.split() if word.strip("[]").startswith(str(place.root)))
    with open(path, encoding="utf-8") as log:
        assert log.read().count("\n") == 10000


def test_children_that_outlive_it(daemon):
    image = daemon.build(stage(B, run("(sleep 1000; echo late > /late) & (setsid sleep 1000 > /dev/null 2>&1 &) ; echo done > /done")))
    assert image.read("/done") == b"done\n" and "/late" not in image.files


def test_memory_limit(place):
    daemon = place.daemon("--step-memory", 64 << 20)
    message = daemon.refuse(stage(B, run("tail -c 1000000000 /dev/zero | tail -c 1")))
    assert_says(message, "memory")
    assert_says(message, "64")
    assert daemon.build(stage(B, run("echo small > /x"))).read("/x") == b"small\n"


def test_process_limit(place):
    daemon = place.daemon("--step-pids", 20)
    message = daemon.refuse(stage(B, run("i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo all; exit 0")))
    assert_says(message, "fork")


def test_fork_bomb_is_ended_with_the_step(place):
    daemon = place.daemon("--step-pids", 64)
    try:
        daemon.build(stage(B, run("b() { b | b & }; b; exit 1")))
    except Exception as error:
        assert_says(str(error), "exit code")
    assert daemon.status()["running"]


# ---- cancellation: the peer is gone -----------------------------------------------------------

@pytest.mark.parametrize("command", ["sleep 1000", "trap '' TERM INT HUP; while :; do sleep 1000; done", "yes", "sleep 1000 & sleep 1000 & wait"])
def test_cancelled_within_two_seconds(place, daemon, command):
    marker = "echo begun-%s; " % place.instance
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage(B, run(marker + command)), stream=True))
        connection.wait_event(prints("begun-" + place.instance))
    until(lambda: not in_containers(place) and not place.unfinished(), "the step ended and left nothing", 2)
    assert daemon.status()["builds"] == 0


def in_containers(place, *names):
    """Processes of steps: those that see our files and bear such names."""
    result = []
    for pid in place.processes():
        try:
            with open("/proc/%d/comm" % pid, encoding="utf-8") as f:
                if f.read().strip() in (names or ("sh", "sleep", "yes", "busybox")):
                    result.append(pid)
        except OSError:
            pass
    return result


def test_cancelled_client_program(place):
    """Ctrl-C on a command that runs its own daemon."""
    place.write("crucible.yaml", "version: 0\nresource: {type: runtime, name: a/b, version: 1.0.0}\nstages:\n  - from: file busybox.tar\n    steps:\n      - run: echo begun; sleep 1000\n")

    process = subprocess.Popen(place.command("build", "--progress", "plain", "-o", place.out, "."),
                               cwd=place.context, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "begun" in line and "echo" not in line:
            break
    process.send_signal(2)
    process.stdout.read()
    assert process.wait(PATIENCE) != 0
    until(lambda: not place.processes(), "nothing is left", 5)


def test_killed_client_program(place):
    """kill -9 of the client: its private daemon ends by itself."""
    place.write("crucible.yaml", "version: 0\nresource: {type: runtime, name: a/b, version: 1.0.0}\nstages:\n  - from: file busybox.tar\n    steps:\n      - run: echo begun; sleep 1000\n")

    process = subprocess.Popen(place.command("build", "--progress", "plain", "-o", place.out, "."),
                               cwd=place.context, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "begun" in line and "echo" not in line:
            break
    process.kill()
    process.wait()
    process.stdout.read()
    until(lambda: not place.processes(), "nothing is left", 10)


def test_one_of_two_is_cancelled(place, daemon):
    """Equal steps run once; who stays gets the result."""
    step = run("echo begun-%s; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo x > /x" % place.instance)
    with daemon.connect() as stays, daemon.connect() as leaves:
        stays.send(daemon.build_request(stage(B, step), stream=True, output=str(place.path / "o1")))
        stays.wait_event(prints("begun-"))
        leaves.send(daemon.build_request(stage(B, step), stream=True, output=str(place.path / "o2")))
        leaves.close()
        assert stays.answer()["command"] == "ok"
    assert (place.path / "o1" / "image.tar").exists()


def test_equal_steps_of_two_builds_run_once(place, daemon):
    place.write("a")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        server.settimeout(PATIENCE)
        step = run("echo hello | nc 127.0.0.1 %d > /reply" % server.getsockname()[1])
        with daemon.connect() as one, daemon.connect() as two:
            one.send(daemon.build_request(stage(B, step), output=str(place.path / "o1"), stream=True))
            client, _ = server.accept()
            two.send(daemon.build_request(stage(B, step), output=str(place.path / "o2"), stream=True))
            two.wait_event(lambda event: event["type"] == "step-started" and "nc 127.0.0.1" in event["title"])
            client.sendall(b"reply\n")
            client.close()
            assert one.answer()["command"] == "ok"
            server.settimeout(0.01)
            with pytest.raises(TimeoutError):
                server.accept()
            assert two.answer()["command"] == "ok"
    assert (place.path / "o1" / "image.tar").read_bytes() == (place.path / "o2" / "image.tar").read_bytes()


# ---- the runtime -----------------------------------------------------------------------------------

def test_runtime_that_is_not_there(place):
    daemon = place.daemon("--runtime", "/nonexistent/crun", wait=False)
    assert daemon.wait() == 1
    line = daemon.log().strip().splitlines()[-1]
    assert_says(line, "error: ", "/nonexistent/crun")


def test_no_runtime_at_all(place):
    """Copies work all the same; a run says what is missing."""
    daemon = place.daemon(env={"PATH": "/nonexistent"})
    place.write("a", "A")
    daemon.build(stage("file scratch.tar", copy("a /a")), output=str(place.path / "o"))
    assert_says(daemon.refuse(stage(B, run("true"))), "crun")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_runtimes(place, runtime):
    daemon = place.daemon("--runtime", runtime)
    assert daemon.build(stage(B, run("echo hi > /hi"))).read("/hi") == b"hi\n"
    assert_says(daemon.refuse(stage(B, run("echo no >&2; exit 7"))), "exit code 7", "no")


@pytest.mark.parametrize("engine", ["erofs", "unpacked"])
def test_snapshotters(place, engine):
    daemon = place.daemon("--snapshotter", engine)
    image = daemon.build(stage(B, run("cat /etc/passwd > /p; rm /etc/group"), run("ls /etc > /etc/list")))
    assert b"root" in image.read("/p") and b"group" not in image.read("/etc/list")


def test_snapshotters_agree(place):
    images = []
    for engine in ("erofs", "unpacked"):
        daemon = place.daemon("--snapshotter", engine, name=engine[0])
        images.append(daemon.build(stage(B, run("rm -r /root; mkdir /root; echo x > /root/x; rm /etc/group; ln /etc/passwd /etc/pw2")), output=str(place.path / engine)).digest)
    assert images[0] == images[1]


