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
do_bury(gpointer data, gpointer engine)
{
    Burial *burial = data;
    g_autofree char *name = g_path_get_basename(burial->bundle);

    (void)cx_step_process_settle(burial->process, NULL);
    cx_step_process_free(burial->process);
    cx_cgroup_free(burial->cgroup);
    (void)cx_remove_tree_at(((CxEngine *)engine)->work_fd, name, NULL);
    g_free(burial->bundle);
    g_free(burial);
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
    (void)g_thread_pool_push(self->undertaker, burial, NULL);
}

CxEngine *
cx_engine_new(const CxEngineOptions *options, GError **error)
{
    g_autoptr(CxEngine) self = g_new0(CxEngine, 1);

    self->work_fd = -1;
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
    g_free((char *)self->options.no_runtime);
    g_free((char *)self->options.work_folder);
    g_free(self);
}
