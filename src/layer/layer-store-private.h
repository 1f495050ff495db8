/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/layer-store.h"

G_BEGIN_DECLS

struct CxLayerStore {
    int layers_fd; /* <root>/layers */
    int tmp_fd;    /* <root>/tmp */
    CxLayerLimits limits;
    GMutex lock;
    GCond index_built;
    GHashTable
        *building; /* (owned CxDigest) set: indexes that some thread builds now; guarded by lock */
};

#define CX_LAYER_TAR "tar"
#define CX_LAYER_INDEX "erofs"

/* "<hex>", or "<hex>/<member>": a name beneath layers/. */
typedef struct {
    char path[CX_DIGEST_HEX_SIZE + 16];
} CxLayerPath;

CxLayerPath cx_layer_path(const CxDigest *diff_id, const char *member);

G_END_DECLS
