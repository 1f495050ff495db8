# SPDX-License-Identifier: Apache-2.0
"""The real program under test: a place for its files, daemons, the wire, the command line, and what may never be left behind."""
import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
import image_file  # noqa: E402
from built_image import BuiltImage  # noqa: E402

PROGRAM = os.environ.get("CRUXD", str(TOP / "build" / "cruxd"))
SANITIZED = "asan" in PROGRAM
PATIENCE = 60
NOBODY = 65534


def until(condition, what, seconds=PATIENCE):
    """Waits until condition() holds, for things that nobody announces (a kernel object that goes away)."""
    deadline = time.monotonic() + seconds
    idle = select.poll()
    while not condition():
        assert time.monotonic() < deadline, "still not so after %d s: %s" % (seconds, what)
        idle.poll(5)


def wait_readable(fd, what, seconds=PATIENCE):
    assert select.select([fd], [], [], seconds)[0], "nothing came: %s" % what


class Place:
    """A folder of a test's own: store, socket, context and output.  check() says what was left behind."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="cx."))
        self.path.chmod(0o755)
        self.root = self.path / "root"
        self.context = self.path / "ctx"
        self.out = self.path / "out"
        self.context.mkdir()
        self.instance = "t" + secrets.token_hex(4)
        self.daemons = []
        self.bases = None
        self.older_cgroups, self.older_instances = all_cgroups(), all_instances()

    def write(self, name, content="", mode=None):
        """A file of the context."""
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    def base(self, name):
        """A base image into the context; a copy, so a test may change it."""
        shutil.copyfile(self.bases / name, self.context / name)
        return "file " + name

    def image(self, name, image, **how):
        image_file.write_archive(str(self.context / name), image_file.layout_files([image], **how))
        return "file " + name

    def environment(self, **changes):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("CRUXD", "CX_", "NOTIFY_", "SOURCE_DATE", "PYTEST"))}
        keep.update({"CRUXD_TEST_PLACE": str(self.path), "LC_ALL": "C"})
        keep.update({k: str(v) for k, v in changes.items() if v is not None})
        return keep

    def cli(self, *arguments, env=None, cwd=None, user=None, ok=None, text=True, stdin=subprocess.DEVNULL):
        """One command: to the place's daemon if it has one, else with a private daemon on the place's store."""
        result = subprocess.run(self.command(*arguments), cwd=cwd or self.context, env=self.environment(**(env or {})),
                                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, errors="replace" if text else None,
                                timeout=PATIENCE, user=user, group=user, extra_groups=[] if user else None, check=False)
        if ok is not None:
            assert (result.returncode == 0) == ok, (result.returncode, result.stdout, result.stderr)
        return result

    def command(self, *arguments):
        where = ["-s", self.path / "sock"] if self.daemons else ["--root", self.root, "--instance", self.instance]
        return [str(word) for word in (PROGRAM, *where, *arguments)]

    def daemon(self, *arguments, **options):
        daemon = Daemon(self, *arguments, **options)
        self.daemons.append(daemon)
        return daemon

    # ---- what must not be left ------------------------------------------------

    def processes(self):
        """Processes that carry our mark or see our files."""
        found = []
        mark = str(self.path).encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                for name in ("environ", "cmdline", "mountinfo"):
                    try:
                        with open("/proc/%s/%s" % (entry, name), "rb") as f:
                            if mark in f.read():
                                found.append(int(entry))
                                break
                    except OSError:
                        pass
        return [pid for pid in found if not is_zombie(pid)]

    def cgroups(self):
        """Control groups of our instances, and of private daemons that died since the test began."""
        return [group for group in all_cgroups() if self.instance in group or group not in self.older_cgroups and of_the_dead(group)]

    def instances(self):
        return [name for name in all_instances() if self.instance in name or name not in self.older_instances and of_the_dead(name)]

    def mounts(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            return [line for line in f if str(self.path) in line]

    def unfinished(self):
        """Files where only unfinished things live, and half-written archives."""
        found = []
        for root in {self.root, *[daemon.root for daemon in self.daemons]}:
            if (root / "tmp").is_dir():
                found += [str(p) for p in (root / "tmp").iterdir()]
        if self.out.is_dir():
            found += [str(p) for p in self.out.rglob("*") if p.is_file() and p.name != "image.tar"]
        return found

    def check(self):
        for daemon in self.daemons:
            daemon.stop()
        until(lambda: not self.processes(), "no process left: %s" % describe(self.processes()), 10)
        assert not self.mounts()
        assert not self.unfinished()
        assert not self.cgroups()
        assert not self.instances()
        assert not (self.path / "sock").exists()
        assert not (self.path / "pid").exists()

    def remove(self):
        for daemon in self.daemons:
            daemon.kill()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes(), "killed processes end", 10)
        for line in reversed(self.mounts()):
            subprocess.run(["umount", "-l", line.split()[4]], check=False)
        for group in sorted(self.cgroups(), reverse=True):
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # check() has said what was wrong; the rest goes all the same
                    os.rmdir(folder)
        for name in self.instances():
            shutil.rmtree("/run/cruxd/instances/" + name, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)


def all_cgroups():
    return [os.path.join(folder, d) for folder, folders, _ in os.walk("/sys/fs/cgroup") for d in folders if d.startswith("cruxd-")]


def of_the_dead(name):
    """Whether this is a private daemon's, which bears its PID, and that one is gone."""
    found = re.search(r"\bprivate-(\d+)$", name)
    return found is not None and not os.path.exists("/proc/" + found.group(1))


