/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/codec.h"
#include "layer/tar-reader.h"
#include "layer/test-tar.h"

/* ---- what other programs write --------------------------------------------------------------- */

static GByteArray *
inflate_file(const char *path)
{
    g_autofree char *packed = NULL;
    gsize size;
    cx_autofd int in = memfd_create("gz", MFD_CLOEXEC);
    cx_autofd int out = memfd_create("tar", MFD_CLOEXEC);
    CxFdSink sink = cx_fd_sink(out);
    GByteArray *bytes = g_byte_array_new();
    GError *error = NULL;

    g_file_get_contents(path, &packed, &size, &error);
    g_assert_no_error(error);
    g_assert_true(cx_pwrite_all(in, packed, size, 0, NULL));
    cx_decompress(in, 0, size, CX_COMPRESSION_GZIP, G_MAXINT, &sink.base, NULL, NULL, &error);
    g_assert_no_error(error);
    g_byte_array_set_size(bytes, (guint)sink.written);
    g_assert_cmpint(cx_pread_full(out, bytes->data, bytes->len, 0, NULL), ==, bytes->len);
    return bytes;
}

static char *
golden_folder(void)
{
    const char *root = g_getenv("CRUXD_SOURCE_ROOT");

    return g_build_filename(root == NULL ? "." : root, "tests", "golden", "layer", NULL);
}

static void
compare_with_golden(const char *path, const char *text)
{
    g_autofree char *expected = NULL;
    GError *error = NULL;

    if (g_getenv("CX_REFRESH") != NULL)
        g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
    g_file_get_contents(path, &expected, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, expected);
}

static void
test_golden(gconstpointer data)
{
    const char *name = data;
    g_autofree char *folder = golden_folder(), *tar = g_strdup_printf("%s/%s.tar.gz", folder, name),
                    *expected = g_strdup_printf("%s/%s.txt", folder, name), *text = NULL;
    g_autoptr(GByteArray) bytes = inflate_file(tar);
    GError *error = NULL;

    text = cx_test_tar_describe(bytes->data, bytes->len, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    compare_with_golden(expected, text);
}

/* Cut anywhere, an archive ends at an entry or is said to be truncated. */
static void
test_truncated(gconstpointer data)
{
    g_autofree char *folder = golden_folder(),
                    *path = g_strdup_printf("%s/%s.tar.gz", folder, (const char *)data);
    g_autoptr(GByteArray) bytes = inflate_file(path);
    g_autofree char *whole =
        cx_test_tar_describe(bytes->data, bytes->len, &cx_layer_limits_default, NULL);

    for (guint i = 0; i < bytes->len; i += i % CX_TAR_BLOCK == 0 ? 1 : CX_TAR_BLOCK - 1) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text =
            cx_test_tar_describe(bytes->data, i, &cx_layer_limits_default, &error);

        if (error != NULL)
            g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
        g_assert_true(g_str_has_prefix(whole, text));
    }
}

/* ---- archives that are well, if odd ---------------------------------------------------------- */

static void
make_paths(GByteArray *tar)
{
    cx_test_tar_add_entry(tar, '5', "./", "");
    cx_test_tar_add_file(tar, "/abs/path");
    cx_test_tar_add_file(tar, "a//b/./c/.");
    cx_test_tar_add_file(tar, ".../..x/x..");
    cx_test_tar_add_link(tar, '1', "hard", "/abs//path");
    cx_test_tar_add_link(tar, '2', "soft", "/../..//etc/./passwd/");
    cx_test_tar_add_end(tar);
}

static void
make_old(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('\0', "folder/", 0);

    memset(header.magic, 0, 8);
    cx_test_tar_add_sealed(tar, header);
    cx_test_tar_add_entry(tar, '7', "contiguous", "seven");
    header = cx_test_tar_header('\0', "file", 0);
    memset(header.magic, 0, 8);
    memset(header.prefix, 'x', 20); /* means nothing here */
    cx_test_tar_add_sealed(tar, header);
    /* no end */
}

