# SPDX-License-Identifier: Apache-2.0
"""copy: what arrives where, and what may not leave the context or the image (spec/daemon.md §5)."""
import os
import socket
import subprocess

import pytest
from harness import assert_says, copy, image_file, run, stage

S = "file scratch.tar"


@pytest.fixture(name="place")
def fixture_place_with_base(place):
    place.base("scratch.tar")
    return place


@pytest.mark.parametrize("what,workdir,where", [
    ("file.txt /opt/file.txt", None, "/opt/file.txt"),
    ("file.txt out/", "/app", "/app/out"),
    ("file.txt .", "/app", "/app"),
    ("./file.txt ../up", "/app/sub", "/app/up"),
    ("sub/../file.txt /x", None, "/x"),
    ("file.txt /a/./b//c/../d", None, "/a/b/d"),
    ("file.txt /../../x", None, "/x"),
])
def test_dest_is_the_path_the_source_gets(daemon, place, what, workdir, where):
    place.write("file.txt", "F")
    (place.context / "sub").mkdir()
    image = daemon.build(stage(S, copy(what, **({"workdir": workdir} if workdir else {}))))
    assert {p: f.data for p, f in image.files.items() if f.data is not None} == {where: b"F"}


def test_folders_merge(daemon, place):
    place.write("one/a", "1a")
    place.write("one/b", "1b")
    place.write("two/b", "2b")
    place.write("two/c/d", "2cd")
    image = daemon.build(stage(S, copy("one /x"), copy("two /x"), copy("two/c /x/c")))
    assert {p: f.data for p, f in image.files.items() if f.data is not None} == {"/x/a": b"1a", "/x/b": b"2b", "/x/c/d": b"2cd"}


def test_whole_context(daemon, place):
    place.write("a/b", "B")
    (place.context / "empty").mkdir()
    image = daemon.build(stage(S, copy(". /ctx")))
    assert image.read("/ctx/a/b") == b"B" and image.files["/ctx/empty"].info.isdir()
    assert "/ctx/scratch.tar" in image.files


def test_what_is_kept(daemon, place):
    place.write("t/file", "x", 0o640)
    place.write("t/suid", "x", 0o6755)
    os.chown(place.context / "t" / "file", 1000, 1000)
    os.link(place.context / "t" / "file", place.context / "t" / "hard")
    os.symlink("file", place.context / "t" / "soft")
    os.symlink("/etc/shadow", place.context / "t" / "far")
    os.symlink("nowhere", place.context / "t" / "dangling")
    (place.context / "t" / "dir").mkdir(mode=0o1777)
    (place.context / "t" / "dir").chmod(0o1777)
    os.setxattr(place.context / "t" / "file", "user.colour", b"blue\0\xff")
    with open(place.context / "t" / "sparse", "wb") as f:
        f.truncate(1 << 26)
        f.seek(1 << 25)
        f.write(b"middle")
    place.write("t/\u00e4 b\nc", "odd name")
    place.write("t/" + "n" * 200 + "/" + "m" * 200, "long")
    image = daemon.build(stage(S, copy("t /t")))
    files = image.files
    assert files["/t/file"].info.mode == 0o640 and (files["/t/file"].info.uid, files["/t/file"].info.gid) == (0, 0)
    assert files["/t/suid"].info.mode == 0o6755
    assert files["/t/file"].info.islnk() != files["/t/hard"].info.islnk()
    assert files["/t/soft"].info.linkname == "file" and files["/t/far"].info.linkname == "/etc/shadow"
    assert files["/t/dangling"].info.issym()
    assert files["/t/dir"].info.mode == 0o1777
    assert files["/t/file"].info.pax_headers.get("SCHILY.xattr.user.colour", files["/t/hard"].info.pax_headers.get("SCHILY.xattr.user.colour"))
    assert len(files["/t/sparse"].data) == 1 << 26 and files["/t/sparse"].data[1 << 25:(1 << 25) + 6] == b"middle"
    assert files["/t/\u00e4 b\nc"].data == b"odd name"
    assert files["/t/" + "n" * 200 + "/" + "m" * 200].data == b"long"


