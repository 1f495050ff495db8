/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tmp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

#define NAME_TRIES 100

static char *
random_name(void)
{
    return g_strdup_printf("tmp.%08x%08x", g_random_int(), g_random_int());
}

/* ---- CxTmpdir -------------------------------------------------------------------------------- */

gboolean
cx_tmpdir_make(CxTmpdir *self, int parent_fd, mode_t mode, GError **error)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        g_autofree char *name = random_name();

        if (mkdirat(parent_fd, name, mode) < 0) {
            if (errno == EEXIST)
                continue;
            return cx_throw_errno(error, "temporary folder");
        }
        self->parent_fd = parent_fd;
        self->name = g_steal_pointer(&name);
        self->fd = openat(parent_fd, self->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (self->fd < 0) {
            cx_throw_errno(error, "temporary folder");
            cx_tmpdir_clear(self);
            return FALSE;
        }
        return TRUE;
    }
    return cx_throw(error, CX_ERROR_INTERNAL, "no free temporary name");
}

gboolean
cx_tmpdir_publish(CxTmpdir *self, int to_fd, const char *name, GError **error)
{
    if (renameat2(self->parent_fd, self->name, to_fd, name, RENAME_NOREPLACE) < 0)
        return cx_throw_errno(error, "\"%s\"", name);

    g_clear_pointer(&self->name, g_free);
    return TRUE;
}

void
cx_tmpdir_clear(CxTmpdir *self)
{
    cx_clear_fd(&self->fd);
    if (self->name != NULL)
        (void)cx_remove_tree_at(self->parent_fd, self->name, NULL);
    g_clear_pointer(&self->name, g_free);
}

/* ---- CxTmpfile ------------------------------------------------------------------------------- */

gboolean
cx_tmpfile_make(CxTmpfile *self, int parent_fd, mode_t mode, GError **error)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        g_autofree char *name = random_name();
        int fd = openat(parent_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

        if (fd < 0) {
            if (errno == EEXIST)
                continue;
            return cx_throw_errno(error, "temporary file");
        }
        self->parent_fd = parent_fd;
        self->name = g_steal_pointer(&name);
        self->fd = fd;
        return TRUE;
    }
    return cx_throw(error, CX_ERROR_INTERNAL, "no free temporary name");
}

gboolean
cx_tmpfile_publish(CxTmpfile *self, int to_fd, const char *name, gboolean replace, GError **error)
{
    if (renameat2(self->parent_fd, self->name, to_fd, name, replace ? 0 : RENAME_NOREPLACE) < 0)
        return cx_throw_errno(error, "\"%s\"", name);

    g_clear_pointer(&self->name, g_free);
    return TRUE;
}

void
cx_tmpfile_clear(CxTmpfile *self)
{
    cx_clear_fd(&self->fd);
    if (self->name != NULL)
        (void)unlinkat(self->parent_fd, self->name, 0);
    g_clear_pointer(&self->name, g_free);
}

/* ---- whole trees ----------------------------------------------------------------------------- */

typedef DIR CxDir;
static void
close_dir(DIR *dir)
{
    (void)closedir(dir);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxDir, close_dir)

static gboolean
is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static gboolean remove_children(int take_fd, dev_t device, GError **error);

/* Removes the folder dir_fd/name if it lies on device; the recursion is as deep as the tree, one fd
 * a level. */
static gboolean
remove_folder(int dir_fd, const char *name, dev_t device, GError **error)
{
    cx_autofd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == EACCES && fchmodat(dir_fd, name, 0700, 0) == 0)
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return cx_throw_errno(error, "remove \"%s\"", name);
    if (st.st_dev != device)
        return cx_throw(error, CX_ERROR_BUSY, "remove \"%s\": something is mounted there", name);
    if (!remove_children(cx_steal_fd(&fd), device, error))
        return FALSE;
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return cx_throw_errno(error, "remove \"%s\"", name);

    return TRUE;
}

static gboolean
remove_children(int take_fd, dev_t device, GError **error)
{
    g_autoptr(CxDir) dir = fdopendir(take_fd);
    struct dirent *entry;

    if (dir == NULL) {
        cx_throw_errno(error, "remove");
        (void)close(take_fd);
        return FALSE;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (is_dot(entry->d_name))
            continue;
        if (entry->d_type != DT_DIR &&
            (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT))
            continue;
        if (entry->d_type != DT_DIR && errno != EISDIR && errno != EPERM)
            return cx_throw_errno(error, "remove \"%s\"", entry->d_name);
        if (!remove_folder(dirfd(dir), entry->d_name, device, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
cx_remove_tree_at(int dir_fd, const char *name, GError **error)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? TRUE : cx_throw_errno(error, "remove \"%s\"", name);
    if (S_ISDIR(st.st_mode))
        return remove_folder(dir_fd, name, st.st_dev, error);
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        return cx_throw_errno(error, "remove \"%s\"", name);

    return TRUE;
}

static guint64
usage_of(int dir_fd, const char *name, GHashTable *seen)
{
    struct stat st;
    guint64 total;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (st.st_nlink > 1 && !S_ISDIR(st.st_mode)) {
        gint64 *inode = g_new(gint64, 1);

        *inode = (gint64)st.st_ino;
        if (!g_hash_table_add(seen, inode))
            return 0;
    }
    total = (guint64)st.st_blocks * 512;
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        g_autoptr(CxDir) dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        while (dir != NULL && (entry = readdir(dir)) != NULL)
            if (!is_dot(entry->d_name))
                total += usage_of(dirfd(dir), entry->d_name, seen);
    }
    return total;
}

guint64
cx_tree_usage_at(int dir_fd, const char *name)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

    return usage_of(dir_fd, name, seen);
}
