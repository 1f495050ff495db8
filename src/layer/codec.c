/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/codec.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/codec-private.h"

/* Spliced at once between two looks at the cancellable. */
#define SPLICE_PIECE (16 * 1024 * 1024)

static const char *const names[] = {
    [CX_COMPRESSION_NONE] = "none",
    [CX_COMPRESSION_GZIP] = "gzip",
    [CX_COMPRESSION_ZSTD] = "zstd",
};
G_STATIC_ASSERT(G_N_ELEMENTS(names) == CX_N_COMPRESSIONS);

gboolean
cx_compression_parse(const char *name, CxCompression *out_compression)
{
    for (guint i = 0; i < CX_N_COMPRESSIONS; i++) {
        if (strcmp(names[i], name) == 0) {
            *out_compression = (CxCompression)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *
cx_compression_name(CxCompression compression)
{
    g_return_val_if_fail(compression < CX_N_COMPRESSIONS, NULL);

    return names[compression];
}

CxCompression
cx_compression_detect(const void *data, gsize size)
{
    const guint8 *bytes = data;

    if (size >= 3 && memcmp(bytes, "\x1f\x8b\x08", 3) == 0)
        return CX_COMPRESSION_GZIP;
    if (size >= 4 && memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0)
        return CX_COMPRESSION_ZSTD;
    if (size >= 4 && (bytes[0] & 0xf0) == 0x50 && memcmp(bytes + 1, "\x2a\x4d\x18", 3) == 0)
        return CX_COMPRESSION_ZSTD; /* a skippable frame comes first */

    return CX_COMPRESSION_NONE;
}

/* ---- source and drain ------------------------------------------------------------------------ */

gboolean
cx_source_fill(CxSource *self, GError **error)
{
    gsize want = (gsize)MIN(CX_SOURCE_BUFFER, self->end - self->offset);
    gssize n;

    if (self->available > 0 || want == 0)
        return TRUE;
    if (cx_check_cancelled(self->cancellable, error))
        return FALSE;

    n = cx_pread_full(self->fd, self->buffer, want, self->offset, error);
    if (n < 0)
        return FALSE;
    if ((gsize)n < want)
        return cx_throw(error, CX_ERROR_MISMATCH, "file shrank while it was read");
    if (self->raw_sink != NULL && !cx_sink_write(self->raw_sink, self->buffer, want, error))
        return FALSE;

    self->offset += want;
    self->next = self->buffer;
    self->available = want;
    return TRUE;
}

guint64
cx_source_position(const CxSource *self)
{
    return self->offset - self->available;
}

static gboolean
throw_limit(guint64 limit, GError **error)
{
    return cx_throw(error, CX_ERROR_LIMIT, "expands to more than %" G_GUINT64_FORMAT " bytes",
                    limit);
}

gboolean
cx_drain_write(CxDrain *self, const void *data, gsize size, GError **error)
{
    if (size > self->limit - self->written)
        return throw_limit(self->limit, error);

    self->written += size;
    return cx_sink_write(self->sink, data, size, error);
}

/* ---- decompressing --------------------------------------------------------------------------- */

static gboolean
pass_through(CxSource *source, CxDrain *drain, GError **error)
{
    for (;;) {
        if (!cx_source_fill(source, error))
            return FALSE;
        if (source->available == 0)
            return TRUE;
        if (!cx_drain_write(drain, source->next, source->available, error))
            return FALSE;
        source->available = 0;
    }
}

/* Plain bytes that only the sink wants to see need not come through here. */
static gboolean
splice_through(CxSource *source, CxDrain *drain, GError **error)
{
    if (source->end - source->offset > drain->limit)
        return throw_limit(drain->limit, error);

    while (source->offset < source->end) {
        guint64 piece = MIN(SPLICE_PIECE, source->end - source->offset);

        if (cx_check_cancelled(source->cancellable, error) ||
            !cx_sink_splice(drain->sink, source->fd, source->offset, piece, error))
            return FALSE;
        source->offset += piece;
    }
    return TRUE;
}

gboolean
cx_decompress(int fd,
              guint64 offset,
              guint64 size,
              CxCompression compression,
              guint64 limit,
              CxSink *sink,
              CxSink *raw_sink,
              CxCancel *cancellable,
              GError **error)
{
    CxDrain drain = {.sink = sink, .limit = limit};
    CxSource source = {
        .fd = fd,
        .offset = offset,
        .end = offset + size,
        .raw_sink = raw_sink,
        .cancellable = cancellable,
    };
    g_autofree guint8 *buffer = NULL;

    g_return_val_if_fail(sink != NULL && compression < CX_N_COMPRESSIONS, FALSE);
    g_return_val_if_fail(size <= G_MAXINT64 && offset <= G_MAXINT64 - size, FALSE);

    if (compression == CX_COMPRESSION_NONE && raw_sink == NULL)
        return splice_through(&source, &drain, error);

    buffer = g_malloc(CX_SOURCE_BUFFER);
    source.buffer = buffer;
    switch (compression) {
    case CX_COMPRESSION_GZIP:
        return cx_gzip_decode(&source, &drain, error);
    case CX_COMPRESSION_ZSTD:
        return cx_zstd_decode(&source, &drain, error);
    case CX_COMPRESSION_NONE:
    case CX_N_COMPRESSIONS:
    default:
        return pass_through(&source, &drain, error);
    }
}

/* ---- compressing ----------------------------------------------------------------------------- */

static const CxEncoderOps *const encoders[] = {
    [CX_COMPRESSION_NONE] = NULL, /* the encoder's sink hands everything on */
    [CX_COMPRESSION_GZIP] = &cx_gzip_encoder_ops,
    [CX_COMPRESSION_ZSTD] = &cx_zstd_encoder_ops,
};
G_STATIC_ASSERT(G_N_ELEMENTS(encoders) == CX_N_COMPRESSIONS);

struct CxEncoder {
    CxSink sink;
    CxSink *next; /* borrowed */
    const CxEncoderOps *ops;
    gpointer state;
    guint8 *piece; /* (owned) CX_ENCODER_PIECE bytes */
    gsize filled;
};

/* Sends on a whole piece. */
static gboolean
flush_full_piece(CxEncoder *self, GError **error)
{
    if (self->filled < CX_ENCODER_PIECE)
        return TRUE;

    self->filled = 0;
    return self->ops->write(self->state, self->piece, CX_ENCODER_PIECE, error);
}

static gboolean
encoder_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    CxEncoder *self = (CxEncoder *)sink;
    const guint8 *next = data;

    while (size > 0) {
        gsize part = MIN(size, CX_ENCODER_PIECE - self->filled);

        if (part == CX_ENCODER_PIECE) { /* a whole piece needs no copy */
            if (!self->ops->write(self->state, next, part, error))
                return FALSE;
        } else {
            memcpy(self->piece + self->filled, next, part);
            self->filled += part;
            if (!flush_full_piece(self, error))
                return FALSE;
        }
        next += part;
        size -= part;
    }
    return TRUE;
}

static gboolean
encoder_splice(CxSink *sink, int fd, guint64 offset, guint64 size, GError **error)
{
    CxEncoder *self = (CxEncoder *)sink;

    while (size > 0) {
        gsize part = (gsize)MIN(size, CX_ENCODER_PIECE - self->filled);
        gssize n = cx_pread_full(fd, self->piece + self->filled, part, offset, error);

        if (n < 0)
            return FALSE;
        if ((gsize)n < part)
            return cx_throw(error, CX_ERROR_MISMATCH, "file shrank while it was read");
        self->filled += part;
        if (!flush_full_piece(self, error))
            return FALSE;
        offset += part;
        size -= part;
    }
    return TRUE;
}

static gboolean
hand_on_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    return cx_sink_write(((CxEncoder *)sink)->next, data, size, error);
}

static gboolean
hand_on_splice(CxSink *sink, int fd, guint64 offset, guint64 size, GError **error)
{
    return cx_sink_splice(((CxEncoder *)sink)->next, fd, offset, size, error);
}

CxEncoder *
cx_encoder_new(CxCompression compression, CxSink *next, GError **error)
{
    g_autoptr(CxEncoder) self = NULL;

    g_return_val_if_fail(next != NULL && compression < CX_N_COMPRESSIONS, NULL);

    self = g_new0(CxEncoder, 1);
    self->next = next;
    self->ops = encoders[compression];
    if (self->ops == NULL) {
        self->sink = (CxSink){.write = hand_on_write, .splice = hand_on_splice};
        return g_steal_pointer(&self);
    }
    self->sink = (CxSink){.write = encoder_write, .splice = encoder_splice};
    self->piece = g_malloc(CX_ENCODER_PIECE);
    self->state = self->ops->open(next, error);
    if (self->state == NULL)
        return NULL;

    return g_steal_pointer(&self);
}

CxSink *
cx_encoder_get_sink(CxEncoder *self)
{
    return &self->sink;
}

gboolean
cx_encoder_finish(CxEncoder *self, GError **error)
{
    if (self->ops == NULL)
        return TRUE;

    if (self->filled > 0 && !self->ops->write(self->state, self->piece, self->filled, error))
        return FALSE;

    self->filled = 0;
    return self->ops->finish(self->state, error);
}

void
cx_encoder_free(CxEncoder *self)
{
    if (self == NULL)
        return;

    if (self->state != NULL)
        self->ops->free(self->state);
    g_free(self->piece);
    g_free(self);
}
