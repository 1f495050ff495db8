# SPDX-License-Identifier: Apache-2.0
"""Layers made to hurt: each is refused in one line or confined; the host never changes (landscape: security lessons)."""
import gzip
import hashlib
import os
import struct
import tarfile
import zlib

import pytest
from harness import SANITIZED, assert_says, copy, image_file, run, stage
from image_file import Image, tree


def header(name, kind=b"0", link=b"", size=0, mode=0o644, size_field=None, uid=b"0000000\0", magic=b"ustar\x0000", prefix=b""):
    """One raw tar header; every field may lie."""
    name, link = (x.encode() if isinstance(x, str) else x for x in (name, link))
    block = name[:100].ljust(100, b"\0") + b"%07o\0" % mode + uid + b"0000000\0" + (size_field or b"%011o\0" % size) + b"00000000000\0" + b" " * 8
    block += kind + link[:100].ljust(100, b"\0") + magic + b"\0" * 64 + b"0000000\0" * 2 + prefix.ljust(155, b"\0")
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def file(name, data=b"x", **fields):
    return header(name, size=len(data), **fields) + data + b"\0" * (-len(data) % 512)


def pax(records, name="x"):
    """An extended header."""
    body = b""
    for key, value in records:
        value = value if isinstance(value, bytes) else value.encode()
        length = len(key) + len(value) + 3
        length += len(str(length + len(str(length))))
        body += b"%d %s=%s\n" % (length, key.encode(), value)
    return file(name, body, kind=b"x")


END = b"\0" * 1024


def base_of(place, tar, compression=None, name="evil.tar"):
    return place.image(name, Image([tar], compression))


def try_it(daemon, place, tar, refused=None, steps=None):
    """Builds on a layer: None if it was refused (with one clear line), else the image."""
    place.base("busybox.tar")
    source = base_of(place, tar)
    busybox = stage("file busybox.tar", name="bb", transient=True)
    steps = steps or [copy("bb:/bin/busybox /bin/sh-box"), run("/bin/sh-box ls / > /list 2>&1 || true", shell="/bin/sh-box")]
    stages = [busybox, stage(source, *steps)]
    if refused is True:
        message = daemon.refuse(*stages)
        assert_says(message, "evil.tar")
        return None
    try:
        return daemon.build(*stages)
    except Exception as error:
        if refused is False:
            raise
        assert_says(str(error), "stage 2")
        assert "\n" not in str(error)
        assert daemon.status()["running"]
        return None


@pytest.fixture(autouse=True, name="host")
def fixture_host():
    """Files an attacker would like: they must be as before."""
    watched = ["/etc/passwd", "/etc/shadow", "/root", "/tmp", "/"]
    before = {p: os.lstat(p).st_mode for p in watched}
    content = open("/etc/passwd", "rb").read()
    yield
    assert {p: os.lstat(p).st_mode for p in watched} == before
    assert open("/etc/passwd", "rb").read() == content
    for name in ("/evil", "/tmp/evil", "/etc/evil", "/root/evil", "/var/evil"):
        assert not os.path.lexists(name), name


