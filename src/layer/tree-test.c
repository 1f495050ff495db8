/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/test-layer.h"
#include "layer/tree.h"

#define F CX_ENTRY_FILE
#define D CX_ENTRY_FOLDER
#define L CX_ENTRY_SYMLINK
#define C CX_ENTRY_CHAR

/* One stack of three layers, once as indexes and once as folders in overlay form. */
static const CxTestEntry bottom[] = {
    {"etc",              D, .mode = 0750, .uid = 5, .xattr = "user.x", .value = "1"},
    {"etc/passwd",      F, "root"},
    {"etc/group", F, "root"},
    {"usr",                  D},
    {"usr/lib",            D},
    {"usr/lib/libc",                  F, "c"},
    {"lib",                 L, "usr/lib"},
    {"opt",                  D},
    {"opt/a",F, "1"},
    {"var",          D},
    {"var/run",                  L, "/run"},
    {"loop",L, "loop"},
    {"up",                  L, "../../usr/lib/.."},
    {"file", F, "1"},
    {NULL                 },
};
static const CxTestEntry middle_tar[] = {
    {"etc/.wh.group",    F, ""},
    {"etc/new",                F, "2"},
    {"opt/.wh..wh..opq",          F, ""},
    {"opt/b",               F, "2"},
    {".wh.var", F, ""},
    {NULL               },
};
static const CxTestEntry middle_folder[] = {
    {"etc",                                D, .xattr = "trusted.overlay.implicit", .value = "y"},
    {"etc/group", C},
    {"etc/new",                                    F, "2"},
    {"opt",                                   D, .xattr = "trusted.overlay.opaque", .value = "y"},
    {"opt/b",                            F, "2"},
    {"var",                                 C},
    {NULL                               },
};
static const CxTestEntry top[] = {
    {"etc",         D, .mode = 0711},
    {"etc/passwd", L, "new"},
    {"var",  D},
    {"var/lib",        D},
    {"file",         D},
    {"usr",             F, "a file now"},
    {NULL    },
};

typedef struct {
    CxTestFolder folder;
    CxTree *tree;
} Fixture;

static void
add_tar(Fixture *self, const CxTestEntry *entries)
{
    cx_autofd int tar_fd = cx_test_create(&self->folder, "tar");
    cx_autofd int index_fd = cx_test_create(&self->folder, "index");
    g_autoptr(CxErofsIndex) index = NULL;
    GError *error = NULL;
    guint64 size = cx_test_write_tar(tar_fd, entries);

    cx_erofs_index_build(tar_fd, size, &cx_layer_limits_default, index_fd, NULL, &error);
    g_assert_no_error(error);
    index = cx_erofs_index_open(index_fd, &error);
    g_assert_no_error(error);
    g_assert_cmpint(unlinkat(self->folder.fd, "index", 0), ==, 0);
    cx_tree_add_index(self->tree, index);
}

