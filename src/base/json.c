/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <string.h>

#include "base/error.h"

json_t *
cx_json_parse(const char *text, gsize size, GError **error)
{
    json_error_t where;
    json_t *value;
    guint depth = 0, deepest = 0;
    gboolean in_string = FALSE;

    /* jansson's own depth limit is a constant of its build: count ourselves, outside of strings. */
    for (gsize i = 0; i < size; i++) {
        char c = text[i];

        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[')) {
            depth++;
            deepest = MAX(deepest, depth);
        } else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    if (deepest > CX_JSON_DEPTH_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "nested deeper than %d levels",
                             CX_JSON_DEPTH_MAX);

    value = json_loadb(text, size, JSON_DECODE_ANY, &where);
    if (value == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "line %d, column %d: %s", where.line,
                             where.column, where.text);

    return value;
}

/* ---- canonical output ------------------------------------------------------------------------ */

static void
write_string(GString *out, const char *text, gsize size)
{
    g_string_append_c(out, '"');
    for (gsize i = 0; i < size; i++) {
        guchar c = (guchar)text[i];

        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", c);
        else if (c == '\n')
            g_string_append(out, "\\n");
        else if (c == '\t')
            g_string_append(out, "\\t");
        else if (c == '\r')
            g_string_append(out, "\\r");
        else if (c < 0x20)
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_c(out, (char)c);
    }
    g_string_append_c(out, '"');
}

static gint
compare_keys(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_value(GString *out, const json_t *value);

static void
write_object(GString *out, const json_t *object)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    const char *key;
    json_t *member;

    json_object_foreach((json_t *)object, key, member) g_ptr_array_add(keys, (gpointer)key);
    g_ptr_array_sort(keys, compare_keys);

    g_string_append_c(out, '{');
    for (guint i = 0; i < keys->len; i++) {
        key = g_ptr_array_index(keys, i);
        if (i > 0)
            g_string_append_c(out, ',');
        write_string(out, key, strlen(key));
        g_string_append_c(out, ':');
        write_value(out, json_object_get(object, key));
    }
    g_string_append_c(out, '}');
}

static void
write_value(GString *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value);
        break;
    case JSON_ARRAY:
        g_string_append_c(out, '[');
        for (gsize i = 0; i < json_array_size(value); i++) {
            if (i > 0)
                g_string_append_c(out, ',');
            write_value(out, json_array_get(value, i));
        }
        g_string_append_c(out, ']');
        break;
    case JSON_STRING:
        write_string(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        g_string_append_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL: {
        char number[G_ASCII_DTOSTR_BUF_SIZE];

        g_string_append(
            out, g_ascii_dtostr(number, sizeof number, json_real_value(value) + 0.0)); /* -0 to 0 */
        break;
    }
    case JSON_TRUE:
        g_string_append(out, "true");
        break;
    case JSON_FALSE:
        g_string_append(out, "false");
        break;
    case JSON_NULL:
        g_string_append(out, "null");
        break;
    }
}

char *
cx_json_canonical(const json_t *value)
{
    GString *out = g_string_new(NULL);

    write_value(out, value);
    return g_string_free(out, FALSE);
}

/* ---- members --------------------------------------------------------------------------------- */

json_t *
cx_json_get(const json_t *object, const char *key)
{
    json_t *found = json_object_get(object, key), *member;
    const char *name;

    if (found == NULL) {
        json_object_foreach((json_t *)object, name, member) if (g_ascii_strcasecmp(name, key) == 0)
            found = member;
    }
    return json_is_null(found) ? NULL : found;
}

gboolean
cx_json_get_string(const json_t *object, const char *key, const char **out_value, GError **error)
{
    json_t *member = cx_json_get(object, key);

    if (member == NULL)
        return TRUE;
    if (!json_is_string(member) || strlen(json_string_value(member)) != json_string_length(member))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected a string", key);

    *out_value = json_string_value(member);
    return TRUE;
}

gboolean
cx_json_get_bool(const json_t *object, const char *key, gboolean *out_value, GError **error)
{
    json_t *member = cx_json_get(object, key);

    if (member == NULL)
        return TRUE;
    if (!json_is_boolean(member))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected true or false", key);

    *out_value = json_is_true(member);
    return TRUE;
}

gboolean
cx_json_get_int(const json_t *object, const char *key, gint64 *out_value, GError **error)
{
    json_t *member = cx_json_get(object, key);

    if (member == NULL)
        return TRUE;
    if (!json_is_integer(member))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected a whole number", key);

    *out_value = json_integer_value(member);
    return TRUE;
}

gboolean
cx_json_get_strv(const json_t *object, const char *key, GStrv *out_value, GError **error)
{
    json_t *member = cx_json_get(object, key);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();

    if (member == NULL)
        return TRUE;
    if (!json_is_array(member))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected a list of strings", key);

    for (gsize i = 0; i < json_array_size(member); i++) {
        json_t *item = json_array_get(member, i);

        if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
            return cx_throw(error, CX_ERROR_INVALID, "%s: expected a list of strings", key);
        g_strv_builder_add(builder, json_string_value(item));
    }
    *out_value = g_strv_builder_end(builder);
    return TRUE;
}

json_t *
cx_json_from_strv(const char *const *strings)
{
    json_t *array = json_array();

    for (gsize i = 0; strings != NULL && strings[i] != NULL; i++)
        json_array_append_new(array, json_string(strings[i]));
    return array;
}

char *
cx_utf8_make_valid(const char *data, gsize size)
{
    g_autoptr(GString) out = g_string_sized_new(size);

    while (size > 0) {
        const char *end;

        if (g_utf8_validate_len(data, size, &end)) {
            g_string_append_len(out, data, (gssize)size);
            break;
        }
        g_string_append_len(out, data, end - data);
        g_string_append(out, *end == '\0' ? " " : "\xef\xbf\xbd");
        size -= (gsize)(end - data) + 1;
        data = end + 1;
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
