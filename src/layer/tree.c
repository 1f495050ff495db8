/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/object.h"
#include "layer/overlay-form.h"

/* A folder of the merged tree is the set of its parts: the folder of that path in each layer where
 * it exists and is not hidden from above.  Going down by one name asks each part, from the top, and
 * stops at what hides the rest.  The parts of the folder visited last are kept, since callers ask
 * for the names of one folder one after another. */

#define LINKS_MAX 40

typedef struct {
    CxErofsIndex *index; /* (owned) or NULL for a folder */
    int fd;              /* owned */
} Layer;

/* One layer's share of a folder. */
typedef struct {
    const Layer *layer; /* borrowed */
    guint64 nid;
    int fd; /* owned; of a layer that is a folder */
} Part;

/* What one layer has under a name. */
typedef struct {
    mode_t mode; /* 0: nothing */
    guint32 uid, gid;
    gint64 mtime;
    gboolean is_whiteout;
    gboolean opaque;
    gboolean implicit;
    guint64 nid;
    int fd; /* owned; of a folder in a layer that is a folder */
} Found;

struct CxTree {
    GPtrArray *layers; /* (owned) of (owned Layer), from the bottom up */
    char *last_path;   /* (owned) of last; NULL: none */
    GArray *last;      /* (owned) of Part, from the top down */
};

static void
free_layer(gpointer data)
{
    Layer *layer = data;

    cx_erofs_index_unref(layer->index);
    cx_clear_fd(&layer->fd);
    g_free(layer);
}

static void
clear_part(gpointer data)
{
    cx_clear_fd(&((Part *)data)->fd);
}

static GArray *
new_parts(void)
{
    GArray *parts = g_array_new(FALSE, FALSE, sizeof(Part));

    g_array_set_clear_func(parts, clear_part);
    return parts;
}

static void
forget_last(CxTree *self)
{
    g_clear_pointer(&self->last_path, g_free);
    g_clear_pointer(&self->last, g_array_unref);
}

CxTree *
cx_tree_new(void)
{
    CxTree *self = g_new0(CxTree, 1);

    self->layers = g_ptr_array_new_with_free_func(free_layer);
    return self;
}

void
cx_tree_free(CxTree *self)
{
    if (self == NULL)
        return;

    forget_last(self);
    g_ptr_array_unref(self->layers);
    g_free(self);
}

static void
add_layer(CxTree *self, CxErofsIndex *index, int fd)
{
    Layer *layer = g_new(Layer, 1);

    *layer = (Layer){.index = index, .fd = fd};
    g_ptr_array_add(self->layers, layer);
    forget_last(self);
}

void
cx_tree_add_index(CxTree *self, CxErofsIndex *index)
{
    add_layer(self, cx_erofs_index_ref(index), -1);
}

void
cx_tree_take_folder(CxTree *self, int take_fd)
{
    add_layer(self, NULL, take_fd);
}

void
cx_tree_node_clear(CxTreeNode *self)
{
    g_clear_pointer(&self->xattrs, g_ptr_array_unref);
    self->mode = 0;
}

/* ---- one layer ------------------------------------------------------------------------------- */

static void
take_node(const CxErofsNode *node, Found *out)
{
    *out = (Found){.mode = node->mode,
                   .uid = node->uid,
                   .gid = node->gid,
                   .mtime = node->mtime,
                   .is_whiteout = S_ISCHR(node->mode) && node->rdev == 0,
                   .opaque = node->opaque,
                   .implicit = node->implicit,
                   .nid = node->nid,
                   .fd = -1};
}

static gboolean
find_in_index(const Part *part, const char *name, Found *out, GError **error)
{
    GError *local_error = NULL;
    CxErofsNode node;

    if (cx_erofs_index_lookup(part->layer->index, part->nid, name, &node, &local_error)) {
        take_node(&node, out);
        return TRUE;
    }
    if (cx_error_is(local_error, CX_ERROR_NOT_FOUND)) {
        g_error_free(local_error);
        *out = (Found){.fd = -1};
        return TRUE;
    }
    g_propagate_error(error, local_error);
    return FALSE;
}

static gboolean
has_mark(int fd, const char *mark)
{
    char value;

    return fgetxattr(fd, mark, &value, 1) == 1 && value == 'y';
}

static void
take_folder(const struct stat *st, int fd, Found *out)
{
    *out = (Found){.mode = st->st_mode,
                   .uid = st->st_uid,
                   .gid = st->st_gid,
                   .mtime = st->st_mtim.tv_sec,
                   .is_whiteout = S_ISCHR(st->st_mode) && st->st_rdev == 0,
                   .opaque = fd >= 0 && (has_mark(fd, CX_OVERLAY_OPAQUE) ||
                                         has_mark(fd, "user.overlay.opaque")),
                   .implicit = fd >= 0 && has_mark(fd, CX_OVERLAY_IMPLICIT),
                   .fd = fd};
}

