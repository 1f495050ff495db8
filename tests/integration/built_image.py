# SPDX-License-Identifier: Apache-2.0
"""Reads an image.tar as a stranger would, checking every digest and size on the way."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import types


class BuiltImage:
    """index, manifest and config as objects; layers as lists of tar members; files: the flattened image, "/path" -> Entry."""

    def __init__(self, path, platform=None):
        self.path = str(path)
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.blobs = {}
        with tarfile.open(fileobj=io.BytesIO(self.bytes)) as tar:
            self.members = tar.getmembers()
            content = {m.name: tar.extractfile(m).read() for m in self.members if m.isreg()}
        names = [m.name for m in self.members]
        assert len(names) == len(set(names)), "a name twice in %s" % names
        assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        for name, data in content.items():
            if name.startswith("blobs/sha256/"):
                assert hashlib.sha256(data).hexdigest() == name[len("blobs/sha256/"):], name
                self.blobs["sha256:" + name[len("blobs/sha256/"):]] = data
        self.index = json.loads(content["index.json"])
        assert self.index["schemaVersion"] == 2 and len(self.index["manifests"]) == 1
        self.descriptor = self.index["manifests"][0]
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.docker = json.loads(content["manifest.json"])
        self._check_docker(content)
        self._check_layers()

    @property
    def digest(self):
        return self.descriptor["digest"]

    def blob(self, descriptor):
        data = self.blobs[descriptor["digest"]]
        assert len(data) == descriptor["size"], descriptor
        return data

    def _check_docker(self, content):
        assert len(self.docker) == 1
        assert content[self.docker[0]["Config"]] == self.blob(self.manifest["config"])
        assert [content[name] for name in self.docker[0]["Layers"]] == [self.blob(d) for d in self.manifest["layers"]]

    def _check_layers(self):
        diff_ids = self.config["rootfs"]["diff_ids"]
        assert self.config["rootfs"]["type"] == "layers"
        assert len(diff_ids) == len(self.manifest["layers"])
        history = self.config.get("history")
        if history is not None:
            assert len([h for h in history if not h.get("empty_layer")]) == len(diff_ids), "history and layers out of step"
        self.layers = []
        self.tars = []
        for diff_id, descriptor in zip(diff_ids, self.manifest["layers"]):
            tar = plain(self.blob(descriptor), descriptor["mediaType"])
            assert "sha256:" + hashlib.sha256(tar).hexdigest() == diff_id
            self.tars.append(tar)
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                self.layers.append(archive.getmembers())

    @property
    def files(self):
        """The image's file system, whiteouts applied."""
        files = {}
        for tar in self.tars:
            below = set(files)
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                for member in archive.getmembers():
                    path = path_of(member.name)
                    if path == "/":
                        continue
                    folder, _, base = path.rpartition("/")
                    if base == ".wh..wh..opq":
                        drop(files, [p for p in below if p.startswith(folder + "/")])
                    elif base.startswith(".wh."):
                        gone = folder + "/" + base[len(".wh."):]
                        drop(files, [p for p in below if p == gone or p.startswith(gone + "/")])
                    else:
                        if not member.isdir():
                            drop(files, [p for p in files if p.startswith(path + "/")])
                        data = archive.extractfile(member).read() if member.isreg() else None
                        if member.islnk():
                            data = files[path_of(member.linkname)].data
                        files[path] = types.SimpleNamespace(info=member, data=data)
        return files

    def read(self, path):
        return self.files[path].data

    def names(self):
        """Paths in the topmost layer, sorted as they stand."""
        return [path_of(m.name) for m in self.layers[-1]]


def path_of(name):
    return os.path.normpath("/" + name.lstrip("/"))


def drop(files, paths):
    for path in paths:
        files.pop(path, None)


def plain(data, media_type):
    if media_type.endswith("gzip"):
        return gzip.decompress(data)
    if media_type.endswith("zstd"):
        return subprocess.run(["zstd", "-dqc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data
