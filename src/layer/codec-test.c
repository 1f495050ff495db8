/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "layer/codec.h"

#define NO_LIMIT G_MAXUINT64
#define PIECE (256 * 1024) /* of the encoder */
#define SOURCE (64 * 1024) /* what the decoder reads at once */

/* ---- tools ----------------------------------------------------------------------------------- */

typedef struct {
    CxSink base;
    GByteArray *bytes; /* (owned) */
} MemorySink;

static gboolean
memory_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    g_byte_array_append(((MemorySink *)sink)->bytes, data, (guint)size);
    return TRUE;
}

static void
memory_sink_init(MemorySink *self)
{
    *self = (MemorySink){.base = {.write = memory_write}, .bytes = g_byte_array_new()};
}

static void
memory_sink_clear(MemorySink *self)
{
    g_byte_array_unref(self->bytes);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MemorySink, memory_sink_clear)

static int
file_of(const void *data, gsize size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    GError *error = NULL;

    g_assert_cmpint(fd, >=, 0);
    cx_pwrite_all(fd, data, size, 0, &error);
    g_assert_no_error(error);
    return fd;
}

/* Decompresses data; NULL with error set on failure. */
static GByteArray *
decode(CxCompression compression, const void *data, gsize size, guint64 limit, GError **error)
{
    cx_autofd int fd = file_of(data, size);
    g_auto(MemorySink) plain = {0}, raw = {0};

    memory_sink_init(&plain);
    memory_sink_init(&raw);
    if (!cx_decompress(fd, 0, size, compression, limit, &plain.base, &raw.base, NULL, error)) {
        g_assert_cmpuint(plain.bytes->len, <=, limit);
        return NULL;
    }
    g_assert_cmpmem(raw.bytes->data, raw.bytes->len, data, size);
    return g_byte_array_ref(plain.bytes);
}

static void
assert_fails(CxCompression compression, const void *data, gsize size, CxError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(decode(compression, data, size, NO_LIMIT, &error));
    g_assert_error(error, CX_ERROR, (int)code);
}

/* Somewhat compressible bytes, the same on every machine. */
static guint8 *
make_bytes(gsize size)
{
    guint8 *bytes = g_malloc(size + 1);
    guint32 random = 12345;

    for (gsize i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (i / 4096) % 3 == 0 ? 0 : (guint8)(random >> 28);
    }
    return bytes;
}

/* Compresses data in writes of step bytes, or by one splice if step is 0. */
static GByteArray *
encode(CxCompression compression, const guint8 *data, gsize size, gsize step)
{
    g_auto(MemorySink) out = {0};
    g_autoptr(CxEncoder) encoder = NULL;
    cx_autofd int fd = file_of(data, size);
    GError *error = NULL;

    memory_sink_init(&out);
    encoder = cx_encoder_new(compression, &out.base, &error);
    g_assert_no_error(error);
    if (step == 0)
        cx_sink_splice(cx_encoder_get_sink(encoder), fd, 0, size, &error);
    for (gsize i = 0; step > 0 && i < size; i += step)
        cx_sink_write(cx_encoder_get_sink(encoder), data + i, MIN(step, size - i), &error);
    g_assert_no_error(error);
    cx_encoder_finish(encoder, &error);
    g_assert_no_error(error);
    return g_byte_array_ref(out.bytes);
}

/* ---- names and magic ------------------------------------------------------------------------- */

static void
test_names(void)
{
    CxCompression compression = CX_N_COMPRESSIONS;

    for (int i = 0; i < CX_N_COMPRESSIONS; i++) {
        g_assert_true(cx_compression_parse(cx_compression_name((CxCompression)i), &compression));
        g_assert_cmpint(compression, ==, i);
    }
    g_assert_false(cx_compression_parse("bzip2", &compression));
    g_assert_false(cx_compression_parse("", &compression));
    g_assert_false(cx_compression_parse("GZIP", &compression));
}

static const struct {
    const char *bytes;
    gsize size;
    CxCompression expected;
} magics[] = {
    {"",                     0, CX_COMPRESSION_NONE},
    {"\x1f\x8b",             2, CX_COMPRESSION_NONE},
    {"\x1f\x8b\x08",         3, CX_COMPRESSION_GZIP},
    {"\x28\xb5\x2f\xfd",     4, CX_COMPRESSION_ZSTD},
    {"\x50\x2a\x4d\x18\x00", 5, CX_COMPRESSION_ZSTD},
    {"\x5f\x2a\x4d\x18\x00", 5, CX_COMPRESSION_ZSTD},
    {"\x60\x2a\x4d\x18\x00", 5, CX_COMPRESSION_NONE},
    {"bin/\0\0\0\0",         8, CX_COMPRESSION_NONE},
};

