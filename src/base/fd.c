/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define COPY_BUFFER (256 * 1024)

void
cx_clear_fd(int *fd)
{
    int keep = errno;

    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    errno = keep;
}

gboolean
cx_write_all(int fd, const void *data, gsize size, GError **error)
{
    const char *next = data;

    while (size > 0) {
        ssize_t n = write(fd, next, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cx_throw_errno(error, "write");
        next += n;
        size -= (gsize)n;
    }
    return TRUE;
}

gboolean
cx_pwrite_all(int fd, const void *data, gsize size, guint64 offset, GError **error)
{
    const char *next = data;

    while (size > 0) {
        ssize_t n = pwrite(fd, next, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cx_throw_errno(error, "write");
        next += n;
        offset += (guint64)n;
        size -= (gsize)n;
    }
    return TRUE;
}

gssize
cx_read_full(int fd, void *data, gsize size, GError **error)
{
    gsize done = 0;

    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cx_throw_errno_fd(error, "read");
        if (n == 0)
            break;
        done += (gsize)n;
    }
    return (gssize)done;
}

gssize
cx_pread_full(int fd, void *data, gsize size, guint64 offset, GError **error)
{
    gsize done = 0;

    while (done < size) {
        ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cx_throw_errno_fd(error, "read");
        if (n == 0)
            break;
        done += (gsize)n;
    }
    return (gssize)done;
}

static gboolean
copy_through_memory(int in_fd, guint64 in_offset, int out_fd, guint64 size, GError **error)
{
    g_autofree char *buffer = g_malloc(COPY_BUFFER);

    while (size > 0) {
        gsize want = (gsize)MIN(size, COPY_BUFFER);
        gssize n = cx_pread_full(in_fd, buffer, want, in_offset, error);

        if (n < 0)
            return FALSE;
        if (n == 0)
            return cx_throw(error, CX_ERROR_MISMATCH,
                            "file is %" G_GUINT64_FORMAT " bytes too short", size);
        if (!cx_write_all(out_fd, buffer, (gsize)n, error))
            return FALSE;
        in_offset += (guint64)n;
        size -= (guint64)n;
    }
    return TRUE;
}

gboolean
cx_copy_range(int in_fd, guint64 in_offset, int out_fd, guint64 size, GError **error)
{
    off_t from = (off_t)in_offset;

    /* copy_file_range may refuse (other file system, append mode) or return 0 early on odd file
     * systems: whatever is left goes through memory, which tells a short file from an odd one. */
    while (size > 0) {
        ssize_t n = copy_file_range(in_fd, &from, out_fd, NULL, (size_t)MIN(size, G_MAXINT32), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return cx_throw_errno(error, "write");
        if (n <= 0)
            return copy_through_memory(in_fd, (guint64)from, out_fd, size, error);
        size -= (guint64)n;
    }
    return TRUE;
}

GBytes *
cx_read_file_at(int dir_fd, const char *path, gsize limit, GError **error)
{
    cx_autofd int fd =
        openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    g_autofree char *data = NULL;
    struct stat st;
    gssize n;

    if (fd < 0)
        return cx_throw_errno_null(error, "\"%s\"", path);
    if (fstat(fd, &st) < 0)
        return cx_throw_errno_null(error, "\"%s\"", path);
    if (!S_ISREG(st.st_mode))
        return cx_throw_null(error, CX_ERROR_INVALID, "\"%s\": not a regular file", path);
    if ((guint64)st.st_size > limit)
        return cx_throw_null(error, CX_ERROR_LIMIT, "\"%s\": larger than %" G_GSIZE_FORMAT " bytes",
                             path, limit);

    data = g_malloc((gsize)st.st_size + 1);
    n = cx_pread_full(fd, data, (gsize)st.st_size, 0, error);
    if (n < 0)
        return NULL;

    data[n] = '\0';
    return g_bytes_new_take(g_steal_pointer(&data), (gsize)n);
}

gboolean
cx_replace_file_at(
    int dir_fd, const char *path, const void *data, gsize size, mode_t mode, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.%08x.tmp", path, g_random_int());
    cx_autofd int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return cx_throw_errno(error, "\"%s\"", path);
    if (!cx_write_all(fd, data, size, error)) {
        (void)unlinkat(dir_fd, temporary, 0);
        g_prefix_error(error, "\"%s\": ", path);
        return FALSE;
    }
    if (renameat(dir_fd, temporary, dir_fd, path) < 0) {
        cx_throw_errno(error, "\"%s\"", path);
        (void)unlinkat(dir_fd, temporary, 0);
        return FALSE;
    }
    return TRUE;
}

CxFdPath
cx_fd_path(int fd)
{
    CxFdPath result;

    (void)snprintf(result.path, sizeof result.path, "/proc/self/fd/%d", fd);
    return result;
}
