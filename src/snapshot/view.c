/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/object.h"
#include "layer/overlay-form.h"

#define IDLE_MAX 64 /* views that nobody uses */

struct CxViews {
    CxViewPlace *place;         /* borrowed */
    const CxViewEngine *engine; /* borrowed */
    const CxViewEngine
        *fallback; /* borrowed; for a layer that engine does not support; NULL: none */
    GMutex lock;
    GCond changed;
    GHashTable *by_digest; /* (CxDigest in the view) -> (owned CxView); guarded by lock */
    guint64 clock;         /* counts uses; guarded by lock */
    GHashTable *at_work;   /* set of (borrowed CxDigest) being shown or dropped; guarded by lock */
};

static void
free_view(gpointer data)
{
    CxView *view = data;

    cx_mount_clear(&view->mount);
    g_strfreev(view->implied);
    g_free(view);
}

CxViews *
cx_views_new(CxViewPlace *place, const CxViewEngine *engine, const CxViewEngine *fallback)
{
    CxViews *self = g_new0(CxViews, 1);

    self->place = place;
    self->engine = engine;
    self->fallback = fallback;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->by_digest = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, NULL, free_view);
    self->at_work = g_hash_table_new(cx_digest_hash, cx_digest_equal_keys);
    return self;
}

void
cx_views_free(CxViews *self)
{
    if (self == NULL)
        return;

    g_hash_table_unref(self->by_digest);
    g_hash_table_unref(self->at_work);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

/* ---- showing --------------------------------------------------------------------------------- */

static gboolean
has_mark(int fd, const char *mark)
{
    char value;

    return fgetxattr(fd, mark, &value, 1) == 1 && value == 'y';
}

static gboolean
walk_implied(int dir_fd, GString *path, GPtrArray *paths, GError **error)
{
    g_auto(CxNames) names = CX_NAMES_INIT;
    gsize size = path->len;

    if (!cx_names_read(&names, dir_fd, error))
        return FALSE;

    for (guint i = 0; i < names.n; i++) {
        cx_autofd int fd = -1;

        if (cx_names_type(names.names[i]) != DT_DIR)
            continue;
        fd = openat(dir_fd, names.names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return cx_throw_errno(error, "\"%s\"", names.names[i]);
        g_string_append_printf(path, "%s%s", size > 0 ? "/" : "", names.names[i]);
        if (has_mark(fd, CX_OVERLAY_IMPLICIT))
            g_ptr_array_add(paths, g_strdup(path->str));
        if (!walk_implied(fd, path, paths, error))
            return FALSE;
        g_string_truncate(path, size);
    }
    return TRUE;
}

static gboolean
list_by_walking(int fd, /* its position is used up */
                GStrv *out_paths,
                GError **error)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) path = g_string_new(NULL);

    if (!walk_implied(fd, path, paths, error))
        return FALSE;

    g_ptr_array_set_free_func(paths, NULL);
    g_ptr_array_add(paths, NULL);
    *out_paths = (GStrv)g_ptr_array_free(g_steal_pointer(&paths), FALSE);
    if (*out_paths[0] == NULL)
        g_clear_pointer(out_paths, g_free);
    return TRUE;
}

