/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cancel.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

typedef struct {
    guint id;
    CxCancelCallback callback;
    gpointer user;
} Connection;

struct CxCancel {
    gatomicrefcount refs;
    gint triggered;      /* atomic */
    GMutex lock;         /* held while callbacks run, which is what lets disconnect wait for them */
    GArray *connections; /* (owned) of Connection; under lock */
    guint last_id;       /* under lock */
    int fd;              /* owned; -1 until somebody asks; under lock */
};

CxCancel *
cx_cancel_new(void)
{
    CxCancel *self = g_new0(CxCancel, 1);

    g_atomic_ref_count_init(&self->refs);
    g_mutex_init(&self->lock);
    self->connections = g_array_new(FALSE, FALSE, sizeof(Connection));
    self->fd = -1;
    return self;
}

CxCancel *
cx_cancel_ref(CxCancel *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
cx_cancel_unref(CxCancel *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
        return;

    cx_clear_fd(&self->fd);
    g_array_unref(self->connections);
    g_mutex_clear(&self->lock);
    g_free(self);
}

static void
make_readable(int fd)
{
    const guint64 one = 1;

    if (fd >= 0)
        (void)!write(fd, &one, sizeof one);
}

void
cx_cancel_trigger(CxCancel *self)
{
    if (self == NULL || !g_atomic_int_compare_and_exchange(&self->triggered, FALSE, TRUE))
        return;

    g_mutex_lock(&self->lock);
    make_readable(self->fd);
    for (guint i = 0; i < self->connections->len; i++) {
        const Connection *connection = &g_array_index(self->connections, Connection, i);

        connection->callback(connection->user);
    }
    g_mutex_unlock(&self->lock);
}

gboolean
cx_cancel_is_triggered(const CxCancel *self)
{
    return self != NULL && g_atomic_int_get(&self->triggered);
}

guint
cx_cancel_connect(CxCancel *self, CxCancelCallback callback, gpointer user)
{
    Connection connection = {.callback = callback, .user = user};

    if (self == NULL)
        return 0;

    /* Whoever triggers sets the flag before it takes the lock: a connection made before that is
     * seen by it, one made after sees the flag. */
    g_mutex_lock(&self->lock);
    connection.id = ++self->last_id;
    if (g_atomic_int_get(&self->triggered))
        callback(user);
    else
        g_array_append_val(self->connections, connection);
    g_mutex_unlock(&self->lock);
    return connection.id;
}

void
cx_cancel_disconnect(CxCancel *self, guint id)
{
    if (self == NULL)
        return;

    g_mutex_lock(&self->lock);
    for (guint i = 0; i < self->connections->len; i++)
        if (g_array_index(self->connections, Connection, i).id == id) {
            g_array_remove_index(self->connections, i);
            break;
        }
    g_mutex_unlock(&self->lock);
}

int
cx_cancel_get_fd(CxCancel *self)
{
    int fd;

    if (self == NULL)
        return -1;

    g_mutex_lock(&self->lock);
    if (self->fd < 0) {
        self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (g_atomic_int_get(&self->triggered))
            make_readable(self->fd);
    }
    fd = self->fd;
    g_mutex_unlock(&self->lock);
    return fd;
}
