/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that the reader must refuse, and the line it says then. */
#include <string.h>

#include "base/error.h"
#include "layer/tar-reader.h"
#include "layer/test-tar.h"

/* ---- paths that are refused ------------------------------------------------------------------ */

/* Bytes and components of a path: so many x, in components of so many. */
static char *
make_path(guint length, guint component)
{
    char *path = g_strnfill(length, 'x');

    for (guint i = component; i < length; i += component + 1)
        path[i] = '/';
    return path;
}

static const struct {
    const char *path; /* NULL: made of the next two */
    guint length, component;
    CxError code; /* 0: fine */
    const char *reason;
} paths[] = {
    {"..",     0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"../x",   0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"/..",    0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"a/../b", 0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"a/b/..", 0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"./../a", 0,    0,   CX_ERROR_INVALID, "path holds \"..\""              },
    {"/",      0,    0,   CX_ERROR_INVALID, "the root is not a folder"       },
    {".",      0,    0,   CX_ERROR_INVALID, "the root is not a folder"       },
    {"a\1b",   0,    0,   CX_ERROR_INVALID, "zero byte"                      },
    {NULL,     255,  255, 0,                NULL                             },
    {NULL,     256,  256, CX_ERROR_LIMIT,   "name longer than 255 bytes"     },
    {NULL,     4096, 200, 0,                NULL                             },
    {NULL,     4097, 200, CX_ERROR_LIMIT,   "path is longer than 4096 bytes" },
    {NULL,     509,  1,   0,                NULL                             },
    {NULL,     511,  1,   CX_ERROR_LIMIT,   "path is deeper than 255 folders"},
};

/* The same path said by GNU's long name or by pax. */
static void
add_path(GByteArray *tar, char type, const char *path)
{
    g_autoptr(GString) record = g_string_new(NULL);

    cx_test_tar_append_record(record, "path", path);
    cx_test_tar_add_extended(tar, type, type == CX_TAR_PAX ? record->str : path);
    cx_test_tar_add_file(tar, "plain");
    cx_test_tar_add_end(tar);
}

static void
assert_reads(GByteArray *tar, const CxLayerLimits *limits, CxError code, const char *reason)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = cx_test_tar_describe(tar->data, tar->len, limits, &error);

    if (code == 0) {
        g_assert_no_error(error);
        return;
    }
    g_assert_error(error, CX_ERROR, (int)code);
    if (strstr(error->message, reason) == NULL)
        g_error("\"%s\" does not say \"%s\"", error->message, reason);
    g_assert_nonnull(strstr(error->message, " at offset "));
}

static void
test_paths(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GByteArray) pax = g_byte_array_new(), gnu = g_byte_array_new();
        g_autofree char *path = paths[i].path != NULL
                                    ? g_strdup(paths[i].path)
                                    : make_path(paths[i].length, paths[i].component);

        g_test_message("path %zu", i);
        add_path(pax, CX_TAR_PAX, path);
        assert_reads(pax, &cx_layer_limits_default, paths[i].code, paths[i].reason);
        add_path(gnu, CX_TAR_GNU_LONG_NAME, path);
        assert_reads(gnu, &cx_layer_limits_default, paths[i].code, paths[i].reason);
    }
}

static void
test_short_paths(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new(), hard = g_byte_array_new();

        if (paths[i].path == NULL || strchr(paths[i].path, '\1') != NULL)
            continue;
        cx_test_tar_add_file(tar, paths[i].path);
        assert_reads(tar, &cx_layer_limits_default, paths[i].code, paths[i].reason);
        if (strstr(paths[i].path, "..") != NULL) {
            cx_test_tar_add_link(hard, '1', "link", paths[i].path);
            assert_reads(hard, &cx_layer_limits_default, CX_ERROR_INVALID,
                         "hard link holds \"..\"");
        }
    }
}

/* ---- archives that are refused --------------------------------------------------------------- */

