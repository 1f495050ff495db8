/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "daemon"
#include "daemon/connection.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

#define READ_BYTES (64 * 1024)
/* How long a peer may leave a line unread. */
#define SEND_TIMEOUT_S 30

/* Phases: READING (main loop only) -> WORKING (a worker sends, the main loop watches for the peer's
 * end) -> over.  fd, source and phase belong to the main loop; the worker only sends on fd, which
 * stays open until finish. */
struct CxConnection {
    int fd; /* owned */
    gsize request_max;
    CxConnectionEvents events;
    CxIdentity *identity;  /* (owned) */
    CxCancel *cancellable; /* (owned) */
    GByteArray *input;     /* (owned) NULL once the request is whole */
    CxRequest request;
    guint source; /* 0: none */
    gboolean working;
};

static void
connection_free(CxConnection *self)
{
    self->events.closed(self->events.user, self);
    if (self->source != 0)
        g_source_remove(self->source);
    cx_clear_fd(&self->fd);
    cx_request_clear(&self->request);
    g_clear_pointer(&self->input, g_byte_array_unref);
    g_clear_pointer(&self->identity, cx_identity_unref);
    g_clear_pointer(&self->cancellable, cx_cancel_unref);
    g_free(self);
}

/* ---- sending --------------------------------------------------------------------------------- */

static gboolean
send_all(int fd, const char *data, gsize size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        data += n;
        size -= (gsize)n;
    }
    return TRUE;
}

void
cx_connection_send(CxConnection *self, const char *line)
{
    if (cx_cancel_is_triggered(self->cancellable))
        return;
    if (!send_all(self->fd, line, strlen(line)))
        cx_cancel_trigger(self->cancellable);
}

static gboolean
on_finished(gpointer data)
{
    connection_free(data);
    return G_SOURCE_REMOVE;
}

void
cx_connection_finish(CxConnection *self)
{
    /* What the peer still sends must not turn our close into a reset that eats the answer. */
    (void)shutdown(self->fd, SHUT_WR);
    (void)g_idle_add_full(G_PRIORITY_DEFAULT, on_finished, self, NULL);
}

/* ---- watching -------------------------------------------------------------------------------- */

/* Only a hang-up counts: a peer that shut down its sending side still waits for the answer. */
static gboolean
on_hang_up(gint fd, GIOCondition condition, gpointer data)
{
    CxConnection *self = data;

    cx_debug("the peer went away, cancelling \"%s\"", self->request.command);
    self->source = 0;
    cx_cancel_trigger(self->cancellable);
    return G_SOURCE_REMOVE;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
refuse(CxConnection *self, const GError *error)
{
    g_autofree char *line = cx_message_format_error(error);
    struct timeval brief = {.tv_sec = 1};

    (void)setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
    (void)send_all(self->fd, line, strlen(line));
    (void)shutdown(self->fd, SHUT_WR);
    connection_free(self);
}

static gboolean
accept_request(CxConnection *self, gsize size)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = cx_request_parse((const char *)self->input->data, size, &self->request, &error);

    g_clear_pointer(&self->input, g_byte_array_unref);
    self->source = 0;
    if (!ok) {
        refuse(self, error);
        return G_SOURCE_REMOVE;
    }
    self->working = TRUE;
    self->source = g_unix_fd_add(self->fd, G_IO_HUP | G_IO_ERR, on_hang_up, self);
    self->events.request(self->events.user, self);
    return G_SOURCE_REMOVE;
}

static gboolean
on_readable(gint fd, GIOCondition condition, gpointer data)
{
    CxConnection *self = data;
    guint8 buffer[READ_BYTES];
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    const guint8 *newline;
    gsize before = self->input->len;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        if (before > 0)
            cx_info("a connection closed before its request was whole, dropped");
        self->source = 0;
        connection_free(self);
        return G_SOURCE_REMOVE;
    }

    newline = memchr(buffer, '\n', (gsize)n);
    g_byte_array_append(self->input, buffer, (guint)n);
    if (newline != NULL && before + (gsize)(newline - buffer) <= self->request_max)
        return accept_request(self, before + (gsize)(newline - buffer));
    if (newline != NULL || self->input->len > self->request_max) {
        g_autoptr(GError) error = NULL;

        cx_throw(&error, CX_ERROR_LIMIT, "request is longer than %" G_GSIZE_FORMAT " bytes",
                 self->request_max);
        self->source = 0;
        refuse(self, error);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

CxConnection *
cx_connection_new(int take_fd, gsize request_max, const CxConnectionEvents *events, GError **error)
{
    struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};
    CxConnection *self;
    CxIdentity *identity = cx_identity_of_peer(take_fd, error);

    if (identity == NULL) {
        cx_clear_fd(&take_fd);
        return NULL;
    }
    (void)setsockopt(take_fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);

    self = g_new0(CxConnection, 1);
    self->fd = take_fd;
    self->request_max = request_max;
    self->events = *events;
    self->identity = identity;
    self->cancellable = cx_cancel_new();
    self->input = g_byte_array_new();
    self->source = g_unix_fd_add(take_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, self);
    return self;
}

void
cx_connection_drop(CxConnection *self)
{
    g_assert(!self->working);

    connection_free(self);
}

gboolean
cx_connection_is_working(const CxConnection *self)
{
    return self->working;
}

const CxRequest *
cx_connection_get_request(const CxConnection *self)
{
    return &self->request;
}

CxIdentity *
cx_connection_get_identity(CxConnection *self)
{
    return self->identity;
}

CxCancel *
cx_connection_get_cancellable(CxConnection *self)
{
    return self->cancellable;
}
