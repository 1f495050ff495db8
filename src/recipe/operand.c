/* SPDX-License-Identifier: Apache-2.0 */
/* The small languages in a recipe's strings: what a stage is made from, what a copy copies, where a
 * step works. */
#include <string.h>

#include "base/chase.h"
#include "base/error.h"
#include "recipe/one-line.h"
#include "recipe/recipe.h"

/* Bytes of the white space character that p begins with; 0: it is none. */
static gsize
measure_space(const char *p)
{
    gunichar c = g_utf8_get_char_validated(p, -1);

    if (c == (gunichar)-1 || c == (gunichar)-2 || !(g_unichar_isspace(c) || c == 0x85))
        return 0;
    return (gsize)g_unichar_to_utf8(c, NULL);
}

/* The tokens between runs of white space, Unicode's included. */
static GPtrArray *
split_tokens(const char *text)
{
    g_autoptr(GPtrArray) tokens = g_ptr_array_new_with_free_func(g_free);

    while (*text != '\0') {
        gsize space = measure_space(text);
        const char *start = text;

        if (space > 0) {
            text += space;
            continue;
        }
        while (*text != '\0' && measure_space(text) == 0)
            text++;
        g_ptr_array_add(tokens, g_strndup(start, (gsize)(text - start)));
    }
    return g_steal_pointer(&tokens);
}

static char *
join_tokens(const GPtrArray *tokens, guint first)
{
    GString *joined = g_string_new(NULL);

    for (guint i = first; i < tokens->len; i++) {
        if (i > first)
            g_string_append_c(joined, ' ');
        g_string_append(joined, g_ptr_array_index(tokens, i));
    }
    return g_string_free(joined, FALSE);
}

gboolean
cx_from_parse(const char *text, CxFromKind *out_kind, char **out_value, GError **error)
{
    static const struct {
        const char *word;
        CxFromKind kind;
    } kinds[] = {
        {"oci",  CX_FROM_OCI },
        {"file", CX_FROM_FILE},
        {"ref",  CX_FROM_REF }
    };
    g_autoptr(GPtrArray) tokens = split_tokens(text);
    CxFromKind kind = CX_FROM_REF;
    guint first = 0;

    if (tokens->len == 0)
        return cx_throw(error, CX_ERROR_INVALID, "invalid from format");

    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_strcmp0(g_ptr_array_index(tokens, 0), kinds[i].word) == 0) {
            kind = kinds[i].kind;
            first = 1;
        }
    }
    if (first == tokens->len)
        return cx_throw(error, CX_ERROR_INVALID, "invalid from format: missing source value");
    if (kind == CX_FROM_OCI && tokens->len != 2)
        return cx_throw(error, CX_ERROR_INVALID, "invalid from format");

    *out_kind = kind;
    *out_value = join_tokens(tokens, first);
    return TRUE;
}

gboolean
cx_copy_parse(const char *text, char **out_source, char **out_dest, GError **error)
{
    g_autoptr(GPtrArray) tokens = split_tokens(text);

    if (tokens->len != 2) {
        g_autofree char *quoted = cx_quote(text);

        return cx_throw(error, CX_ERROR_INVALID, "missing source or destination in %s", quoted);
    }

    *out_source = g_strdup(g_ptr_array_index(tokens, 0));
    *out_dest = g_strdup(g_ptr_array_index(tokens, 1));
    return TRUE;
}

gboolean
cx_copy_parse_stage(const char *source, char **out_stage, char **out_path)
{
    const char *colon = strchr(source, ':'), *slash = strchr(source, '/');

    if (colon == NULL || colon == source || (slash != NULL && slash < colon))
        return FALSE;

    *out_stage = g_strndup(source, (gsize)(colon - source));
    *out_path = g_strdup(colon + 1);
    return TRUE;
}

static char *
make_absolute(const char *path)
{
    g_autofree char *clean = cx_path_clean(path);

    return g_strconcat("/", clean, NULL);
}

char *
cx_workdir_join(const char *base, const char *workdir)
{
    g_autofree char *joined = NULL;

    if (workdir[0] == '/')
        return make_absolute(workdir);
    if (base == NULL || base[0] == '\0')
        return g_strdup(workdir);

    joined = g_strconcat(base, "/", workdir, NULL);
    return base[0] == '/' ? make_absolute(joined) : g_steal_pointer(&joined);
}

char *
cx_copy_dest(const char *dest, const char *workdir, GError **error)
{
    g_autofree char *joined = NULL;

    if (dest[0] != '/' && (workdir == NULL || workdir[0] == '\0')) {
        g_autofree char *quoted = cx_quote(dest);

        return cx_throw_null(error, CX_ERROR_INVALID, "relative dest %s requires workdir", quoted);
    }

    joined = cx_workdir_join(workdir, dest);
    return make_absolute(joined);
}
