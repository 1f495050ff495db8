/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    const char *colour;
} levels[] = {
    [CX_LOG_DEBUG] = {"debug", "\033[2m" },
    [CX_LOG_INFO] = {"info",  "\033[32m"},
    [CX_LOG_WARNING] = {"warn",  "\033[33m"},
    [CX_LOG_ERROR] = {"error", "\033[31m"},
};

/* The level and writer are the one mutable global state a log may have. */
static CxLogLevel lowest_shown = CX_LOG_INFO;
static gboolean show_attributes = FALSE;

void
cx_log_configure(CxLogLevel level, gboolean attributes)
{
    lowest_shown = level;
    show_attributes = attributes;
}

gboolean
cx_log_is_debugged(const char *room)
{
    const char *list = getenv("CX_DEBUG");
    gsize length = strlen(room);

    for (const char *item = list; item != NULL && *item != '\0'; item += strspn(item, ",")) {
        gsize n = strcspn(item, ",");

        if ((n == length && strncmp(item, room, n) == 0) ||
            (n == 3 && strncmp(item, "all", n) == 0))
            return TRUE;
        item += n;
    }
    return FALSE;
}

void
cx_log_record(CxLogLevel level, const char *room, const char *attributes, const char *format, ...)
{
    g_autofree char *text = NULL, *line = NULL, *safe = NULL;
    gboolean coloured;
    va_list args;

    if (level < lowest_shown && !(level == CX_LOG_DEBUG && cx_log_is_debugged(room)))
        return;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);

    /* Foreign text must not steer the terminal. */
    safe = g_strdup(text);
    for (char *c = safe; *c != '\0'; c++)
        if ((guchar)*c < ' ' && *c != '\t')
            *c = '?';
    coloured = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    line = g_strdup_printf("%s%s%s %s: %s%s%s\n", coloured ? levels[level].colour : "",
                           levels[level].name, coloured ? "\033[0m" : "", room, safe,
                           show_attributes && attributes != NULL ? " " : "",
                           show_attributes && attributes != NULL ? attributes : "");
    (void)!write(STDERR_FILENO, line, strlen(line));
}
