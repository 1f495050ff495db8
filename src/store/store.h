/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "content/blob-store.h"
#include "layer/layer-store.h"
#include "meta/meta.h"
#include "snapshot/snapshotter.h"

G_BEGIN_DECLS

/* The one content-addressed store (docs/architecture.md, "Store"): joins blobs, layers, snapshots
 * and what is known of them under one root that one process owns.  Nothing is half there: an object
 * is published whole, then a record or an image that holds it is written in one transaction; until
 * then a lease keeps it.  Garbage collection may run at any time. */
typedef struct CxStore CxStore;

#define CX_STORE_DEFAULT_ROOT "/var/lib/cruxd"
/* Default byte budget of the cache: a quarter of the file system, at most this. */
#define CX_STORE_CACHE_MAX (G_GUINT64_CONSTANT(20) << 30)

/* Logs of steps, oldest dropped beyond this many bytes. */
#define CX_STORE_LOGS_MAX (G_GUINT64_CONSTANT(512) << 20)

typedef struct {
    const char *path;            /* absolute; made 0700 if missing */
    const char *snapshotter;     /* NULL: the best that works */
    guint64 cache_bytes;         /* 0: default */
    const CxLayerLimits *limits; /* NULL: default */
    gboolean wait_for_lock;      /* FALSE: CX_ERROR_BUSY when another process owns the root */
} CxStoreOptions;

/* Opens and recovers: leftovers of a process that was killed are removed, objects that a crash of
 * the machine may have damaged are dropped with what refers to them. */
CxStore *cx_store_open(const CxStoreOptions *options, CxCancel *cancellable, GError **error);
/* All users must be gone.  Forces what is not yet on disk to disk when `sync` is set. */
void cx_store_close(CxStore *self, gboolean sync);

CxBlobStore *cx_store_get_blobs(CxStore *self);
CxLayerStore *cx_store_get_layers(CxStore *self);
CxSnapshotter *cx_store_get_snapshotter(CxStore *self);
CxMeta *cx_store_get_meta(CxStore *self);
const char *cx_store_get_path(CxStore *self);
int cx_store_get_tmp_fd(CxStore *self);  /* <root>/tmp, borrowed */
int cx_store_get_logs_fd(CxStore *self); /* <root>/logs, borrowed */

/* ---- leases ---------------------------------------------------------------------------------- */

/* Keeps objects from being collected while somebody works with them.  Shared; any thread. */
typedef struct CxLease CxLease;

CxLease *cx_lease_new(CxStore *store);
CxLease *cx_lease_ref(CxLease *self);
void cx_lease_unref(CxLease *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxLease, cx_lease_unref)
void cx_lease_hold(CxLease *self, const CxObject *object);

/* A publication: between begin and end no object is collected, so an object whose name is only
 * known once it is published can be held in time.  Short; never across a wait. */
void cx_store_publish_begin(CxStore *self);
void cx_store_publish_end(CxStore *self);

/* ---- the cache ------------------------------------------------------------------------------- */

/* The value remembered under key, its objects held by lease; NULL with error unset when it is not
 * known.  A record whose objects are gone is forgotten. */
char *cx_store_recall(CxStore *self, const CxDigest *key, CxLease *lease, GError **error);
/* Remembers value; objects must be held by somebody's lease. */
gboolean cx_store_remember(CxStore *self,
                           const CxDigest *key,
                           const char *kind,
                           const char *value,
                           const CxObject *objects,
                           guint n_objects,
                           GError **error);

/* ---- images ---------------------------------------------------------------------------------- */

/* Gives the image of a manifest its name for a platform ("linux/amd64"), replacing the one that had
 * it.  The name then holds `objects`; content/index.json tells it to other tools.  The same again
 * changes nothing. */
gboolean cx_store_name_image(CxStore *self,
                             const char *name,
                             const char *platform,
                             const CxDigest *manifest,
                             const CxObject *objects,
                             guint n_objects,
                             GError **error);

/* ---- housekeeping ---------------------------------------------------------------------------- */

typedef enum {
    CX_GC_ALL = 1 << 1,     /* the whole cache, not just what is over the budget */
    CX_GC_DRY_RUN = 1 << 2, /* only count (what no record or image holds now) */
} CxGcFlags;

typedef struct {
    guint records; /* dropped */
    guint objects; /* removed */
    guint64 bytes; /* freed */
} CxGcReport;

gboolean cx_store_gc(
    CxStore *self, CxGcFlags flags, CxGcReport *out_report, CxCancel *cancellable, GError **error);

/* Collects when the cache has outgrown its budget, and drops the oldest logs beyond
 * CX_STORE_LOGS_MAX; else costs next to nothing.  For the end of a build. */
gboolean cx_store_keep_budget(CxStore *self, CxCancel *cancellable, GError **error);

typedef struct {
    CxMetaTotals meta;
    guint64 blobs, blob_bytes;
    guint64 layers, layer_bytes;
    guint64 uppers, upper_bytes;
    guint64 log_bytes;
    guint64 cache_budget;
} CxStoreUsage;

gboolean cx_store_usage(CxStore *self, CxStoreUsage *out_usage, GError **error);

/* Forces everything written so far to disk (syncfs) and notes it.  Nothing to do is quick. */
gboolean cx_store_sync(CxStore *self, GError **error);

G_END_DECLS
