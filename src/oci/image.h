/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/digest.h"
#include "base/json.h"
#include "oci/platform.h"

G_BEGIN_DECLS

/* The documents of an image: descriptor, index, manifest, config (OCI image spec 1.1; Docker image
 * manifest V2 schema 2 has the same shape under other media types).  Readers take documents up to 4
 * MiB and refuse a mediaType field that contradicts the shape (CVE-2021-41190: both "manifests" and
 * "layers", or a manifest that says it is an index). */
#define CX_DOCUMENT_MAX (4 * 1024 * 1024)

/* What a hostile document may ask for. */
#define CX_DOCUMENT_VALUES_MAX 200000                 /* JSON values of one document */
#define CX_BLOB_SIZE_MAX (G_GINT64_CONSTANT(1) << 42) /* bytes of one blob: 4 TiB */
#define CX_LAYERS_MAX 1000                            /* layers of one image */
#define CX_INDEX_ENTRIES_MAX 1000                     /* manifests of one index */
#define CX_HISTORY_MAX 10000                          /* history entries of one config */

typedef enum {
    CX_MEDIA_UNKNOWN,
    CX_MEDIA_INDEX,    /* OCI image index, Docker manifest list */
    CX_MEDIA_MANIFEST, /* OCI image manifest, Docker schema 2 */
    CX_MEDIA_CONFIG,
    CX_MEDIA_LAYER_TAR, /* and Docker's rootfs.diff.tar, non-distributable kinds too */
    CX_MEDIA_LAYER_GZIP,
    CX_MEDIA_LAYER_ZSTD,
} CxMediaKind;

CxMediaKind cx_media_kind(const char *media_type);
gboolean cx_media_kind_is_layer(CxMediaKind kind);
/* The media type of the OCI specification that says the same; one we do not know comes back as it
 * is.  (Non-distributable layers count as ordinary ones: we have their bytes.) */
const char *cx_media_type_to_oci(const char *media_type);

#define CX_MEDIA_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define CX_MEDIA_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define CX_MEDIA_TYPE_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define CX_MEDIA_TYPE_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define CX_MEDIA_TYPE_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define CX_MEDIA_TYPE_OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"

/* ---- descriptor ---- */
typedef struct {
    char *media_type; /* (owned) */
    CxDigest digest;
    guint64 size;
    gboolean has_platform;
    CxPlatform platform;
    json_t *annotations; /* (owned) object of strings, or NULL */
} CxDescriptor;

void cx_descriptor_free(CxDescriptor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxDescriptor, cx_descriptor_free)
CxDescriptor *cx_descriptor_new(const char *media_type, const CxDigest *digest, guint64 size);
CxDescriptor *cx_descriptor_dup(const CxDescriptor *self);
/* A platform without os or architecture counts as none. */
CxDescriptor *cx_descriptor_from_json(const json_t *json, GError **error);
json_t *cx_descriptor_to_json(const CxDescriptor *self);

/* ---- index ---- */
typedef struct {
    GPtrArray *manifests; /* (owned) of owned CxDescriptor */
} CxIndex;

CxIndex *cx_index_parse(const char *text, gsize size, GError **error);
void cx_index_free(CxIndex *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxIndex, cx_index_free)

/* ---- manifest ---- */
typedef struct {
    CxDescriptor *config; /* (owned) */
    GPtrArray *layers;    /* (owned) of owned CxDescriptor, from the bottom up */
    json_t *annotations;  /* (owned) or NULL */
} CxManifest;

CxManifest *cx_manifest_new(CxDescriptor *take_config);
CxManifest *cx_manifest_parse(const char *text, gsize size, GError **error);
char *cx_manifest_to_json(const CxManifest *self); /* OCI media types, canonical */
void cx_manifest_free(CxManifest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxManifest, cx_manifest_free)

/* ---- config ---- */
/* What we act on is parsed; all else of the document is kept in `document` and written back
 * unchanged. */
typedef struct {
    json_t *document; /* (owned) */
    CxPlatform platform;
    GArray *diff_ids;  /* (owned) of CxDigest */
    GStrv env;         /* (owned) never NULL */
    GStrv entrypoint;  /* (owned) NULL: not set */
    GStrv cmd;         /* (owned) NULL: not set */
    char *working_dir; /* (owned) "" when not set */
    char *user;        /* (owned) "" when not set */
    char *stop_signal; /* (owned) "" when not set */
} CxImageConfig;

CxImageConfig *cx_image_config_new(const CxPlatform *platform);
CxImageConfig *cx_image_config_parse(const char *text, gsize size, GError **error);
CxImageConfig *cx_image_config_dup(const CxImageConfig *self);
void cx_image_config_free(CxImageConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxImageConfig, cx_image_config_free)

/* Whether the two make an image that we can use: a config and layers of known media types, and a
 * diff id for each layer. CX_ERROR_UNSUPPORTED: an artifact or an encrypted layer;
 * CX_ERROR_INVALID: they do not fit together. */
gboolean cx_manifest_check(const CxManifest *self, const CxImageConfig *config, GError **error);

/* Appends a history entry and, unless diff_id is NULL (empty_layer), its layer.  created as RFC
 * 3339, or NULL for none.  A base whose history is shorter than its layers is first filled up (a
 * longer one marked empty), so that the two stay in step. */
void cx_image_config_add_history(CxImageConfig *self,
                                 const char *created,
                                 const char *created_by,
                                 const CxDigest *diff_id);
/* The document with the parsed fields put back in (absent ones removed) and `created` set (NULL:
 * kept): canonical JSON. */
char *cx_image_config_to_json(const CxImageConfig *self, const char *created);

G_END_DECLS
