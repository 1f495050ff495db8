/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/diff.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/object.h"
#include "layer/overlay-form.h"

/* A level is one folder of the merged result: the folder of that path in each delta where it can be
 * seen, from the top down.  Their sorted names are merged; under each name the topmost delta
 * decides, and folders go down together.  A folder that is as it was below waits, and is written
 * only when something in it is. */

#define DEPTH_MAX 255

typedef struct {
    int fd; /* owned */
    CxNames names;
    guint next; /* in names */
} Part;

typedef struct Level Level;
struct Level {
    Level *parent;      /* borrowed */
    GArray *parts;      /* (owned) of Part, from the top down */
    gboolean has_below; /* what is below the deltas can be seen through this folder */
    gboolean is_hidden; /* it hides a folder below */
    gboolean waits;     /* not written yet */
    CxEntry entry;      /* its path is not owned and set when it is written */
    gsize path_size;    /* of its path, a prefix of the differ's */
    guint depth;
};

typedef struct {
    CxTree *below; /* borrowed or NULL */
    gint64 mtime;
    CxTarWriter *writer;
    CxCancel *cancellable;
    CxLinkTable *links; /* (owned) */
    GString *path;      /* (owned) of the object at hand */
} Differ;

static void
differ_clear(Differ *self)
{
    g_clear_pointer(&self->links, cx_link_table_free);
    if (self->path != NULL)
        g_string_free(self->path, TRUE);
    self->path = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Differ, differ_clear)

static void
clear_part(gpointer data)
{
    Part *part = data;

    cx_clear_fd(&part->fd);
    cx_names_clear(&part->names);
}

