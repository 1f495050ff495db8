# SPDX-License-Identifier: Apache-2.0
"""Recipes that become images: state, stages, platforms, config, archive (spec/daemon.md §5, §6)."""
import json
import os
import socket
import tarfile

import pytest
from built_image import BuiltImage
from harness import assert_says, copy, image_file, run, stage

HOST = image_file.host_architecture()
B = "file busybox.tar"


@pytest.fixture(name="place")
def fixture_place_with_base(place):
    place.base("busybox.tar")
    place.base("scratch.tar")
    return place


def test_base_and_one_layer(daemon, place):
    image = daemon.build(stage(B, run("echo hello > /hello"), run("mkdir /d; echo 2 > /d/2")))
    base = base_manifest(place)
    assert image.manifest["layers"][0] == base["layers"][0], "base layers keep their bytes"
    assert len(image.layers) == 2
    assert image.read("/hello") == b"hello\n"
    assert image.names() == ["/d", "/d/2", "/hello"]


def base_manifest(place):
    """The base's manifest (it has no manifest.json to check)."""
    with tarfile.open(place.context / "busybox.tar") as tar:
        index = json.load(tar.extractfile("index.json"))
        return json.load(tar.extractfile("blobs/sha256/" + index["manifests"][0]["digest"][7:]))


def test_several_stages_one_result(daemon, place):
    image = daemon.build(
        stage(B, run("echo one > /one"), name="a", transient=True),
        stage(B, copy("a:/one /two"), run("cat /two /two > /four"), name="b", transient=True),
        stage("file scratch.tar", copy("a:/one /x/one"), copy("b:/four /x/four")))
    assert image.read("/x/one") == b"one\n" and image.read("/x/four") == b"one\none\n"
    assert sorted(image.files) == ["/x", "/x/four", "/x/one"]
    assert len(image.layers) == 1


def test_the_output_stage_may_stand_first(daemon, place):
    place.write("a", "A")
    image = daemon.build(stage("file scratch.tar", copy("a /a")), stage(B, run("exit 1"), transient=True, name="unused"))
    assert image.read("/a") == b"A"


def test_state_of_steps(daemon, place):
    image = daemon.build(stage(
        B,
        run("echo $A-$PWD > /1", env={"A": "only here"}, workdir="/deep/er"),
        run("echo $A-$PWD > /2"),
        {"env": {"A": "from here"}, "workdir": "/w"},
        run("echo $A-$PWD > /3"),
        run("echo $A-$B-$PWD > /4", env={"A": "x", "B": "y"}, workdir="sub"),
        {"workdir": "rel"},
        run("echo $A-$PWD > /5")))
    read = {n: image.read("/" + n).decode().strip() for n in "12345"}
    assert read == {"1": "only here-/deep/er", "2": "-/", "3": "from here-/w", "4": "x-y-/w/sub", "5": "from here-/w/rel"}
    assert image.config["config"]["WorkingDir"] == "/w/rel"
    assert "A=from here" in image.config["config"]["Env"]
    assert not [e for e in image.config["config"]["Env"] if e.startswith("B=")]
    assert image.files["/w/sub"].info.isdir()


def test_state_starts_anew_in_each_stage(daemon, place):
    image = daemon.build(stage(B, {"env": {"A": "1"}, "workdir": "/w"}, run("true"), name="a", transient=True), stage(B, run("echo $A-$PWD > /x")))
    assert image.read("/x") == b"-/\n"
    assert "A=1" not in image.config["config"]["Env"]


def test_shell(daemon, place):
    place.write("sh", "#!/bin/sh\necho \"$0 $1 $2\" > /ran\n", 0o755)
    image = daemon.build(stage(B, copy("sh /my/sh"), {"shell": "/my/sh"}, run("some words"), run("cat /ran > /again", shell="/bin/sh")))
    assert image.read("/ran") == b"/my/sh -c some words\n"
    assert_says(daemon.refuse(stage(B, run("true", shell="/bin/sh -eu"))), "/bin/sh -eu")


def test_base_environment_counts(daemon, place):
    base = image_file.Image([image_file.tree(("etc", None))], config={"Env": ["PATH=/bin", "WHO=base", "KEEP=a=b=c"], "WorkingDir": "/etc", "User": "0"})
    base.diffs[:0], base.blobs[:0] = busybox_layer(place)
    base.config["history"].insert(0, {"created": image_file.DATE})
    image = daemon.build(stage(place.image("base.tar", base), run("echo $WHO-$KEEP-$PWD > /x"), {"env": {"WHO": "recipe"}}))
    assert image.read("/x") == b"base-a=b=c-/etc\n"
    env = image.config["config"]["Env"]
    assert "WHO=recipe" in env and "WHO=base" not in env and "KEEP=a=b=c" in env
    assert image.config["config"]["WorkingDir"] == "/etc"


