/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "snapshot/reaper.h"
#include "snapshot/snapshotter.h"
#include "snapshot/view.h"

G_BEGIN_DECLS

/* <root>/snapshots:
 *
 *     u<16 hex digits>/fs       a committed upper
 *     active-<16 digits>/…      one being written: fs and work.  Renamed when it is committed;
 * swept at start fix-<16 digits>           what a stack with implied folders needs (stack.c); swept
 * at start stub, empty, void         folders that never change: mount points, and nothing <64 hex
 * digits>           of the engine "unpacked" */
struct CxSnapshotter {
    CxViewPlace place;
    const CxViewEngine *engine; /* borrowed */
    GStrv explanations;         /* (owned) */
    CxViews *views;             /* (owned) */
    CxReaper *reaper;           /* (owned) */
    int stub_fd;                /* owned: mount points of a container */
    int empty_fds[2];           /* owned: two empty folders */
    GMutex lock;
    GHashTable *uppers_in_use; /* (owned guint64) -> count; guarded by lock */
    GMutex fixes_lock;
    GHashTable *fixes; /* (owned CxDigest of a stack) -> (owned name in snapshots/, "" for none);
                          guarded by fixes_lock */
};

typedef struct {
    char name[32];
} CxUpperName;

CxUpperName cx_upper_name(const char *prefix, guint64 id);

/* Counts users of a committed upper, so it is not removed under them. */
void cx_snapshotter_hold_upper(CxSnapshotter *self, guint64 upper);
void cx_snapshotter_release_upper(CxSnapshotter *self, guint64 upper);

G_END_DECLS
