/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshotter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"
#include "layer/object.h"
#include "snapshot/erofs/erofs-view.h"
#include "snapshot/snapshotter-private.h"
#include "snapshot/stack.h"
#include "snapshot/unpacked/unpacked-view.h"

/* The best first.  The last one shows every layer, so it stands in for those that another does not
 * support. */
static const CxViewEngine *const engines[] = {&cx_view_erofs, &cx_view_unpacked};

struct CxActive {
    CxSnapshotter *owner; /* borrowed */
    guint64 id;
    CxStack stack;
    CxMount mount;
    char *path;   /* (owned) of the mounted root */
    int dir_fd;   /* owned: snapshots/active-<id> */
    int upper_fd; /* owned */
    gboolean is_committed;
};

struct CxMergedView {
    CxStack stack;
    CxMount mount;
    int fd; /* owned: its root, for reading */
};

CxUpperName
cx_upper_name(const char *prefix, guint64 id)
{
    CxUpperName name;

    (void)snprintf(name.name, sizeof name.name, "%s%016" G_GINT64_MODIFIER "x", prefix, id);
    return name;
}

static gboolean
parse_upper_name(const char *name, guint64 *out_id)
{
    if (name[0] != 'u' || strlen(name) != 17 || strspn(name + 1, "0123456789abcdef") != 16)
        return FALSE;

    *out_id = g_ascii_strtoull(name + 1, NULL, 16);
    return TRUE;
}

