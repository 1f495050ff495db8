/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "build/engine.h"
#include "build/flight.h"

G_BEGIN_DECLS

/* What the operations of a graph share.  A job may outlive the build that started it (another may
 * wait for it), so it owns references to all that it needs. */
struct CxEngine {
    CxEngineOptions options; /* strings owned */
    CxFlights *flights;      /* (owned) */
    GThreadPool *undertaker; /* (owned): waits for the runtime to delete ended containers */
    int work_fd;             /* owned: options.work_folder */
    GMutex lock;
    GCond buried;
    guint burials; /* ended containers not yet gone; under lock */
};

/* One request's facts: shared by its jobs. */
typedef struct {
    gatomicrefcount refs;
    CxGraph *graph;       /* (owned) */
    int root_fd;          /* owned: the project root */
    CxIdentity *identity; /* (owned) */
    CxDigest root_key;    /* tells this root, seen by this user, from others */
    CxBuildFlags flags;
    gint64 epoch;
    char *resource; /* (owned) */
} CxPlan;

CxPlan *cx_plan_new(const CxBuildRequest *request, CxGraph *take_graph, GError **error);
CxPlan *cx_plan_ref(CxPlan *self);
void cx_plan_unref(CxPlan *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxPlan, cx_plan_unref)

/* One vertex about to be solved: its inputs are known. */
typedef struct {
    CxEngine *engine;
    CxPlan *plan;           /* (owned) */
    const CxVertex *vertex; /* of plan->graph */
    CxState *input;         /* (owned) NULL for a source */
    CxState *from;          /* (owned) NULL unless it copies from a stage */
} CxJob;

void cx_job_free(CxJob *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxJob, cx_job_free)

/* An operation of the graph.  The solver knows nothing more of one than this. */
typedef struct {
    const char *name;
    /* Mandatory.  Mixes everything that makes two jobs the same work; no I/O. */
    void (*mix)(const CxJob *job, CxHasher *hasher);
    /* Mandatory.  Finds the result in the cache or makes it. */
    gboolean (*run)(CxJob *job,
                    CxFlight *flight,
                    CxOutcome *out_outcome,
                    CxCancel *cancellable,
                    GError **error);
} CxOperation;

extern const CxOperation cx_operation_source;
extern const CxOperation cx_operation_run;
extern const CxOperation cx_operation_copy;

const CxOperation *cx_operation_of(const CxVertex *vertex);

/* The definition key of a job: equal keys are the same work. */
CxDigest cx_job_key(const CxJob *job);

/* The file at path beneath the project root, as its user may see it: links are followed as long as
 * they stay in the root; with CX_BUILD_HOST_PATHS an absolute path is taken as it is.  Returns an
 * fd opened with open_flags, or -1. */
int cx_plan_open(const CxPlan *plan, const char *path, int open_flags, GError **error);

/* Hands an ended container to the undertaker: it waits until the runtime has deleted it, then
 * removes its bundle. */
void cx_engine_bury(CxEngine *self,
                    CxStepProcess *take_process,
                    CxCgroup *take_cgroup,
                    char *take_bundle);

/* Waits until every container buried so far, and every file system it had, is gone. */
void cx_engine_settle(CxEngine *self);

G_END_DECLS