static void
add_folder(Fixture *self, const char *name, const CxTestEntry *entries)
{
    int fd;

    g_assert_cmpint(mkdirat(self->folder.fd, name, 0755), ==, 0);
    fd = openat(self->folder.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cx_test_make_tree(fd, entries);
    cx_tree_take_folder(self->tree, fd);
}

static void
fixture_init(Fixture *self, gconstpointer as_folders)
{
    cx_test_folder_init(&self->folder);
    self->tree = cx_tree_new();
    if (as_folders == NULL) {
        add_tar(self, bottom);
        add_tar(self, middle_tar);
        add_tar(self, top);
    } else {
        add_folder(self, "bottom", bottom);
        add_tar(self, middle_tar);
        add_folder(self, "top", top);
    }
}

static void
fixture_clear(Fixture *self, gconstpointer as_folders)
{
    cx_tree_free(self->tree);
    cx_test_folder_clear(&self->folder);
}

static void
test_lookup(Fixture *self, gconstpointer as_folders)
{
    static const struct {
        const char *path;
        mode_t mode;
    } cases[] = {
        {"etc",           S_IFDIR | 0711},
        {"etc/passwd",    S_IFLNK       },
        {"etc/group",     0             },
        {"etc/new",       S_IFREG | 0644},
        {"usr",           S_IFREG | 0644},
        {"usr/lib",       0             },
        {"lib",           S_IFLNK       },
        {"lib/libc",      0             },
        {"opt/a",         0             },
        {"opt/b",         S_IFREG | 0644},
        {"var",           S_IFDIR | 0755},
        {"var/run",       0             },
        {"var/lib",       S_IFDIR | 0755},
        {"file",          S_IFDIR | 0755},
        {"nothing/there", 0             },
        {"etc/new/x",     0             },
        {"",              S_IFDIR | 0755},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(CxTreeNode) node = {0};
        GError *error = NULL;

        cx_tree_lookup(self->tree, cases[i].path, &node, &error);
        g_assert_no_error(error);
        g_test_message("%s", cases[i].path);
        if (S_ISLNK(cases[i].mode))
            g_assert_true(S_ISLNK(node.mode));
        else
            g_assert_cmpuint(node.mode, ==, cases[i].mode);
    }
}

static void
test_resolve(Fixture *self, gconstpointer as_folders)
{
    static const struct {
        const char *path;
        gboolean follow;
        const char *expected;
    } cases[] = {
        {"/",                     TRUE,  ""           },
        {"/etc/passwd",           TRUE,  "etc/new"    },
        {"/etc/passwd",           FALSE, "etc/passwd" },
        {"etc/./../etc//passwd/", TRUE,  "etc/new"    },
        {"/../..",                TRUE,  ""           },
        {"/var/lib/a/b/../c",     TRUE,  "var/lib/a/c"},
        {"/new/folder",           TRUE,  "new/folder" },
        {"/loop",                 FALSE, "loop"       },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        GError *error = NULL;
        g_autofree char *resolved =
            cx_tree_resolve(self->tree, cases[i].path, cases[i].follow, &error);

        g_assert_no_error(error);
        g_assert_cmpstr(resolved, ==, cases[i].expected);
    }
}

static void
test_refuse(Fixture *self, gconstpointer as_folders)
{
    static const char *const paths[] = {"/loop",  "/loop/x", "/usr/lib",
                                        "/lib/x", "/up/x",   "/etc/new/x"};

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(cx_tree_resolve(self->tree, paths[i], TRUE, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    }
}

/* A folder that a layer only implies shows what the layer below says of it. */
static void
test_implicit(Fixture *self, gconstpointer unused)
{
    static const CxTestEntry tops[] = {
        {"etc/x", F, "1"},
        {NULL   }
    };
    g_auto(CxTreeNode) node = {0};
    GError *error = NULL;

    cx_tree_free(self->tree);
    self->tree = cx_tree_new();
    add_folder(self, "only", bottom);
    add_tar(self, tops);
    add_folder(self, "middle", middle_folder);

    g_assert_true(cx_tree_lookup(self->tree, "etc", &node, &error));
    g_assert_cmpuint(node.mode, ==, S_IFDIR | 0750);
    g_assert_cmpuint(node.uid, ==, 5);
    g_assert_nonnull(node.xattrs);
    g_assert_cmpuint(node.xattrs->len, ==, 1);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(Fixture *self, gconstpointer as_folders);
    } tests[] = {
        {"lookup",      test_lookup  },
        {"resolve",     test_resolve },
        {"should-fail", test_refuse  },
        {"implicit",    test_implicit}
    };

    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *indexes = g_strdup_printf("/tree/indexes/%s", tests[i].name);
        g_autofree char *folders = g_strdup_printf("/tree/folders/%s", tests[i].name);

        g_test_add(indexes, Fixture, NULL, fixture_init, tests[i].test, fixture_clear);
        if (geteuid() == 0)
            g_test_add(folders, Fixture, "folders", fixture_init, tests[i].test, fixture_clear);
    }
    return g_test_run();
}
