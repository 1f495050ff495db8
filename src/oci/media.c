/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "oci/image.h"

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."

/* Every media type we understand, and the one of the OCI image specification that says the same. */
static const struct {
    const char *media_type;
    CxMediaKind kind;
    const char *oci;
} media_types[] = {
    {CX_MEDIA_TYPE_OCI_INDEX,                     CX_MEDIA_INDEX,      CX_MEDIA_TYPE_OCI_INDEX     },
    {DOCKER "distribution.manifest.list.v2+json", CX_MEDIA_INDEX,      CX_MEDIA_TYPE_OCI_INDEX     },
    {CX_MEDIA_TYPE_OCI_MANIFEST,                  CX_MEDIA_MANIFEST,   CX_MEDIA_TYPE_OCI_MANIFEST  },
    {DOCKER "distribution.manifest.v2+json",      CX_MEDIA_MANIFEST,   CX_MEDIA_TYPE_OCI_MANIFEST  },
    {CX_MEDIA_TYPE_OCI_CONFIG,                    CX_MEDIA_CONFIG,     CX_MEDIA_TYPE_OCI_CONFIG    },
    {DOCKER "container.image.v1+json",            CX_MEDIA_CONFIG,     CX_MEDIA_TYPE_OCI_CONFIG    },
    {CX_MEDIA_TYPE_OCI_LAYER,                     CX_MEDIA_LAYER_TAR,  CX_MEDIA_TYPE_OCI_LAYER     },
    {CX_MEDIA_TYPE_OCI_LAYER_GZIP,                CX_MEDIA_LAYER_GZIP, CX_MEDIA_TYPE_OCI_LAYER_GZIP},
    {CX_MEDIA_TYPE_OCI_LAYER_ZSTD,                CX_MEDIA_LAYER_ZSTD, CX_MEDIA_TYPE_OCI_LAYER_ZSTD},
    {OCI "layer.nondistributable.v1.tar",         CX_MEDIA_LAYER_TAR,  CX_MEDIA_TYPE_OCI_LAYER     },
    {OCI "layer.nondistributable.v1.tar+gzip",    CX_MEDIA_LAYER_GZIP, CX_MEDIA_TYPE_OCI_LAYER_GZIP},
    {OCI "layer.nondistributable.v1.tar+zstd",    CX_MEDIA_LAYER_ZSTD, CX_MEDIA_TYPE_OCI_LAYER_ZSTD},
    {DOCKER "image.rootfs.diff.tar",              CX_MEDIA_LAYER_TAR,  CX_MEDIA_TYPE_OCI_LAYER     },
    {DOCKER "image.rootfs.diff.tar.gzip",         CX_MEDIA_LAYER_GZIP, CX_MEDIA_TYPE_OCI_LAYER_GZIP},
    {DOCKER "image.rootfs.diff.tar.zstd",         CX_MEDIA_LAYER_ZSTD, CX_MEDIA_TYPE_OCI_LAYER_ZSTD},
    {DOCKER "image.rootfs.foreign.diff.tar",      CX_MEDIA_LAYER_TAR,  CX_MEDIA_TYPE_OCI_LAYER     },
    {DOCKER "image.rootfs.foreign.diff.tar.gzip", CX_MEDIA_LAYER_GZIP,
     CX_MEDIA_TYPE_OCI_LAYER_GZIP                                                                  },
};

CxMediaKind
cx_media_kind(const char *media_type)
{
    for (gsize i = 0; i < G_N_ELEMENTS(media_types); i++)
        if (strcmp(media_types[i].media_type, media_type) == 0)
            return media_types[i].kind;

    return CX_MEDIA_UNKNOWN;
}

const char *
cx_media_type_to_oci(const char *media_type)
{
    for (gsize i = 0; i < G_N_ELEMENTS(media_types); i++)
        if (strcmp(media_types[i].media_type, media_type) == 0)
            return media_types[i].oci;

    return media_type;
}

gboolean
cx_media_kind_is_layer(CxMediaKind kind)
{
    return kind == CX_MEDIA_LAYER_TAR || kind == CX_MEDIA_LAYER_GZIP || kind == CX_MEDIA_LAYER_ZSTD;
}
