/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "build/operation.h"

/* Threads that flights may take in all.  What one build runs at once is bounded by its `parallel`;
 * a step that hangs in one build must not keep another from its cache. */
#define FLIGHT_THREADS_MAX 64
#define UNDERTAKERS 2

/* One ended container. */
typedef struct {
    CxStepProcess *process; /* (owned) */
    CxCgroup *cgroup;       /* (owned) */
    char *bundle;           /* (owned) */
} Burial;

static void
do_bury(gpointer data, gpointer user)
{
    CxEngine *engine = user;
    Burial *burial = data;
    g_autofree char *name = g_path_get_basename(burial->bundle);

    (void)cx_step_process_settle(burial->process, NULL);
    cx_step_process_free(burial->process);
    cx_cgroup_free(burial->cgroup);
    (void)cx_remove_tree_at(engine->work_fd, name, NULL);
    g_free(burial->bundle);
    g_free(burial);

    g_mutex_lock(&engine->lock);
    if (--engine->burials == 0)
        g_cond_broadcast(&engine->buried);
    g_mutex_unlock(&engine->lock);
}

void
cx_engine_bury(CxEngine *self,
               CxStepProcess *take_process,
               CxCgroup *take_cgroup,
               char *take_bundle)
{
    Burial *burial = g_new0(Burial, 1);

    burial->process = take_process;
    burial->cgroup = take_cgroup;
    burial->bundle = take_bundle;
    g_mutex_lock(&self->lock);
    self->burials++;
    g_mutex_unlock(&self->lock);
    (void)g_thread_pool_push(self->undertaker, burial, NULL);
}

void
cx_engine_settle(CxEngine *self)
{
    g_mutex_lock(&self->lock);
    while (self->burials > 0)
        g_cond_wait(&self->buried, &self->lock);
    g_mutex_unlock(&self->lock);
    cx_snapshotter_drain(cx_store_get_snapshotter(self->options.store));
}

CxEngine *
cx_engine_new(const CxEngineOptions *options, GError **error)
{
    g_autoptr(CxEngine) self = g_new0(CxEngine, 1);

    self->work_fd = -1;
    g_mutex_init(&self->lock);
    g_cond_init(&self->buried);
    self->options = *options;
    self->options.no_runtime = g_strdup(options->no_runtime);
    self->options.work_folder = g_strdup(options->work_folder);
    if (self->options.parallel == 0)
        self->options.parallel = MAX(2, g_get_num_processors());

    self->flights = cx_flights_new(FLIGHT_THREADS_MAX);
    self->undertaker = g_thread_pool_new(do_bury, self, UNDERTAKERS, FALSE, NULL);
    if (g_mkdir_with_parents(options->work_folder, 0700) < 0)
        return cx_throw_errno_null(error, "\"%s\"", options->work_folder);
    self->work_fd = open(options->work_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->work_fd < 0)
        return cx_throw_errno_null(error, "\"%s\"", options->work_folder);

    return g_steal_pointer(&self);
}

void
cx_engine_free(CxEngine *self)
{
    if (self == NULL)
        return;

    g_clear_pointer(&self->flights, cx_flights_free);
    if (self->undertaker != NULL)
        g_thread_pool_free(self->undertaker, FALSE, TRUE);
    cx_clear_fd(&self->work_fd);
    g_cond_clear(&self->buried);
    g_mutex_clear(&self->lock);
    g_free((char *)self->options.no_runtime);
    g_free((char *)self->options.work_folder);
    g_free(self);
}
