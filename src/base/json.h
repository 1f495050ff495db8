/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* The adapter of jansson.  Input is bounded in size and depth; output is canonical: keys sorted by
 * byte, no white space, integers only, so equal values have equal bytes and digests never depend on
 * a library's version. */
#define CX_JSON_DEPTH_MAX 64

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

/* Parses one JSON value.  CX_ERROR_INVALID says line and column.  Duplicate keys: the last wins. */
json_t *cx_json_parse(const char *text, gsize size, GError **error);

/* The canonical form, (transfer full), not terminated by a newline. */
char *cx_json_canonical(const json_t *value);

/* Member of an object by name: an exact match wins over one that differs in case; JSON null counts
 * as absent. Borrowed or NULL. */
json_t *cx_json_get(const json_t *object, const char *key);

/* Typed members.  Absent: out_… is left alone (set the default before) and TRUE is returned.  A
 * wrong type is CX_ERROR_INVALID: "KEY: expected a string". */
gboolean cx_json_get_string(const json_t *object,
                            const char *key,
                            const char **out_value,
                            GError **error); /* borrowed */
gboolean cx_json_get_bool(const json_t *object,
                          const char *key,
                          gboolean *out_value,
                          GError **error);
gboolean cx_json_get_int(const json_t *object, const char *key, gint64 *out_value, GError **error);
gboolean cx_json_get_strv(const json_t *object,
                          const char *key,
                          GStrv *out_value,
                          GError **error); /* (transfer full) */

/* A JSON array of strings; NULL gives an empty one. */
json_t *cx_json_from_strv(const char *const *strings);

/* Text made valid UTF-8: every bad byte becomes U+FFFD.  (transfer full) */
char *cx_utf8_make_valid(const char *data, gsize size);

G_END_DECLS
