/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "layer/sink.h"

G_BEGIN_DECLS

typedef enum {
    CX_COMPRESSION_NONE,
    CX_COMPRESSION_GZIP,
    CX_COMPRESSION_ZSTD,
    CX_N_COMPRESSIONS
} CxCompression;

/* "none", "gzip", "zstd"; FALSE for other names. */
gboolean cx_compression_parse(const char *name, CxCompression *out_compression);
const char *cx_compression_name(CxCompression compression);

/* Told by the first bytes of data (magic numbers). */
CxCompression cx_compression_detect(const void *data, gsize size);

/* Decompresses [offset, offset+size) of fd to sink: gzip (all members; ISA-L, checksums verified),
 * zstd (all frames) or as it is.  raw_sink, if not NULL, also gets the bytes as they are stored,
 * for their digest.  More than limit uncompressed bytes is CX_ERROR_LIMIT ("expands to more than N
 * bytes"); damage is CX_ERROR_MISMATCH with the offset.  Memory use is constant.  Trailing garbage
 * after the last member is an error. */
gboolean cx_decompress(int fd,
                       guint64 offset,
                       guint64 size,
                       CxCompression compression,
                       guint64 limit,
                       CxSink *sink,
                       CxSink *raw_sink,
                       CxCancel *cancellable,
                       GError **error);

/* A sink that compresses into next with pinned, versioned parameters (gzip: ISA-L level 1, mtime 0,
 * OS 255; zstd: level 3, one thread, content size unknown), so equal input gives equal bytes. */
typedef struct CxEncoder CxEncoder;
CxEncoder *cx_encoder_new(CxCompression compression,
                          CxSink *next,
                          GError **error); /* next borrowed */
CxSink *cx_encoder_get_sink(CxEncoder *self);
gboolean cx_encoder_finish(CxEncoder *self,
                           GError **error); /* flushes and ends the stream; next stays open */
void cx_encoder_free(CxEncoder *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxEncoder, cx_encoder_free)

G_END_DECLS
