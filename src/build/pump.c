/* SPDX-License-Identifier: Apache-2.0 */
#include "build/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#define PIPE_BYTES (256 * 1024)
#define CHUNK_BYTES (64 * 1024)
#define LINE_SEPARATOR "; "

typedef struct {
    int reader;    /* owned */
    int writer;    /* owned */
    GString *tail; /* (owned) at most 2 * CX_PUMP_TAIL bytes */
    char held[4];  /* the first bytes of a UTF-8 character whose rest has not come yet */
    gsize n_held;
} Stream;

struct CxPump {
    Stream streams[2]; /* stdout, stderr */
    int log_dir_fd;    /* borrowed */
    char *log_name;    /* (owned) */
    int log_fd;        /* owned; -1 until something was printed */
    gboolean log_full;
    CxPumpListener listener;
    gpointer user;
    char *chunk; /* (owned) CHUNK_BYTES */
};

CxPump *
cx_pump_new(
    int log_dir_fd, const char *log_name, CxPumpListener listener, gpointer user, GError **error)
{
    g_autoptr(CxPump) self = g_new0(CxPump, 1);

    self->log_dir_fd = log_dir_fd;
    self->log_name = g_strdup(log_name);
    self->log_fd = -1;
    self->listener = listener;
    self->user = user;
    self->chunk = g_malloc(CHUNK_BYTES);
    for (int i = 0; i < 2; i++) {
        self->streams[i] = (Stream){.reader = -1, .writer = -1, .tail = g_string_new(NULL)};
    }
    for (int i = 0; i < 2; i++) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
            return cx_throw_errno_null(error, "pipe");
        self->streams[i].reader = fds[0];
        self->streams[i].writer = fds[1];
        (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    }
    return g_steal_pointer(&self);
}

void
cx_pump_free(CxPump *self)
{
    if (self == NULL)
        return;

    for (int i = 0; i < 2; i++) {
        cx_clear_fd(&self->streams[i].reader);
        cx_clear_fd(&self->streams[i].writer);
        g_string_free(self->streams[i].tail, TRUE);
    }
    cx_clear_fd(&self->log_fd);
    g_free(self->log_name);
    g_free(self->chunk);
    g_free(self);
}

int
cx_pump_get_writer(const CxPump *self, gboolean is_stderr)
{
    return self->streams[is_stderr ? 1 : 0].writer;
}

void
cx_pump_close_writers(CxPump *self)
{
    for (int i = 0; i < 2; i++)
        cx_clear_fd(&self->streams[i].writer);
}

/* ---- carrying -------------------------------------------------------------------------------- */

static void
write_log(CxPump *self, const char *data, gsize size)
{
    if (self->log_fd < 0 && !self->log_full)
        self->log_fd = openat(self->log_dir_fd, self->log_name,
                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->log_fd < 0 || !cx_write_all(self->log_fd, data, size, NULL))
        self->log_full = TRUE;
}

static void
keep_tail(GString *tail, const char *data, gsize size)
{
    if (size > CX_PUMP_TAIL) {
        data += size - CX_PUMP_TAIL;
        size = CX_PUMP_TAIL;
    }
    if (tail->len + size > 2 * CX_PUMP_TAIL)
        g_string_erase(tail, 0, (gssize)(tail->len + size - CX_PUMP_TAIL));
    g_string_append_len(tail, data, (gssize)size);
}

/* How many bytes at the end begin a UTF-8 character without finishing it. */
static gsize
unfinished(const char *data, gsize size)
{
    for (gsize back = 1; back <= MIN(size, 3); back++) {
        guchar c = (guchar)data[size - back];

        if ((c & 0xc0) == 0x80)
            continue;
        if (c >= 0xc0 && back < (gsize)(c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2))
            return back;
        break;
    }
    return 0;
}

