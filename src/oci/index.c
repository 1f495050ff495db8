/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "oci/document.h"

void
cx_index_free(CxIndex *self)
{
    if (self == NULL)
        return;

    g_clear_pointer(&self->manifests, g_ptr_array_unref);
    g_free(self);
}

CxIndex *
cx_index_parse(const char *text, gsize size, GError **error)
{
    CX_ERROR_CONTEXT(error, "index");
    g_autoptr(json_t) document = cx_document_parse(text, size, error);
    g_autoptr(CxIndex) self = g_new0(CxIndex, 1);
    const json_t *list;

    if (document == NULL || !cx_document_check_kind(document, CX_MEDIA_INDEX, error))
        return NULL;
    if (json_object_get(document, "manifests") == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "member \"manifests\" is missing");
    if (!cx_document_get_list(document, "manifests", CX_INDEX_ENTRIES_MAX, &list, error))
        return NULL;

    self->manifests = cx_descriptors_from_json(list, "manifests", error);
    return self->manifests == NULL ? NULL : g_steal_pointer(&self);
}
