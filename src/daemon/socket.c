/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "daemon"
#include "daemon/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

#define BACKLOG 1024
#define READY_LINE "{\"version\":0,\"command\":\"ok\"}\n"

static gboolean
make_address(const char *path, struct sockaddr_un *out_address, GError **error)
{
    *out_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof out_address->sun_path)
        return cx_throw(error, CX_ERROR_LIMIT, "socket path \"%s\" is longer than %zu bytes", path,
                        sizeof out_address->sun_path - 1);

    g_strlcpy(out_address->sun_path, path, sizeof out_address->sun_path);
    return TRUE;
}

int
cx_socket_connect(const char *path, GError **error)
{
    cx_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;

    if (fd < 0)
        return cx_throw_errno_fd(error, "socket");
    if (!make_address(path, &address, error))
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return cx_throw_errno_fd(error, "daemon at \"%s\"", path);

    return cx_steal_fd(&fd);
}

/* Opens and locks the lock file beside the socket.  One that was removed by its last owner in
 * between is not the lock any more. */
static gboolean
lock_name(CxListener *self, const char *lock, GError **error)
{
    struct stat st = {0};

    while (st.st_nlink == 0) {
        cx_clear_fd(&self->lock_fd);
        self->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (self->lock_fd < 0)
            return cx_throw_errno(error, "\"%s\"", lock);
        if (flock(self->lock_fd, LOCK_EX | LOCK_NB) < 0) {
            cx_clear_fd(&self->lock_fd);
            return cx_throw(error, CX_ERROR_BUSY, "a daemon is already running on \"%s\"",
                            self->path);
        }
        if (fstat(self->lock_fd, &st) < 0)
            return cx_throw_errno(error, "\"%s\"", lock);
    }
    return TRUE;
}

/* Holding the lock is what makes "look whether somebody answers, then remove and bind" one step. */
static gboolean
take_name(CxListener *self, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(self->path),
                    *lock = g_strconcat(self->path, ".lock", NULL);
    cx_autofd int other = -1;
    struct stat st;

    if (g_mkdir_with_parents(folder, 0755) < 0)
        return cx_throw_errno(error, "\"%s\"", folder);
    if (!lock_name(self, lock, error))
        return FALSE;

    if (lstat(self->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        cx_clear_fd(&self->lock_fd);
        (void)unlink(lock);
        return cx_throw(error, CX_ERROR_EXISTS, "\"%s\" is there and is no socket", self->path);
    }
    other = cx_socket_connect(self->path, NULL);
    if (other >= 0) {
        cx_clear_fd(&self->lock_fd);
        return cx_throw(error, CX_ERROR_BUSY, "a daemon is already running on \"%s\"", self->path);
    }
    return TRUE;
}

/* The group's members may talk to us.  Neither failing is fatal. */
static void
open_to_group(const char *path)
{
    const struct group *group = getgrnam(CX_SOCKET_GROUP);

    if (chmod(path, 0660) < 0)
        cx_debug("chmod \"%s\": %s", path, g_strerror(errno));
    if (group == NULL || chown(path, (uid_t)-1, group->gr_gid) < 0)
        cx_warning("group \"%s\" is missing: socket accessible to owner only", CX_SOCKET_GROUP);
}

static void
write_pid(const char *path)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    g_autofree char *folder = g_path_get_dirname(path);
    g_autoptr(GError) error = NULL;

    (void)g_mkdir_with_parents(folder, 0755);
    if (!cx_replace_file_at(AT_FDCWD, path, text, strlen(text), 0644, &error))
        cx_warning("PID file: %s, going on without", error->message);
}

gboolean
cx_listener_bind(CxListener *self, const char *path, const char *pid_file, GError **error)
{
    struct sockaddr_un address;
    cx_autofd int fd = -1;
    mode_t before;
    int bound;

    if (!make_address(path, &address, error))
        return FALSE;
    self->path = g_strdup(path);
    if (!take_name(self, error))
        return FALSE;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path);
    before = umask(0177);
    bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    (void)umask(before);
    if (bound < 0)
        return cx_throw_errno(error, "socket \"%s\"", path);

    self->fd = cx_steal_fd(&fd);
    self->pid_file = g_strdup(pid_file);
    open_to_group(path);
    write_pid(pid_file);
    return TRUE;
}

gboolean
cx_listener_listen(CxListener *self, GError **error)
{
    if (listen(self->fd, BACKLOG) < 0)
        return cx_throw_errno(error, "socket \"%s\"", self->path);

    return TRUE;
}

/* sd_notify(3), READY=1: one datagram to the socket that $NOTIFY_SOCKET names ('@': abstract). */
static void
notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cx_autofd int fd = -1;
    socklen_t size;

    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address.sun_path)
        return;

    memcpy(address.sun_path, path, strlen(path));
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, "READY=1", strlen("READY=1"), MSG_NOSIGNAL,
                     (const struct sockaddr *)&address, size);
}

void
cx_listener_announce(const CxListener *self, int ready_fd)
{
    if (ready_fd >= 0) {
        (void)cx_write_all(ready_fd, READY_LINE, strlen(READY_LINE), NULL);
        if (ready_fd > STDERR_FILENO)
            (void)close(ready_fd);
    }
    notify_ready();
}

void
cx_listener_close(CxListener *self)
{
    /* Without the lock the names belong to somebody else. */
    if (self->lock_fd >= 0 && self->pid_file != NULL) {
        g_autofree char *lock = g_strconcat(self->path, ".lock", NULL);

        (void)unlink(self->path);
        (void)unlink(self->pid_file);
        (void)unlink(lock);
    }
    cx_clear_fd(&self->fd);
    cx_clear_fd(&self->lock_fd);
    g_clear_pointer(&self->path, g_free);
    g_clear_pointer(&self->pid_file, g_free);
}