def busybox_layer(place):
    layer = place.bases / "busybox-docker.tar"
    with tarfile.open(layer) as tar:
        names = json.load(tar.extractfile("manifest.json"))[0]["Layers"]
        data = tar.extractfile(names[0]).read()
    return [image_file.sha256(data)], [data]


def test_entrypoint_replaces_cmd(daemon, place):
    image = daemon.build(stage(B, run("true")), entrypoint=["/app/server", "-x"])
    assert image.config["config"]["Entrypoint"] == ["/app/server", "-x"]
    assert not image.config["config"].get("Cmd")
    image = daemon.build(stage(B, run("true")))
    assert image.config["config"]["Cmd"] == ["/bin/sh"]
    assert not image.config["config"].get("Entrypoint")


def test_a_stage_without_steps(daemon, place):
    image = daemon.build(stage(B))
    assert len(image.layers) == 1
    image = daemon.build(stage("file scratch.tar"), output=str(place.path / "out2"))
    assert len(image.layers) == 0


def test_config_only_steps_make_no_layer(daemon, place):
    image = daemon.build(stage(B, {"env": {"A": "1"}}, {"workdir": "/nowhere/yet"}))
    assert len(image.layers) == 1
    assert image.config["config"]["WorkingDir"] == "/nowhere/yet"


def test_a_step_that_changes_nothing(daemon, place):
    image = daemon.build(stage(B, run("true")))
    assert len(image.layers) <= 2
    assert image.names() == [] or len(image.layers) == 1


def test_removed_files_are_whited_out(daemon, place):
    image = daemon.build(stage(B, run("mkdir /d; touch /d/a /gone"), run("rm -r /gone /bin/busybox.gone /etc/passwd /root 2>/dev/null; mkdir /root; touch /root/new")))
    assert "/etc/passwd" not in image.files and "/etc/group" in image.files
    assert "/etc/.wh.passwd" in image.names()
    assert "/root/new" in image.files
    assert "/gone" not in image.files and "/.wh.gone" not in image.names(), "what came and went within a stage leaves no trace"


def test_whiteouts_and_folders_replaced(daemon, place):
    place.write("f", "file now")
    base = image_file.Image([image_file.tree(("d", None), ("d/x", b"x"), ("d/y", b"y"), ("l", "-> d"))])
    base.diffs[:0], base.blobs[:0] = busybox_layer(place)
    base.config["history"].insert(0, {"created": image_file.DATE})
    place.image("base.tar", base)
    image = daemon.build(stage("file base.tar", run("rm -r /d; mkdir /d; echo z > /d/z; rm /l; mkdir /l; touch /l/in")))
    files = image.files
    assert files["/d/z"].data == b"z\n" and "/d/x" not in files and files["/l"].info.isdir()
    image = daemon.build(stage("file base.tar", run("rm -r /d; echo f > /d")))
    assert image.files["/d"].data == b"f\n" and "/d/x" not in image.files


def test_deep_layers(daemon, place):
    steps = [run("echo %d > /f%d; rm -f /f%d" % (n, n, n - 3)) for n in range(60)]
    image = daemon.build(stage(B, *steps))
    assert [n for n in range(60) if "/f%d" % n in image.files] == [57, 58, 59]
    assert len(image.layers) == 2


# ---- archive ---------------------------------------------------------------------------

