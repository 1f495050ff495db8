/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/reaper.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/tmp.h"

#define QUIET (2 * G_TIME_SPAN_SECOND)
#define WAITING_MAX 100 /* trees; more are removed whether it is quiet or not */

struct CxReaper {
    int tmp_fd; /* borrowed */
    GMutex lock;
    GCond changed;
    GThread *thread;     /* (owned) once there was something to do; guarded by lock */
    GPtrArray *waiting;  /* (owned) of owned names in tmp; guarded by lock */
    gint64 last_taken;   /* guarded by lock */
    gboolean is_busy;    /* removing what does not wait any more; guarded by lock */
    guint n_drainers;    /* who want it now; guarded by lock */
    gboolean is_closing; /* guarded by lock */
};

static gboolean
is_urgent(const CxReaper *self)
{
    return self->is_closing || self->waiting->len >= WAITING_MAX ||
           (self->n_drainers > 0 && self->waiting->len > 0);
}

/* Until nothing came for a while, or somebody cannot wait. */
static void
wait_for_quiet(CxReaper *self)
{
    while (!is_urgent(self)) {
        gint64 until = self->last_taken + QUIET;

        if (self->waiting->len == 0)
            g_cond_wait(&self->changed, &self->lock);
        else if (g_get_monotonic_time() >= until)
            return;
        else
            (void)g_cond_wait_until(&self->changed, &self->lock, until);
    }
}

static void
set_busy(CxReaper *self, gboolean is_busy)
{
    self->is_busy = is_busy;
    g_cond_broadcast(&self->changed);
}

static gpointer
reap(gpointer data)
{
    CxReaper *self = data;

    g_mutex_lock(&self->lock);
    while (!self->is_closing || self->waiting->len > 0) {
        g_autoptr(GPtrArray) names = NULL;

        wait_for_quiet(self);
        names = g_steal_pointer(&self->waiting);
        self->waiting = g_ptr_array_new_with_free_func(g_free);
        set_busy(self, TRUE);
        g_mutex_unlock(&self->lock);

        /* What cannot be removed now is removed by the next start. */
        for (guint i = 0; i < names->len; i++)
            (void)cx_remove_tree_at(self->tmp_fd, g_ptr_array_index(names, i), NULL);

        g_mutex_lock(&self->lock);
        set_busy(self, FALSE);
    }
    g_mutex_unlock(&self->lock);
    return NULL;
}

CxReaper *
cx_reaper_new(int tmp_fd)
{
    CxReaper *self = g_new0(CxReaper, 1);

    self->tmp_fd = tmp_fd;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->waiting = g_ptr_array_new_with_free_func(g_free);
    return self;
}

void
cx_reaper_free(CxReaper *self)
{
    if (self == NULL)
        return;

    g_mutex_lock(&self->lock);
    self->is_closing = TRUE;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    if (self->thread != NULL)
        g_thread_join(self->thread);

    g_ptr_array_unref(self->waiting);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

void
cx_reaper_drain(CxReaper *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->n_drainers++;
    g_cond_broadcast(&self->changed);
    while (self->waiting->len > 0 || self->is_busy)
        g_cond_wait(&self->changed, &self->lock);
    self->n_drainers--;
}

gboolean
cx_reaper_take(CxReaper *self, int dir_fd, const char *name, GError **error)
{
    char *gone = g_strdup_printf("gone-%08x%08x", g_random_int(), g_random_int());
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    if (renameat(dir_fd, name, self->tmp_fd, gone) < 0) {
        g_free(gone);
        return errno == ENOENT || cx_throw_errno(error, "remove \"%s\"", name);
    }

    g_ptr_array_add(self->waiting, gone);
    self->last_taken = g_get_monotonic_time();
    if (self->thread == NULL)
        self->thread = g_thread_new("reaper", reap, self);
    g_cond_broadcast(&self->changed);
    return TRUE;
}
