/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/erofs-format.h"
#include "layer/erofs-index.h"
#include "layer/test-layer.h"
#include "layer/test-tar.h"
#include "layer/test-views.h"

/* Builds the index of a table of entries.  Returns an fd of the index, or -1 with error set. */
static int
build(const CxTestFolder *folder,
      const CxTestEntry *entries,
      CxErofsStats *out_stats,
      GError **error)
{
    cx_autofd int tar_fd = cx_test_create(folder, "tar");
    cx_autofd int index_fd = cx_test_create(folder, "index");
    guint64 size = cx_test_write_tar(tar_fd, entries);

    if (!cx_erofs_index_build(tar_fd, size, &cx_layer_limits_default, index_fd, out_stats, error))
        return -1;
    return cx_steal_fd(&index_fd);
}

static char *
mount_and_describe(const CxTestFolder *folder)
{
    g_autofree char *index = g_build_filename(folder->path, "index", NULL);
    g_autofree char *options = g_strdup_printf("device=%s/tar", folder->path);
    g_autofree char *mounted = g_build_filename(folder->path, "mnt", NULL);
    char *description;
    int fd;

    g_assert_cmpint(mkdirat(folder->fd, "mnt", 0700), ==, 0);
    if (mount(index, mounted, "erofs", MS_RDONLY, options) < 0)
        g_error("mount: %s", g_strerror(errno));
    fd = open(mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    description = cx_test_describe(fd);
    close(fd);
    g_assert_cmpint(umount2(mounted, 0), ==, 0);
    return description;
}

static void
test_view(gconstpointer data)
{
    const CxTestEntry *entries = data;
    g_auto(CxTestFolder) folder = {0};
    g_autofree char *description = NULL;
    const char *expected = NULL;
    cx_autofd int fd = -1;
    GError *error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_views); i++)
        if (cx_test_views[i].entries == entries)
            expected = cx_test_views[i].expected;

    cx_test_folder_init(&folder);
    fd = build(&folder, entries, NULL, &error);
    g_assert_no_error(error);
    if (!folder.may_mount) {
        g_test_skip("mounting needs root");
        return;
    }
    description = mount_and_describe(&folder);
    g_assert_cmpstr(description, ==, expected);
}

static void
test_refusal(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(GError) error = NULL;

    cx_test_folder_init(&folder);
    g_assert_cmpint(build(&folder, cx_test_refusals[i].entries, NULL, &error), ==, -1);
    g_assert_error(error, CX_ERROR, (int)cx_test_refusals[i].code);
    if (cx_test_refusals[i].message != NULL)
        g_assert_cmpstr(error->message, ==, cx_test_refusals[i].message);
}

