/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "oci/image.h"

G_BEGIN_DECLS

/* What the readers of this room share: the outer shape of an image's documents. */

/* A JSON value within the limits of a document; or one that must be an object. */
json_t *cx_document_parse_value(const char *text, gsize size, GError **error);
json_t *cx_document_parse(const char *text, gsize size, GError **error);

/* Whether the document is what we take it for, an index or a manifest: schemaVersion is 2,
 * mediaType (if there is one) says the same, and no member belongs to the other kind. */
gboolean cx_document_check_kind(const json_t *document, CxMediaKind kind, GError **error);

/* A list member; absent and null read as an empty list.  *out_list is borrowed, NULL for empty.
 * CX_ERROR_LIMIT: longer than limit. */
gboolean cx_document_get_list(
    const json_t *object, const char *key, gsize limit, const json_t **out_list, GError **error);

/* An object member; absent is fine (NULL, borrowed). */
gboolean cx_document_get_object(const json_t *object,
                                const char *key,
                                json_t **out_object,
                                GError **error);

/* The descriptors of a list, (element-type owned CxDescriptor).  key is for messages. */
GPtrArray *cx_descriptors_from_json(const json_t *list, const char *key, GError **error);

/* The annotations of an object, all strings: a reference of its own, or NULL. */
gboolean cx_document_dup_annotations(const json_t *object,
                                     json_t **out_annotations,
                                     GError **error);

/* Sets or (value NULL) removes a member, with all spellings of its name that readers without regard
 * to case would take for it. */
void cx_document_take_member(json_t *object, const char *key, json_t *value);

G_END_DECLS
