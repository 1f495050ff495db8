/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/reaper.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/tmp.h"

struct CxReaper {
    int tmp_fd;        /* borrowed */
    GThreadPool *pool; /* (owned) of one thread, which is there only while it has something to do */
    GMutex lock;
    GCond idle;
    guint pending; /* trees taken and not yet removed; under lock */
};

static void
reap(gpointer data, gpointer user_data)
{
    CxReaper *self = user_data;
    g_autofree char *name = data;

    /* What cannot be removed now is removed by the next start. */
    (void)cx_remove_tree_at(self->tmp_fd, name, NULL);
    g_mutex_lock(&self->lock);
    if (--self->pending == 0)
        g_cond_broadcast(&self->idle);
    g_mutex_unlock(&self->lock);
}

CxReaper *
cx_reaper_new(int tmp_fd)
{
    CxReaper *self = g_new0(CxReaper, 1);

    self->tmp_fd = tmp_fd;
    g_mutex_init(&self->lock);
    g_cond_init(&self->idle);
    self->pool = g_thread_pool_new(reap, self, 1, FALSE, NULL);
    return self;
}

void
cx_reaper_free(CxReaper *self)
{
    if (self == NULL)
        return;

    g_thread_pool_free(self->pool, FALSE, TRUE);
    g_cond_clear(&self->idle);
    g_mutex_clear(&self->lock);
    g_free(self);
}

void
cx_reaper_drain(CxReaper *self)
{
    g_mutex_lock(&self->lock);
    while (self->pending > 0)
        g_cond_wait(&self->idle, &self->lock);
    g_mutex_unlock(&self->lock);
}

gboolean
cx_reaper_take(CxReaper *self, int dir_fd, const char *name, GError **error)
{
    g_autofree char *gone = g_strdup_printf("gone-%08x%08x", g_random_int(), g_random_int());

    if (renameat(dir_fd, name, self->tmp_fd, gone) < 0)
        return errno == ENOENT || cx_throw_errno(error, "remove \"%s\"", name);

    g_mutex_lock(&self->lock);
    self->pending++;
    g_mutex_unlock(&self->lock);
    (void)g_thread_pool_push(self->pool, g_steal_pointer(&gone), NULL);
    return TRUE;
}
