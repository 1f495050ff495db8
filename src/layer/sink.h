/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where a stream goes: a file, a hash, a compressor, a layer being ingested.  Embed it as first
 * member. */
typedef struct CxSink CxSink;
struct CxSink {
    /* Takes all of data or fails. */
    gboolean (*write)(CxSink *self, const void *data, gsize size, GError **error);
    /* Optional: takes size bytes of fd from offset without passing them through the caller.  NULL:
     * read and write. */
    gboolean (*splice)(CxSink *self, int fd, guint64 offset, guint64 size, GError **error);
};

gboolean cx_sink_write(CxSink *self, const void *data, gsize size, GError **error);
/* CX_ERROR_MISMATCH: fd ended early ("file shrank while it was read"). */
gboolean cx_sink_splice(CxSink *self, int fd, guint64 offset, guint64 size, GError **error);

/* A sink that writes to a borrowed fd (splice by cx_copy_range). */
typedef struct {
    CxSink base;
    int fd;
    guint64 written;
} CxFdSink;

CxFdSink cx_fd_sink(int fd);

G_END_DECLS
