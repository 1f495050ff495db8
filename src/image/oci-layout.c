/* SPDX-License-Identifier: Apache-2.0 */
/* Selecting from an OCI image layout.
 *
 * index.json lists manifests and further indexes.  All indexes are entered first, which gives a
 * flat list of manifests; then one is chosen by the platforms that the descriptors state.  Only if
 * none of them fits are the manifests without a platform opened to ask their configs.  An index is
 * entered once, however often it is listed, and the depth is bounded, so a layout made to go on for
 * ever ends here. */
#include <string.h>

#include "base/error.h"
#include "image/image-file.h"

#define INDEX_DEPTH_MAX 4 /* how deep indexes may nest */

#define ATTESTATION_KEY "vnd.docker.reference.type"
#define NAME_KEY "io.containerd.image.name"
#define REF_KEY "org.opencontainers.image.ref.name"

typedef struct {
    CxImageFile *file;  /* borrowed */
    GPtrArray *offers;  /* (owned) of owned CxOffer; data: the descriptor */
    GPtrArray *indexes; /* (owned) of owned CxIndex: where the descriptors live */
    GHashTable *seen;   /* of owned CxDigest: indexes that were entered */
} Walk;

static void
clear_walk(Walk *self)
{
    g_clear_pointer(&self->offers, g_ptr_array_unref);
    g_clear_pointer(&self->indexes, g_ptr_array_unref);
    g_clear_pointer(&self->seen, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, clear_walk)

static const char *
annotation(const CxDescriptor *descriptor, const char *key)
{
    return json_string_value(json_object_get(descriptor->annotations, key));
}

/* What is listed beside images: attestations say so, or hide behind the platform "unknown". */
static gboolean
is_attestation(const CxDescriptor *descriptor)
{
    return annotation(descriptor, ATTESTATION_KEY) != NULL ||
           (descriptor->has_platform && strcmp(descriptor->platform.os, "unknown") == 0);
}

static void
add_offer(Walk *self, const CxDescriptor *descriptor, guint group)
{
    CxOffer *offer = g_new0(CxOffer, 1);
    const char *name = annotation(descriptor, NAME_KEY);

    offer->id = descriptor->digest;
    offer->group = group;
    offer->label = g_strdup(name != NULL ? name : annotation(descriptor, REF_KEY));
    offer->known = descriptor->has_platform;
    offer->platform = descriptor->platform;
    offer->data = (gpointer)descriptor;
    g_ptr_array_add(self->offers, offer);
}

static gboolean walk_index(Walk *self, GBytes *text, guint depth, guint group, GError **error);

static gboolean
enter_index(Walk *self, const CxDescriptor *descriptor, guint depth, guint group, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;

    if (depth > INDEX_DEPTH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "indexes nested deeper than %d levels",
                        INDEX_DEPTH_MAX);
    if (!g_hash_table_add(self->seen, cx_digest_dup(&descriptor->digest)))
        return TRUE;

    bytes = cx_image_file_read_document(self->file, descriptor, error);
    return bytes != NULL && walk_index(self, bytes, depth, group, error);
}

/* Entries of the outermost index are images of their own, each a group; what stands below one
 * belongs to its group. */
static gboolean
walk_index(Walk *self, GBytes *text, guint depth, guint group, GError **error)
{
    CxIndex *index = cx_index_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), error);

    if (index == NULL)
        return FALSE;

    g_ptr_array_add(self->indexes, index);
    for (guint i = 0; i < index->manifests->len; i++) {
        const CxDescriptor *descriptor = g_ptr_array_index(index->manifests, i);
        CxMediaKind kind = cx_media_kind(descriptor->media_type);

        if (is_attestation(descriptor))
            continue;
        if (kind == CX_MEDIA_MANIFEST)
            add_offer(self, descriptor, depth == 0 ? i : group);
        else if (kind == CX_MEDIA_INDEX &&
                 !enter_index(self, descriptor, depth + 1, depth == 0 ? i : group, error))
            return FALSE;
    }
    return TRUE;
}

static CxManifest *
read_manifest(Walk *self, const CxDescriptor *descriptor, GError **error)
{
    g_autoptr(GBytes) bytes = cx_image_file_read_document(self->file, descriptor, error);

    if (bytes == NULL)
        return NULL;

    return cx_manifest_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
}

static CxImageConfig *
read_config(Walk *self, const CxDescriptor *descriptor, GError **error)
{
    g_autoptr(GBytes) bytes = cx_image_file_read_document(self->file, descriptor, error);

    if (bytes == NULL)
        return NULL;

    return cx_image_config_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
}

/* Asks the configs of the manifests that state no platform. */
static gboolean
probe_offers(Walk *self, GError **error)
{
    for (guint i = 0; i < self->offers->len; i++) {
        CxOffer *offer = g_ptr_array_index(self->offers, i);
        g_autoptr(CxManifest) manifest = NULL;
        g_autoptr(CxImageConfig) config = NULL;

        if (offer->known)
            continue;
        manifest = read_manifest(self, offer->data, error);
        if (manifest == NULL)
            return FALSE;
        if (cx_media_kind(manifest->config->media_type) != CX_MEDIA_CONFIG)
            continue;
        config = read_config(self, manifest->config, error);
        if (config == NULL)
            return FALSE;
        offer->platform = config->platform;
        offer->known = TRUE;
    }
    return TRUE;
}

static const CxOffer *
choose_offer(Walk *self, const CxPlatform *want, GError **error)
{
    g_autoptr(GError) declared_error = NULL;
    const CxOffer *offer = cx_offers_choose(self->offers, want, &declared_error);

    if (offer != NULL)
        return offer;
    if (!cx_error_is(declared_error, CX_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&declared_error));
        return NULL;
    }
    return probe_offers(self, error) ? cx_offers_choose(self->offers, want, error) : NULL;
}

gboolean
cx_image_file_select_oci(CxImageFile *self,
                         GBytes *text,
                         const CxPlatform *want,
                         CxManifest **out_manifest,
                         CxImageConfig **out_config,
                         GError **error)
{
    g_auto(Walk) walk = {
        .file = self,
        .offers = g_ptr_array_new_with_free_func((GDestroyNotify)cx_offer_free),
        .indexes = g_ptr_array_new_with_free_func((GDestroyNotify)cx_index_free),
        .seen = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, g_free, NULL),
    };
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    const CxOffer *offer;

    if (!walk_index(&walk, text, 0, 0, error))
        return FALSE;

    offer = choose_offer(&walk, want, error);
    if (offer == NULL)
        return FALSE;

    manifest = read_manifest(&walk, offer->data, error);
    if (manifest == NULL)
        return FALSE;
    if (cx_media_kind(manifest->config->media_type) == CX_MEDIA_CONFIG)
        config = read_config(&walk, manifest->config, error);
    else
        cx_throw(error, CX_ERROR_UNSUPPORTED, "not a container image: its config is a \"%s\"",
                 manifest->config->media_type);
    if (config == NULL || !cx_manifest_check(manifest, config, error))
        return FALSE;

    *out_manifest = g_steal_pointer(&manifest);
    *out_config = g_steal_pointer(&config);
    return TRUE;
}