static int
open_folder(int dir_fd, const char *name, gboolean make, GError **error)
{
    int fd;

    if (make && mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return cx_throw_errno_fd(error, "\"%s\"", name);
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? fd : cx_throw_errno_fd(error, "\"%s\"", name);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* What a process that died here left. */
static gboolean
sweep(CxSnapshotter *self, GError **error)
{
    static const char *const unfinished[] = {"active-", "fix-"};
    g_auto(CxNames) names = CX_NAMES_INIT;
    g_auto(CxNames) points = CX_NAMES_INIT;
    cx_autofd int snapshots_fd = open_folder(self->place.snapshots_fd, ".", FALSE, error);
    cx_autofd int mnt_fd = open_folder(self->place.mounter.mnt_fd, ".", FALSE, error);

    if (snapshots_fd < 0 || mnt_fd < 0 || !cx_names_read(&names, snapshots_fd, error) ||
        !cx_names_read(&points, mnt_fd, error))
        return FALSE;

    for (guint i = 0; i < names.n; i++)
        for (gsize k = 0; k < G_N_ELEMENTS(unfinished); k++)
            if (g_str_has_prefix(names.names[i], unfinished[k]) &&
                !cx_remove_tree_at(snapshots_fd, names.names[i], error))
                return FALSE;
    for (guint i = 0; i < points.n; i++) {
        g_autofree char *path =
            g_build_filename(self->place.mounter.mnt_path, points.names[i], NULL);

        (void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
        (void)unlinkat(mnt_fd, points.names[i], AT_REMOVEDIR);
    }
    return TRUE;
}

/* Empty mount points.  A layer that has them as something else wins: they lie below all. */
static gboolean
make_stub(int dir_fd, GError **error)
{
    static const char *const folders[] = {".", "dev", "proc", "sys", "etc"};
    static const char *const files[] = {"etc/resolv.conf", "etc/hosts"};

    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        if ((mkdirat(dir_fd, folders[i], 0755) < 0 && errno != EEXIST) ||
            fchmodat(dir_fd, folders[i], 0755, 0) < 0)
            return cx_throw_errno(error, "stub");
    for (gsize i = 0; i < G_N_ELEMENTS(files); i++) {
        cx_autofd int fd =
            openat(dir_fd, files[i], O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

        if (fd < 0 || fchmod(fd, 0644) < 0)
            return cx_throw_errno(error, "stub");
    }
    return TRUE;
}

static gboolean
open_folders(CxSnapshotter *self, int root_fd, GError **error)
{
    self->place.snapshots_fd = open_folder(root_fd, "snapshots", TRUE, error);
    if (self->place.snapshots_fd < 0)
        return FALSE;
    self->place.tmp_fd = open_folder(root_fd, "tmp", TRUE, error);
    if (self->place.tmp_fd < 0 || !cx_mounter_init(&self->place.mounter, root_fd, error) ||
        !sweep(self, error))
        return FALSE;

    self->stub_fd = open_folder(self->place.snapshots_fd, "stub", TRUE, error);
    if (self->stub_fd < 0 || !make_stub(self->stub_fd, error))
        return FALSE;
    self->empty_fds[0] = open_folder(self->place.snapshots_fd, "empty", TRUE, error);
    self->empty_fds[1] =
        self->empty_fds[0] < 0 ? -1 : open_folder(self->place.snapshots_fd, "void", TRUE, error);
    if (self->empty_fds[1] < 0)
        return FALSE;
    return (fchmod(self->empty_fds[0], 0755) == 0 && fchmod(self->empty_fds[1], 0755) == 0) ||
           cx_throw_errno(error, "snapshots");
}

static gboolean
probe_overlay(CxSnapshotter *self, GError **error)
{
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;

    if (!cx_tmpdir_make(&dir, self->place.tmp_fd, 0700, error))
        return FALSE;
    if (mkdirat(dir.fd, "fs", 0755) < 0 || mkdirat(dir.fd, "work", 0755) < 0)
        return cx_throw_errno(error, "overlay");

    return cx_mounter_probe(&self->place.mounter, dir.fd, self->empty_fds, error);
}

/* Tries every engine, so that it can be told which work, and takes the first that does and may. */
static gboolean
choose_engine(CxSnapshotter *self, const char *engine_name, GError **error)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new();
    g_autoptr(GError) overlay_error = NULL;
    gboolean overlay_works = probe_overlay(self, &overlay_error);
    gboolean known = engine_name == NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(engines); i++) {
        gboolean wanted = engine_name == NULL || strcmp(engine_name, engines[i]->name) == 0;
        g_autoptr(GError) failure = overlay_works ? NULL : g_error_copy(overlay_error);
        gboolean works = overlay_works && engines[i]->probe(&self->place, &failure);

        known = known || wanted;
        if (works && wanted && self->engine == NULL)
            self->engine = engines[i];
        g_ptr_array_add(lines,
                        works ? g_strdup_printf("%s: yes", engines[i]->name)
                              : g_strdup_printf("%s: no: %s", engines[i]->name, failure->message));
    }
    g_ptr_array_add(lines, NULL);
    self->explanations = (GStrv)g_ptr_array_free(g_steal_pointer(&lines), FALSE);

    if (!known)
        return cx_throw(error, CX_ERROR_INVALID, "no snapshotter \"%s\" (erofs, unpacked)",
                        engine_name);
    if (self->engine == NULL) {
        g_autofree char *all = g_strjoinv("; ", self->explanations);

        return cx_throw(error, CX_ERROR_UNSUPPORTED, "no snapshotter works here: %s", all);
    }
    return TRUE;
}

CxSnapshotter *
cx_snapshotter_open(int root_fd, CxLayerStore *layers, const char *engine_name, GError **error)
{
    CX_ERROR_CONTEXT(error, "snapshots");
    g_autoptr(CxSnapshotter) self = g_new0(CxSnapshotter, 1);
    const CxViewEngine *fallback = engines[G_N_ELEMENTS(engines) - 1];

    self->place = (CxViewPlace){
        .snapshots_fd = -1, .tmp_fd = -1, .layers = layers, .mounter = {.mnt_fd = -1}};
    self->stub_fd = self->empty_fds[0] = self->empty_fds[1] = -1;
    g_mutex_init(&self->lock);
    g_mutex_init(&self->fixes_lock);
    self->uppers_in_use = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    self->fixes = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, g_free, g_free);

    if (!open_folders(self, root_fd, error) || !choose_engine(self, engine_name, error))
        return NULL;

    self->reaper = cx_reaper_new(self->place.tmp_fd);
    self->views =
        cx_views_new(&self->place, self->engine, self->engine == fallback ? NULL : fallback);
    return g_steal_pointer(&self);
}

static void
remove_fixes(CxSnapshotter *self)
{
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, self->fixes);
    while (g_hash_table_iter_next(&iter, NULL, &name))
        if (*(const char *)name != '\0')
            (void)cx_remove_tree_at(self->place.snapshots_fd, name, NULL);
}

