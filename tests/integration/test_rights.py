# SPDX-License-Identifier: Apache-2.0
"""Who may do what (spec/daemon.md §7): host paths are read and written with the rights of the connecting user."""
import grp
import json
import os
import pwd
import stat
import subprocess

import pytest
from built_image import BuiltImage
from harness import NOBODY, PATIENCE, assert_clear, assert_says, copy, run, stage

CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
while True:
    data = s.recv(65536)
    if not data:
        break
    sys.stdout.buffer.write(data)
"""


@pytest.fixture(name="place")
def fixture_open_place(place):
    """A context and an output folder that belong to nobody."""
    place.base("busybox.tar")
    place.base("scratch.tar")
    place.write("a", "A")
    place.out.mkdir()
    for path in (place.context, place.out):
        os.chown(path, NOBODY, NOBODY)
    return place


def ask_as(daemon, request, user=NOBODY, groups=()):
    """What the daemon answers to another user."""
    os.chmod(daemon.socket_path, 0o666)
    result = subprocess.run(["/usr/bin/python3", "-c", CLIENT, str(daemon.socket_path)], input=json.dumps(request) + "\n", stdout=subprocess.PIPE, text=True,
                            timeout=PATIENCE, user=user, group=user, extra_groups=list(groups), check=True)
    return json.loads(result.stdout)


def refuse_as(daemon, request, **who):
    answer = ask_as(daemon, request, **who)
    assert answer["command"] == "error", answer
    assert_clear(answer["payload"]["message"])
    assert daemon.status()["running"]
    return answer["payload"]["message"]


def test_another_user_builds(daemon, place):
    answer = ask_as(daemon, daemon.build_request(stage("file busybox.tar", copy("a /a"), run("cat /a > /b"))))
    assert answer["command"] == "ok", answer
    made = (place.out / "image.tar").stat()
    assert (made.st_uid, made.st_gid) == (NOBODY, NOBODY)
    assert BuiltImage(place.out / "image.tar").read("/b") == b"A"


def test_file_the_user_cannot_read(daemon, place):
    place.write("secret", "S", 0o600)
    place.write("folder/secret", "S", 0o600)
    place.write("closed/x", "S")
    (place.context / "closed").chmod(0o700)
    for source in ("secret", "folder", "closed/x", "closed"):
        assert_says(refuse_as(daemon, daemon.build_request(stage("file scratch.tar", copy(source + " /x")))), source.split("/")[0], "denied")
    assert not list(place.out.iterdir())
    daemon.build(stage("file scratch.tar", copy("secret /x")))
    (place.out / "image.tar").unlink()


def test_the_cache_tells_no_secrets(daemon, place):
    """What root's build has read stays closed to another user, cached or not."""
    place.write("folder/secret", "S", 0o600)
    daemon.build(stage("file scratch.tar", copy("folder /x")), output=str(place.path / "roots"))
    refuse_as(daemon, daemon.build_request(stage("file scratch.tar", copy("folder /x"))))
    assert not list(place.out.iterdir())


def test_base_the_user_cannot_read(daemon, place):
    (place.context / "busybox.tar").chmod(0o600)
    daemon.build(stage("file busybox.tar", run("true")), output=str(place.path / "roots"))
    assert_says(refuse_as(daemon, daemon.build_request(stage("file busybox.tar", run("true")))), "busybox.tar", "denied")


def test_root_the_user_cannot_enter(daemon, place):
    place.context.chmod(0o700)
    os.chown(place.context, 0, 0)
    assert_says(refuse_as(daemon, daemon.build_request(stage("file scratch.tar"))), str(place.context), "denied")


def test_output_the_user_cannot_write(daemon, place):
    os.chown(place.out, 0, 0)
    place.out.chmod(0o755)
    assert_says(refuse_as(daemon, daemon.build_request(stage("file scratch.tar", copy("a /a")))), str(place.out), "denied")
    assert not list(place.out.iterdir())


def test_output_of_somebody_else_is_not_replaced(daemon, place):
    (place.out / "image.tar").write_text("root's")
    place.out.chmod(0o1777)
    os.chown(place.out, 0, 0)
    refuse_as(daemon, daemon.build_request(stage("file scratch.tar", copy("a /a"))))
    assert (place.out / "image.tar").read_text() == "root's"


@pytest.mark.parametrize("link", ["folder", "file"])
def test_links_laid_in_the_output(daemon, place, link):
    """A user's link does not make root write elsewhere."""
    target = place.path / "precious"
    if link == "folder":
        target.mkdir()
        os.symlink(target, place.out / "linux-amd64")
    else:
        target.write_text("P")
        os.symlink(target, place.out / "image.tar")
    answer = ask_as(daemon, daemon.build_request(stage("file scratch.tar", copy("a /a"))))
    if link == "file":
        assert answer["command"] == "ok"
        assert target.read_text() == "P"
        assert stat.S_ISREG(os.lstat(place.out / "image.tar").st_mode)
    else:
        assert not list(target.iterdir())
        (place.out / "linux-amd64").unlink()


def test_groups_of_the_user_count(daemon, place):
    place.write("team", "T", 0o640)
    os.chown(place.context / "team", 0, 4242)
    request = daemon.build_request(stage("file scratch.tar", copy("team /t")))
    refuse_as(daemon, request)
    assert ask_as(daemon, request, groups=[4242])["command"] == "ok"


def test_everything_of_the_daemon_is_closed(daemon, place):
    daemon.build(stage("file busybox.tar", run("echo x > /x")), output=str(place.path / "roots"))
    for folder, _, names in os.walk(daemon.root):
        assert stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0 or folder != str(daemon.root)
        del names
    result = subprocess.run(["ls", str(daemon.root)], user=NOBODY, group=NOBODY, stderr=subprocess.DEVNULL, check=False)
    assert result.returncode != 0


def test_strangers_do_not_get_in(daemon):
    result = subprocess.run(["/usr/bin/python3", "-c", CLIENT, str(daemon.socket_path)], input=b"", stderr=subprocess.PIPE, user=NOBODY, group=NOBODY, check=False)
    assert b"PermissionError" in result.stderr


def test_the_build_of_a_user_without_a_name(daemon, place):
    unknown = 54321
    with pytest.raises(KeyError):
        pwd.getpwuid(unknown)
    with pytest.raises(KeyError):
        grp.getgrgid(unknown)
    os.chown(place.out, unknown, unknown)
    assert ask_as(daemon, daemon.build_request(stage("file scratch.tar", copy("a /a"))), user=unknown)["command"] == "ok"
