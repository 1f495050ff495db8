/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "content/blob-store.h"
#include "layer/layer-store.h"
#include "oci/image.h"

#include <gio/gio.h>

G_BEGIN_DECLS

/* An image file on the host: an OCI archive (tar of a layout), an OCI layout folder, or a `docker save` archive (with or without
 * blobs/…).  Opened once with the rights of whoever asked; after that only these descriptors are used. */
typedef struct CxImageFile CxImageFile;

/* take_fd: the archive, opened for reading, or the layout's folder.  name is for messages.  Reads the archive's table of contents. */
CxImageFile *cx_image_file_open(int take_fd, const char *name, const CxLayerLimits *limits, GError **error);
void cx_image_file_close(CxImageFile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxImageFile, cx_image_file_close)

/* Picks the image for a platform as spec/daemon.md §6 says: nested indexes are entered (bounded), entries without platform are
 * probed by their config, attestation entries are skipped.  Nothing fits: CX_ERROR_NOT_FOUND listing what is there.
 * Out: the manifest (converted from manifest.json for docker archives: layers then have the media type and digest of their bytes as stored)
 * and the config.  Digests of all documents are verified. */
gboolean cx_image_file_select(CxImageFile *self,
                              const CxPlatform *want,
                              CxManifest **out_manifest,
                              CxImageConfig **out_config,
                              GError **error);

/* Called before anything is stored under a digest, so the caller can hold a lease on it. */
typedef struct {
    void (*hold_blob)(gpointer user, const CxDigest *digest);
    void (*hold_layer)(gpointer user, const CxDigest *diff_id);
    void (*progress)(gpointer user, guint layer, guint n_layers, guint64 bytes, guint64 total); /* optional */
    gpointer user;
} CxImportHooks;

/* Brings every blob of the selected image into the stores: config, layers as stored (compressed bytes kept, they are what is
 * exported and pushed again), and each layer's uncompressed tar under its diff id, in one pass over the file, layers in parallel
 * (two at a time).  A layer that is there already is not read.  Layer bytes must match digest and diff id.  Each tar is
 * checked by building its index.  An uncompressed layer is stored once, in the layer store only (its digest is its diff id). */
gboolean cx_image_file_import(CxImageFile *self,
                              const CxManifest *manifest,
                              const CxImageConfig *config,
                              CxBlobStore *blobs,
                              CxLayerStore *layers,
                              const CxImportHooks *hooks,
                              GCancellable *cancellable,
                              GError **error);

G_END_DECLS