static void
level_clear(Level *self)
{
    g_clear_pointer(&self->parts, g_array_unref);
    g_clear_pointer(&self->entry.xattrs, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Level, level_clear)

/* A step's mount has redirect_dir and metacopy off; a folder written by another kind of mount would
 * be misread. */
static CxXattrVerdict
judge_delta(const char *name)
{
    if (strcmp(name, "trusted.overlay.redirect") == 0 ||
        strcmp(name, "trusted.overlay.metacopy") == 0)
        return CX_XATTR_REFUSE;

    return cx_xattr_judge_portable(name);
}

static gboolean
is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static gboolean
has_mark(int fd, const char *mark)
{
    char value;

    return fgetxattr(fd, mark, &value, 1) == 1 && value == 'y';
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Writes the folders that wait, outermost first. */
static gboolean
flush(Differ *self, Level *level, GError **error)
{
    g_autofree char *path = NULL;

    if (level == NULL || !level->waits)
        return TRUE;
    if (!flush(self, level->parent, error))
        return FALSE;

    level->waits = FALSE;
    path = g_strndup(self->path->str, level->path_size);
    level->entry.path = path;
    return cx_tar_writer_begin(self->writer, &level->entry, error);
}

static gboolean
write_entry(Differ *self, Level *level, CxEntry *entry, GError **error)
{
    entry->mtime = self->mtime;
    return flush(self, level, error) && cx_tar_writer_begin(self->writer, entry, error);
}

/* An empty file with a meaning, in the folder of level. */
static gboolean
write_sign(Differ *self, Level *level, const char *prefix, const char *name, GError **error)
{
    g_autofree char *path = NULL;
    CxEntry entry = {.type = CX_ENTRY_FILE, .mode = 0};

    path = g_strdup_printf("%.*s%s%s%s", (int)level->path_size, self->path->str,
                           level->path_size > 0 ? "/" : "", prefix, name);
    entry.path = path;
    return write_entry(self, level, &entry, error);
}

static gboolean
look_below(Differ *self, const Level *level, CxTreeNode *out_node, GError **error)
{
    *out_node = (CxTreeNode){0};
    return self->below == NULL || !level->has_below ||
           cx_tree_lookup(self->below, self->path->str, out_node, error);
}

static gboolean
write_whiteout(Differ *self, Level *level, const char *name, GError **error)
{
    g_auto(CxTreeNode) below = {0};

    if (!look_below(self, level, &below, error))
        return FALSE;
    if (!level->has_below || (self->below != NULL && below.mode == 0))
        return TRUE;

    return write_sign(self, level, CX_WHITEOUT_PREFIX, name, error);
}

static gboolean
write_file(Differ *self, Level *level, int dir_fd, const char *name, CxEntry *entry, GError **error)
{
    g_autoptr(GPtrArray) xattrs = NULL;
    cx_autofd int fd = -1;
    struct stat st;

    fd = cx_object_open(dir_fd, name, S_IFREG, &st, error);
    if (fd < 0 || !cx_object_read_xattrs(fd, judge_delta, &xattrs, error))
        return FALSE;

    entry->xattrs = xattrs;
    entry->size = (guint64)st.st_size;
    return write_entry(self, level, entry, error) &&
           (entry->size == 0 || cx_tar_writer_splice(self->writer, fd, 0, entry->size, error));
}

static gboolean
write_object(
    Differ *self, Level *level, int dir_fd, const char *name, const struct stat *st, GError **error)
{
    g_autofree char *target = NULL;
    CxEntry entry = {.path = self->path->str};

    if (!cx_object_describe(st, &entry))
        return write_whiteout(self, level, name,
                              error); /* a socket is left out, but hides what was there */

    if (st->st_nlink > 1) {
        const char *earlier = cx_link_table_visit(self->links, st, self->path->str);

        if (earlier != NULL) {
            entry.type = CX_ENTRY_HARDLINK;
            entry.link = (char *)earlier;
            entry.size = 0;
            return write_entry(self, level, &entry, error);
        }
    }
    if (S_ISREG(st->st_mode))
        return write_file(self, level, dir_fd, name, &entry, error);
    if (S_ISLNK(st->st_mode)) {
        target = cx_object_read_link(dir_fd, name, error);
        if (target == NULL)
            return FALSE;
        entry.link = target;
    }
    return write_entry(self, level, &entry, error);
}

/* ---- folders --------------------------------------------------------------------------------- */

static gboolean
add_part(Level *level, int take_fd, GError **error)
{
    Part part = {.fd = take_fd, .names = CX_NAMES_INIT};

    if (!cx_names_read(&part.names, part.fd, error)) {
        clear_part(&part);
        return FALSE;
    }
    g_array_append_val(level->parts, part);
    return TRUE;
}

/* The metadata of a folder are those of the topmost delta that says something about it. */
static gboolean
take_metadata(Level *level, int fd, const struct stat *st, gboolean *is_told, GError **error)
{
    GPtrArray *xattrs = NULL;

    if (!cx_object_read_xattrs(fd, judge_delta, &xattrs, error))
        return FALSE;
    if (*is_told || has_mark(fd, CX_OVERLAY_IMPLICIT)) {
        g_clear_pointer(&xattrs, g_ptr_array_unref);
        return TRUE;
    }
    (void)cx_object_describe(st, &level->entry);
    level->entry.xattrs = xattrs;
    *is_told = TRUE;
    return TRUE;
}

/* Adds the folder name of one more delta, going down.  *out_more: whether deltas below it can be
 * seen. */
static gboolean
add_delta(Level *level,
          int dir_fd,
          const char *name,
          gboolean *is_told,
          gboolean *out_more,
          GError **error)
{
    cx_autofd int fd = -1;
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "stat");
    if (!S_ISDIR(st.st_mode)) {
        level->is_hidden = TRUE;
        *out_more = FALSE;
        return TRUE;
    }

    fd = cx_object_open(dir_fd, name, S_IFDIR, &st, error);
    if (fd < 0 || !take_metadata(level, fd, &st, is_told, error))
        return FALSE;
    level->is_hidden = has_mark(fd, CX_OVERLAY_OPAQUE) || has_mark(fd, "user.overlay.opaque");
    *out_more = !level->is_hidden;
    return add_part(level, cx_steal_fd(&fd), error);
}

static gboolean
equal_xattrs(const GPtrArray *a, const GPtrArray *b)
{
    guint n_a = a == NULL ? 0 : a->len;
    guint at = 0;

    /* b may hold what a layer of ours does not carry. */
    for (guint i = 0; b != NULL && i < b->len; i++) {
        const CxXattr *theirs = g_ptr_array_index(b, i);
        const CxXattr *ours;

        if (cx_xattr_judge_portable(theirs->name) != CX_XATTR_KEEP)
            continue;
        if (at >= n_a)
            return FALSE;
        ours = g_ptr_array_index(a, at++);
        if (strcmp(ours->name, theirs->name) != 0 || !g_bytes_equal(ours->value, theirs->value))
            return FALSE;
    }
    return at == n_a;
}

static gboolean
equals_below(const Level *level, const CxTreeNode *below)
{
    return S_ISDIR(below->mode) && (below->mode & 07777) == level->entry.mode &&
           below->uid == level->entry.uid && below->gid == level->entry.gid &&
           equal_xattrs(level->entry.xattrs, below->xattrs);
}

/* Decides what is seen through the folder, and whether it must be written even if nothing in it is.
 */
static gboolean
settle_folder(Differ *self, Level *level, gboolean is_told, GError **error)
{
    g_auto(CxTreeNode) below = {0};

    if (!look_below(self, level, &below, error))
        return FALSE;

    if (!is_told && S_ISDIR(below.mode)) {
        level->entry.mode = below.mode & 07777;
        level->entry.uid = below.uid;
        level->entry.gid = below.gid;
        level->entry.xattrs = g_steal_pointer(&below.xattrs);
    }
    level->waits = TRUE;
    if (self->below != NULL)
        level->is_hidden = level->is_hidden && S_ISDIR(below.mode);
    else
        level->is_hidden = level->is_hidden && level->has_below;
    if (level->is_hidden || !(is_told ? equals_below(level, &below) : S_ISDIR(below.mode))) {
        if (!flush(self, level, error))
            return FALSE;
    } else if (level->parent == NULL) {
        level->waits = FALSE; /* nobody needs to be told of the root */
    }
    if (level->is_hidden && !write_sign(self, level, CX_WHITEOUT_OPAQUE, "", error))
        return FALSE;

    if (self->below != NULL)
        level->has_below = level->has_below && S_ISDIR(below.mode);
    level->has_below = level->has_below && !level->is_hidden;
    return TRUE;
}

static void
level_init(Level *self, Level *parent, gsize path_size)
{
    *self = (Level){
        .parent = parent,
        .parts = g_array_new(FALSE, FALSE, sizeof(Part)),
        .has_below = parent == NULL || parent->has_below,
        .path_size = path_size,
        .depth = parent == NULL ? 0 : parent->depth + 1,
        .entry = {.type = CX_ENTRY_FOLDER, .mode = 0755}
    };
    g_array_set_clear_func(self->parts, clear_part);
}

/* ---- merging --------------------------------------------------------------------------------- */

static gboolean diff_names(Differ *self, Level *level, GError **error);

static gboolean
diff_folder(Differ *self, Level *parent, const char *name, const GArray *hits, GError **error)
{
    g_auto(Level) level = {0};
    gboolean is_told = FALSE;
    gboolean more = TRUE;

    if (parent->depth >= DEPTH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "folders more than %d deep", DEPTH_MAX);

    level_init(&level, parent, self->path->len);
    level.entry.mtime = self->mtime;
    for (guint i = 0; more && i < hits->len; i++) {
        const Part *part = &g_array_index(parent->parts, Part, g_array_index(hits, guint, i));

        if (!add_delta(&level, part->fd, name, &is_told, &more, error))
            return FALSE;
    }
    return settle_folder(self, &level, is_told, error) && diff_names(self, &level, error);
}

/* hits: the parts that have the name, from the top down. */
static gboolean
diff_name(Differ *self, Level *level, const char *name, const GArray *hits, GError **error)
{
    const Part *top = &g_array_index(level->parts, Part, g_array_index(hits, guint, 0));
    struct stat st;

    if (g_str_has_prefix(name, CX_WHITEOUT_PREFIX))
        return cx_throw(error, CX_ERROR_INVALID, "a name that means a removal in image layers");
    if (fstatat(top->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "stat");

    if (is_whiteout(&st))
        return write_whiteout(self, level, name, error);
    if (S_ISDIR(st.st_mode))
        return diff_folder(self, level, name, hits, error);
    return write_object(self, level, top->fd, name, &st, error);
}

/* The least name not yet taken, and who has it.  NULL at the end. */
static const char *
next_name(Level *level, GArray *hits)
{
    const char *least = NULL;

    g_array_set_size(hits, 0);
    for (guint i = 0; i < level->parts->len; i++) {
        const Part *part = &g_array_index(level->parts, Part, i);
        const char *name = part->next < part->names.n ? part->names.names[part->next] : NULL;
        int order = name == NULL ? 1 : least == NULL ? -1 : strcmp(name, least);

        if (order > 0)
            continue;
        if (order < 0)
            g_array_set_size(hits, 0);
        least = name;
        g_array_append_val(hits, i);
    }
    for (guint i = 0; i < hits->len; i++)
        g_array_index(level->parts, Part, g_array_index(hits, guint, i)).next++;
    return least;
}

static gboolean
diff_names(Differ *self, Level *level, GError **error)
{
    g_autoptr(GArray) hits = g_array_new(FALSE, FALSE, sizeof(guint));
    const char *name;

    while ((name = next_name(level, hits)) != NULL) {
        GError *found = NULL;

        if (cx_check_cancelled(self->cancellable, error))
            return FALSE;
        if (level->path_size > 0)
            g_string_append_c(self->path, '/');
        g_string_append(self->path, name);

        if (!diff_name(self, level, name, hits, &found)) {
            if (found->message[0] != '"' && !cx_error_is(found, CX_ERROR_CANCELLED))
                g_prefix_error(&found, "\"/%s\": ", self->path->str);
            g_propagate_error(error, found);
            return FALSE;
        }
        g_string_truncate(self->path, level->path_size);
    }
    return TRUE;
}

gboolean
cx_layer_diff(const int *delta_fds,
              guint n_deltas,
              CxTree *below,
              gint64 mtime,
              CxTarWriter *writer,
              CxCancel *cancellable,
              GError **error)
{
    g_auto(Differ) self = {.below = below,
                           .mtime = mtime,
                           .writer = writer,
                           .cancellable = cancellable,
                           .links = cx_link_table_new(),
                           .path = g_string_new(NULL)};
    g_auto(Level) root = {0};
    gboolean is_told = FALSE;
    gboolean more = TRUE;

    level_init(&root, NULL, 0);
    root.entry.mtime = mtime;
    for (guint i = n_deltas; more && i > 0; i--)
        if (!add_delta(&root, delta_fds[i - 1], ".", &is_told, &more, error))
            return FALSE;

    return settle_folder(&self, &root, is_told, error) && diff_names(&self, &root, error);
}
