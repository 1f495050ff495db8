/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/driver.h"
#include "runtime/spec.h"

G_BEGIN_DECLS

/* What the tests with real runtimes share: a root file system of one static busybox, bundles, and
 * the ground they stand on. */

/* Enters a private mount namespace with a cgroup view that runtimes accept.  FALSE: this machine
 * cannot; *out_why says what is missing (static). */
gboolean test_enter_sandbox(const char **out_why);
/* The same, and there is something to run in a container. */
gboolean test_can_run_containers(const char **out_why);

typedef struct {
    char *folder; /* (owned) temporary */
    char *root;   /* (owned) folder/root */
    char *state;  /* (owned) folder/state */
    CxRuntime *runtime;
} TestGround;

/* NULL when the runtime is not installed. */
TestGround *test_ground_new(const char *runtime);
void test_ground_free(TestGround *self); /* asserts that the runtime's state root is empty */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestGround, test_ground_free)

/* Whether a process is inside the root file system. */
gboolean test_ground_has_process(TestGround *self);

/* Writes folder/ID/config.json; returns that folder. */
char *test_ground_make_bundle(TestGround *self,
                              const char *id,
                              const char *const *args,
                              CxSpecFlags flags);
/* "sh -c SCRIPT" */
char *test_ground_make_script(TestGround *self, const char *id, const char *script);

G_END_DECLS
