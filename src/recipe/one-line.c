/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/one-line.h"

static gboolean
is_visible(gunichar c)
{
    switch ((int)g_unichar_type(c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_FORMAT:
    case G_UNICODE_SURROGATE:
    case G_UNICODE_UNASSIGNED:
    case G_UNICODE_PRIVATE_USE:
    case G_UNICODE_LINE_SEPARATOR:
    case G_UNICODE_PARAGRAPH_SEPARATOR:
        return FALSE;
    default:
        return TRUE;
    }
}

static void
append_escaped(GString *out, gunichar c)
{
    if (c == '\n')
        g_string_append(out, "\\n");
    else if (c == '\t')
        g_string_append(out, "\\t");
    else if (c == '\r')
        g_string_append(out, "\\r");
    else if (is_visible(c))
        g_string_append_unichar(out, c);
    else if (c < 0x80)
        g_string_append_printf(out, "\\x%02x", c);
    else if (c < 0x10000)
        g_string_append_printf(out, "\\u%04x", c);
    else
        g_string_append_printf(out, "\\U%08x", c);
}

/* Cuts after max - 1 characters if there are more than max. */
static void
cut(GString *line, gsize max)
{
    if (g_utf8_strlen(line->str, (gssize)line->len) <= (glong)max)
        return;

    g_string_truncate(line,
                      (gsize)(g_utf8_offset_to_pointer(line->str, (glong)max - 1) - line->str));
    g_string_append(line, "…");
}

char *
cx_one_line(const char *text, gsize max)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_autoptr(GString) line = g_string_new(NULL);
    gboolean space = FALSE;

    /* A character has four bytes at most, so this fills the line and shows whether there is more.
     */
    for (const char *p = valid; *p != '\0' && line->len <= 4 * max; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (g_unichar_isspace(c) || c == 0x85) {
            space = line->len > 0;
            continue;
        }
        if (space)
            g_string_append_c(line, ' ');
        space = FALSE;
        append_escaped(line, c);
    }
    cut(line, max);
    return g_string_free(g_steal_pointer(&line), FALSE);
}

char *
cx_quote(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *quoted = g_string_new("\"");
    gsize n = 0;

    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (++n > CX_QUOTE_MAX) {
            g_string_append(quoted, "…");
            break;
        }
        if (c == '"' || c == '\\')
            g_string_append_c(quoted, '\\');
        append_escaped(quoted, c);
    }
    g_string_append_c(quoted, '"');
    return g_string_free(quoted, FALSE);
}