static void
make_dotdot_prefix(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('0', "x", 0);

    memcpy(header.prefix, "a/..", 4);
    cx_test_tar_add_sealed(tar, header);
}

static void
make_dotdot_sparse_name(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "GNU.sparse.name", "../x", "GNU.sparse.size", "0", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_wrong_checksum(GByteArray *tar)
{
    cx_test_tar_add_file(tar, "x");
    tar->data[0] = 'y';
}

static void
make_no_tar(GByteArray *tar)
{
    g_byte_array_set_size(tar, 1024);
    memset(tar->data, 'x', tar->len);
}

static void
make_size(GByteArray *tar, const char *field)
{
    CxTarHeader header = cx_test_tar_header('0', "x", 0);

    memcpy(header.size, field, 12);
    cx_test_tar_add_sealed(tar, header);
    cx_test_tar_add_end(tar);
}

static void
make_negative_size(GByteArray *tar)
{
    make_size(tar, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void
make_size_beyond_63_bits(GByteArray *tar)
{
    make_size(tar, "\x80\0\0\0\x80\0\0\0\0\0\0\0");
}

static void
make_size_beyond_64_bits(GByteArray *tar)
{
    make_size(tar, "\x80\0\0\x01\0\0\0\0\0\0\0\0");
}

static void
make_largest_size(GByteArray *tar)
{
    make_size(tar, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
}

static void
make_garbled_size(GByteArray *tar)
{
    make_size(tar, "00000000128");
}

static void
make_split_size(GByteArray *tar)
{
    make_size(tar, "0000 0000000");
}

static void
make_pax_negative_size(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "size", "-1", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_pax_huge_size(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "size", "9223372036854775807", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_pax_endless_size(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "size", "99999999999999999999", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_negative_uid(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('0', "x", 0);

    memset(header.uid, 0xff, 8);
    cx_test_tar_add_sealed(tar, header);
}

static void
make_overlong_uid(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "uid", "4294967295", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_overlong_gid(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "gid", "18446744073709551616", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_device(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('3', "x", 0);

    cx_tar_format_number(header.major, sizeof header.major, 4096);
    cx_test_tar_add_sealed(tar, header);
}

static void
make_bad_time(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "mtime", "1.2.3", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_huge_pax(GByteArray *tar)
{
    g_autofree char *text = g_strnfill((1 << 20) + 1, 'x');

    cx_test_tar_add_extended(tar, 'x', text);
}

static void
make_endless_pax(GByteArray *tar)
{
    cx_test_tar_add_sealed(tar, cx_test_tar_header('x', "x", (guint64)1 << 32));
}

static void
make_huge_long_name(GByteArray *tar)
{
    cx_test_tar_add_sealed(tar, cx_test_tar_header('L', "x", (1 << 20) + 1));
}

static void
make_pax_without_entry(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "path", "x", NULL);
    cx_test_tar_add_end(tar);
}

static void
make_long_name_empty(GByteArray *tar)
{
    cx_test_tar_add_extended(tar, 'L', "\1\1");
    cx_test_tar_add_file(tar, "x");
}

static void
make_long_name_with_zero(GByteArray *tar)
{
    cx_test_tar_add_extended(tar, 'L', "a\1b\1");
    cx_test_tar_add_file(tar, "x");
}

static void
make_lone_zero_block(GByteArray *tar)
{
    cx_test_tar_add_file(tar, "x");
    cx_test_tar_add_bytes(tar, "", 1); /* a zero, filled up */
    cx_test_tar_add_file(tar, "x");
}

static void
make_no_name(GByteArray *tar)
{
    cx_test_tar_add_file(tar, "");
}

static void
make_empty_symlink(GByteArray *tar)
{
    cx_test_tar_add_link(tar, '2', "x", "");
}

static void
make_root_hardlink(GByteArray *tar)
{
    cx_test_tar_add_link(tar, '1', "x", "./");
}

static void
make_long_symlink(GByteArray *tar)
{
    g_autofree char *target = g_strnfill(4097, 'x');

    cx_test_tar_add_extended(tar, 'K', target);
    cx_test_tar_add_link(tar, '2', "x", "y");
}

static void
make_global_path(GByteArray *tar)
{
    cx_test_tar_add_extended(tar, 'g', "9 path=x\n");
    cx_test_tar_add_file(tar, "y");
}

static void
make_global_xattr(GByteArray *tar)
{
    cx_test_tar_add_extended(tar, 'g', "25 SCHILY.xattr.user.a=b\n");
    cx_test_tar_add_file(tar, "y");
}

static void
make_many_xattrs(GByteArray *tar)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < 5000; i++) {
        g_autofree char *key = g_strdup_printf("SCHILY.xattr.user.%u", i);

        cx_test_tar_append_record(text, key, "v");
    }
    cx_test_tar_add_extended(tar, 'x', text->str);
    cx_test_tar_add_file(tar, "x");
}

static void
make_large_xattr(GByteArray *tar)
{
    g_autofree char *value = g_strnfill(128 * 1024, 'x');

    cx_test_tar_add_pax(tar, "SCHILY.xattr.user.a", value, NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_nameless_xattr(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "SCHILY.xattr.", "x", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_xattr_bad_escape(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "LIBARCHIVE.xattr.user.%4", "x", NULL);
    cx_test_tar_add_file(tar, "x");
}

static void
make_solaris_holes(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "SUN.holesdata", " 0 8192 16384", NULL);
    cx_test_tar_add_file(tar, "x");
}

/* ---- sparse maps that are refused: format 0.1 with 8 stored bytes, of a file of 100
 * -------------- */

static const struct {
    const char *map, *size;
    CxError code; /* 0: fine */
    const char *reason;
} maps[] = {
    {"0,8",                   "100",                 0,                NULL              },
    {"0,4,4,4",               "100",                 0,                NULL              },
    {"0,4,96,4,100,0",        "100",                 0,                NULL              },
    {"0,0,0,0,92,8",          "100",                 0,                NULL              },
    {"0,4,3,4",               "100",                 CX_ERROR_INVALID, "out of order"    },
    {"50,4,0,4",              "100",                 CX_ERROR_INVALID, "out of order"    },
    {"93,8",                  "100",                 CX_ERROR_INVALID, "leaves the file" },
    {"9223372036854775807,8", "9223372036854775807", CX_ERROR_INVALID, "leaves the file" },
    {"0,7",                   "100",                 CX_ERROR_INVALID, "holds less"      },
    {"0,9",                   "100",                 CX_ERROR_INVALID, "holds more"      },
    {"0,9223372036854775807", "9223372036854775807", CX_ERROR_INVALID, "holds more"      },
    {"0",                     "100",                 CX_ERROR_INVALID, "GNU.sparse.map"  },
    {"0,8,",                  "100",                 0,                NULL              },
    {"0,8,9",                 "100",                 CX_ERROR_INVALID, "GNU.sparse.map"  },
    {"0,-8",                  "100",                 CX_ERROR_INVALID, "GNU.sparse.map"  },
    {"0,8",                   "x",                   CX_ERROR_INVALID, "GNU.sparse.size" },
    {"0,8",                   "9223372036854775807", CX_ERROR_LIMIT,   "bytes of content"},
};

static void
test_sparse_maps(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(maps); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        g_test_message("map %s of %s", maps[i].map, maps[i].size);
        cx_test_tar_add_pax(tar, "GNU.sparse.size", maps[i].size, "GNU.sparse.map", maps[i].map,
                            NULL);
        cx_test_tar_add_entry(tar, '0', "x", "12345678");
        assert_reads(tar, &cx_layer_limits_default, maps[i].code, maps[i].reason);
    }
}

static void
make_sparse_without_size(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "GNU.sparse.map", "0,1", NULL);
    cx_test_tar_add_entry(tar, '0', "x", "1");
}

static void
make_sparse_half_pair(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "GNU.sparse.size", "9", "GNU.sparse.offset", "0", NULL);
    cx_test_tar_add_entry(tar, '0', "x", "1");
}

static void
make_sparse_version(GByteArray *tar)
{
    cx_test_tar_add_pax(tar, "GNU.sparse.major", "2", "GNU.sparse.minor", "0", NULL);
    cx_test_tar_add_entry(tar, '0', "x", "1");
}

static void
make_sparse_open_map(GByteArray *tar)
{
    g_autofree char *map = g_strnfill(2000, '1');

    cx_test_tar_add_pax(tar, "GNU.sparse.major", "1", "GNU.sparse.minor", "0",
                        "GNU.sparse.realsize", "9", NULL);
    cx_test_tar_add_entry(tar, '0', "x", map);
}

static void
make_sparse_short_map(GByteArray *tar)
{
    g_autofree char *zeros = g_strnfill(506, '0'), *map = g_strconcat("4\n0\n1\n", zeros, NULL);

    cx_test_tar_add_pax(tar, "GNU.sparse.major", "1", "GNU.sparse.minor", "0",
                        "GNU.sparse.realsize", "9", NULL);
    cx_test_tar_add_entry(tar, '0', "x", map);
}

static void
make_sparse_huge_map(GByteArray *tar)
{
    g_autoptr(GString) map = g_string_new("9999999\n");

    while (map->len < (1 << 20) + 5000)
        g_string_append(map, "0\n");
    cx_test_tar_add_pax(tar, "GNU.sparse.major", "1", "GNU.sparse.minor", "0",
                        "GNU.sparse.realsize", "9", NULL);
    cx_test_tar_add_entry(tar, '0', "x", map->str);
}

static void
make_sparse_ustar(GByteArray *tar)
{
    cx_test_tar_add_file(tar, "x");
    cx_test_tar_add_entry(tar, 'S', "x", "");
}

/* Old GNU: the map goes on for ever. */
static void
make_sparse_endless_blocks(GByteArray *tar)
{
    CxTarHeader header = cx_test_tar_header('S', "x", 0);
    char block[CX_TAR_BLOCK] = {[504] = 1};

    memcpy(header.magic, "ustar  ", 8);
    memset(header.prefix, 0, sizeof header.prefix);
    ((char *)&header)[482] = 1;
    cx_test_tar_add_sealed(tar, header);
    for (guint i = 0; i < (1 << 20) / CX_TAR_BLOCK + 1; i++)
        cx_test_tar_add_bytes(tar, block, sizeof block);
}

static const struct {
    const char *name;
    void (*make)(GByteArray *tar);
    CxError code;
    const char *reason;
} bad[] = {
    {"dotdot-prefix",       make_dotdot_prefix,         CX_ERROR_INVALID,     "path holds \"..\""                           },
    {"dotdot-sparse-name",  make_dotdot_sparse_name,    CX_ERROR_INVALID,     "path holds \"..\""                           },
    {"wrong-checksum",      make_wrong_checksum,        CX_ERROR_INVALID,     "wrong checksum"                              },
    {"no-tar",              make_no_tar,                CX_ERROR_INVALID,     "not a tar archive"                           },
    {"negative-size",       make_negative_size,         CX_ERROR_INVALID,     "size -1 is out of range"                     },
    {"size-63-bits",        make_size_beyond_63_bits,   CX_ERROR_INVALID,     "size is not a number"                        },
    {"size-64-bits",        make_size_beyond_64_bits,   CX_ERROR_INVALID,     "size is not a number"                        },
    {"largest-size",        make_largest_size,          CX_ERROR_MISMATCH,    "truncated"                                   },
    {"garbled-size",        make_garbled_size,          CX_ERROR_INVALID,     "size is not a number"                        },
    {"split-size",          make_split_size,            CX_ERROR_INVALID,     "size is not a number"                        },
    {"pax-negative-size",   make_pax_negative_size,     CX_ERROR_INVALID,     "pax record \"size\""                         },
    {"pax-huge-size",       make_pax_huge_size,         CX_ERROR_MISMATCH,    "truncated"                                   },
    {"pax-endless-size",    make_pax_endless_size,      CX_ERROR_INVALID,     "pax record \"size\""                         },
    {"negative-uid",        make_negative_uid,          CX_ERROR_INVALID,     "uid -1 is out of range"                      },
    {"overlong-uid",        make_overlong_uid,          CX_ERROR_INVALID,     "pax record \"uid\""                          },
    {"overlong-gid",        make_overlong_gid,          CX_ERROR_INVALID,     "pax record \"gid\""                          },
    {"device",              make_device,                CX_ERROR_INVALID,     "major device number 4096"                    },
    {"bad-time",            make_bad_time,              CX_ERROR_INVALID,     "pax record \"mtime\": not a time"            },
    {"huge-pax",            make_huge_pax,              CX_ERROR_LIMIT,       "extended header is larger than 1048576 bytes"},
    {"endless-pax",         make_endless_pax,           CX_ERROR_LIMIT,       "extended header is larger"                   },
    {"huge-long-name",      make_huge_long_name,        CX_ERROR_LIMIT,       "extended header is larger"                   },
    {"pax-without-entry",   make_pax_without_entry,     CX_ERROR_MISMATCH,    "without its entry"                           },
    {"long-name-empty",     make_long_name_empty,       CX_ERROR_INVALID,     "long name is empty"                          },
    {"long-name-with-zero", make_long_name_with_zero,   CX_ERROR_INVALID,     "zero byte"                                   },
    {"lone-zero-block",     make_lone_zero_block,       CX_ERROR_INVALID,     "lone zero block"                             },
    {"no-name",             make_no_name,               CX_ERROR_INVALID,     "without a name"                              },
    {"empty-symlink",       make_empty_symlink,         CX_ERROR_INVALID,     "link to nothing"                             },
    {"root-hardlink",       make_root_hardlink,         CX_ERROR_INVALID,     "link to nothing"                             },
    {"long-symlink",        make_long_symlink,          CX_ERROR_LIMIT,       "target is longer than 4096 bytes"            },
    {"global-path",         make_global_path,           CX_ERROR_UNSUPPORTED, "global pax record \"path\""                  },
    {"global-xattr",        make_global_xattr,          CX_ERROR_UNSUPPORTED, "global pax record \"SCHILY"                  },
    {"many-xattrs",         make_many_xattrs,           CX_ERROR_LIMIT,       "131072 bytes of extended attributes"         },
    {"large-xattr",         make_large_xattr,           CX_ERROR_LIMIT,       "131072 bytes of extended attributes"         },
    {"nameless-xattr",      make_nameless_xattr,        CX_ERROR_INVALID,     "attribute's name"                            },
    {"xattr-bad-escape",    make_xattr_bad_escape,      CX_ERROR_INVALID,     "bad escape"                                  },
    {"solaris-holes",       make_solaris_holes,         CX_ERROR_UNSUPPORTED, "SUN.holesdata"                               },
    {"sparse-without-size", make_sparse_without_size,   CX_ERROR_INVALID,     "without its size"                            },
    {"sparse-half-pair",    make_sparse_half_pair,      CX_ERROR_INVALID,     "without its numbytes"                        },
    {"sparse-version",      make_sparse_version,        CX_ERROR_UNSUPPORTED, "unknown sparse format"                       },
    {"sparse-open-map",     make_sparse_open_map,       CX_ERROR_INVALID,     "does not end"                                },
    {"sparse-short-map",    make_sparse_short_map,      CX_ERROR_INVALID,     "does not end"                                },
    {"sparse-huge-map",     make_sparse_huge_map,       CX_ERROR_LIMIT,       "map is larger than 1048576"                  },
    {"sparse-ustar",        make_sparse_ustar,          CX_ERROR_UNSUPPORTED, "unknown format"                              },
    {"sparse-endless",      make_sparse_endless_blocks, CX_ERROR_LIMIT,       "map is larger than 1048576"                  },
};

static void
test_bad(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();

        g_test_message("should-fail-%s", bad[i].name);
        bad[i].make(tar);
        assert_reads(tar, &cx_layer_limits_default, bad[i].code, bad[i].reason);
    }
}

static void
test_pax_syntax(void)
{
    static const char *const records[] = {
        "5 a=b\n",   "7 a=b\n",  "8 a=b\n",
        "999 a=b\n", "0 a=b\n",  "-6 a=b\n",
        " 6 a=b\n",  "6a=b\n\n", "6 a=bb\n",
        "abc",       "6 =ab\n",  "5 abc\n",
        "6 a\1=b\n", "6",        "6 ",
        "3 \n",      "2\n",      "6 a=b\n7",
        "6 a=b",     "4 a=\n",   "99999999999999999999999 a=b\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(records); i++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();

        g_test_message("pax record %zu", i);
        cx_test_tar_add_extended(tar, 'x', records[i]);
        cx_test_tar_add_file(tar, "x");
        assert_reads(tar, &cx_layer_limits_default, CX_ERROR_INVALID, "pax record");
    }
}

static void
test_types(void)
{
    for (int type = 0; type < 256; type++) {
        g_autoptr(GByteArray) tar = g_byte_array_new();

        if (type == 0 || strchr("01234567xgLKS", type) != NULL)
            continue;
        cx_test_tar_add_entry(tar, (char)type, "name", "data");
        cx_test_tar_add_end(tar);
        assert_reads(tar, &cx_layer_limits_default, CX_ERROR_UNSUPPORTED, "entry of type ");
    }
}

static void
test_limits(void)
{
    CxLayerLimits limits = cx_layer_limits_default;
    g_autoptr(GByteArray) tar = g_byte_array_new();

    for (guint i = 0; i < 3; i++)
        cx_test_tar_add_entry(tar, '0', "file", "1234567890");

    limits.entries_max = 3;
    limits.bytes_max = 30;
    assert_reads(tar, &limits, 0, NULL);
    limits.entries_max = 2;
    assert_reads(tar, &limits, CX_ERROR_LIMIT, "more than 2 entries");
    limits.entries_max = 3;
    limits.bytes_max = 29;
    assert_reads(tar, &limits, CX_ERROR_LIMIT, "more than 29 bytes of content");
}

/* The message names the entry, as far as it is known, and its offset. */
static void
test_message(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    cx_test_tar_add_entry(tar, '0', "first", "x");
    cx_test_tar_add_entry(tar, 'M', "odd\nna\"me", "x");
    text = cx_test_tar_describe(tar->data, tar->len, &cx_layer_limits_default, &error);
    g_assert_cmpstr(text, ==, "f 0644 0:0 0.000000000 first \"x\"\n");
    g_assert_cmpstr(error->message, ==,
                    "tar entry \"odd\\nna\\\"me\" at offset 1027: entry of type 'M'");
}

/* ---- */

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/layer/tar-hostile/paths", test_paths);
    g_test_add_func("/layer/tar-hostile/short-paths", test_short_paths);
    g_test_add_func("/layer/tar-hostile/bad", test_bad);
    g_test_add_func("/layer/tar-hostile/sparse-maps", test_sparse_maps);
    g_test_add_func("/layer/tar-hostile/pax-syntax", test_pax_syntax);
    g_test_add_func("/layer/tar-hostile/types", test_types);
    g_test_add_func("/layer/tar-hostile/limits", test_limits);
    g_test_add_func("/layer/tar-hostile/message", test_message);
    return g_test_run();
}
