/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/driver.h"

G_BEGIN_DECLS

/* A runtime made for a test: a script that notes its arguments in the file "argv", one line a call,
 * its environment in "env", and then does what the file "plan" says, a shell text that may use
 * $verb, $id, $root, $log, $pid_file and $dir (the folder of all these). */
typedef struct {
    char *folder;  /* (owned) */
    char *state;   /* (owned) state root */
    char *program; /* (owned) */
    CxRuntime *runtime;
} TestFake;

/* version: what it answers to --version, "crun version 1.8.1\n". */
void test_fake_open(TestFake *self, const char *version);
void test_fake_clear(TestFake *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TestFake, test_fake_clear)

void test_fake_put(const char *folder, const char *name, const char *text, guint mode);
char *test_fake_get(const char *folder, const char *name); /* "" if there is none */

G_END_DECLS
