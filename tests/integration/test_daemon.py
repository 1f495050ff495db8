# SPDX-License-Identifier: Apache-2.0
"""Start, readiness, stop (spec/daemon.md §1, §2)."""
import grp
import os
import re
import signal
import socket
import stat

import pytest
from harness import Connection, assert_clear, copy, prints, run, stage


def refused(daemon):
    """A daemon that would not start: its last line."""
    assert daemon.wait() == 1
    lines = daemon.log().strip().splitlines()
    assert lines[-1].startswith("error: "), daemon.log()
    assert_clear(lines[-1][len("error: "):])
    return lines[-1]


def test_ready_line_and_status(daemon):
    assert daemon.ready_line == b'{"version":0,"command":"ok"}\n'
    status = daemon.status()
    assert status["running"] is True
    assert status["pid"] == daemon.process.pid
    assert status["builds"] == 0
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", status["uptime"])
    assert status["version"]


def test_version_is_the_same_everywhere(daemon, place):
    assert place.cli("version", ok=True).stdout == daemon.status()["version"] + "\n"


def test_socket_and_pid_file(daemon):
    assert stat.S_ISSOCK(daemon.socket_path.stat().st_mode)
    assert stat.S_IMODE(daemon.socket_path.stat().st_mode) == 0o660
    assert daemon.pid_path.read_text().strip() == str(daemon.process.pid)


def test_group_of_the_socket(daemon):
    try:
        group = grp.getgrnam("cruxd").gr_gid
    except KeyError:
        assert "owner only" in daemon.log()
    else:
        assert daemon.socket_path.stat().st_gid == group


def test_store_is_private(daemon):
    assert stat.S_IMODE(daemon.root.stat().st_mode) == 0o700


def test_socket_folder_is_made(place):
    place.daemon(flags=["-s", place.path / "deep" / "er" / "sock"])
    with Connection(place.path / "deep" / "er" / "sock") as connection:
        assert connection.send({"command": "status"}).answer()["command"] == "ok"
    assert stat.S_IMODE((place.path / "deep").stat().st_mode) == 0o755


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "shutdown"])
def test_stop(place, daemon, how):
    if how == "shutdown":
        assert daemon.ask("shutdown") == {"version": 0, "command": "ok"}
    else:
        daemon.process.send_signal(how)
    assert daemon.wait() == 0
    assert not daemon.socket_path.exists() and not daemon.pid_path.exists()


def test_stop_cancels_builds(place, daemon):
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage(place.base("busybox.tar"), run("echo up; sleep 1000")), stream=True))
        connection.wait_event(prints("up"))
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
    place.check()


def test_live_socket_is_not_stolen(place, daemon):
    line = refused(place.daemon(flags=["-s", daemon.socket_path, "--root", place.path / "other"], name="b", wait=False))
    assert str(daemon.socket_path) in line
    assert daemon.status()["running"]
    assert daemon.pid_path.exists()


def test_two_daemons_on_one_root(place, daemon):
    line = refused(place.daemon(name="b", root=daemon.root, wait=False))
    assert str(daemon.root) in line
    assert not (place.path / "sockb").exists()
    daemon.build(stage(place.base("scratch.tar"), copy("scratch.tar /x")))


def test_stale_socket(place):
    first = place.daemon()
    first.kill()
    assert first.socket_path.exists()
    assert place.daemon().status()["running"]


def test_foreign_file_at_the_socket_path(place):
    (place.path / "sock").write_text("precious")
    refused(place.daemon(wait=False))
    assert (place.path / "sock").read_text() == "precious"
    (place.path / "sock").unlink()


def test_instances_side_by_side(place):
    first, second = place.daemon(name="a"), place.daemon(name="b")
    place.base("busybox.tar")
    for daemon in (first, second):
        daemon.build(stage("file busybox.tar", run("echo hi > /hi")), output=str(place.path / ("out" + daemon.instance)))
    first.stop()
    assert second.status()["builds"] == 1


def test_pid_file_is_not_vital(place):
    daemon = place.daemon(flags=["--pid-file", "/proc/none/pid"])
    assert daemon.status()["running"]


def test_works_without_ready_fd(place):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(place.path / "notify"))
    notify.settimeout(60)
    daemon = place.daemon(ready_fd=False, wait=False, env={"NOTIFY_SOCKET": place.path / "notify"})
    assert b"READY=1" in notify.recv(4096).split(b"\n")
    assert daemon.status()["running"]
    notify.close()


def test_log_levels(place):
    quiet = place.daemon(flags=["-q"], name="q")
    quiet.stop()
    loud = place.daemon(flags=["-d", "-v"], name="d")
    loud.stop()
    assert len(quiet.log().splitlines()) < len(loud.log().splitlines())
    assert "\x1b[" not in loud.log()


def test_root_that_is_no_folder(place):
    (place.path / "file").write_text("")
    assert str(place.path / "file") in refused(place.daemon(root=place.path / "file", wait=False))


def test_nothing_is_inherited(daemon):
    """Descriptors: nothing of the parent's stays open but stdio."""
    links = [os.readlink("/proc/%d/fd/%s" % (daemon.process.pid, fd)) for fd in os.listdir("/proc/%d/fd" % daemon.process.pid)]
    assert not [link for link in links if link.startswith("pipe:") and links.count(link) < 2], links