TRAVERSAL = {
    "dotdot": file("../../../../../../evil"),
    "dotdot-inside": header("a/", b"5", mode=0o755) + file("a/../../evil"),
    "absolute": file("/evil"),
    "absolute-dotdot": file("/../evil"),
    "many-dots": file("./" * 40 + "evil"),
    "prefix-dotdot": file("evil", prefix=b"../../.."),
    "link-then-through": header("l", b"2", b"/") + file("l/evil"),
    "link-up-then-through": header("l", b"2", b"../../../..") + file("l/tmp/evil"),
    "link-to-link": header("a", b"2", b"b") + header("b", b"2", b"/tmp") + file("a/evil"),
    "root-is-a-link": header(".", b"2", b"/tmp") + file("evil"),
    "etc-is-a-link": header("etc", b"2", b"/etc") + file("etc/evil"),
    "hard-link-outside": header("h", b"1", b"../../../../etc/passwd") + file("h", b"evil"),
    "hard-link-absolute": header("h", b"1", b"/etc/passwd") + file("h", b"evil"),
    "hard-link-through-link": header("l", b"2", b"/etc") + header("h", b"1", b"l/passwd") + file("h", b"evil"),
    "hard-link-to-nothing": header("h", b"1", b"nothing"),
    "hard-link-to-itself": header("h", b"1", b"h"),
    "hard-link-to-folder": header("d/", b"5", mode=0o755) + header("h", b"1", b"d"),
    "pax-path-dotdot": pax([("path", "../../../evil")]) + file("x"),
    "pax-link-absolute": pax([("linkpath", "/etc/passwd")]) + header("h", b"1", b"x"),
    "gnu-long-dotdot": file("././@LongLink", b"../" * 60 + b"evil\0", kind=b"L") + file("x"),
    "opaque-outside": file("../.wh..wh..opq", b""),
    "whiteout-outside": file("../.wh.etc", b""),
    "whiteout-of-dotdot": file(".wh...", b""),
    "whiteout-of-dot": file(".wh..", b""),
    "whiteout-of-nothing": file(".wh.", b""),
    "whiteout-with-slash": file("a/.wh.b/c", b"x"),
    "whiteout-folder": header(".wh.d/", b"5", mode=0o755) + file(".wh.d/x"),
    "whiteout-metadata": file(".wh..wh.plnk/1.2", b"x") + file(".wh..wh.aufs", b""),
    "empty-name": file(""),
    "only-slash": header("/", b"5", mode=0o755) + file("ok"),
    "dev-is-a-link": header("dev", b"2", b"/tmp") + header("proc", b"2", b"/tmp") + header("sys", b"2", b"/tmp"),
    "resolv-is-a-link": header("etc/", b"5", mode=0o755) + header("etc/resolv.conf", b"2", b"/etc/evil") + header("etc/hosts", b"2", b"../../../etc/evil"),
    "etc-is-a-file": file("etc", b"x"),
    "dev-is-a-file": file("dev", b"x") + file("proc", b"x") + file("sys", b"x"),
    "folder-then-link": header("d/", b"5", mode=0o755) + header("d", b"2", b"/tmp") + file("d/evil"),
    "file-then-below": file("f") + file("f/evil"),
    "same-name-thrice": file("f", b"1") + file("f", b"2") + file("f", b"3"),
}


@pytest.mark.parametrize("what", TRAVERSAL)
@pytest.mark.parametrize("engine", ["erofs", "unpacked"])
def test_paths_that_lead_elsewhere(place, what, engine):
    daemon = place.daemon("--snapshotter", engine)
    image = try_it(daemon, place, TRAVERSAL[what] + END)
    if image is not None:
        assert not [name for name in image.files if ".." in name.split("/")]


@pytest.mark.parametrize("what", ["link-then-through", "etc-is-a-link", "hard-link-through-link"])
def test_paths_that_lead_elsewhere_without_openat2(place, what):
    try_it(place.daemon("--snapshotter", "unpacked", env={"CX_DISABLE": "openat2"}), place, TRAVERSAL[what] + END)


def test_devices_are_harmless(daemon, place):
    nodes = [tarfile.TarInfo("sda"), tarfile.TarInfo("mem"), tarfile.TarInfo("pipe")]
    for info, kind, major, minor in zip(nodes, (tarfile.BLKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE), (8, 1, 0), (0, 1, 0)):
        info.type, info.devmajor, info.devminor, info.mode = kind, major, minor, 0o666
    image = try_it(daemon, place, tree(*nodes), steps=[copy("bb:/bin/busybox /sh"), run("/sh head -c 1 /sda > /got-sda; /sh head -c 1 /mem > /got-mem; true", shell="/sh")])
    if image is not None:
        assert image.read("/got-sda") == b"" and image.read("/got-mem") == b""


