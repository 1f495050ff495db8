/* SPDX-License-Identifier: Apache-2.0 */
/* gzip (RFC 1952) on ISA-L's deflate.
 *
 * ISA-L inflates raw deflate data; header, trailer and checksums of each member are read here: a
 * few lines, and the library's own wrapper code does not say what follows a member.
 *
 * Reading ahead: ISA-L takes input in words of eight bytes, so at the end of a member it has
 * swallowed up to eight bytes that follow it, perhaps from a buffer that is gone by now.  They are
 * still in its bit buffer, from where take_leftover gets them back; the trailer is at least as
 * long, so the next header comes from the source alone.
 *
 * An old library: Debian 12's ISA-L copies what is left of the input into a small field of its
 * state when a block header is cut off.  Were that more than the field holds, then with
 * CX_SOURCE_BUFFER bytes of input at most it would end up in the (64 KiB) window that follows in
 * the state, and not beyond it. */
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#include "base/error.h"
#include "layer/codec-private.h"

#define OUTPUT_BUFFER (256 * 1024)
#define HEADER_TEXT_MAX (64 * 1024) /* bytes of a name or comment in a header */
#define TRAILER_SIZE 8

G_STATIC_ASSERT(CX_SOURCE_BUFFER <= sizeof(((struct inflate_state *)NULL)->tmp_out_buffer));

/* RFC 1952, 2.3.1 */
enum {
    FLAG_HCRC = 1 << 1,
    FLAG_EXTRA = 1 << 2,
    FLAG_NAME = 1 << 3,
    FLAG_COMMENT = 1 << 4,
    FLAGS_RESERVED = 0xe0,
};

/* ---- decoding -------------------------------------------------------------------------------- */

typedef struct {
    struct inflate_state inflate;
    guint8 leftover[TRAILER_SIZE]; /* what ISA-L swallowed behind the deflate data */
    guint n_leftover;
    guint32 crc; /* of the member's plain bytes */
    guint32 size;
    guint32 header_crc;
    guint8 output[OUTPUT_BUFFER];
} Decoder;

static gboolean
throw_damaged(const CxSource *source, const char *what, GError **error)
{
    return cx_throw(error, CX_ERROR_MISMATCH,
                    "gzip data is damaged at offset %" G_GUINT64_FORMAT ": %s",
                    cx_source_position(source), what);
}

static gboolean
throw_truncated(const CxSource *source, GError **error)
{
    return cx_throw(error, CX_ERROR_MISMATCH, "gzip data is truncated at offset %" G_GUINT64_FORMAT,
                    cx_source_position(source));
}

static gboolean
read_byte(CxSource *source, guint8 *out_byte, GError **error)
{
    if (!cx_source_fill(source, error))
        return FALSE;
    if (source->available == 0)
        return throw_truncated(source, error);

    *out_byte = *source->next++;
    source->available--;
    return TRUE;
}

static gboolean
read_header_bytes(Decoder *self, CxSource *source, guint8 *out_bytes, gsize n, GError **error)
{
    for (gsize i = 0; i < n; i++)
        if (!read_byte(source, &out_bytes[i], error))
            return FALSE;

    self->header_crc = crc32_gzip_refl(self->header_crc, out_bytes, n);
    return TRUE;
}

static gboolean
skip_extra(Decoder *self, CxSource *source, GError **error)
{
    guint8 bytes[2], skipped;
    guint n;

    if (!read_header_bytes(self, source, bytes, sizeof bytes, error))
        return FALSE;

    n = bytes[0] | (guint)bytes[1] << 8;
    while (n-- > 0)
        if (!read_header_bytes(self, source, &skipped, 1, error))
            return FALSE;

    return TRUE;
}

static gboolean
skip_text(Decoder *self, CxSource *source, GError **error)
{
    guint8 byte;

    for (gsize i = 0; i < HEADER_TEXT_MAX; i++) {
        if (!read_header_bytes(self, source, &byte, 1, error))
            return FALSE;
        if (byte == '\0')
            return TRUE;
    }
    return cx_throw(error, CX_ERROR_LIMIT, "name in a gzip header is longer than %d bytes",
                    HEADER_TEXT_MAX);
}

static gboolean
check_header_crc(Decoder *self, CxSource *source, GError **error)
{
    guint expected = self->header_crc & 0xffff;
    guint8 bytes[2];

    if (!read_header_bytes(self, source, bytes, sizeof bytes, error))
        return FALSE;
    if ((bytes[0] | (guint)bytes[1] << 8) != expected)
        return throw_damaged(source, "wrong checksum of the header", error);

    return TRUE;
}

static gboolean
read_header(Decoder *self, CxSource *source, GError **error)
{
    guint8 fixed[10], flags;

    self->header_crc = 0;
    if (!read_header_bytes(self, source, fixed, sizeof fixed, error))
        return FALSE;

    flags = fixed[3];
    if (memcmp(fixed, "\x1f\x8b", 2) != 0)
        return throw_damaged(source, "no gzip header", error);
    if (fixed[2] != 8 || (flags & FLAGS_RESERVED) != 0)
        return throw_damaged(source, "unknown method", error);

    return ((flags & FLAG_EXTRA) == 0 || skip_extra(self, source, error)) &&
           ((flags & FLAG_NAME) == 0 || skip_text(self, source, error)) &&
           ((flags & FLAG_COMMENT) == 0 || skip_text(self, source, error)) &&
           ((flags & FLAG_HCRC) == 0 || check_header_crc(self, source, error));
}

/* Gets back the whole bytes in ISA-L's bit buffer; the bits before them are the rest of the last
 * deflate byte. */
