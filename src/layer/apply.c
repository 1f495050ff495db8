/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "layer/object.h"
#include "layer/overlay-form.h"
#include "layer/tar-reader.h"

/* Extracts in the order of the archive.  The parent of each entry is resolved in the folder as in a
 * root of its own and kept open, since the next entry mostly lies there too; the entry itself is
 * made by name beneath it, never through a link.
 *
 * Two things cannot be set at once: a folder's times change while it is filled, so they are set at
 * the end, deepest first; and a folder that somebody implied (made for what lies in it) is marked
 * until an entry describes it. */

#define LINKS_MAX 40
#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

typedef struct {
    char *path; /* (owned) */
    struct timespec mtime;
} FolderTime;

typedef struct {
    int root_fd;       /* borrowed */
    int tar_fd;        /* borrowed */
    char *parent_path; /* (owned) of parent_fd; NULL: none */
    int parent_fd;     /* owned */
    GArray *times;     /* (owned) of FolderTime */
    guint64 n_made;
    guint64 n_max;
    guint depth_max;
} Applier;

static void
clear_time(gpointer data)
{
    g_free(((FolderTime *)data)->path);
}

static void
forget_parent(Applier *self)
{
    g_clear_pointer(&self->parent_path, g_free);
    cx_clear_fd(&self->parent_fd);
}

static void
applier_clear(Applier *self)
{
    forget_parent(self);
    g_clear_pointer(&self->times, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Applier, applier_clear)

static gboolean
set_mark(int fd, const char *mark, GError **error)
{
    return fsetxattr(fd, mark, "y", 1, 0) == 0 || cx_throw_errno(error, "attribute \"%s\"", mark);
}

static gboolean
is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* ---- parents --------------------------------------------------------------------------------- */

static gboolean
count_object(Applier *self, GError **error)
{
    if (++self->n_made > self->n_max)
        return cx_throw(error, CX_ERROR_LIMIT,
                        "more than %" G_GUINT64_FORMAT " objects in one layer", self->n_max);
    return TRUE;
}

/* In the place of something else a folder hides what is below: that something would have replaced
 * it. */
static int
make_folder(Applier *self, int dir_fd, const char *name, gboolean opaque, GError **error)
{
    cx_autofd int fd = -1;

    if (!count_object(self, error))
        return -1;
    if (mkdirat(dir_fd, name, 0755) < 0)
        return cx_throw_errno_fd(error, "folder");
    fd = openat(dir_fd, name, OPEN_FOLDER | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno_fd(error, "folder");
    if (opaque && !set_mark(fd, CX_OVERLAY_OPAQUE, error))
        return -1;
    return cx_steal_fd(&fd);
}

static int
imply_folder(Applier *self, int dir_fd, const char *name, gboolean opaque, GError **error)
{
    cx_autofd int fd = make_folder(self, dir_fd, name, opaque, error);

    if (fd < 0)
        return -1;
    if (fchmod(fd, 0755) < 0)
        return cx_throw_errno_fd(error, "folder");
    return set_mark(fd, CX_OVERLAY_IMPLICIT, error) ? cx_steal_fd(&fd) : -1;
}

/* Where "head/LINK/rest" leads when LINK's target is put in its place. */
static char *
splice_link(int dir_fd, const char *link, const char *head, char **rest, GError **error)
{
    g_autofree char *target = cx_object_read_link(dir_fd, link, error);
    g_autofree char *tail = g_strjoinv("/", rest);
    g_autofree char *joined = NULL;

    if (target == NULL)
        return NULL;

    joined = g_strjoin("/", target[0] == '/' ? "" : head, target, tail, NULL);
    return cx_path_clean(joined);
}

/* Goes down a path that cannot be opened at once and makes what is missing. */
static int
make_parents(Applier *self, const char *path, guint n_links, GError **error)
{
    cx_autofd int dir_fd = openat(self->root_fd, ".", OPEN_FOLDER | O_CLOEXEC);
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GString) head = g_string_new(NULL);

    if (dir_fd < 0)
        return cx_throw_errno_fd(error, "folder");

    for (guint i = 0; parts[i] != NULL; i++) {
        struct stat st = {0};
        gboolean there = fstatat(dir_fd, parts[i], &st, AT_SYMLINK_NOFOLLOW) == 0;
        int next_fd;

        if (there && is_whiteout(&st) && unlinkat(dir_fd, parts[i], 0) < 0)
            return cx_throw_errno_fd(error, "\"%s\"", path);
        if (there && S_ISLNK(st.st_mode)) {
            g_autofree char *meant = splice_link(dir_fd, parts[i], head->str, parts + i + 1, error);

            if (n_links >= LINKS_MAX)
                return cx_throw_fd(error, CX_ERROR_INVALID, "more than %d symlinks on the way",
                                   LINKS_MAX);
            if (meant != NULL && cx_overlay_count_parts(meant) > self->depth_max)
                return cx_throw_fd(error, CX_ERROR_LIMIT, "folders more than %u deep",
                                   self->depth_max);
            return meant == NULL ? -1 : make_parents(self, meant, n_links + 1, error);
        }

        g_string_append_printf(head, "%s%s", i > 0 ? "/" : "", parts[i]);
        if (!there || is_whiteout(&st))
            next_fd = imply_folder(self, dir_fd, parts[i], there, error);
        else if (S_ISDIR(st.st_mode))
            next_fd = cx_object_open(dir_fd, parts[i], S_IFDIR, &st, error);
        else
            next_fd = cx_throw_fd(error, CX_ERROR_INVALID, "\"%s\" is not a folder", head->str);
        if (next_fd < 0)
            return -1;
        cx_clear_fd(&dir_fd);
        dir_fd = next_fd;
    }
    return cx_steal_fd(&dir_fd);
}

/* The folder that holds path.  Borrowed until the next call. */
static int
enter_parent(Applier *self, const char *path, GError **error)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *parent = g_strndup(path, slash == NULL ? 0 : (gsize)(slash - path));

    if (self->parent_path != NULL && strcmp(parent, self->parent_path) == 0)
        return self->parent_fd;

    forget_parent(self);
    if (parent[0] == '\0')
        self->parent_fd = openat(self->root_fd, ".", OPEN_FOLDER | O_CLOEXEC);
    else
        self->parent_fd =
            cx_chase_open(self->root_fd, parent, CX_CHASE_BENEATH | CX_CHASE_NO_SYMLINKS,
                          O_RDONLY | O_DIRECTORY, 0, NULL);
    if (self->parent_fd < 0) /* something is missing, or a link is on the way */
        self->parent_fd = make_parents(self, parent, 0, error);
    if (self->parent_fd < 0)
        return -1;

    self->parent_path = g_steal_pointer(&parent);
    return self->parent_fd;
}

