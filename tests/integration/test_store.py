# SPDX-License-Identifier: Apache-2.0
"""The store: sudden death, full disks, garbage (design.md §4)."""
import os
import subprocess
import threading

import pytest
from built_image import BuiltImage
from harness import PATIENCE, TOP, assert_clear, assert_says, copy, prints, run, stage, until

B = "file busybox.tar"


@pytest.fixture(name="place")
def fixture_place_with_base(place):
    place.base("busybox.tar")
    place.base("scratch.tar")
    place.write("a", "A")
    return place


def failpoints():
    """All of them, from the page that the lint keeps complete."""
    text = (TOP / "docs" / "environment.md").read_text(encoding="utf-8")
    table = text.partition("Failpoints of `CX_FAIL`")[2].partition("\n## ")[0]
    return [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]


STAGES = [stage(B, run("echo 1 > /1"), name="one", transient=True), stage(B, copy("a /a"), copy("one:/1 /one"), run("cat /a /one > /2"))]


def objects(root):
    """What the store shows to the world: everything but logs and the database."""
    return sorted(str(p.relative_to(root)) for top in ("content/blobs", "layers", "snapshots") for p in (root / top).rglob("*") if p.is_file())


@pytest.mark.parametrize("failpoint", failpoints())
@pytest.mark.parametrize("how", ["error", "die"])
def test_failpoints(place, failpoint, how):
    """Fail or die there, at the first and the second pass; then everything works and nothing half-made is left."""
    for number in (1, 2):
        daemon = place.daemon(env={"CX_FAIL": "%s:%s%d" % (failpoint, "die" if how == "die" else "", number)}, name=str(number), root=place.root, wait=False)
        with_ready(place, daemon)
        if daemon.process.poll() is None:
            message = None
            try:
                daemon.build(*STAGES)
            except (AssertionError, ConnectionError, OSError):
                pass  # it died
            except Exception as error:
                message = str(error)
            if message is not None:
                assert_clear(message)
                assert not (place.out / "image.tar").exists()
            if daemon.process.poll() is None and how == "error":
                daemon.stop()
        daemon.kill()
        # The keeper of a dead daemon cleans up by itself.
        until(lambda: not place.processes(), "nothing of the dead daemon lives", 10)
        if (place.out / "image.tar").exists():
            (place.out / "image.tar").unlink()
    well = place.daemon(name="1", root=place.root)
    image = well.build(*STAGES)
    assert image.read("/2") == b"A1\n"
    well.ask("gc", {"all": True})
    well.stop()
    place.daemon(name="2", root=place.root).stop()


def with_ready(place, daemon):
    """Waits until it listens or has ended."""
    until(lambda: daemon.process.poll() is not None or connects(daemon), "it starts or dies")


def connects(daemon):
    try:
        daemon.connect().close()
        return True
    except OSError:
        return False


def test_kill_at_any_instant(place):
    """SIGKILL while it works, at moments spread over a build; the next start shows whole things or none."""
    reference = place.daemon(name="r")
    want = reference.build(*STAGES, output=str(place.path / "want")).digest
    reference.stop()
    moments = [None] + list(range(1, 25))
    for moment in moments:
        daemon = place.daemon(name="k")
        with daemon.connect() as connection:
            connection.send(daemon.build_request(*STAGES, stream=True, noCache=True))
            try:
                for _ in range(moment or 0):
                    if connection.line() is None:
                        break
            except OSError:
                pass
            daemon.kill()
        until(lambda: not place.processes(), "nothing of the dead daemon lives", 10)
        place.daemons.remove(daemon)
        if (place.out / "image.tar").exists():
            assert BuiltImage(place.out / "image.tar").digest == want
            (place.out / "image.tar").unlink()
    last = place.daemon(name="k")
    assert last.build(*STAGES).digest == want
    verify_blobs(last.root)


def verify_blobs(root):
    """Every blob is what its name says."""
    import hashlib
    blobs = list((root / "content" / "blobs" / "sha256").iterdir())
    assert blobs
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_dead_daemons_containers_die(place):
    daemon = place.daemon()
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage(B, run("echo up; sleep 1000")), stream=True))
        connection.wait_event(prints("up"))
        daemon.kill()
    until(lambda: not place.processes(), "container and keeper end", 5)
    place.daemons.remove(daemon)
    again = place.daemon()
    assert not place.unfinished()
    again.stop()


