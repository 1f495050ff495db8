/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <limits.h>

#include "runtime/driver-private.h"
#include "runtime/keeper.h"

G_BEGIN_DECLS

/* What the daemon and its keeper say to each other, over a SOCK_SEQPACKET pair: one struct a
 * message, descriptors beside it. Both ends are the same program, so there is no version.
 *
 *     daemon                          keeper
 *       │ ENTER + cgroup.procs fds ───►│  joins the groups itself
 *       │ LAUNCH serial + fds ────────►│
 *       │ KILL serial ────────────────►│  at any time after LAUNCH; late ones are ignored
 *       │◄──────────────── ENDED serial│  how init ended                  } either this pair
 *       │◄────────────── SETTLED serial│  the runtime has deleted it      }
 *       │◄─────────────── FAILED serial│  or this alone: it never ran, and nothing is left of it
 *       │ end of file                  │  kills and deletes everything, ends
 */
typedef enum { CX_KEEPER_ENTER, CX_KEEPER_LAUNCH, CX_KEEPER_KILL } CxKeeperRequestType;

#define CX_KEEPER_FDS_MAX 16

typedef struct {
    guint32 type;
    guint32 serial;
    guint32 flags;      /* CxRuntimeFlags */
    guint32 stdio_mask; /* bit i: stdio[i] is the next of the descriptors; the rest of them are
                           join_fds */
    char id[72];
    char console_socket[108]; /* "": none */
    char bundle[PATH_MAX];
} CxKeeperRequest;

typedef enum { CX_KEEPER_ENDED, CX_KEEPER_SETTLED, CX_KEEPER_FAILED } CxKeeperEventType;

typedef struct {
    guint32 type;
    guint32 serial;
    gint32 code; /* ENDED: as in CxExit */
    gint32 signal;
    gint32 core;
    guint32 error;   /* FAILED: a CxError, text says what */
    char text[2048]; /* FAILED; SETTLED: "" or what could not be removed */
} CxKeeperEvent;

/* For tests that do away with it. */
pid_t cx_keeper_get_pid(const CxKeeper *self);

/* The keeper's whole life; returns when it is over.  The process is single-threaded and owns the
 * descriptors. */
void cx_keeper_loop(CxRuntime *runtime, int socket_fd, int lock_fd);

G_END_DECLS