static void
take_leftover(Decoder *self)
{
    guint64 bits = self->inflate.read_in;
    gint n_bits = self->inflate.read_in_length;

    self->n_leftover = 0;
    if (n_bits <= 0)
        return;

    bits >>= n_bits % 8;
    for (gint i = 0; i < n_bits / 8; i++, bits >>= 8)
        self->leftover[self->n_leftover++] = (guint8)bits;
}

static gboolean
read_trailer(Decoder *self, CxSource *source, GError **error)
{
    guint8 bytes[TRAILER_SIZE];
    guint32 crc, size;

    take_leftover(self);
    for (guint i = 0; i < TRAILER_SIZE; i++) {
        if (i < self->n_leftover)
            bytes[i] = self->leftover[i];
        else if (!read_byte(source, &bytes[i], error))
            return FALSE;
    }
    memcpy(&crc, bytes, sizeof crc);
    memcpy(&size, bytes + sizeof crc, sizeof size);
    if (GUINT32_FROM_LE(crc) != self->crc || GUINT32_FROM_LE(size) != self->size)
        return throw_damaged(source, "wrong checksum", error);

    return TRUE;
}

/* One call of the library: some input becomes some output. */
static gboolean
inflate_some(Decoder *self, CxSource *source, CxDrain *drain, GError **error)
{
    struct inflate_state *inflate = &self->inflate;
    gsize before = source->available, n;

    inflate->next_in = (uint8_t *)source->next;
    inflate->avail_in = (uint32_t)before;
    inflate->next_out = self->output;
    inflate->avail_out = sizeof self->output;
    if (isal_inflate(inflate) < 0)
        return throw_damaged(source, "invalid deflate data", error);

    source->next = inflate->next_in;
    source->available = inflate->avail_in;
    n = sizeof self->output - inflate->avail_out;
    if (n == 0 && source->available == before && inflate->block_state != ISAL_BLOCK_FINISH)
        return before == 0 ? throw_truncated(source, error)
                           : throw_damaged(source, "deflate data leads nowhere", error);

    self->crc = crc32_gzip_refl(self->crc, self->output, n);
    self->size += (guint32)n;
    return n == 0 || cx_drain_write(drain, self->output, n, error);
}

static gboolean
read_member(Decoder *self, CxSource *source, CxDrain *drain, GError **error)
{
    if (!read_header(self, source, error))
        return FALSE;

    isal_inflate_init(&self->inflate); /* crc_flag 0: raw deflate */
    self->crc = self->size = 0;
    while (self->inflate.block_state != ISAL_BLOCK_FINISH) {
        if (!cx_source_fill(source, error) || !inflate_some(self, source, drain, error))
            return FALSE;
    }
    return read_trailer(self, source, error);
}

gboolean
cx_gzip_decode(CxSource *source, CxDrain *drain, GError **error)
{
    g_autofree Decoder *self = g_new(Decoder, 1);

    do {
        if (!read_member(self, source, drain, error) || !cx_source_fill(source, error))
            return FALSE;
    } while (source->available > 0);

    return TRUE;
}

/* ---- encoding -----------------------------------------------------------------------------------
 *
 * Level 1, whose bytes are the same on every x86-64 that has SSE 4.2. */

/* No name, no time, no flags, unknown system. */
static const guint8 pinned_header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};

typedef struct {
    CxSink *next; /* borrowed */
    struct isal_zstream deflate;
    guint8 level_buffer[ISAL_DEF_LVL1_DEFAULT];
    guint8 output[OUTPUT_BUFFER];
} Encoder;

static gpointer
encoder_open(CxSink *next, GError **error)
{
    g_autofree Encoder *self = g_new(Encoder, 1);

    self->next = next;
    isal_deflate_init(&self->deflate);
    self->deflate.level = 1;
    self->deflate.level_buf = self->level_buffer;
    self->deflate.level_buf_size = sizeof self->level_buffer;
    self->deflate.gzip_flag = IGZIP_GZIP_NO_HDR;
    if (!cx_sink_write(next, pinned_header, sizeof pinned_header, error))
        return NULL;

    return g_steal_pointer(&self);
}

/* Deflates until the library holds all its input, and at the end until it is done. */
static gboolean
deflate_all(Encoder *self, const guint8 *data, gsize size, gboolean last, GError **error)
{
    struct isal_zstream *deflate = &self->deflate;

    deflate->next_in = (uint8_t *)data;
    deflate->avail_in = (uint32_t)size;
    deflate->end_of_stream = last;
    do {
        int result;

        deflate->next_out = self->output;
        deflate->avail_out = sizeof self->output;
        result = isal_deflate(deflate);
        if (result != COMP_OK)
            return cx_throw(error, CX_ERROR_INTERNAL, "gzip: ISA-L failed with %d", result);
        if (!cx_sink_write(self->next, self->output, sizeof self->output - deflate->avail_out,
                           error))
            return FALSE;
    } while (deflate->avail_out == 0 || deflate->avail_in > 0 ||
             (last && deflate->internal_state.state != ZSTATE_END));

    return TRUE;
}

static gboolean
encoder_write(gpointer state, const guint8 *piece, gsize size, GError **error)
{
    return deflate_all(state, piece, size, FALSE, error);
}

static gboolean
encoder_finish(gpointer state, GError **error)
{
    return deflate_all(state, NULL, 0, TRUE, error);
}

const CxEncoderOps cx_gzip_encoder_ops = {
    .open = encoder_open,
    .write = encoder_write,
    .finish = encoder_finish,
    .free = g_free,
};
