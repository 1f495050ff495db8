/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/test-layer.h"
#include "layer/test-tar.h"
#include "layer/test-views.h"
#include "snapshot/snapshotter.h"

/* The conformance suite of snapshotters: every test runs on every engine, with either way of
 * mounting. */
typedef struct {
    const char *name;
    const char *engine;
    const char *disable; /* CX_DISABLE */
} Way;

static const Way ways[] = {
    {"erofs",            "erofs",    ""        },
    {"erofs-classic",    "erofs",    "mountapi"},
    {"unpacked",         "unpacked", ""        },
    {"unpacked-classic", "unpacked", "mountapi"},
};

typedef struct {
    CxTestFolder folder;
    int root_fd;
    CxLayerStore *layers;
    CxSnapshotter *snapshotter;
} Fixture;

static void
open_snapshotter(Fixture *self, const Way *way)
{
    GError *error = NULL;

    g_setenv("CX_DISABLE", way->disable, TRUE);
    self->layers = cx_layer_store_open(self->root_fd, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    self->snapshotter = cx_snapshotter_open(self->root_fd, self->layers, way->engine, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(cx_snapshotter_get_engine(self->snapshotter), ==, way->engine);
}

static void
close_snapshotter(Fixture *self)
{
    g_clear_pointer(&self->snapshotter, cx_snapshotter_close);
    g_clear_pointer(&self->layers, cx_layer_store_close);
}

static void
fixture_init(Fixture *self, gconstpointer way)
{
    cx_test_folder_init(&self->folder);
    g_assert_cmpint(mkdirat(self->folder.fd, "root", 0700), ==, 0);
    g_assert_cmpint(mkdirat(self->folder.fd, "root/tmp", 0700), ==, 0);
    self->root_fd = openat(self->folder.fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    open_snapshotter(self, way);
}

static void
fixture_clear(Fixture *self, gconstpointer way)
{
    g_autofree char *mounts = NULL;

    close_snapshotter(self);
    g_assert_true(g_file_get_contents("/proc/self/mountinfo", &mounts, NULL, NULL));
    g_assert_null(strstr(mounts, self->folder.path));
    cx_clear_fd(&self->root_fd);
    cx_test_folder_clear(&self->folder);
}

static CxLower
add_tar(Fixture *self, int fd, guint64 size)
{
    g_autoptr(CxLayerIngest) ingest = NULL;
    CxLower lower = {.kind = CX_LOWER_LAYER};
    GError *error = NULL;

    ingest = cx_layer_store_begin(self->layers, &error);
    g_assert_no_error(error);
    g_assert_true(cx_sink_splice(cx_layer_ingest_get_sink(ingest), fd, 0, size, &error));
    cx_layer_ingest_commit(ingest, NULL, &lower.diff_id, NULL, &error);
    g_assert_no_error(error);
    return lower;
}

static CxLower
add_layer(Fixture *self, const CxTestEntry *entries)
{
    cx_autofd int fd = cx_test_create(&self->folder, "tar");
    guint64 size = cx_test_write_tar(fd, entries);

    return add_tar(self, fd, size);
}

/* A layer of one file of 1000 bytes, 100 of them at 700: a hole that no block boundary ends. */
static CxLower
add_odd_layer(Fixture *self)
{
    cx_autofd int fd = cx_test_create(&self->folder, "tar");
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autofree char *data = g_strnfill(100, 'x');

    cx_test_tar_add_pax(tar, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name",
                        "etc/odd", "GNU.sparse.realsize", "1000", NULL);
    cx_test_tar_add_sealed(tar, cx_test_tar_header('0', "odd", 512 + 100));
    cx_test_tar_add_bytes(tar, "1\n700\n100\n", strlen("1\n700\n100\n"));
    cx_test_tar_add_bytes(tar, data, 100);
    cx_test_tar_add_end(tar);
    g_assert_true(cx_write_all(fd, tar->data, tar->len, NULL));
    return add_tar(self, fd, tar->len);
}

static CxActive *
prepare(Fixture *self, const CxLower *lowers, guint n)
{
    GError *error = NULL;
    CxActive *active = cx_snapshotter_prepare(self->snapshotter, lowers, n, &error);

    g_assert_no_error(error);
    return active;
}

static int
open_path(const CxActive *active)
{
    int fd = open(cx_active_peek_path(active), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static CxLower
commit(CxActive *take_active)
{
    CxLower lower = {.kind = CX_LOWER_UPPER};
    GError *error = NULL;

    cx_active_commit(take_active, &lower.upper, &error);
    g_assert_no_error(error);
    cx_active_free(take_active);
    return lower;
}

/* What a merged view of the lowers shows. */
static char *
describe(Fixture *self, const CxLower *lowers, guint n)
{
    GError *error = NULL;
    g_autoptr(CxMergedView) view = cx_snapshotter_mount_view(self->snapshotter, lowers, n, &error);

    g_assert_no_error(error);
    return cx_test_describe(cx_merged_view_get_fd(view));
}

/* ---- views ----------------------------------------------------------------------------------- */

static void
test_views(Fixture *self, gconstpointer way)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_views); i++) {
        CxLower lower = add_layer(self, cx_test_views[i].entries);
        g_autofree char *description = NULL;
        cx_autofd int fd = -1;
        GError *error = NULL;

        fd = cx_snapshotter_open_lower(self->snapshotter, &lower, &error);
        g_assert_no_error(error);
        description = cx_test_describe(fd);
        g_assert_cmpstr(description, ==, cx_test_views[i].expected);
    }
}

static void
test_refusals(Fixture *self, gconstpointer way)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_refusals); i++) {
        CxLower lower = add_layer(self, cx_test_refusals[i].entries);
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(cx_snapshotter_open_lower(self->snapshotter, &lower, &error), ==, -1);
        g_assert_error(error, CX_ERROR, (int)cx_test_refusals[i].code);
    }
}

