/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/diff.h"
#include "layer/test-layer.h"

static const struct {
    const char *name;
    const char *below; /* empty with below_unknown set: no tree is given */
    gboolean below_unknown;
    const char *first;
    const char *second;
    const char *expected;
    CxError code; /* with expected NULL */
} cases[] = {
    {"/nothing",                   "f a = 1",        FALSE, "",                                            "",                                          "",                                                       0               },
    {"/new-file",                  "d d",            FALSE, "d d\nf 3:0 d/f = 1",                          "",                                          "d 0755 0:0 d\nf 0644 3:0 d/f = 1\n",                     0               },
    {"/untouched-folder",          "d d\nd e",       FALSE, "d d\nd 0700 e",                               "",                                          "d 0700 0:0 e\n",                                         0               },
    {"/root-changed",              "f a = 1",        FALSE, "d 01777 .",                                   "",                                          "d 1777 0:0 \n",                                          0               },
    {"/whiteout",                  "f a = 1",        FALSE, "c 0:0 a\nc 0:0 b",                            "",                                          "f 0000 0:0 .wh.a = \n",                                  0               },
    {"/whiteout-unknown",          "",               TRUE,  "c 0:0 a",                                     "",                                          "d 0755 0:0 \nf 0000 0:0 .wh.a = \n",                     0               },
    {"/opaque",                    "d d\nf d/x = 1", FALSE,
     "d d [trusted.overlay.opaque=y]\nf d/y = 2\nd e [trusted.overlay.opaque=y]",                          "",
     "d 0755 0:0 d\nf 0000 0:0 d/.wh..wh..opq = \nf 0644 0:0 d/y = 2\nd 0755 0:0 e\n",                                                                                                                            0               },
    {"/whiteout-in-opaque",        "d d\nf d/x = 1", FALSE, "d d [trusted.overlay.opaque=y]\nc 0:0 d/x",
     "",                                                                                                                                                "d 0755 0:0 d\nf 0000 0:0 d/.wh..wh..opq = \n",           0               },
    {"/hard-links",                "",               FALSE, "f a = 1\nd d\nh d/b = a",                     "",
     "f 0644 0:0 a = 1\nd 0755 0:0 d\nh d/b = a\n",                                                                                                                                                               0               },
    {"/xattrs",                    "",               FALSE, "f a = 1 [user.x=1]\nf b = 1 [trusted.x=1]",   "",
     "f 0644 0:0 a = 1 [user.x=1]\nf 0644 0:0 b = 1\n",                                                                                                                                                           0               },
    {"/two",                       "d d",            FALSE, "d d\nf d/a = 1\nf d/b = 1",                   "d d\nf d/b = 2\nf d/c = 2",
     "d 0755 0:0 d\nf 0644 0:0 d/a = 1\nf 0644 0:0 d/b = 2\nf 0644 0:0 d/c = 2\n",                                                                                                                                0               },
    {"/removed-again",             "d d",            FALSE, "d d\nf d/a = 1",                              "d d\nc 0:0 d/a",                            "",                                                       0               },
    {"/folder-over-whiteout",      "d d\nf d/x = 1", FALSE, "c 0:0 d",                                     "d d\nf d/y = 2",
     "d 0755 0:0 d\nf 0000 0:0 d/.wh..wh..opq = \nf 0644 0:0 d/y = 2\n",                                                                                                                                          0               },
    {"/folder-over-file",          "d d",            FALSE, "f d = 1",                                     "d d",
     "d 0755 0:0 d\nf 0000 0:0 d/.wh..wh..opq = \n",                                                                                                                                                              0               },
    {"/file-over-folder",          "d d",            FALSE, "d d\nf d/a = 1",                              "f d = 2",                                   "f 0644 0:0 d = 2\n",                                     0               },
    {"/opaque-above",              "d d",            FALSE, "d d\nf d/a = 1",                              "d d [trusted.overlay.opaque=y]\nf d/b = 2",
     "d 0755 0:0 d\nf 0000 0:0 d/.wh..wh..opq = \nf 0644 0:0 d/b = 2\n",                                                                                                                                          0               },
    {"/implicit",                  "d 0700 d",       FALSE, "d 0711 d\nf d/a = 1",
     "d d [trusted.overlay.implicit=y]\nf d/b = 2",                                                                                                     "d 0711 0:0 d\nf 0644 0:0 d/a = 1\nf 0644 0:0 d/b = 2\n", 0               },
    {"/implicit-over-below",       "d 0700 d",       FALSE, "d d [trusted.overlay.implicit=y]\nf d/b = 2", "",
     "d 0700 0:0 d\nf 0644 0:0 d/b = 2\n",                                                                                                                                                                        0               },
    {"/should-fail-redirect",      "",               FALSE, "d d [trusted.overlay.redirect=/x]",           "",                                          NULL,
     CX_ERROR_UNSUPPORTED                                                                                                                                                                                                         },
    {"/should-fail-metacopy",      "",               FALSE, "f f = 1 [trusted.overlay.metacopy=]",         "",                                          NULL,
     CX_ERROR_UNSUPPORTED                                                                                                                                                                                                         },
    {"/should-fail-whiteout-name", "",               FALSE, "f .wh.passwd",                                "",                                          NULL,                                                     CX_ERROR_INVALID},
};

