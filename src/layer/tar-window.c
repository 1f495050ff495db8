/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-window.h"

#include "base/error.h"
#include "base/fd.h"

void
cx_tar_window_init(CxTarWindow *self, int fd, guint64 end)
{
    self->fd = fd;
    self->end = end;
    self->start = 0;
    self->size = 0;
}

gboolean
cx_tar_throw_truncated(GError **error)
{
    return cx_throw(error, CX_ERROR_MISMATCH, "archive is truncated");
}

/* Fills the buffer from offset on. */
static gboolean
slide(CxTarWindow *self, guint64 offset, GError **error)
{
    gssize n;

    self->size = 0;
    n = cx_pread_full(self->fd, self->buffer, (gsize)MIN(CX_TAR_WINDOW, self->end - offset), offset,
                      error);
    if (n < 0)
        return FALSE;

    self->start = offset;
    self->size = (gsize)n;
    return TRUE;
}

const void *
cx_tar_window_peek(CxTarWindow *self, guint64 offset, gsize size, GError **error)
{
    g_return_val_if_fail(size <= CX_TAR_WINDOW, NULL);

    if (offset > self->end || self->end - offset < size) {
        cx_tar_throw_truncated(error);
        return NULL;
    }
    if (offset >= self->start && offset + size <= self->start + self->size)
        return self->buffer + (offset - self->start);
    if (!slide(self, offset, error))
        return NULL;
    if (self->size < size) {
        cx_tar_throw_truncated(error);
        return NULL;
    }
    return self->buffer;
}

gboolean
cx_tar_window_append(CxTarWindow *self, guint64 offset, gsize size, GString *text, GError **error)
{
    while (size > 0) {
        gsize part = MIN(size, CX_TAR_WINDOW);
        const char *bytes = cx_tar_window_peek(self, offset, part, error);

        if (bytes == NULL)
            return FALSE;

        g_string_append_len(text, bytes, (gssize)part);
        offset += part;
        size -= part;
    }
    return TRUE;
}
