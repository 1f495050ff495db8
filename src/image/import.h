/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "base/identity.h"
#include "content/blob-store.h"
#include "layer/layer-store.h"
#include "oci/image.h"

G_BEGIN_DECLS

/* An image file on the host: an OCI archive (tar of a layout), an OCI layout folder, or a `docker
 * save` archive (with or without blobs/…).  Opened once with the rights of whoever asked; after
 * that only these descriptors are used. */
typedef struct CxImageFile CxImageFile;

/* take_fd: the archive, opened for reading, or the layout's folder; closed in any case.  name is
 * for messages.  Reads the archive's table of contents.  The files of a folder are opened later,
 * with the rights of identity (NULL: our own).  Not for two threads at once. */
CxImageFile *cx_image_file_open(int take_fd,
                                const char *name,
                                CxIdentity *identity,
                                GError **error);
void cx_image_file_close(CxImageFile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxImageFile, cx_image_file_close)

/* Picks the image for a platform as spec/daemon.md §6 says: nested indexes are entered (bounded),
 * entries without platform are probed by their config, attestation entries are skipped.  Nothing
 * fits: CX_ERROR_NOT_FOUND listing what is there.  Several images fit equally well (not the
 * platforms of one image, but images of their own): CX_ERROR_INVALID naming two. Out: the manifest
 * (converted from manifest.json for docker archives: layers then have the media type and digest of
 * their bytes as stored) and the config.  Digests of all documents are verified. */
gboolean cx_image_file_select(CxImageFile *self,
                              const CxPlatform *want,
                              CxManifest **out_manifest,
                              CxImageConfig **out_config,
                              GError **error);

/* All are optional and are called from several threads at once. */
typedef struct {
    /* Before anything is stored or taken for granted under a digest, so that the caller can hold a
     * lease on it. */
    void (*hold_blob)(gpointer user, const CxDigest *digest);
    void (*hold_layer)(gpointer user, const CxDigest *diff_id);
    /* Whether a layer that is in the stores already may be taken unread: whoever asks may have it,
     * and the blob is known to expand to it.  FALSE: the file must show that it has both, so the
     * layer is read and checked, but not stored again. NULL: always. */
    gboolean (*may_reuse)(gpointer user, const CxDigest *blob, const CxDigest *diff_id);
    /* Bytes read of those that a layer has as stored; now and then, and at its end. */
    void (*progress)(gpointer user, guint layer, guint n_layers, guint64 bytes, guint64 total);
    gpointer user;
} CxImportHooks;

/* Brings every blob of the selected image into the stores: config, layers as stored (compressed
 * bytes kept, they are what is exported and pushed again), and each layer's uncompressed tar under
 * its diff id, in one pass over the file, layers in parallel (two at a time).  A layer that is
 * there already is not read, unless hooks say otherwise.  Layer bytes must match digest and diff
 * id.  Each tar is checked by building its index.  An uncompressed layer is stored once, in the
 * layer store only (its digest is its diff id).  hooks may be NULL. */
gboolean cx_image_file_import(CxImageFile *self,
                              const CxManifest *manifest,
                              const CxImageConfig *config,
                              CxBlobStore *blobs,
                              CxLayerStore *layers,
                              const CxImportHooks *hooks,
                              CxCancel *cancellable,
                              GError **error);

G_END_DECLS
