/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/sink.h"

#include "base/error.h"
#include "base/fd.h"

#define COPY_BUFFER (128 * 1024)

gboolean
cx_sink_write(CxSink *self, const void *data, gsize size, GError **error)
{
    g_return_val_if_fail(self != NULL && self->write != NULL, FALSE);

    return size == 0 || self->write(self, data, size, error);
}

static gboolean
copy_through_memory(CxSink *self, int fd, guint64 offset, guint64 size, GError **error)
{
    g_autofree char *buffer = g_malloc((gsize)MIN(size, COPY_BUFFER));

    while (size > 0) {
        gsize want = (gsize)MIN(size, COPY_BUFFER);
        gssize n = cx_pread_full(fd, buffer, want, offset, error);

        if (n < 0)
            return FALSE;
        if ((gsize)n < want)
            return cx_throw(error, CX_ERROR_MISMATCH, "file shrank while it was read");
        if (!self->write(self, buffer, want, error))
            return FALSE;
        offset += want;
        size -= want;
    }
    return TRUE;
}

gboolean
cx_sink_splice(CxSink *self, int fd, guint64 offset, guint64 size, GError **error)
{
    g_return_val_if_fail(self != NULL && self->write != NULL, FALSE);

    if (size == 0)
        return TRUE;

    return self->splice != NULL ? self->splice(self, fd, offset, size, error)
                                : copy_through_memory(self, fd, offset, size, error);
}

/* ---- CxFdSink -------------------------------------------------------------------------------- */

static gboolean
fd_sink_write(CxSink *base, const void *data, gsize size, GError **error)
{
    CxFdSink *self = (CxFdSink *)base;

    if (!cx_write_all(self->fd, data, size, error))
        return FALSE;

    self->written += size;
    return TRUE;
}

static gboolean
fd_sink_splice(CxSink *base, int fd, guint64 offset, guint64 size, GError **error)
{
    CxFdSink *self = (CxFdSink *)base;

    if (!cx_copy_range(fd, offset, self->fd, size, error))
        return FALSE;

    self->written += size;
    return TRUE;
}

CxFdSink
cx_fd_sink(int fd)
{
    return (CxFdSink){
        .base = {.write = fd_sink_write, .splice = fd_sink_splice},
          .fd = fd
    };
}