def test_sparse_files_cost_no_disk(daemon, place):
    place.base("busybox.tar")
    with open(place.context / "sparse", "wb") as f:
        f.truncate(1 << 30)
        f.seek(12345678)
        f.write(b"here")
    daemon.build(stage("file busybox.tar", copy("sparse /sparse"), run("tail -c +12345679 /sparse | head -c 4 > /four; rm /sparse"), run("test here = $(cat /four)")))
    used = sum(path.stat().st_blocks * 512 for path in place.root.rglob("*") if path.is_file())
    assert used < 64 << 20, "%d MiB" % (used >> 20)


def test_mtime_never_counts(daemon, place):
    place.write("a", "A")
    os.utime(place.context / "a", (1, 1))
    first = daemon.build(stage(S, copy("a /a"))).digest
    os.utime(place.context / "a", (2000000000, 2000000000))
    assert daemon.build(stage(S, copy("a /a")), output=str(place.path / "o2")).digest == first


@pytest.mark.parametrize("kind", ["socket", "device"])
def test_special_files_are_refused(daemon, place, kind):
    path = place.context / "t" / "x"
    path.parent.mkdir()
    if kind == "device":
        os.mknod(path, 0o20666, os.makedev(1, 3))
    else:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
    assert_says(daemon.refuse(stage(S, copy("t /t"))), "x")
    assert_says(daemon.refuse(stage(S, copy("t/x /x"))), "x")


# ---- nothing leads out of the context --------------------------------------------------------

@pytest.mark.parametrize("source", ["../secret", "sub/../../secret", "link", "dirlink/secret", "abslink", "loop", "chain", "/etc/passwd", "missing", "file/x"])
@pytest.mark.parametrize("switch", ["", "openat2"])
def test_sources_outside(place, source, switch):
    (place.path / "secret").write_text("top")
    (place.context / "sub").mkdir()
    place.write("file", "")
    os.symlink("../secret", place.context / "link")
    os.symlink("..", place.context / "dirlink")
    os.symlink(str(place.path / "secret"), place.context / "abslink")
    os.symlink("loop", place.context / "loop")
    os.symlink("sub/../link", place.context / "chain")
    daemon = place.daemon(env={"CX_DISABLE": switch})
    message = daemon.refuse(stage(S, copy(source + " /x")))
    assert_says(message, "stage 1", "step 1", source)


def test_links_inside_the_context(daemon, place):
    place.write("real/file", "R")
    os.symlink("real", place.context / "dir")
    os.symlink("dir/file", place.context / "file")
    image = daemon.build(stage(S, copy("dir/file /1"), copy("file /2"), copy("dir /3")))
    assert image.read("/1") == b"R"
    assert image.files["/2"].data == b"R" or image.files["/2"].info.issym()
    assert "/3/file" in image.files or image.files["/3"].info.issym()


def test_host_paths_only_with_the_switch(place):
    (place.path / "elsewhere").write_text("E")
    daemon = place.daemon("--allow-host-paths")
    image = daemon.build(stage(S, copy("%s /x" % (place.path / "elsewhere"))))
    assert image.read("/x") == b"E"


# ---- destinations are resolved inside the image ------------------------------------------------

@pytest.mark.parametrize("switch", ["", "openat2"])
def test_destinations_through_links(place, switch):
    place.write("a", "A")
    layer = image_file.tree(("real", None), ("abs", "-> /real"), ("rel", "-> real"), ("out", "-> ../../../../real"), ("evil", "-> /../../etc"), ("dangling", "-> made/later"))
    place.image("links.tar", image_file.Image([layer]))
    daemon = place.daemon(env={"CX_DISABLE": switch})
    image = daemon.build(stage("file links.tar", copy("a /abs/1"), copy("a /rel/2"), copy("a /out/3"), copy("a /evil/4"), copy("a /dangling/5")))
    files = image.files
    assert all("/real/%d" % n in files for n in (1, 2, 3)) and "/etc/4" in files and "/made/later/5" in files
    for link in ("/abs", "/rel", "/out", "/evil", "/dangling"):
        assert files[link].info.issym(), link
    assert not os.path.exists("/real") and not os.path.exists("/etc/4")


