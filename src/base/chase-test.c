/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"

/* A tree with a secret beside it; every file holds its own name. */
typedef struct {
    char *top;   /* (owned) */
    int root_fd; /* owned: top/root */
} Fixture;

static void
put_file(const char *top, const char *path)
{
    g_autofree char *full = g_build_filename(top, path, NULL);

    g_assert_true(g_file_set_contents(full, path, -1, NULL));
}

static void
put_folder(const char *top, const char *path)
{
    g_autofree char *full = g_build_filename(top, path, NULL);

    g_assert_cmpint(g_mkdir(full, 0755), ==, 0);
}

static void
put_link(const char *top, const char *path, const char *target)
{
    g_autofree char *full = g_build_filename(top, path, NULL);

    g_assert_cmpint(symlink(target, full), ==, 0);
}

static void
set_up(Fixture *self, gconstpointer data)
{
    const char *disabled = data;
    g_autofree char *root = NULL, *absolute = NULL;

    self->top = g_dir_make_tmp("chase-XXXXXX", NULL);
    g_assert_nonnull(self->top);
    root = g_build_filename(self->top, "root", NULL);
    absolute = g_build_filename(self->top, "secret", NULL);
    put_folder(self->top, "root");
    put_folder(self->top, "root/dir");
    put_folder(self->top, "root/dir/sub");
    put_file(self->top, "secret");
    put_file(self->top, "root/file");
    put_file(self->top, "root/dir/file");
    put_link(self->top, "root/to-file", "file");
    put_link(self->top, "root/to-dir", "dir");
    put_link(self->top, "root/dir/up", "../file");
    put_link(self->top, "root/chain", "to-dir/up");
    put_link(self->top, "root/out", "../secret");
    put_link(self->top, "root/far-out", "../../../../../../../../etc/passwd");
    put_link(self->top, "root/absolute", absolute);
    put_link(self->top, "root/absolute-in", "/dir/file");
    put_link(self->top, "root/loop", "loop");
    put_link(self->top, "root/dangling", "nothing");
    put_link(self->top, "root/dir/dots", "./..//./dir/../file");
    put_link(self->top, "root/magic", "/proc/self/root/etc/passwd");
    self->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(self->root_fd, >=, 0);
    g_setenv("CX_DISABLE", disabled, TRUE);
}

static void
tear_down(Fixture *self, gconstpointer data)
{
    cx_clear_fd(&self->root_fd);
    g_assert_true(cx_remove_tree_at(AT_FDCWD, self->top, NULL));
    g_free(self->top);
    g_unsetenv("CX_DISABLE");
}

/* ---- what is opened, and what is refused ----------------------------------------------------- */

#define ABSENT CX_ERROR_NOT_FOUND
#define OUTSIDE CX_ERROR_DENIED
#define BAD CX_ERROR_INVALID

