/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

#include <string.h>

#define NAME_SIZE_MAX 255
#define TAG_SIZE_MAX 128

const char *
cx_reference_peek_tag(const char *text)
{
    const char *slash = strrchr(text, '/');
    const char *colon = strrchr(slash == NULL ? text : slash, ':');

    return colon == NULL ? NULL : colon + 1;
}

static gboolean
is_tag(const char *text)
{
    gsize size = strlen(text);

    if (size == 0 || size > TAG_SIZE_MAX || text[0] == '.' || text[0] == '-')
        return FALSE;

    for (; *text != '\0'; text++)
        if (!g_ascii_isalnum(*text) && strchr("_.-", *text) == NULL)
            return FALSE;
    return TRUE;
}

/* Runs of lower-case letters and digits; between two of them one of ".", "_", "__" or any number of
 * "-". */
static gboolean
is_component(const char *text, gsize size)
{
    static const char run[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const char *end = text + size;

    for (;;) {
        gsize n = MIN(strspn(text, run), (gsize)(end - text));

        text += n;
        if (n == 0 || text == end)
            return n > 0;
        if (*text == '-')
            text += strspn(text, "-");
        else if (strncmp(text, "__", 2) == 0)
            text += 2;
        else if (*text == '.' || *text == '_')
            text++;
        else
            return FALSE;
        if (text >= end)
            return FALSE;
    }
}

/* Host names with dots, perhaps a port. */
static gboolean
is_domain(const char *text, gsize size)
{
    const char *end = text + size, *colon = memchr(text, ':', size);
    const char *host_end = colon == NULL ? end : colon;

    if (colon != NULL &&
        (colon + 1 == end || strspn(colon + 1, "0123456789") != (gsize)(end - colon - 1)))
        return FALSE;
    if (host_end == text)
        return FALSE;

    for (const char *c = text; c < host_end; c++) {
        char before = c == text ? '.' : c[-1], after = c + 1 == host_end ? '.' : c[1];
        gboolean edge = before == '.' || after == '.';

        if (!g_ascii_isalnum(*c) && (edge || (*c != '-' && *c != '.')))
            return FALSE;
    }
    return TRUE;
}

/* Whether the first of several parts is read as a domain and not as part of the path. */
static gboolean
looks_like_domain(const char *text, gsize size)
{
    for (gsize i = 0; i < size; i++)
        if (text[i] == '.' || text[i] == ':' || g_ascii_isupper(text[i]))
            return TRUE;

    return size == strlen("localhost") && strncmp(text, "localhost", size) == 0;
}

gboolean
cx_reference_is_tagged(const char *text)
{
    const char *tag = cx_reference_peek_tag(text);
    const char *end, *slash;

    if (tag == NULL || !is_tag(tag) || tag - 1 - text > NAME_SIZE_MAX)
        return FALSE;

    end = tag - 1;
    slash = strchr(text, '/');
    if (slash != NULL && looks_like_domain(text, (gsize)(slash - text))) {
        if (!is_domain(text, (gsize)(slash - text)))
            return FALSE;
        text = slash + 1;
    }
    for (;;) {
        const char *next = memchr(text, '/', (gsize)(end - text));

        if (!is_component(text, (gsize)((next == NULL ? end : next) - text)))
            return FALSE;
        if (next == NULL)
            return TRUE;
        text = next + 1;
    }
}