static const CxTestEntry base[] = {
    {"",            CX_ENTRY_FOLDER, NULL,       .mode = 0751},
    {"etc",             CX_ENTRY_FOLDER,                        NULL,       .mode = 0700, .uid = 3, .gid = 4},
    {"etc/passwd", CX_ENTRY_FILE,        "root"   },
    {"etc/group",  CX_ENTRY_FILE,    "root"},
    {"opt",   CX_ENTRY_FOLDER,    NULL    },
    {"opt/a",         CX_ENTRY_FILE,       "1"         },
    {NULL,       CX_ENTRY_FILE, NULL },
};
static const CxTestEntry top[] = {
    {"etc/.wh.group",    CX_ENTRY_FILE, ""  },
    {"etc/new",          CX_ENTRY_FILE, "2" },
    {"opt/.wh..wh..opq", CX_ENTRY_FILE, ""  },
    {"opt/b",            CX_ENTRY_FILE, "2" },
    {NULL,               CX_ENTRY_FILE, NULL},
};

static void
test_merged(Fixture *self, gconstpointer way)
{
    CxLower lowers[] = {add_layer(self, base), add_layer(self, top)};
    g_autofree char *both = describe(self, lowers, 2);
    g_autofree char *one = describe(self, lowers + 1, 1);
    g_autofree char *none = describe(self, NULL, 0);

    /* etc is only implied by top: mode and owner are those of base. */
    g_assert_cmpstr(both, ==,
                    "d 0700 3:4 etc\n"
                    "f 0644 0:0 etc/new = 2\n"
                    "f 0644 0:0 etc/passwd = root\n"
                    "d 0755 0:0 opt\n"
                    "f 0644 0:0 opt/b = 2\n");
    g_assert_cmpstr(one, ==,
                    "d 0755 0:0 etc\n"
                    "f 0644 0:0 etc/new = 2\n"
                    "d 0755 0:0 opt\n"
                    "f 0644 0:0 opt/b = 2\n");
    g_assert_cmpstr(none, ==, "");
}

/* Several layers with implied folders, one within the other, and a layer that says what they are
 * above them. */
