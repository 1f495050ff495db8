/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/pack.h"
#include "layer/test-layer.h"

/* Every case packs "src" of the source onto dest of the image. */
static const struct {
    const char *name;
    const char *source;
    const char *image;
    const char *dest;
    const char *expected; /* the entries, or */
    const char *message;  /* the error */
} cases[] = {
    {"/file",                          "f 7:0 src = x",                                                             "",                                        "/a/b",      "d 0755 0:0 a\nf 0644 0:0 a/b = x\n",                                                           NULL                                      },
    {"/parents-kept",                  "f src = x",                                                                 "d 0700 3:4 a [user.x=1]",                 "/a/b",
     "d 0700 3:4 a [user.x=1]\nf 0644 0:0 a/b = x\n",                                                                                                                                                                                                                       NULL                                      },
    {"/folder",                        "d 0711 src\nf 0600 src/b = 2\nl src/a -> ../x\nd src/c\nh src/c/d = src/b", "",
     "/new",                                                                                                                                                                "d 0711 0:0 new\nl new/a -> ../x\nf 0600 0:0 new/b = 2\nd 0755 0:0 new/c\nh new/c/d = new/b\n",
     NULL                                                                                                                                                                                                                                                                                                             },
    {"/folder-onto-folder",            "d 0711 src\nd 0700 src/c\nf src/c/d = 1",
     "d 0750 9:0 dst\nd 0770 9:0 dst/c",                                                                                                                       "/dst",
     "d 0750 9:0 dst\nd 0700 0:0 dst/c\nf 0644 0:0 dst/c/d = 1\n",                                                                                                                                                                                                          NULL                                      },
    {"/folder-onto-root",              "d src\nf src/x = 1",                                                        "",                                        "/",         "f 0644 0:0 x = 1\n",                                                                           NULL                                      },
    {"/through-links",                 "f src = x",
     "d usr\nd usr/bin\nl bin -> usr/bin\nl usr/bin/tool -> /opt/tool",                                                                                        "/bin/tool",
     "d 0755 0:0 opt\nf 0644 0:0 opt/tool = x\n",                                                                                                                                                                                                                           NULL                                      },
    {"/folder-meets-link",
     "d src\nd 0700 src/lib\nf src/lib/x = 1\nd 0711 src/usr\nf src/usr/y = 2",                                     "d usr\nd 0750 usr/lib\nl lib -> usr/lib", "/",
     "d 0755 0:0 usr\nd 0750 0:0 usr/lib\nf 0644 0:0 usr/lib/x = 1\nd 0711 0:0 usr\nf 0644 0:0 "
     "usr/y = 2\n",                                                                                                                                                                                                                                                         NULL                                      },
    {"/folder-meets-link-later",       "d src\nd 0711 src/usr\nd src/zlib\nf src/zlib/x = 1",
     "d usr\nd 0750 usr/lib\nl zlib -> usr/lib",                                                                                                               "/",
     "d 0711 0:0 usr\nd 0750 0:0 usr/lib\nf 0644 0:0 usr/lib/x = 1\n",                                                                                                                                                                                                      NULL                                      },
    {"/file-replaces-link",            "d src\nf src/a = 1",                                                        "l a -> b",                                "/",         "f 0644 0:0 a = 1\n",                                                                           NULL                                      },
    {"/xattrs",                        "f src = x [user.color=red]",                                                "",                                        "/a",        "f 0644 0:0 a = x [user.color=red]\n",
     NULL                                                                                                                                                                                                                                                                                                             },
    {"/overlay-xattrs",                "f src = x [trusted.overlay.opaque=y]",                                      "",                                        "/a",        "f 0644 0:0 a = x\n",
     NULL                                                                                                                                                                                                                                                                                                             },
    {"/fifo",                          "p src",                                                                     "",                                        "/a",        "p 0644 0:0 a\n",                                                                               NULL                                      },
    {"/should-fail-folder-onto-file",  "d src",                                                                     "f a = 1",                                 "/a",        NULL,
     "\"src\": a folder cannot replace \"/a\", which is none"                                                                                                                                                                                                                                                         },
    {"/should-fail-file-onto-folder",  "f src = 1",                                                                 "d a",                                     "/a",        NULL,
     "\"src\": what is no folder cannot replace the folder \"/a\""                                                                                                                                                                                                                                                    },
    {"/should-fail-folder-meets-file", "d src\nd src/a\nd src/a/b",                                                 "d a\nf a/b = 1",                          "/",         NULL,
     "\"src/a/b\": a folder cannot replace \"/a/b\", which is none"                                                                                                                                                                                                                                                   },
    {"/should-fail-device",            "d src\nc 1:3 src/null",                                                     "",                                        "/a",        NULL,
     "\"src/null\": a device cannot be copied"                                                                                                                                                                                                                                                                        },
    {"/should-fail-whiteout",          "d src\nf src/.wh.passwd",                                                   "",                                        "/etc",      NULL,
     "\"src/.wh.passwd\": a name that means a removal in image layers"                                                                                                                                                                                                                                                },
    {"/should-fail-through-file",      "f src = 1",                                                                 "f a = 1",                                 "/a/b",      NULL,                                                                                           "\"/a\" is not a folder"                  },
    {"/should-fail-missing",           "",                                                                          "",                                        "/a",        NULL,                                                                                           "\"src\": stat: No such file or directory"},
};

