/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

/* Terminal lines are redrawn this often at most. */
#define REDRAW_US (50 * 1000)
#define WIDTH_DEFAULT 100
#define RUNNING_LINES_MAX 8

typedef enum {
    MODE_PLAIN,
    MODE_TTY,
    MODE_JSON,
} Mode;

typedef struct {
    char *place; /* (owned) "linux/amd64 builder 3" */
    char *title; /* (owned) */
    gint64 started;
    GString *partial[2]; /* (owned) a line of stdout, of stderr that has no end yet */
} Running;

struct CxProgress {
    Mode mode;
    GPtrArray *running; /* (owned) of owned Running, oldest first */
    guint cached;       /* steps folded since the last line */
    guint drawn;        /* running lines on the screen */
    gint64 last_draw;
};

static void
running_free(gpointer data)
{
    Running *self = data;

    g_free(self->place);
    g_free(self->title);
    g_string_free(self->partial[0], TRUE);
    g_string_free(self->partial[1], TRUE);
    g_free(self);
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static guint
terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col
                                                                            : WIDTH_DEFAULT;
}

static void
erase_running(CxProgress *self)
{
    if (self->drawn > 0)
        (void)fprintf(stderr, "\033[%uA\033[J", self->drawn);
    self->drawn = 0;
}

/* Foreign text is cut to the width in characters, so a line never wraps and the count of drawn
 * lines stays true. */
static void
draw_line(const Running *running, guint width)
{
    double seconds = (double)(g_get_monotonic_time() - running->started) / G_USEC_PER_SEC;
    g_autofree char *line = g_strdup_printf("  > %s: %s", running->place, running->title);
    glong room = (glong)width - 10;
    g_autofree char *cut =
        g_utf8_strlen(line, -1) > room ? g_utf8_substring(line, 0, room) : g_strdup(line);

    (void)fprintf(stderr, getenv("NO_COLOR") == NULL ? "\033[36m%s\033[0m %.1fs\n" : "%s %.1fs\n",
                  cut, seconds);
}

static void
draw_running(CxProgress *self)
{
    guint width = terminal_width(), n = MIN(self->running->len, RUNNING_LINES_MAX);

    for (guint i = 0; i < n; i++)
        draw_line(g_ptr_array_index(self->running, i), width);
    self->drawn = n;
    self->last_draw = g_get_monotonic_time();
    (void)fflush(stderr);
}

/* A line that stays. */
static void G_GNUC_PRINTF(2, 3) print_line(CxProgress *self, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);

    erase_running(self);
    if (self->cached > 0) {
        (void)fprintf(stderr, "%u step%s from the cache\n", self->cached,
                      self->cached == 1 ? "" : "s");
        self->cached = 0;
    }
    (void)fprintf(stderr, "%s\n", text);
}

static void
redraw(CxProgress *self)
{
    if (self->mode != MODE_TTY || g_get_monotonic_time() - self->last_draw < REDRAW_US)
        return;

    erase_running(self);
    draw_running(self);
}

/* ---- events ---------------------------------------------------------------------------------- */

static const char *
text(const json_t *payload, const char *key)
{
    const char *value = "";

    (void)cx_json_get_string(payload, key, &value, NULL);
    return value;
}

static char *
place_of(const json_t *payload)
{
    gint64 step = -1;

    (void)cx_json_get_int(payload, "step", &step, NULL);
    if (step < 0)
        return g_strdup_printf("%s %s", text(payload, "platform"), text(payload, "stage"));

    return g_strdup_printf("%s %s %" G_GINT64_FORMAT, text(payload, "platform"),
                           text(payload, "stage"), step);
}

static Running *
find_running(CxProgress *self, const char *place)
{
    for (guint i = 0; i < self->running->len; i++) {
        Running *running = g_ptr_array_index(self->running, i);

        if (strcmp(running->place, place) == 0)
            return running;
    }
    return NULL;
}

/* Control characters of a step must not steer the terminal: the line is shown up to its last
 * carriage return's text. */
static void
print_output(CxProgress *self, const Running *running, const char *line)
{
    const char *visible = strrchr(line, '\r');
    g_autofree char *safe = g_strdup(visible == NULL || visible[1] == '\0' ? line : visible + 1);

    for (char *c = safe; *c != '\0'; c++)
        if ((guchar)*c < ' ' && *c != '\t')
            *c = ' ';
    print_line(self, "%s | %s", running->place, safe);
}

