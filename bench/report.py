# SPDX-License-Identifier: Apache-2.0
"""The measured table: goals, what came out, by how much; then every median."""
import os
import platform
import subprocess

from peers import BUILDERS, LOADERS, Containerd, Docker

US = "cruxd"


def form(seconds):
    if seconds is None:
        return "–"
    return "%.1f ms" % (seconds * 1000) if seconds < 1 else "%.2f s" % seconds


def mib(kib):
    return "–" if not kib else "%.1f MiB" % (kib / 1024)


class Goals:
    def __init__(self, results, facts):
        self.results, self.facts, self.rows = results, facts, []

    def row(self, goal, ours, theirs, ratio, met):
        verdict = "not measured" if met is None else "met" if met else "**missed**"
        self.rows.append("| %s | %s | %s | %s | %s |" % (goal, ours, theirs, ratio, verdict))

    def at_most(self, goal, ours, limit, show):
        self.row(goal, show(ours) if ours is not None else "–", show(limit), "–" if ours is None else "%.2f of it" % (ours / limit), None if ours is None else ours <= limit)

    def times_faster(self, goal, ours, rival, theirs, factor):
        known = ours is not None and theirs is not None
        self.row(goal, form(ours), "%s: %s" % (rival, form(theirs)) if theirs is not None else "–", "%.1f ×" % (theirs / ours) if known else "–", theirs / ours >= factor if known else None)

    def at_most_times(self, goal, ours, rival, theirs, factor):
        known = ours is not None and theirs is not None
        self.row(goal, form(ours), "%s: %s" % (rival, form(theirs)) if theirs is not None else "–", "%.2f ×" % (ours / theirs) if known else "–", ours / theirs <= factor if known else None)


def per_step(results, who):
    ten, one = results.seconds("ten steps", who), results.seconds("one step", who)
    return (ten - one) / 9 if ten is not None and one is not None else None


def fastest_of(pairs):
    known = [(who, value) for who, value in pairs if value is not None]
    return min(known, key=lambda pair: pair[1]) if known else ("–", None)


def total(results, who, *workloads):
    parts = [results.seconds(w, who) for w in workloads]
    return None if None in parts else sum(parts)


def judge(results, facts):
    g, s = Goals(results, facts), results.seconds
    g.at_most_times("ten trivial `run` steps, no cache: at most 1.5 × ten bare `crun run`", s("ten steps", US), "crun", s("ten runs, bare", "crun"), 1.5)
    g.at_most_times("the same with runc: at most 1.5 × ten bare `runc run`", s("ten steps", "cruxd (runc)"), "runc", s("ten runs, bare", "runc"), 1.5)
    who, theirs = fastest_of((b, per_step(results, b)) for b in BUILDERS)
    g.times_faster("one more step: at least 5 × faster than the fastest peer", per_step(results, US), who, theirs, 5)
    g.at_most("ten steps, all cached, client included: below 8 ms", s("ten steps, cached", US), 0.008, form)
    who, theirs = results.fastest("ten steps, cached", BUILDERS)
    g.times_faster("the same: at least 10 × faster than the fastest peer", s("ten steps, cached", US), who, theirs, 10)
    for suffix, words in (("", "not compressed"), (", gzip", "gzip")):
        who, theirs = fastest_of((b, total(results, b, "copy", "export" + suffix)) for b in BUILDERS)
        g.times_faster("`copy` of 50,000 files, 1 GB, and export, %s: at least 8 × faster" % words, s("copy and export" + suffix, US), "%s, build + save" % who, theirs, 8)
    who, theirs = results.fastest("copy, nothing changed", BUILDERS)
    g.times_faster("the same build, nothing changed: at least 5 × faster", s("copy, nothing changed", US), who, theirs, 5)
    who, theirs = results.fastest("copy, all touched", BUILDERS)
    g.times_faster("the same, every file touched: cached", s("copy, all touched", US), who, theirs, 1)
    peaks = [results.peak(w, US) for w in ("copy and export", "copy and export, gzip", "copy, nothing changed", "copy, all touched")]
    g.at_most("daemon's peak memory in all of these: below 64 MiB", max((p for p in peaks if p), default=None), 64 * 1024, mib)
    who, theirs = results.fastest("import and start", LOADERS)
    g.times_faster("import of that image until a container has run, erofs view: at least 5 × faster", s("import and start", US), who, theirs, 5)
    g.at_most_times("the same, unpacked: at most 1.25 × `igzip -dc \\| tar x`", s("import and start", "cruxd (unpacked)"), "igzip \\| tar x", s("import and start", "igzip | tar x"), 1.25)
    peaks = [results.peak("import and start", w) for w in (US, "cruxd (unpacked)")]
    g.at_most("daemon's peak memory in these: below 64 MiB", max((p for p in peaks if p), default=None), 64 * 1024, mib)
    g.at_most("idle daemon (after a build), with its keeper: below 8 MB PSS", facts.get("idle PSS KiB, cruxd"), 8000000 / 1024, mib)
    g.at_most("program, stripped: below 2 MB", facts.get("program bytes", {}).get(US), 2000000, lambda n: "%.2f MB" % (n / 1e6))
    g.at_most("start to ready: below 20 ms", s("start to ready", US), 0.020, form)
    return g.rows


