/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/reaper.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "base/tmp.h"

struct CxReaper {
    int tmp_fd;        /* borrowed */
    GThreadPool *pool; /* (owned) of one thread, which is there only while it has something to do */
};

static void
reap(gpointer data, gpointer user_data)
{
    CxReaper *self = user_data;
    g_autofree char *name = data;

    /* What cannot be removed now is removed by the next start. */
    (void)cx_remove_tree_at(self->tmp_fd, name, NULL);
}

CxReaper *
cx_reaper_new(int tmp_fd)
{
    CxReaper *self = g_new0(CxReaper, 1);

    self->tmp_fd = tmp_fd;
    self->pool = g_thread_pool_new(reap, self, 1, FALSE, NULL);
    return self;
}

void
cx_reaper_free(CxReaper *self)
{
    if (self == NULL)
        return;

    g_thread_pool_free(self->pool, FALSE, TRUE);
    g_free(self);
}

gboolean
cx_reaper_take(CxReaper *self, int dir_fd, const char *name, GError **error)
{
    g_autofree char *gone = g_strdup_printf("gone-%08x%08x", g_random_int(), g_random_int());

    if (renameat(dir_fd, name, self->tmp_fd, gone) < 0)
        return errno == ENOENT || cx_throw_errno(error, "remove \"%s\"", name);

    (void)g_thread_pool_push(self->pool, g_steal_pointer(&gone), NULL);
    return TRUE;
}
