/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "build/operation.h"

G_BEGIN_DECLS

/* Events of one build, sent one at a time. */
typedef struct {
    const CxBuildRequest *request;
    GMutex lock;
} CxReporter;

void cx_reporter_send(CxReporter *self, const CxStepEvent *event);

/* What the solver found out of one graph. */
typedef struct {
    CxState *output; /* (owned) state of the stage that is exported */
    guint steps;
    guint cached;
} CxSolution;

void cx_solution_clear(CxSolution *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxSolution, cx_solution_clear)

/* Solves every vertex of plan->graph: as soon as its inputs are known and a place is free.  The
 * first failure ends the others.  Blocks; when it returns, nothing of this build runs any more. */
gboolean cx_solve(CxEngine *engine,
                  CxPlan *plan,
                  CxReporter *reporter,
                  CxSolution *out_solution,
                  CxCancel *cancellable,
                  GError **error);

G_END_DECLS