NUMBERS = {
    "size-negative-base256": header("f", size_field=b"\xff" * 12),
    "size-huge-base256": header("f", size_field=b"\x80" + b"\x7f" * 11),
    "size-overlong": header("f", size_field=b"77777777777\0"),
    "size-not-octal": header("f", size_field=b"0000000009x\0"),
    "size-spaces": header("f", size_field=b"           \0"),
    "size-minus": header("f", size_field=b"-0000000001\0"),
    "size-beyond-the-end": header("f", size=100000) + b"short",
    "folder-with-size": header("d/", b"5", size=512) + b"\0" * 512,
    "link-with-size": header("l", b"2", b"x", size=1 << 30),
    "bad-checksum": header("f")[:148] + b"000000\0 " + header("f")[156:],
    "no-magic": header("f", magic=b"\0" * 8),
    "unknown-type": header("f", b"Z"),
    "uid-huge": header("f", uid=b"\x80" + b"\xff" * 7),
    "uid-negative": header("f", uid=b"\xff" * 8),
    "pax-length-lies": file("x", b"99 path=evil\n", kind=b"x") + file("f"),
    "pax-length-zero": file("x", b"0 path=evil\n", kind=b"x") + file("f"),
    "pax-length-huge": file("x", b"99999999999999999999 path=evil\n", kind=b"x") + file("f"),
    "pax-no-newline": file("x", b"13 path=evil!", kind=b"x") + file("f"),
    "pax-no-equals": file("x", b"9 pathe\n", kind=b"x") + file("f"),
    "pax-size-negative": pax([("size", "-1")]) + file("f"),
    "pax-size-huge": pax([("size", "9" * 30)]) + file("f"),
    "pax-size-text": pax([("size", "many")]) + file("f"),
    "pax-nul-in-path": pax([("path", b"a\0b")]) + file("f"),
    "pax-uid-huge": pax([("uid", str(1 << 40))]) + file("f"),
    "pax-mtime-nan": pax([("mtime", "nan")]) + file("f"),
    "pax-mtime-huge": pax([("mtime", "1e400")]) + file("f"),
    "pax-global-path": file("x", b"13 path=evil\n", kind=b"g") + file("f"),
    "pax-at-the-end": pax([("path", "x")]),
    "pax-xattr-odd": pax([("SCHILY.xattr.", "x"), ("SCHILY.xattr.user.\0", "y")]) + file("f"),
    "pax-xattr-trusted-overlay": pax([("SCHILY.xattr.trusted.overlay.redirect", "/etc"), ("SCHILY.xattr.trusted.overlay.opaque", "y")]) + header("d/", b"5", mode=0o755),
    "pax-sparse-lies": pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "9" * 18)]) + file("f", b"1\n0\n99999\n"),
    "pax-sparse-overlap": pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "10")]) + file("f", (b"2\n0\n8\n4\n8\n").ljust(512, b"\0") + b"x" * 16),
    "pax-chain": pax([("path", "a")]) * 100 + file("f"),
    "gnu-sparse-extended": header("s", b"S", size=512),
    "gnu-long-chain": file("././@LongLink", b"n" * 200 + b"\0", kind=b"L") * 50 + file("f"),
    "one-end-block": file("f") + b"\0" * 512,
    "no-end-block": file("f"),
    "junk-after-the-end": file("f") + END + b"junk" * 1000,
    "half-a-block": file("f") + b"x" * 100,
    "volume-header": header("vol", b"V") + file("f"),
    "multi-volume": header("f", b"M", size=100),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_headers_that_lie(daemon, place, what):
    data = NUMBERS[what]
    image = try_it(daemon, place, data if what.startswith(("one-end", "no-end", "junk", "half", "size-beyond")) else data + END)
    if image is not None:
        assert "/evil" not in image.files or what in ("pax-global-path",)
    if what == "pax-xattr-trusted-overlay" and image is not None:
        members = image.layers[0] + image.layers[1]
        assert not [m for m in members if any(key.startswith("SCHILY.xattr.trusted.overlay") for key in m.pax_headers)] or image.read("/list") is not None


def test_huge_pax_header(daemon, place):
    try_it(daemon, place, pax([("comment", "x" * (8 << 20))]) + file("f") + END, refused=True)


def test_huge_xattrs(daemon, place):
    try_it(daemon, place, pax([("SCHILY.xattr.user.a%d" % n, "x" * 60000) for n in range(10)]) + file("f") + END)


def test_long_paths(daemon, place):
    deep = "/".join(["d"] * 300) + "/f"
    long = "/".join(["n" * 250] * 20) + "/f"
    component = "c" * 300
    for path in (deep, long, component):
        try_it(daemon, place, pax([("path", path)]) + file("x") + END)
    deepest = "/".join(["d"] * 5000)
    try_it(daemon, place, pax([("path", deepest)]) + header("x", b"5", mode=0o755) + END, refused=True)