/* ---- metadata -------------------------------------------------------------------------------- */

/* Through /proc, since an xattr of something that is not opened has no call relative to a folder.
 */
static gboolean
set_xattrs(int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    g_autofree char *path = NULL;

    for (guint i = 0; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(entry->xattrs, i);
        gsize size;
        const void *value = g_bytes_get_data(xattr->value, &size);

        if (!cx_overlay_keeps_xattr(xattr->name))
            continue;
        if (path == NULL)
            path = g_strdup_printf("%s/%s", cx_fd_path(dir_fd).path, name);
        if (lsetxattr(path, xattr->name, value, size, 0) < 0)
            return cx_throw_errno(error, "attribute \"%s\"", xattr->name);
    }
    return TRUE;
}

/* Owner first: changing it clears setuid and capabilities. */
static gboolean
set_metadata(int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT        },
        { .tv_sec = entry->mtime, .tv_nsec = entry->mtime_nsec}
    };

    if (fchownat(dir_fd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "owner");
    if (entry->type != CX_ENTRY_SYMLINK && fchmodat(dir_fd, name, entry->mode & 07777, 0) < 0)
        return cx_throw_errno(error, "mode");
    if (!set_xattrs(dir_fd, name, entry, error))
        return FALSE;
    if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "time");
    return TRUE;
}

static gboolean
set_folder_metadata(Applier *self, int fd, const CxEntry *entry, GError **error)
{
    FolderTime time = {
        .path = g_strdup(entry->path),
        .mtime = {.tv_sec = entry->mtime, .tv_nsec = entry->mtime_nsec}
    };

    g_array_append_val(self->times, time);
    if (fchown(fd, entry->uid, entry->gid) < 0 || fchmod(fd, entry->mode & 07777) < 0)
        return cx_throw_errno(error, "owner and mode");
    if (fremovexattr(fd, CX_OVERLAY_IMPLICIT) < 0 && errno != ENODATA)
        return cx_throw_errno(error, "attribute");
    return set_xattrs(fd, ".", entry, error);
}

