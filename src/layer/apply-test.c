/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/apply.h"
#include "layer/test-layer.h"
#include "layer/test-views.h"

/* Unpacks a table of entries into the folder "fs".  Returns an fd of it, or -1 with error set. */
static int
apply(const CxTestFolder *folder,
      const CxTestEntry *entries,
      const CxLayerLimits *limits,
      GError **error)
{
    cx_autofd int tar_fd = cx_test_create(folder, "tar");
    guint64 size = cx_test_write_tar(tar_fd, entries);
    cx_autofd int fd = -1;

    g_assert_cmpint(mkdirat(folder->fd, "fs", 0755), ==, 0);
    fd = openat(folder->fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return cx_layer_apply(tar_fd, size, limits, fd, NULL, error) ? cx_steal_fd(&fd) : -1;
}

static void
test_view(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_auto(CxTestFolder) folder = {0};
    g_autofree char *description = NULL;
    cx_autofd int fd = -1;
    GError *error = NULL;

    if (geteuid() != 0) {
        g_test_skip("owners and whiteouts need root");
        return;
    }
    cx_test_folder_init(&folder);
    fd = apply(&folder, cx_test_views[i].entries, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    description = cx_test_describe(fd);
    g_assert_cmpstr(description, ==, cx_test_views[i].expected);
}

static void
test_refusal(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(GError) error = NULL;

    if (geteuid() != 0) {
        g_test_skip("owners and whiteouts need root");
        return;
    }
    cx_test_folder_init(&folder);
    g_assert_cmpint(apply(&folder, cx_test_refusals[i].entries, &cx_layer_limits_default, &error),
                    ==, -1);
    g_assert_error(error, CX_ERROR, (int)cx_test_refusals[i].code);
    if (cx_test_refusals[i].message != NULL)
        g_assert_cmpstr(error->message, ==, cx_test_refusals[i].message);
}

/* A link of the layer that leads out of it leads to its root. */
static void
test_confined(void)
{
    static const CxTestEntry entries[] = {
        {"out",        CX_ENTRY_SYMLINK, "../../../../../../tmp"},
        {"out/beside", CX_ENTRY_FILE,    "1"                    },
        {NULL,         CX_ENTRY_FILE,    NULL                   },
    };
    g_auto(CxTestFolder) folder = {0};
    g_autofree char *description = NULL;
    cx_autofd int fd = -1;
    GError *error = NULL;

    if (geteuid() != 0) {
        g_test_skip("owners and whiteouts need root");
        return;
    }
    cx_test_folder_init(&folder);
    fd = apply(&folder, entries, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    description = cx_test_describe(fd);
    g_assert_cmpstr(description, ==,
                    "l out -> ../../../../../../tmp\n"
                    "d 0755 0:0 tmp [trusted.overlay.implicit=y]\n"
                    "f 0644 0:0 tmp/beside = 1\n");
}

static void
test_times(void)
{
    static const CxTestEntry entries[] = {
        {"a",     CX_ENTRY_FOLDER, NULL, .mtime = 1000},
        {"a/b",   CX_ENTRY_FOLDER, NULL, .mtime = 2000},
        {"a/b/c", CX_ENTRY_FILE,   "1",  .mtime = 3000},
        {NULL,    CX_ENTRY_FILE,   NULL, .mtime = 0   },
    };
    g_auto(CxTestFolder) folder = {0};
    cx_autofd int fd = -1;
    GError *error = NULL;

    if (geteuid() != 0) {
        g_test_skip("owners and whiteouts need root");
        return;
    }
    cx_test_folder_init(&folder);
    fd = apply(&folder, entries, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    for (gsize i = 0; entries[i].path != NULL; i++) {
        struct stat st;

        g_assert_cmpint(fstatat(fd, entries[i].path, &st, 0), ==, 0);
        g_assert_cmpint(st.st_mtim.tv_sec, ==, entries[i].mtime);
    }
}

static void
test_limit(void)
{
    static const CxTestEntry entries[] = {
        {"a/b/c/d/e/f/g/h/i/j", CX_ENTRY_FILE, "1" },
        {NULL,                  CX_ENTRY_FILE, NULL},
    };
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(GError) error = NULL;
    CxLayerLimits limits = cx_layer_limits_default;

    limits.entries_max = 8;
    cx_test_folder_init(&folder);
    g_assert_cmpint(apply(&folder, entries, &limits, &error), ==, -1);
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_views); i++) {
        g_autofree char *name = g_strconcat("/apply/view", cx_test_views[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_view);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(cx_test_refusals); i++) {
        g_autofree char *name = g_strconcat("/apply/should-fail", cx_test_refusals[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_refusal);
    }
    g_test_add_func("/apply/confined", test_confined);
    g_test_add_func("/apply/times", test_times);
    g_test_add_func("/apply/should-fail/limit", test_limit);
    return g_test_run();
}
