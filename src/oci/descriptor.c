/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "oci/document.h"

#define MEDIA_TYPE_MAX 255

void
cx_descriptor_free(CxDescriptor *self)
{
    if (self == NULL)
        return;

    g_free(self->media_type);
    json_decref(self->annotations);
    g_free(self);
}

CxDescriptor *
cx_descriptor_new(const char *media_type, const CxDigest *digest, guint64 size)
{
    CxDescriptor *self = g_new0(CxDescriptor, 1);

    self->media_type = g_strdup(media_type);
    self->digest = *digest;
    self->size = size;
    return self;
}

CxDescriptor *
cx_descriptor_dup(const CxDescriptor *self)
{
    CxDescriptor *copy = cx_descriptor_new(self->media_type, &self->digest, self->size);

    copy->has_platform = self->has_platform;
    copy->platform = self->platform;
    copy->annotations = json_deep_copy(self->annotations);
    return copy;
}

/* A platform that names no operating system or architecture says nothing: whoever needs it asks the
 * config. */
static gboolean
read_platform(CxDescriptor *self, const json_t *json, GError **error)
{
    const char *os = "", *arch = "", *variant = "";
    json_t *platform;

    if (!cx_document_get_object(json, "platform", &platform, error))
        return FALSE;
    if (platform == NULL)
        return TRUE;

    CX_ERROR_CONTEXT(error, "platform");
    if (!cx_json_get_string(platform, "os", &os, error) ||
        !cx_json_get_string(platform, "architecture", &arch, error) ||
        !cx_json_get_string(platform, "variant", &variant, error))
        return FALSE;
    if (*os == '\0' || *arch == '\0')
        return TRUE;
    if (!cx_platform_from_parts(os, arch, variant, &self->platform, error))
        return FALSE;

    self->has_platform = TRUE;
    return TRUE;
}

static gboolean
read_media_type(CxDescriptor *self, const json_t *json, GError **error)
{
    const char *text = NULL;

    if (!cx_json_get_string(json, "mediaType", &text, error))
        return FALSE;
    if (text == NULL || *text == '\0')
        return cx_throw(error, CX_ERROR_INVALID, "mediaType is missing");
    if (strlen(text) > MEDIA_TYPE_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "mediaType is longer than %d bytes", MEDIA_TYPE_MAX);

    self->media_type = g_strdup(text);
    return TRUE;
}

static gboolean
read_size(CxDescriptor *self, const json_t *json, GError **error)
{
    gint64 size = -1;

    if (!cx_json_get_int(json, "size", &size, error))
        return FALSE;
    if (size < 0)
        return cx_throw(error, CX_ERROR_INVALID, "size is missing or negative");
    if (size > CX_BLOB_SIZE_MAX)
        return cx_throw(error, CX_ERROR_LIMIT,
                        "size %" G_GINT64_FORMAT " is larger than %" G_GINT64_FORMAT " bytes", size,
                        CX_BLOB_SIZE_MAX);

    self->size = (guint64)size;
    return TRUE;
}

CxDescriptor *
cx_descriptor_from_json(const json_t *json, GError **error)
{
    g_autoptr(CxDescriptor) self = g_new0(CxDescriptor, 1);
    const char *digest = NULL;

    if (!json_is_object(json))
        return cx_throw_null(error, CX_ERROR_INVALID, "expected a descriptor object");
    if (!read_media_type(self, json, error) || !read_size(self, json, error) ||
        !read_platform(self, json, error) ||
        !cx_document_dup_annotations(json, &self->annotations, error) ||
        !cx_json_get_string(json, "digest", &digest, error))
        return NULL;
    if (digest == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "digest is missing");
    if (!cx_digest_parse(digest, &self->digest, error))
        return NULL;

    return g_steal_pointer(&self);
}

static json_t *
platform_to_json(const CxPlatform *platform)
{
    json_t *json = json_pack("{s:s, s:s}", "architecture", platform->arch, "os", platform->os);

    if (platform->variant[0] != '\0')
        json_object_set_new(json, "variant", json_string(platform->variant));
    return json;
}

json_t *
cx_descriptor_to_json(const CxDescriptor *self)
{
    json_t *json = json_pack("{s:s, s:s, s:I}", "mediaType", self->media_type, "digest",
                             cx_digest_text(&self->digest).text, "size", (json_int_t)self->size);

    if (self->has_platform)
        json_object_set_new(json, "platform", platform_to_json(&self->platform));
    if (json_object_size(self->annotations) > 0)
        json_object_set(json, "annotations", self->annotations);
    return json;
}

GPtrArray *
cx_descriptors_from_json(const json_t *list, const char *key, GError **error)
{
    g_autoptr(GPtrArray) result =
        g_ptr_array_new_with_free_func((GDestroyNotify)cx_descriptor_free);

    for (gsize i = 0; i < json_array_size(list); i++) {
        CxDescriptor *descriptor = cx_descriptor_from_json(json_array_get(list, i), error);

        if (descriptor == NULL) {
            g_prefix_error(error, "%s[%zu]: ", key, i);
            return NULL;
        }
        g_ptr_array_add(result, descriptor);
    }
    return g_steal_pointer(&result);
}