void
cx_snapshotter_close(CxSnapshotter *self)
{
    if (self == NULL)
        return;

    g_clear_pointer(&self->views, cx_views_free);
    remove_fixes(self);
    g_clear_pointer(&self->reaper, cx_reaper_free);
    g_hash_table_unref(self->fixes);
    g_hash_table_unref(self->uppers_in_use);
    g_strfreev(self->explanations);
    cx_mounter_clear(&self->place.mounter);
    cx_clear_fd(&self->stub_fd);
    cx_clear_fd(&self->empty_fds[0]);
    cx_clear_fd(&self->empty_fds[1]);
    cx_clear_fd(&self->place.snapshots_fd);
    cx_clear_fd(&self->place.tmp_fd);
    g_mutex_clear(&self->lock);
    g_mutex_clear(&self->fixes_lock);
    g_free(self);
}

void
cx_snapshotter_drain(CxSnapshotter *self)
{
    cx_reaper_drain(self->reaper);
}

const char *
cx_snapshotter_get_engine(const CxSnapshotter *self)
{
    return self->engine->name;
}

GStrv
cx_snapshotter_explain(CxSnapshotter *self)
{
    return g_strdupv(self->explanations);
}

/* ---- who uses an upper ----------------------------------------------------------------------- */

void
cx_snapshotter_hold_upper(CxSnapshotter *self, guint64 upper)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(self->uppers_in_use, &upper));

    g_hash_table_insert(self->uppers_in_use, g_memdup2(&upper, sizeof upper),
                        GUINT_TO_POINTER(count + 1));
}

void
cx_snapshotter_release_upper(CxSnapshotter *self, guint64 upper)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(self->uppers_in_use, &upper));

    g_assert(count > 0);
    if (count == 1)
        g_hash_table_remove(self->uppers_in_use, &upper);
    else
        g_hash_table_insert(self->uppers_in_use, g_memdup2(&upper, sizeof upper),
                            GUINT_TO_POINTER(count - 1));
}

