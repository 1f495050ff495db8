/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solver.h"

#include <string.h>

#include "base/error.h"
#include "build/explain.h"

typedef enum {
    VERTEX_WAITING, /* for its inputs, or for a place */
    VERTEX_RUNNING, /* has a ticket */
    VERTEX_SOLVED,  /* has a state */
    VERTEX_FAILED,
} VertexPhase;

typedef struct Solver Solver;

/* One vertex on its way.  Fields below `phase` are under the solver's lock while it runs. */
typedef struct {
    Solver *solver;
    const CxVertex *vertex;
    guint
        missing; /* inputs not solved yet; as users and ticket only touched by the solving thread */
    GArray *users;    /* (owned) of guint: vertices that this one is an input of */
    CxTicket *ticket; /* (owned) while running */
    gint64 started;   /* monotonic */
    VertexPhase phase;
    CxState *state; /* (owned) when solved */
    gboolean cached;
    char *why;     /* (owned) */
    GError *error; /* (owned) when failed */
} Node;

struct Solver {
    CxEngine *engine;
    CxPlan *plan;
    CxReporter *reporter;
    Node *nodes; /* (owned) n_nodes */
    guint n_nodes;
    char **containers; /* (owned) by stage: name for people */
    CxPlatformText platform;
    GQueue ready; /* of borrowed Node: inputs known, waiting for a place; as running only the
                     solving thread's */
    guint running;

    GMutex lock;
    GCond changed;
    GQueue ended; /* of borrowed Node: not yet seen by the solving thread; under lock */
};

/* ---- events ---------------------------------------------------------------------------------- */

void
cx_reporter_send(CxReporter *self, const CxStepEvent *event)
{
    if (self->request->observer == NULL)
        return;

    g_mutex_lock(&self->lock);
    self->request->observer(self->request->user, event);
    g_mutex_unlock(&self->lock);
}

static CxStepEvent
event_of(const Node *node, CxStepEventType type)
{
    const Solver *solver = node->solver;
    const CxGraphStage *stage = g_ptr_array_index(solver->plan->graph->stages, node->vertex->stage);

    return (CxStepEvent){
        .type = type,
        .platform = solver->platform.text,
        .stage = stage->label,
        .container = solver->containers[node->vertex->stage],
        .step = node->vertex->step,
        .line = node->vertex->line,
        .title = node->vertex->title,
    };
}

static void
on_log(gpointer user, const char *data, gsize size, gboolean is_stderr)
{
    Node *node = user;
    CxStepEvent event = event_of(node, CX_STEP_LOG);

    event.data = data;
    event.size = size;
    event.is_stderr = is_stderr;
    cx_reporter_send(node->solver->reporter, &event);
}

static void
on_done(gpointer user, const CxOutcome *outcome, const GError *error)
{
    Node *node = user;
    Solver *solver = node->solver;

    g_mutex_lock(&solver->lock);
    if (outcome != NULL) {
        node->state = cx_state_ref(outcome->state);
        node->cached = outcome->cached;
        if (outcome->why != NULL) {
            g_free(node->why);
            node->why = g_strdup(outcome->why);
        }
        node->phase = VERTEX_SOLVED;
    } else {
        node->error = g_error_copy(error);
        node->phase = VERTEX_FAILED;
    }
    g_queue_push_tail(&solver->ended, node);
    g_cond_signal(&solver->changed);
    g_mutex_unlock(&solver->lock);
}

static void
on_cancelled(gpointer user)
{
    Solver *solver = user;

    g_mutex_lock(&solver->lock);
    g_cond_signal(&solver->changed);
    g_mutex_unlock(&solver->lock);
}

/* ---- starting -------------------------------------------------------------------------------- */

static CxState *
state_of(const Solver *self, guint vertex)
{
    return vertex == CX_NO_VERTEX ? NULL : cx_state_ref(self->nodes[vertex].state);
}

