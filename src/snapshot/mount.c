/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"

#define OVERLAY_OPTIONS "redirect_dir=off,metacopy=off,index=off"

/* ---- CxMount --------------------------------------------------------------------------------- */

/* Making and removing a folder costs more than mounting on it, so they are kept and used again. */
static gboolean
take_point(CxMounter *self, CxMount *mount, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_autofree char *point = NULL;

    if (self->free_points->len > 0) {
        point = g_ptr_array_steal_index_fast(self->free_points, self->free_points->len - 1);
    } else {
        point = g_strdup_printf("%u", ++self->n_points);
        if (mkdirat(self->mnt_fd, point, 0700) < 0)
            return cx_throw_errno(error, "mount point");
    }
    mount->mounter = self;
    mount->point = g_steal_pointer(&point);
    return TRUE;
}

static void
give_point_back(CxMount *mount)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&mount->mounter->lock);

    g_ptr_array_add(mount->mounter->free_points, g_steal_pointer(&mount->point));
}

void
cx_mount_clear(CxMount *self)
{
    cx_clear_fd(&self->fd);
    if (self->point != NULL) {
        g_autofree char *path = g_build_filename(self->mounter->mnt_path, self->point, NULL);

        /* EINVAL: it was not mounted yet. */
        if (umount2(path, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
            (void)umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH);
        give_point_back(self);
    }
}

static gboolean
open_root(CxMount *mount, int dir_fd, const char *path, GError **error)
{
    mount->fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return mount->fd >= 0 || cx_throw_errno(error, "mount");
}

/* What kernels before 6.12 say of any file, and later ones of a file on tmpfs and the like. */
static gboolean
throw_not_block(GError **error)
{
    return cx_throw(error, CX_ERROR_UNSUPPORTED,
                    "this kernel cannot mount a file of the store's file system as erofs");
}

/* ---- modern ---------------------------------------------------------------------------------- */

/* What the kernel says about a refused option, which errno cannot. */
static gboolean
throw_fs(GError **error, int fs_fd, const char *what)
{
    int errnum = errno;
    char text[256];
    ssize_t size = read(fs_fd, text, sizeof text - 1);

    errno = errnum;
    if (size <= 2)
        return cx_throw_errno(error, "%s", what);

    text[size] = '\0';
    g_strchomp(text);
    return cx_throw(error, cx_error_from_errno(errnum), "%s: %s (%s)", what, g_strerror(errnum),
                    text + 2);
}

static gboolean
set_string(int fs_fd, const char *key, const char *value, GError **error)
{
    return fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0) == 0 || throw_fs(error, fs_fd, key);
}

static gboolean
set_fd(int fs_fd, const char *key, int fd, GError **error)
{
    return fsconfig(fs_fd, FSCONFIG_SET_FD, key, NULL, fd) == 0 || throw_fs(error, fs_fd, key);
}

