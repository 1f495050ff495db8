/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/layer-store.h"

G_BEGIN_DECLS

/* Views of layers and writable stacks on top of them.  Engines: "erofs" mounts a layer's index and
 * its tar as they are; "unpacked" unpacks a layer into snapshots/<hex>/fs once.  Above either,
 * overlayfs.  The caller never knows which.
 *
 *   view      one layer as a folder in overlay form, read-only; kept by the snapshotter, shared,
 * dropped when idle upper     what one step wrote: <root>/snapshots/<id>/fs, in overlay form,
 * immutable once committed active    an upper being written, mounted over a stack of lowers
 *
 * Any thread may call.  Mounts are made in the mount namespace of the process, which is private to
 * it. */
typedef struct CxSnapshotter CxSnapshotter;

/* Opens the best engine that works here, or the one named ("erofs", "unpacked"); the losers'
 * reasons are kept for doctor. CX_ERROR_UNSUPPORTED: none works.  Removes unfinished uppers of an
 * earlier process. */
CxSnapshotter *cx_snapshotter_open(int root_fd,
                                   CxLayerStore *layers,
                                   const char *engine_name,
                                   GError **error);
void cx_snapshotter_close(CxSnapshotter *self); /* unmounts everything */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxSnapshotter, cx_snapshotter_close)

const char *cx_snapshotter_get_engine(const CxSnapshotter *self);
/* One line an engine: "erofs: yes" / "erofs: no: kernel …".  (transfer full) */
GStrv cx_snapshotter_explain(CxSnapshotter *self);

/* What a stack is made of. */
typedef struct {
    enum { CX_LOWER_LAYER, CX_LOWER_UPPER } kind;
    CxDigest diff_id; /* CX_LOWER_LAYER */
    guint64 upper;    /* CX_LOWER_UPPER */
} CxLower;

/* At most this many lowers in one stack (overlayfs allows 500). */
#define CX_LOWERS_MAX 400

/* An fd of the folder that shows one lower in overlay form.  The fd keeps it in use. */
int cx_snapshotter_open_lower(CxSnapshotter *self, const CxLower *lower, GError **error);

/* ---- an upper being written ------------------------------------------------------------------ */
typedef struct CxActive CxActive;

/* Prepares and mounts a new upper over lowers (from the bottom up; may be none).  Below them all
 * lies a folder of empty mount points (dev, proc, sys, etc/resolv.conf, etc/hosts), so a runtime
 * that mounts there leaves no trace in the upper. */
CxActive *cx_snapshotter_prepare(CxSnapshotter *self,
                                 const CxLower *lowers,
                                 guint n_lowers,
                                 GError **error);
const char *cx_active_peek_path(
    const CxActive *self); /* absolute path of the mounted root, in our mount namespace */
int cx_active_get_upper_fd(const CxActive *self); /* borrowed */
/* Unmounts and keeps the upper as a committed snapshot.  The commit point. */
gboolean cx_active_commit(CxActive *self, guint64 *out_upper, GError **error);
void cx_active_free(CxActive *self); /* unmounts; removes the upper unless committed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxActive, cx_active_free)

/* A read-only merged mount of a stack, for reading a stage.  (A single lower is a mount as well:
 * whiteouts are hidden.) */
typedef struct CxMergedView CxMergedView;
CxMergedView *cx_snapshotter_mount_view(CxSnapshotter *self,
                                        const CxLower *lowers,
                                        guint n_lowers,
                                        GError **error);
int cx_merged_view_get_fd(const CxMergedView *self); /* borrowed */
void cx_merged_view_free(CxMergedView *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxMergedView, cx_merged_view_free)

/* Waits until everything that was freed or replaced is really gone from the disk; removing is left
 * to a thread, so that no step waits for it. */
void cx_snapshotter_drain(CxSnapshotter *self);

/* ---- committed uppers ------------------------------------------------------------------------ */
GArray *cx_snapshotter_list_uppers(CxSnapshotter *self, GError **error); /* of guint64, sorted */
guint64 cx_snapshotter_usage(CxSnapshotter *self, guint64 upper);
gboolean cx_snapshotter_remove_upper(CxSnapshotter *self, guint64 upper, GError **error);
/* Drops view and unpacked folder of a layer about to be removed.  CX_ERROR_BUSY while in use. */
gboolean cx_snapshotter_forget_layer(CxSnapshotter *self, const CxDigest *diff_id, GError **error);

G_END_DECLS
