/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "snapshot/view-engine.h"

G_BEGIN_DECLS

/* The layers that are shown now, each once however many ask for it.  A view that nobody uses stays
 * for a while, since the next step most likely wants it again; of many, the one unused for longest
 * goes.  Any thread may call. */
typedef struct CxViews CxViews;

typedef struct {
    CxDigest diff_id;
    CxMount mount;
    gboolean is_opaque;       /* its root hides all layers below */
    gboolean is_root_implied; /* it has no entry for its root */
    GStrv implied;            /* (owned) folders it has no entry for; NULL: none */
    guint n_users;            /* guarded by the lock of CxViews */
    guint64 last_used;        /* guarded by the lock of CxViews */
} CxView;

CxViews *cx_views_new(CxViewPlace *place, const CxViewEngine *engine, const CxViewEngine *fallback);
void cx_views_free(CxViews *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxViews, cx_views_free)

/* Shows a layer if it is not shown.  Give it back with release. */
CxView *cx_views_acquire(CxViews *self, const CxDigest *diff_id, GError **error);
void cx_views_release(CxViews *self, CxView *view);

/* CX_ERROR_BUSY while somebody has it.  A layer that is not shown is no error. */
gboolean cx_views_drop(CxViews *self, const CxDigest *diff_id, GError **error);

G_END_DECLS