def million(count, compressor):
    """A gzip stream of a layer with count empty files in folders of a thousand, and its digest."""
    sha = hashlib.sha256()
    out = bytearray()
    blocks = {}  # by the sum of a folder's digits, which is all that differs in the checksums

    def put(data):
        sha.update(data)
        out.extend(compressor.compress(data))
    for folder in range(count // 1000):
        name = b"d/%04d" % folder
        digits = sum(name)
        if digits not in blocks:
            blocks[digits] = b"".join([header(name + b"/", b"5", mode=0o755), *[header(name + b"/%04d" % n) for n in range(1000)]]).replace(name, b"d/@@@@")
        put(blocks[digits].replace(b"d/@@@@", name))
    put(END)
    out.extend(compressor.flush())
    return bytes(out), "sha256:" + sha.hexdigest()


def image_of_stream(place, stream, diff_id, name="evil.tar"):
    image = Image([], "gzip")
    image.blobs, image.diffs[:] = [stream], [diff_id]
    image.config["history"] = [{}]
    return place.image(name, image)


@pytest.mark.skipif(SANITIZED, reason="a million entries take minutes under the sanitizers; the plain program is tested")
def test_a_million_entries(daemon, place):
    stream, diff_id = million(1000000, zlib.compressobj(1, zlib.DEFLATED, 31))
    place.write("a", "A")
    source = image_of_stream(place, stream, diff_id)
    daemon.reset_peak()
    before = daemon.peak_kib()
    try:
        daemon.build(stage(source, copy("a /d/0001/a")))
    except Exception as error:
        assert_says(str(error), "evil.tar", "entries")
    # Metadata of a million files may be held while the index is written, their count times a fixed few hundred bytes.
    assert daemon.peak_kib() - before < 600 << 10


def bomb(size):
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = compressor.compress(header("zeros", size=size))
    block = b"\0" * (1 << 20)
    for _ in range(size >> 20):
        out += compressor.compress(block)
    return out + compressor.compress(END) + compressor.flush()


def test_decompression_bomb(place):
    """A gigabyte of zeros out of a megabyte: within the limits it is stored as holes, memory stays flat."""
    size = 1 << 30
    stream = bomb(size)
    sha = hashlib.sha256(header("zeros", size=size))
    for _ in range(size >> 20):
        sha.update(b"\0" * (1 << 20))
    sha.update(END)
    daemon = place.daemon()
    daemon.reset_peak()
    before = daemon.peak_kib()
    source = image_of_stream(place, stream, "sha256:" + sha.hexdigest())
    place.write("a", "A")
    events, answer = daemon.streamed(stage(source, copy("a /a")), stage("file evil.tar", name="b", transient=True))
    assert events and answer["command"] == "ok", answer
    assert daemon.peak_kib() - before < (64 << 10) * (4 if SANITIZED else 1)
    used = sum(p.stat().st_blocks * 512 for p in (place.root / "layers").rglob("*") if p.is_file())
    assert used < 100 << 20
    (place.out / "image.tar").unlink()


GZIP = {
    "truncated": lambda d: d[:-9],
    "crc-wrong": lambda d: d[:-8] + struct.pack("<I", 17) + d[-4:],
    "trailing-junk": lambda d: d + b"junk",
    "two-members": lambda d: gzip.compress(gzip.decompress(d)[:1024]) + gzip.compress(gzip.decompress(d)[1024:]),
    "not-gzip": lambda d: b"BZh9" + d,
    "empty": lambda d: b"",
    "reserved-flags": lambda d: d[:3] + b"\xe0" + d[4:],
    "with-name": lambda d: d[:3] + b"\x08" + d[4:10] + b"n" * 1000 + b"\0" + d[10:],
    "with-endless-name": lambda d: d[:3] + b"\x08" + d[4:10] + b"n" * 100000 + b"\0" + d[10:],
    "stored-blocks-lie": lambda d: d[:10] + b"\x01\xff\xff\xff\xff" + d[10:],
}


@pytest.mark.parametrize("what", GZIP)
def test_gzip_streams(daemon, place, what):
    tar = tree(("f", b"F" * 3000))
    stream = GZIP[what](gzip.compress(tar, mtime=0))
    source = image_of_stream(place, stream, image_file.sha256(tar))
    place.write("a", "A")
    if what in ("two-members", "with-name"):
        assert daemon.build(stage(source, copy("a /a"))).read("/f") == b"F" * 3000
    else:
        assert_says(daemon.refuse(stage(source, copy("a /a"))), "evil.tar")


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/sh\n" * 100000, b"x" * (64 << 20), b"\0" * 1000, b"nobody:x:99999999999999:0::/:\n", b"nobody:x:-1:-1::/:\n",
                                     b"nobody:x:4294967296:0::/:\n", "link"], ids=["long", "huge", "nul", "overflow", "negative", "wrap", "link"])
