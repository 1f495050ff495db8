#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that a compiler does not know.  `lint.py [--tap] [ROOT [CHECK...]]`; one function a rule, each yields "file:line: what".

What review says twice becomes a rule here; test_lint.py holds each rule against a tree that breaks it.
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

FILE_LINES_MAX = 900
FUNCTION_LINES_MAX = 100
CHECKS = {}


def check(function):
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


class Missing(Exception):
    """A program that a rule needs is not there."""


class Tree:
    """The repository: its files (relative paths, sorted) and their lines."""

    def __init__(self, root):
        self.root = root
        self.files = []
        for folder, folders, names in os.walk(root):
            here = os.path.relpath(folder, root)
            folders[:] = sorted(d for d in folders if not d.startswith((".git", "build", "__pycache__", ".pytest")) or here.startswith("src"))
            folders[:] = [d for d in folders if not (here == "." and d in ("out", "bases"))]
            self.files += [os.path.normpath(os.path.join(here, name)) for name in sorted(names)]

    def path(self, name):
        return os.path.join(self.root, name)

    def has(self, name):
        return os.path.exists(self.path(name))

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def lines(self, name):
        return list(enumerate(self.text(name).splitlines(), 1))

    def code(self, name):
        """The lines of a C file without its comments."""
        text = re.sub(r"/\*.*?\*/|//[^\n]*", lambda found: "\n" * found.group(0).count("\n"), self.text(name), flags=re.S)
        return list(enumerate(text.splitlines(), 1))

    def sources(self, suffixes=(".c", ".h"), under=("src/",)):
        return [f for f in self.files if f.endswith(suffixes) and f.startswith(under)]

    def rooms(self):
        """In the order of the arrows, as the top meson.build says."""
        found = re.search(r"foreach room : \[(.*?)\]", self.text("meson.build"), re.S)
        return re.findall(r"'([^']+)'", found.group(1)) if found else []

    def scripts(self):
        result = []
        for name in self.files:
            if name.startswith(("tools/", "bench/", ".ci/")) and "." not in os.path.basename(name) or name.endswith((".sh", ".py")):
                with open(self.path(name), "rb") as f:
                    if f.read(2) == b"#!" or name.endswith(".py"):
                        result.append(name)
        return result


def find_lines(tree, files, pattern, message, comments=True):
    regex = re.compile(pattern)
    for name in files:
        for number, line in tree.lines(name) if comments else tree.code(name):
            if regex.search(line):
                yield "%s:%d: %s" % (name, number, message)


def build_of(name):
    return "/".join(name.split("/")[:2]) + "/meson.build"


# ---- architecture -----------------------------------------------------------

@check
def arrows(tree):
    """A room includes and links only itself and rooms before it; engines (src/ROOM/ENGINE/) never see each other."""
    rooms = tree.rooms()
    for name in tree.sources():
        room, engine = name.split("/")[1], name.split("/")[2] if name.count("/") > 2 else None
        if room not in rooms:
            yield "%s:1: room %r is not in the top meson.build" % (name, room)
            continue
        for number, line in tree.lines(name):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found or found.group(1) == "config.h":
                continue
            parts = found.group(1).split("/")
            where = "%s:%d: " % (name, number)
            if len(parts) == 1 and tree.has(build_of(name)) and "'%s'" % parts[0] in tree.text(build_of(name)):
                continue  # made by the room's build
            if len(parts) < 2 or parts[0] not in rooms:
                yield where + "an include names its room, \"room/thing.h\""
            elif rooms.index(parts[0]) > rooms.index(room):
                yield where + "%s may not use %s: it stands later in meson.build's order" % (room, parts[0])
            elif len(parts) > 2 and parts[0] != room:
                yield where + "the engines of %s are its own affair" % parts[0]
            elif len(parts) > 2 and engine and parts[1] != engine:
                yield where + "engine %s may not see engine %s" % (engine, parts[1])
    for room in rooms:
        build = "src/%s/meson.build" % room
        for number, line in tree.lines(build) if tree.has(build) else []:
            for other in re.findall(r"\b([a-z]+)_dep\b", line):
                if other in rooms and rooms.index(other) > rooms.index(room):
                    yield "%s:%d: %s may not link %s" % (build, number, room, other)