static gboolean
set_folder_times(Applier *self, GError **error)
{
    for (guint i = self->times->len; i > 0; i--) {
        const FolderTime *time = &g_array_index(self->times, FolderTime, i - 1);
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, time->mtime};
        const char *path = time->path[0] == '\0' ? "." : time->path;
        cx_autofd int fd =
            cx_chase_open(self->root_fd, path, CX_CHASE_IN_ROOT, O_RDONLY | O_DIRECTORY, 0, NULL);

        /* It may have been replaced since. */
        if (fd >= 0 && futimens(fd, times) < 0)
            return cx_throw_errno(error, "\"%s\": time", path);
    }
    return TRUE;
}

/* ---- objects --------------------------------------------------------------------------------- */

static gboolean
write_extents(Applier *self, int fd, const CxEntry *entry, GError **error)
{
    for (guint i = 0; i < entry->extents->len; i++) {
        const CxExtent *extent = &g_array_index(entry->extents, CxExtent, i);

        if (lseek(fd, (off_t)extent->offset, SEEK_SET) < 0)
            return cx_throw_errno(error, "seek");
        if (!cx_copy_range(self->tar_fd, extent->data_offset, fd, extent->size, error))
            return FALSE;
    }
    return ftruncate(fd, (off_t)entry->size) == 0 || cx_throw_errno(error, "size");
}

static gboolean
make_file(Applier *self, int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    cx_autofd int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return cx_throw_errno(error, "create");
    if (entry->extents != NULL)
        return write_extents(self, fd, entry, error);
    return entry->size == 0 ||
           cx_copy_range(self->tar_fd, entry->data_offset, fd, entry->size, error);
}

static gboolean
make_special(int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    mode_t type = entry->type == CX_ENTRY_CHAR    ? S_IFCHR
                  : entry->type == CX_ENTRY_BLOCK ? S_IFBLK
                                                  : S_IFIFO;
    dev_t device = type == S_IFIFO ? 0 : makedev(entry->major, entry->minor);

    return mknodat(dir_fd, name, type | 0600, device) == 0 || cx_throw_errno(error, "create");
}

