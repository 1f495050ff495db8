# SPDX-License-Identifier: Apache-2.0
"""Every form a base image file comes in (spec/daemon.md §6)."""
import io
import json
import os
import subprocess
import tarfile

import pytest
from harness import assert_says, copy, image_file, run, stage
from image_file import Image, layout_files, tree

HOST = image_file.host_architecture()
LAYERS = [tree(("etc", None), ("etc/one", b"1"), ("etc/two", b"2")), tree(("etc/.wh.one", b""), ("etc/three", b"3"))]


def use(daemon, place, source="file base.tar", **how):
    """Builds on it and reads what the layers gave."""
    place.write("a", "A")
    image = daemon.build(stage(source, copy("a /a")), **how)
    assert sorted(p for p, f in image.files.items() if f.data is not None) == ["/a", "/etc/three", "/etc/two"]
    return image


@pytest.mark.parametrize("docker_types", [False, True], ids=["oci-types", "docker-types"])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("form", ["archive", "layout", "docker-save"])
def test_forms(daemon, place, form, compression, docker_types):
    if form == "docker-save" and docker_types:
        docker_types = False
    image = Image(LAYERS, compression, docker_types=docker_types)
    if form == "archive":
        place.image("base.tar", image)
    elif form == "layout":
        image_file.write_layout(str(place.context / "base.tar"), layout_files([image]))
    else:
        image_file.write_archive(str(place.context / "base.tar"), image_file.docker_files(image))
    built = use(daemon, place)
    if form != "docker-save":
        assert [d["digest"] for d in built.manifest["layers"][:2]] == [image_file.sha256(b) for b in image.blobs], "layers keep the bytes they came with"


def test_docker_save_of_today(daemon, place):
    """A layout with a manifest.json beside it."""
    image = Image(LAYERS)
    files = layout_files([image])
    blobs = ["blobs/sha256/" + image_file.sha256(b)[7:] for b in image.blobs]
    files["manifest.json"] = image_file.to_json([{"Config": "blobs/sha256/" + image_file.sha256(image.config_json())[7:], "RepoTags": ["x:1"], "Layers": blobs}])
    image_file.write_archive(str(place.context / "base.tar"), files)
    use(daemon, place)


def test_our_own_output_is_a_base(daemon, place):
    place.base("busybox.tar")
    daemon.build(stage("file busybox.tar", run("echo 1 > /one")), output=str(place.context / "first"))
    image = daemon.build(stage("file first/image.tar", run("cat /one /one > /two")))
    assert image.read("/two") == b"1\n1\n"
    assert len(image.layers) == 3


def test_busybox_of_both_forms(daemon, place):
    place.base("busybox.tar")
    place.base("busybox-docker.tar")
    one = daemon.build(stage("file busybox.tar", run("echo hi > /hi")), output=str(place.path / "o1"))
    two = daemon.build(stage("file busybox-docker.tar", run("echo hi > /hi")), output=str(place.path / "o2"))
    assert one.config["rootfs"] == two.config["rootfs"]


def test_archive_members_with_dot_slash(daemon, place):
    files = layout_files([Image(LAYERS, "gzip")])
    image_file.write_archive(str(place.context / "base.tar"), {"./" + name: data for name, data in files.items()})
    use(daemon, place)


def test_index_last_in_the_archive(daemon, place):
    files = layout_files([Image(LAYERS, "gzip")])
    image_file.write_archive(str(place.context / "base.tar"), dict(reversed(files.items())))
    use(daemon, place)


def test_nested_index(daemon, place):
    image = Image(LAYERS, "gzip")
    inner = image_file.to_json({"schemaVersion": 2, "mediaType": image_file.OCI + "index.v1+json", "manifests": [image.descriptor()]})
    outer = {"schemaVersion": 2, "manifests": [{"mediaType": image_file.OCI + "index.v1+json", "digest": image_file.sha256(inner), "size": len(inner)}]}
    files = layout_files([image], index=outer)
    files["blobs/sha256/" + image_file.sha256(inner)[7:]] = inner
    image_file.write_archive(str(place.context / "base.tar"), files)
    use(daemon, place)


