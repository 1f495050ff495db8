/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/switch.h"
#include "oci/image.h"
#include "store/store-private.h"

static json_t *
describe_platform(const char *text)
{
    json_t *object = json_object();
    CxPlatform platform;

    if (cx_platform_parse(text, &platform, NULL)) {
        json_object_set_new(object, "os", json_string(platform.os));
        json_object_set_new(object, "architecture", json_string(platform.arch));
        if (platform.variant[0] != '\0')
            json_object_set_new(object, "variant", json_string(platform.variant));
    }
    return object;
}

static json_t *
describe_row(CxStore *self, const CxImageRow *row, GError **error)
{
    g_autoptr(GBytes) bytes =
        cx_blob_store_read(self->blobs, &row->manifest, CX_DOCUMENT_MAX, error);
    json_t *item, *annotations;

    if (bytes == NULL)
        return NULL;

    item = json_object();
    annotations = json_object();
    json_object_set_new(annotations, "org.opencontainers.image.ref.name", json_string(row->name));
    json_object_set_new(item, "mediaType", json_string(CX_MEDIA_TYPE_OCI_MANIFEST));
    json_object_set_new(item, "digest", json_string(cx_digest_text(&row->manifest).text));
    json_object_set_new(item, "size", json_integer((json_int_t)g_bytes_get_size(bytes)));
    json_object_set_new(item, "platform", describe_platform(row->platform));
    json_object_set_new(item, "annotations", annotations);
    return item;
}

/* content/index.json for other tools; what counts is the database. */
static gboolean
write_index(CxStore *self, GError **error)
{
    g_autoptr(GPtrArray) rows = cx_meta_list_images(self->meta, NULL, error);
    g_autoptr(json_t) index = json_object();
    json_t *manifests = json_array();
    g_autofree char *text = NULL;

    json_object_set_new(index, "schemaVersion", json_integer(2));
    json_object_set_new(index, "mediaType", json_string(CX_MEDIA_TYPE_OCI_INDEX));
    json_object_set_new(index, "manifests", manifests);
    if (rows == NULL)
        return FALSE;

    for (guint i = 0; i < rows->len; i++) {
        json_t *item = describe_row(self, g_ptr_array_index(rows, i), error);

        if (item == NULL)
            return FALSE;
        json_array_append_new(manifests, item);
    }
    text = cx_json_canonical(index);
    return cx_blob_store_write_index(self->blobs, text, error);
}

static gboolean
has_name(const GPtrArray *rows, const char *platform, const CxDigest *manifest)
{
    for (guint i = 0; i < rows->len; i++) {
        const CxImageRow *row = g_ptr_array_index(rows, i);

        if (strcmp(row->platform, platform) == 0)
            return cx_digest_equal(&row->manifest, manifest);
    }
    return FALSE;
}

gboolean
cx_store_name_image(CxStore *self,
                    const char *name,
                    const char *platform,
                    const CxDigest *manifest,
                    const CxObject *objects,
                    guint n_objects,
                    GError **error)
{
    g_autoptr(GPtrArray) rows = cx_meta_list_images(self->meta, name, error);

    if (rows == NULL || !cx_failpoint("image-name", error))
        return FALSE;
    if (has_name(rows, platform, manifest))
        return TRUE;

    return cx_meta_put_image(self->meta, name, platform, manifest, objects, n_objects, error) &&
           write_index(self, error);
}
