# SPDX-License-Identifier: Apache-2.0
"""Running a command and knowing what it cost; the results of a whole run."""
import json
import os
import statistics
import subprocess
import sys
import time

NULL = os.open(os.devnull, os.O_RDWR)


class Failed(Exception):
    pass


def spawn(command, env, cwd, output):
    """vfork and exec, nothing between: a client of a few milliseconds is measured, not the measuring."""
    here = os.getcwd()
    os.chdir(cwd or here)
    try:
        return os.posix_spawnp(command[0], command, env or os.environ,
                               file_actions=[(os.POSIX_SPAWN_DUP2, NULL, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)])
    finally:
        os.chdir(here)


def once(command, env=None, cwd=None, log="/dev/null"):
    """Seconds and peak KiB of one run of argv."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        start = time.perf_counter()
        pid = spawn([str(word) for word in command], env, cwd, output)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
    finally:
        os.close(output)
    if status != 0:
        with open(log, encoding="utf-8", errors="replace") as f:
            raise Failed("%s: status %d: %s" % (" ".join(map(str, command))[:300], status, f.read()[-600:].strip()))
    return seconds, usage.ru_maxrss


def shell(text, **options):
    """Preparation that is not measured."""
    result = subprocess.run(["/bin/bash", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode != 0:
        raise Failed("%s: %s" % (text[:300], result.stdout[-600:].strip()))
    return result.stdout


def tree_of(pid):
    """A process and its descendants."""
    pids = [pid]
    for parent in pids:
        try:
            with open("/proc/%d/task/%d/children" % (parent, parent), encoding="utf-8") as f:
                pids += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return pids


def sum_of(pids, path, key):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/%s" % (pid, path), encoding="utf-8") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(key + ":"))
        except OSError:
            pass
    return total


def reset_peak(pids):
    for pid in pids:
        try:
            with open("/proc/%d/clear_refs" % pid, "w", encoding="utf-8") as f:
                f.write("5")
        except OSError:
            pass


def peak_kib(pids):
    return sum_of(pids, "status", "VmHWM")


def pss_kib(pids):
    return sum_of(pids, "smaps_rollup", "Pss")


class Results:
    """(workload, who) -> runs; survives a crash in a file of JSON lines."""

    def __init__(self, path):
        self.path = path
        self.rows = {}
        self.failures = []

    def add(self, workload, who, seconds, peak=None, **more):
        row = {"workload": workload, "who": who, "seconds": seconds, "peak": peak, **more}
        self.rows.setdefault((workload, who), []).append(row)
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")

    def fail(self, workload, who, error):
        self.failures.append((workload, who, str(error)))
        print("failed: %s, %s: %s" % (workload, who, error), file=sys.stderr)

    def seconds(self, workload, who):
        rows = self.rows.get((workload, who))
        return statistics.median(row["seconds"] for row in rows) if rows else None

    def spread(self, workload, who):
        rows = self.rows.get((workload, who))
        return (min(r["seconds"] for r in rows), max(r["seconds"] for r in rows), len(rows)) if rows else None

    def peak(self, workload, who):
        rows = [r["peak"] for r in self.rows.get((workload, who), []) if r["peak"]]
        return max(rows) if rows else None

    def fastest(self, workload, whos):
        """The best of several: (who, seconds)."""
        known = [(who, self.seconds(workload, who)) for who in whos if self.seconds(workload, who) is not None]
        return min(known, key=lambda pair: pair[1]) if known else (None, None)


def measure(results, workload, who, runs, command, prepare=None, daemon=None, env=None, cwd=None, log=None):
    """Several runs; prepare(number) is not measured and may give the command; daemon() gives pids whose peak memory is noted."""
    try:
        for number in range(runs):
            words = prepare(number) if prepare else None
            os.sync()
            pids = daemon() if daemon else []
            reset_peak(pids)
            seconds, own = once(words or command, env=env, cwd=cwd, log=log or os.path.join(os.path.dirname(results.path), "command.log"))
            results.add(workload, who, seconds, peak_kib(pids) if daemon else own)
        print("%-34s %-28s %10.1f ms" % (workload, who, results.seconds(workload, who) * 1000), file=sys.stderr)
    except (Failed, OSError) as error:
        results.fail(workload, who, error)