def test_archive_form(daemon, place):
    image = daemon.build(stage(B, run("echo hi > /hi")), resource="acme/api")
    assert "org.opencontainers.image.ref.name" in json.dumps(image.index) or "io.containerd.image.name" in json.dumps(image.index)
    assert image.descriptor["platform"]["architecture"] == HOST
    assert all(layer["mediaType"].startswith("application/vnd.oci.image.layer.v1.tar") for layer in image.manifest["layers"])
    assert image.manifest["layers"][-1]["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    for member in image.members:
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert len({member.mtime for member in image.members}) == 1
    assert os.stat(image.path).st_nlink == 1


def test_layer_form(daemon, place):
    path = place.write("src/b/file", "x")
    os.chown(path, 1234, 1234)
    path.chmod(0o4751)
    image = daemon.build(stage("file scratch.tar", copy("src /s")))
    names = [m.name for m in image.layers[0]]
    assert names == sorted(names)
    for member in image.layers[0]:
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert len({member.mtime for member in image.layers[0]}) == 1
    assert image.files["/s/b/file"].info.mode == 0o4751


def test_source_date_epoch(place):
    place.write("a", "A")
    daemon = place.daemon(env={"SOURCE_DATE_EPOCH": 1000000000})
    image = daemon.build(stage("file scratch.tar", copy("a /a")))
    assert image.layers[0][0].mtime == 1000000000
    assert image.config["created"] == "2001-09-09T01:46:40Z"


def test_output_is_replaced_whole(daemon, place):
    place.out.mkdir()
    (place.out / "image.tar").write_text("old")
    (place.out / "other").write_text("kept")
    try:
        daemon.build(stage(B, run("exit 1")))
    except Exception:
        pass
    assert (place.out / "image.tar").read_text() == "old"
    daemon.build(stage(B, run("true")))
    BuiltImage(place.out / "image.tar")
    assert (place.out / "other").read_text() == "kept"
    (place.out / "other").unlink()


# ---- platforms ----------------------------------------------------------------------------

def two_platforms(place):
    """A base for this machine and for s390x, told apart by a file."""
    images = [image_file.Image([image_file.tree(("arch", a.encode()))], architecture=a) for a in (HOST, "s390x")]
    image_file.write_archive(str(place.context / "multi.tar"), image_file.layout_files(images))
    return "file multi.tar"


def test_two_platforms(daemon, place):
    place.write("a", "A")
    source = two_platforms(place)
    group = {"platform": "linux/s390x", "workdir": "/big", "steps": [copy("a endian")]}
    output = daemon.build(stage(source, copy("a /a"), group), platforms=["linux/" + HOST, "linux/s390x"])
    assert output == str(place.out)
    here, there = BuiltImage(place.out / ("linux-" + HOST) / "image.tar"), BuiltImage(place.out / "linux-s390x" / "image.tar")
    assert not (place.out / "image.tar").exists()
    assert here.read("/arch") == HOST.encode() and there.read("/arch") == b"s390x"
    assert there.config["architecture"] == "s390x"
    assert "/big/endian" in there.files and "/big/endian" not in here.files


def test_stage_with_platform(daemon, place):
    place.write("a", "A")
    source = two_platforms(place)
    daemon.build(stage(source, copy("a /host"), platform="linux/" + HOST), stage(source, copy("a /far"), platform="linux/s390x"),
                 platforms=["linux/" + HOST, "linux/s390x"])
    assert "/far" in BuiltImage(place.out / "linux-s390x" / "image.tar").files
    assert "/host" in BuiltImage(place.out / ("linux-" + HOST) / "image.tar").files


def test_one_foreign_platform_is_one_image(daemon, place):
    place.write("a", "A")
    image = daemon.build(stage(two_platforms(place), copy("a /a")), platforms=["linux/s390x"])
    assert image.config["architecture"] == "s390x"


def test_group_state_does_not_leak(daemon, place):
    image = daemon.build(stage(B, {"platform": "linux/" + HOST, "env": {"A": "in"}, "steps": [run("echo $A > /in")]}, run("echo $A. > /after")))
    assert image.read("/in") == b"in\n"
    assert image.read("/after") in (b".\n", b"in.\n")


def test_foreign_run_needs_an_emulator(daemon, place):
    source = two_platforms(place)
    message = daemon.refuse(stage(source, run("true")), platforms=["linux/s390x"])
    assert_says(message, "s390x")
    assert "binfmt" in message or "QEMU" in message or "qemu" in message


def test_failure_on_one_platform_writes_nothing(daemon, place):
    daemon.refuse(stage(two_platforms(place), copy("a /a")), platforms=["linux/" + HOST, "linux/s390x"])
    assert not list(place.out.rglob("image.tar"))


@pytest.mark.parametrize("platforms", [["linux/" + HOST, "linux/" + HOST], []])
def test_odd_platform_lists(daemon, place, platforms):
    try:
        daemon.build(stage(B), platforms=platforms)
    except Exception as error:
        assert_says(str(error), HOST)


# ---- parallel stages -------------------------------------------------------------------------

def test_independent_stages_run_together(daemon, place):
    """One stage answers the other over the host's network; one after the other they would wait for ever."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    image = daemon.build(
        stage(B, run("echo from a | nc -l -p %d > /got" % port), name="a", transient=True),
        stage(B, run("until echo from b | nc 127.0.0.1 %d > /got || [ -s /got ]; do :; done" % port), name="b", transient=True),
        stage("file scratch.tar", copy("a:/got /a"), copy("b:/got /b")))
    assert (image.read("/a"), image.read("/b")) == (b"from b\n", b"from a\n")
