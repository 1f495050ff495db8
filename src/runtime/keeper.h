/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/driver.h"

G_BEGIN_DECLS

/* The process that supervises build steps.  Forked once, early, while the daemon has one thread and little memory, it is a
 * subreaper, starts the runtime, owns the container's init as its child, and so learns how it ended without asking the
 * runtime (spec/oci-runtime.md §12, bound mode of §13).  When the daemon goes away in whatever manner the keeper's socket closes:
 * it kills every container, deletes it and ends.  If the keeper dies, the daemon (a subreaper too) inherits the containers'
 * init processes and kills them, and every waiting call fails with CX_ERROR_UNAVAILABLE.
 *
 * The daemon's side may be called from any thread. */
typedef struct CxKeeper CxKeeper;

/* Forks the keeper.  Call before any thread is started. */
CxKeeper *cx_keeper_start(CxRuntime *runtime, GError **error);
/* Ends it: kills what runs, waits for it, bounded. */
void cx_keeper_stop(CxKeeper *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxKeeper, cx_keeper_stop)

typedef struct {
    int code;            /* exit code, or -1 when killed by a signal */
    int signal;          /* 0 when exited */
    gboolean core;
    gboolean oom_killed; /* the memory limit of its cgroup killed a process of it */
} CxExit;

/* One container that runs to its end. */
typedef struct CxStepProcess CxStepProcess;

/* Launches create->id.  The stdio and join descriptors are duplicated to the keeper. */
CxStepProcess *cx_keeper_launch(CxKeeper *self, const CxCreate *create, GError **error);
/* Readable once it has ended (for poll).  Borrowed. */
int cx_step_process_get_fd(const CxStepProcess *self);
/* KILL to init; the kernel ends the pid namespace with it. */
void cx_step_process_kill(CxStepProcess *self);
/* Blocks until it has ended; the runtime's own clean-up (delete) goes on in the keeper meanwhile. */
gboolean cx_step_process_wait(CxStepProcess *self, CxExit *out_exit, GError **error);
/* Blocks until the runtime has deleted the container: only then may its bundle and root go. */
gboolean cx_step_process_settle(CxStepProcess *self, GError **error);
void cx_step_process_free(CxStepProcess *self); /* kills and settles if that was not done */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxStepProcess, cx_step_process_free)

G_END_DECLS
