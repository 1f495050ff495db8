/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/digest.h"
#include "layer/entry.h"
#include "layer/erofs-index.h"
#include "layer/sink.h"

G_BEGIN_DECLS

/* Uncompressed layers by diff id: <root>/layers/<hex>/tar, and beside it, made when somebody must
 * look inside, the erofs index `erofs`.  A layer appears whole or not at all: bytes go to a
 * temporary folder under <root>/tmp that is renamed when its digest is known.  Any thread may call;
 * a reader of a removed layer keeps its fds.
 *
 * Runs of zero bytes of 4 KiB and more become holes of the file. */
typedef struct CxLayerStore CxLayerStore;

CxLayerStore *cx_layer_store_open(int root_fd,
                                  const CxLayerLimits *limits,
                                  GError **error); /* root_fd is dup'ed */
void cx_layer_store_close(CxLayerStore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxLayerStore, cx_layer_store_close)

const CxLayerLimits *cx_layer_store_get_limits(const CxLayerStore *self);

/* ---- coming in ------------------------------------------------------------------------------- */

/* A layer on its way in: hash and write run on a thread of their own behind a bounded queue, so the
 * producer, the hash and the disk work at once.  Freed without commit, nothing stays. */
typedef struct CxLayerIngest CxLayerIngest;

CxLayerIngest *cx_layer_store_begin(CxLayerStore *self, GError **error);
CxSink *cx_layer_ingest_get_sink(CxLayerIngest *self);
/* Waits for the bytes, checks expected if given (CX_ERROR_MISMATCH), publishes.  "Already there" is
 * success.  The caller holds the lease on the result (store room). */
gboolean cx_layer_ingest_commit(CxLayerIngest *self,
                                const CxDigest *expected,
                                CxDigest *out_diff_id,
                                guint64 *out_size,
                                GError **error);
void cx_layer_ingest_free(CxLayerIngest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxLayerIngest, cx_layer_ingest_free)

/* ---- what is there --------------------------------------------------------------------------- */

gboolean cx_layer_store_has(CxLayerStore *self, const CxDigest *diff_id);
/* The tar, read-only.  CX_ERROR_NOT_FOUND.  Returns an fd or -1. */
int cx_layer_store_open_tar(CxLayerStore *self,
                            const CxDigest *diff_id,
                            guint64 *out_size,
                            GError **error);
/* The index, built first if it is not there (two callers build it once); this is also what checks
 * the tar of a stranger. */
CxErofsIndex *cx_layer_store_open_index(CxLayerStore *self,
                                        const CxDigest *diff_id,
                                        GError **error);
/* The folder layers/<hex> as an fd, for mounting by path beneath it. */
int cx_layer_store_open_folder(CxLayerStore *self, const CxDigest *diff_id, GError **error);

gboolean cx_layer_store_remove(CxLayerStore *self,
                               const CxDigest *diff_id,
                               guint64 *out_freed,
                               GError **error);
guint64 cx_layer_store_usage(CxLayerStore *self, const CxDigest *diff_id); /* bytes on disk */
/* Digests of all layers: (element-type CxDigest), sorted. */
GArray *cx_layer_store_list(CxLayerStore *self, GError **error);

G_END_DECLS