def test_user_tables_of_the_image(daemon, place, name, content):
    """User lookup reads attacker's files: bounded, never through a link that leaves the image, never root by overflow."""
    layer = tree(("etc", None), (name, "-> /../../../etc/shadow" if content == "link" else content))
    image = Image([layer], config={"User": "nobody:nobody"})
    place.base("busybox.tar")
    place.image("evil.tar", image)
    stages = [stage("file busybox.tar", name="bb", transient=True),
              stage("file evil.tar", copy("bb:/bin/busybox /sh"), run("/sh id -u > /dev/null; /sh id -u", shell="/sh"))]
    try:
        events, answer = daemon.streamed(*stages)
    finally:
        assert daemon.status()["running"]
    if answer["command"] == "ok":
        printed = "".join(event.get("data", "") for event in events)
        assert printed.strip() not in ("", "0"), "it ran as root"
    else:
        assert "\n" not in answer["payload"]["message"]


@pytest.mark.parametrize("workdir", ["/proc/self/fd/7", "/proc/self/fd/7/../../..", "/../../../..", "/sys/fs/cgroup", "/etc/passwd", "//", "/a\tb"])
def test_working_folders(daemon, place, workdir):
    place.base("busybox.tar")
    try:
        image = daemon.build(stage("file busybox.tar", run("pwd -P > /pwd; ls > /list", workdir=workdir)))
    except Exception as error:
        assert_says(str(error), "step 1")
        return
    assert b"cruxd" not in image.read("/list") and b"ctx" not in image.read("/list")


def test_workdir_through_a_link_stays_inside(daemon, place):
    place.base("busybox.tar")
    image = daemon.build(stage("file busybox.tar", run("ln -s /../../../tmp /way; ln -s /nowhere /lost"), run("touch evil", workdir="/way"), run("touch f", workdir="/way/new")))
    assert "/tmp/evil" in image.files and "/tmp/new/f" in image.files


@pytest.mark.parametrize("label", ["org.crucible.hook", "containerd.io/gc.root", "io.containers.autoupdate"])
def test_labels_do_nothing(daemon, place, label):
    place.image("evil.tar", Image([tree(("f", b"x"))], config={"Labels": {label: "/bin/sh -c 'touch /evil'"}, "OnBuild": ["RUN touch /evil"], "Volumes": {"/etc": {}}}))
    place.write("a", "A")
    image = daemon.build(stage("file evil.tar", copy("a /a")))
    assert image.config["config"]["Labels"][label]


@pytest.mark.parametrize("env", [["NOEQUALS"], ["=x"], ["A=\u0001"], ["PATH="], ["LD_PRELOAD=/evil.so"], ["A=" + "x" * 200000]], ids=lambda e: e[0][:10])
def test_environment_of_the_image(daemon, place, env):
    place.base("busybox.tar")
    with tarfile.open(place.bases / "busybox-docker.tar") as tar:
        data = next(tar.extractfile(m).read() for m in tar if m.name.endswith("layer.tar"))
    place.image("evil.tar", Image([data], config={"Env": env}))
    try:
        daemon.build(stage("file evil.tar", run("/bin/true", shell="/bin/sh")))
    except Exception as error:
        assert "\n" not in str(error)
    assert daemon.status()["running"]


def test_runtime_sees_nothing_of_the_daemon(daemon, place):
    """A step looks for the host in every place known to have leaked one."""
    place.base("busybox.tar")
    image = daemon.build(stage("file busybox.tar", run(
        "ls -l /proc/self/fd /proc/1/fd > /fds 2>&1; cat /proc/1/cmdline | tr '\\0' ' ' > /cmdline; cat /proc/self/mountinfo > /mounts; ls /sys/fs/cgroup > /cgroup 2>&1; "
        "ls /proc/1/root/ > /root1; cat /proc/1/environ | tr '\\0' '\\n' > /environ")))
    for path in ("/cmdline", "/environ"):
        assert b"crun" not in image.read(path) and b"CRUXD" not in image.read(path)
    assert str(place.context).encode() not in image.read("/fds")
    assert b"context" not in image.read("/root1") and b"bin" in image.read("/root1")
