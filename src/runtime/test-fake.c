/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/test-fake.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/tmp.h"

static const char script[] = "#!/bin/sh\n"
                             "dir=${0%/*}\n"
                             "[ \"$1\" = --version ] && { cat \"$dir/version\"; exit 0; }\n"
                             "echo \"$*\" >> \"$dir/argv\"\n"
                             "env > \"$dir/env\"\n"
                             "while [ $# -gt 0 ]; do\n"
                             "  case $1 in\n"
                             "  --root) root=$2; shift ;;\n"
                             "  --log) log=$2; shift ;;\n"
                             "  --pid-file) pid_file=$2; shift ;;\n"
                             "  create|run|start|state|kill|delete) verb=$1 ;;\n"
                             "  --) id=$2; break ;;\n"
                             "  esac\n"
                             "  shift\n"
                             "done\n"
                             ". \"$dir/plan\"\n";

void
test_fake_put(const char *folder, const char *name, const char *text, guint mode)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

char *
test_fake_get(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

void
test_fake_open(TestFake *self, const char *version)
{
    g_autoptr(GError) error = NULL;

    self->folder = g_dir_make_tmp("cx-fake-XXXXXX", &error);
    g_assert_no_error(error);
    self->state = g_build_filename(self->folder, "state", NULL);
    self->program = g_build_filename(self->folder, "runtime", NULL);
    test_fake_put(self->folder, "runtime", script, 0755);
    test_fake_put(self->folder, "version", version, 0644);
    test_fake_put(self->folder, "plan", "exit 0\n", 0644);
    self->runtime = cx_runtime_open(self->program, self->state, NULL, &error);
    g_assert_no_error(error);
}

void
test_fake_clear(TestFake *self)
{
    cx_runtime_unref(self->runtime);
    (void)cx_remove_tree_at(AT_FDCWD, self->folder, NULL);
    g_free(self->folder);
    g_free(self->state);
    g_free(self->program);
}
