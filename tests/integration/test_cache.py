# SPDX-License-Identifier: Apache-2.0
"""The step cache: what is found again, what is not, and that the bytes are the same either way (design.md §3)."""
import os
import shutil
import subprocess

import pytest
from built_image import BuiltImage
from harness import NOBODY, assert_says, copy, run, stage

B = "file busybox.tar"


@pytest.fixture(name="place")
def fixture_place_with_base(place):
    place.base("busybox.tar")
    place.base("scratch.tar")
    return place


def executed(daemon, *stages, **payload):
    """Titles of the steps that really ran."""
    events, answer = daemon.streamed(*stages, **payload)
    assert answer["command"] == "ok", answer
    assert any(event["type"] in ("step-done", "step-cached") for event in events), events
    return [event["title"] for event in events if event["type"] == "step-done" and event["title"].startswith(("run", "copy"))]


def test_second_build_runs_nothing(daemon, place):
    place.write("src/a", "A")
    stages = [stage(B, run("echo 1 > /1"), copy("src /src"), run("cat /src/a > /2"))]
    assert len(executed(daemon, *stages)) == 3
    first = (place.out / "image.tar").read_bytes()
    assert executed(daemon, *stages, output=str(place.path / "o2")) == []
    assert (place.path / "o2" / "image.tar").read_bytes() == first


def test_the_cache_survives_the_daemon(place):
    stages = [stage(B, run("echo 1 > /1"))]
    first = place.daemon()
    assert len(executed(first, *stages)) == 1
    first.stop()
    assert executed(place.daemon(), *stages) == []


@pytest.mark.parametrize("change", ["content", "mode", "name", "type", "xattr", "new file", "removed"])
def test_a_changed_source_counts(daemon, place, change):
    place.write("src/a", "A")
    place.write("src/b", "B")
    stages = [stage(B, copy("src /src"), run("ls /src > /list"))]
    executed(daemon, *stages)
    a = place.context / "src" / "a"
    {"content": lambda: a.write_text("C"), "mode": lambda: a.chmod(0o600), "name": lambda: a.rename(place.context / "src" / "c"),
     "type": lambda: (a.unlink(), a.symlink_to("b")), "xattr": lambda: os.setxattr(a, "user.x", b"1"),
     "new file": lambda: place.write("src/new"), "removed": a.unlink}[change]()
    assert len(executed(daemon, *stages)) == 2


@pytest.mark.parametrize("change", ["touch", "copied anew", "owner", "same bytes"])
def test_what_does_not_count(daemon, place, change):
    for n in range(20):
        place.write("src/f%d" % n, str(n))
    stages = [stage(B, copy("src /src"), run("ls /src > /list"))]
    executed(daemon, *stages)
    source = place.context / "src"
    if change == "touch":
        for path in source.iterdir():
            os.utime(path, (1, 1))
    elif change == "copied anew":
        shutil.copytree(source, place.context / "new")
        shutil.rmtree(source)
        (place.context / "new").rename(source)
    elif change == "owner":
        for path in source.iterdir():
            os.chown(path, NOBODY, NOBODY)
    else:
        (source / "f1").write_text("1")
    assert executed(daemon, *stages) == []


def test_a_change_in_the_same_instant_is_seen(daemon, place):
    """Same size, same second: the memory of file digests must not be fooled."""
    path = place.write("a", "0000")
    for n in range(50):
        with open(path, "r+", encoding="utf-8") as f:
            f.write("%04d" % n)
        assert daemon.build(stage("file scratch.tar", copy("a /a"))).read("/a") == b"%04d" % n


def test_what_a_step_does_not_see_does_not_matter(daemon, place):
    place.write("a", "A")
    executed(daemon, stage(B, run("echo 1 > /1"), copy("a /a")))
    place.write("unrelated", "x")
    place.write("a", "changed")
    assert executed(daemon, stage(B, run("echo 1 > /1"), copy("a /a"))) == ["copy a /a"]


@pytest.mark.parametrize("other", [
    run("echo 2 > /x"), run("echo 1 > /x", env={"A": "b"}), run("echo 1 > /x", workdir="/tmp"), run("echo 1 > /x", shell="/bin/ash"), run("echo 1  > /x"),
])
def test_a_different_step_is_different(daemon, place, other):
    executed(daemon, stage(B, run("echo 1 > /x")))
    assert len(executed(daemon, stage(B, other))) == 1


def test_a_different_base_is_different(daemon, place):
    daemon.build(stage(B, run("echo extra > /extra")), output=str(place.context / "other"))
    executed(daemon, stage(B, run("ls / > /list")))
    assert executed(daemon, stage("file other/image.tar", run("ls / > /list"))) != []
    shutil.copyfile(place.context / "other" / "image.tar", place.context / "busybox.tar")
    assert executed(daemon, stage(B, run("ls / > /other-list"))) != []