def test_store_is_a_layout_others_read(place):
    daemon = place.daemon()
    daemon.build(*STAGES, resource="acme/api")
    daemon.stop()
    listed = subprocess.run(["skopeo", "--insecure-policy", "inspect", "--raw", "oci:%s:%s" % (place.root / "content", "acme/api")],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if listed.returncode != 0:
        listed = subprocess.run(["skopeo", "--insecure-policy", "inspect", "--raw", "oci:%s" % (place.root / "content")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert listed.returncode == 0, listed.stderr


# ---- garbage ---------------------------------------------------------------------------------

def test_gc_keeps_what_has_a_name(place, daemon):
    first = daemon.build(*STAGES, resource="keep/me")
    daemon.build(stage(B, run("head -c 5000000 /dev/urandom > /big")), resource="other/one", output=str(place.path / "o2"))
    before = daemon.ask("df")["payload"]
    answer = daemon.ask("gc", {"all": True, "dryRun": True})["payload"]
    assert daemon.ask("df")["payload"] == before, "a dry run changes nothing"
    assert daemon.ask("gc", {"all": True})["payload"]["bytes"] >= answer["bytes"] * 0.5
    names = [image["name"] for image in daemon.ask("images")["payload"]["images"]]
    assert "keep/me" in names and "other/one" in names
    assert daemon.build(*STAGES, resource="keep/me", output=str(place.path / "o3")).digest == first.digest
    assert daemon.ask("gc", {"all": True})["command"] == "ok"
    assert daemon.ask("gc", {"all": True})["payload"]["objects"] == 0, "nothing more to find"


def test_gc_while_building(place, daemon):
    """A lease holds what a build in progress needs."""
    errors = []

    def collect():
        while not done.is_set():
            answer = daemon.ask("gc", {"all": True})
            if answer["command"] != "ok":
                errors.append(answer)
    done = threading.Event()
    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for n in range(15):
            stages = [stage(B, run("echo %d > /1" % n), name="one", transient=True), stage(B, copy("a /a"), copy("one:/1 /one"), run("cat /a /one > /2"))]
            assert daemon.build(*stages).read("/2") == b"A%d\n" % n
    finally:
        done.set()
        collector.join()
    assert not errors


def test_cache_has_a_budget(place):
    daemon = place.daemon("--cache-bytes", "20M")
    for n in range(8):
        daemon.build(stage(B, run("head -c 8000000 /dev/urandom > /big; echo %d; rm -f /big2" % n), name="t", transient=True), stage("file scratch.tar", copy("a /a")))
        daemon.build(stage(B, run("head -c 8000000 /dev/urandom > /big; echo %d" % n), run("rm /big")))
    usage = daemon.ask("df")["payload"]
    assert usage["cacheBytes"] <= usage["cacheBudget"] == 20 << 20


# ---- full disks ---------------------------------------------------------------------------------

class SmallDisk:
    """A tmpfs of a few megabytes at a path."""

    def __init__(self, path, megabytes):
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=755" % megabytes, "small", str(path)], check=True)
        self.path = path

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)


def test_store_runs_full(place):
    disk = SmallDisk(place.path / "disk", 24)
    try:
        daemon = place.daemon(root=disk.path / "store")
        message = daemon.refuse(stage(B, run("echo 1 > /1"), run("head -c 100000000 /dev/zero | tr '\\0' x > /big")))
        assert_says(message.lower(), "space")
        place.write("big", os.urandom(30 << 20))
        message = daemon.refuse(stage("file scratch.tar", copy("big /big")))
        assert_says(message.lower(), "space")
        assert daemon.build(stage(B, run("echo 1 > /1"))).read("/1") == b"1\n"
        daemon.stop()
        again = place.daemon(root=disk.path / "store", name="b")
        assert again.build(stage(B, run("echo 1 > /1"))).read("/1") == b"1\n"
        again.stop()
    finally:
        for daemon in place.daemons:
            daemon.kill()
        disk.close()


def test_output_is_full(place):
    place.write("big", os.urandom(4 << 20))
    disk = SmallDisk(place.out, 2)
    try:
        daemon = place.daemon()
        message = daemon.refuse(stage("file scratch.tar", copy("big /big")))
        assert_says(message.lower(), "space")
        assert not list(place.out.iterdir())
    finally:
        place.daemons[0].stop()
        disk.close()


@pytest.mark.parametrize("what", ["a file", "under a file", "read-only"])
def test_output_that_cannot_be(place, what):
    output = place.path / "bad"
    mounted = False
    if what == "a file":
        output.write_text("")
    elif what == "under a file":
        output.write_text("")
        output = output / "deeper"
    else:
        output.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "small", str(output)], check=True)
        mounted = True
    daemon = place.daemon()
    try:
        assert_says(daemon.refuse(stage("file scratch.tar", copy("a /a")), output=str(output)), str(place.path / "bad"))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(output)], check=True)


