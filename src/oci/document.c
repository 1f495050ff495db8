/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/document.h"

#include <string.h>

#include "base/error.h"

/* A parsed value takes up to a hundred times the bytes of its text ("{},{},…"), so values are
 * counted first: a comma or an opening bracket outside of strings begins one. */
static gboolean
check_values(const char *text, gsize size, GError **error)
{
    gboolean in_string = FALSE;
    guint n = 0;

    for (gsize i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
            n++;
    }
    if (n > CX_DOCUMENT_VALUES_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d values", CX_DOCUMENT_VALUES_MAX);

    return TRUE;
}

json_t *
cx_document_parse_value(const char *text, gsize size, GError **error)
{
    if (size > CX_DOCUMENT_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "larger than %d bytes", CX_DOCUMENT_MAX);
    if (!check_values(text, size, error))
        return NULL;

    return cx_json_parse(text, size, error);
}

json_t *
cx_document_parse(const char *text, gsize size, GError **error)
{
    g_autoptr(json_t) document = cx_document_parse_value(text, size, error);

    if (document == NULL)
        return NULL;
    if (!json_is_object(document))
        return cx_throw_null(error, CX_ERROR_INVALID, "expected a JSON object");

    return g_steal_pointer(&document);
}

gboolean
cx_document_get_list(
    const json_t *object, const char *key, gsize limit, const json_t **out_list, GError **error)
{
    const json_t *list = cx_json_get(object, key);

    if (list != NULL && !json_is_array(list))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected a list", key);
    if (json_array_size(list) > limit)
        return cx_throw(error, CX_ERROR_LIMIT, "%s: %zu entries, more than %zu", key,
                        json_array_size(list), limit);

    *out_list = list;
    return TRUE;
}

gboolean
cx_document_get_object(const json_t *object, const char *key, json_t **out_object, GError **error)
{
    json_t *member = cx_json_get(object, key);

    if (member != NULL && !json_is_object(member))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected an object", key);

    *out_object = member;
    return TRUE;
}

gboolean
cx_document_dup_annotations(const json_t *object, json_t **out_annotations, GError **error)
{
    json_t *annotations = NULL, *value;
    const char *key;

    if (!cx_document_get_object(object, "annotations", &annotations, error))
        return FALSE;

    json_object_foreach(annotations, key, value)
    {
        if (!json_is_string(value))
            return cx_throw(error, CX_ERROR_INVALID, "annotations: \"%.100s\": expected a string",
                            key);
    }
    *out_annotations = json_incref(annotations);
    return TRUE;
}

static gboolean
check_schema_version(const json_t *document, GError **error)
{
    gint64 version = 2;

    if (!cx_json_get_int(document, "schemaVersion", &version, error))
        return FALSE;
    if (version == 1)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "schema version 1 is no longer supported (write the image anew with a "
                        "current tool)");
    if (version != 2)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "schema version %" G_GINT64_FORMAT " is not supported", version);

    return TRUE;
}

gboolean
cx_document_check_kind(const json_t *document, CxMediaKind kind, GError **error)
{
    static const char *const of_manifest[] = {"layers", "config", "fsLayers", NULL};
    static const char *const of_index[] = {"manifests", NULL};
    const char *const *foreign = kind == CX_MEDIA_INDEX ? of_manifest : of_index;
    const char *media_type = NULL;

    if (!check_schema_version(document, error) ||
        !cx_json_get_string(document, "mediaType", &media_type, error))
        return FALSE;
    if (media_type != NULL && cx_media_kind(media_type) != kind)
        return cx_throw(error, CX_ERROR_INVALID, "mediaType \"%.100s\" contradicts its place",
                        media_type);

    for (; *foreign != NULL; foreign++)
        if (cx_json_get(document, *foreign) != NULL)
            return cx_throw(error, CX_ERROR_INVALID, "member \"%s\" contradicts its place",
                            *foreign);

    return TRUE;
}

void
cx_document_take_member(json_t *object, const char *key, json_t *value)
{
    const char *name;
    json_t *member;
    void *next;

    json_object_foreach_safe(object, next, name, member)
    {
        if (g_ascii_strcasecmp(name, key) == 0)
            json_object_del(object, name);
    }
    if (value != NULL)
        json_object_set_new(object, key, value);
}
