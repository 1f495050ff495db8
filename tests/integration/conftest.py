# SPDX-License-Identifier: Apache-2.0
"""Fixtures: base images made once, a place and a daemon for each test, and a look afterwards at what was left behind."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402


@pytest.fixture(scope="session", name="bases")
def fixture_bases(tmp_path_factory):
    """Folder of the base images that need no mirror."""
    folder = tmp_path_factory.mktemp("bases")
    subprocess.run([harness.TOP / "tools" / "make-bases", folder, "scratch", "busybox", "busybox-docker"], check=True)
    return folder


@pytest.fixture(scope="session", name="debian")
def fixture_debian(tmp_path_factory):
    """Folder with debian.tar and debian-gcc.tar."""
    folder = tmp_path_factory.mktemp("debian")
    subprocess.run([harness.TOP / "tools" / "make-bases", folder, "debian", "debian-gcc", "scratch"], check=True)
    return folder


@pytest.fixture(name="place")
def fixture_place(bases, request):
    """A folder of the test's own; afterwards nothing of it may live on."""
    place = harness.Place()
    place.bases = Path(bases)
    yield place
    try:
        report = getattr(request.node, "report_call", None)
        if report is None or not report.failed:
            place.check()
        else:
            for daemon in place.daemons:
                print(daemon.log_path.read_text(errors="replace")[-4000:])
    finally:
        place.remove()


@pytest.fixture(name="daemon")
def fixture_daemon(place):
    return place.daemon()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report_call = outcome.get_result()


def pytest_configure(config):
    if not os.access(harness.PROGRAM, os.X_OK) and not config.option.collectonly:
        pytest.exit("%s is not there: ninja -C build, or set CRUXD" % harness.PROGRAM, 1)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))