static gboolean
find_in_folder(const Part *part, const char *name, Found *out, GError **error)
{
    struct stat st;
    int fd = -1;

    if (fstatat(part->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT && errno != ENAMETOOLONG)
            return cx_throw_errno(error, "\"%s\"", name);
        *out = (Found){.fd = -1};
        return TRUE;
    }
    if (S_ISDIR(st.st_mode)) {
        fd = cx_object_open(part->fd, name, S_IFDIR, &st, error);
        if (fd < 0)
            return FALSE;
    }
    take_folder(&st, fd, out);
    return TRUE;
}

static gboolean
find_in_part(const Part *part, const char *name, Found *out, GError **error)
{
    return part->layer->index != NULL ? find_in_index(part, name, out, error)
                                      : find_in_folder(part, name, out, error);
}

static gboolean
find_root(const Layer *layer, Found *out, GError **error)
{
    CxErofsNode node;
    struct stat st;
    int fd;

    if (layer->index != NULL) {
        if (!cx_erofs_index_stat(layer->index, cx_erofs_index_get_root(layer->index), &node, error))
            return FALSE;
        take_node(&node, out);
        return TRUE;
    }

    fd = cx_object_open(layer->fd, ".", S_IFDIR, &st, error);
    if (fd < 0)
        return FALSE;
    take_folder(&st, fd, out);
    return TRUE;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* What a name is in the merged tree. */
typedef struct {
    Found top;     /* whose metadata counts; its fd is not owned */
    Part top_part; /* where it lies: for a folder its own part, else that of the parent; borrowed */
    GArray *parts; /* (owned) of a folder, from the top down; else empty */
} Merged;

static void
merged_clear(Merged *self)
{
    g_clear_pointer(&self->parts, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Merged, merged_clear)

/* Takes in what the next layer down has.  Returns whether layers below it can be seen. */
static gboolean
merge(Merged *self, const Part *parent, const Layer *layer, Found *found)
{
    Part part = {.layer = layer, .nid = found->nid, .fd = found->fd};

    if (found->mode == 0)
        return TRUE;
    if (found->is_whiteout)
        return FALSE;
    if (!S_ISDIR(found->mode)) {
        if (self->top.mode == 0) {
            g_assert(parent != NULL); /* a root is a folder */
            self->top = *found;
            self->top_part = *parent;
        }
        return FALSE;
    }

    /* A folder that its layer only implies says nothing about mode and owner, if one below does. */
    if (self->top.mode == 0 || (self->top.implicit && !found->implicit)) {
        self->top = *found;
        self->top_part = part;
    }
    g_array_append_val(self->parts, part);
    return !found->opaque;
}

static gboolean
merge_root(CxTree *self, Merged *out, GError **error)
{
    gboolean more = TRUE;

    out->parts = new_parts();
    for (guint i = self->layers->len; more && i > 0; i--) {
        const Layer *layer = g_ptr_array_index(self->layers, i - 1);
        Found found;

        if (!find_root(layer, &found, error))
            return FALSE;
        more = merge(out, NULL, layer, &found);
    }
    return TRUE;
}

static gboolean
merge_name(const GArray *parents, const char *name, Merged *out, GError **error)
{
    gboolean more = TRUE;

    out->parts = new_parts();
    for (guint i = 0; more && i < parents->len; i++) {
        const Part *parent = &g_array_index(parents, Part, i);
        Found found;

        if (!find_in_part(parent, name, &found, error))
            return FALSE;
        more = merge(out, parent, parent->layer, &found);
    }
    return TRUE;
}

/* Makes path[0..size) the folder visited last.  *out_parts is borrowed, NULL when there is no such
 * folder. */
static gboolean
enter(CxTree *self, const char *path, gsize size, const GArray **out_parts, GError **error)
{
    gsize at = self->last_path == NULL ? 0 : strlen(self->last_path);

    if (self->last_path == NULL || at > size || strncmp(path, self->last_path, at) != 0 ||
        (at > 0 && at < size && path[at] != '/')) {
        g_auto(Merged) root = {0};

        forget_last(self);
        if (!merge_root(self, &root, error))
            return FALSE;
        self->last_path = g_strdup("");
        self->last = g_steal_pointer(&root.parts);
        at = 0;
    }

    while (at < size) {
        gsize start = at + (path[at] == '/');
        const char *slash = memchr(path + start, '/', size - start);
        gsize end = slash == NULL ? size : (gsize)(slash - path);
        g_autofree char *name = g_strndup(path + start, end - start);
        g_auto(Merged) merged = {0};

        if (!merge_name(self->last, name, &merged, error))
            return FALSE;
        if (merged.parts->len == 0) {
            *out_parts = NULL;
            return TRUE;
        }
        forget_last(self);
        self->last_path = g_strndup(path, end);
        self->last = g_steal_pointer(&merged.parts);
        at = end;
    }
    *out_parts = self->last;
    return TRUE;
}

static gboolean
merge_path(CxTree *self, const char *path, Merged *out, GError **error)
{
    const char *slash = strrchr(path, '/');
    const GArray *parts;

    if (path[0] == '\0')
        return merge_root(self, out, error);
    if (!enter(self, path, slash == NULL ? 0 : (gsize)(slash - path), &parts, error))
        return FALSE;
    if (parts == NULL) {
        out->parts = new_parts();
        return TRUE;
    }
    return merge_name(parts, slash == NULL ? path : slash + 1, out, error);
}

static CxXattrVerdict
judge_view(const char *name)
{
    return cx_overlay_keeps_xattr(name) ? CX_XATTR_KEEP : CX_XATTR_SKIP;
}

static gboolean
read_xattrs(const Merged *merged, GPtrArray **out_xattrs, GError **error)
{
    GError *local_error = NULL;

    if (merged->top_part.layer->index == NULL)
        return cx_object_read_xattrs(merged->top_part.fd, judge_view, out_xattrs, error);

    *out_xattrs =
        cx_erofs_index_xattrs(merged->top_part.layer->index, merged->top.nid, &local_error);
    if (local_error == NULL)
        return TRUE;
    g_propagate_error(error, local_error);
    return FALSE;
}

gboolean
cx_tree_lookup(CxTree *self, const char *path, CxTreeNode *out_node, GError **error)
{
    g_auto(Merged) merged = {0};
    GPtrArray *xattrs = NULL;

    if (!merge_path(self, path, &merged, error))
        return FALSE;
    if (S_ISDIR(merged.top.mode) && !read_xattrs(&merged, &xattrs, error))
        return FALSE;

    *out_node = (CxTreeNode){.mode = merged.top.mode,
                             .uid = merged.top.uid,
                             .gid = merged.top.gid,
                             .mtime = merged.top.mtime,
                             .xattrs = xattrs};
    return TRUE;
}

/* ---- resolving ------------------------------------------------------------------------------- */

static char *
read_link(const Merged *merged, const char *path, GError **error)
{
    const char *slash = strrchr(path, '/');

    if (merged->top_part.layer->index != NULL)
        return cx_erofs_index_read_link(merged->top_part.layer->index, merged->top.nid, error);

    return cx_object_read_link(merged->top_part.fd, slash == NULL ? path : slash + 1, error);
}

static void
drop_last_part(GString *path)
{
    const char *slash = strrchr(path->str, '/');

    g_string_truncate(path, slash == NULL ? 0 : (gsize)(slash - path->str));
}

/* Cuts the first part off *rest.  NULL when there is none. */
static char *
next_part(const char **rest)
{
    const char *start = *rest + strspn(*rest, "/");
    gsize size = strcspn(start, "/");

    *rest = start + size + strspn(start + size, "/");
    return size == 0 ? NULL : g_strndup(start, size);
}

/* Goes on from the folder at *path by one part.  For a link, *out_target is what it says and path
 * stays. */
static gboolean
step(CxTree *self,
     GString *path,
     const char *part,
     gboolean is_last,
     gboolean follow,
     char **out_target,
     GError **error)
{
    g_auto(Merged) merged = {0};
    gsize size = path->len;

    if (size > 0)
        g_string_append_c(path, '/');
    g_string_append(path, part);
    if (!merge_path(self, path->str, &merged, error))
        return FALSE;

    if (S_ISLNK(merged.top.mode) && (!is_last || follow)) {
        *out_target = read_link(&merged, path->str, error);
        g_string_truncate(path, size);
        return *out_target != NULL;
    }
    if (merged.top.mode != 0 && !S_ISDIR(merged.top.mode) && !is_last)
        return cx_throw(error, CX_ERROR_INVALID, "\"/%s\" is not a folder", path->str);
    return TRUE;
}

char *
cx_tree_resolve(CxTree *self, const char *path, gboolean follow_last, GError **error)
{
    g_autoptr(GString) resolved = g_string_new(NULL);
    g_autofree char *pending = g_strdup(path);
    const char *rest = pending;
    guint n_links = 0;

    for (;;) {
        g_autofree char *part = next_part(&rest);
        g_autofree char *target = NULL;
        char *joined;

        if (part == NULL)
            return g_string_free(g_steal_pointer(&resolved), FALSE);
        if (strcmp(part, "..") == 0)
            drop_last_part(resolved);
        if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
            continue;
        if (!step(self, resolved, part, *rest == '\0', follow_last, &target, error))
            return NULL;
        if (target == NULL)
            continue;

        if (++n_links > LINKS_MAX)
            return cx_throw_null(error, CX_ERROR_INVALID,
                                 "\"%s\": more than %d symlinks on the way", path, LINKS_MAX);
        if (target[0] == '/')
            g_string_truncate(resolved, 0);
        joined = g_strconcat(target, "/", rest, NULL);
        g_free(pending);
        pending = joined;
        rest = pending;
    }
}