def test_index_that_contains_itself_cannot_exist_but_depth_can(daemon, place):
    image = Image(LAYERS)
    files = layout_files([image])
    descriptor = image.descriptor()
    for _ in range(100):
        index = image_file.to_json({"schemaVersion": 2, "manifests": [descriptor]})
        descriptor = {"mediaType": image_file.OCI + "index.v1+json", "digest": image_file.sha256(index), "size": len(index)}
        files["blobs/sha256/" + descriptor["digest"][7:]] = index
    files["index.json"] = image_file.to_json({"schemaVersion": 2, "manifests": [descriptor]})
    image_file.write_archive(str(place.context / "base.tar"), files)
    place.write("a")
    daemon.refuse(stage("file base.tar", copy("a /a")))


# ---- platforms -------------------------------------------------------------------------------

def platforms_base(place, images, with_platform=True):
    image_file.write_archive(str(place.context / "base.tar"), layout_files(images, with_platform=with_platform))
    place.write("a", "A")


@pytest.mark.parametrize("with_platform", [True, False], ids=["by-descriptor", "by-config"])
def test_platform_is_chosen(daemon, place, with_platform):
    images = [Image([tree(("arch", a.encode()))], architecture=a) for a in ("s390x", "riscv64", HOST)]
    platforms_base(place, images, with_platform)
    assert daemon.build(stage("file base.tar", copy("a /a"))).read("/arch") == HOST.encode()


def test_variants(daemon, place):
    images = [Image([tree(("arch", b"v7"))], architecture="arm", variant="v7"), Image([tree(("arch", b"v8"))], architecture="arm64", variant="v8")]
    platforms_base(place, images)
    for want, got in (("linux/arm64", b"v8"), ("linux/arm64/v8", b"v8"), ("linux/arm/v7", b"v7"), ("linux/arm", b"v7")):
        assert daemon.build(stage("file base.tar", copy("a /a")), platforms=[want]).read("/arch") == got


def test_nothing_fits(daemon, place):
    platforms_base(place, [Image([tree(("arch", a.encode()))], architecture=a) for a in ("s390x", "riscv64")])
    assert_says(daemon.refuse(stage("file base.tar", copy("a /a"))), "linux/" + HOST, "linux/s390x", "linux/riscv64")


def test_attestations_are_no_images(daemon, place):
    image = Image(LAYERS, "gzip")
    other = Image([tree(("attest", b""))])
    other_descriptor = {**other.descriptor(), "platform": {"architecture": "unknown", "os": "unknown"}, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"schemaVersion": 2, "manifests": [other_descriptor, image.descriptor()]}
    image_file.write_archive(str(place.context / "base.tar"), layout_files([image, other], index=index))
    use(daemon, place)


# ---- what is wrong with it --------------------------------------------------------------------

def broken(place, change):
    """A layout's files after change(files, image)."""
    image = Image(LAYERS, "gzip")
    files = layout_files([image])
    change(files, image)
    image_file.write_archive(str(place.context / "base.tar"), files)
    place.write("a", "A")


def blob_name(data):
    return "blobs/sha256/" + image_file.sha256(data)[7:]


def replace_document(files, image, **changes):
    """Changes the config and mends every digest that leads to it."""
    for key, value in changes.items():
        image.config[key] = value
    for name, data in layout_files([image]).items():
        files[name] = data


def replace_manifest(files, image, change):
    manifest = image.manifest()
    change(manifest)
    data = image_file.to_json(manifest)
    files[blob_name(data)] = data
    descriptor = {**image.descriptor(), "digest": image_file.sha256(data), "size": len(data)}
    files["index.json"] = image_file.to_json({"schemaVersion": 2, "manifests": [descriptor]})


def flip(data):
    return data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]