def versions():
    lines = []
    for words in (["docker", "--version"], ["buildah", "--version"], ["podman", "--version"], ["containerd", "--version"], ["crun", "--version"], ["runc", "--version"]):
        try:
            path = "/usr/bin:/usr/sbin:" + os.environ["PATH"]
            lines.append(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PATH": path}).stdout.splitlines()[0])
        except (OSError, subprocess.CalledProcessError):
            pass
    return "; ".join(lines)


GROWTH = (["%d steps" % n for n in (10, 100, 1000)], ["%d files of 4 KiB" % n for n in (1000, 10000, 100000)], ["import of %d layers" % n for n in (1, 10, 100)])


def growth(results):
    yield "| | no cache | cached | daemon's peak |"
    yield "| --- | --: | --: | --: |"
    for group in GROWTH:
        for workload in group:
            yield "| %s | %s | %s | %s |" % (workload, form(results.seconds(workload, US)), form(results.seconds(workload + ", cached", US)), mib(results.peak(workload, US)))


def write_report(results, facts, path, quick):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), platform.machine())
    lines = [
        "# Benchmarks", "",
        "Written by `tools/bench`%s: every engine in one run on one machine, medians. %d cores (%s), Linux %s; stores on a loop-mounted ext4 of their own, memory touched" % (
            " --quick" if quick else "", os.cpu_count(), cpu, platform.release()),
        "before, the v2 cgroup hierarchy hidden from all alike where v1 controllers stand beside it; nothing is deleted shortly before a measurement.", "",
        "Peers: %s. docker: overlay2, runc, BuildKit, no bridge; buildah and podman: overlay, crun, `--layers`, cgroupfs, file events; containerd: overlayfs, no CRI. All on the host's network." % versions(),
        "docker's context is already with its daemon (the first run, which sends it, is not the median).", "",
        "## Goals", "",
        "| goal | cruxd | held against | ratio | |", "| --- | --: | --: | --: | --- |", *judge(results, facts), "",
        "## How cost grows", "", *growth(results), "",
        "## Resident", "",
        "| | idle PSS | start to ready | programs |", "| --- | --: | --: | --: |",
    ]
    sizes = facts.get("program bytes", {})
    for label, pss, who, size in (("cruxd, after a build", "cruxd", US, US), ("cruxd, fresh", "cruxd, fresh", "", ""), ("dockerd with its containerd", Docker.name, Docker.name, "docker"),
                                  ("containerd", Containerd.name, Containerd.name, "containerd"), ("buildah", "", "", "buildah"), ("podman", "", "", "podman")):
        lines.append("| %s | %s | %s | %s |" % (label, mib(facts.get("idle PSS KiB, " + pss)), form(results.seconds("start to ready", who)), "%.1f MB" % (sizes[size] / 1e6) if size in sizes else "–"))
    lines += ["", "Peers' programs are as Debian ships them (stripped Go programs); docker counts client, dockerd, containerd and shim.", "", "## Every median", "",
              "Peak memory is the daemon's with its children; where there is none, the command's own.", "",
              "| workload | who | median | min – max | runs | peak memory |", "| --- | --- | --: | --: | --: | --: |"]
    for workload, who in results.rows:
        low, high, count = results.spread(workload, who)
        lines.append("| %s | %s | %s | %s – %s | %d | %s |" % (workload.replace("|", "\\|"), who.replace("|", "\\|"), form(results.seconds(workload, who)), form(low), form(high), count, mib(results.peak(workload, who))))
    if results.failures:
        lines += ["", "## What could not be measured", ""] + ["* %s, %s: %s" % (w, who, " ".join(e.split())[:300]) for w, who, e in results.failures]
    notes = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notes.md")
    if os.path.exists(notes):
        with open(notes, encoding="utf-8") as f:
            lines += ["", f.read().rstrip()]
    with open(path, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
