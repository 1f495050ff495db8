#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py DIR [--quick] [--only ...] [--peers ...] [--output FILE]: every workload for every engine in one run, then the report.

tools/bench gives it DIR, a file system of its own, in a mount namespace of its own.
"""
import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from material import Context, layer_of, make_archive, make_tree  # noqa: E402
from measure import Failed, Results, measure, pss_kib, shell, tree_of  # noqa: E402
from peers import PEERS  # noqa: E402
from report import write_report  # noqa: E402

TOP = Path(__file__).resolve().parents[1]
US = "cruxd"


class Cruxd:
    """Ours, built for release: a daemon and its command line."""

    name = US

    def __init__(self, folder):
        self.folder = Path(folder) / "cruxd"
        self.folder.mkdir()
        self.program = os.environ["CRUXD"]
        self.socket = self.folder / "sock"
        self.process = None
        self.ready_seconds = None

    def start(self, store="store", *arguments):
        reader, writer = os.pipe()
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        command = [self.program, "-q", "--root", self.folder / store, "--instance", "bench", "-s", self.socket, "--pid-file", self.folder / "pid", "--ready-fd", writer, "start", *arguments]
        start = time.perf_counter()
        self.process = subprocess.Popen([str(w) for w in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer])
        os.close(writer)
        select.select([reader], [], [], 60)
        line = os.read(reader, 100)
        self.ready_seconds = time.perf_counter() - start
        os.close(reader)
        os.close(log)
        if not line:
            raise Failed("cruxd did not start: " + (self.folder / "log").read_text()[-500:])

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def pids(self):
        return tree_of(self.process.pid)

    def build(self, context, cached, *more):
        return [self.program, "-s", self.socket, "build", *([] if cached else ["--no-cache"]), *more, context]


class Bench:
    def __init__(self, arguments):
        self.dir = Path(arguments.dir)
        self.quick = arguments.quick
        self.files, self.mib = arguments.files, arguments.mib
        self.results = Results(str(self.dir / "results.jsonl"))
        self.bases = self.dir / "bases"
        subprocess.run([TOP / "tools" / "make-bases", self.bases, "scratch", "busybox"], check=True)
        self.only = arguments.only.split(",") if arguments.only else None
        self.with_peers = arguments.peers.split(",") if arguments.peers else list(PEERS)
        self.us = Cruxd(self.dir) if os.access(os.environ["CRUXD"], os.X_OK) else None
        self.peers = []
        self.facts = {}
        self.outputs = 0

    def runs(self, full, quick):
        return quick if self.quick else full

    def wants(self, name):
        return self.only is None or name in self.only

    def out(self):
        """A new output folder: nothing is deleted shortly before a measurement."""
        self.outputs += 1
        path = self.dir / "out" / str(self.outputs)
        path.mkdir(parents=True)
        return path

    def prepare_material(self):
        print("making contexts and images", file=sys.stderr)
        layer = layer_of(self.dir, "busybox", self.bases / "busybox.tar")
        # The others build on the image by name; we build on its file.
        self.base = make_archive(self.dir, "busybox", [layer])
        self.ten = Context(self.dir / "ten", self.base, ['run: ": %d"' % n for n in range(10)], ["RUN : %d" % n for n in range(10)])
        self.one = Context(self.dir / "one", self.base, ['run: ": 0"'], ["RUN : 0"])
        self.rootfs = self.dir / "rootfs"
        self.rootfs.mkdir()
        shell("tar -C %s -xpf %s" % (self.rootfs, layer))
        if self.wants("copy") or self.wants("import"):
            self.copy = Context(self.dir / "copy", self.base, ["copy: data /opt/data"], ["COPY data /opt/data"])
            make_tree(self.copy.path / "data", self.files, self.mib << 20)
            shell("tar -C %s --numeric-owner --owner=0 --group=0 --sort=name -cf %s --transform 's,^data,opt/data,' data" % (self.copy.path, self.dir / "data.layer.tar"))
            self.big = make_archive(self.dir, "big", [layer, self.dir / "data.layer.tar"])
            for name in ("busybox", "data"):
                shell("pigz -6 -n -k %s" % (self.dir / (name + ".layer.tar")))
            self.big_context = Context(self.dir / "import", self.big, ['run: ": ready"'], [])

    def start_peers(self):
        for key in self.with_peers:
            try:
                self.peers.append(PEERS[key](self.dir))
            except OSError as error:
                self.results.fail("set-up", key, error)

    # ---- steps: ten runs that do nothing ---------------------------------------------------

    def floors(self):
        """What ten bare runs of the runtimes cost: a prepared bundle, the same command, the host's network."""
        bundle = self.dir / "bundle"
        bundle.mkdir()
        os.rename(self.rootfs, bundle / "rootfs")
        shell("cd %s && runc spec" % bundle)
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=["/bin/sh", "-c", ": 1"])
        config["root"]["readonly"] = False
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
        (bundle / "config.json").write_text(json.dumps(config))
        for runtime in ("crun", "runc"):
            loop = "for i in 0 1 2 3 4 5 6 7 8 9; do %s run -b %s bench-$i || exit 1; done" % (runtime, bundle)
            measure(self.results, "ten runs, bare", runtime, self.runs(15, 5), ["/bin/bash", "-c", loop])

    def steps(self):
        self.floors()
        if self.us:
            self.us.start()
            for workload, context in (("ten steps", self.ten), ("one step", self.one)):
                measure(self.results, workload, US, self.runs(15, 5), self.us.build(context.path, False), daemon=self.us.pids)
            measure(self.results, "ten steps, to image.tar", US, self.runs(15, 5), None, prepare=lambda _: self.us.build(self.ten.path, False, "-o", self.out()))
            self.us.stop()
            self.us.start("store-runc", "--runtime", "runc")
            measure(self.results, "ten steps", "cruxd (runc)", self.runs(9, 3), self.us.build(self.ten.path, False), daemon=self.us.pids)
            self.us.stop()
            self.us.start()
            shell(" ".join(map(str, self.us.build(self.ten.path, True))))
            measure(self.results, "ten steps, cached", US, self.runs(40, 15), self.us.build(self.ten.path, True), daemon=self.us.pids)
            measure(self.results, "ten steps, cached, to image.tar", US, self.runs(40, 15), self.us.build(self.ten.path, True, "-o", self.out()))
            self.us.stop()
            alone = [self.us.program, "--root", self.us.folder / "store", "--instance", "bench", "build", self.ten.path]
            measure(self.results, "ten steps, cached, private daemon", US, self.runs(15, 5), alone)
        for peer in self.builders():
            for workload, context in (("ten steps", self.ten), ("one step", self.one)):
                measure(self.results, workload, peer.name, self.runs(7, 3), peer.build(context.path, False), daemon=peer.pids if peer.pids() else None)
            measure(self.results, "ten steps, cached", peer.name, self.runs(15, 5), peer.build(self.ten.path, True), daemon=peer.pids if peer.pids() else None)

    def builders(self):
        """Each builder, running and with the base image loaded, one after the other."""
        for peer in self.peers:
            if hasattr(peer, "build"):
                try:
                    peer.start()
                    shell(" ".join(map(str, peer.load(self.base))))
                    yield peer
                except (Failed, OSError) as error:
                    self.results.fail("set-up", peer.name, error)
                finally:
                    peer.stop()

    # ---- copy: a tree of 50,000 files and 1 GB --------------------------------------------------

    def copies(self):
        runs = self.runs(5, 2)
        data = self.copy.path / "data"
        if self.us:
            self.us.start("store-copy")
            build = self.us.build
            measure(self.results, "copy and export", US, runs, None, prepare=lambda _: build(self.copy.path, False, "-o", self.out()), daemon=self.us.pids)
            measure(self.results, "copy and export, gzip", US, runs, None, prepare=lambda _: build(self.copy.path, False, "--compression", "gzip", "-o", self.out()), daemon=self.us.pids)
            measure(self.results, "copy, nothing changed", US, self.runs(9, 3), build(self.copy.path, True), daemon=self.us.pids)
            measure(self.results, "copy, all touched", US, runs, None, prepare=lambda _: shell("find %s -type f -exec touch {} +" % data) and None or build(self.copy.path, True), daemon=self.us.pids)
            self.us.stop()
        for peer in self.builders():
            pids = peer.pids if peer.pids() else None
            measure(self.results, "copy", peer.name, runs, peer.build(self.copy.path, False), daemon=pids)
            measure(self.results, "copy, nothing changed", peer.name, runs, peer.build(self.copy.path, True), daemon=pids)
            measure(self.results, "export", peer.name, runs, None, prepare=lambda _: peer.save(self.out() / "image.tar"), daemon=pids)
            measure(self.results, "export, gzip", peer.name, runs, None, prepare=lambda _: peer.save_gzip(self.out() / "image.tar"), daemon=pids)
            shell("find %s -type f -exec touch {} +" % data)
            measure(self.results, "copy, all touched", peer.name, 1, peer.build(self.copy.path, True), daemon=pids)
            peer_cleanup(peer)
        measure(self.results, "lstat of the tree", "find", 5, ["find", data, "-printf", "%s\\n"])
        measure(self.results, "tar c | sha256", "tar, openssl", 3, ["/bin/bash", "-c", "tar -C %s -c data | openssl dgst -sha256" % self.copy.path])
        measure(self.results, "tar c | igzip -1", "tar, igzip", 3, ["/bin/bash", "-c", "tar -C %s -c data | igzip -1 > %s/floor.gz" % (self.copy.path, self.dir)])

    # ---- import: that image, until a container could start ------------------------------------------

    def imports(self):
        runs = self.runs(5, 2)
        if self.us:
            for engine, who in (("erofs", US), ("unpacked", "cruxd (unpacked)")):
                def fresh(number, engine=engine):
                    self.us.stop()
                    self.us.start("store-import-%s-%d" % (engine, number), "--snapshotter", engine)
                    return self.us.build(self.big_context.path, True)
                measure(self.results, "import and start", who, runs, None, prepare=fresh, daemon=self.us_pids)
                self.us.stop()

        def untar(number):
            target = self.dir / ("untar-%d" % number)
            target.mkdir()
            layers = " ".join(str(self.dir / (name + ".layer.tar.gz")) for name in ("busybox", "data"))
            return ["/bin/bash", "-c", "set -o pipefail; cd %s; for g in %s; do igzip -dc $g | tar -xp || exit 1; done" % (target, layers)]
        measure(self.results, "import and start", "igzip | tar x", runs, None, prepare=untar)
        for peer in self.peers:
            if peer.name == "buildah":
                continue
            try:
                peer.start()
                measure(self.results, "import and start", peer.name, runs, None, daemon=peer.pids if peer.pids() else None,
                        prepare=lambda _, peer=peer: peer.forget_images() or peer.load(self.big))
                peer.forget_images()
            except (Failed, OSError) as error:
                self.results.fail("import and start", peer.name, error)
            finally:
                peer.stop()

    def us_pids(self):
        return self.us.pids()

    # ---- resident: idle memory, start, sizes -----------------------------------------------------------

    def resident(self):
        for peer in self.peers:
            if hasattr(peer, "daemon"):
                try:
                    peer.start()
                    self.results.add("start to ready", peer.name, peer.daemon.ready_seconds)
                    self.facts["idle PSS KiB, " + peer.name] = pss_kib(peer.pids())
                except (Failed, OSError) as error:
                    self.results.fail("resident", peer.name, error)
                finally:
                    peer.stop()
        self.facts["program bytes"] = {name: sum(os.stat(shutil.which(n, path=os.environ["PATH"] + ":/usr/sbin:/usr/bin")).st_size for n in names)
                                       for name, names in {"docker": ["docker", "dockerd", "containerd", "containerd-shim-runc-v2"], "buildah": ["buildah"], "podman": ["podman"],
                                                           "containerd": ["containerd", "containerd-shim-runc-v2", "ctr"]}.items()
                                       if all(shutil.which(n, path=os.environ["PATH"] + ":/usr/sbin:/usr/bin") for n in names)}
        if not self.us:
            return
        for _ in range(self.runs(30, 10)):
            self.us.start()
            self.results.add("start to ready", US, self.us.ready_seconds)
            self.us.stop()
        self.us.start()
        self.facts["idle PSS KiB, cruxd, fresh"] = pss_kib(self.us.pids())
        shell(" ".join(map(str, self.us.build(self.ten.path, False))))
        self.facts["idle PSS KiB, cruxd"] = pss_kib(self.us.pids())
        self.us.stop()
        stripped = self.dir / "stripped"
        shell("strip -o %s %s" % (stripped, self.us.program))
        self.facts["program bytes"][US] = os.stat(stripped).st_size

    # ---- growth ---------------------------------------------------------------------------------------------

    def growth(self):
        if not self.us:
            return
        self.us.start("store-growth")
        for count in (10, 100, 1000):
            context = Context(self.dir / ("steps-%d" % count), self.base, ['run: ": %d"' % n for n in range(count)], [])
            runs = 1 if count == 1000 else self.runs(5, 2)
            self.grow("%d steps" % count, runs, context, True)
        for count in (1000, 10000, 100000):
            context = Context(self.dir / ("files-%d" % count), self.base, ["copy: data /data"], [])
            make_tree(context.path / "data", count, count * 4096)
            self.grow("%d files of 4 KiB" % count, self.runs(5, 2), context, True)
        self.us.stop()
        for count in (1, 10, 100):
            self.grow_layers(count)

    def grow(self, workload, runs, context, cached):
        measure(self.results, workload, US, runs, self.us.build(context.path, False), daemon=self.us.pids)
        if cached:
            shell(" ".join(map(str, self.us.build(context.path, True))))
            measure(self.results, workload + ", cached", US, self.runs(9, 3), self.us.build(context.path, True), daemon=self.us.pids)

    def grow_layers(self, count):
        """An image of count layers of 100 files and 1 MB on busybox."""
        tars = [self.dir / "busybox.layer.tar"]
        for n in range(count):
            folder = self.dir / ("layers-%d" % count) / str(n)
            make_tree(folder / ("l%d" % n), 100, 1 << 20, seed=n)
            tars.append(self.dir / ("layers-%d-%d.tar" % (count, n)))
            shell("tar -C %s --sort=name --numeric-owner --owner=0 --group=0 -cf %s l%d" % (folder, tars[-1], n))
        context = Context(self.dir / ("import-%d" % count), make_archive(self.dir, "layers%d" % count, tars), ['run: ": ready"'], [])

        def fresh(number):
            self.us.stop()
            self.us.start("store-layers-%d-%d" % (count, number))
            return self.us.build(context.path, True)
        measure(self.results, "import of %d layers" % count, US, self.runs(5, 2), None, prepare=fresh, daemon=self.us_pids)
        self.us.stop()

    def run(self):
        self.prepare_material()
        self.start_peers()
        for name, part in (("resident", self.resident), ("steps", self.steps), ("import", self.imports), ("copy", self.copies), ("growth", self.growth)):
            if self.wants(name):
                print("== " + name, file=sys.stderr)
                try:
                    part()
                except (Failed, OSError) as error:
                    self.results.fail(name, "all", error)
                finally:
                    if self.us:
                        self.us.stop()


def peer_cleanup(peer):
    try:
        peer.forget_builds()
    except Failed:
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir")
    parser.add_argument("--quick", action="store_true", help="fewer runs of everything")
    parser.add_argument("--only", help="some of resident,steps,import,copy,growth")
    parser.add_argument("--peers", help="some of " + ",".join(PEERS))
    parser.add_argument("--files", type=int, default=50000, help="files of the tree that is copied and imported")
    parser.add_argument("--mib", type=int, default=1000, help="and its size")
    parser.add_argument("--output", default=str(TOP / "docs" / "benchmarks.md"))
    arguments = parser.parse_args()
    bench = Bench(arguments)
    bench.run()
    write_report(bench.results, bench.facts, arguments.output, arguments.quick)
    sys.exit(1 if bench.results.failures else 0)


if __name__ == "__main__":
    main()
