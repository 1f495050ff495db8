# SPDX-License-Identifier: Apache-2.0
"""What is built and imported: contexts, a big tree and images, the same on every machine."""
import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import image_file  # noqa: E402

WORDS = "int char return static const struct void the of and to in is for on that by this with you it not or be are from at as".split()


def make_pool(size, rng):
    """Bytes that compress about as programs and texts do: by half to two thirds."""
    parts, total = [], 0
    while total < size:
        part = rng.randbytes(900) if rng.random() < 0.35 else " ".join(rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(400)).encode()
        parts.append(part)
        total += len(part)
    return b"".join(parts)[:size]


def make_tree(folder, files, total, seed=1):
    """files regular files of total bytes in folders of twenty, a link for every fifty; sizes spread as in /usr: many small, few large."""
    rng = random.Random(seed)
    pool = make_pool(32 << 20, rng)
    weights = [rng.lognormvariate(0, 2) for _ in range(files)]
    scale = total / sum(weights)
    for number, weight in enumerate(weights):
        place = Path(folder) / ("s%d" % (number // 2000)) / ("d%03d" % (number // 20 % 100))
        if number % 20 == 0:
            place.mkdir(parents=True, exist_ok=True)
        size = int(weight * scale)
        with open(place / ("file-%d.txt" % number), "wb") as f:
            while size > 0:
                start = rng.randrange(len(pool) - 4096)
                f.write(pool[start:start + min(size, 16 << 20)])
                size -= min(size, 16 << 20, len(pool) - start)
        if number % 50 == 0:
            os.symlink("file-%d.txt" % number, place / ("link-%d" % number))


def digest_of(path):
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            sha.update(block)
    return "sha256:" + sha.hexdigest()


def make_archive(folder, name, tars):
    """An OCI archive of gzip -6 layers (by pigz) with a manifest.json beside the index, from layer tars: everybody's import."""
    layout = Path(folder) / (name + ".layout")
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    image = image_file.Image(config={"Cmd": ["/bin/sh"]})
    image.diffs[:] = [digest_of(tar) for tar in tars]
    image.config["history"] = [{"created": image_file.DATE} for _ in tars]
    layers = []
    for tar in tars:
        new = layout / "new"
        with open(new, "wb") as out:
            subprocess.run(["pigz", "-6", "-n", "-c", tar], stdout=out, check=True)
        digest = digest_of(new)
        layers.append({"mediaType": image_file.OCI + "layer.v1.tar+gzip", "digest": digest, "size": new.stat().st_size})
        new.rename(blobs / digest[7:])
    config = image.config_json()
    manifest = image_file.to_json({"schemaVersion": 2, "mediaType": image.manifest_type, "layers": layers,
                                   "config": {"mediaType": image.config_type, "digest": image_file.sha256(config), "size": len(config)}})
    descriptor = {"mediaType": image.manifest_type, "digest": image_file.sha256(manifest), "size": len(manifest), "platform": {"architecture": image.architecture, "os": "linux"},
                  "annotations": {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "localhost/bench/%s:latest" % name}}
    documents = {
        "oci-layout": image_file.to_json({"imageLayoutVersion": "1.0.0"}),
        "index.json": image_file.to_json({"schemaVersion": 2, "mediaType": image_file.OCI + "index.v1+json", "manifests": [descriptor]}),
        "manifest.json": image_file.to_json([{"Config": "blobs/sha256/" + image_file.sha256(config)[7:], "RepoTags": ["localhost/bench/%s:latest" % name],
                                              "Layers": ["blobs/sha256/" + layer["digest"][7:] for layer in layers]}]),
        "blobs/sha256/" + image_file.sha256(config)[7:]: config, "blobs/sha256/" + image_file.sha256(manifest)[7:]: manifest,
    }
    image_file.write_layout(str(layout), documents)
    archive = Path(folder) / (name + ".tar")
    subprocess.run(["tar", "-C", layout, "-cf", archive, "oci-layout", "index.json", "manifest.json", "blobs"], check=True)
    shutil.rmtree(layout)
    return archive


def layer_of(folder, name, base_archive):
    """The uncompressed layer tar of one of our base images."""
    import tarfile
    with tarfile.open(base_archive) as tar:
        member = max(tar.getmembers(), key=lambda m: m.size)
        path = Path(folder) / (name + ".layer.tar")
        with open(path, "wb") as out:
            subprocess.run(["gzip", "-dc"], input=tar.extractfile(member).read(), stdout=out, check=True)
    return path


class Context:
    """A folder with the same build twice: crucible.yaml for us, Dockerfile for the others."""

    def __init__(self, folder, base, recipe_steps, docker_steps):
        self.path = Path(folder)
        self.path.mkdir(parents=True, exist_ok=True)
        os.link(base, self.path / "base.tar")
        lines = ["version: 0", "resource: {type: runtime, name: bench/%s, version: 1.0.0}" % self.path.name, "stages:", "  - from: file base.tar", "    steps:"]
        (self.path / "crucible.yaml").write_text("\n".join(lines + ["      - " + step for step in recipe_steps]) + "\n")
        (self.path / "Dockerfile").write_text("\n".join(["FROM localhost/bench/busybox:latest"] + docker_steps) + "\n")
        # What the base archive is to us is not part of the others' context.
        (self.path / ".dockerignore").write_text("base.tar\ncrucible.yaml\n")
