/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/message.h"

#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"

#define TAIL_MAX (16 * 1024)

typedef enum { LINE_OTHER, LINE_PLAIN, LINE_ERROR } LineKind;

static gboolean
is_error_level(const char *level)
{
    return g_ascii_strcasecmp(level, "error") == 0 || g_ascii_strcasecmp(level, "fatal") == 0;
}

/* {"level":"error","msg":"…"}; youki: {"level":"ERROR","fields":{"message":"…"}}. */
static LineKind
parse_json_line(const char *line, char **out_message)
{
    g_autoptr(json_t) record = cx_json_parse(line, strlen(line), NULL);
    const char *level = NULL, *message = NULL;

    if (!json_is_object(record))
        return LINE_PLAIN;
    if (!cx_json_get_string(record, "level", &level, NULL) ||
        !cx_json_get_string(record, "msg", &message, NULL))
        return LINE_OTHER;
    if (message == NULL && json_is_object(cx_json_get(record, "fields")))
        (void)cx_json_get_string(cx_json_get(record, "fields"), "message", &message, NULL);
    if (message == NULL || level == NULL || !is_error_level(level))
        return LINE_OTHER;

    *out_message = g_strdup(message);
    return LINE_ERROR;
}

/* time="…" level=error msg="…" */
static LineKind
parse_logrus_line(const char *line, char **out_message)
{
    const char *level = strstr(line, "level="), *message = strstr(line, " msg=\"");
    const char *end;
    g_autofree char *quoted = NULL;

    if (level == NULL || message == NULL)
        return LINE_PLAIN;
    if (!g_str_has_prefix(level, "level=error") && !g_str_has_prefix(level, "level=fatal"))
        return LINE_OTHER;

    message += strlen(" msg=\"");
    for (end = message; *end != '\0' && *end != '"'; end++) {
        if (*end == '\\' && end[1] == '\0')
            break; /* the line was cut */
        if (*end == '\\')
            end++;
    }
    quoted = g_strndup(message, (gsize)(end - message));
    *out_message = g_strcompress(quoted);
    return LINE_ERROR;
}

static LineKind
parse_line(const char *line, char **out_message)
{
    LineKind kind;

    if (*line == '\0')
        return LINE_OTHER;

    kind =
        line[0] == '{' ? parse_json_line(line, out_message) : parse_logrus_line(line, out_message);
    if (kind == LINE_PLAIN)
        *out_message = g_strdup(line);
    return kind;
}

/* One line of printable text, cut to the limit between characters. */
static char *
polish(const char *message, const char *const *chatter)
{
    GString *out = g_string_new(NULL);
    g_autofree char *text = NULL;

    for (gsize i = 0; chatter != NULL && chatter[i] != NULL; i++)
        if (g_str_has_prefix(message, chatter[i]))
            message += strlen(chatter[i]);
    text = cx_utf8_make_valid(message, strlen(message));
    g_strchomp(text);

    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (out->len + 6 > CX_RUNTIME_MESSAGE_MAX)
            break;
        if (c == '\n' || c == '\t')
            g_string_append(out, c == '\n' ? "\\n" : "\\t");
        else if (g_unichar_iscntrl(c))
            g_string_append_printf(out, "\\x%02x", c);
        else
            g_string_append_unichar(out, c);
    }
    return g_string_free(out, FALSE);
}

char *
cx_runtime_message_from_text(const char *text, gsize size, const char *const *chatter)
{
    g_autofree char *copy = g_strndup(text, size), *plain = NULL;
    g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);

    for (guint i = g_strv_length(lines); i-- > 0;) {
        g_autofree char *message = NULL;
        LineKind kind = parse_line(g_strstrip(lines[i]), &message);

        if (kind == LINE_ERROR)
            return polish(message, chatter);
        if (kind == LINE_PLAIN && plain == NULL)
            plain = g_steal_pointer(&message);
    }
    return plain == NULL ? NULL : polish(plain, chatter);
}

char *
cx_runtime_message_from_log(int fd, const char *const *chatter)
{
    g_autofree char *tail = g_malloc(TAIL_MAX);
    guint64 start;
    struct stat st;
    gssize n;

    if (fstat(fd, &st) < 0 || st.st_size == 0)
        return NULL;

    start = (guint64)st.st_size > TAIL_MAX ? (guint64)st.st_size - TAIL_MAX : 0;
    n = cx_pread_full(fd, tail, TAIL_MAX, start, NULL);
    return n <= 0 ? NULL : cx_runtime_message_from_text(tail, (gsize)n, chatter);
}
