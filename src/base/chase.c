/* SPDX-License-Identifier: Apache-2.0 */
#include "base/chase.h"

#include <errno.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"

/* The kernel's own limit on symlinks in one lookup (MAXSYMLINKS). */
#define CHASE_LINKS_MAX 40
/* openat2 answers EAGAIN when a rename raced with ".."; a bounded number of tries, then the walk.
 */
#define CHASE_RETRIES 8

/* Set once openat2 was refused.  A race only costs one more refused call. */
static gint openat2_refused = 0;

/* ---- openat2 --------------------------------------------------------------------------------- */

static int
open_by_kernel(int root_fd, const char *path, CxChaseFlags flags, int open_flags, mode_t mode)
{
    struct open_how how = {
        .flags = (guint64)(open_flags | O_CLOEXEC),
        .mode = (open_flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode : 0,
        .resolve = RESOLVE_NO_MAGICLINKS |
                   ((flags & CX_CHASE_BENEATH) ? RESOLVE_BENEATH : RESOLVE_IN_ROOT) |
                   ((flags & CX_CHASE_NO_SYMLINKS) ? RESOLVE_NO_SYMLINKS : 0),
    };

    for (int i = 0; i < CHASE_RETRIES; i++) {
        int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);

        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return fd;
    }
    return -1;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* Theory: `stack` holds an fd for every folder from the root (index 0) to where we are, so ".." is
 * a pop that needs no trust in the file system.  `rest` is what is still to be walked; a symlink's
 * target is put in front of it. */
typedef struct {
    GArray *stack; /* (owned) of owned int */
    char *rest;    /* (owned) */
    guint links;
} Walk;

static void
walk_clear(Walk *self)
{
    for (guint i = 0; self->stack != NULL && i < self->stack->len; i++)
        cx_clear_fd(&g_array_index(self->stack, int, i));
    g_clear_pointer(&self->stack, g_array_unref);
    g_clear_pointer(&self->rest, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

static int
walk_here(const Walk *self)
{
    return g_array_index(self->stack, int, self->stack->len - 1);
}

static void
walk_to_root(Walk *self)
{
    while (self->stack->len > 1) {
        cx_clear_fd(&g_array_index(self->stack, int, self->stack->len - 1));
        g_array_set_size(self->stack, self->stack->len - 1);
    }
}

/* Takes the next component off `rest`; NULL when none is left.  *out_last tells whether only
 * slashes follow. */
static char *
walk_next(Walk *self, gboolean *out_last, gboolean *out_slash)
{
    const char *start = self->rest + strspn(self->rest, "/");
    gsize length = strcspn(start, "/");
    const char *after = start + length;
    char *name, *rest;

    if (length == 0)
        return NULL;

    name = g_strndup(start, length);
    *out_slash = *after == '/';
    after += strspn(after, "/");
    *out_last = *after == '\0';
    rest = g_strdup(after);
    g_free(self->rest);
    self->rest = rest;
    return name;
}

static gboolean
walk_up(Walk *self, CxChaseFlags flags)
{
    if (self->stack->len == 1 && (flags & CX_CHASE_BENEATH)) {
        errno = EXDEV;
        return FALSE;
    }
    if (self->stack->len > 1) {
        cx_clear_fd(&g_array_index(self->stack, int, self->stack->len - 1));
        g_array_set_size(self->stack, self->stack->len - 1);
    }
    return TRUE;
}

/* Puts the target of link in front of what is left.  `more` tells that a component follows or a
 * folder is asked for. */
static gboolean
walk_follow(Walk *self, const char *name, CxChaseFlags flags, gboolean slash)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(walk_here(self), name, target, sizeof target - 1);
    char *joined;

    if (n < 0)
        return FALSE;
    target[n] = '\0';

    if ((flags & CX_CHASE_NO_SYMLINKS) || ++self->links > CHASE_LINKS_MAX) {
        errno = ELOOP;
        return FALSE;
    }
    if (n == 0) {
        errno = ENOENT;
        return FALSE;
    }
    if (target[0] == '/') {
        if (flags & CX_CHASE_BENEATH) {
            errno = EXDEV;
            return FALSE;
        }
        walk_to_root(self);
    }
    joined = g_strconcat(target, slash || self->rest[0] != '\0' ? "/" : "", self->rest, NULL);
    g_free(g_steal_pointer(&self->rest));
    self->rest = joined;
    return TRUE;
}

static gboolean
is_symlink(int dir_fd, const char *name)
{
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* A link that must not be followed: O_NOFOLLOW on the last component, or O_CREAT|O_EXCL. */
static gboolean
keeps_last_link(int open_flags)
{
    return (open_flags & O_NOFOLLOW) != 0 ||
           (open_flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
}

static int
open_by_walk(int root_fd, const char *path, CxChaseFlags flags, int open_flags, mode_t mode)
{
    g_auto(Walk) walk = {.stack = g_array_new(FALSE, FALSE, sizeof(int)), .rest = g_strdup(path)};
    int root = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return -1;
    g_array_append_val(walk.stack, root);
    if (path[0] == '\0') {
        errno = ENOENT;
        return -1;
    }
    if (path[0] == '/' && (flags & CX_CHASE_BENEATH)) {
        errno = EXDEV;
        return -1;
    }

    for (;;) {
        gboolean last = FALSE, slash = FALSE;
        g_autofree char *name = walk_next(&walk, &last, &slash);
        int fd;

        if (name == NULL)
            return openat(walk_here(&walk), ".", open_flags | O_CLOEXEC, mode);
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            if (!walk_up(&walk, flags))
                return -1;
            continue;
        }
        if (is_symlink(walk_here(&walk), name) &&
            !(last && !slash && keeps_last_link(open_flags))) {
            if (!walk_follow(&walk, name, flags, slash))
                return -1;
            continue;
        }
        /* A file that became a link since the check is refused by O_NOFOLLOW, never followed. */
        if (last)
            return openat(walk_here(&walk), name,
                          open_flags | O_CLOEXEC | O_NOFOLLOW | (slash ? O_DIRECTORY : 0), mode);
        fd = openat(walk_here(&walk), name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return -1;
        g_array_append_val(walk.stack, fd);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

static int
chase(int root_fd, const char *path, CxChaseFlags flags, int open_flags, mode_t mode)
{
    int fd;

    g_assert(!(flags & CX_CHASE_BENEATH) != !(flags & CX_CHASE_IN_ROOT));

    if (g_atomic_int_get(&openat2_refused) || cx_switch_is_disabled("openat2"))
        return open_by_walk(root_fd, path, flags, open_flags, mode);

    fd = open_by_kernel(root_fd, path, flags, open_flags, mode);
    if (fd >= 0)
        return fd;
    if (errno == ENOSYS || errno == EPERM)
        g_atomic_int_set(&openat2_refused, errno == ENOSYS);
    else if (errno != EAGAIN)
        return -1;

    return open_by_walk(root_fd, path, flags, open_flags, mode);
}

int
cx_chase_open(
    int root_fd, const char *path, CxChaseFlags flags, int open_flags, mode_t mode, GError **error)
{
    int fd = chase(root_fd, path, flags, open_flags, mode);

    if (fd < 0 && errno == EXDEV)
        return cx_throw_fd(error, CX_ERROR_DENIED, "\"%s\" leads outside its root", path);
    if (fd < 0 && errno == ELOOP && (flags & CX_CHASE_NO_SYMLINKS))
        return cx_throw_fd(error, CX_ERROR_INVALID, "\"%s\": a symbolic link is not allowed here",
                           path);
    if (fd < 0)
        return cx_throw_errno_fd(error, "\"%s\"", path);

    return fd;
}

int
cx_chase_mkdir_p(int root_fd, const char *path, CxChaseFlags flags, mode_t mode, GError **error)
{
    g_auto(GStrv) parts = NULL;
    cx_autofd int fd = -1;

    if ((flags & CX_CHASE_BENEATH) && (path[0] == '/' || cx_path_has_dotdot(path)))
        return cx_throw_fd(error, CX_ERROR_DENIED, "\"%s\" leads outside its root", path);

    fd = cx_chase_open(root_fd, path[0] == '\0' ? "." : path, flags, O_PATH | O_DIRECTORY, 0, NULL);
    if (fd >= 0)
        return cx_steal_fd(&fd);

    /* Prefix by prefix from the root, so that links inside the path are resolved like everywhere
     * else. */
    parts = g_strsplit(path, "/", -1);
    {
        g_autoptr(GString) prefix = g_string_new(NULL);

        for (guint i = 0; parts[i] != NULL; i++) {
            cx_autofd int parent = -1;

            if (parts[i][0] == '\0' || strcmp(parts[i], ".") == 0)
                continue;
            parent = cx_chase_open(root_fd, prefix->len == 0 ? "." : prefix->str, flags,
                                   O_PATH | O_DIRECTORY, 0, error);
            if (parent < 0)
                return -1;
            if (strcmp(parts[i], "..") != 0 && mkdirat(parent, parts[i], mode) < 0 &&
                errno != EEXIST)
                return cx_throw_errno_fd(error, "\"%s\"", path);
            g_string_append_printf(prefix, "%s%s", prefix->len == 0 ? "" : "/", parts[i]);
        }
        return cx_chase_open(root_fd, prefix->len == 0 ? "." : prefix->str, flags,
                             O_PATH | O_DIRECTORY, 0, error);
    }
}

char *
cx_path_clean(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (guint i = 0; parts[i] != NULL; i++) {
        if (parts[i][0] == '\0' || strcmp(parts[i], ".") == 0)
            continue;
        if (strcmp(parts[i], "..") != 0)
            g_ptr_array_add(kept, parts[i]);
        else if (kept->len > 0)
            g_ptr_array_set_size(kept, (gint)kept->len - 1);
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv("/", (char **)kept->pdata);
}

gboolean
cx_path_has_dotdot(const char *path)
{
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += strspn(part, "/");
        if (strncmp(part, "..", 2) == 0 && (part[2] == '\0' || part[2] == '/'))
            return TRUE;
    }
    return FALSE;
}