/* The parent of the other name is resolved as any parent; the name itself is never followed. */
static gboolean
make_hard_link(Applier *self, int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    const char *slash = strrchr(entry->link, '/');
    const char *last = slash == NULL ? entry->link : slash + 1;
    g_autofree char *parent =
        g_strndup(entry->link, slash == NULL ? 0 : (gsize)(slash - entry->link));
    cx_autofd int fd = cx_chase_open(self->root_fd, parent[0] == '\0' ? "." : parent,
                                     CX_CHASE_IN_ROOT, O_RDONLY | O_DIRECTORY, 0, NULL);
    struct stat st;

    if (fd < 0 || fstatat(fd, last, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_whiteout(&st))
        return cx_throw(error, CX_ERROR_INVALID, "hard link to \"%s\", which is not in the layer",
                        entry->link);
    if (S_ISDIR(st.st_mode))
        return cx_throw(error, CX_ERROR_INVALID, "hard link to the folder \"%s\"", entry->link);
    return linkat(fd, last, dir_fd, name, 0) == 0 || cx_throw_errno(error, "link");
}

static gboolean
make_object(Applier *self, int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    gboolean ok;

    if (entry->type == CX_ENTRY_HARDLINK)
        return make_hard_link(self, dir_fd, name, entry, error);

    if (entry->type == CX_ENTRY_FILE)
        ok = make_file(self, dir_fd, name, entry, error);
    else if (entry->type == CX_ENTRY_SYMLINK)
        ok = symlinkat(entry->link, dir_fd, name) == 0 || cx_throw_errno(error, "create");
    else
        ok = make_special(dir_fd, name, entry, error);
    return ok && set_metadata(dir_fd, name, entry, error);
}

static gboolean
apply_folder(Applier *self, int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    cx_autofd int fd = openat(dir_fd, name, OPEN_FOLDER | O_CLOEXEC);
    gboolean in_place_of = fd < 0 && errno != ENOENT;

    if (in_place_of && unlinkat(dir_fd, name, 0) < 0)
        return cx_throw_errno(error, "replace");
    if (fd < 0)
        fd = make_folder(self, dir_fd, name, in_place_of, error);
    return fd >= 0 && set_folder_metadata(self, fd, entry, error);
}

static gboolean
apply_object(Applier *self, int dir_fd, const char *name, const CxEntry *entry, GError **error)
{
    g_autofree char *aside = NULL;
    struct stat st;

    if (entry->type == CX_ENTRY_FOLDER)
        return apply_folder(self, dir_fd, name, entry, error);
    if (!count_object(self, error))
        return FALSE;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return make_object(self, dir_fd, name, entry, error);

    /* What is there stays until its successor, which may be a link to it or to something in it, is
     * made. */
    aside = g_strdup_printf(".wh.%08x%08x", g_random_int(), g_random_int());
    if (!make_object(self, dir_fd, aside, entry, error))
        return FALSE;
    if (!cx_remove_tree_at(dir_fd, name, error))
        return FALSE;
    return renameat(dir_fd, aside, dir_fd, name) == 0 || cx_throw_errno(error, "replace");
}

/* A whiteout speaks of the layers below only: what this layer has there stays. */
static gboolean
apply_whiteout(Applier *self, int dir_fd, const char *name, GError **error)
{
    cx_autofd int fd = openat(dir_fd, name, OPEN_FOLDER | O_CLOEXEC);

    if (fd >= 0)
        return set_mark(fd, CX_OVERLAY_OPAQUE, error);
    if (errno != ENOENT)
        return TRUE;
    if (!count_object(self, error))
        return FALSE;
    if (mknodat(dir_fd, name, S_IFCHR, 0) < 0 ||
        fsetxattr(dir_fd, CX_OVERLAY_WHITEOUTS, "", 0, 0) < 0)
        return cx_throw_errno(error, "whiteout");
    return TRUE;
}

static gboolean
apply_named(
    Applier *self, const CxEntry *entry, CxNameKind kind, const char *whiteout, GError **error)
{
    const char *slash = strrchr(entry->path, '/');
    int dir_fd = enter_parent(self, entry->path, error);

    if (dir_fd < 0)
        return FALSE;
    if (kind == CX_NAME_OPAQUE)
        return set_mark(dir_fd, CX_OVERLAY_OPAQUE, error);
    if (kind == CX_NAME_WHITEOUT)
        return apply_whiteout(self, dir_fd, whiteout, error);
    return apply_object(self, dir_fd, slash == NULL ? entry->path : slash + 1, entry, error);
}

static gboolean
apply_entry(Applier *self, const CxEntry *entry, GError **error)
{
    const char *whiteout = NULL;
    CxNameKind kind = cx_overlay_classify(entry->path, &whiteout);
    gboolean ok;

    if (kind == CX_NAME_BAD)
        ok = cx_throw(error, CX_ERROR_INVALID, "not a whiteout that can be");
    else if (kind == CX_NAME_LEFTOVER ||
             (kind == CX_NAME_PLAIN && cx_overlay_is_false_whiteout(entry)))
        ok = TRUE;
    else if (entry->path[0] != '\0')
        ok = apply_named(self, entry, kind, whiteout, error);
    else if (entry->type == CX_ENTRY_FOLDER)
        ok = set_folder_metadata(self, self->root_fd, entry, error);
    else
        ok = cx_throw(error, CX_ERROR_INVALID, "the root is not a folder");

    if (!ok)
        g_prefix_error(error, "\"%s\": ", entry->path);
    return ok;
}

gboolean
cx_layer_apply(int tar_fd,
               guint64 tar_size,
               const CxLayerLimits *limits,
               int dir_fd,
               CxCancel *cancellable,
               GError **error)
{
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(tar_fd, 0, tar_size, limits);
    g_auto(Applier) self = {.root_fd = dir_fd,
                            .tar_fd = tar_fd,
                            .parent_fd = -1,
                            .times = g_array_new(FALSE, FALSE, sizeof(FolderTime)),
                            .n_max = limits->entries_max,
                            .depth_max = limits->depth_max};
    GError *local_error = NULL;
    const CxEntry *entry;

    g_array_set_clear_func(self.times, clear_time);
    if (!set_mark(dir_fd, CX_OVERLAY_IMPLICIT, error))
        return FALSE;

    while ((entry = cx_tar_reader_next(reader, &local_error)) != NULL)
        if (cx_check_cancelled(cancellable, error) || !apply_entry(&self, entry, error))
            return FALSE;
    if (local_error != NULL) {
        g_propagate_error(error, local_error);
        return FALSE;
    }
    return set_folder_times(&self, error);
}