static void
test_detect(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(magics); i++)
        g_assert_cmpint(cx_compression_detect(magics[i].bytes, magics[i].size), ==,
                        magics[i].expected);
}

/* ---- there and back -------------------------------------------------------------------------- */

static const gsize sizes[] = {0,     1,         511,           SOURCE,    PIECE - 1,
                              PIECE, PIECE + 1, 3 * PIECE + 7, 10 * PIECE};

static void
test_round_trip(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree guint8 *bytes = make_bytes(sizes[i]);
        g_autoptr(GByteArray) packed = encode(compression, bytes, sizes[i], 1000003);
        g_autoptr(GByteArray) plain = NULL;
        GError *error = NULL;

        if (compression != CX_COMPRESSION_NONE)
            g_assert_cmpint(cx_compression_detect(packed->data, packed->len), ==, compression);
        plain = decode(compression, packed->data, packed->len, sizes[i], &error);
        g_assert_no_error(error);
        g_assert_cmpmem(plain->data, plain->len, bytes, sizes[i]);
    }
}

/* However the bytes come, they are compressed to the same. */
static void
test_cuts(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    const gsize size = 5 * PIECE + 12345, steps[] = {0, 512, 10007, PIECE, PIECE + 1, 3 * PIECE};
    g_autofree guint8 *bytes = make_bytes(size);
    g_autoptr(GByteArray) whole = encode(compression, bytes, size, size);

    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autoptr(GByteArray) cut = encode(compression, bytes, size, steps[i]);

        g_assert_cmpmem(cut->data, cut->len, whole->data, whole->len);
    }
}

static void
test_gzip_is_gzip(void)
{
    const gsize size = 2 * PIECE + 99;
    g_autofree guint8 *bytes = make_bytes(size), *plain = g_malloc(size);
    g_autoptr(GByteArray) packed = encode(CX_COMPRESSION_GZIP, bytes, size, 4096);
    z_stream z = {0};

    g_assert_cmpmem(packed->data, 10, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
    g_assert_cmpint(inflateInit2(&z, 15 + 16), ==, Z_OK);
    z.next_in = packed->data;
    z.avail_in = packed->len;
    z.next_out = plain;
    z.avail_out = (uInt)size;
    g_assert_cmpint(inflate(&z, Z_FINISH), ==, Z_STREAM_END);
    g_assert_cmpuint(z.avail_in, ==, 0);
    g_assert_cmpmem(plain, size - z.avail_out, bytes, size);
    inflateEnd(&z);
}

/* ---- members --------------------------------------------------------------------------------- */

typedef struct {
    int level;
    guint extra; /* bytes of an extra field; 0: none */
    gboolean named, header_crc;
} MemberOptions;

/* A gzip member by zlib. */
static void
append_member(GByteArray *out, const void *data, gsize size, MemberOptions options)
{
    g_autofree guint8 *extra = g_malloc0(options.extra + 1);
    gz_header header = {
        .extra = options.extra > 0 ? extra : NULL,
        .extra_len = options.extra,
        .name = (Bytef *)(options.named ? "layer.tar" : NULL),
        .comment = (Bytef *)(options.named ? "a comment" : NULL),
        .hcrc = options.header_crc,
        .os = 3,
    };
    z_stream z = {0};
    guint before = out->len;

    g_assert_cmpint(deflateInit2(&z, options.level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), ==,
                    Z_OK);
    g_assert_cmpint(deflateSetHeader(&z, &header), ==, Z_OK);
    g_byte_array_set_size(out, before + (guint)deflateBound(&z, size) + options.extra + 100);
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)size;
    z.next_out = out->data + before;
    z.avail_out = out->len - before;
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    g_byte_array_set_size(out, before + (guint)z.total_out);
    deflateEnd(&z);
}

/* The end of the first member goes through every place around the edge of the decoder's buffer,
 * with contents whose last block ends at different bits. */
