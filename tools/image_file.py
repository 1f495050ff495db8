#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes image files: OCI archives, OCI layout folders and `docker save` archives, from layer tars.

The base images, the tests and the bench make their images with it.  The same layers give the same bytes.
As a program: image_file.py [--docker] [--gzip] [--name N:T] [--cmd WORD]... OUT.tar LAYER.tar...
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile

DATE = "2024-01-01T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


def host_architecture():
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def to_json(thing):
    return json.dumps(thing, separators=(",", ":"), sort_keys=True).encode()


def compress(data, how):
    """Layer bytes as stored: how is None, "gzip" or "zstd"."""
    if how is None:
        return data
    if how == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def tree(*entries):
    """A layer tar.  An entry is a tarfile.TarInfo, or (name, content[, mode]): bytes for a file, None for a folder, "-> target" for a
    symbolic link, "=> target" for a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            data = None
            if isinstance(entry, tarfile.TarInfo):
                info = entry
            elif isinstance(entry[0], tarfile.TarInfo):
                info, data = entry
            else:
                info, data = _member(*entry)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def _member(name, content, mode=None):
    info = tarfile.TarInfo(name)
    info.mtime = 1704067200
    info.mode = mode if mode is not None else 0o755 if content is None else 0o644
    if content is None:
        info.type = tarfile.DIRTYPE
    elif isinstance(content, str):
        info.type = tarfile.SYMTYPE if content.startswith("-> ") else tarfile.LNKTYPE
        info.linkname = content[3:]
        info.mode = 0o777
    else:
        info.size = len(content)
        return info, content
    return info, None


class Image:
    """One platform's image: layers (uncompressed tars) and config."""

    def __init__(self, layers=(), compression=None, config=None, architecture=None, variant=None, docker_types=False):
        self.diffs = [sha256(tar) for tar in layers]
        self.blobs = [compress(tar, compression) for tar in layers]
        self.architecture = architecture or host_architecture()
        self.config = {
            "created": DATE, "architecture": self.architecture, "os": "linux",
            "config": {"Env": [PATH], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": self.diffs},
            "history": [{"created": DATE, "created_by": "image_file.py"} for _ in layers],
        }
        if variant:
            self.config["variant"] = variant
        suffix = {None: "", "gzip": "+gzip", "zstd": "+zstd"}[compression]
        self.layer_type = OCI + "layer.v1.tar" + suffix
        self.config_type = OCI + "config.v1+json"
        self.manifest_type = OCI + "manifest.v1+json"
        if docker_types:
            self.layer_type = DOCKER + "image.rootfs.diff.tar" + suffix.replace("+", ".")
            self.config_type = DOCKER + "container.image.v1+json"
            self.manifest_type = DOCKER + "distribution.manifest.v2+json"

    def config_json(self):
        return to_json(self.config)

    def manifest(self):
        config = self.config_json()
        return {
            "schemaVersion": 2, "mediaType": self.manifest_type,
            "config": {"mediaType": self.config_type, "digest": sha256(config), "size": len(config)},
            "layers": [{"mediaType": self.layer_type, "digest": sha256(b), "size": len(b)} for b in self.blobs],
        }

    def descriptor(self, with_platform=True, name=None):
        data = to_json(self.manifest())
        result = {"mediaType": self.manifest_type, "digest": sha256(data), "size": len(data)}
        if with_platform:
            result["platform"] = {"architecture": self.architecture, "os": "linux"}
            if "variant" in self.config:
                result["platform"]["variant"] = self.config["variant"]
        if name:
            result["annotations"] = {"org.opencontainers.image.ref.name": name.rpartition(":")[2], "io.containerd.image.name": name}
        return result

    def files(self):
        """Blobs by path in a layout."""
        documents = [self.config_json(), to_json(self.manifest())]
        return {"blobs/sha256/" + sha256(b)[7:]: b for b in documents + self.blobs}


def layout_files(images, name=None, with_platform=True, index=None):
    """Everything in an OCI layout, path -> bytes."""
    files = {"oci-layout": to_json({"imageLayoutVersion": "1.0.0"})}
    if index is None:
        index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json",
                 "manifests": [i.descriptor(with_platform, name) for i in images]}
    files["index.json"] = to_json(index)
    for image in images:
        files.update(image.files())
    return files


def docker_files(image, name="base:latest"):
    """What `docker save` of old wrote: manifest.json, <config>.json, <n>/layer.tar."""
    config = image.config_json()
    files = {sha256(config)[7:] + ".json": config}
    layers = []
    for n, blob in enumerate(image.blobs):
        layers.append("%s%d/layer.tar" % (image.diffs[n][7:39], n))
        files[layers[-1]] = blob
    files["manifest.json"] = to_json([{"Config": sha256(config)[7:] + ".json", "RepoTags": [name] if name else None, "Layers": layers}])
    return files


def write_archive(path, files):
    """Appears whole or not at all."""
    with open(path + ".new", "wb") as out:
        out.write(archive_bytes(files))
    os.rename(path + ".new", path)


def archive_bytes(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted({"/".join(f.split("/")[:i]) for f in files for i in range(1, f.count("/") + 1)}):
            tar.addfile(_member(folder, None)[0])
        for name, data in files.items():
            tar.addfile(_member(name, data)[0], io.BytesIO(data))
    return out.getvalue()


def write_layout(folder, files):
    for name, data in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--docker", action="store_true", help="write a docker save archive")
    parser.add_argument("--gzip", action="store_true", help="compress the layers")
    parser.add_argument("--name", default="base:latest")
    parser.add_argument("--cmd", action="append")
    parser.add_argument("out")
    parser.add_argument("layer", nargs="*")
    args = parser.parse_args()
    layers = []
    for path in args.layer:
        with open(path, "rb") as f:
            layers.append(f.read())
    image = Image(layers, "gzip" if args.gzip else None, {"Cmd": args.cmd} if args.cmd else None)
    write_archive(args.out, docker_files(image, args.name) if args.docker else layout_files([image], args.name))


if __name__ == "__main__":
    main()
