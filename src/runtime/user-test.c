/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "runtime/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment\n"
                             "\n"
                             "short:x:7\n"
                             "bad:x:99999999999:1::/x:/x\n"
                             "nginx:x:101:102:web:/var/lib/nginx:/bin/false\n"
                             "nohome:x:103:103\n"
                             "relative:x:104:104::home/x:/bin/sh\n"
                             "1234:x:105:105::/digits:/bin/sh\n"
                             "many:x:106:106::/many:/bin/sh\n"
                             "last:x:107:108:a:/last:/bin/sh:with:colons";

static const char group[] = "root:x:0:\n"
                            "www:x:33:nginx,other\n"
                            "adm:x:4:other,nginx\n"
                            "near:x:9:nginx2,xnginx\n"
                            "own:x:102:nginx\n"
                            "twice:x:33:nginx\n"
                            "bad:x:-1:nginx\n"
                            "empty:x:11:\n"
                            "nomembers:x:12\n"
                            "wheel:x:10:root\n";

typedef struct {
    const char *text;
    guint32 uid, gid;
    const char *home;
    const char *gids; /* "4 33" */
    int code;         /* -1: fine */
} Case;

static const Case cases[] = {
    {"",                      0,           0,           "/root",          "10",   -1                },
    {"root",                  0,           0,           "/root",          "10",   -1                },
    {"0",                     0,           0,           "/root",          "10",   -1                },
    {"0:0",                   0,           0,           "/root",          "",     -1                },
    {"1000",                  1000,        0,           "/",              "",     -1                },
    {"1000:1001",             1000,        1001,        "/",              "",     -1                },
    {"101",                   101,         102,         "/var/lib/nginx", "4 33", -1                },
    {"101:7",                 101,         7,           "/var/lib/nginx", "",     -1                },
    {"nginx",                 101,         102,         "/var/lib/nginx", "4 33", -1                },
    {"nginx:www",             101,         33,          "/var/lib/nginx", "",     -1                },
    {"nginx:5",               101,         5,           "/var/lib/nginx", "",     -1                },
    {"nginx:nomembers",       101,         12,          "/var/lib/nginx", "",     -1                },
    {"relative",              104,         104,         "/",              "",     -1                },
    {"1234",                  1234,        0,           "/",              "",     -1                },
    {"last",                  107,         108,         "/last",          "",     -1                },
    {"4294967294",            4294967294u, 0,           "/",              "",     -1                },
    {"4294967294:4294967294", 4294967294u, 4294967294u, "/",              "",     -1                },
    {"4294967295",            0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"4294967296",            0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"18446744073709551616",  0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"00000000001",           0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"1:4294967296",          0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"-1",                    0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"+1",                    0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {" 1",                    0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"0x10",                  0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"1:x",                   0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"1:-1",                  0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"nobody",                0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"nohome",                0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"bad",                   0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {"# a comment",           0,           0,           NULL,             NULL,   CX_ERROR_NOT_FOUND},
    {":",                     0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {":5",                    0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"5:",                    0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
    {"1:2:3",                 0,           0,           NULL,             NULL,   CX_ERROR_INVALID  },
};

typedef struct {
    char *folder; /* (owned) */
    int root_fd;
} Root;

static void
root_open(Root *self)
{
    self->folder = g_dir_make_tmp("cx-user-XXXXXX", NULL);
    self->root_fd = open(self->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(mkdirat(self->root_fd, "etc", 0755), ==, 0);
}

static void
root_put(Root *self, const char *name, const char *text, gssize size)
{
    g_autofree char *path = g_build_filename(self->folder, name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, text, size, &error);
    g_assert_no_error(error);
}

static void
root_clear(Root *self)
{
    cx_clear_fd(&self->root_fd);
    cx_remove_tree_at(AT_FDCWD, self->folder, NULL);
    g_free(self->folder);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Root, root_clear)

static char *
gids_to_text(const CxUser *user)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < user->additional_gids->len; i++)
        g_string_append_printf(text, "%s%u", i == 0 ? "" : " ",
                               g_array_index(user->additional_gids, guint32, i));
    return g_string_free(text, FALSE);
}

static void
test_table(void)
{
    g_auto(Root) root = {.root_fd = -1};

    root_open(&root);
    root_put(&root, "etc/passwd", passwd, -1);
    root_put(&root, "etc/group", group, -1);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        g_auto(CxUser) user = {0};
        g_autofree char *gids = NULL;
        g_autoptr(GError) error = NULL;

        g_test_message("\"%s\"", c->text);
        cx_user_lookup(root.root_fd, c->text, &user, &error);
        if (c->code >= 0) {
            g_assert_error(error, CX_ERROR, c->code);
            g_assert_true(g_str_has_prefix(error->message, "user \""));
            continue;
        }
        g_assert_no_error(error);
        gids = gids_to_text(&user);
        g_assert_cmpuint(user.uid, ==, c->uid);
        g_assert_cmpuint(user.gid, ==, c->gid);
        g_assert_cmpstr(user.home, ==, c->home);
        g_assert_cmpstr(gids, ==, c->gids);
    }
}

/* An image of one static program has no files to look in. */
static void
test_no_files(void)
{
    g_auto(Root) root = {.root_fd = -1};
    g_auto(CxUser) user = {0};
    g_autoptr(GError) error = NULL;

    root_open(&root);
    cx_user_lookup(root.root_fd, "", &user, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(user.uid, ==, 0);
    g_assert_cmpstr(user.home, ==, "/");
    cx_user_clear(&user);
    cx_user_lookup(root.root_fd, "5:6", &user, &error);
    g_assert_no_error(error);
    g_assert_false(cx_user_lookup(root.root_fd, "nginx", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
}

/* Links are followed, but only within the image: this one would lead to our own /etc/passwd. */
static void
test_links(void)
{
    g_auto(Root) root = {.root_fd = -1};
    g_auto(CxUser) user = {0};
    g_autoptr(GError) error = NULL;

    root_open(&root);
    g_assert_cmpint(symlinkat("../../../../../../../../etc/real", root.root_fd, "etc/passwd"), ==,
                    0);
    g_assert_cmpint(symlinkat("/etc/group", root.root_fd, "etc/group"), ==, 0);
    g_assert_false(cx_user_lookup(root.root_fd, "root", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);

    root_put(&root, "etc/real", "inner:x:42:43::/in:/bin/sh\n", -1);
    g_assert_false(cx_user_lookup(root.root_fd, "inner", &user, &error)); /* group is a loop */
    g_assert_nonnull(error);
    g_clear_error(&error);
    cx_user_lookup(root.root_fd, "inner:1", &user, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(user.uid, ==, 42);
}

static void
test_hostile_files(void)
{
    g_auto(Root) root = {.root_fd = -1};
    g_auto(CxUser) user = {0};
    g_autofree char *big = g_malloc(1024 * 1024 + 1);
    g_autoptr(GString) groups = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    root_open(&root);
    memset(big, '\n', 1024 * 1024 + 1);
    root_put(&root, "etc/passwd", big, 1024 * 1024 + 1);
    g_assert_false(cx_user_lookup(root.root_fd, "root", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
    g_clear_error(&error);

    root_put(&root, "etc/passwd", big, 1024 * 1024);
    g_assert_false(cx_user_lookup(root.root_fd, "root", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);

    g_assert_cmpint(unlinkat(root.root_fd, "etc/passwd", 0), ==, 0);
    g_assert_cmpint(mkfifoat(root.root_fd, "etc/passwd", 0600), ==, 0);
    g_assert_false(cx_user_lookup(root.root_fd, "root", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    g_clear_error(&error);

    g_assert_cmpint(unlinkat(root.root_fd, "etc/passwd", 0), ==, 0);
    root_put(&root, "etc/passwd", passwd, -1);
    for (guint i = 0; i < 1100; i++)
        g_string_append_printf(groups, "g%u:x:%u:many\n", i, 2000 + i);
    root_put(&root, "etc/group", groups->str, -1);
    g_assert_false(cx_user_lookup(root.root_fd, "many", &user, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/user/table", test_table);
    g_test_add_func("/user/no-files", test_no_files);
    g_test_add_func("/user/links", test_links);
    g_test_add_func("/user/hostile-files", test_hostile_files);
    return g_test_run();
}
