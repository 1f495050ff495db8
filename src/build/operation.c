/* SPDX-License-Identifier: Apache-2.0 */
#include "build/operation.h"

#include <sys/stat.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"

/* ---- CxPlan ---------------------------------------------------------------------------------- */

CxPlan *
cx_plan_new(const CxBuildRequest *request, CxGraph *take_graph, GError **error)
{
    g_autoptr(CxPlan) self = g_new0(CxPlan, 1);
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    struct stat st;

    g_atomic_ref_count_init(&self->refs);
    self->graph = take_graph;
    self->identity = cx_identity_ref(request->identity);
    self->flags = request->flags;
    self->epoch = request->epoch;
    self->resource = g_strdup(request->resource);
    self->root_fd = fcntl(request->root_fd, F_DUPFD_CLOEXEC, 3);
    if (self->root_fd < 0 || fstat(self->root_fd, &st) < 0)
        return cx_throw_errno_null(error, "project root");

    cx_hasher_field_number(hasher, st.st_dev);
    cx_hasher_field_number(hasher, st.st_ino);
    cx_hasher_field_string(hasher, cx_identity_peek_key(self->identity));
    cx_hasher_field_number(hasher, request->flags & CX_BUILD_HOST_PATHS);
    self->root_key = cx_hasher_finish(hasher);
    return g_steal_pointer(&self);
}

CxPlan *
cx_plan_ref(CxPlan *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
cx_plan_unref(CxPlan *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
        return;

    cx_graph_free(self->graph);
    cx_identity_unref(self->identity);
    cx_clear_fd(&self->root_fd);
    g_free(self->resource);
    g_free(self);
}

int
cx_plan_open(const CxPlan *plan, const char *path, int open_flags, GError **error)
{
    if (path[0] == '/' && (plan->flags & CX_BUILD_HOST_PATHS)) {
        int fd = open(path, open_flags | O_CLOEXEC);

        return fd < 0 ? cx_throw_errno_fd(error, "\"%s\"", path) : fd;
    }
    return cx_chase_open(plan->root_fd, path, CX_CHASE_BENEATH, open_flags, 0, error);
}

/* ---- CxJob ----------------------------------------------------------------------------------- */

void
cx_job_free(CxJob *self)
{
    if (self == NULL)
        return;

    cx_state_unref(self->input);
    cx_state_unref(self->from);
    cx_plan_unref(self->plan);
    g_free(self);
}

const CxOperation *
cx_operation_of(const CxVertex *vertex)
{
    static const CxOperation *const operations[] = {
        [CX_OP_SOURCE] = &cx_operation_source,
        [CX_OP_RUN] = &cx_operation_run,
        [CX_OP_COPY] = &cx_operation_copy,
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(operations) == CX_N_OPS);

    return operations[vertex->op];
}

CxDigest
cx_job_key(const CxJob *job)
{
    const CxOperation *operation = cx_operation_of(job->vertex);
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    CxPlatformText platform = cx_platform_text(&job->plan->graph->platform);

    cx_hasher_field_string(hasher, "cruxd job 1");
    cx_hasher_field_string(hasher, operation->name);
    cx_hasher_field_string(hasher, platform.text);
    if (job->input != NULL)
        cx_hasher_field_digest(hasher, cx_state_get_identity(job->input));
    operation->mix(job, hasher);
    return cx_hasher_finish(hasher);
}