/* Whoever listens gets whole characters, so that cutting at a read is never seen as bad UTF-8. */
static void
tell(CxPump *self, int i, const char *data, gsize size)
{
    Stream *stream = &self->streams[i];
    gsize keep;

    while (stream->n_held > 0 && size > 0) {
        gsize take = MIN(size, sizeof stream->held - stream->n_held);

        memcpy(stream->held + stream->n_held, data, take);
        stream->n_held += take;
        data += take;
        size -= take;
        keep = unfinished(stream->held, stream->n_held);
        if (keep < stream->n_held)
            self->listener(self->user, stream->held, stream->n_held - keep, i == 1);
        memmove(stream->held, stream->held + stream->n_held - keep, keep);
        stream->n_held = keep;
    }
    if (size == 0)
        return;

    keep = unfinished(data, size);
    memcpy(stream->held, data + size - keep, keep);
    stream->n_held = keep;
    if (size > keep)
        self->listener(self->user, data, size - keep, i == 1);
}

/* Takes what is in the pipe now; `once` leaves the rest for the next round, so one stream does not
 * starve the other. */
static gboolean
carry(CxPump *self, int i, gboolean once)
{
    Stream *stream = &self->streams[i];

    while (stream->reader >= 0) {
        ssize_t n = read(stream->reader, self->chunk, CHUNK_BYTES);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        if (n == 0) {
            cx_clear_fd(&stream->reader);
            return FALSE;
        }
        /* The first output makes a big pipe worth its memory. */
        if (stream->tail->len == 0)
            (void)fcntl(stream->reader, F_SETPIPE_SZ, PIPE_BYTES);
        write_log(self, self->chunk, (gsize)n);
        keep_tail(stream->tail, self->chunk, (gsize)n);
        tell(self, i, self->chunk, (gsize)n);
        if (once)
            return TRUE;
    }
    return FALSE;
}

gboolean
cx_pump_run(CxPump *self, CxStepProcess *process, CxCancel *cancellable, GError **error)
{
    int cancel_fd = cx_cancel_get_fd(cancellable);
    gboolean ended = FALSE, killed = FALSE;

    while (!ended) {
        struct pollfd fds[4] = {
            {.fd = self->streams[0].reader,         .events = POLLIN},
            {.fd = self->streams[1].reader,         .events = POLLIN},
            {.fd = cx_step_process_get_fd(process), .events = POLLIN},
            {.fd = killed ? -1 : cancel_fd,         .events = POLLIN},
        };

        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[3].revents != 0) {
            cx_step_process_kill(process);
            killed = TRUE;
        }
        for (int i = 0; i < 2; i++)
            if (fds[i].revents != 0)
                (void)carry(self, i, TRUE);
        ended = fds[2].revents != 0;
    }

    /* Everything it wrote before it ended is in the pipes now; who else holds them open does not
     * matter. */
    for (int i = 0; i < 2 && !killed; i++) {
        Stream *stream = &self->streams[i];

        (void)carry(self, i, FALSE);
        if (stream->n_held > 0)
            self->listener(self->user, stream->held, stream->n_held, i == 1);
    }
    return !cx_check_cancelled(cancellable, error);
}

gboolean
cx_pump_has_log(const CxPump *self)
{
    return self->log_fd >= 0;
}

/* ---- the tail -------------------------------------------------------------------------------- */

static void
append_line(GString *out, const char *line)
{
    if (out->len > 0)
        g_string_append(out, LINE_SEPARATOR);
    for (const char *c = line; *c != '\0'; c++)
        g_string_append_c(out, (guchar)*c < ' ' || *c == 0x7f ? ' ' : *c);
}

char *
cx_pump_dup_tail(const CxPump *self)
{
    const GString *tail =
        self->streams[1].tail->len > 0 ? self->streams[1].tail : self->streams[0].tail;
    gsize skip = tail->len > CX_PUMP_TAIL ? tail->len - CX_PUMP_TAIL : 0;
    g_autofree char *valid = cx_utf8_make_valid(tail->str + skip, tail->len - skip);
    g_auto(GStrv) lines = g_strsplit(valid, "\n", -1);
    g_autoptr(GString) out = g_string_new(NULL);

    /* A first line that was cut is dropped when there are others. */
    for (guint i = skip > 0 && lines[0] != NULL && lines[1] != NULL ? 1 : 0; lines[i] != NULL;
         i++) {
        g_strstrip(lines[i]);
        if (*lines[i] != '\0')
            append_line(out, lines[i]);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
