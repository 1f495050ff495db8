# SPDX-License-Identifier: Apache-2.0
"""Everybody else takes our image.tar: skopeo, umoci, podman, docker, containerd."""
import json
import os
import shutil
import subprocess

import pytest
from harness import PATIENCE, copy, run, stage, until

PRIVATE_CGROUPS = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def call(*command, env=None, hidden_cgroups=False, **options):
    """A foreign program; crun 1.8 refuses a v1 hierarchy with a v2 one beside it, so that one is hidden from it."""
    command = [str(word) for word in command]
    result = subprocess.run(PRIVATE_CGROUPS + command if hidden_cgroups else command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, **(env or {})}, timeout=PATIENCE * 2, check=False, **options)
    assert result.returncode == 0, (command, result.stdout, result.stderr)
    return result.stdout


@pytest.fixture(name="archive", params=["one layer", "gzip", "scratch"])
def fixture_archive(daemon, place, request):
    place.base("busybox.tar")
    place.base("scratch.tar")
    place.write("a", "A")
    steps = [run("echo made > /made; rm /etc/group; mkdir -p /d; chown 5:6 /d"), copy("a /a"), {"env": {"WHO": "cruxd"}, "workdir": "/d"}]
    if request.param == "scratch":
        stages = [stage("file busybox.tar", name="b", transient=True), stage("file scratch.tar", copy("b:/bin/busybox /bin/sh"), {"env": {"WHO": "cruxd"}})]
    else:
        stages = [stage("file busybox.tar", *steps)]
    more = {"compression": "gzip"} if request.param == "gzip" else {}
    daemon.build(*stages, resource="test/interop", image="test/interop:1.0", entrypoint=["/bin/sh", "-c", 'echo "hello from $WHO"'], **more)
    return place.out / "image.tar"


def need(program):
    if shutil.which(program) is None:
        pytest.fail("%s is missing (tools/setup test)" % program)


def test_skopeo(archive, place):
    need("skopeo")
    config = json.loads(call("skopeo", "--insecure-policy", "inspect", "--config", "oci-archive:%s" % archive))
    assert "WHO=cruxd" in config["config"]["Env"]
    inspected = json.loads(call("skopeo", "--insecure-policy", "inspect", "oci-archive:%s" % archive))
    assert len(inspected["Layers"]) == len(config["rootfs"]["diff_ids"])
    call("skopeo", "--insecure-policy", "inspect", "docker-archive:%s" % archive)
    call("skopeo", "--insecure-policy", "copy", "oci-archive:%s" % archive, "dir:%s" % (place.path / "copied"))


def test_umoci(archive, place):
    need("umoci")
    layout = place.path / "layout"
    layout.mkdir()
    call("tar", "-C", layout, "-xf", archive)
    index = json.loads((layout / "index.json").read_text())
    tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    call("umoci", "unpack", "--image", "%s:%s" % (layout, tag), place.path / "bundle")
    rootfs = place.path / "bundle" / "rootfs"
    assert (rootfs / "bin" / "sh").exists()
    if (rootfs / "made").exists():
        assert not (rootfs / "etc" / "group").exists() and (rootfs / "d").stat().st_uid == 5


def test_tar_lists_it_in_order(archive):
    names = call("tar", "-tf", archive).split()
    assert names[:2] == ["oci-layout", "index.json"] and names == list(dict.fromkeys(names))


def containers_environment(place):
    """podman's store in a folder of the test's own."""
    home = place.path / "containers"
    home.mkdir(exist_ok=True)
    (home / "storage.conf").write_text('[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' % (home, home))
    (home / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\ndefault_sysctls = []\nlog_driver = "k8s-file"\n'
                                          '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n[network]\nnetwork_backend = "netavark"\n')
    (home / "policy.json").write_text(json.dumps(POLICY))
    return {"CONTAINERS_STORAGE_CONF": str(home / "storage.conf"), "CONTAINERS_CONF": str(home / "containers.conf"), "TMPDIR": str(home)}


def test_podman(archive, place):
    need("podman")
    env = containers_environment(place)
    script = ('set -e; podman load --signature-policy "$2" -q -i "$1"; podman run --rm --network host --cgroups=disabled test/interop:1.0; podman rmi -af >/dev/null; '
              'umount -l "$3"/graph/overlay 2>/dev/null || true')
    out = call("sh", "-c", script, "sh", archive, place.path / "containers" / "policy.json", place.path / "containers", env=env, hidden_cgroups=True)
    assert "hello from cruxd" in out


def daemon_of(place, name, command, answers):
    """Somebody else's daemon for the length of a test."""
    log = open(place.path / (name + ".log"), "wb")
    process = subprocess.Popen(PRIVATE_CGROUPS + [str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    log.close()

    def ready():
        assert process.poll() is None, (place.path / (name + ".log")).read_text(errors="replace")[-2000:]
        return subprocess.run(answers, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    until(ready, name)
    return process


def test_docker(archive, place):
    docker, dockerd = "/usr/bin/docker", "/usr/sbin/dockerd"
    need(dockerd)
    home = place.path / "dk"
    host = "unix://%s/s" % home
    home.mkdir()
    process = daemon_of(place, "dockerd", [dockerd, "--data-root", home / "data", "--exec-root", home / "exec", "-H", host, "-p", home / "pid", "--storage-driver", "overlay2",
                                           "--bridge=none", "--iptables=false", "--ip6tables=false", "--exec-opt", "native.cgroupdriver=cgroupfs"],
                        [docker, "-H", host, "version"])
    try:
        assert "test/interop:1.0" in call(docker, "-H", host, "load", "-i", archive)
        assert call(docker, "-H", host, "run", "--rm", "--network", "host", "test/interop:1.0").strip() == "hello from cruxd"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_containerd(archive, place):
    need("containerd")
    home = place.path / "cd"
    home.mkdir()
    (home / "config.toml").write_text('version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s/s"\n' % (home, home, home))
    ctr = ["ctr", "-a", str(home / "s")]
    process = daemon_of(place, "containerd", ["containerd", "-c", home / "config.toml"], ctr + ["version"])
    try:
        call(*ctr, "image", "import", archive)
        names = call(*ctr, "image", "ls", "-q").split()
        assert any("test/interop:1.0" in name for name in names), names
        name = next(name for name in names if "test/interop" in name)
        assert call(*ctr, "run", "--rm", "--net-host", name, "t" + place.instance).strip() == "hello from cruxd"
    finally:
        process.terminate()
        process.wait(PATIENCE)