static gboolean
run_job(
    gpointer data, CxFlight *flight, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    CxJob *job = data;

    if (!cx_operation_of(job->vertex)->run(job, flight, out_outcome, cancellable, error))
        return FALSE;

    if (!out_outcome->cached)
        cx_explain_note(job);
    return TRUE;
}

/* A build without cache shares its work only with others of its kind. */
static CxDigest
flight_key(const CxJob *job)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    CxDigest key = cx_job_key(job);

    cx_hasher_field_digest(hasher, &key);
    cx_hasher_field_number(hasher, job->plan->flags & CX_BUILD_NO_CACHE);
    return cx_hasher_finish(hasher);
}

static void
start(Solver *self, Node *node)
{
    CxFlightListener listener = {.log = on_log, .done = on_done, .user = node};
    CxStepEvent event = event_of(node, CX_STEP_STARTED);
    CxJob *job = g_new0(CxJob, 1);
    CxDigest key;

    job->engine = self->engine;
    job->plan = cx_plan_ref(self->plan);
    job->vertex = node->vertex;
    job->input = state_of(self, node->vertex->input);
    job->from = state_of(self, node->vertex->from);
    key = flight_key(job);
    if (self->plan->flags & CX_BUILD_EXPLAIN)
        node->why = cx_explain_job(job);

    cx_reporter_send(self->reporter, &event);
    node->phase = VERTEX_RUNNING;
    node->started = g_get_monotonic_time();
    self->running++;
    node->ticket = cx_flights_join(self->engine->flights, &key, run_job, job,
                                   (GDestroyNotify)cx_job_free, &listener);
}