BROKEN = {
    "no-index": lambda f, i: f.pop("index.json"),
    "index-no-json": lambda f, i: f.update({"index.json": b"{"}),
    "index-a-list": lambda f, i: f.update({"index.json": b"[]"}),
    "index-empty": lambda f, i: f.update({"index.json": b'{"schemaVersion":2,"manifests":[]}'}),
    "index-huge": lambda f, i: f.update({"index.json": b'{"schemaVersion":2,"manifests":[]' + b" " * (5 << 20) + b"}"}),
    "layer-missing": lambda f, i: f.pop(blob_name(i.blobs[1])),
    "layer-damaged": lambda f, i: f.update({blob_name(i.blobs[0]): flip(i.blobs[0])}),
    "layer-truncated": lambda f, i: f.update({blob_name(i.blobs[0]): i.blobs[0][:-20]}),
    "layer-too-long": lambda f, i: f.update({blob_name(i.blobs[0]): i.blobs[0] + b"x"}),
    "config-missing": lambda f, i: f.pop(blob_name(i.config_json())),
    "config-damaged": lambda f, i: f.update({blob_name(i.config_json()): flip(i.config_json())}),
    "manifest-missing": lambda f, i: f.pop(blob_name(image_file.to_json(i.manifest()))),
    "diff-ids-wrong": lambda f, i: replace_document(f, i, rootfs={"type": "layers", "diff_ids": ["sha256:" + "0" * 64, i.diffs[1]]}),
    "diff-ids-too-few": lambda f, i: replace_document(f, i, rootfs={"type": "layers", "diff_ids": [i.diffs[0]]}),
    "diff-ids-bad-digest": lambda f, i: replace_document(f, i, rootfs={"type": "layers", "diff_ids": ["sha256:../../../etc", i.diffs[1]]}),
    "config-huge": lambda f, i: replace_document(f, i, junk="x" * (5 << 20)),
    "config-deep": lambda f, i: replace_document(f, i, junk=json.loads("[" * 900 + "]" * 900)),
    "digest-path": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(digest="sha256:../../oci-layout")),
    "digest-upper": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(digest=m["layers"][0]["digest"].upper())),
    "digest-short": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(digest="sha256:abc")),
    "digest-md5": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(digest="md5:" + "a" * 32)),
    "digest-number": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(digest=17)),
    "size-negative": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(size=-1)),
    "size-wrong": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(size=m["layers"][0]["size"] + 1)),
    "size-huge": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(size=1 << 62)),
    "size-float": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(size=1.5)),
    "media-type-confusion": lambda f, i: replace_manifest(f, i, lambda m: m.update(mediaType=image_file.OCI + "index.v1+json", manifests=[])),
    "layer-type-lies": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(mediaType=image_file.OCI + "layer.v1.tar+zstd")),
    "layer-type-unknown": lambda f, i: replace_manifest(f, i, lambda m: m["layers"][0].update(mediaType="application/x-shellscript")),
    "schema-1": lambda f, i: replace_manifest(f, i, lambda m: m.update(schemaVersion=1)),
    "layers-no-list": lambda f, i: replace_manifest(f, i, lambda m: m.update(layers={})),
    "config-is-layer": lambda f, i: replace_manifest(f, i, lambda m: m.update(config=m["layers"][0])),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bases(daemon, place, what):
    broken(place, BROKEN[what])
    message = daemon.refuse(stage("file base.tar", copy("a /a")))
    assert_says(message, "base.tar")


DOCKER = {
    "no-manifest": lambda m, f: f.pop("manifest.json"),
    "two-images": lambda m, f: m.append(m[0]),
    "none": lambda m, f: m.clear(),
    "config-outside": lambda m, f: m[0].update(Config="../../etc/passwd"),
    "layer-outside": lambda m, f: m[0].update(Layers=["../../../etc/passwd", m[0]["Layers"][1]]),
    "layer-absolute": lambda m, f: m[0].update(Layers=["/etc/passwd", m[0]["Layers"][1]]),
    "layer-missing": lambda m, f: f.pop(m[0]["Layers"][0]),
    "too-few-layers": lambda m, f: m[0].update(Layers=m[0]["Layers"][:1]),
    "no-config": lambda m, f: m[0].pop("Config"),
    "layers-number": lambda m, f: m[0].update(Layers=7),
}


