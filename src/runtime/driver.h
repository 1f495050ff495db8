/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The OCI runtime behind one interface (spec/oci-runtime.md §2): a program that sets a container up
 * and goes away.  A driver is cheap: a name, a program, a state root.  The container's first
 * process becomes a child of the nearest subreaper, so these calls are made by the process that
 * supervises it (keeper.h), never by the daemon's threads directly. */
typedef struct CxRuntime CxRuntime;
typedef struct CxRuntimeOps CxRuntimeOps;

typedef enum {
    CX_CONTAINER_ABSENT, /* the runtime does not know the id */
    CX_CONTAINER_CREATING,
    CX_CONTAINER_CREATED,
    CX_CONTAINER_RUNNING,
    CX_CONTAINER_PAUSED,
    CX_CONTAINER_STOPPED,
} CxContainerStatus;

typedef enum {
    CX_RUNTIME_NO_PIVOT = 1 << 1,
    CX_RUNTIME_NO_NEW_KEYRING = 1 << 2,
    CX_RUNTIME_SYSTEMD_CGROUP = 1 << 3,
} CxRuntimeFlags;

typedef struct {
    const char *id;      /* checked with cx_container_id_check */
    const char *bundle;  /* absolute */
    int stdio[3];        /* borrowed; -1: /dev/null.  The container gets these very descriptors */
    const int *join_fds; /* borrowed: cgroup.procs files the runtime enters first (cgroup.h) */
    guint n_join_fds;
    CxRuntimeFlags flags;
    guint preserve_fds;
    const char *console_socket; /* NULL: no terminal */
} CxCreate;

/* A container id: [A-Za-z0-9_+-][A-Za-z0-9_+.-]*, 1..64 bytes, not "." or "..". */
gboolean cx_container_id_check(const char *id, GError **error);

/* Finds and probes a driver: the named one ("crun", "runc", "youki", or a path of one) or, with
 * NULL, the first of the registry that works.  state_root must be an absolute path; it is made
 * 0700.  Codes: CX_ERROR_NOT_FOUND, CX_ERROR_UNSUPPORTED. *out_reasons, if asked for, gets one line
 * for each runtime looked at. */
CxRuntime *cx_runtime_open(const char *name,
                           const char *state_root,
                           GStrv *out_reasons,
                           GError **error);
CxRuntime *cx_runtime_ref(CxRuntime *self);
void cx_runtime_unref(CxRuntime *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxRuntime, cx_runtime_unref)

const char *cx_runtime_get_name(const CxRuntime *self);    /* "crun" */
const char *cx_runtime_get_version(const CxRuntime *self); /* "1.8.1" */
/* Whether config.json may carry the seccomp filter as ready-made BPF in an annotation (crun);
 * spec.h uses it. */
gboolean cx_runtime_takes_bpf(const CxRuntime *self);

/* Each call below blocks until the runtime process has ended, deadline_ms at most
 * (CX_ERROR_TIMEOUT), and reaps it.  Errors of the runtime are one line, "crun: MESSAGE".  Calls
 * for one id must not overlap. */

/* Container made, user program not running.  *out_pid is init, now a child of the nearest
 * subreaper.  When it fails nothing is left of the container.  CX_ERROR_EXISTS: the id is in use;
 * CX_ERROR_NOT_FOUND: the program is not in the image; CX_ERROR_DENIED: it is there, but cannot be
 * executed. */
gboolean cx_runtime_create(
    CxRuntime *self, const CxCreate *create, int deadline_ms, pid_t *out_pid, GError **error);
/* CX_ERROR_BUSY: it was started before; CX_ERROR_NOT_FOUND: unknown id (as for the calls below). */
gboolean cx_runtime_start(CxRuntime *self, const char *id, int deadline_ms, GError **error);
/* create and start in one call of the runtime where it can (run --detach), else one after the
 * other.  The specification asks for create and start; with crun 1.8.1 that costs 5.5 + 4.0 ms
 * where run --detach costs 5.9, and nothing is lost: the pid file is written before the program
 * runs, and a pid cannot be reused until its parent, the subreaper, has reaped it. */
gboolean cx_runtime_launch(
    CxRuntime *self, const CxCreate *create, int deadline_ms, pid_t *out_pid, GError **error);
/* CX_CONTAINER_ABSENT is no error. */
gboolean cx_runtime_state(CxRuntime *self,
                          const char *id,
                          int deadline_ms,
                          CxContainerStatus *out_status,
                          pid_t *out_pid,
                          GError **error);
/* CX_ERROR_NOT_FOUND: it has ended, or is not known. */
gboolean cx_runtime_kill(
    CxRuntime *self, const char *id, int signal, int deadline_ms, GError **error);
/* Not forced: only from stopped (and created); else CX_ERROR_BUSY.  Forced: an unknown id is
 * success. */
gboolean cx_runtime_delete(
    CxRuntime *self, const char *id, gboolean force, int deadline_ms, GError **error);
/* Deletes, by force, every container of the state root: what an instance that died has left.  Goes
 * on after an error. */
gboolean cx_runtime_sweep(CxRuntime *self, int deadline_ms, GError **error);

/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+1" -> number (spec §8); 0 and CX_ERROR_INVALID for
 * everything else. */
int cx_signal_parse(const char *text, GError **error);

G_END_DECLS
