/* SPDX-License-Identifier: Apache-2.0 */
/* Zstandard (RFC 8878) by libzstd. */
#include <zstd.h>

#include "base/error.h"
#include "layer/codec-private.h"

#define LEVEL 3
#define WINDOW_LOG_MAX                                                                             \
    27 /* 128 MiB: what "zstd --long" makes at most, and what decoding may cost us */
#define OUTPUT_BUFFER (256 * 1024)

typedef ZSTD_DCtx Decoder;
typedef ZSTD_CCtx Compressor;

static void
free_decoder(ZSTD_DCtx *decoder)
{
    (void)ZSTD_freeDCtx(decoder);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Decoder, free_decoder)

static void
free_compressor(ZSTD_CCtx *compressor)
{
    (void)ZSTD_freeCCtx(compressor);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Compressor, free_compressor)

/* ---- decoding -------------------------------------------------------------------------------- */

/* One call of the library.  *out_pending is 0 when a frame is complete. */
static gboolean
decode_some(ZSTD_DCtx *decoder,
            CxSource *source,
            CxDrain *drain,
            guint8 *output,
            gsize *out_pending,
            GError **error)
{
    ZSTD_inBuffer in = {source->next, source->available, 0};
    ZSTD_outBuffer out = {output, OUTPUT_BUFFER, 0};
    gsize pending = ZSTD_decompressStream(decoder, &out, &in);

    if (ZSTD_isError(pending))
        return cx_throw(error, CX_ERROR_MISMATCH,
                        "zstd data is damaged at offset %" G_GUINT64_FORMAT ": %s",
                        cx_source_position(source), ZSTD_getErrorName(pending));
    if (source->available == 0 && out.pos == 0 && pending != 0)
        return cx_throw(error, CX_ERROR_MISMATCH,
                        "zstd data is truncated at offset %" G_GUINT64_FORMAT,
                        cx_source_position(source));

    source->next += in.pos;
    source->available -= in.pos;
    *out_pending = pending;
    return out.pos == 0 || cx_drain_write(drain, output, out.pos, error);
}

gboolean
cx_zstd_decode(CxSource *source, CxDrain *drain, GError **error)
{
    g_autoptr(Decoder) decoder = ZSTD_createDCtx();
    g_autofree guint8 *output = g_malloc(OUTPUT_BUFFER);
    gsize pending = 1; /* no data at all is no frame */

    if (decoder == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(decoder, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return cx_throw(error, CX_ERROR_INTERNAL, "zstd: no decoder");

    for (;;) {
        if (!cx_source_fill(source, error))
            return FALSE;
        if (source->available == 0 && pending == 0)
            return TRUE;
        if (!decode_some(decoder, source, drain, output, &pending, error))
            return FALSE;
    }
}

/* ---- encoding -------------------------------------------------------------------------------- */

typedef struct {
    CxSink *next;    /* borrowed */
    ZSTD_CCtx *cctx; /* owned */
    guint8 output[OUTPUT_BUFFER];
} Encoder;

static void
encoder_free(gpointer state)
{
    Encoder *self = state;

    (void)ZSTD_freeCCtx(self->cctx);
    g_free(self);
}

static gpointer
encoder_open(CxSink *next, GError **error)
{
    g_autoptr(Compressor) cctx = ZSTD_createCCtx();
    Encoder *self;

    if (cctx == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1)))
        return cx_throw_null(error, CX_ERROR_INTERNAL, "zstd: no encoder");

    self = g_new(Encoder, 1);
    self->next = next;
    self->cctx = g_steal_pointer(&cctx);
    return self;
}

static gboolean
compress_all(
    Encoder *self, const guint8 *data, gsize size, ZSTD_EndDirective directive, GError **error)
{
    ZSTD_inBuffer in = {data, size, 0};
    gsize pending;

    do {
        ZSTD_outBuffer out = {self->output, sizeof self->output, 0};

        pending = ZSTD_compressStream2(self->cctx, &out, &in, directive);
        if (ZSTD_isError(pending))
            return cx_throw(error, CX_ERROR_INTERNAL, "zstd: %s", ZSTD_getErrorName(pending));
        if (!cx_sink_write(self->next, self->output, out.pos, error))
            return FALSE;
    } while (in.pos < in.size || (directive == ZSTD_e_end && pending > 0));

    return TRUE;
}

static gboolean
encoder_write(gpointer state, const guint8 *piece, gsize size, GError **error)
{
    return compress_all(state, piece, size, ZSTD_e_continue, error);
}

static gboolean
encoder_finish(gpointer state, GError **error)
{
    return compress_all(state, NULL, 0, ZSTD_e_end, error);
}

const CxEncoderOps cx_zstd_encoder_ops = {
    .open = encoder_open,
    .write = encoder_write,
    .finish = encoder_finish,
    .free = encoder_free,
};