static int
make_folder(const CxTestFolder *folder, const char *name, const char *entries)
{
    int fd;

    g_assert_cmpint(mkdirat(folder->fd, name, 0755), ==, 0);
    fd = openat(folder->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cx_test_make_tree_of(fd, entries);
    return fd;
}

static char *
diff(const CxTestFolder *folder, const int *deltas, CxTree *below, GError **error)
{
    cx_autofd int fd = cx_test_create(folder, "out");
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);

    if (!cx_layer_diff(deltas, 2, below, 0, writer, NULL, error) ||
        !cx_tar_writer_finish(writer, error))
        return NULL;
    return cx_test_list_tar(fd, sink.written);
}

static void
test_case(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(CxTree) below = cx_tree_new();
    g_autofree char *listed = NULL;
    g_autoptr(GError) error = NULL;
    cx_autofd int first = -1;
    cx_autofd int second = -1;

    if (geteuid() != 0) {
        g_test_skip("making whiteouts needs root");
        return;
    }
    cx_test_folder_init(&folder);
    cx_tree_take_folder(below, make_folder(&folder, "below", cases[i].below));
    first = make_folder(&folder, "first", cases[i].first);
    second = make_folder(&folder, "second", cases[i].second);
    if (second >= 0 && cases[i].second[0] == '\0') {
        static const char implied[] = "d . [trusted.overlay.implicit=y]";

        cx_test_make_tree_of(second, implied);
    }

    listed =
        diff(&folder, (const int[]){first, second}, cases[i].below_unknown ? NULL : below, &error);
    if (cases[i].expected == NULL) {
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        return;
    }
    g_assert_no_error(error);
    g_assert_cmpstr(listed, ==, cases[i].expected);
}

/* A socket is left out, but what it took the place of is gone. */
static void
test_socket(void)
{
    static const char below_entries[] = "f s = 1";
    static const char none[] = "";
    g_auto(CxTestFolder) folder = {0};
    g_autoptr(CxTree) below = cx_tree_new();
    g_autofree char *listed = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cx_autofd int first = -1;
    cx_autofd int second = -1;
    cx_autofd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    GError *error = NULL;

    cx_test_folder_init(&folder);
    cx_tree_take_folder(below, make_folder(&folder, "below", below_entries));
    first = make_folder(&folder, "first", none);
    second = make_folder(&folder, "second", none);
    for (int i = 0; i < 2; i++) {
        cx_clear_fd(&sock);
        sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_snprintf(address.sun_path, sizeof address.sun_path, "%s/first/%s", folder.path,
                   i == 0 ? "s" : "t");
        g_assert_cmpint(bind(sock, (struct sockaddr *)&address, sizeof address), ==, 0);
    }
    listed = diff(&folder, (const int[]){first, second}, below, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(listed, ==, "f 0000 0:0 .wh.s = \n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strconcat("/diff", cases[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_case);
    }
    g_test_add_func("/diff/socket", test_socket);
    return g_test_run();
}