def test_stage_names_and_resources_do_not_matter(daemon, place):
    executed(daemon, stage(B, run("echo 1 > /1"), name="one"))
    assert executed(daemon, stage(B, run("echo 1 > /1"), name="two"), resource="quite/other") == []


def test_an_equal_result_stops_the_change(daemon, place):
    """A stage that ends in the same bytes does not make those that copy from it run again."""
    place.write("a", "A")
    executed(daemon, stage(B, copy("a /in"), run("echo same > /out"), name="b", transient=True), stage("file scratch.tar", copy("b:/out /out")))
    place.write("a", "B")
    assert "copy b:/out /out" not in executed(daemon, stage(B, copy("a /in"), run("echo same > /out"), name="b", transient=True), stage("file scratch.tar", copy("b:/out /out")))


def test_no_cache(place):
    place.write("crucible.yaml", "version: 0\nresource: {type: runtime, name: a/b, version: 1.0.0}\nstages:\n  - from: file busybox.tar\n    steps:\n      - run: cat /proc/sys/kernel/random/uuid > /uuid\n")
    images = []
    for number, flags in enumerate([[], [], ["--no-cache"]]):
        place.cli("build", *flags, "-o", place.path / ("o%d" % number), ".", ok=True)
        images.append(BuiltImage(place.path / ("o%d" % number) / "image.tar").read("/uuid"))
    assert images[0] == images[1] != images[2]


def test_failed_steps_are_not_remembered(daemon, place):
    message = daemon.refuse(stage(B, run("echo ok > /ok"), run("exit 1")))
    assert_says(message, "exit code 1")
    daemon.refuse(stage(B, run("echo ok > /ok"), run("exit 1")))
    assert executed(daemon, stage(B, run("echo ok > /ok"), run("exit 0"))) == ["run exit 0"]


# ---- same inputs, same bytes --------------------------------------------------------------------

def test_same_bytes_everywhere(place):
    """A cold store, another folder, another user's files, another time, another parallelism."""
    place.write("src/a", "A", 0o644)
    place.write("src/dir/b", "B" * 100000, 0o755)
    os.symlink("a", place.context / "src" / "l")
    stages = [stage(B, run("mkdir /made; echo x > /made/x; chmod 700 /made"), name="one", transient=True),
              stage(B, run("echo y > /y; rm /etc/group"), name="two", transient=True),
              stage(B, copy("src /src"), copy("one:/made /made"), copy("two:/y /y"), run("ls -R /src /made /etc > /list; date > /dev/null"))]
    first = place.daemon(name="a")
    first.build(*stages, output=str(place.path / "o1"))
    moved = place.path / "moved"
    shutil.copytree(place.context, moved, symlinks=True)
    for folder, _, names in os.walk(moved):
        for name in names:
            os.chown(os.path.join(folder, name), 1234, 1234, follow_symlinks=False)
            os.utime(os.path.join(folder, name), (1, 1), follow_symlinks=False)
    second = place.daemon(name="b", preexec=lambda: os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]}))
    second.build(*stages, root=str(moved), output=str(place.path / "o2"))
    assert (place.path / "o1" / "image.tar").read_bytes() == (place.path / "o2" / "image.tar").read_bytes()


def test_times_and_names_of_this_machine_are_not_in_it(daemon, place):
    image = daemon.build(stage(B, run("echo x > /x")))
    assert image.config["created"] == "1980-01-01T00:00:00Z"
    for member in image.layers[-1]:
        assert member.mtime == 315532800, member.name
    assert os.uname().nodename.encode() not in image.bytes or len(os.uname().nodename) < 6
    assert str(place.path).encode() not in image.bytes


def test_order_of_a_folder_does_not_matter(daemon, place):
    for order, name in ((range(100), "one"), (range(99, -1, -1), "two")):
        for n in order:
            place.write("%s/f%d" % (name, n), str(n))
    one = daemon.build(stage("file scratch.tar", copy("one /x")), output=str(place.path / "o1"))
    two = daemon.build(stage("file scratch.tar", copy("two /x")), output=str(place.path / "o2"))
    assert one.manifest["layers"] == two.manifest["layers"]


def test_hard_links_are_the_same_from_everywhere(daemon, place):
    subprocess.run("mkdir t; echo 1 > t/b; ln t/b t/a; ln t/b t/z; mkdir u; echo 1 > u/z; ln u/z u/a; ln u/z u/b", shell=True, cwd=place.context, check=True)
    one = daemon.build(stage("file scratch.tar", copy("t /x")), output=str(place.path / "o1"))
    two = daemon.build(stage("file scratch.tar", copy("u /x")), output=str(place.path / "o2"))
    assert one.manifest["layers"] == two.manifest["layers"]
