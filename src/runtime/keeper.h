/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/cgroup.h"
#include "runtime/driver.h"

G_BEGIN_DECLS

/* The process that supervises build steps.  Forked once, early, while the daemon has one thread and
 * little memory, it is a subreaper, starts the runtime, owns the container's init as its child, and
 * so learns how it ended without asking the runtime (spec/oci-runtime.md §12, bound mode of §13).
 * When the daemon goes away in whatever manner the keeper's socket closes: it kills every
 * container, deletes it and ends.  If the keeper dies, the daemon (a subreaper too) inherits the
 * containers' init processes and kills them, and every waiting call fails with
 * CX_ERROR_UNAVAILABLE.
 *
 * The daemon's side may be called from any thread. */
typedef struct CxKeeper CxKeeper;

/* Forks the keeper.  Call before any thread is started.  Makes this process a subreaper.  The
 * keeper first waits until that of an instance that died on the same state root has ended, and
 * deletes what that one left. */
CxKeeper *cx_keeper_start(CxRuntime *runtime, GError **error);
/* Moves the keeper itself into the group that containers without limits share.  Optional, and worth
 * it: entering a cgroup can take the kernel 10 ms (an RCU grace period; measured), which a launch
 * whose groups the keeper is in already saves. */
gboolean cx_keeper_enter(CxKeeper *self, CxCgroups *cgroups, GError **error);
/* Ends it: kills what runs, waits for it, bounded. */
void cx_keeper_stop(CxKeeper *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxKeeper, cx_keeper_stop)

typedef struct {
    int code;   /* exit code, or -1 when killed by a signal */
    int signal; /* 0 when exited */
    gboolean core;
    gboolean oom_killed; /* always FALSE here: whoever made its cgroup asks that
                            (cx_cgroup_was_oom_killed) */
} CxExit;

/* One container that runs to its end. */
typedef struct CxStepProcess CxStepProcess;

/* Launches create->id.  Does not wait for the runtime: whether the launch failed is learnt from
 * wait, so it can be cancelled from the first moment.  The stdio and join descriptors are
 * duplicated to the keeper; preserve_fds must be 0. Errors here: CX_ERROR_INVALID (the id),
 * CX_ERROR_LIMIT, CX_ERROR_UNAVAILABLE (the keeper is dead). */
CxStepProcess *cx_keeper_launch(CxKeeper *self, const CxCreate *create, GError **error);
/* Readable once it has ended (for poll).  Borrowed. */
int cx_step_process_get_fd(const CxStepProcess *self);
/* KILL to init; the kernel ends the pid namespace with it.  A launch under way is broken off (wait:
 * CX_ERROR_CANCELLED) unless it ends by itself within a second.  Harmless when it has ended. */
void cx_step_process_kill(CxStepProcess *self);
/* Blocks until it has ended; the runtime's own clean-up (delete) goes on in the keeper meanwhile.
 * FALSE: it never ran; CX_ERROR_NOT_FOUND and CX_ERROR_DENIED speak of the program, CX_ERROR_EXISTS
 * of the id; CX_ERROR_TIMEOUT: the runtime hung; CX_ERROR_UNAVAILABLE: the keeper died.  Nothing is
 * left of it then. */
gboolean cx_step_process_wait(CxStepProcess *self, CxExit *out_exit, GError **error);
/* Blocks until the runtime has deleted the container: only then may its bundle and root go. */
gboolean cx_step_process_settle(CxStepProcess *self, GError **error);
void cx_step_process_free(CxStepProcess *self); /* kills and settles if that was not done */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxStepProcess, cx_step_process_free)

G_END_DECLS
