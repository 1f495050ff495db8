# SPDX-License-Identifier: Apache-2.0
"""The others: how each is set up so that it works and is fast, and how it does what a workload asks."""
import os
import signal
import subprocess
import time
from pathlib import Path

from measure import Failed, shell, tree_of


class Daemon:
    """A daemon of somebody's, started and ended here."""

    def __init__(self, name, folder, command, answers, env=None):
        self.log = open(folder / (name + ".log"), "wb")
        start = time.perf_counter()
        self.process = subprocess.Popen([str(w) for w in command], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        while subprocess.run(answers, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            if self.process.poll() is not None or time.perf_counter() - start > 60:
                raise Failed("%s does not answer: see %s" % (name, folder / (name + ".log")))
        self.ready_seconds = time.perf_counter() - start

    def pids(self):
        return tree_of(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


class Docker:
    """dockerd with overlay2 and runc; builds by BuildKit; no bridge, no iptables."""

    name = "docker (BuildKit)"
    client, server = "/usr/bin/docker", "/usr/sbin/dockerd"

    def __init__(self, folder):
        self.folder = Path(folder) / "docker"
        self.folder.mkdir()
        (self.folder / "config.json").write_text("{}")
        self.host = "unix://%s/s" % self.folder
        os.environ.update({"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(self.folder)})
        self.daemon = None

    def start(self):
        self.daemon = Daemon("dockerd", self.folder, [
            self.server, "--data-root", self.folder / "data", "--exec-root", self.folder / "exec", "-H", self.host, "-p", self.folder / "pid",
            "--storage-driver", "overlay2", "--bridge=none", "--iptables=false", "--ip6tables=false", "--log-level", "error",
            "--exec-opt", "native.cgroupdriver=cgroupfs"], [self.client, "version"])

    def stop(self):
        if self.daemon:
            self.daemon.stop()
            self.daemon = None

    def pids(self):
        return self.daemon.pids()

    def load(self, archive):
        return [self.client, "load", "-q", "-i", archive]

    def build(self, context, cached):
        return [self.client, "build", "-q", *([] if cached else ["--no-cache"]), "--network=host", "-t", "bench", context]

    def save(self, archive):
        return [self.client, "save", "-o", archive, "bench"]

    def save_gzip(self, archive):
        return ["skopeo", "--insecure-policy", "copy", "-q", "--src-daemon-host", self.host, "docker-daemon:bench:latest", "oci-archive:%s:bench" % archive]

    def forget_builds(self):
        shell("%s rmi -f bench; %s builder prune -af" % (self.client, self.client))

    def forget_images(self):
        shell("%s image prune -af; %s builder prune -af" % (self.client, self.client))


class Containers:
    """What buildah and podman share: overlay, crun, cgroupfs, no journal."""

    def __init__(self, folder):
        self.folder = Path(folder) / "containers"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "storage.conf").write_text('[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' % (self.folder, self.folder))
        hard = shell("ulimit -Hn").strip()
        (self.folder / "containers.conf").write_text(
            '[containers]\nlog_driver = "k8s-file"\ndefault_sysctls = []\ndefault_ulimits = ["nofile=1024:%s", "nproc=4096:4096"]\n'
            '[network]\nnetwork_backend = "netavark"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\nimage_parallel_copies = 2\n' % hard)
        (self.folder / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        (self.folder / "registries.conf").write_text('short-name-mode = "permissive"\nunqualified-search-registries = []\n')
        os.environ.update({"CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"), "CONTAINERS_CONF": str(self.folder / "containers.conf"),
                           "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf")})
        self.policy = ["--signature-policy", str(self.folder / "policy.json")]

    def start(self):
        pass

    def stop(self):
        pass

    def pids(self):
        return []

    def load(self, archive):
        return ["podman", "load", *self.policy, "-q", "-i", archive]

    def forget_builds(self):
        shell("podman rmi -f bench; podman image prune -f; true")

    def forget_images(self):
        shell("podman rmi -af")


class Buildah(Containers):
    name = "buildah"

    def build(self, context, cached):
        return ["buildah", "bud", *self.policy, "-q", "--pull-never", "--layers", *([] if cached else ["--no-cache"]), "--network", "host", "-t", "bench", context]

    def save(self, archive):
        return ["buildah", "push", *self.policy, "-q", "--disable-compression", "bench", "oci-archive:%s:bench" % archive]

    def save_gzip(self, archive):
        return ["buildah", "push", *self.policy, "-q", "--compression-format", "gzip", "bench", "oci-archive:%s:bench" % archive]


class Podman(Containers):
    name = "podman"

    def build(self, context, cached):
        return ["podman", "build", *self.policy, "-q", "--pull=never", "--layers", *([] if cached else ["--no-cache"]), "--network", "host", "-t", "bench", context]

    def save(self, archive):
        return ["podman", "save", "-q", "--format", "docker-archive", "-o", archive, "bench"]

    def save_gzip(self, archive):
        return ["podman", "save", "-q", "--format", "oci-archive", "-o", archive, "bench"]


class Containerd:
    """Builds nothing: imports and unpacks.  No CRI, overlayfs."""

    name = "containerd"

    def __init__(self, folder):
        self.folder = Path(folder) / "containerd"
        self.folder.mkdir()
        (self.folder / "config.toml").write_text(
            'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s/s"\n[debug]\n  level = "error"\n'
            % (self.folder, self.folder, self.folder))
        self.ctr = ["ctr", "-a", str(self.folder / "s")]
        self.daemon = None

    def start(self):
        self.daemon = Daemon("containerd", self.folder, ["containerd", "-c", self.folder / "config.toml"], self.ctr + ["version"])

    def stop(self):
        if self.daemon:
            self.daemon.stop()
            self.daemon = None

    def pids(self):
        return self.daemon.pids()

    def load(self, archive):
        return self.ctr + ["image", "import", archive]

    def forget_images(self):
        ctr = " ".join(self.ctr)
        shell("for i in $(%s image ls -q); do %s image rm --sync $i; done; %s content prune references >/dev/null 2>&1; true" % (ctr, ctr, ctr))


PEERS = {"docker": Docker, "buildah": Buildah, "podman": Podman, "containerd": Containerd}
BUILDERS = [Docker.name, Buildah.name, Podman.name]
LOADERS = [Docker.name, Podman.name, Containerd.name]