static void
test_limit(void)
{
    g_auto(CxTestFolder) folder = {0};
    cx_autofd int tar_fd = -1;
    cx_autofd int index_fd = -1;
    g_autoptr(GError) error = NULL;
    CxLayerLimits limits = cx_layer_limits_default;
    CxTestEntry entries[] = {
        {"a/b/c/d/e/f/g/h/i/j", F, "1"},
        {NULL                 }
    };
    guint64 size;

    limits.entries_max = 8;
    cx_test_folder_init(&folder);
    tar_fd = cx_test_create(&folder, "tar");
    index_fd = cx_test_create(&folder, "index");
    size = cx_test_write_tar(tar_fd, entries);
    g_assert_false(cx_erofs_index_build(tar_fd, size, &limits, index_fd, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
}

/* Everything the reader tells, against the table. */
static void
test_read(void)
{
    static const CxTestEntry entries[] = {
        {"",            D, .mode = 0750, .mtime = 7},
        {"d", D, .mode = 01777, .uid = 1, .gid = 2, .mtime = -5},
        {"d/file",             F, "content", .mode = 04755, .mtime = 7, .xattr = "security.capability",
         .value = "cap"},
        {"d/empty",            F, ""},
        {"d/link",     L, "../target"},
        {"d/.wh.gone",  F, ""},
        {"e/.wh..wh..opq",      F, ""},
        {NULL   },
    };
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(CxErofsIndex) index = NULL;
    g_autoptr(GPtrArray) xattrs = NULL;
    g_autofree char *target = NULL;
    g_auto(GStrv) names = NULL;
    cx_autofd int tar_fd = -1;
    cx_autofd int fd = -1;
    CxErofsStats stats;
    CxErofsNode node, d;
    GError *error = NULL;
    char content[8] = "";

    cx_test_folder_init(&folder);
    fd = build(&folder, entries, &stats, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(stats.entries, ==, 7);
    g_assert_cmpuint(stats.implicit_folders, ==, 1);

    index = cx_erofs_index_open(fd, &error);
    g_assert_no_error(error);
    g_assert_true(cx_erofs_index_stat(index, cx_erofs_index_get_root(index), &node, &error));
    g_assert_cmpuint(node.mode, ==, S_IFDIR | 0750);
    g_assert_cmpint(node.mtime, ==, 7);
    g_assert_cmpuint(node.nlink, ==, 4);
    g_assert_false(node.implicit);

    g_assert_true(cx_erofs_index_lookup(index, node.nid, "d", &d, &error));
    g_assert_cmpuint(d.mode, ==, S_IFDIR | 01777);
    g_assert_cmpuint(d.uid, ==, 1);
    g_assert_cmpuint(d.gid, ==, 2);
    g_assert_cmpint(d.mtime, ==, -5);
    names = cx_erofs_index_list(index, d.nid, &error);
    g_assert_cmpuint(g_strv_length(names), ==, 4);
    g_assert_cmpstr(names[1], ==, "file");

    g_assert_true(cx_erofs_index_lookup(index, d.nid, "file", &node, &error));
    g_assert_cmpuint(node.mode, ==, S_IFREG | 04755);
    g_assert_cmpuint(node.size, ==, 7);
    tar_fd = openat(folder.fd, "tar", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(tar_fd, content, 7, (off_t)node.data_offset), ==, 7);
    g_assert_cmpstr(content, ==, "content");
    xattrs = cx_erofs_index_xattrs(index, node.nid, &error);
    g_assert_cmpuint(xattrs->len, ==, 1);
    g_assert_cmpstr(((CxXattr *)g_ptr_array_index(xattrs, 0))->name, ==, "security.capability");

    g_assert_true(cx_erofs_index_lookup(index, d.nid, "empty", &node, &error));
    g_assert_cmpuint(node.data_offset, ==, G_MAXUINT64);
    g_assert_null(cx_erofs_index_xattrs(index, node.nid, &error));
    g_assert_no_error(error);
    g_assert_true(cx_erofs_index_lookup(index, d.nid, "link", &node, &error));
    target = cx_erofs_index_read_link(index, node.nid, &error);
    g_assert_cmpstr(target, ==, "../target");
    g_assert_true(cx_erofs_index_lookup(index, d.nid, "gone", &node, &error));
    g_assert_true(S_ISCHR(node.mode) && node.rdev == 0);
    g_assert_true(cx_erofs_index_lookup(index, cx_erofs_index_get_root(index), "e", &node, &error));
    g_assert_true(node.opaque && node.implicit);

    g_assert_false(cx_erofs_index_lookup(index, d.nid, "nothing", &node, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
}

/* Names and targets of every length, so that records, inodes and links lie in every position to a
 * block's edge. */
static void
test_edges(void)
{
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(GArray) entries = g_array_new(TRUE, TRUE, sizeof(CxTestEntry));
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(CxErofsIndex) index = NULL;
    g_autofree char *description = NULL;
    cx_autofd int fd = -1;
    CxErofsNode many;
    GError *error = NULL;

    for (guint i = 1; i < 1500; i++) {
        char *name = g_strdup_printf("many/%0*u", (int)(4 + i % 250), i);
        char *target = g_strnfill(i, 'x');
        CxTestEntry entry = {name, L, target, .mtime = i % 3};

        g_array_append_val(entries, entry);
        g_ptr_array_add(texts, name);
        g_ptr_array_add(texts, target);
    }
    cx_test_folder_init(&folder);
    fd = build(&folder, (const CxTestEntry *)entries->data, NULL, &error);
    g_assert_no_error(error);
    index = cx_erofs_index_open(fd, &error);
    g_assert_no_error(error);
    g_assert_true(
        cx_erofs_index_lookup(index, cx_erofs_index_get_root(index), "many", &many, &error));

    for (guint i = 0; i < entries->len; i++) {
        const CxTestEntry *entry = &g_array_index(entries, CxTestEntry, i);
        g_autofree char *target = NULL;
        CxErofsNode node;

        g_assert_true(
            cx_erofs_index_lookup(index, many.nid, entry->path + strlen("many/"), &node, &error));
        target = cx_erofs_index_read_link(index, node.nid, &error);
        g_assert_cmpstr(target, ==, entry->text);
        g_assert_cmpint(node.mtime, ==, entry->mtime);
    }

    if (!folder.may_mount) {
        g_test_skip("mounting needs root");
        return;
    }
    description = mount_and_describe(&folder);
    g_assert_cmpuint(g_strrstr(description, "l many/") - description, >, 100000);
}

static const struct {
    const char *name;
    const char *map; /* as in the archive: number of runs, then offset and size of each */
    guint size;      /* of the data in the archive, the map's block left out */
    guint real_size;
    CxError code; /* with n_runs 0 */
    guint n_runs;
    CxExtent runs[4]; /* data_offset: from the start of the data, or G_MAXUINT64 */
} sparse_files[] = {
    {"/hole-first",      "1\n4096\n512\n", 512,  4608, 0,                    2, {{0, 4096, G_MAXUINT64}, {4096, 512, 0}} },
    {"/hole-last",
     "2\n0\n1024\n4096\n0\n",              1024,
     4096,                                             0,
     2,                                                                         {{0, 1024, 0}, {1024, 3072, G_MAXUINT64}}},
    {"/all-hole",        "1\n8192\n0\n",   0,    8192, 0,                    1, {{0, 8192, G_MAXUINT64}}                 },
    {"/odd-end",         "1\n512\n100\n",  100,  612,  0,                    2, {{0, 512, G_MAXUINT64}, {512, 100, 0}}   },
    {"/unaligned-start", "1\n700\n100\n",  100,  1000, CX_ERROR_UNSUPPORTED, 0, {{0, 0, 0}}                              },
    {"/unaligned-end",   "1\n512\n100\n",  100,  1000, CX_ERROR_UNSUPPORTED, 0, {{0, 0, 0}}                              },
};

static void
check_runs(gsize i, CxErofsIndex *index, guint64 data_offset)
{
    CxErofsNode node;
    GError *error = NULL;
    guint64 at = 0;

    g_assert_true(cx_erofs_index_lookup(index, cx_erofs_index_get_root(index), "f", &node, &error));
    g_assert_true(node.sparse);
    g_assert_cmpuint(node.data_offset, ==, G_MAXUINT64);
    for (guint k = 0; k < sparse_files[i].n_runs; k++) {
        const CxExtent *run = &sparse_files[i].runs[k];

        /* A run may be told in several chunks. */
        for (guint64 end = run->offset + run->size; at < end;) {
            CxExtent extent;

            g_assert_true(cx_erofs_index_map(index, node.nid, at, &extent, &error));
            g_assert_cmpuint(extent.offset, ==, at);
            if (run->data_offset == G_MAXUINT64)
                g_assert_cmpuint(extent.data_offset, ==, G_MAXUINT64);
            else
                g_assert_cmpuint(extent.data_offset, ==, data_offset + at - run->offset);
            at += extent.size;
        }
    }
    g_assert_cmpuint(at, ==, sparse_files[i].real_size);
    g_assert_false(cx_erofs_index_map(index, node.nid, at, &(CxExtent){0}, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
}

static void
test_sparse(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_autofree char *real_size = g_strdup_printf("%u", sparse_files[i].real_size);
    g_autofree char *content = g_strnfill(sparse_files[i].size, 'x');
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autoptr(CxErofsIndex) index = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(CxTestFolder) folder = {0};
    cx_autofd int tar_fd = -1;
    cx_autofd int index_fd = -1;
    guint64 data_offset;
    gboolean ok;

    cx_test_tar_add_pax(tar, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name",
                        "f", "GNU.sparse.realsize", real_size, NULL);
    cx_test_tar_add_sealed(tar, cx_test_tar_header('0', "x", 512 + sparse_files[i].size));
    cx_test_tar_add_bytes(tar, sparse_files[i].map, strlen(sparse_files[i].map));
    data_offset = tar->len;
    cx_test_tar_add_bytes(tar, content, sparse_files[i].size);
    cx_test_tar_add_end(tar);

    cx_test_folder_init(&folder);
    tar_fd = cx_test_create(&folder, "tar");
    index_fd = cx_test_create(&folder, "index");
    g_assert_true(cx_write_all(tar_fd, tar->data, tar->len, &error));
    ok = cx_erofs_index_build(tar_fd, tar->len, &cx_layer_limits_default, index_fd, NULL, &error);
    if (sparse_files[i].n_runs == 0) {
        g_assert_false(ok);
        g_assert_error(error, CX_ERROR, (int)sparse_files[i].code);
        return;
    }
    g_assert_no_error(error);
    index = cx_erofs_index_open(index_fd, &error);
    g_assert_no_error(error);
    check_runs(i, index, data_offset);
}

/* Damage of any byte is an error or harmless. */
static void
test_damage(void)
{
    static const CxTestEntry entries[] = {
        {"a/b",         F, "1", .xattr = "user.x", .value = "y"},
        {"a/c",          L, "b"},
        {"a/d", D},
        {NULL        }
    };
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(GBytes) bytes = NULL;
    cx_autofd int fd = -1;
    GError *error = NULL;
    guint n_refused = 0;

    cx_test_folder_init(&folder);
    fd = build(&folder, entries, NULL, &error);
    g_assert_no_error(error);
    bytes = cx_read_file_at(folder.fd, "index", 1 << 20, &error);
    g_assert_no_error(error);

    for (gsize at = 1024; at < g_bytes_get_size(bytes); at++) {
        g_autoptr(CxErofsIndex) index = NULL;
        g_autofree guint8 *copy = g_memdup2(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
        cx_autofd int copy_fd = cx_test_create(&folder, "copy");
        CxErofsNode a;

        copy[at] ^= 0xff;
        g_assert_true(cx_write_all(copy_fd, copy, g_bytes_get_size(bytes), &error));
        index = cx_erofs_index_open(copy_fd, &error);
        if (index != NULL &&
            cx_erofs_index_lookup(index, cx_erofs_index_get_root(index), "a", &a, &error)) {
            g_auto(GStrv) names = cx_erofs_index_list(index, a.nid, &error);
            g_autoptr(GPtrArray) xattrs =
                cx_erofs_index_xattrs(index, a.nid, error == NULL ? &error : NULL);

            (void)names;
        }
        n_refused += error != NULL;
        g_clear_error(&error);
    }
    g_assert_cmpuint(n_refused, >, 40);
}

/* After a reboot, damage of any byte is found when it is opened. */
static void
test_sum(void)
{
    static const CxTestEntry entries[] = {
        {"a/b", CX_ENTRY_FILE,    "1" },
        {"a/c", CX_ENTRY_SYMLINK, "b" },
        {NULL,  CX_ENTRY_FILE,    NULL},
    };
    const gsize boot_at = CX_EROFS_SUPER_OFFSET + offsetof(CxErofsSuper, boot);
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(CxErofsIndex) whole = NULL;
    g_autoptr(GBytes) bytes = NULL;
    g_autofree guint8 *copy = NULL;
    cx_autofd int fd = -1;
    GError *error = NULL;
    gsize size;

    cx_test_folder_init(&folder);
    fd = build(&folder, entries, NULL, &error);
    g_assert_no_error(error);
    bytes = cx_read_file_at(folder.fd, "index", 1 << 20, &error);
    g_assert_no_error(error);
    copy = g_memdup2(g_bytes_get_data(bytes, &size), g_bytes_get_size(bytes));

    copy[boot_at] ^= 1; /* another boot */
    g_assert_true(cx_pwrite_all(fd, copy, size, 0, &error));
    whole = cx_erofs_index_open(fd, &error);
    g_assert_no_error(error);

    for (gsize at = CX_EROFS_META_OFFSET; at < size; at++) {
        g_autoptr(CxErofsIndex) index = NULL;

        copy[at] ^= 1;
        g_assert_true(cx_pwrite_all(fd, copy, size, 0, &error));
        copy[at] ^= 1;
        index = cx_erofs_index_open(fd, &error);
        g_assert_null(index);
        g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
        g_clear_error(&error);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_views); i++) {
        g_autofree char *name = g_strconcat("/erofs-index/view", cx_test_views[i].name, NULL);

        g_test_add_data_func(name, cx_test_views[i].entries, test_view);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_refusals); i++) {
        g_autofree char *name =
            g_strconcat("/erofs-index/should-fail", cx_test_refusals[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_refusal);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(sparse_files); i++) {
        g_autofree char *name = g_strconcat("/erofs-index/sparse", sparse_files[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_sparse);
    }
    g_test_add_func("/erofs-index/should-fail/limit", test_limit);
    g_test_add_func("/erofs-index/read", test_read);
    g_test_add_func("/erofs-index/edges", test_edges);
    g_test_add_func("/erofs-index/damage", test_damage);
    g_test_add_func("/erofs-index/sum", test_sum);
    return g_test_run();
}