static void
make_numbers(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('0', "spaces", 0);

    memcpy(header.mode, "   755 ", 8);
    memcpy(header.uid, "0000012", 8);
    memset(header.gid, 0, 8);
    memcpy(header.mtime, "77777777777 ", 12);
    memcpy(header.size, "          5\0", 12);
    cx_test_tar_add_sealed(tar, header);
    cx_test_tar_add_bytes(tar, "12345", 5);

    header = cx_test_tar_header('0', "base-256", 0);
    memcpy(header.uid, "\x80\0\0\0\xff\xff\xff\xfe", 8);
    memcpy(header.size, "\x80\0\0\0\0\0\0\0\0\0\0\x03", 12);
    memcpy(header.mtime, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
    cx_test_tar_add_sealed(tar, header);
    cx_test_tar_add_bytes(tar, "abc", 3);
    cx_test_tar_add_end(tar);
}

static void
make_signed_checksum(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('0', "\303\274", 0);

    g_assert_cmpint(cx_tar_checksum_signed(&header), !=, (gint32)cx_tar_checksum(&header));
    cx_tar_format_number(header.checksum, 7, (guint64)cx_tar_checksum_signed(&header));
    cx_test_tar_add_bytes(tar, &header, sizeof header);
}

/* The data end with the archive: no padding, no end blocks. */
static void
make_unpadded(GByteArray *tar)
{
    cx_test_tar_add_entry(tar, '0', "file", "content");
    g_byte_array_set_size(tar, tar->len - CX_TAR_BLOCK + 7);
}

static void
make_pax(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "path", "/long/./name", "size", "4", "mtime", "1.5", "uid",
                        "4294967294", NULL);
    cx_test_tar_add_sealed(tar, cx_test_tar_header('0', "short", 0));
    cx_test_tar_add_bytes(tar, "four", 4);
    cx_test_tar_add_pax(tar, "path", "first", "path", "second", "gid", "7", "gid", "", "comment",
                        "x", NULL);
    cx_test_tar_add_file(tar, "third");
    cx_test_tar_add_pax(tar, "path", "pax", "hdrcharset", "BINARY", NULL);
    cx_test_tar_add_extended(tar, 'L', "gnu\1");
    cx_test_tar_add_file(tar, "plain");
    cx_test_tar_add_pax(tar, "mtime", "-1.25", "atime", "x", NULL);
    cx_test_tar_add_file(tar, "before");
    cx_test_tar_add_pax(tar, "mtime", "-3", "linkpath", "where to", NULL);
    cx_test_tar_add_link(tar, '2', "link", "nowhere");
    cx_test_tar_add_pax(tar, "mtime", "0.1234567899", NULL);
    cx_test_tar_add_file(tar, "fine");
    cx_test_tar_add_extended(tar, 'g', "18 comment=global\n");
    cx_test_tar_add_file(tar, "plain");
    cx_test_tar_add_end(tar);
}

static void
make_xattrs(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "SCHILY.xattr.user.b", "2", "SCHILY.xattr.user.a", "x=1", NULL);
    cx_test_tar_add_file(tar, "two");
    cx_test_tar_add_pax(tar, "SCHILY.xattr.user.a", "", NULL);
    cx_test_tar_add_file(tar, "empty");
    cx_test_tar_add_pax(tar, "LIBARCHIVE.xattr.user.%41%25", "AAECAw", "SCHILY.xattr.user.z", "z",
                        NULL);
    cx_test_tar_add_file(tar, "libarchive");
    cx_test_tar_add_pax(tar, "LIBARCHIVE.xattr.user.q", "YQ", "LIBARCHIVE.xattr.user.q",
                        "YWI=", NULL);
    cx_test_tar_add_file(tar, "padded");
    cx_test_tar_add_end(tar);
}

static void
make_prefixes(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('0', "name", 0);

    memcpy(header.prefix, "ustar/prefix", 12);
    cx_test_tar_add_sealed(tar, header);

    memset(header.prefix, 'p', 131);
    memcpy(header.prefix + 131, "00000000001\0", 12);
    memcpy(header.pad + 8, "tar", 4);
    cx_test_tar_add_sealed(tar, header);

    header = cx_test_tar_header('0', "name", 0);
    memcpy(header.magic, "ustar  ", 8);
    memcpy(header.prefix, "go/before/1.8", 13);
    cx_test_tar_add_sealed(tar, header);
    memcpy(header.prefix, "00000000001\0", 12); /* GNU: a time */
    memset(header.prefix + 12, 0, 1);
    cx_test_tar_add_sealed(tar, header);
}

/* A size where no data can follow means nothing. */
static void
make_sizes_without_data(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('2', "link", 100000);

    memcpy(header.link, "to", 2);
    cx_test_tar_add_sealed(tar, header);
    cx_test_tar_add_sealed(tar, cx_test_tar_header('5', "folder", 4096));
    cx_test_tar_add_sealed(tar, cx_test_tar_header('6', "pipe", 1));
    cx_test_tar_add_end(tar);
}

static void
make_trailing_junk(GByteArray *tar)
{
    cx_test_tar_add_file(tar, "file");
    cx_test_tar_add_end(tar);
    cx_test_tar_add_file(tar, "not seen");
}