/* Makes the mount that fs_fd describes, and hangs it up if it must be found. */
static gboolean
finish_modern(CxMounter *mounter,
              int fs_fd,
              guint attributes,
              gboolean has_path,
              CxMount *out,
              GError **error)
{
    g_auto(CxMount) mount = CX_MOUNT_INIT;

    if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return errno == ENOTBLK ? throw_not_block(error) : throw_fs(error, fs_fd, "mount");
    mount.fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes);
    if (mount.fd < 0)
        return cx_throw_errno(error, "mount");

    if (has_path) {
        if (!take_point(mounter, &mount, error))
            return FALSE;
        if (move_mount(mount.fd, "", mounter->mnt_fd, mount.point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return cx_throw_errno(error, "mount");
    }
    *out = mount;
    mount = (CxMount)CX_MOUNT_INIT;
    return TRUE;
}

static gboolean
mount_erofs_modern(CxMounter *mounter,
                   int folder_fd,
                   const char *index,
                   const char *tar,
                   CxMount *out,
                   GError **error)
{
    g_autofree char *index_path = g_strdup_printf("%s/%s", cx_fd_path(folder_fd).path, index);
    g_autofree char *tar_path = g_strdup_printf("%s/%s", cx_fd_path(folder_fd).path, tar);
    cx_autofd int fs_fd = fsopen("erofs", FSOPEN_CLOEXEC);

    if (fs_fd < 0)
        return cx_throw_errno(error, "erofs");
    if (fsconfig(fs_fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
        return throw_fs(error, fs_fd, "ro");

    return set_string(fs_fd, "source", index_path, error) &&
           set_string(fs_fd, "device", tar_path, error) &&
           finish_modern(mounter, fs_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID,
                         FALSE, out, error);
}

static gboolean
mount_overlay_modern(CxMounter *mounter, const CxOverlay *overlay, CxMount *out, GError **error)
{
    cx_autofd int fs_fd = fsopen("overlay", FSOPEN_CLOEXEC);
    gboolean writable = overlay->upper_fd >= 0;

    if (fs_fd < 0)
        return cx_throw_errno(error, "overlay");

    for (guint i = overlay->n_lowers; i > 0; i--)
        if (!set_fd(fs_fd, "lowerdir+", overlay->lower_fds[i - 1], error))
            return FALSE;
    if (writable && (!set_fd(fs_fd, "upperdir", overlay->upper_fd, error) ||
                     !set_fd(fs_fd, "workdir", overlay->work_fd, error)))
        return FALSE;
    if (writable && fsconfig(fs_fd, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
        return throw_fs(error, fs_fd, "volatile");

    return set_string(fs_fd, "redirect_dir", "off", error) &&
           set_string(fs_fd, "metacopy", "off", error) &&
           set_string(fs_fd, "index", "off", error) &&
           finish_modern(mounter, fs_fd, MOUNT_ATTR_NODEV | (writable ? 0 : MOUNT_ATTR_RDONLY),
                         overlay->has_path, out, error);
}

/* ---- classic --------------------------------------------------------------------------------- */

static gboolean
mount_erofs_classic(CxMounter *mounter,
                    int folder_fd,
                    const char *index,
                    const char *tar,
                    CxMount *out,
                    GError **error)
{
    g_autofree char *index_path = g_strdup_printf("%s/%s", cx_fd_path(folder_fd).path, index);
    g_autofree char *options = g_strdup_printf("device=%s/%s", cx_fd_path(folder_fd).path, tar);
    g_autofree char *path = NULL;
    g_auto(CxMount) made = CX_MOUNT_INIT;

    if (!take_point(mounter, &made, error))
        return FALSE;
    path = g_build_filename(mounter->mnt_path, made.point, NULL);
    if (mount(index_path, path, "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID, options) < 0)
        return errno == ENOTBLK ? throw_not_block(error) : cx_throw_errno(error, "mount");
    if (!open_root(&made, mounter->mnt_fd, made.point, error))
        return FALSE;

    *out = made;
    made = (CxMount)CX_MOUNT_INIT;
    return TRUE;
}

/* mount(2) takes a page of options at most, which 400 absolute paths do not fit in.  So a thread of
 * its own, whose working directory is the folder of our descriptors, names each layer by its
 * number. */
typedef struct {
    const char *point;
    const char *options;
    gulong flags;
    int errnum;
} ClassicOverlay;

static gpointer
mount_among_fds(gpointer data)
{
    ClassicOverlay *self = data;

    if (unshare(CLONE_FS) < 0 || chdir("/proc/self/fd") < 0 ||
        mount("overlay", self->point, "overlay", self->flags, self->options) < 0)
        self->errnum = errno;
    return NULL;
}

static char *
overlay_options(const CxOverlay *overlay)
{
    GString *options = g_string_new("lowerdir=");

    for (guint i = overlay->n_lowers; i > 0; i--)
        g_string_append_printf(options, "%d%s", overlay->lower_fds[i - 1], i > 1 ? ":" : "");
    if (overlay->upper_fd >= 0)
        g_string_append_printf(options, ",upperdir=%d,workdir=%d,volatile", overlay->upper_fd,
                               overlay->work_fd);
    g_string_append(options, "," OVERLAY_OPTIONS);
    return g_string_free(options, FALSE);
}

static gboolean
mount_overlay_classic(CxMounter *mounter, const CxOverlay *overlay, CxMount *out, GError **error)
{
    g_autofree char *options = overlay_options(overlay);
    g_autofree char *path = NULL;
    g_auto(CxMount) made = CX_MOUNT_INIT;
    ClassicOverlay request = {.options = options,
                              .flags = MS_NODEV | (overlay->upper_fd >= 0 ? 0 : MS_RDONLY)};

    if (!take_point(mounter, &made, error))
        return FALSE;
    path = g_build_filename(mounter->mnt_path, made.point, NULL);
    request.point = path;
    g_thread_join(g_thread_new("mount", mount_among_fds, &request));
    if (request.errnum != 0) {
        errno = request.errnum;
        return cx_throw_errno(error, "overlay");
    }
    if (!open_root(&made, mounter->mnt_fd, made.point, error))
        return FALSE;

    *out = made;
    made = (CxMount)CX_MOUNT_INIT;
    return TRUE;
}

/* ---- CxMounter ------------------------------------------------------------------------------- */

gboolean
cx_mount_erofs(CxMounter *mounter,
               int folder_fd,
               const char *index,
               const char *tar,
               CxMount *out_mount,
               GError **error)
{
    return mounter->is_modern
               ? mount_erofs_modern(mounter, folder_fd, index, tar, out_mount, error)
               : mount_erofs_classic(mounter, folder_fd, index, tar, out_mount, error);
}

gboolean
cx_mount_overlay(CxMounter *mounter, const CxOverlay *overlay, CxMount *out_mount, GError **error)
{
    return mounter->is_modern ? mount_overlay_modern(mounter, overlay, out_mount, error)
                              : mount_overlay_classic(mounter, overlay, out_mount, error);
}

gboolean
cx_mounter_init(CxMounter *self, int root_fd, GError **error)
{
    char path[PATH_MAX];
    ssize_t size;

    self->mnt_fd = -1;
    g_mutex_init(&self->lock);
    self->free_points = g_ptr_array_new_with_free_func(g_free);
    if (mkdirat(root_fd, "mnt", 0700) < 0 && errno != EEXIST)
        return cx_throw_errno(error, "mnt");
    self->mnt_fd = openat(root_fd, "mnt", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (self->mnt_fd < 0)
        return cx_throw_errno(error, "mnt");
    size = readlink(cx_fd_path(self->mnt_fd).path, path, sizeof path - 1);
    if (size < 0)
        return cx_throw_errno(error, "mnt");

    self->mnt_path = g_strndup(path, (gsize)size);
    return TRUE;
}

void
cx_mounter_clear(CxMounter *self)
{
    if (self->free_points == NULL)
        return;

    for (guint i = 0; i < self->free_points->len; i++)
        (void)unlinkat(self->mnt_fd, g_ptr_array_index(self->free_points, i), AT_REMOVEDIR);
    g_clear_pointer(&self->free_points, g_ptr_array_unref);
    g_mutex_clear(&self->lock);
    cx_clear_fd(&self->mnt_fd);
    g_clear_pointer(&self->mnt_path, g_free);
}

/* Whether layers may be named by descriptor, and be mounts that hang nowhere (Linux 6.15). */
static gboolean
probe_modern(CxMounter *self, const CxOverlay *overlay)
{
    cx_autofd int tree_fd =
        open_tree(overlay->lower_fds[0], "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    const int lower_fds[] = {tree_fd, overlay->lower_fds[1]};
    g_auto(CxMount) mount = CX_MOUNT_INIT;
    CxOverlay detached = *overlay;

    if (cx_switch_is_disabled("mountapi") || tree_fd < 0)
        return FALSE;

    detached.lower_fds = lower_fds;
    return mount_overlay_modern(self, &detached, &mount, NULL);
}

gboolean
cx_mounter_probe(CxMounter *self, int dir_fd, const int lower_fds[2], GError **error)
{
    cx_autofd int upper_fd = openat(dir_fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cx_autofd int work_fd = openat(dir_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CxOverlay overlay = {
        .lower_fds = lower_fds, .n_lowers = 2, .upper_fd = upper_fd, .work_fd = work_fd};
    g_auto(CxMount) mount = CX_MOUNT_INIT;

    if (upper_fd < 0 || work_fd < 0)
        return cx_throw_errno(error, "overlay");

    self->is_modern = probe_modern(self, &overlay);
    return self->is_modern || mount_overlay_classic(self, &overlay, &mount, error);
}