static void
start_what_can(Solver *self)
{
    while (self->running < self->engine->options.parallel && !g_queue_is_empty(&self->ready))
        start(self, g_queue_pop_head(&self->ready));
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void
report_end(Node *node)
{
    CxStepEvent event = event_of(node, node->phase == VERTEX_FAILED ? CX_STEP_FAILED
                                       : node->cached               ? CX_STEP_CACHED
                                                                    : CX_STEP_DONE);

    event.duration = g_get_monotonic_time() - node->started;
    event.text = node->error != NULL ? node->error->message : node->cached ? NULL : node->why;
    cx_reporter_send(node->solver->reporter, &event);
}

/* The place of a failure, in the words of the recipe's own errors. */
static void
propagate_failure(Node *node, GError **error)
{
    const CxVertex *vertex = node->vertex;
    const CxGraphStage *stage = g_ptr_array_index(node->solver->plan->graph->stages, vertex->stage);
    gboolean named = !g_ascii_isdigit(stage->label[0]);
    const char *quote = named ? "\"" : "";

    g_propagate_error(error, g_steal_pointer(&node->error));
    if (vertex->step == 0)
        g_prefix_error(error, "stage %s%s%s: ", quote, stage->label, quote);
    else if (vertex->line != 0)
        g_prefix_error(error, "stage %s%s%s: step %u (line %u): ", quote, stage->label, quote,
                       vertex->step, vertex->line);
    else
        g_prefix_error(error, "stage %s%s%s: step %u: ", quote, stage->label, quote, vertex->step);
}

/* Takes one vertex that has ended; FALSE when it failed. */
static gboolean
settle(Solver *self, Node *node, GError **error)
{
    g_clear_pointer(&node->ticket, cx_ticket_leave);
    self->running--;
    report_end(node);
    if (node->phase == VERTEX_FAILED) {
        propagate_failure(node, error);
        return FALSE;
    }
    for (guint i = 0; i < node->users->len; i++) {
        Node *user = &self->nodes[g_array_index(node->users, guint, i)];

        if (--user->missing == 0)
            g_queue_push_tail(&self->ready, user);
    }
    return TRUE;
}

/* Waits for the next vertex to end; NULL when the build was cancelled. */
static Node *
wait_for_one(Solver *self, CxCancel *cancellable)
{
    Node *node;

    g_mutex_lock(&self->lock);
    while ((node = g_queue_pop_head(&self->ended)) == NULL && !cx_cancel_is_triggered(cancellable))
        g_cond_wait(&self->changed, &self->lock);
    g_mutex_unlock(&self->lock);
    return node;
}

static gboolean
solve_all(Solver *self, CxCancel *cancellable, GError **error)
{
    guint left = self->n_nodes;

    while (left > 0) {
        Node *node;

        if (cx_check_cancelled(cancellable, error))
            return FALSE;
        start_what_can(self);
        node = wait_for_one(self, cancellable);
        if (node == NULL) {
            (void)cx_check_cancelled(cancellable, error);
            return FALSE;
        }
        if (!settle(self, node, error))
            return FALSE;
        left--;
    }
    return TRUE;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static char *
slug(const char *text)
{
    return g_strdelimit(g_strdup(text), "/", '-');
}

static void
connect_inputs(Solver *self)
{
    for (guint i = 0; i < self->n_nodes; i++) {
        const guint inputs[] = {self->nodes[i].vertex->input, self->nodes[i].vertex->from};

        for (gsize k = 0; k < G_N_ELEMENTS(inputs); k++)
            if (inputs[k] != CX_NO_VERTEX) {
                g_array_append_val(self->nodes[inputs[k]].users, i);
                self->nodes[i].missing++;
            }
        if (self->nodes[i].missing == 0)
            g_queue_push_tail(&self->ready, &self->nodes[i]);
    }
}

static void
solver_init(Solver *self, CxEngine *engine, CxPlan *plan, CxReporter *reporter)
{
    const CxGraph *graph = plan->graph;
    g_autofree char *resource = slug(plan->resource);
    CxPlatformText platform = cx_platform_slug(&graph->platform);

    *self = (Solver){
        .engine = engine, .plan = plan, .reporter = reporter, .n_nodes = graph->vertices->len};
    self->platform = cx_platform_text(&graph->platform);
    self->nodes = g_new0(Node, self->n_nodes);
    self->containers = g_new0(char *, graph->stages->len + 1);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    g_queue_init(&self->ended);
    g_queue_init(&self->ready);
    for (guint i = 0; i < self->n_nodes; i++)
        self->nodes[i] = (Node){.solver = self,
                                .vertex = g_ptr_array_index(graph->vertices, i),
                                .users = g_array_new(FALSE, FALSE, sizeof(guint))};
    connect_inputs(self);
    for (guint i = 0; i < graph->stages->len; i++) {
        const CxGraphStage *stage = g_ptr_array_index(graph->stages, i);

        self->containers[i] =
            g_strdup_printf("%s-%s-stage-%s", resource, platform.text, stage->label);
    }
}

static void
solver_clear(Solver *self)
{
    for (guint i = 0; i < self->n_nodes; i++) {
        Node *node = &self->nodes[i];

        cx_ticket_leave(node->ticket);
        g_clear_pointer(&node->state, cx_state_unref);
        g_clear_error(&node->error);
        g_free(node->why);
        g_array_unref(node->users);
    }
    g_free(self->nodes);
    g_strfreev(self->containers);
    g_queue_clear(&self->ended);
    g_queue_clear(&self->ready);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
}

void
cx_solution_clear(CxSolution *self)
{
    g_clear_pointer(&self->output, cx_state_unref);
}

gboolean
cx_solve(CxEngine *engine,
         CxPlan *plan,
         CxReporter *reporter,
         CxSolution *out_solution,
         CxCancel *cancellable,
         GError **error)
{
    const CxGraphStage *output = g_ptr_array_index(plan->graph->stages, plan->graph->output);
    Solver solver;
    guint handler;
    gboolean ok;

    solver_init(&solver, engine, plan, reporter);
    handler = cx_cancel_connect(cancellable, on_cancelled, &solver);
    ok = solve_all(&solver, cancellable, error);
    cx_cancel_disconnect(cancellable, handler);
    if (ok) {
        out_solution->output = state_of(&solver, output->result);
        out_solution->steps = solver.n_nodes;
        for (guint i = 0; i < solver.n_nodes; i++)
            out_solution->cached += solver.nodes[i].cached ? 1 : 0;
    }
    solver_clear(&solver);
    return ok;
}
