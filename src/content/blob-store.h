/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/digest.h"

G_BEGIN_DECLS

/* Blobs by digest in an OCI image layout that other tools can read (<root>/content: oci-layout,
 * index.json, blobs/sha256/<hex>).
 *
 * A blob is written through an ingest, which nobody sees until it is committed.  Committing checks
 * the digest and links the bytes into place, so a reader finds a whole blob or none.  Durability
 * against power loss is the store room's (store.h, "synced").  All functions may be called from any
 * thread. */
typedef struct CxBlobStore CxBlobStore;
typedef struct CxBlobIngest CxBlobIngest;

/* Makes what is missing; root_fd is the store's root and is not kept. */
CxBlobStore *cx_blob_store_open(int root_fd, GError **error);
void cx_blob_store_close(CxBlobStore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxBlobStore, cx_blob_store_close)

/* A readable fd that the caller owns, or -1.  CX_ERROR_NOT_FOUND: no such blob. */
int cx_blob_store_open_blob(CxBlobStore *self,
                            const CxDigest *digest,
                            guint64 *out_size,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A small blob as a whole, verified; limit as in cx_read_file_at. */
GBytes *cx_blob_store_read(CxBlobStore *self, const CxDigest *digest, gsize limit, GError **error);
gboolean cx_blob_store_has(CxBlobStore *self, const CxDigest *digest);

CxBlobIngest *cx_blob_store_begin(CxBlobStore *self, GError **error);
gboolean cx_blob_ingest_write(CxBlobIngest *self, const void *data, gsize size, GError **error);
/* expected may be NULL.  "Already there" is success.  CX_ERROR_MISMATCH: the bytes are others;
 * nothing is kept. */
gboolean cx_blob_ingest_commit(CxBlobIngest *self,
                               const CxDigest *expected,
                               CxDigest *out_digest,
                               GError **error);
void cx_blob_ingest_free(CxBlobIngest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxBlobIngest, cx_blob_ingest_free)

gboolean cx_blob_store_put(
    CxBlobStore *self, const void *data, gsize size, CxDigest *out_digest, GError **error);

gboolean cx_blob_store_remove(CxBlobStore *self,
                              const CxDigest *digest,
                              guint64 *out_freed,
                              GError **error);
guint64 cx_blob_store_usage(CxBlobStore *self, const CxDigest *digest);
GArray *cx_blob_store_list(CxBlobStore *self, GError **error); /* of CxDigest, sorted */

/* Rewrites index.json: names -> descriptors (JSON text of a whole index document). */
gboolean cx_blob_store_write_index(CxBlobStore *self, const char *index_json, GError **error);

G_END_DECLS