def all_instances():
    return os.listdir("/run/cruxd/instances") if os.path.isdir("/run/cruxd/instances") else []


def is_zombie(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def describe(pids):
    result = []
    for pid in pids:
        try:
            result.append("%d %s" % (pid, Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ").decode(errors="replace")))
        except OSError:
            pass
    return result


# ---- recipes ----------------------------------------------------------------------

def stage(source, *steps, **fields):
    return {"from": source, "steps": list(steps), **fields}


def run(command, **fields):
    return {"run": command, **fields}


def copy(what, **fields):
    return {"copy": what, **fields}


def recipe(*stages):
    return {"stages": list(stages)}


class BuildError(Exception):
    pass


# ---- the wire -----------------------------------------------------------------------

class Connection:
    """One connection.  send() takes bytes, text or an envelope; answer() reads lines until ok or error."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.events = []
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, message):
        if isinstance(message, dict):
            message = json.dumps(message) + "\n"
        self.socket.sendall(message if isinstance(message, bytes) else message.encode())
        return self

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def line(self):
        """The next line, or None at the end."""
        while b"\n" not in self.rest:
            data = self.socket.recv(65536)
            if not data:
                assert not self.rest, "half a line: %r" % self.rest
                return None
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line.decode())

    def answer(self):
        while True:
            line = self.line()
            if line is None:
                return None
            assert line["version"] == 0
            if line["command"] != "event":
                return line
            self.events.append(line["payload"])

    def wait_event(self, accept):
        """Reads on until an event that accept() likes."""
        while True:
            line = self.line()
            assert line is not None and line["command"] == "event", "no such event before %r" % line
            self.events.append(line["payload"])
            if accept(line["payload"]):
                return line["payload"]

    def close(self):
        self.socket.close()


class Daemon:
    """`cruxd start` as a child, ready when the constructor returns."""

    def __init__(self, place, *arguments, flags=(), name="", env=None, root=None, wait=True, ready_fd=True, preexec=None):
        self.place = place
        self.socket_path = place.path / ("sock" + name)
        self.pid_path = place.path / ("pid" + name)
        self.log_path = place.path / ("log" + name)
        self.root = root or Path(str(place.root) + name)
        self.instance = place.instance + name
        command = [PROGRAM, "--root", self.root, "--instance", self.instance, "-s", self.socket_path, "--pid-file", self.pid_path]
        ready, writer = os.pipe()
        if ready_fd:
            command += ["--ready-fd", writer]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*map(str, command), *map(str, flags), "start", *map(str, arguments)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, pass_fds=[writer], env=place.environment(**(env or {})), preexec_fn=preexec)
        os.close(writer)
        self.ready_line = None
        if wait:
            wait_readable(ready, "readiness; log: %s" % self.log())
            self.ready_line = os.read(ready, 4096)
            assert self.ready_line, "the daemon did not start: %s" % self.log()
        os.close(ready)
        self.stopped = False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self):
        return Connection(self.socket_path)

    def ask(self, command, payload=None, **envelope):
        """One request, its answer."""
        message = {"version": 0, "command": command, **envelope}
        if payload is not None:
            message["payload"] = payload
        with self.connect() as connection:
            return connection.send(message).answer()

    def status(self):
        answer = self.ask("status")
        assert answer["command"] == "ok", answer
        return answer["payload"]

    def build_request(self, *stages, stream=False, **payload):
        fields = {"recipe": recipe(*stages), "resource": "test/thing", "root": str(self.place.context), "output": str(self.place.out)}
        fields.update(payload)
        return {"version": 0, "command": "build", "stream": stream, "payload": {k: v for k, v in fields.items() if v is not None}}

    def build(self, *stages, **payload):
        """Builds and gives the one image that came out; BuildError with the message."""
        with self.connect() as connection:
            answer = connection.send(self.build_request(*stages, **payload)).answer()
        assert answer is not None, "no answer; log: %s" % self.log()
        if answer["command"] != "ok":
            raise BuildError(answer["payload"]["message"])
        output = answer["payload"]["output"]
        assert output == str(payload.get("output", self.place.out))
        return BuiltImage(os.path.join(output, "image.tar")) if os.path.exists(os.path.join(output, "image.tar")) else output

    def refuse(self, *stages, **payload):
        """Builds what cannot be built: gives the one clear line, and sees that the daemon is well and nothing was written."""
        existing = sorted(self.place.out.rglob("*")) if self.place.out.exists() else None
        try:
            self.build(*stages, **payload)
        except BuildError as error:
            message = str(error)
        else:
            raise AssertionError("this was built")
        assert_clear(message)
        assert existing == (sorted(self.place.out.rglob("*")) if self.place.out.exists() else None) or not list(self.place.out.rglob("*"))
        assert not self.place.unfinished()
        assert self.status()["running"] is True
        return message

    def streamed(self, *stages, **payload):
        """Builds with progress: events, answer."""
        with self.connect() as connection:
            answer = connection.send(self.build_request(*stages, stream=True, **payload)).answer()
            return connection.events, answer

    def peak_kib(self):
        """The most memory it ever held at once."""
        for line in Path("/proc/%d/status" % self.process.pid).read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise AssertionError("no VmHWM")

    def reset_peak(self):
        Path("/proc/%d/clear_refs" % self.process.pid).write_text("5", encoding="utf-8")

    def wait(self):
        return self.process.wait(PATIENCE)

    def stop(self):
        """SIGTERM; it must end well and clean up."""
        if not self.stopped and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.wait() == 0, self.log()
        self.stopped = True
        assert "ERROR: AddressSanitizer" not in self.log() and "LeakSanitizer" not in self.log(), self.log()
        assert "runtime error:" not in self.log(), self.log()
        assert "CRITICAL" not in self.log(), self.log()

    def kill(self):
        """SIGKILL, as a power cut would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.stopped = True


def printed(events):
    """What steps printed, of a stream of events."""
    return "".join(event["data"] for event in events if event["type"] == "step-log")


def prints(text):
    """For Connection.wait_event: an event in which a step prints text."""
    return lambda event: event["type"] == "step-log" and text in event["data"]


def assert_clear(message):
    """An error for people: one line, lower case start, no full stop, no "failed to" chain, no sign of internals."""
    assert message and "\n" not in message and "\r" not in message, repr(message)
    assert len(message) < 4000, "an essay of %d bytes" % len(message)
    assert not message.endswith("."), message
    assert "failed to" not in message.lower() and "(null)" not in message and "cx_" not in message, message


def assert_says(message, *words):
    for word in words:
        assert word in message, "%r is not in: %s" % (word, message)