static const struct {
    const char *name;
    void (*make)(GByteArray *tar);
    const char *expected;
} good[] = {
    {"empty",              cx_test_tar_add_end,     ""                                         },
    {"paths",              make_paths,
     "d 0644 0:0 0.000000000 \n"
     "f 0644 0:0 0.000000000 abs/path \"\"\n"
     "f 0644 0:0 0.000000000 a/b/c \"\"\n"
     "f 0644 0:0 0.000000000 .../..x/x.. \"\"\n"
     "h 0644 0:0 0.000000000 hard -> abs/path\n"
     "l 0644 0:0 0.000000000 soft -> /../..//etc/./passwd/\n"                                  },
    {"old",                make_old,
     "d 0644 0:0 0.000000000 folder\n"
     "f 0644 0:0 0.000000000 contiguous \"seven\"\n"
     "f 0644 0:0 0.000000000 file \"\"\n"                                                      },
    {"numbers",            make_numbers,
     "f 0755 10:0 8589934591.000000000 spaces \"12345\"\n"
     "f 0644 4294967294:0 -2.000000000 base-256 \"abc\"\n"                                     },
    {"signed-checksum",    make_signed_checksum,    "f 0644 0:0 0.000000000 \303\274 \"\"\n"   },
    {"unpadded",           make_unpadded,           "f 0644 0:0 0.000000000 file \"content\"\n"},
    {"pax",                make_pax,
     "f 0644 4294967294:0 1.500000000 long/name \"four\"\n"
     "f 0644 0:0 0.000000000 second \"\"\n"
     "f 0644 0:0 0.000000000 gnu \"\"\n"
     "f 0644 0:0 -2.750000000 before \"\"\n"
     "l 0644 0:0 -3.000000000 link -> where to\n"
     "f 0644 0:0 0.123456789 fine \"\"\n"
     "f 0644 0:0 0.000000000 plain \"\"\n"                                                     },
    {"xattrs",             make_xattrs,
     "f 0644 0:0 0.000000000 two \"\" [user.a=x=1] [user.b=2]\n"
     "f 0644 0:0 0.000000000 empty \"\" [user.a=]\n"
     "f 0644 0:0 0.000000000 libarchive \"\" [user.A%=\\x00\\x01\\x02\\x03] [user.z=z]\n"
     "f 0644 0:0 0.000000000 padded \"\" [user.q=ab]\n"                                        },
    {"prefixes",           make_prefixes,
     "f 0644 0:0 0.000000000 ustar/prefix/name \"\"\n"
     "f 0644 0:0 0.000000000 "
     "ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"
     "ppp"
     "ppppppppppppppppppppppppppppppppppp/name \"\"\n"
     "f 0644 0:0 0.000000000 go/before/1.8/name \"\"\n"
     "f 0644 0:0 0.000000000 name \"\"\n"                                                      },
    {"sizes-without-data", make_sizes_without_data,
     "l 0644 0:0 0.000000000 link -> to\n"
     "d 0644 0:0 0.000000000 folder\n"
     "p 0644 0:0 0.000000000 pipe\n"                                                           },
    {"trailing-junk",      make_trailing_junk,      "f 0644 0:0 0.000000000 file \"\"\n"       },
};

static void
test_good(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        g_autofree char *text = NULL;
        GError *error = NULL;

        g_test_message("%s", good[i].name);
        good[i].make(tar);
        text = cx_test_tar_describe(tar->data, tar->len, &cx_layer_limits_default, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(text, ==, good[i].expected);
    }
}

/* ---- */

static const char *const golden[] = {
    "bsdtar-gnutar", "bsdtar-pax",      "bsdtar-ustar",    "busybox",
    "gnu-tar-gnu",   "gnu-tar-oldgnu",  "gnu-tar-pax-0.0", "gnu-tar-pax-0.1",
    "gnu-tar-ustar", "gnu-tar-pax-1.0", "gnu-tar-v7",      "go-gnu",
    "go-pax",        "python-gnu",      "python-pax",      "python-ustar",
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(golden); i++) {
        g_autofree char *path = g_strdup_printf("/layer/tar-reader/golden/%s", golden[i]);
        g_autofree char *cut = g_strdup_printf("/layer/tar-reader/truncated/%s", golden[i]);

        g_test_add_data_func(path, golden[i], test_golden);
        g_test_add_data_func(cut, golden[i], test_truncated);
    }
    g_test_add_func("/layer/tar-reader/good", test_good);
    return g_test_run();
}
