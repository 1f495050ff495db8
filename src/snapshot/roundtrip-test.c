/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "layer/diff.h"
#include "layer/pack.h"
#include "layer/test-layer.h"
#include "snapshot/snapshotter.h"

/* Whatever a step does to a tree, the layer that diff makes of it shows the same tree; a tree
 * looked up without mounting is the one that is mounted; and a tree that is packed comes out again.
 * Steps are made of random changes; --seed repeats a failure. */

#define N_CHANGES 60
#define N_LAYERS 2
#define N_STEPS 3
#define N_ROUNDS 12

typedef struct {
    CxTestFolder folder;
    CxLayerStore *layers;
    CxSnapshotter *snapshotter;
    CxLower lowers[N_LAYERS + N_STEPS];
    guint n_lowers;
} Fixture;

static void
fixture_init(Fixture *self, gconstpointer engine)
{
    GError *error = NULL;

    cx_test_folder_init(&self->folder);
    g_assert_cmpint(mkdirat(self->folder.fd, "tmp", 0700), ==, 0);
    self->layers = cx_layer_store_open(self->folder.fd, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    self->snapshotter = cx_snapshotter_open(self->folder.fd, self->layers, engine, &error);
    g_assert_no_error(error);
}

static void
fixture_clear(Fixture *self, gconstpointer engine)
{
    cx_snapshotter_close(self->snapshotter);
    cx_layer_store_close(self->layers);
    cx_test_folder_clear(&self->folder);
}

/* ---- changes --------------------------------------------------------------------------------- */

/* One of few paths, so that changes meet. */
static char *
any_path(void)
{
    GString *path = g_string_new(NULL);
    gint depth = g_test_rand_int_range(1, 4);

    for (gint i = 0; i < depth; i++)
        g_string_append_printf(path, "%s%c", i > 0 ? "/" : "", 'a' + g_test_rand_int_range(0, 4));
    return g_string_free(path, FALSE);
}

static int
write_file(int root_fd, const char *path)
{
    cx_autofd int fd = openat(
        root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    g_autofree char *text = g_strdup_printf("%d", g_test_rand_int_range(0, 1000));

    return fd < 0 || cx_write_all(fd, text, strlen(text), NULL) ? 0 : -1;
}

static int
set_xattr(int root_fd, const char *path)
{
    cx_autofd int fd = openat(root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? -1 : fsetxattr(fd, "user.x", "1", 1, 0);
}

/* Changes that cannot be made here (there is no such parent, a folder is not empty) are not made.
 */
static int
change(int root_fd)
{
    g_autofree char *path = any_path();
    g_autofree char *other = any_path();
    mode_t mode = (mode_t)g_test_rand_int_range(0, 4) * 0011 + 0700;

    switch (g_test_rand_int_range(0, 13)) {
    case 0:
    case 1:
    case 2:
        return mkdirat(root_fd, path, 0755);
    case 3:
    case 4:
        return write_file(root_fd, path);
    case 5:
        return symlinkat(other, root_fd, path);
    case 6:
        return linkat(root_fd, path, root_fd, other, 0);
    case 7:
        return cx_remove_tree_at(root_fd, path, NULL) ? 0 : -1;
    case 8:
        return renameat(root_fd, path, root_fd, other);
    case 9:
        return fchmodat(root_fd, path, mode, AT_SYMLINK_NOFOLLOW);
    case 10:
        return mkfifoat(root_fd, path, 0600);
    case 11:
        return fchownat(root_fd, path, mode & 7, mode & 3, AT_SYMLINK_NOFOLLOW);
    default:
        return set_xattr(root_fd, path);
    }
}

/* One step: some changes over the lowers so far. */
static guint64
step(Fixture *self)
{
    GError *error = NULL;
    g_autoptr(CxActive) active =
        cx_snapshotter_prepare(self->snapshotter, self->lowers, self->n_lowers, &error);
    guint64 upper;

    g_assert_no_error(error);
    {
        cx_autofd int fd = open(cx_active_peek_path(active), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        for (guint i = 0; i < N_CHANGES; i++)
            (void)change(fd);
    }
    cx_active_commit(active, &upper, &error);
    g_assert_no_error(error);
    return upper;
}

/* ---- layers ---------------------------------------------------------------------------------- */

typedef gboolean (*Produce)(Fixture *self, CxTarWriter *writer, gconstpointer data, GError **error);

static CxLower
make_layer(Fixture *self, Produce produce, gconstpointer data)
{
    CxLower lower = {.kind = CX_LOWER_LAYER};
    GError *error = NULL;
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(self->layers, &error);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(cx_layer_ingest_get_sink(ingest));

    produce(self, writer, data, &error);
    g_assert_no_error(error);
    g_assert_true(cx_tar_writer_finish(writer, &error));
    cx_layer_ingest_commit(ingest, NULL, &lower.diff_id, NULL, &error);
    g_assert_no_error(error);
    return lower;
}

static CxTree *
make_tree(Fixture *self, guint n)
{
    CxTree *tree = cx_tree_new();

    for (guint i = 0; i < n; i++) {
        GError *error = NULL;
        int fd = cx_snapshotter_open_lower(self->snapshotter, &self->lowers[i], &error);

        g_assert_no_error(error);
        cx_tree_take_folder(tree, fd);
    }
    return tree;
}

typedef struct {
    guint first; /* of the deltas in lowers */
    guint n;
    gboolean knows_below;
} DiffOf;

static gboolean
produce_diff(Fixture *self, CxTarWriter *writer, gconstpointer data, GError **error)
{
    const DiffOf *what = data;
    g_autoptr(CxTree) below = what->knows_below ? make_tree(self, what->first) : NULL;
    int deltas[N_STEPS];
    gboolean ok;

    for (guint i = 0; i < what->n; i++) {
        deltas[i] =
            cx_snapshotter_open_lower(self->snapshotter, &self->lowers[what->first + i], error);
        g_assert_cmpint(deltas[i], >=, 0);
    }
    ok = cx_layer_diff(deltas, what->n, below, 0, writer, NULL, error);
    for (guint i = 0; i < what->n; i++)
        cx_clear_fd(&deltas[i]);
    return ok;
}

static gboolean
produce_pack(Fixture *self, CxTarWriter *writer, gconstpointer data, GError **error)
{
    g_autoptr(CxTree) nothing = cx_tree_new();
    CxPack pack = {.parent_fd = *(const int *)data,
                   .name = ".",
                   .dest = "/",
                   .below = nothing,
                   .keep_owner = TRUE};

    return cx_layer_pack(&pack, writer, NULL, error);
}

static char *
describe(Fixture *self, const CxLower *lowers, guint n)
{
    GError *error = NULL;
    g_autoptr(CxMergedView) view = cx_snapshotter_mount_view(self->snapshotter, lowers, n, &error);

    g_assert_no_error(error);
    return cx_test_describe(cx_merged_view_get_fd(view));
}

/* A base of layers, and steps upon it. */
static void
make_history(Fixture *self)
{
    for (self->n_lowers = 0; self->n_lowers < N_LAYERS; self->n_lowers++) {
        CxLower *lower = &self->lowers[self->n_lowers];
        DiffOf what = {.first = self->n_lowers, .n = 1, .knows_below = g_test_rand_bit()};

        *lower = (CxLower){.kind = CX_LOWER_UPPER, .upper = step(self)};
        *lower = make_layer(self, produce_diff, &what);
    }
    for (; self->n_lowers < N_LAYERS + N_STEPS; self->n_lowers++)
        self->lowers[self->n_lowers] = (CxLower){.kind = CX_LOWER_UPPER, .upper = step(self)};
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
test_diff(Fixture *self, gconstpointer engine)
{
    for (guint round = 0; round < N_ROUNDS; round++) {
        g_autofree char *before = NULL;

        make_history(self);
        before = describe(self, self->lowers, self->n_lowers);
        for (int knows_below = 0; knows_below < 2; knows_below++) {
            DiffOf what = {.first = N_LAYERS, .n = N_STEPS, .knows_below = knows_below};
            CxLower made[N_LAYERS + 1];
            g_autofree char *after = NULL;

            memcpy(made, self->lowers, N_LAYERS * sizeof *made);
            made[N_LAYERS] = make_layer(self, produce_diff, &what);
            after = describe(self, made, N_LAYERS + 1);
            g_assert_cmpstr(before, ==, after);
        }
    }
}

static void
test_pack(Fixture *self, gconstpointer engine)
{
    for (guint round = 0; round < N_ROUNDS; round++) {
        GError *error = NULL;
        g_autoptr(CxMergedView) view = NULL;
        g_autofree char *before = NULL;
        g_autofree char *after = NULL;
        CxLower made;
        int fd;

        make_history(self);
        view = cx_snapshotter_mount_view(self->snapshotter, self->lowers, self->n_lowers, &error);
        g_assert_no_error(error);
        fd = cx_merged_view_get_fd(view);
        before = cx_test_describe(fd);
        made = make_layer(self, produce_pack, &fd);
        after = describe(self, &made, 1);
        g_assert_cmpstr(before, ==, after);
    }
}

static void
compare_path(CxTree *tree, int fd, const char *path)
{
    g_auto(CxTreeNode) node = {0};
    GError *error = NULL;
    struct stat st = {0};

    if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        st.st_mode = 0;
    g_assert_true(cx_tree_lookup(tree, path, &node, &error));
    g_assert_cmpuint(node.mode, ==, st.st_mode);
    g_assert_cmpuint(node.uid, ==, st.st_uid);
    g_assert_cmpuint(node.gid, ==, st.st_gid);
}

/* Every path there may be, whether it is there or not. */
static void
compare_below(CxTree *tree, int fd, const char *folder, guint depth)
{
    for (int name = 'a'; name < 'e'; name++) {
        g_autofree char *path =
            g_strdup_printf("%s%s%c", folder, folder[0] != '\0' ? "/" : "", name);

        /* What lies beyond a link is not what fstatat would tell of it. */
        compare_path(tree, fd, path);
        if (depth > 1 && readlinkat(fd, path, (char[8]){0}, 8) < 0)
            compare_below(tree, fd, path, depth - 1);
    }
}

static void
test_tree(Fixture *self, gconstpointer engine)
{
    for (guint round = 0; round < N_ROUNDS; round++) {
        GError *error = NULL;
        g_autoptr(CxMergedView) view = NULL;
        g_autoptr(CxTree) tree = NULL;

        make_history(self);
        view = cx_snapshotter_mount_view(self->snapshotter, self->lowers, self->n_lowers, &error);
        g_assert_no_error(error);
        tree = make_tree(self, self->n_lowers);
        compare_below(tree, cx_merged_view_get_fd(view), "", 3);
    }
}

int
main(int argc, char **argv)
{
    static const char *const engines[] = {"erofs", "unpacked"};
    static const struct {
        const char *name;
        void (*test)(Fixture *self, gconstpointer engine);
    } tests[] = {
        {"diff", test_diff},
        {"pack", test_pack},
        {"tree", test_tree},
    };

    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP mounting needs root\n");
        return 0;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(engines); i++)
        for (gsize k = 0; k < G_N_ELEMENTS(tests); k++) {
            g_autofree char *name = g_strdup_printf("/roundtrip/%s/%s", engines[i], tests[k].name);

            g_test_add(name, Fixture, engines[i], fixture_init, tests[k].test, fixture_clear);
        }
    return g_test_run();
}
