# SPDX-License-Identifier: Apache-2.0
"""The command line: shape, exit codes, the private daemon, the verbs that look at the store."""
import json
import re

import pytest
from harness import TOP, assert_clear, assert_says, image_file

MANIFEST = """version: 0
resource: {type: service, name: acme/api, version: 1.2.0}
entrypoint: [/bin/echo, hi]
stages:
  - from: file busybox.tar
    steps:
      - run: echo built > /built
      - copy: a /a
"""


@pytest.fixture(name="project")
def fixture_project(place):
    place.base("busybox.tar")
    place.write("a", "A")
    place.write("crucible.yaml", MANIFEST)
    return place


@pytest.mark.parametrize("arguments", [[], ["dance"], ["--hop", "status"], ["status", "--hop"], ["start", "--hop"], ["build"], ["build", "a", "b"],
                                       ["inspect"], ["-s"], ["build", "--progress", "loud", "."]])
def test_usage_errors(place, arguments):
    result = place.cli(*arguments)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert result.stderr and not result.stdout


def test_flags_on_both_sides(place, daemon):
    assert place.cli("-q", "status", ok=True).stdout
    assert place.cli("status", "-q", "-v", ok=True).stdout
    assert place.cli("-d", "version", "-v", ok=True).stdout


@pytest.mark.parametrize("command", ["status", "shutdown"])
def test_no_daemon_to_ask(place, command):
    result = place.cli(command)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert_says(result.stderr, "/run/cruxd/instances/%s/cruxd.sock" % place.instance)


def test_status_and_shutdown(place, daemon):
    assert_says(place.cli("status", ok=True).stdout, str(daemon.process.pid))
    place.cli("shutdown", ok=True)
    assert daemon.wait() == 0


def commands_of(place):
    text = place.cli("--help", ok=True).stdout
    found = re.findall(r"^ +([a-z]+)\b", text, re.M)
    assert "build" in found and "start" in found, text
    return [name for name in found if name not in ("cruxd",)]


def test_every_command_has_help_and_a_manual(place):
    manual = "".join(path.read_text() for path in (TOP / "man").glob("cruxd*.1"))
    for command in commands_of(place):
        text = place.cli(command, "--help", ok=True).stdout
        assert text, command
        page = TOP / "man" / ("cruxd-%s.1" % command)
        page_text = page.read_text() if page.exists() else manual
        assert re.search(r"\b%s\b" % command, manual), command
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}:
            # mdoc writes --file as "Fl -file".
            assert re.search(r"(Fl|,) %s\b" % option[1:], page_text + manual), (command, option)


def test_build_with_a_private_daemon(project):
    result = project.cli("build", "-o", project.out, ".", ok=True)
    assert (project.out / "image.tar").exists()
    assert "\x1b[" not in result.stderr + result.stdout
    assert not (project.path / "sock").exists()


def test_private_daemons_share_the_store(project):
    project.cli("build", "-o", project.out, ".", ok=True)
    first = (project.out / "image.tar").read_bytes()
    result = project.cli("build", "-o", project.path / "out2", "--progress", "plain", ".", ok=True)
    assert_says((result.stderr + result.stdout).lower(), "cached")
    assert (project.path / "out2" / "image.tar").read_bytes() == first
    assert_says(project.cli("images", ok=True).stdout, "acme/api", "1.2.0")


def test_build_with_a_running_daemon(project, daemon):
    project.cli("build", "-o", "relative/out", ".", ok=True)
    assert (project.context / "relative" / "out" / "image.tar").exists()
    assert daemon.status()["builds"] == 1


def test_failed_step_on_the_command_line(project):
    project.write("crucible.yaml", MANIFEST.replace("echo built > /built", "echo some; echo because >&2; exit 3"))
    result = project.cli("build", "-o", project.out, ".")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert_says(last, "error: ", "exit code 3", "because")
    assert_clear(last[len("error: "):])
    assert_says(last, "line 7")


def test_progress_forms(project):
    for number, form in enumerate(["plain", "json", "auto", "tty"]):
        result = project.cli("build", "--no-cache", "-o", project.out, "--progress", form, ".", ok=True)
        if form == "json":
            lines = [json.loads(line) for line in (result.stdout or result.stderr).splitlines()]
            assert len(lines) > 2, number
        else:
            assert "run" in result.stderr + result.stdout


def test_explain(project):
    project.cli("build", "-o", project.out, ".", ok=True)
    project.write("a", "B")
    project.write("crucible.yaml", MANIFEST.replace("echo built", "echo changed"))
    result = project.cli("build", "--explain", "--progress", "plain", "-o", project.out, ".", ok=True)
    assert_says(result.stderr + result.stdout, "changed")


def test_store_verbs(project):
    project.cli("build", "-o", project.out, ".", ok=True)
    inspected = json.loads(project.cli("inspect", "acme/api:1.2.0", ok=True).stdout)
    assert_says(json.dumps(inspected), "/bin/echo", "sha256:")
    assert re.search(r"\d", project.cli("df", ok=True).stdout)
    dry = project.cli("gc", "--all", "--dry-run", ok=True).stdout
    assert_says(project.cli("images", ok=True).stdout, "acme/api")
    project.cli("gc", "--all", ok=True)
    assert dry is not None
    assert_says(project.cli("images", ok=True).stdout, "acme/api")
    project.cli("build", "-o", project.path / "again", ".", ok=True)
    assert (project.path / "again" / "image.tar").read_bytes() == (project.out / "image.tar").read_bytes()


def test_inspect_of_nothing(place):
    result = place.cli("inspect", "no/such:1")
    assert result.returncode == 1
    assert_says(result.stderr, "error: ", "no/such:1")


def test_doctor(place):
    text = place.cli("doctor", ok=True).stdout
    assert_says(text, "crun", "erofs", "unpacked", "cgroup", str(place.root))


def test_platforms_on_the_command_line(project):
    result = project.cli("build", "--platform", "linux/" + image_file.host_architecture(), "--platform", "linux/s390x", "-o", project.out, ".")
    assert result.returncode == 1
    assert_says(result.stderr, "s390x")