static const struct {
    const char *path;
    CxChaseFlags flags;
    const char *content; /* NULL: refused with code */
    CxError code;
} open_cases[] = {
    {"file",                    CX_CHASE_BENEATH,                        "root/file",     0      },
    {"dir/file",                CX_CHASE_BENEATH,                        "root/dir/file", 0      },
    {"./dir//./file",           CX_CHASE_BENEATH,                        "root/dir/file", 0      },
    {"dir/sub/../file",         CX_CHASE_BENEATH,                        "root/dir/file", 0      },
    {"dir/../file",             CX_CHASE_BENEATH,                        "root/file",     0      },
    {"to-file",                 CX_CHASE_BENEATH,                        "root/file",     0      },
    {"to-dir/file",             CX_CHASE_BENEATH,                        "root/dir/file", 0      },
    {"to-dir/up",               CX_CHASE_BENEATH,                        "root/file",     0      },
    {"chain",                   CX_CHASE_BENEATH,                        "root/file",     0      },
    {"to-dir/dots",             CX_CHASE_BENEATH,                        "root/file",     0      },
    {"../secret",               CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"dir/../../secret",        CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"..",                      CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"/file",                   CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"/etc/passwd",             CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"out",                     CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"absolute",                CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"absolute-in",             CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"magic",                   CX_CHASE_BENEATH,                        NULL,            OUTSIDE},
    {"nothing",                 CX_CHASE_BENEATH,                        NULL,            ABSENT },
    {"dangling",                CX_CHASE_BENEATH,                        NULL,            ABSENT },
    {"file/x",                  CX_CHASE_BENEATH,                        NULL,            ABSENT },
    {"file/",                   CX_CHASE_BENEATH,                        NULL,            ABSENT },
    {"",                        CX_CHASE_BENEATH,                        NULL,            ABSENT },
    {"loop",                    CX_CHASE_BENEATH,                        NULL,            BAD    },
    {"loop/x",                  CX_CHASE_BENEATH,                        NULL,            BAD    },
    {"file",                    CX_CHASE_IN_ROOT,                        "root/file",     0      },
    {"/file",                   CX_CHASE_IN_ROOT,                        "root/file",     0      },
    {"../file",                 CX_CHASE_IN_ROOT,                        "root/file",     0      },
    {"../../../dir/../../file", CX_CHASE_IN_ROOT,                        "root/file",     0      },
    {"absolute-in",             CX_CHASE_IN_ROOT,                        "root/dir/file", 0      },
    {"out",                     CX_CHASE_IN_ROOT,                        NULL,            ABSENT },
    {"far-out",                 CX_CHASE_IN_ROOT,                        NULL,            ABSENT },
    {"absolute",                CX_CHASE_IN_ROOT,                        NULL,            ABSENT },
    {"magic",                   CX_CHASE_IN_ROOT,                        NULL,            ABSENT },
    {"loop",                    CX_CHASE_IN_ROOT,                        NULL,            BAD    },
    {"dir/file",                CX_CHASE_BENEATH | CX_CHASE_NO_SYMLINKS, "root/dir/file", 0      },
    {"to-file",                 CX_CHASE_BENEATH | CX_CHASE_NO_SYMLINKS, NULL,            BAD    },
    {"to-dir/file",             CX_CHASE_BENEATH | CX_CHASE_NO_SYMLINKS, NULL,            BAD    },
};

static void
test_open(Fixture *self, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(open_cases); i++) {
        g_autoptr(GError) error = NULL;
        cx_autofd int fd = cx_chase_open(self->root_fd, open_cases[i].path, open_cases[i].flags,
                                         O_RDONLY, 0, &error);
        char content[64] = "";

        g_test_message("%s, flags %d", open_cases[i].path, open_cases[i].flags);
        if (open_cases[i].content == NULL) {
            g_assert_cmpint(fd, ==, -1);
            g_assert_error(error, CX_ERROR, (int)open_cases[i].code);
            continue;
        }
        g_assert_no_error(error);
        g_assert_cmpint(read(fd, content, sizeof content - 1), >, 0);
        g_assert_cmpstr(content, ==, open_cases[i].content);
        g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    }
}