static void
test_implied(Fixture *self, gconstpointer way)
{
    static const CxTestEntry deep[] = {
        {"a",           CX_ENTRY_FOLDER, NULL,              .mode = 0700, .uid = 1},
        {"a/b",     CX_ENTRY_FOLDER,                    NULL,                                 .mode = 01777, .uid = 2, .xattr = "user.x", .value = "1"},
        {"a/b/c",         CX_ENTRY_FOLDER,NULL,.mode = 0711, .uid = 3},
        {NULL, CX_ENTRY_FILE,                NULL                          },
    };
    static const CxTestEntry implies[] = {
        {"a/b/c/d/e", CX_ENTRY_FILE, "1" },
        {"n/m",       CX_ENTRY_FILE, "1" },
        {NULL,        CX_ENTRY_FILE, NULL},
    };
    static const CxTestEntry tells[] = {
        {"a",           CX_ENTRY_FOLDER, NULL, .mode = 0750},
        {"n",             CX_ENTRY_FOLDER,                          NULL,   .mode = 0750},
        {"a/b/x", CX_ENTRY_FILE,                "2"           },
        {NULL,          CX_ENTRY_FILE,          NULL},
    };
    CxLower lowers[] = {add_layer(self, deep), add_layer(self, implies), add_layer(self, tells)};
    g_autofree char *description = describe(self, lowers, 3);
    g_autofree char *again = describe(self, lowers, 3);

    g_assert_cmpstr(description, ==,
                    "d 0750 0:0 a\n"
                    "d 1777 2:0 a/b [user.x=1]\n"
                    "d 0711 3:0 a/b/c\n"
                    "d 0755 0:0 a/b/c/d\n"
                    "f 0644 0:0 a/b/c/d/e = 1\n"
                    "f 0644 0:0 a/b/x = 2\n"
                    "d 0750 0:0 n\n"
                    "f 0644 0:0 n/m = 1\n");
    g_assert_cmpstr(description, ==, again);
}

/* More layers than are kept when idle, in one stack and one after another. */
static void
test_many_layers(Fixture *self, gconstpointer way)
{
    CxLower lowers[100];
    g_autofree char *all = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(lowers); i++) {
        g_autofree char *name = g_strdup_printf("file-%03u", i);
        CxTestEntry entries[] = {
            {name, CX_ENTRY_FILE, "1" },
            {NULL, CX_ENTRY_FILE, NULL}
        };
        g_autofree char *one = NULL;
        g_autofree char *expected = g_strdup_printf("f 0644 0:0 %s = 1\n", name);

        lowers[i] = add_layer(self, entries);
        one = describe(self, &lowers[i], 1);
        g_assert_cmpstr(one, ==, expected);
    }
    all = describe(self, lowers, G_N_ELEMENTS(lowers));
    g_assert_nonnull(strstr(all, "file-000"));
    g_assert_nonnull(strstr(all, "file-099"));
}

static void
test_opaque_root(Fixture *self, gconstpointer way)
{
    static const CxTestEntry hides[] = {
        {".wh..wh..opq", CX_ENTRY_FILE, ""  },
        {"x",            CX_ENTRY_FILE, "1" },
        {NULL,           CX_ENTRY_FILE, NULL},
    };
    CxLower lowers[] = {add_layer(self, base), add_layer(self, hides)};
    g_autofree char *description = describe(self, lowers, 2);

    g_assert_cmpstr(description, ==, "f 0644 0:0 x = 1\n");
}

