/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "layer/codec.h"

G_BEGIN_DECLS

/* What the formats share: a source of stored bytes and a drain for plain ones. */

/* Bytes read at once.  No larger: see gzip.c, "An old library". */
#define CX_SOURCE_BUFFER (64 * 1024)

typedef struct {
    int fd;         /* borrowed */
    guint64 offset; /* of the first byte not read yet */
    guint64 end;
    CxSink *raw_sink;      /* borrowed; may be NULL */
    CxCancel *cancellable; /* borrowed; may be NULL */
    const guint8 *next;    /* read, but not used yet: a place in buffer */
    gsize available;
    guint8 *buffer; /* (owned) CX_SOURCE_BUFFER bytes */
} CxSource;

/* Reads more when nothing is available; at the end nothing still is.  Tells the raw sink. */
gboolean cx_source_fill(CxSource *self, GError **error);
/* Where in the file the next byte stands, for messages. */
guint64 cx_source_position(const CxSource *self);

typedef struct {
    CxSink *sink; /* borrowed */
    guint64 written;
    guint64 limit;
} CxDrain;

gboolean cx_drain_write(CxDrain *self, const void *data, gsize size, GError **error);

/* Takes the whole source apart. */
gboolean cx_gzip_decode(CxSource *source, CxDrain *drain, GError **error);
gboolean cx_zstd_decode(CxSource *source, CxDrain *drain, GError **error);

/* One way to compress.  Input comes in pieces of CX_ENCODER_PIECE but for the last one, however the
 * caller cut it: the libraries' output depends on it. */
#define CX_ENCODER_PIECE (256 * 1024)

typedef struct {
    gpointer (*open)(CxSink *next, GError **error);
    gboolean (*write)(gpointer state, const guint8 *piece, gsize size, GError **error);
    gboolean (*finish)(gpointer state, GError **error);
    void (*free)(gpointer state);
} CxEncoderOps;

extern const CxEncoderOps cx_gzip_encoder_ops;
extern const CxEncoderOps cx_zstd_encoder_ops;

G_END_DECLS
