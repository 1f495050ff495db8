/* SPDX-License-Identifier: Apache-2.0 */
/* Selecting from a `docker save` archive.
 *
 * manifest.json is a list of {"Config": PATH, "RepoTags": […], "Layers": [PATH…]} without digests
 * or sizes.  It is turned into a manifest whose descriptors have the digests of the bytes as they
 * are stored:
 *
 *   uncompressed layer   its diff id, as the config says (checked when it is imported)
 *   compressed layer     what its name claims, if it is blobs/sha256/<hex> or <hex>.tar.gz (checked
 * when it is imported); otherwise computed, which reads it once
 */
#include <string.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "image/image-file.h"
#include "layer/codec.h"
#include "oci/document.h"

#define READ_BUFFER (256 * 1024)

/* ---- names that claim a digest ---- */

/* The digest that a path claims for its bytes; suffix is what may follow the digits. */
static gboolean
claimed_digest(const char *path, const char *suffix, CxDigest *out_digest)
{
    g_autofree char *base = g_path_get_basename(path);
    const char *hex = g_str_has_prefix(base, "sha256:") ? base + strlen("sha256:") : base;
    gsize n = strlen(hex);

    if (n != CX_DIGEST_HEX_SIZE + strlen(suffix) || !g_str_has_suffix(hex, suffix))
        return FALSE;

    base[(gsize)(hex - base) + CX_DIGEST_HEX_SIZE] = '\0';
    return cx_digest_parse_hex(hex, out_digest);
}

static gboolean
check_claim(const char *path, const CxDigest *actual, GError **error)
{
    CxDigest claimed;

    if ((claimed_digest(path, "", &claimed) || claimed_digest(path, ".json", &claimed)) &&
        !cx_digest_equal(&claimed, actual))
        return cx_throw(error, CX_ERROR_MISMATCH, "\"%s\": digest mismatch (read %s)", path,
                        cx_digest_text(actual).text);

    return TRUE;
}

/* A path of manifest.json as the archive's table of contents has it. */
static char *
clean_path(const json_t *json, const char *what, GError **error)
{
    const char *path = json_string_value(json);

    if (path == NULL || *path == '\0')
        return cx_throw_null(error, CX_ERROR_INVALID, "%s: expected a path", what);
    if (cx_path_has_dotdot(path))
        return cx_throw_null(error, CX_ERROR_INVALID, "%s: \"%.100s\" has \"..\"", what, path);

    return cx_path_clean(path);
}

/* ---- one image ---- */

/* Of the many images that a list may name, only what choosing needs is kept. */
typedef struct {
    json_t *json;      /* borrowed */
    char *config_path; /* (owned) */
    CxDigest config_digest;
    guint64 config_size;
    CxPlatform platform;
} Item;

static void
free_item(Item *item)
{
    g_free(item->config_path);
    g_free(item);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Item, free_item)

static CxImageConfig *
read_config(
    CxImageFile *self, const char *path, CxDigest *out_digest, guint64 *out_size, GError **error)
{
    g_autoptr(GBytes) bytes = cx_image_file_read_path(self, path, error);

    if (bytes == NULL)
        return NULL;

    *out_digest = cx_digest_of_bytes(bytes);
    *out_size = g_bytes_get_size(bytes);
    return cx_image_config_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
}

static Item *
read_item(CxImageFile *self, json_t *json, GError **error)
{
    g_autoptr(Item) item = g_new0(Item, 1);
    g_autoptr(CxImageConfig) config = NULL;

    if (!json_is_object(json))
        return cx_throw_null(error, CX_ERROR_INVALID, "expected an object");

    item->json = json;
    item->config_path = clean_path(cx_json_get(json, "Config"), "Config", error);
    if (item->config_path == NULL)
        return NULL;

    config = read_config(self, item->config_path, &item->config_digest, &item->config_size, error);
    if (config == NULL || !check_claim(item->config_path, &item->config_digest, error))
        return NULL;

    item->platform = config->platform;
    return g_steal_pointer(&item);
}

/* ---- layers ---- */

static gboolean
hash_part(const CxPart *part, CxDigest *out_digest, GError **error)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    g_autofree char *buffer = g_malloc(READ_BUFFER);

    for (guint64 done = 0; done < part->size;) {
        gsize want = (gsize)MIN(READ_BUFFER, part->size - done);
        gssize n = cx_pread_full(part->fd, buffer, want, part->offset + done, error);

        if (n < 0)
            return FALSE;
        if ((gsize)n < want)
            return cx_throw(error, CX_ERROR_MISMATCH, "file shrank while it was read");
        cx_hasher_update(hasher, buffer, want);
        done += want;
    }
    *out_digest = cx_hasher_finish(hasher);
    return TRUE;
}

static gboolean
detect_part(const CxPart *part, CxCompression *out_compression, GError **error)
{
    guint8 magic[8];
    gssize n =
        cx_pread_full(part->fd, magic, (gsize)MIN(sizeof magic, part->size), part->offset, error);

    if (n < 0)
        return FALSE;

    *out_compression = cx_compression_detect(magic, (gsize)n);
    return TRUE;
}