typedef struct {
    CxTestFolder folder;
    CxTree *image;
    int source_fd;
} Fixture;

static int
make_folder(Fixture *self, const char *name, const char *entries)
{
    int fd;

    g_assert_cmpint(mkdirat(self->folder.fd, name, 0755), ==, 0);
    fd = openat(self->folder.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cx_test_make_tree_of(fd, entries);
    return fd;
}

static void
fixture_init(Fixture *self, const char *source, const char *image)
{
    cx_test_folder_init(&self->folder);
    self->source_fd = make_folder(self, "source", source);
    self->image = cx_tree_new();
    cx_tree_take_folder(self->image, make_folder(self, "image", image));
}

static void
fixture_clear(Fixture *self)
{
    cx_tree_free(self->image);
    cx_clear_fd(&self->source_fd);
    cx_test_folder_clear(&self->folder);
}

static char *
pack(Fixture *self, const char *dest, GError **error)
{
    CxPack request = {
        .parent_fd = self->source_fd, .name = "src", .dest = dest, .below = self->image};
    cx_autofd int fd = cx_test_create(&self->folder, "out");
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);

    if (!cx_layer_pack(&request, writer, NULL, error) || !cx_tar_writer_finish(writer, error))
        return NULL;
    return cx_test_list_tar(fd, sink.written);
}

static void
test_case(gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE(data);
    g_autofree char *listed = NULL;
    g_autoptr(GError) error = NULL;
    Fixture self;

    if (geteuid() != 0) {
        g_test_skip("making owners and devices needs root");
        return;
    }
    fixture_init(&self, cases[i].source, cases[i].image);
    listed = pack(&self, cases[i].dest, &error);
    if (cases[i].message != NULL) {
        g_assert_nonnull(error);
        g_assert_cmpstr(error->message, ==, cases[i].message);
    } else {
        g_assert_no_error(error);
        g_assert_cmpstr(listed, ==, cases[i].expected);
    }
    fixture_clear(&self);
}

static CxDigest
key_of(const Fixture *self, gboolean *out_settled)
{
    CxPack request = {.parent_fd = self->source_fd, .name = "src"};
    GError *error = NULL;
    CxDigest key;

    cx_layer_pack_key(&request, &key, out_settled, NULL, &error);
    g_assert_no_error(error);
    return key;
}

static void
test_key(void)
{
    static const char source[] = "d src\n"
                                 "d src/a\n"
                                 "f src/a/b = 1\n"
                                 "f src/c = 1";
    static const char none[] = "";
    CxDigest first, again, other;
    gboolean settled;
    Fixture self;

    fixture_init(&self, source, none);
    first = key_of(&self, &settled);
    g_assert_false(settled);
    again = key_of(&self, &settled);
    g_assert_true(cx_digest_equal(&first, &again));

    g_assert_cmpint(renameat(self.source_fd, "src/c", self.source_fd, "src/a/c"), ==, 0);
    other = key_of(&self, &settled);
    g_assert_false(cx_digest_equal(&first, &other));
    g_assert_cmpint(renameat(self.source_fd, "src/a/c", self.source_fd, "src/c"), ==, 0);
    again = key_of(&self, &settled);
    g_assert_false(cx_digest_equal(&other, &again));

    g_assert_cmpint(fchmodat(self.source_fd, "src/a/b", 0600, 0), ==, 0);
    other = key_of(&self, &settled);
    g_assert_false(cx_digest_equal(&again, &other));
    fixture_clear(&self);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strconcat("/pack", cases[i].name, NULL);

        g_test_add_data_func(name, GSIZE_TO_POINTER(i), test_case);
    }
    g_test_add_func("/pack-key/changes", test_key);
    return g_test_run();
}
