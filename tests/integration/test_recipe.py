# SPDX-License-Identifier: Apache-2.0
"""Recipes that are refused, in the seeds' words (spec/daemon.md §5), by the wire and by the manifest file."""
import pytest
from harness import assert_clear, assert_says, copy, run, stage

S = "file scratch.tar"
PLACES = [
    ([], "invalid recipe: recipe must have at least one stage"),
    ([stage(S, transient=True, name="a")], "invalid recipe: recipe must have at least one non-transient stage"),
    ([stage(S), stage(S)], "invalid recipe: recipe must have exactly one non-transient stage"),
    ([stage(S, platform="linux/amd64"), stage(S, platform="linux/amd64")], "duplicate output platform"),
    ([stage(S, name="a", transient=True), stage(S, name="a")], "duplicate stage name"),
    ([stage(S, name="12")], "stage name must not be numeric"),
    ([stage("")], "invalid from format"),
    ([stage("oci")], "from"),
    ([stage("oci a b")], "from"),
    ([stage("file")], "missing source value"),
    ([stage(S, {})], "step has no fields set"),
    ([stage(S, {"run": "a", "copy": "b c"})], "run and copy are mutually exclusive"),
    ([stage(S, {"steps": [run("a")]})], "child steps require platform"),
    ([stage(S, {"platform": "linux/amd64", "run": "x", "steps": [run("a")]})], "platform group cannot have operations"),
    ([stage(S, {"platform": "linux/amd64", "steps": [{"platform": "linux/arm64", "steps": [run("a")]}]})], "platform groups cannot be nested"),
    ([stage(S, {"platform": "linux/amd64", "steps": [run("a")]}, platform="linux/amd64")], "steps cannot use platform inside a platform-scoped stage"),
    ([stage(S, {"copy": "a b", "shell": "/bin/sh"})], "shell cannot be used with copy"),
    ([stage(S, {"copy": "a b", "env": {"A": "b"}})], "env cannot be used with copy"),
]


@pytest.mark.parametrize("stages,words", PLACES, ids=[words.replace(" ", "-") for _, words in PLACES])
def test_validation(daemon, place, stages, words):
    place.base("scratch.tar")
    assert_says(daemon.refuse(*stages), words)


def test_places_are_named(daemon, place):
    place.base("scratch.tar")
    bad = {"run": "a", "copy": "b c"}
    message = daemon.refuse(stage(S, copy("a /a"), {"workdir": "/"}, bad, name="x"))
    assert message.endswith('stage "x": invalid stage: step 3: invalid step: run and copy are mutually exclusive'), message
    assert_says(daemon.refuse(stage(S, name="a", transient=True), stage(S, bad)), "stage 2: invalid stage: step 1:")


@pytest.mark.parametrize("step,words", [
    (copy("a"), 'missing source or destination in "a"'),
    (copy("a b c"), 'missing source or destination in "a b c"'),
    (copy(""), ""),
    (copy("a b/"), 'relative dest "b/" requires workdir'),
    (copy("other:/x /x"), 'unknown stage "other"'),
    (copy("later:/x /x"), 'unknown stage "later"'),
    (copy("a /a"), '"a"'),
])
def test_copies_that_cannot_be(daemon, place, step, words):
    place.base("scratch.tar")
    message = daemon.refuse(stage(S, step), stage(S, name="later", transient=True))
    assert_says(message, "stage 1", words)


def test_sources_that_cannot_be(daemon, place):
    assert_says(daemon.refuse(stage("oci alpine:3.21")), "oci", "alpine:3.21")
    assert_says(daemon.refuse(stage("crucible/runtime-go ^1.0")), "unresolved source")
    assert_says(daemon.refuse(stage("ref crucible/runtime-go ^1.0")), "unresolved source")
    assert_says(daemon.refuse(stage("file missing.tar")), "missing.tar")


@pytest.mark.parametrize("count,fits", [(1000, True), (1001, False)])
def test_many_stages(daemon, place, count, fits):
    place.base("scratch.tar")
    place.write("a")
    stages = [stage(S, name="s%d" % n, transient=True) for n in range(count - 1)] + [stage(S, copy("a /a"))]
    if fits:
        daemon.build(*stages)
    else:
        assert_says(daemon.refuse(*stages), "1000")


# ---- crucible.yaml ---------------------------------------------------------------------

MANIFEST = """version: 0
resource: {type: %s, name: acme/api, version: 1.2.0}
%sstages:
  - from: file scratch.tar
    steps:
      - copy: a /a
"""


def manifest_error(place, text):
    place.base("scratch.tar")
    place.write("a")
    place.write("crucible.yaml", text)
    result = place.cli("build", "-o", place.out, ".", ok=False)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert_clear(lines[0])
    assert not place.out.exists() or not list(place.out.iterdir())
    return lines[0]


@pytest.mark.parametrize("kind,entrypoint", [("runtime", ""), ("machine", ""), ("service", "entrypoint: [/a, -x]\n")])
def test_manifest_types(place, kind, entrypoint):
    place.base("scratch.tar")
    place.write("a")
    place.write("crucible.yaml", MANIFEST % (kind, entrypoint))
    place.cli("build", "-o", place.out, ".", ok=True)
    assert (place.out / "image.tar").exists()


@pytest.mark.parametrize("text,place_and_words", [
    (MANIFEST % ("service", ""), "service missing entrypoint"),
    (MANIFEST.replace("version: 0", "version: 1", 1) % ("runtime", ""), "unsupported manifest version"),
    (MANIFEST % ("widget", ""), "crucible.yaml:2:"),
    (MANIFEST % ("template", ""), "crucible.yaml:2:"),
    (MANIFEST % ("sausage", ""), "crucible.yaml:2:"),
    (MANIFEST % ("runtime", "") + "      - run: [a, b]\n", "crucible.yaml:7:"),
    (MANIFEST % ("runtime", "") + "      - {}\n", "crucible.yaml:7"),
    (MANIFEST % ("runtime", "") + "      - hop: x\n", "crucible.yaml:7:9:"),
    (MANIFEST % ("runtime", "") + "      - copy: a /b\n        copy: a /c\n", "crucible.yaml:8:"),
    (MANIFEST % ("runtime", "colour: blue\n"), "crucible.yaml:3:1:"),
    (MANIFEST % ("runtime", "a: &a b\nc: *a\n"), "crucible.yaml:3:"),
    ("version: 0\nresource: {type: runtime\n", "crucible.yaml:"),
    ("\tversion: 0\n", "crucible.yaml:1:"),
    ("[]\n", "crucible.yaml:1:"),
    ("", "crucible.yaml"),
    ("version: 0\nstages: []\n", "crucible.yaml"),
    ("\u0000", "crucible.yaml"),
    ("a: [" * 10000, "crucible.yaml"),
    ("&a [*a,*a]", "crucible.yaml"),
])
def test_manifest_errors_say_where(place, text, place_and_words):
    assert_says(manifest_error(place, text), place_and_words)


def test_manifest_that_is_missing(place):
    assert_says(place.cli("build", "-o", place.out, ".", ok=False).stderr, "crucible.yaml")


def test_manifest_elsewhere(place):
    place.base("scratch.tar")
    place.write("a")
    place.write("other/recipe.yaml", MANIFEST % ("runtime", ""))
    place.cli("build", "-f", place.context / "other" / "recipe.yaml", "-o", place.out, place.context, ok=True, cwd="/")
    assert (place.out / "image.tar").exists()


def test_manifest_that_is_huge(place):
    assert_says(manifest_error(place, "#" * (5 << 20)), "crucible.yaml")
