#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the result files of meson and pytest in a folder: names what failed and was skipped, then "N passed, N failed, N skipped"."""
import glob
import json
import os
import sys
import xml.etree.ElementTree as xml


def outcome(case):
    kinds = {child.tag for child in case}
    return "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def read(path):
    """(test, outcome, reason) of each test case; a test program that died before it could report counts once."""
    failed = []
    for suite in xml.parse(path).getroot().iter("testsuite"):
        for case in suite.findall("testcase"):
            what, name = outcome(case), "%s %s" % (suite.get("name"), case.get("name"))
            skipped = case.find("skipped")
            if what == "failed":
                failed.append(name)
            yield name, what, "" if skipped is None else skipped.get("message") or ""
    programs = path[:-len("xml")] + "json"
    if os.path.exists(programs):
        with open(programs, encoding="utf-8") as lines:
            for result in map(json.loads, lines):
                if result["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and not any(result["name"] in name for name in failed):
                    yield result["name"], "failed", result["result"]


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.xml"))):
        for name, what, reason in read(path):
            counts[what] += 1
            if what != "passed":
                print("%s: %s %s%s" % (what, os.path.basename(path)[:-4], name, " (%s)" % reason if reason else ""))
    if not counts["skipped"]:
        del counts["skipped"]
    print(", ".join("%d %s" % (number, what) for what, number in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
