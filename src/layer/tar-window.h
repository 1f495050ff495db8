/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A bounds-checked view of an archive in a file, read a little at a time: enough that the headers
 * of a row of small files come with one read, not so much that file contents are copied in vain. */
#define CX_TAR_WINDOW (16 * 1024)

typedef struct {
    int fd; /* borrowed */
    guint64 end;
    guint64 start; /* what of the file is in buffer */
    gsize size;
    char buffer[CX_TAR_WINDOW];
} CxTarWindow;

void cx_tar_window_init(CxTarWindow *self, int fd, guint64 end);

/* size bytes at offset (CX_TAR_WINDOW at most), borrowed until the next call.  CX_ERROR_MISMATCH:
 * beyond the end. */
const void *cx_tar_window_peek(CxTarWindow *self, guint64 offset, gsize size, GError **error);

/* Appends size bytes at offset to text. */
gboolean cx_tar_window_append(
    CxTarWindow *self, guint64 offset, gsize size, GString *text, GError **error);

gboolean cx_tar_throw_truncated(GError **error);

G_END_DECLS