int
cx_snapshotter_open_lower(CxSnapshotter *self, const CxLower *lower, GError **error)
{
    CxView *view;
    int fd;

    if (lower->kind == CX_LOWER_UPPER) {
        CxUpperName name = cx_upper_name("u", lower->upper);
        g_autofree char *path = g_strconcat(name.name, "/fs", NULL);

        fd =
            openat(self->place.snapshots_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 ? fd : cx_throw_errno_fd(error, "snapshot %s", name.name);
    }

    view = cx_views_acquire(self->views, &lower->diff_id, error);
    if (view == NULL)
        return -1;
    fd = openat(view->mount.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        cx_throw_errno(error, "layer %s", cx_digest_text(&lower->diff_id).text);
    cx_views_release(self->views, view);
    return fd;
}

/* ---- active uppers --------------------------------------------------------------------------- */

/* An id nobody had before, and its folder.  62 bits, so that it fits where numbers have a sign. */
static gboolean
make_active_folder(CxActive *self, GError **error)
{
    CxUpperName name;

    if (getrandom(&self->id, sizeof self->id, 0) != sizeof self->id)
        return cx_throw_errno(error, "random number");
    self->id &= G_MAXUINT64 >> 2;
    name = cx_upper_name("active-", self->id);
    if (mkdirat(self->owner->place.snapshots_fd, name.name, 0700) < 0)
        return cx_throw_errno(error, "snapshot");

    self->dir_fd = open_folder(self->owner->place.snapshots_fd, name.name, FALSE, error);
    return self->dir_fd >= 0;
}

/* The root of the upper is what is seen as the root, so it takes mode and owner of the one below.
 */
static gboolean
make_upper(CxActive *self, int *out_work_fd, GError **error)
{
    const struct stat *root = &self->stack.root;

    if (mkdirat(self->dir_fd, "fs", 0755) < 0 || mkdirat(self->dir_fd, "work", 0700) < 0)
        return cx_throw_errno(error, "snapshot");
    self->upper_fd = open_folder(self->dir_fd, "fs", FALSE, error);
    if (self->upper_fd < 0)
        return FALSE;
    if (fchown(self->upper_fd, root->st_uid, root->st_gid) < 0 ||
        fchmod(self->upper_fd, root->st_mode & 07777) < 0)
        return cx_throw_errno(error, "snapshot");

    *out_work_fd = open_folder(self->dir_fd, "work", FALSE, error);
    return *out_work_fd >= 0;
}

static gboolean
mount_active(CxActive *self, GError **error)
{
    CxMounter *mounter = &self->owner->place.mounter;
    cx_autofd int work_fd = -1;
    CxOverlay overlay = {.has_path = TRUE};

    if (!make_upper(self, &work_fd, error))
        return FALSE;

    cx_stack_put_below(&self->stack, self->owner->stub_fd);
    overlay.lower_fds = (const int *)self->stack.fds->data;
    overlay.n_lowers = self->stack.fds->len;
    overlay.upper_fd = self->upper_fd;
    overlay.work_fd = work_fd;
    if (!cx_mount_overlay(mounter, &overlay, &self->mount, error))
        return FALSE;

    /* Open, it would keep the mount busy. */
    cx_clear_fd(&self->mount.fd);
    self->path = g_build_filename(mounter->mnt_path, self->mount.point, NULL);
    return TRUE;
}

CxActive *
cx_snapshotter_prepare(CxSnapshotter *self, const CxLower *lowers, guint n_lowers, GError **error)
{
    g_autoptr(CxActive) active = g_new0(CxActive, 1);

    active->owner = self;
    active->mount = (CxMount)CX_MOUNT_INIT;
    active->dir_fd = active->upper_fd = -1;
    if (!cx_stack_init(&active->stack, self, lowers, n_lowers, error) ||
        !make_active_folder(active, error) || !mount_active(active, error))
        return NULL;

    return g_steal_pointer(&active);
}

const char *
cx_active_peek_path(const CxActive *self)
{
    return self->path;
}

int
cx_active_get_upper_fd(const CxActive *self)
{
    return self->upper_fd;
}

static void
unmount_active(CxActive *self)
{
    cx_mount_clear(&self->mount);
    cx_stack_clear(&self->stack);
}

gboolean
cx_active_commit(CxActive *self, guint64 *out_upper, GError **error)
{
    CxUpperName from = cx_upper_name("active-", self->id);
    CxUpperName to = cx_upper_name("u", self->id);
    int snapshots_fd = self->owner->place.snapshots_fd;

    g_return_val_if_fail(!self->is_committed, FALSE);

    unmount_active(self);
    if (!cx_failpoint("snapshot-commit", error) ||
        !cx_reaper_take(self->owner->reaper, self->dir_fd, "work", error))
        return FALSE;
    if (renameat2(snapshots_fd, from.name, snapshots_fd, to.name, RENAME_NOREPLACE) < 0)
        return cx_throw_errno(error, "snapshot");

    self->is_committed = TRUE;
    *out_upper = self->id;
    return TRUE;
}

void
cx_active_free(CxActive *self)
{
    if (self == NULL)
        return;

    unmount_active(self);
    if (self->dir_fd >= 0 && !self->is_committed)
        (void)cx_reaper_take(self->owner->reaper, self->owner->place.snapshots_fd,
                             cx_upper_name("active-", self->id).name, NULL);
    cx_clear_fd(&self->upper_fd);
    cx_clear_fd(&self->dir_fd);
    g_free(self->path);
    g_free(self);
}

/* ---- merged views ---------------------------------------------------------------------------- */

CxMergedView *
cx_snapshotter_mount_view(CxSnapshotter *self,
                          const CxLower *lowers,
                          guint n_lowers,
                          GError **error)
{
    g_autoptr(CxMergedView) view = g_new0(CxMergedView, 1);
    CxOverlay overlay = {.upper_fd = -1};

    view->mount = (CxMount)CX_MOUNT_INIT;
    view->fd = -1;
    if (!cx_stack_init(&view->stack, self, lowers, n_lowers, error))
        return NULL;

    /* Overlayfs without an upper wants two. */
    for (guint i = 0; view->stack.fds->len < 2; i++)
        cx_stack_put_below(&view->stack, self->empty_fds[i]);
    overlay.lower_fds = (const int *)view->stack.fds->data;
    overlay.n_lowers = view->stack.fds->len;
    if (!cx_mount_overlay(&self->place.mounter, &overlay, &view->mount, error))
        return NULL;
    view->fd = open_folder(view->mount.fd, ".", FALSE, error);
    if (view->fd < 0)
        return NULL;

    return g_steal_pointer(&view);
}

int
cx_merged_view_get_fd(const CxMergedView *self)
{
    return self->fd;
}

void
cx_merged_view_free(CxMergedView *self)
{
    if (self == NULL)
        return;

    cx_clear_fd(&self->fd);
    cx_mount_clear(&self->mount);
    cx_stack_clear(&self->stack);
    g_free(self);
}

/* ---- committed uppers ------------------------------------------------------------------------ */

GArray *
cx_snapshotter_list_uppers(CxSnapshotter *self, GError **error)
{
    g_autoptr(GArray) uppers = g_array_new(FALSE, FALSE, sizeof(guint64));
    cx_autofd int fd = open_folder(self->place.snapshots_fd, ".", FALSE, error);
    g_auto(CxNames) names = CX_NAMES_INIT;

    if (fd < 0 || !cx_names_read(&names, fd, error))
        return NULL;

    /* Sorted as names, they are sorted as numbers. */
    for (guint i = 0; i < names.n; i++) {
        guint64 id;

        if (parse_upper_name(names.names[i], &id))
            g_array_append_val(uppers, id);
    }
    return g_steal_pointer(&uppers);
}

guint64
cx_snapshotter_usage(CxSnapshotter *self, guint64 upper)
{
    return cx_tree_usage_at(self->place.snapshots_fd, cx_upper_name("u", upper).name);
}

static gboolean
take_away(CxSnapshotter *self, guint64 upper, const char *gone, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    CxUpperName name = cx_upper_name("u", upper);

    if (g_hash_table_contains(self->uppers_in_use, &upper))
        return cx_throw(error, CX_ERROR_BUSY, "snapshot %s is in use", name.name);
    return renameat(self->place.snapshots_fd, name.name, self->place.tmp_fd, gone) == 0 ||
           cx_throw_errno(error, "snapshot %s", name.name);
}

gboolean
cx_snapshotter_remove_upper(CxSnapshotter *self, guint64 upper, GError **error)
{
    CxUpperName gone = cx_upper_name("gone-u", upper);

    return take_away(self, upper, gone.name, error) &&
           cx_remove_tree_at(self->place.tmp_fd, gone.name, error);
}

gboolean
cx_snapshotter_forget_layer(CxSnapshotter *self, const CxDigest *diff_id, GError **error)
{
    return cx_views_drop(self->views, diff_id, error);
}
