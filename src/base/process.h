/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "base/cancel.h"

G_BEGIN_DECLS

/* Children start through this one function: an argument vector, an explicit environment and
 * explicit descriptors, never a shell.  Signals are at default and unblocked in the child, every
 * other descriptor is closed. */
typedef struct {
    const char *const *argv; /* argv[0] is looked up in PATH unless it holds a '/' */
    const char *const *env;  /* NULL: only PATH */
    int stdin_fd;            /* borrowed; -1: /dev/null */
    int stdout_fd;
    int stderr_fd;
    const int *extra_fds; /* borrowed; become 3, 4, … in the child */
    guint n_extra_fds;
    const int *join_fds; /* borrowed; open cgroup.procs files the child enters before exec */
    guint n_join_fds;
    int cwd_fd;               /* -1: "/" */
    gboolean die_with_parent; /* SIGKILL when the thread that started it ends */
    gboolean new_session;
} CxSpawn;

#define CX_SPAWN_INIT                                                                              \
    {                                                                                              \
        .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .cwd_fd = -1                             \
    }

/* Starts the child.  Returns its pid, or -1: CX_ERROR_NOT_FOUND names a missing program,
 * CX_ERROR_DENIED one that is not executable.  The caller reaps it.  Safe in a process with
 * threads. */
pid_t cx_process_spawn(const CxSpawn *spawn, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Waits for pid, deadline_ms at most (-1: for ever), and reaps it.  On cancel or deadline it gets
 * TERM, one second later KILL, is reaped, and CX_ERROR_CANCELLED or CX_ERROR_TIMEOUT is raised.
 * *out_status is as from waitpid. */
gboolean cx_process_wait(
    pid_t pid, int deadline_ms, CxCancel *cancellable, int *out_status, GError **error);

/* Runs a short program to its end and returns what it wrote to stdout (limit bytes at most).  A
 * failure exit is CX_ERROR_EXIT_STATUS with the last line of stderr. */
char *cx_process_read(
    const char *const *argv, gsize limit, int deadline_ms, CxCancel *cancellable, GError **error);

/* "exited with code 3", "was killed by signal 9 (Killed)".  (transfer full) */
char *cx_process_describe_status(int status);

G_END_DECLS