static void
test_members_at_every_edge(void)
{
    for (int level = 0; level <= 6; level += 3) {
        for (guint length = 1; length <= 40; length += 13) {
            for (guint end = SOURCE - 12; end <= SOURCE + 20; end++) {
                g_autoptr(GByteArray) packed = g_byte_array_new();
                g_autoptr(GByteArray) plain = NULL;
                g_autofree char *text = g_strnfill(length, 'x');
                GError *error = NULL;
                guint bare;

                append_member(packed, text, length, (MemberOptions){.level = level});
                bare = packed->len + 2;
                g_byte_array_set_size(packed, 0);
                append_member(packed, text, length,
                              (MemberOptions){.level = level, .extra = end - bare});
                g_assert_cmpuint(packed->len, ==, end);
                append_member(packed, "second", 6, (MemberOptions){.level = level, .named = TRUE});

                plain = decode(CX_COMPRESSION_GZIP, packed->data, packed->len, NO_LIMIT, &error);
                g_assert_no_error(error);
                g_assert_cmpuint(plain->len, ==, length + 6);
                g_assert_cmpmem(plain->data + length, 6, "second", 6);
            }
        }
    }
}

static void
test_many_members(void)
{
    g_autoptr(GByteArray) packed = g_byte_array_new(), expected = g_byte_array_new();
    g_autoptr(GByteArray) plain = NULL;
    GError *error = NULL;

    for (guint i = 0; i < 5000; i++) {
        g_autofree char *text = g_strdup_printf("%u\n", i * i);

        append_member(packed, text, i % 7 == 0 ? 0 : strlen(text),
                      (MemberOptions){.level = (int)(i % 10), .header_crc = i % 3 == 0});
        if (i % 7 != 0)
            g_byte_array_append(expected, (guint8 *)text, (guint)strlen(text));
    }
    plain = decode(CX_COMPRESSION_GZIP, packed->data, packed->len, NO_LIMIT, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(plain->data, plain->len, expected->data, expected->len);
}

static void
test_header_checksum(void)
{
    g_autoptr(GByteArray) packed = g_byte_array_new();

    append_member(packed, "text", 4,
                  (MemberOptions){.level = 6, .extra = 5, .named = TRUE, .header_crc = TRUE});
    packed->data[20] ^= 1;
    assert_fails(CX_COMPRESSION_GZIP, packed->data, packed->len, CX_ERROR_MISMATCH);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static GByteArray *
make_two_parts(CxCompression compression, guint *out_first)
{
    g_autofree guint8 *bytes = make_bytes(9000);
    GByteArray *all = encode(compression, bytes, 9000, 9000);
    g_autoptr(GByteArray) second = encode(compression, bytes, 300, 300);

    *out_first = all->len;
    g_byte_array_append(all, second->data, second->len);
    return all;
}

static void
test_truncated(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    guint first;
    g_autoptr(GByteArray) packed = make_two_parts(compression, &first);

    for (guint size = 0; size < packed->len; size++)
        if (size != first)
            assert_fails(compression, packed->data, size, CX_ERROR_MISMATCH);
}

/* No damage behind the header goes unseen.  A few bits mean nothing: fill bits, another way to say
 * the same. */
static void
test_flipped(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    guint first, n_harmless = 0;
    g_autoptr(GByteArray) packed = make_two_parts(compression, &first);
    g_autoptr(GByteArray) whole = decode(compression, packed->data, packed->len, NO_LIMIT, NULL);

    for (guint i = 10; i < first; i++) {
        g_autoptr(GByteArray) plain = NULL;
        g_autoptr(GError) error = NULL;

        packed->data[i] ^= (guint8)(1 << i % 8);
        plain = decode(compression, packed->data, packed->len, NO_LIMIT, &error);
        if (plain == NULL)
            g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
        else
            g_assert_cmpmem(plain->data, plain->len, whole->data, whole->len);
        n_harmless += plain != NULL;
        packed->data[i] ^= (guint8)(1 << i % 8);
    }
    g_assert_cmpuint(n_harmless, <, first / 20);
}

static void
test_trailing_garbage(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    g_autoptr(GByteArray) packed = encode(compression, (const guint8 *)"text", 4, 4);

    g_byte_array_append(packed, (const guint8 *)"\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    for (guint n = packed->len - 11; n <= packed->len; n++)
        assert_fails(compression, packed->data, n, CX_ERROR_MISMATCH);
}

/* 64 MiB of zeros, packed. */
static void
test_bomb(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    const gsize size = 64 * 1024 * 1024;
    g_autofree guint8 *zeros = g_malloc0(size);
    g_autoptr(GByteArray) packed = encode(compression, zeros, size, size), plain = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(packed->len, <, size / 50);
    g_assert_null(decode(compression, packed->data, packed->len, size - 1, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_cmpstr(error->message, ==, "expands to more than 67108863 bytes");
    plain = decode(compression, packed->data, packed->len, size, NULL);
    g_assert_nonnull(plain);
}

/* An empty frame that asks for a window of 2^27 or 2^28 bytes. */
static void
test_zstd_window(void)
{
    const guint8 allowed[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0};
    const guint8 beyond[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0};
    g_autoptr(GByteArray) plain = decode(CX_COMPRESSION_ZSTD, allowed, sizeof allowed, 0, NULL);

    g_assert_nonnull(plain);
    assert_fails(CX_COMPRESSION_ZSTD, beyond, sizeof beyond, CX_ERROR_MISMATCH);
}

/* ---- plain bytes, pieces of files, giving up ------------------------------------------------- */

static void
test_none(void)
{
    cx_autofd int in = file_of("0123456789", 10);
    cx_autofd int out = file_of("", 0);
    CxFdSink sink = cx_fd_sink(out);
    g_autoptr(GError) error = NULL;
    char text[16] = "";

    g_assert_true(cx_decompress(in, 2, 5, CX_COMPRESSION_NONE, 5, &sink.base, NULL, NULL, &error));
    g_assert_cmpint(pread(out, text, sizeof text, 0), ==, 5);
    g_assert_cmpstr(text, ==, "23456");

    g_assert_false(
        cx_decompress(in, 0, 10, CX_COMPRESSION_NONE, 9, &sink.base, NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
    g_clear_error(&error);
    g_assert_false(
        cx_decompress(in, 0, 11, CX_COMPRESSION_NONE, 99, &sink.base, NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_clear_error(&error);
    g_assert_false(
        cx_decompress(in, 5, 6, CX_COMPRESSION_NONE, 99, &sink.base, &sink.base, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
}

static void
test_within_a_file(void)
{
    g_autoptr(GByteArray) packed = encode(CX_COMPRESSION_GZIP, (const guint8 *)"inner", 5, 5);
    g_auto(MemorySink) plain = {0};
    cx_autofd int fd = -1;
    guint size = packed->len;
    GError *error = NULL;

    g_byte_array_prepend(packed, (const guint8 *)"before", 6);
    g_byte_array_append(packed, (const guint8 *)"after", 5);
    fd = file_of(packed->data, packed->len);
    memory_sink_init(&plain);
    cx_decompress(fd, 6, size, CX_COMPRESSION_GZIP, 5, &plain.base, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(plain.bytes->data, plain.bytes->len, "inner", 5);
}

static void
test_cancel(gconstpointer data)
{
    CxCompression compression = (CxCompression)GPOINTER_TO_UINT(data);
    g_autoptr(GByteArray) packed = encode(compression, (const guint8 *)"text", 4, 4);
    g_autoptr(CxCancel) cancellable = cx_cancel_new();
    cx_autofd int fd = file_of(packed->data, packed->len);
    g_auto(MemorySink) plain = {0};
    g_autoptr(GError) error = NULL;

    memory_sink_init(&plain);
    cx_cancel_trigger(cancellable);
    g_assert_false(cx_decompress(fd, 0, packed->len, compression, NO_LIMIT, &plain.base, NULL,
                                 cancellable, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
}

/* ---- */

static void
add_for(CxCompression compression, const char *name, GTestDataFunc function)
{
    g_autofree char *path =
        g_strdup_printf("/layer/codec/%s/%s", cx_compression_name(compression), name);

    g_test_add_data_func(path, GUINT_TO_POINTER(compression), function);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/layer/codec/names", test_names);
    g_test_add_func("/layer/codec/detect", test_detect);
    for (int i = 0; i < CX_N_COMPRESSIONS; i++) {
        add_for((CxCompression)i, "round-trip", test_round_trip);
        add_for((CxCompression)i, "cuts", test_cuts);
        add_for((CxCompression)i, "cancel", test_cancel);
        if (i == CX_COMPRESSION_NONE)
            continue;
        add_for((CxCompression)i, "truncated", test_truncated);
        add_for((CxCompression)i, "flipped", test_flipped);
        add_for((CxCompression)i, "trailing-garbage", test_trailing_garbage);
        add_for((CxCompression)i, "bomb", test_bomb);
    }
    g_test_add_func("/layer/codec/gzip/is-gzip", test_gzip_is_gzip);
    g_test_add_func("/layer/codec/gzip/members-at-every-edge", test_members_at_every_edge);
    g_test_add_func("/layer/codec/gzip/many-members", test_many_members);
    g_test_add_func("/layer/codec/gzip/header-checksum", test_header_checksum);
    g_test_add_func("/layer/codec/zstd/window", test_zstd_window);
    g_test_add_func("/layer/codec/none/pieces", test_none);
    g_test_add_func("/layer/codec/within-a-file", test_within_a_file);
    return g_test_run();
}