@pytest.mark.parametrize("what", DOCKER)
def test_broken_docker_archives(daemon, place, what):
    image = Image(LAYERS)
    files = image_file.docker_files(image)
    manifest = json.loads(files["manifest.json"])
    DOCKER[what](manifest, files)
    if "manifest.json" in files:
        files["manifest.json"] = image_file.to_json(manifest)
    image_file.write_archive(str(place.context / "base.tar"), files)
    place.write("a")
    if what == "two-images":  # the same one twice: no question which is meant
        try:
            daemon.build(stage("file base.tar", copy("a /a")))
        except Exception as error:
            assert_says(str(error), "base.tar")
        return
    assert_says(daemon.refuse(stage("file base.tar", copy("a /a"))), "base.tar")


def test_docker_archive_with_linked_layers(daemon, place):
    """Old docker wrote equal layers as symbolic links to the first."""
    image = Image([LAYERS[0], LAYERS[0]])
    files = image_file.docker_files(image)
    first, second = json.loads(files["manifest.json"])[0]["Layers"]
    del files[second]
    data = image_file.archive_bytes(files)
    out = io.BytesIO(data)
    with tarfile.open(fileobj=out, mode="a", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(second)
        info.type, info.linkname = tarfile.SYMTYPE, "../" + first
        tar.addfile(info)
    (place.context / "base.tar").write_bytes(out.getvalue())
    place.write("a", "A")
    assert daemon.build(stage("file base.tar", copy("a /a"))).read("/etc/one") == b"1"


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240, b"\x1f\x8b\x08\0\0\0\0\0", bytes(range(256)) * 40], ids=["empty", "text", "zeros", "gzip-head", "bytes"])
def test_no_archive_at_all(daemon, place, content):
    place.write("base.tar", content)
    assert_says(daemon.refuse(stage("file base.tar")), "base.tar")


def test_not_a_file(daemon, place):
    (place.context / "base.tar").mkdir()
    assert_says(daemon.refuse(stage("file base.tar")), "base.tar")
    os.mkfifo(place.context / "pipe.tar")
    assert_says(daemon.refuse(stage("file pipe.tar")), "pipe.tar")
    assert_says(daemon.refuse(stage("file ../outside.tar")), "outside.tar")
    assert_says(daemon.refuse(stage("file /etc/passwd")), "/etc/passwd")


@pytest.mark.parametrize("form", ["archive", "docker-save"])
def test_truncated_at_each_kilobyte(daemon, place, form):
    """Each cut is one clear error; what was stored before a cut is found is no obstacle later."""
    noise = bytes((n * n * 7 + n // 3) % 251 for n in range(30000))
    image = Image([tree(("etc", None), ("etc/noise", noise)), LAYERS[1]], "gzip" if form == "archive" else None)
    files = layout_files([image]) if form == "archive" else image_file.docker_files(image)
    whole = image_file.archive_bytes(files)
    end = len(whole.rstrip(b"\0"))
    place.write("a", "A")
    for cut in range(0, end, 1024):
        place.write("base.tar", whole[:cut])
        assert_says(daemon.refuse(stage("file base.tar", copy("a /a"))), "base.tar")
    place.write("base.tar", whole)
    assert daemon.build(stage("file base.tar", copy("a /a"))).read("/etc/noise") == noise


def test_skopeo_made_forms(daemon, place):
    """What somebody else's tool writes."""
    place.base("busybox.tar")
    source = "oci-archive:%s" % (place.context / "busybox.tar")
    for form, path in (("oci-archive", "s1.tar"), ("docker-archive", "s2.tar"), ("oci", "s3")):
        suffix = ":x:1" if form == "docker-archive" else ":x"
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, "%s:%s%s" % (form, place.context / path, suffix)], check=True)
        assert daemon.build(stage("file " + path, run("echo hi > /hi"))).read("/hi") == b"hi\n"