static void
on_started(CxProgress *self, const json_t *payload, const char *place)
{
    Running *running = g_new0(Running, 1);

    running->place = g_strdup(place);
    running->title = g_strdup(text(payload, "title"));
    running->started = g_get_monotonic_time();
    running->partial[0] = g_string_new(NULL);
    running->partial[1] = g_string_new(NULL);
    g_ptr_array_add(self->running, running);
}

static void
on_log(CxProgress *self, const json_t *payload, const char *place)
{
    Running *running = find_running(self, place);
    gboolean is_stderr = strcmp(text(payload, "stream"), "stderr") == 0;
    GString *partial;
    char *newline;

    if (running == NULL)
        return;

    partial = running->partial[is_stderr ? 1 : 0];
    g_string_append(partial, text(payload, "data"));
    while ((newline = strchr(partial->str, '\n')) != NULL) {
        *newline = '\0';
        print_output(self, running, partial->str);
        g_string_erase(partial, 0, newline - partial->str + 1);
    }
}

static void
on_ended(CxProgress *self, const json_t *payload, const char *place, const char *type)
{
    Running *running = find_running(self, place);
    const char *reason = text(payload, "text"), *title = text(payload, "title");
    gint64 microseconds = 0;

    for (int i = 0; running != NULL && i < 2; i++)
        if (running->partial[i]->len > 0)
            print_output(self, running, running->partial[i]->str);

    (void)cx_json_get_int(payload, "microseconds", &microseconds, NULL);
    if (strcmp(type, "step-cached") == 0 && self->mode == MODE_TTY)
        self->cached++;
    else if (strcmp(type, "step-cached") == 0)
        print_line(self, "%s: %s: cached", place, title);
    else if (strcmp(type, "step-failed") == 0)
        print_line(self, "%s: %s: failed", place, title);
    else
        print_line(self, "%s: %s: done in %.3fs%s%s%s", place, title,
                   (double)microseconds / G_USEC_PER_SEC,
                   *reason == '\0' ? "" : " [not cached: ", reason, *reason == '\0' ? "" : "]");
    if (running != NULL)
        g_ptr_array_remove(self->running, running);
}

void
cx_progress_event(CxProgress *self, const json_t *payload)
{
    const char *type = text(payload, "type");
    g_autofree char *place = place_of(payload);

    if (self->mode == MODE_JSON) {
        g_autofree char *line = cx_json_canonical(payload);

        (void)printf("%s\n", line);
        (void)fflush(stdout);
        return;
    }

    if (strcmp(type, "step-started") == 0)
        on_started(self, payload, place);
    else if (strcmp(type, "step-log") == 0)
        on_log(self, payload, place);
    else if (g_str_has_prefix(type, "step-"))
        on_ended(self, payload, place, type);
    redraw(self);
}

/* ---- life ------------------------------------------------------------------------------------ */

CxProgress *
cx_progress_new(const char *mode, GError **error)
{
    static const struct {
        const char *name;
        Mode mode;
    } modes[] = {
        {"plain", MODE_PLAIN},
        {"tty",   MODE_TTY  },
        {"json",  MODE_JSON },
    };
    const char *wanted = mode == NULL || strcmp(mode, "auto") == 0
                             ? (isatty(STDERR_FILENO) ? "tty" : "plain")
                             : mode;

    for (gsize i = 0; i < G_N_ELEMENTS(modes); i++)
        if (strcmp(modes[i].name, wanted) == 0) {
            CxProgress *self = g_new0(CxProgress, 1);

            self->mode = modes[i].mode;
            self->running = g_ptr_array_new_with_free_func(running_free);
            return self;
        }

    g_set_error(error, CX_CLI_USAGE, 0, "--progress: \"%s\" is not auto, plain, tty or json", mode);
    return NULL;
}

gboolean
cx_progress_is_json(const CxProgress *self)
{
    return self->mode == MODE_JSON;
}

void
cx_progress_free(CxProgress *self)
{
    if (self == NULL)
        return;

    erase_running(self);
    if (self->cached > 0)
        (void)fprintf(stderr, "%u step%s from the cache\n", self->cached,
                      self->cached == 1 ? "" : "s");
    (void)fflush(stderr);
    g_ptr_array_unref(self->running);
    g_free(self);
}
