/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "layer/overlay-form.h"
#include "layer/tree.h"

/* Where in a stack the layers stand that need something laid over them. */
typedef struct {
    const CxLower *lowers; /* borrowed; those that are seen */
    guint n_lowers;
    CxView **views; /* (owned) of borrowed; NULL for an upper */
    guint top;      /* one above the topmost layer with implied folders; 0: none */
} Plan;

static void
plan_clear(Plan *self)
{
    g_free(self->views);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

void
cx_stack_clear(CxStack *self)
{
    for (guint i = 0; self->views != NULL && i < self->views->len; i++)
        cx_views_release(self->owner->views, g_ptr_array_index(self->views, i));
    for (guint i = 0; self->uppers != NULL && i < self->uppers->len; i++)
        cx_snapshotter_release_upper(self->owner, g_array_index(self->uppers, guint64, i));
    for (guint i = 0; self->opened != NULL && i < self->opened->len; i++)
        cx_clear_fd(&g_array_index(self->opened, int, i));
    g_clear_pointer(&self->views, g_ptr_array_unref);
    g_clear_pointer(&self->uppers, g_array_unref);
    g_clear_pointer(&self->opened, g_array_unref);
    g_clear_pointer(&self->fds, g_array_unref);
}

/* ---- bringing in ----------------------------------------------------------------------------- */

static int
open_upper(CxStack *self, guint64 upper, GError **error)
{
    CxUpperName name = cx_upper_name("u", upper);
    g_autofree char *path = g_strconcat(name.name, "/fs", NULL);
    int fd;

    /* Counted first, so it cannot go away in between. */
    cx_snapshotter_hold_upper(self->owner, upper);
    g_array_append_val(self->uppers, upper);
    fd = openat(self->owner->place.snapshots_fd, path,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno_fd(error, "snapshot %s", name.name);

    g_array_append_val(self->opened, fd);
    return fd;
}

static gboolean
bring_in(CxStack *self, const CxLower *lower, CxView **out_view, int *out_fd, GError **error)
{
    if (lower->kind == CX_LOWER_UPPER) {
        *out_view = NULL;
        *out_fd = open_upper(self, lower->upper, error);
        return *out_fd >= 0;
    }

    *out_view = cx_views_acquire(self->owner->views, &lower->diff_id, error);
    if (*out_view == NULL)
        return FALSE;
    g_ptr_array_add(self->views, *out_view);
    *out_fd = (*out_view)->mount.fd;
    return TRUE;
}

/* The topmost that says something about the root decides. */
static gboolean
stat_root(CxStack *self, const CxView *view, int fd, GError **error)
{
    if (self->root.st_mode != 0 || (view != NULL && view->is_root_implied))
        return TRUE;

    return fstat(fd, &self->root) == 0 || cx_throw_errno(error, "view");
}

/* From the top down, so that nothing is shown that cannot be seen. */
static gboolean
bring_in_all(CxStack *self, Plan *plan, GError **error)
{
    g_autofree int *fds = g_new(int, plan->n_lowers + 1);
    guint first = plan->n_lowers;

    while (first > 0) {
        CxView **view = &plan->views[first - 1];

        if (!bring_in(self, &plan->lowers[first - 1], view, &fds[first - 1], error) ||
            !stat_root(self, *view, fds[first - 1], error))
            return FALSE;
        first--;
        if (*view != NULL && (*view)->implied != NULL)
            plan->top = MAX(plan->top, first + 1);
        if (*view != NULL && (*view)->is_opaque)
            break;
    }
    g_array_append_vals(self->fds, fds + first, plan->n_lowers - first);
    plan->lowers += first;
    memmove(plan->views, plan->views + first, (plan->n_lowers - first) * sizeof *plan->views);
    plan->n_lowers -= first;
    plan->top = plan->top > first ? plan->top - first : 0;
    return TRUE;
}

/* ---- implied folders ------------------------------------------------------------------------- */

static CxTree *
make_tree(const CxStack *self, guint n, GError **error)
{
    g_autoptr(CxTree) tree = cx_tree_new();

    for (guint i = 0; i < n; i++) {
        int fd = openat(g_array_index(self->fds, int, i), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            return cx_throw_errno_null(error, "view");
        cx_tree_take_folder(tree, fd);
    }
    return g_steal_pointer(&tree);
}

static gboolean
is_plain(const CxTreeNode *node)
{
    return !S_ISDIR(node->mode) || ((node->mode & 07777) == 0755 && node->uid == 0 &&
                                    node->gid == 0 && node->xattrs == NULL);
}

static gboolean
copy_metadata(int fd, const CxTreeNode *node, GError **error)
{
    if (fchown(fd, node->uid, node->gid) < 0 || fchmod(fd, node->mode & 07777) < 0)
        return cx_throw_errno(error, "owner and mode");

    for (guint i = 0; node->xattrs != NULL && i < node->xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(node->xattrs, i);
        gsize size;
        const void *value = g_bytes_get_data(xattr->value, &size);

        if (fsetxattr(fd, xattr->name, value, size, 0) < 0)
            return cx_throw_errno(error, "attribute \"%s\"", xattr->name);
    }
    return TRUE;
}

/* Makes path and its parents beneath dir_fd, each as the tree says. */
static gboolean
repeat_folder(CxTree *tree, int dir_fd, const char *path, GError **error)
{
    cx_autofd int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *end = path;

    while (*end != '\0') {
        const char *start = end + (*end == '/');
        g_autofree char *prefix = NULL;
        g_autofree char *name = NULL;
        g_auto(CxTreeNode) node = {0};
        int next_fd;

        end = strchrnul(start, '/');
        prefix = g_strndup(path, (gsize)(end - path));
        name = g_strndup(start, (gsize)(end - start));
        if (!cx_tree_lookup(tree, prefix, &node, error))
            return FALSE;
        if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
            return cx_throw_errno(error, "\"%s\"", prefix);
        next_fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next_fd < 0)
            return cx_throw_errno(error, "\"%s\"", prefix);
        cx_clear_fd(&fd);
        fd = next_fd;
        if (!copy_metadata(fd, &node, error))
            return FALSE;
    }
    return TRUE;
}

/* Fills dir_fd with the implied folders that are not as overlayfs would show them.  *out_any: there
 * are some. */
static gboolean
repeat_folders(CxTree *tree, const Plan *plan, int dir_fd, gboolean *out_any, GError **error)
{
    g_auto(CxTreeNode) root = {0};

    *out_any = FALSE;
    for (guint i = 0; i < plan->top; i++)
        for (char **path = plan->views[i] == NULL ? NULL : plan->views[i]->implied;
             path != NULL && *path != NULL; path++) {
            g_auto(CxTreeNode) node = {0};

            if (!cx_tree_lookup(tree, *path, &node, error))
                return FALSE;
            if (is_plain(&node))
                continue;
            *out_any = TRUE;
            if (!repeat_folder(tree, dir_fd, *path, error))
                return FALSE;
        }

    return !*out_any ||
           (cx_tree_lookup(tree, "", &root, error) && copy_metadata(dir_fd, &root, error));
}

static char *
make_fix(CxStack *self, const Plan *plan, GError **error)
{
    g_autoptr(CxTree) tree = make_tree(self, plan->top, error);
    CxUpperName name = cx_upper_name("fix-", ((guint64)g_random_int() << 32) | g_random_int());
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    gboolean any;

    if (tree == NULL || !cx_tmpdir_make(&dir, self->owner->place.tmp_fd, 0755, error) ||
        !repeat_folders(tree, plan, dir.fd, &any, error))
        return NULL;
    if (!any)
        return g_strdup("");
    if (!cx_tmpdir_publish(&dir, self->owner->place.snapshots_fd, name.name, error))
        return NULL;
    return g_strdup(name.name);
}

static CxDigest
key_stack(const Plan *plan)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    for (guint i = 0; i < plan->top; i++) {
        cx_hasher_field_number(hasher, plan->lowers[i].kind);
        if (plan->lowers[i].kind == CX_LOWER_LAYER)
            cx_hasher_field_digest(hasher, &plan->lowers[i].diff_id);
        else
            cx_hasher_field_number(hasher, plan->lowers[i].upper);
    }
    return cx_hasher_finish(hasher);
}

/* The folder to lay over the topmost layer with implied folders.  Made once for each stack up to
 * there. */
static gboolean
lay_fix(CxStack *self, const Plan *plan, GError **error)
{
    CxSnapshotter *owner = self->owner;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&owner->fixes_lock);
    CxDigest key = key_stack(plan);
    const char *name = g_hash_table_lookup(owner->fixes, &key);
    int fd;

    if (name == NULL) {
        char *made = make_fix(self, plan, error);

        if (made == NULL)
            return FALSE;
        g_hash_table_insert(owner->fixes, cx_digest_dup(&key), made);
        name = made;
    }
    if (name[0] == '\0')
        return TRUE;

    fd = openat(owner->place.snapshots_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno(error, "%s", name);
    g_array_append_val(self->opened, fd);
    g_array_insert_val(self->fds, plan->top, fd);
    return TRUE;
}

/* ---- the whole ------------------------------------------------------------------------------- */

gboolean
cx_stack_init(
    CxStack *self, CxSnapshotter *owner, const CxLower *lowers, guint n_lowers, GError **error)
{
    g_auto(Plan)
        plan = {.lowers = lowers, .n_lowers = n_lowers, .views = g_new0(CxView *, n_lowers + 1)};

    *self = (CxStack){.owner = owner,
                      .fds = g_array_new(FALSE, FALSE, sizeof(int)),
                      .opened = g_array_new(FALSE, FALSE, sizeof(int)),
                      .views = g_ptr_array_new(),
                      .uppers = g_array_new(FALSE, FALSE, sizeof(guint64))};

    if (n_lowers > CX_LOWERS_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "%u layers in one stack (%d at most)", n_lowers,
                        CX_LOWERS_MAX);
    if (!bring_in_all(self, &plan, error))
        return FALSE;

    if (self->root.st_mode == 0)
        self->root.st_mode = S_IFDIR | 0755;

    /* With nothing below there is nothing to repeat. */
    return plan.top <= 1 || lay_fix(self, &plan, error);
}

void
cx_stack_put_below(CxStack *self, int fd)
{
    g_array_prepend_val(self->fds, fd);
}