@check
def rooms_explained(tree):
    """Each room opens with a README.md."""
    for room in tree.rooms():
        if not tree.has("src/%s/README.md" % room):
            yield "src/%s: no README.md" % room


@check
def tests_registered(tree):
    """A test or fuzz target that no meson.build names never runs; a fuzz target without corpus replays nothing."""
    for name in tree.sources(("-test.c", "-fuzz.c")):
        folder, base = os.path.split(name)
        parts = folder.split("/")
        builds = ["/".join(parts[:n]) + "/meson.build" for n in range(2, len(parts) + 1)]
        text = "".join(tree.text(b) for b in builds if tree.has(b))
        if not re.search(r"'([^']*/)?%s'" % re.escape(base), text):
            yield "%s:1: no meson.build names it" % name
        if name.endswith("-fuzz.c"):
            found = re.search(r"\[\s*'([^']+)',\s*files\(\s*'([^']*/)?%s'" % re.escape(base), text)
            corpus = "tests/fuzz/corpus/%s" % (found.group(1) if found else base[:-2])
            if not any(f.startswith(corpus + "/") for f in tree.files):
                yield "%s:1: no corpus in %s" % (name, corpus)


# ---- text ---------------------------------------------------------------------

@check
def licence_lines(tree):
    for name in tree.files:
        code = name.endswith((".c", ".h", ".py", ".sh")) or os.path.basename(name) in ("meson.build", "meson_options.txt")
        if (code or name in tree.scripts()) and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(tree.text(name).split("\n")[:2]):
            yield "%s:1: no line SPDX-License-Identifier: Apache-2.0" % name


@check
def words(tree):
    """Nothing is left for later in the code, and nothing of the machine it was written on is in the repository."""
    code = [f for f in tree.files if f.endswith((".c", ".h", ".py", ".sh", ".md", "meson.build")) or f in tree.scripts()]
    left = "TO" + "DO|FIX" + "ME|XX" + "X|HA" + "CK"
    yield from find_lines(tree, [f for f in code if not f.startswith("tests/lint/")], r"\b(%s)\b" % left, "left for later: do it, or open an issue")
    machine = r"/wor" r"k/(main|shared|steering|\.)|/tmp/w" r"t/|/root/\.|\bdeb\.debian" r"\.org|pypi" r"\.org|\bsubagen" r"t"
    yield from find_lines(tree, code, machine, "belongs to one machine, not to the project")


@check
def nothing_sleeps(tree):
    """A test waits for an event, never for a while."""
    tests = tree.sources(("-test.c",)) + [f for f in tree.files if f.startswith("tests/") and f.endswith(".py") and not f.startswith("tests/lint/")]
    yield from find_lines(tree, tests, r"\b(g_usleep|usleep|nanosleep|sleep) ?\(", "a test never sleeps: wait for a descriptor or a process")


@check
def links(tree):
    """Links between our documents lead somewhere."""
    for name in tree.files:
        if name.endswith(".md"):
            for number, line in tree.lines(name):
                for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
                    if "://" not in target and not os.path.exists(os.path.join(tree.root, os.path.dirname(name), target)):
                        yield "%s:%d: %s is not there" % (name, number, target)


# ---- code ---------------------------------------------------------------------

@check
def sizes(tree):
    for name in tree.sources(under=("src/", "tests/")):
        lines = tree.lines(name)
        if len(lines) > FILE_LINES_MAX:
            yield "%s:%d: %d lines (at most %d): two ideas in one file" % (name, FILE_LINES_MAX, len(lines), FILE_LINES_MAX)
        start = None
        for number, line in lines:
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                if number - start - 1 > FUNCTION_LINES_MAX:
                    yield "%s:%d: a function of %d lines (at most %d)" % (name, start, number - start - 1, FUNCTION_LINES_MAX)
                start = None