def test_damaged_database(place):
    daemon = place.daemon()
    daemon.build(*STAGES)
    daemon.stop()
    (place.root / "meta.db").write_bytes(b"this is no database" * 100)
    broken = place.daemon(wait=False)
    assert broken.process.wait(PATIENCE) == 1
    line = broken.log().strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert_says(line, str(place.root), "database")


def test_a_newer_database_is_left_alone(place):
    import sqlite3
    place.daemon().stop()
    db = sqlite3.connect(place.root / "meta.db")
    db.execute("PRAGMA user_version = 9999")
    db.commit()
    db.close()
    newer = place.daemon(wait=False)
    assert newer.process.wait(PATIENCE) == 1
    assert_says(newer.log(), "9999")


def test_damaged_blob_is_noticed(place, daemon):
    daemon.build(stage(B, run("echo 1 > /1")))
    blobs = sorted((place.root / "content" / "blobs" / "sha256").iterdir(), key=lambda p: -p.stat().st_size)
    data = bytearray(blobs[0].read_bytes())
    data[len(data) // 2] ^= 1
    blobs[0].chmod(0o644)
    blobs[0].write_bytes(data)
    try:
        image = daemon.build(stage(B, run("echo 2 > /2")), output=str(place.path / "o2"))
        assert image.read("/2") == b"2\n"  # the reader checks every digest
    except Exception as error:
        assert "mismatch" in str(error) or "damaged" in str(error) or isinstance(error, AssertionError)


def test_many_builds_at_once(place, daemon):
    results = []

    def one(n):
        image = daemon.build(stage(B, run("echo %d > /n" % n), copy("a /a")), output=str(place.path / ("o%d" % n)), resource="many/n%d" % n)
        results.append(image.read("/n") == b"%d\n" % n)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [True] * 20


# ---- machines that lack something -------------------------------------------------------------------

def switches():
    text = (TOP / "docs" / "environment.md").read_text(encoding="utf-8")
    table = text.partition("Fast paths of `CX_DISABLE`")[2].partition("\nFailpoints")[0]
    return [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]


def test_every_fast_path_has_an_equal(place):
    """Without each of them, and without all: the same image."""
    names = switches()
    digests = {}
    for number, disabled in enumerate(["", *names, ",".join(names)]):
        daemon = place.daemon(name=str(number), env={"CX_DISABLE": disabled})
        digests[disabled] = daemon.build(*STAGES, output=str(place.path / ("o%d" % number))).digest
        daemon.stop()
    assert len(names) > 3 and len(set(digests.values())) == 1, digests


def test_overlay_that_refuses_the_store(place):
    """A store on an overlay (as in many containers) cannot hold uppers: one line says so at the start, nothing is left."""
    layers = {name: place.path / name for name in ("lower", "upper", "work", "merged")}
    for path in layers.values():
        path.mkdir()
    subprocess.run(["mount", "-t", "overlay", "-o", "lowerdir=%(lower)s,upperdir=%(upper)s,workdir=%(work)s" % layers, "none", str(layers["merged"])], check=True)
    try:
        daemon = place.daemon(root=layers["merged"] / "store", wait=False)
        assert daemon.wait() == 1
        line = daemon.log().strip().splitlines()[-1]
        assert_clear(line.removeprefix("error: "))
        assert_says(line, str(daemon.root), "overlay")
    finally:
        subprocess.run(["umount", str(layers["merged"])], check=True)