static gboolean
show_with(CxViews *self, const CxViewEngine *engine, CxView *view, GError **error)
{
    cx_autofd int fd = -1;

    if (!engine->show(self->place, &view->diff_id, &view->mount, error))
        return FALSE;
    fd = openat(view->mount.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno(error, "view");

    view->is_opaque = has_mark(fd, CX_OVERLAY_OPAQUE);
    view->is_root_implied = has_mark(fd, CX_OVERLAY_IMPLICIT);
    return engine->list_implied != NULL
               ? engine->list_implied(self->place, &view->diff_id, &view->implied, error)
               : list_by_walking(fd, &view->implied, error);
}

static CxView *
show(CxViews *self, const CxDigest *diff_id, GError **error)
{
    CxView *view = g_new0(CxView, 1);
    GError *failure = NULL;

    view->diff_id = *diff_id;
    view->mount = (CxMount)CX_MOUNT_INIT;
    if (show_with(self, self->engine, view, &failure))
        return view;

    if (self->fallback != NULL && cx_error_is(failure, CX_ERROR_UNSUPPORTED)) {
        g_clear_error(&failure);
        if (show_with(self, self->fallback, view, &failure))
            return view;
    }
    g_propagate_error(error, failure);
    free_view(view);
    return NULL;
}

/* Waits until nobody shows or drops the layer. */
static void
wait_for_others(CxViews *self, const CxDigest *diff_id)
{
    while (g_hash_table_contains(self->at_work, diff_id))
        g_cond_wait(&self->changed, &self->lock);
}

static void
begin_work(CxViews *self, const CxDigest *diff_id)
{
    g_hash_table_add(self->at_work, (gpointer)diff_id);
    g_mutex_unlock(&self->lock);
}

static void
end_work(CxViews *self, const CxDigest *diff_id)
{
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->at_work, diff_id);
    g_cond_broadcast(&self->changed);
}

CxView *
cx_views_acquire(CxViews *self, const CxDigest *diff_id, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    CxView *view;

    wait_for_others(self, diff_id);
    view = g_hash_table_lookup(self->by_digest, diff_id);
    if (view == NULL) {
        begin_work(self, diff_id);
        view = show(self, diff_id, error);
        end_work(self, diff_id);
        if (view == NULL)
            return NULL;
        g_hash_table_insert(self->by_digest, &view->diff_id, view);
    }
    view->n_users++;
    return view;
}

/* The view that was not used for longest, taken out, if too many are not used. */
static CxView *
steal_oldest(CxViews *self)
{
    GHashTableIter iter;
    CxView *oldest = NULL;
    gpointer value;
    guint n_idle = 0;

    g_hash_table_iter_init(&iter, self->by_digest);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        CxView *view = value;

        if (view->n_users > 0)
            continue;
        n_idle++;
        if (oldest == NULL || view->last_used < oldest->last_used)
            oldest = view;
    }
    if (n_idle <= IDLE_MAX)
        return NULL;

    g_hash_table_steal(self->by_digest, &oldest->diff_id);
    return oldest;
}

void
cx_views_release(CxViews *self, CxView *view)
{
    CxView *oldest;

    g_mutex_lock(&self->lock);
    g_assert(view->n_users > 0);
    view->n_users--;
    view->last_used = ++self->clock;
    oldest = steal_oldest(self);
    g_mutex_unlock(&self->lock);

    if (oldest != NULL)
        free_view(oldest);
}

/* ---- dropping -------------------------------------------------------------------------------- */

static gboolean
discard(CxViews *self, const CxDigest *diff_id, GError **error)
{
    const CxViewEngine *const engines[] = {self->engine, self->fallback};

    for (gsize i = 0; i < G_N_ELEMENTS(engines); i++)
        if (engines[i] != NULL && engines[i]->discard != NULL &&
            !engines[i]->discard(self->place, diff_id, error))
            return FALSE;
    return TRUE;
}

gboolean
cx_views_drop(CxViews *self, const CxDigest *diff_id, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    CxView *view;
    gboolean ok;

    wait_for_others(self, diff_id);
    view = g_hash_table_lookup(self->by_digest, diff_id);
    if (view != NULL && view->n_users > 0)
        return cx_throw(error, CX_ERROR_BUSY, "layer %s is in use", cx_digest_text(diff_id).text);
    if (view != NULL)
        g_hash_table_steal(self->by_digest, diff_id);

    begin_work(self, diff_id);
    if (view != NULL)
        free_view(view);
    ok = discard(self, diff_id, error);
    end_work(self, diff_id);
    return ok;
}
