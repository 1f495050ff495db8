/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* File descriptors: -1 is "no fd"; all are born O_CLOEXEC; a name that ends in fd borrows, _take_fd
 * owns. Loops handle EINTR and short counts, so a call either does all of its work or fails. */

static inline int
cx_steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

/* Closes *fd unless it is -1, sets it to -1 and keeps errno. */
void cx_clear_fd(int *fd);

/* A local that owns an fd: cx_autofd int fd = -1; */
#define cx_autofd __attribute__((cleanup(cx_clear_fd)))

gboolean cx_write_all(int fd, const void *data, gsize size, GError **error);
gboolean cx_pwrite_all(int fd, const void *data, gsize size, guint64 offset, GError **error);

/* Reads up to size bytes, fewer only at the end of the file.  Returns the count or -1. */
gssize cx_read_full(int fd, void *data, gsize size, GError **error);
gssize cx_pread_full(int fd, void *data, gsize size, guint64 offset, GError **error);

/* Copies exactly size bytes from in_fd at in_offset to the current position of out_fd, by the
 * cheapest means the kernel offers.  CX_ERROR_MISMATCH: in_fd is shorter than that. */
gboolean cx_copy_range(int in_fd, guint64 in_offset, int out_fd, guint64 size, GError **error);

/* Reads a whole regular file, limit bytes at most (CX_ERROR_LIMIT names it), zero-terminated beyond
 * its length.  dir_fd and path as for openat; the last component must not be a symlink. */
GBytes *cx_read_file_at(int dir_fd, const char *path, gsize limit, GError **error);

/* Creates or replaces dir_fd/path by way of a temporary file and rename: a reader sees the old
 * bytes or the new ones.  Not synced to disk. */
gboolean cx_replace_file_at(
    int dir_fd, const char *path, const void *data, gsize size, mode_t mode, GError **error);

/* "/proc/self/fd/N" for calls that only take a path. */
typedef struct {
    char path[32];
} CxFdPath;
CxFdPath cx_fd_path(int fd);

G_END_DECLS