/* A layer that cannot be shown by the engine is shown by another, in the same stack. */
static void
test_odd_layer(Fixture *self, gconstpointer way)
{
    CxLower lowers[] = {add_layer(self, base), add_odd_layer(self)};
    GError *error = NULL;
    g_autoptr(CxMergedView) view = cx_snapshotter_mount_view(self->snapshotter, lowers, 2, &error);
    cx_autofd int fd = -1;
    guint8 content[1001] = {0};

    g_assert_no_error(error);
    fd = openat(cx_merged_view_get_fd(view), "etc/odd", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(read(fd, content, sizeof content), ==, 1000);
    g_assert_cmpuint(content[699], ==, 0);
    g_assert_cmpuint(content[700], ==, 'x');
    g_assert_cmpuint(content[799], ==, 'x');
    g_assert_cmpuint(content[800], ==, 0);
    g_assert_cmpint(faccessat(cx_merged_view_get_fd(view), "etc/passwd", F_OK, 0), ==, 0);
    g_clear_pointer(&view, cx_merged_view_free);
    g_assert_true(cx_snapshotter_forget_layer(self->snapshotter, &lowers[1].diff_id, &error));
}

/* ---- uppers ---------------------------------------------------------------------------------- */

static void
test_steps(Fixture *self, gconstpointer way)
{
    CxLower lowers[4] = {add_layer(self, base)};
    g_autofree char *description = NULL;
    g_autoptr(GArray) uppers = NULL;
    CxActive *active = prepare(self, lowers, 1);
    GError *error = NULL;

    {
        static const char first[] = "d new\nf new/file = 1\nf etc/passwd = changed";
        cx_autofd int fd = open_path(active);
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 0751);
        g_assert_cmpint(faccessat(fd, "etc/hosts", F_OK, 0), ==, 0);
        g_assert_cmpint(faccessat(fd, "proc", F_OK, 0), ==, 0);
        cx_test_make_tree_of(fd, first);
        g_assert_cmpint(unlinkat(fd, "opt/a", 0), ==, 0);
    }
    lowers[1] = commit(active);

    active = prepare(self, lowers, 2);
    {
        cx_autofd int fd = open_path(active);

        g_assert_cmpint(faccessat(fd, "opt/a", F_OK, 0), ==, -1);
        cx_test_make_tree_of(fd, "f opt/a = again\nf new/second = 2");
    }
    lowers[2] = commit(active);

    description = describe(self, lowers, 3);
    g_assert_cmpstr(description, ==,
                    "d 0700 3:4 etc\n"
                    "f 0644 0:0 etc/group = root\n"
                    "f 0644 0:0 etc/passwd = changed\n"
                    "d 0755 0:0 new\n"
                    "f 0644 0:0 new/file = 1\n"
                    "f 0644 0:0 new/second = 2\n"
                    "d 0755 0:0 opt\n"
                    "f 0644 0:0 opt/a = again\n");

    uppers = cx_snapshotter_list_uppers(self->snapshotter, &error);
    g_assert_cmpuint(uppers->len, ==, 2);
    g_assert_cmpuint(g_array_index(uppers, guint64, 0), <, g_array_index(uppers, guint64, 1));
    g_assert_cmpuint(cx_snapshotter_usage(self->snapshotter, lowers[1].upper), >, 0);
    g_assert_true(cx_snapshotter_remove_upper(self->snapshotter, lowers[1].upper, &error));
    g_assert_cmpint(cx_snapshotter_open_lower(self->snapshotter, &lowers[1], &error), ==, -1);
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
}

/* What a step did is all that is in its upper: the mount points it was given are not. */
static void
test_upper_is_bare(Fixture *self, gconstpointer way)
{
    CxActive *active = prepare(self, NULL, 0);
    g_autofree char *seen = NULL;
    g_autofree char *written = NULL;
    CxLower lower;

    {
        cx_autofd int fd = open_path(active);

        seen = cx_test_describe(fd);
        cx_test_make_tree_of(fd, "d etc\nf etc/mine = 1");
    }
    g_assert_cmpstr(seen, ==,
                    "d 0755 0:0 dev\n"
                    "d 0755 0:0 etc\n"
                    "f 0644 0:0 etc/hosts = \n"
                    "f 0644 0:0 etc/resolv.conf = \n"
                    "d 0755 0:0 proc\n"
                    "d 0755 0:0 sys\n");
    lower = commit(active);
    written = describe(self, &lower, 1);
    g_assert_cmpstr(written, ==, "d 0755 0:0 etc\nf 0644 0:0 etc/mine = 1\n");
}

