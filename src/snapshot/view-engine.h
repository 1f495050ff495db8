/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/layer-store.h"
#include "snapshot/mount.h"

G_BEGIN_DECLS

/* How one layer is shown as a folder in overlay form.  An engine keeps no state of its own: what it
 * makes is a CxMount that the snapshotter holds, and files under snapshots/ that outlive the
 * process.  Engines do not see each other; the table in snapshotter.c is the only place that names
 * them. */
typedef struct {
    int snapshots_fd;     /* owned: <root>/snapshots */
    int tmp_fd;           /* owned: <root>/tmp */
    CxLayerStore *layers; /* borrowed */
    CxMounter mounter;
} CxViewPlace;

typedef struct {
    const char *name; /* "erofs" */

    /* Mandatory.  Whether it works here; FALSE gives the reason in error. */
    gboolean (*probe)(CxViewPlace *place, GError **error);

    /* Mandatory.  Shows the layer; never called for one layer by two threads at once.
     * CX_ERROR_UNSUPPORTED: not this layer; another engine may. */
    gboolean (*show)(CxViewPlace *place,
                     const CxDigest *diff_id,
                     CxMount *out_mount,
                     GError **error);

    /* Optional.  The paths of folders that the layer only implies (NULL-terminated; NULL and no
     * error: none). NULL: found by walking the shown folder. */
    gboolean (*list_implied)(CxViewPlace *place,
                             const CxDigest *diff_id,
                             GStrv *out_paths,
                             GError **error);

    /* Optional.  Removes what show left on disk for a layer that is not shown.  NULL: nothing is
     * left. */
    gboolean (*discard)(CxViewPlace *place, const CxDigest *diff_id, GError **error);
} CxViewEngine;

G_END_DECLS