static CxDescriptor *
describe_layer(CxImageFile *self, const char *path, const CxDigest *diff_id, GError **error)
{
    static const char *const media_types[] = {
        [CX_COMPRESSION_NONE] = CX_MEDIA_TYPE_OCI_LAYER,
        [CX_COMPRESSION_GZIP] = CX_MEDIA_TYPE_OCI_LAYER_GZIP,
        [CX_COMPRESSION_ZSTD] = CX_MEDIA_TYPE_OCI_LAYER_ZSTD,
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(media_types) == CX_N_COMPRESSIONS);
    g_auto(CxPart) part = CX_PART_INIT;
    CxCompression compression;
    CxDigest digest = *diff_id;

    if (!cx_archive_open_part(self->archive, path, CX_ARCHIVE_FOLLOW, &part, error) ||
        !detect_part(&part, &compression, error))
        return NULL;
    if (compression != CX_COMPRESSION_NONE && !claimed_digest(path, "", &digest) &&
        !claimed_digest(path, ".tar.gz", &digest) && !hash_part(&part, &digest, error))
        return NULL;

    g_hash_table_replace(self->places, cx_digest_dup(&digest), g_strdup(path));
    return cx_descriptor_new(media_types[compression], &digest, part.size);
}

static gboolean
add_layers(CxImageFile *self,
           const Item *item,
           const GArray *diff_ids,
           CxManifest *manifest,
           GError **error)
{
    const json_t *layers = cx_json_get(item->json, "Layers");

    if (layers != NULL && !json_is_array(layers))
        return cx_throw(error, CX_ERROR_INVALID, "Layers: expected a list");
    if (json_array_size(layers) != diff_ids->len)
        return cx_throw(error, CX_ERROR_INVALID, "%zu layers, but the config has %u diff ids",
                        json_array_size(layers), diff_ids->len);

    for (guint i = 0; i < diff_ids->len; i++) {
        g_autofree char *path = clean_path(json_array_get(layers, i), "Layers", error);
        CxDescriptor *layer;

        if (path == NULL)
            return FALSE;
        layer = describe_layer(self, path, &g_array_index(diff_ids, CxDigest, i), error);
        if (layer == NULL)
            return FALSE;
        g_ptr_array_add(manifest->layers, layer);
    }
    return TRUE;
}

static CxManifest *
make_manifest(CxImageFile *self, const Item *item, const GArray *diff_ids, GError **error)
{
    CxDescriptor *config =
        cx_descriptor_new(CX_MEDIA_TYPE_OCI_CONFIG, &item->config_digest, item->config_size);
    g_autoptr(CxManifest) manifest = cx_manifest_new(config);

    g_hash_table_replace(self->places, cx_digest_dup(&item->config_digest),
                         g_strdup(item->config_path));
    if (!add_layers(self, item, diff_ids, manifest, error))
        return NULL;

    return g_steal_pointer(&manifest);
}

/* ---- the list ---- */

static CxOffer *
make_offer(const Item *item, guint group)
{
    CxOffer *offer = g_new0(CxOffer, 1);
    const json_t *tags = cx_json_get(item->json, "RepoTags");

    offer->id = item->config_digest;
    offer->group = group;
    offer->label = g_strdup(json_string_value(json_array_get(tags, 0)));
    offer->known = TRUE;
    offer->platform = item->platform;
    offer->data = (gpointer)item;
    return offer;
}

static json_t *
parse_list(GBytes *text, GError **error)
{
    g_autoptr(json_t) list =
        cx_document_parse_value(g_bytes_get_data(text, NULL), g_bytes_get_size(text), error);

    if (list == NULL)
        return NULL;
    if (!json_is_array(list))
        return cx_throw_null(error, CX_ERROR_INVALID, "expected a list of images");
    if (json_array_size(list) > CX_INDEX_ENTRIES_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "more than %d images", CX_INDEX_ENTRIES_MAX);

    return g_steal_pointer(&list);
}

static const Item *
choose_item(GPtrArray *items, const CxPlatform *want, GError **error)
{
    g_autoptr(GPtrArray) offers = g_ptr_array_new_with_free_func((GDestroyNotify)cx_offer_free);
    const CxOffer *offer;

    for (guint i = 0; i < items->len; i++)
        g_ptr_array_add(offers, make_offer(g_ptr_array_index(items, i), i));

    offer = cx_offers_choose(offers, want, error);
    return offer == NULL ? NULL : offer->data;
}

gboolean
cx_image_file_select_docker(CxImageFile *self,
                            GBytes *text,
                            const CxPlatform *want,
                            CxManifest **out_manifest,
                            CxImageConfig **out_config,
                            GError **error)
{
    CX_ERROR_CONTEXT(error, "manifest.json");
    g_autoptr(json_t) list = parse_list(text, error);
    g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func((GDestroyNotify)free_item);
    g_autoptr(CxImageConfig) config = NULL;
    g_autoptr(CxManifest) manifest = NULL;
    const Item *item;
    CxDigest digest;
    guint64 size;

    if (list == NULL)
        return FALSE;
    for (gsize i = 0; i < json_array_size(list); i++) {
        Item *next = read_item(self, json_array_get(list, i), error);

        if (next == NULL)
            return FALSE;
        g_ptr_array_add(items, next);
    }
    item = choose_item(items, want, error);
    if (item == NULL)
        return FALSE;

    config = read_config(self, item->config_path, &digest, &size, error);
    if (config == NULL)
        return FALSE;
    if (!cx_digest_equal(&digest, &item->config_digest))
        return cx_throw(error, CX_ERROR_MISMATCH, "file changed while it was read");

    manifest = make_manifest(self, item, config->diff_ids, error);
    if (manifest == NULL)
        return FALSE;

    *out_manifest = g_steal_pointer(&manifest);
    *out_config = g_steal_pointer(&config);
    return TRUE;
}
