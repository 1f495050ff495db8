/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "content/blob-store.h"
#include "layer/layer-store.h"
#include "oci/image.h"

G_BEGIN_DECLS

/* Writes an image as an OCI archive with a manifest.json beside it, so that docker load takes it as
 * well (spec/daemon.md §6): the same image gives the same bytes.  Entries: oci-layout, index.json,
 * manifest.json, blobs/, blobs/sha256/, blobs by digest sorted; mtime fixed. A layer's bytes come
 * from the blob store if they are there, else (uncompressed layers) from the layer store. */
typedef struct {
    const char *name; /* "acme/api:1.2.0" or NULL: org.opencontainers.image.ref.name and
                         io.containerd.image.name annotations, RepoTags */
    const CxManifest *manifest;
    const char *manifest_json;
    const char *config_json;
    const CxPlatform *platform;
} CxExportImage;

gboolean cx_image_export(const CxExportImage *image,
                         CxBlobStore *blobs,
                         CxLayerStore *layers,
                         int out_fd,
                         CxCancel *cancellable,
                         GError **error);

G_END_DECLS