static void
test_devices_are_dead(Fixture *self, gconstpointer way)
{
    g_autoptr(CxActive) active = prepare(self, NULL, 0);
    cx_autofd int fd = open_path(active);

    cx_test_make_tree_of(fd, "c 1:5 zero");
    g_assert_cmpint(openat(fd, "zero", O_RDONLY | O_CLOEXEC), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
}

static void
test_abandoned(Fixture *self, gconstpointer way)
{
    CxActive *active = prepare(self, NULL, 0);
    g_autoptr(GArray) uppers = NULL;
    g_autofree char *path = g_build_filename(cx_active_peek_path(active), "etc", NULL);
    GError *error = NULL;

    g_assert_cmpint(access(path, F_OK), ==, 0);
    cx_active_free(active);
    g_assert_cmpint(access(path, F_OK), ==, -1);
    uppers = cx_snapshotter_list_uppers(self->snapshotter, &error);
    g_assert_cmpuint(uppers->len, ==, 0);
}

/* After drain, nothing of what was given up is on the disk. */
static void
test_drain(Fixture *self, gconstpointer way)
{
    cx_autofd int fd = openat(self->root_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autofree char *left = NULL;

    cx_snapshotter_drain(self->snapshotter);
    for (int i = 0; i < 3; i++)
        cx_active_free(prepare(self, NULL, 0));
    (void)commit(prepare(self, NULL, 0));
    cx_snapshotter_drain(self->snapshotter);
    left = cx_test_describe(fd);
    g_assert_cmpstr(left, ==, "");
}

static void
test_in_use(Fixture *self, gconstpointer way)
{
    CxLower lowers[2] = {add_layer(self, base)};
    g_autoptr(GError) error = NULL;
    CxActive *active;

    lowers[1] = commit(prepare(self, lowers, 1));
    active = prepare(self, lowers, 2);
    g_assert_false(cx_snapshotter_forget_layer(self->snapshotter, &lowers[0].diff_id, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_false(cx_snapshotter_remove_upper(self->snapshotter, lowers[1].upper, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_BUSY);
    g_clear_error(&error);
    cx_active_free(active);

    g_assert_true(cx_snapshotter_forget_layer(self->snapshotter, &lowers[0].diff_id, &error));
    g_assert_true(cx_snapshotter_forget_layer(self->snapshotter, &lowers[0].diff_id, &error));
    g_assert_true(cx_snapshotter_remove_upper(self->snapshotter, lowers[1].upper, &error));
    g_assert_no_error(error);
}

static void
test_too_many(Fixture *self, gconstpointer way)
{
    CxLower lowers[CX_LOWERS_MAX + 1];
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(lowers); i++)
        lowers[i] = (CxLower){.kind = CX_LOWER_UPPER, .upper = i};
    g_assert_null(cx_snapshotter_prepare(self->snapshotter, lowers, G_N_ELEMENTS(lowers), &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
}

/* As many as there may be. */
static void
test_many(Fixture *self, gconstpointer way)
{
    CxLower lowers[CX_LOWERS_MAX];
    CxActive *active;

    for (guint i = 0; i < G_N_ELEMENTS(lowers); i++) {
        g_autofree char *line = g_strdup_printf("f file-%03u = %u", i, i);
        cx_autofd int fd = -1;

        active = prepare(self, NULL, 0);
        cx_test_make_tree_of(cx_active_get_upper_fd(active), line);
        lowers[i] = commit(active);
    }
    active = prepare(self, lowers, G_N_ELEMENTS(lowers));
    {
        cx_autofd int fd = open_path(active);

        g_assert_cmpint(faccessat(fd, "file-000", F_OK, 0), ==, 0);
        g_assert_cmpint(faccessat(fd, "file-399", F_OK, 0), ==, 0);
    }
    cx_active_free(active);
}

/* ---- lives ----------------------------------------------------------------------------------- */

/* Uppers outlive the process; what was not committed does not. */
static void
test_restart(Fixture *self, gconstpointer way)
{
    CxLower lowers[2] = {add_layer(self, base)};
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    CxActive *active = prepare(self, lowers, 1);

    cx_test_make_tree_of(cx_active_get_upper_fd(active), "f kept = 1");
    lowers[1] = commit(active);
    before = describe(self, lowers, 2);
    close_snapshotter(self);

    g_assert_cmpint(mkdirat(self->root_fd, "snapshots/active-0000000000000001", 0700), ==, 0);
    g_assert_cmpint(mkdirat(self->root_fd, "snapshots/active-0000000000000001/fs", 0700), ==, 0);
    g_assert_cmpint(mkdirat(self->root_fd, "mnt/a0000000000000001", 0700), ==, 0);
    open_snapshotter(self, way);
    g_assert_cmpint(faccessat(self->root_fd, "snapshots/active-0000000000000001", F_OK, 0), ==, -1);
    g_assert_cmpint(faccessat(self->root_fd, "mnt/a0000000000000001", F_OK, 0), ==, -1);
    after = describe(self, lowers, 2);
    g_assert_cmpstr(before, ==, after);
}

typedef struct {
    Fixture *fixture;
    CxLower lower;
} Caller;

static gpointer
call(gpointer data)
{
    Caller *self = data;
    GError *error = NULL;

    for (int i = 0; i < 20; i++) {
        g_autoptr(CxActive) active =
            cx_snapshotter_prepare(self->fixture->snapshotter, &self->lower, 1, &error);
        guint64 upper;

        g_assert_no_error(error);
        g_assert_true(cx_active_commit(active, &upper, &error));
        g_assert_true(cx_snapshotter_remove_upper(self->fixture->snapshotter, upper, &error));
    }
    return NULL;
}

static void
test_at_once(Fixture *self, gconstpointer way)
{
    Caller caller = {.fixture = self, .lower = add_layer(self, base)};
    GThread *threads[8];

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("caller", call, &caller);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void
test_explain(void)
{
    static const Way way = {"erofs", "erofs", ""};
    g_auto(GStrv) lines = NULL;
    GError *error = NULL;
    Fixture self = {0};

    fixture_init(&self, &way);
    lines = cx_snapshotter_explain(self.snapshotter);
    g_assert_cmpstr(lines[0], ==, "erofs: yes");
    g_assert_cmpstr(lines[1], ==, "unpacked: yes");
    g_clear_pointer(&self.snapshotter, cx_snapshotter_close);

    g_setenv("CX_DISABLE", "erofs", TRUE);
    self.snapshotter = cx_snapshotter_open(self.root_fd, self.layers, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(cx_snapshotter_get_engine(self.snapshotter), ==, "unpacked");
    g_clear_pointer(&self.snapshotter, cx_snapshotter_close);

    g_assert_null(cx_snapshotter_open(self.root_fd, self.layers, "erofs", &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    g_assert_null(cx_snapshotter_open(self.root_fd, self.layers, "zfs", &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    g_clear_error(&error);
    fixture_clear(&self, &way);
}

/* A commit that fails half way leaves nothing that looks like a snapshot. */
static void
test_failpoint(void)
{
    static const Way way = {"erofs", "erofs", ""};

    if (g_test_subprocess()) {
        g_autoptr(CxActive) active = NULL;
        g_autoptr(GArray) uppers = NULL;
        GError *error = NULL;
        Fixture self = {0};
        guint64 upper;

        fixture_init(&self, &way);
        active = prepare(&self, NULL, 0);
        g_assert_false(cx_active_commit(active, &upper, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
        g_clear_error(&error);
        g_clear_pointer(&active, cx_active_free);
        uppers = cx_snapshotter_list_uppers(self.snapshotter, &error);
        g_assert_cmpuint(uppers->len, ==, 0);
        fixture_clear(&self, &way);
        return;
    }
    g_setenv("CX_FAIL", "snapshot-commit", TRUE);
    g_test_trap_subprocess(NULL, 0, 0);
    g_unsetenv("CX_FAIL");
    g_test_trap_assert_passed();
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(Fixture *self, gconstpointer way);
    } tests[] = {
        {"views",            test_views           },
        {"should-fail",      test_refusals        },
        {"merged",           test_merged          },
        {"implied",          test_implied         },
        {"many-layers",      test_many_layers     },
        {"opaque-root",      test_opaque_root     },
        {"odd-layer",        test_odd_layer       },
        {"steps",            test_steps           },
        {"upper-is-bare",    test_upper_is_bare   },
        {"devices-are-dead", test_devices_are_dead},
        {"abandoned",        test_abandoned       },
        {"drain",            test_drain           },
        {"in-use",           test_in_use          },
        {"too-many",         test_too_many        },
        {"many",             test_many            },
        {"restart",          test_restart         },
        {"at-once",          test_at_once         },
    };

    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP mounting needs root\n");
        return 0;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(ways); i++)
        for (gsize k = 0; k < G_N_ELEMENTS(tests); k++) {
            g_autofree char *name =
                g_strdup_printf("/snapshotter/%s/%s", ways[i].name, tests[k].name);

            g_test_add(name, Fixture, &ways[i], fixture_init, tests[k].test, fixture_clear);
        }
    g_test_add_func("/snapshotter/explain", test_explain);
    g_test_add_func("/snapshotter/failpoint", test_failpoint);
    return g_test_run();
}