@check
def calls(tree):
    """Calls that have one home, or none."""
    sources = tree.sources()
    tests = ("-test.c", "-fuzz.c")
    never = r"(?<![\w.>])(system|popen|g_spawn_\w+|strcpy|strcat|sprintf|vsprintf|gets|tmpnam|mktemp|alloca|strtok) ?\("
    yield from find_lines(tree, [f for f in sources if not f.endswith(tests)], never, "never called here (children: base/process.h)", comments=False)
    outside = [f for f in sources if not f.startswith("src/base/") and not f.endswith(tests)]
    yield from find_lines(tree, outside, r"\bg_set_error(_literal)? ?\([^,]*, *(CX_ERROR|G_\w+)\b", "errors are raised with cx_throw (base/error.h)", comments=False)


@check
def environment(tree):
    """What the environment can switch stands in docs/environment.md."""
    known = tree.text("docs/environment.md") if tree.has("docs/environment.md") else ""
    uses = {
        r'getenv ?\(\s*"([A-Z_]+)"': "variable",
        r'\bcx_failpoint ?\(\s*"([^"]+)"': "failpoint",
        r'\bcx_switch_is_disabled ?\(\s*"([^"]+)"': "switch",
    }
    for name in tree.sources():
        if not name.endswith(("-test.c", "-fuzz.c")):
            for number, line in tree.lines(name):
                for pattern, what in uses.items():
                    for word in re.findall(pattern, line):
                        if "`%s`" % word not in known:
                            yield "%s:%d: %s %s is not in docs/environment.md" % (name, number, what, word)


def program(name):
    return shutil.which(name) or _missing(name)


def _missing(name):
    raise Missing(name)


def run_each(jobs):
    """Runs (name, argv, stdin) on all cores, yields name and output of those that failed, in order."""
    def one(job):
        name, argv, text = job
        result = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return name, result.returncode, result.stdout
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, code, output in pool.map(one, jobs):
            if code != 0:
                yield name, output


@check
def clang_format(tree):
    tool = program("clang-format")
    sources = tree.sources(under=("src/", "tests/", "examples/"))
    for name, output in run_each([(f, [tool, "--dry-run", "-Werror", tree.path(f)], None) for f in sources]):
        places = re.findall(r":(\d+):\d+: error", output)
        yield "%s:%s: not as clang-format writes it (%d places; clang-format -i)" % (name, places[0] if places else 1, len(places))


@check
def headers_alone(tree):
    """Every header compiles by itself."""
    cc = program(os.environ.get("CC", "cc"))
    packages = "glib-2.0 gio-unix-2.0 jansson sqlite3 libcrypto libfyaml libseccomp libzstd zlib"
    flags = subprocess.run([program("pkg-config"), "--cflags", *packages.split()], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    base = [cc, "-std=gnu11", "-fsyntax-only", "-Wall", "-D_GNU_SOURCE", "-I" + tree.path("src"), *flags, "-x", "c", "-"]
    jobs = [(f, base, '#include "%s"\n' % f[len("src/"):]) for f in tree.sources((".h",))]
    for name, output in run_each(jobs):
        yield "%s:1: does not compile alone: %s" % (name, output.strip().split("\n")[0])


@check
def shell_scripts(tree):
    tool = program("shellcheck")
    for name in tree.scripts():
        first = tree.lines(name)[0][1]
        if "sh" in first and "python" not in first:
            if "set -euo pipefail" not in tree.text(name) and not name.endswith("lib.sh"):
                yield "%s:1: no set -euo pipefail" % name
            result = subprocess.run([tool, "-x", "-f", "gcc", tree.path(name)], stdout=subprocess.PIPE, text=True, check=False, cwd=tree.root)
            yield from (line.replace(tree.root + "/", "") for line in result.stdout.splitlines())


# ---- running ------------------------------------------------------------------

def main(arguments):
    tap = arguments[:1] == ["--tap"]
    arguments = arguments[tap:]
    tree = Tree(os.path.abspath(arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "../..")))
    names = arguments[1:] or list(CHECKS)
    failed = 0
    if tap:
        print("1..%d" % len(names))
    for number, name in enumerate(names, 1):
        try:
            found = list(CHECKS[name](tree))
            verdict = "not ok" if found else "ok"
            remark = ""
        except Missing as missing:
            found, verdict, remark = [], "ok", " # SKIP no %s" % missing
        failed += bool(found)
        if tap:
            print("%s %d - %s%s" % (verdict, number, name, remark))
        for line in found:
            print(line, file=sys.stderr if tap else sys.stdout)  # meson shows stderr of what failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