static gboolean
is_same(int fd, int other_fd)
{
    struct stat one, other;

    return fstat(fd, &one) == 0 && fstat(other_fd, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

/* The root itself, by every name it has. */
static void
test_root(Fixture *self, gconstpointer data)
{
    static const char *const names[] = {".", "./", "dir/..", "./dir/sub/../..", "/", "..", "../.."};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        cx_autofd int fd =
            cx_chase_open(self->root_fd, names[i], i < 4 ? CX_CHASE_BENEATH : CX_CHASE_IN_ROOT,
                          O_RDONLY | O_DIRECTORY, 0, &error);

        g_assert_no_error(error);
        g_assert_true(is_same(fd, self->root_fd));
    }
}

/* A link as the last component: not followed when the caller says so, never created through. */
static void
test_last_link(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    cx_autofd int link_fd = cx_chase_open(self->root_fd, "dir/../out", CX_CHASE_BENEATH,
                                          O_PATH | O_NOFOLLOW, 0, &error);
    cx_autofd int made_fd = -1;
    struct stat st;

    g_assert_no_error(error);
    g_assert_cmpint(fstat(link_fd, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));

    made_fd = cx_chase_open(self->root_fd, "dangling", CX_CHASE_IN_ROOT,
                            O_WRONLY | O_CREAT | O_EXCL, 0644, &error);
    g_assert_cmpint(made_fd, ==, -1);
    g_assert_error(error, CX_ERROR, CX_ERROR_EXISTS);
}

static void
test_create(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = cx_chase_open(self->root_fd, "to-dir/new", CX_CHASE_BENEATH,
                                     O_WRONLY | O_CREAT | O_EXCL, 0640, &error);
    struct stat st;

    g_assert_no_error(error);
    g_assert_cmpint(fstatat(self->root_fd, "dir/new", &st, 0), ==, 0);
    g_assert_cmpint(st.st_mode & 07777 & ~0640, ==, 0);
}

/* ---- folders --------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    CxChaseFlags flags;
    const char *made; /* NULL: refused */
} mkdir_cases[] = {
    {"a/b/c",      CX_CHASE_BENEATH, "a/b/c"  },
    {"dir",        CX_CHASE_BENEATH, "dir"    },
    {"",           CX_CHASE_BENEATH, "."      },
    {"to-dir/x/y", CX_CHASE_BENEATH, "dir/x/y"},
    {"./p//q/.",   CX_CHASE_BENEATH, "p/q"    },
    {"../x",       CX_CHASE_BENEATH, NULL     },
    {"/x",         CX_CHASE_BENEATH, NULL     },
    {"out/x",      CX_CHASE_BENEATH, NULL     },
    {"file/x",     CX_CHASE_BENEATH, NULL     },
    {"/r/s",       CX_CHASE_IN_ROOT, "r/s"    },
    {"../../t",    CX_CHASE_IN_ROOT, "t"      },
    {"file",       CX_CHASE_IN_ROOT, NULL     },
};

static void
test_mkdir(Fixture *self, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(mkdir_cases); i++) {
        g_autoptr(GError) error = NULL;
        cx_autofd int fd = cx_chase_mkdir_p(self->root_fd, mkdir_cases[i].path,
                                            mkdir_cases[i].flags, 0755, &error);
        cx_autofd int made_fd = -1;

        g_test_message("%s", mkdir_cases[i].path);
        if (mkdir_cases[i].made == NULL) {
            g_assert_cmpint(fd, ==, -1);
            g_assert_nonnull(error);
            continue;
        }
        g_assert_no_error(error);
        made_fd = openat(self->root_fd, mkdir_cases[i].made, O_PATH | O_DIRECTORY | O_CLOEXEC);
        g_assert_true(is_same(fd, made_fd));
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static void
test_clean(void)
{
    static const struct {
        const char *path;
        const char *clean;
        gboolean dotdot;
    } cases[] = {
        {"",              "",        FALSE},
        {"/",             "",        FALSE},
        {".",             "",        FALSE},
        {"..",            "",        TRUE },
        {"/a//./b/../c/", "a/c",     TRUE },
        {"../../a",       "a",       TRUE },
        {"a/..",          "",        TRUE },
        {"a/...",         "a/...",   FALSE},
        {"..a/b..",       "..a/b..", FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *clean = cx_path_clean(cases[i].path);

        g_assert_cmpstr(clean, ==, cases[i].clean);
        g_assert_cmpint(cx_path_has_dotdot(cases[i].path), ==, cases[i].dotdot);
    }
}

static void
add_both(const char *name, void (*test)(Fixture *, gconstpointer))
{
    g_autofree char *kernel = g_strdup_printf("/base/chase/%s", name);
    g_autofree char *walk = g_strdup_printf("/base/chase/%s-by-walk", name);

    g_test_add(kernel, Fixture, "", set_up, test, tear_down);
    g_test_add(walk, Fixture, "openat2", set_up, test, tear_down);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_both("open", test_open);
    add_both("root", test_root);
    add_both("last-link", test_last_link);
    add_both("create", test_create);
    add_both("mkdir", test_mkdir);
    g_test_add_func("/base/chase/clean", test_clean);
    return g_test_run();
}