def test_a_file_replaces_a_link(daemon, place):
    place.write("a", "A")
    place.image("links.tar", image_file.Image([image_file.tree(("real", b"R"), ("link", "-> real"))]))
    image = daemon.build(stage("file links.tar", copy("a /link")))
    link = image.files["/link"]
    assert (link.data, image.read("/real")) == (b"A", b"R") or link.info.issym() and image.read("/real") == b"A"


@pytest.mark.parametrize("layer,dest", [
    ((("f", b"F"),), "/f/x"),
    ((("l", "-> l"),), "/l/x"),
])
def test_destinations_that_cannot_be(daemon, place, layer, dest):
    place.write("a", "A")
    place.image("odd.tar", image_file.Image([image_file.tree(*layer)]))
    daemon.refuse(stage("file odd.tar", copy("a " + dest)))


def test_file_over_folder_and_folder_over_file(daemon, place):
    place.write("f", "F")
    place.write("d/x", "X")
    place.image("odd.tar", image_file.Image([image_file.tree(("f", b"old"), ("d", None), ("d/old", b"old"))]))
    for step in (copy("f /d"), copy("d /f")):
        try:
            daemon.build(stage("file odd.tar", step))
        except Exception as error:
            assert_says(str(error), "stage 1")


# ---- from another stage ----------------------------------------------------------------------------

def test_from_a_stage(daemon, place):
    place.base("busybox.tar")
    make = "mkdir -p /d/sub; echo 1 > /d/1; ln /d/1 /d/hard; ln -s 1 /d/soft; mkfifo /d/fifo; chown 5:6 /d/1; chmod 2755 /d/sub; ln -s /d /via; rm -f /d/fifo"
    image = daemon.build(stage("file busybox.tar", run(make), name="b", transient=True),
                         stage(S, copy("b:/d /x"), copy("b:/d/1 /y/one"), copy("b:/via/1 /z"), copy("b:d/1 /w")))
    files = image.files
    assert files["/x/1"].data == b"1\n" and files["/x/soft"].info.linkname == "1"
    assert files["/x/sub"].info.mode == 0o2755
    assert (files["/x/1"].info.uid, files["/x/1"].info.gid) == (0, 0)
    assert files["/y/one"].data == files["/z"].data == files["/w"].data == b"1\n"


def test_stage_paths_stay_in_the_stage(daemon, place):
    place.image("links.tar", image_file.Image([image_file.tree(("etc", None), ("etc/own", b"own"), ("l", "-> /etc"), ("up", "-> ../../../etc/own"))]))
    image = daemon.build(stage("file links.tar", name="b", transient=True), stage(S, copy("b:/l/own /1"), copy("b:/../../etc/own /2")))
    assert image.read("/1") == b"own" and image.read("/2") == b"own"
    assert_says(daemon.refuse(stage("file links.tar", name="b", transient=True), stage(S, copy("b:/etc/passwd /1"))), "/etc/passwd")


def test_copies_need_no_program_in_the_image(daemon, place):
    place.write("a", "A")
    image = daemon.build(stage(S, copy("a /deep/er/a"), name="b", transient=True), stage(S, copy("b:/deep /other")))
    assert image.read("/other/er/a") == b"A"


# ---- a tree that moves while it is read ----------------------------------------------------------------

def test_file_that_grows_or_shrinks_is_no_torn_layer(daemon, place):
    place.write("t/log", "x" * 1000)
    grow = subprocess.Popen(["/bin/sh", "-c", "while :; do echo more >> t/log; : > t/log; done"], cwd=place.context)
    try:
        for _ in range(10):
            try:
                daemon.build(stage(S, copy("t /t"))).files
            except Exception as error:
                assert_says(str(error), "log")
    finally:
        grow.kill()
        grow.wait()
