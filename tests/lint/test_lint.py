#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of lint.py against a tree that keeps it and a tree that breaks it."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lint  # noqa: E402

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
MESON = "# SPDX-License-Identifier: Apache-2.0\nforeach room : ['base', 'oci', 'store']\n  subdir('src' / room)\nendforeach\n"


class LintTest(unittest.TestCase):
    def found(self, name, files):
        """What a check says about a tree of these files."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {"meson.build": MESON, **files}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            try:
                return list(lint.CHECKS[name](lint.Tree(root)))
            except lint.Missing as missing:
                self.skipTest("no %s" % missing)

    def assert_found(self, name, files, *wanted):
        found = self.found(name, files)
        self.assertEqual(len(found), len(wanted), found)
        for line, part in zip(found, wanted):
            self.assertIn(part, line)

    def test_arrows(self):
        self.assert_found("arrows", {"src/oci/a.c": '#include "base/x.h"\n#include "oci/b.h"\n#include <glib.h>\n'})
        self.assert_found("arrows", {"src/oci/a.c": '#include "store/x.h"\n'}, "src/oci/a.c:1: oci may not use store")
        self.assert_found("arrows", {"src/oci/a.c": '\n#include "b.h"\n'}, "src/oci/a.c:2: an include names its room")
        self.assert_found("arrows", {"src/attic/a.c": ""}, "room 'attic'")
        self.assert_found("arrows", {"src/oci/meson.build": "oci_dep = f([base_dep, store_dep])\n"}, "oci may not link store")

    def test_made_headers(self):
        self.assert_found("arrows", {"src/oci/a.c": '#include "made.h"\n', "src/oci/meson.build": "custom_target('x', output: 'made.h')\n"})

    def test_engines(self):
        self.assert_found("arrows", {"src/oci/one/a.c": '#include "oci/one/a.h"\n#include "oci/engine.h"\n', "src/oci/registry.c": '#include "oci/one/a.h"\n'})
        self.assert_found("arrows", {"src/oci/one/a.c": '#include "oci/two/a.h"\n'}, "engine one may not see engine two")
        self.assert_found("arrows", {"src/store/a.c": '#include "oci/two/a.h"\n'}, "engines of oci")

    def test_rooms_explained(self):
        readme = {"src/%s/README.md" % room: "" for room in ("base", "oci", "store")}
        self.assert_found("rooms-explained", readme)
        del readme["src/oci/README.md"]
        self.assert_found("rooms-explained", readme, "src/oci")

    def test_tests_registered(self):
        build = "unit_tests += [['a', files('a-test.c'), d]]\nfuzzers += [['oci-a', files('a-fuzz.c'), d]]\n"
        good = {"src/oci/meson.build": build, "src/oci/a-test.c": "", "src/oci/a-fuzz.c": "", "tests/fuzz/corpus/oci-a/x": "x"}
        self.assert_found("tests-registered", good)
        self.assert_found("tests-registered", {**good, "src/oci/b-test.c": ""}, "src/oci/b-test.c:1: no meson.build")
        del good["tests/fuzz/corpus/oci-a/x"]
        self.assert_found("tests-registered", good, "no corpus in tests/fuzz/corpus/oci-a")

    def test_licence_lines(self):
        self.assert_found("licence-lines", {"src/oci/a.c": LICENCE, "tools/x": "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n"})
        self.assert_found("licence-lines", {"src/oci/a.c": "int a;\n", "tools/x": "#!/bin/bash\n"}, "src/oci/a.c", "tools/x")

    def test_words(self):
        self.assert_found("words", {"src/oci/a.c": "a todo list\n", "README.md": "work\n"})
        self.assert_found("words", {"src/oci/a.c": "\n/* TO" "DO: later */\n"}, "src/oci/a.c:2: left for later")
        self.assert_found("words", {"README.md": "see /wor" "k/main\n"}, "README.md:1: belongs to one machine")

    def test_nothing_sleeps(self):
        self.assert_found("nothing-sleeps", {"src/oci/a-test.c": "run(\"sleep 1\");\n", "src/oci/a.c": "g_usleep(1);\n"})
        self.assert_found("nothing-sleeps", {"src/oci/a-test.c": "g_usleep(1);\n", "tests/x.py": "time.sleep(1)\n"}, "a-test.c:1", "tests/x.py:1")

    def test_links(self):
        self.assert_found("links", {"docs/a.md": "[b](b.md) [web](https://example.com/) [top](#top)\n", "docs/b.md": ""})
        self.assert_found("links", {"docs/a.md": "[b](../b.md#part)\n"}, "docs/a.md:1: ../b.md is not there")

    def test_sizes(self):
        def function(lines):
            return "void\nf(void)\n{\n" + "    g();\n" * lines + "}\n"
        self.assert_found("sizes", {"src/oci/a.c": function(100)})
        self.assert_found("sizes", {"src/oci/a.c": function(101)}, "src/oci/a.c:3: a function of 101 lines")
        self.assert_found("sizes", {"src/oci/a.c": "int a;\n" * 901}, "901 lines")

    def test_calls(self):
        self.assert_found("calls", {"src/oci/a.c": "file_system(x); self->system(1);\n/* never\n system(x) */\n", "src/base/error.c": "g_set_error(e, CX_ERROR, 1);\n", "src/oci/b.c": "g_set_error(e, CX_OCI_PRIVATE, 0);\n", "src/oci/a-test.c": "system(x);\n"})
        self.assert_found("calls", {"src/oci/a.c": "    system(x);\n    g_set_error(e, CX_ERROR, 1);\n"}, "a.c:1: never", "a.c:2: errors are raised")

    def test_environment(self):
        code = 'getenv("CX_DEBUG"); cx_failpoint("x-commit", error); cx_switch_is_disabled("openat2");\n'
        self.assert_found("environment", {"src/oci/a.c": code, "docs/environment.md": "`CX_DEBUG` `x-commit` `openat2`"})
        self.assert_found("environment", {"src/oci/a.c": code}, "variable CX_DEBUG", "failpoint x-commit", "switch openat2")

    def test_clang_format(self):
        self.assert_found("clang-format", {".clang-format": "BasedOnStyle: LLVM\n", "src/oci/a.c": "int a;\n"})
        self.assert_found("clang-format", {".clang-format": "BasedOnStyle: LLVM\n", "src/oci/a.c": "int  a;\n"}, "src/oci/a.c:1: not as")

    def test_headers_alone(self):
        self.assert_found("headers-alone", {"src/oci/a.h": "#include <glib.h>\nguint a(void);\n"})
        self.assert_found("headers-alone", {"src/oci/a.h": "guint a(void);\n"}, "src/oci/a.h:1: does not compile alone")

    def test_shell_scripts(self):
        self.assert_found("shell-scripts", {"tools/a": '#!/bin/bash\nset -euo pipefail\necho "$1"\n'})
        self.assert_found("shell-scripts", {"tools/a": "#!/bin/bash\necho $1\n"}, "no set -euo", "tools/a:2:6")

    def test_every_rule_has_a_test(self):
        tested = {name[len("test_"):].replace("_", "-") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(set(lint.CHECKS) - tested, set())


class TapResult(unittest.TextTestResult):
    """One TAP line a test, as meson reads it."""

    def stopTest(self, test):
        super().stopTest(test)
        bad = [text for case, text in self.failures + self.errors if case is test]
        skip = [reason for case, reason in self.skipped if case is test]
        print("%s %d - %s%s" % ("not ok" if bad else "ok", self.testsRun, test.id().split(".")[-1], " # SKIP " + skip[0] if skip else ""))
        for line in "\n".join(bad).splitlines():
            print("# " + line)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(LintTest)
    print("1..%d" % suite.countTestCases(), flush=True)
    with open(os.devnull, "w", encoding="utf-8") as quiet:
        sys.exit(not unittest.TextTestRunner(stream=quiet, resultclass=TapResult).run(suite).wasSuccessful())
