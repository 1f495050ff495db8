/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe becomes a graph in three walks: the steps of each stage that are meant for the platform
 * are laid in a row, groups opened (activate); the stages that the output needs are marked,
 * backwards along the copies (mark_needed); then every step of a needed stage either changes the
 * state or becomes a vertex that holds what it needs of it (add_step). */
#include "recipe/graph.h"

#include <string.h>

#include "base/error.h"
#include "recipe/one-line.h"
#include "recipe/recipe-private.h"

#define DEFAULT_SHELL "/bin/sh"
#define TITLE_MAX 80

/* ---- the graph ---- */

static void
free_vertex(gpointer data)
{
    CxVertex *vertex = data;

    g_free(vertex->source);
    g_free(vertex->shell);
    g_free(vertex->command);
    g_free(vertex->dest);
    g_strfreev(vertex->env);
    g_free(vertex->workdir);
    g_free(vertex->title);
    g_free(vertex);
}

static void
free_graph_stage(gpointer data)
{
    CxGraphStage *stage = data;

    g_free(stage->label);
    g_strfreev(stage->env);
    g_free(stage->workdir);
    g_free(stage);
}

static CxGraph *
graph_new(const CxPlatform *platform)
{
    CxGraph *self = g_new0(CxGraph, 1);

    self->platform = *platform;
    self->vertices = g_ptr_array_new_with_free_func(free_vertex);
    self->stages = g_ptr_array_new_with_free_func(free_graph_stage);
    return self;
}

void
cx_graph_free(CxGraph *self)
{
    if (self == NULL)
        return;

    g_ptr_array_unref(self->vertices);
    g_ptr_array_unref(self->stages);
    g_free(self);
}

/* ---- state ---- */

/* What steps without operation set for those that follow (spec/daemon.md §5, "Step state"). */
typedef struct {
    char *shell;   /* (owned) */
    char *workdir; /* (owned) "" is the image's own */
    GTree *env;    /* (owned) (owned char *) "NAME=value", by NAME */
} State;

static gint
compare_env(gconstpointer a, gconstpointer b, gpointer user)
{
    return cx_env_compare(a, b);
}

static void
state_init(State *self)
{
    self->shell = g_strdup(DEFAULT_SHELL);
    self->workdir = g_strdup("");
    self->env = g_tree_new_full(compare_env, NULL, g_free, NULL);
}

static void
state_clear(State *self)
{
    g_free(self->shell);
    g_free(self->workdir);
    g_clear_pointer(&self->env, g_tree_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(State, state_clear)

/* The working directory that a step has on top of base, or NULL. */
static char *
join_workdir(const char *base, const CxStep *step, GError **error)
{
    g_autofree char *workdir =
        step->workdir != NULL ? cx_workdir_join(base, step->workdir) : g_strdup(base);

    if (strlen(workdir) > CX_RECIPE_PATH_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "workdir is longer than %d bytes",
                             CX_RECIPE_PATH_MAX);

    return g_steal_pointer(&workdir);
}

static gboolean
state_apply(State *self, const CxStep *step, GError **error)
{
    char *workdir = join_workdir(self->workdir, step, error);

    if (workdir == NULL)
        return FALSE;

    g_free(self->workdir);
    self->workdir = workdir;
    if (step->shell != NULL) {
        g_free(self->shell);
        self->shell = g_strdup(step->shell);
    }
    for (gsize i = 0; step->env != NULL && step->env[i] != NULL; i++)
        g_tree_replace(self->env, g_strdup(step->env[i]), NULL);
    return TRUE;
}

static gboolean
copy_entry(gpointer entry, gpointer value, gpointer user)
{
    g_tree_replace(user, g_strdup(entry), NULL);
    return FALSE;
}

static void
state_init_copy(State *self, const State *other)
{
    self->shell = g_strdup(other->shell);
    self->workdir = g_strdup(other->workdir);
    self->env = g_tree_new_full(compare_env, NULL, g_free, NULL);
    g_tree_foreach(other->env, copy_entry, self->env);
}

static gboolean
collect_entry(gpointer entry, gpointer value, gpointer user)
{
    g_strv_builder_add(user, entry);
    return FALSE;
}

static GStrv
state_dup_env(const State *self)
{
    g_autoptr(GStrvBuilder) entries = g_strv_builder_new();

    g_tree_foreach(self->env, collect_entry, entries);
    return g_strv_builder_end(entries);
}

static gboolean
add_size(gpointer entry, gpointer value, gpointer user)
{
    *(gsize *)user += strlen(entry) + 1;
    return FALSE;
}

static gsize
state_env_size(const State *self)
{
    gsize size = 0;

    g_tree_foreach(self->env, add_size, &size);
    return size;
}

/* ---- builder ---- */

/* A step meant for the platform. */
typedef struct {
    const CxStep *step;
    guint number; /* 1-based in its stage */
    guint child;  /* 1-based in its platform group; 0: not in one */
} ActiveStep;

/* A stage of the recipe on its way into the graph. */
typedef struct {
    const CxStage *stage;
    GArray *steps; /* (owned) of ActiveStep; NULL: the stage is for another platform */
    gboolean needed;
    guint graph_index; /* once built */
} Plan;

typedef struct {
    const CxRecipe *recipe;
    CxPlatform platform;
    Plan *plans;         /* (owned) one for each stage of the recipe */
    GHashTable *by_name; /* (owned) (borrowed char *) -> index of the stage */
    gsize env_size;      /* of all vertices so far */
    CxGraph *graph;      /* (owned) */
} Builder;

static void
builder_clear(Builder *self)
{
    for (guint i = 0; i < self->recipe->stages->len; i++)
        g_clear_pointer(&self->plans[i].steps, g_array_unref);
    g_free(self->plans);
    g_hash_table_unref(self->by_name);
    cx_graph_free(self->graph);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Builder, builder_clear)

static gboolean
is_for_platform(const char *text, const CxPlatform *platform)
{
    CxPlatform parsed;

    return text == NULL ||
           (cx_platform_parse(text, &parsed, NULL) && cx_platform_equal(&parsed, platform));
}

/* A group stands for its modifiers, then its children follow. */
static void
activate(GArray *out, const CxStep *step, guint number, guint child, const CxPlatform *platform)
{
    ActiveStep active = {step, number, child};

    if (!is_for_platform(step->platform, platform))
        return;

    g_array_append_val(out, active);
    for (guint i = 0; i < step->steps->len; i++)
        activate(out, g_ptr_array_index(step->steps, i), number, i + 1, platform);
}

static void
plan_stage(Builder *self, guint index)
{
    Plan *plan = &self->plans[index];

    plan->stage = g_ptr_array_index(self->recipe->stages, index);
    if (plan->stage->name != NULL)
        g_hash_table_insert(self->by_name, plan->stage->name, GUINT_TO_POINTER(index));
    if (!is_for_platform(plan->stage->platform, &self->platform))
        return;

    plan->steps = g_array_new(FALSE, FALSE, sizeof(ActiveStep));
    for (guint i = 0; i < plan->stage->steps->len; i++)
        activate(plan->steps, g_ptr_array_index(plan->stage->steps, i), i + 1, 0, &self->platform);
}

static void
builder_init(Builder *self, const CxRecipe *recipe, const CxPlatform *platform)
{
    self->recipe = recipe;
    self->platform = *platform;
    self->plans = g_new0(Plan, recipe->stages->len);
    self->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    self->graph = graph_new(platform);
    for (guint i = 0; i < recipe->stages->len; i++)
        plan_stage(self, i);
}

/* ---- which stages ---- */

static char *
list_output_platforms(const CxRecipe *recipe)
{
    GString *list = g_string_new(NULL);

    for (guint i = 0; i < recipe->stages->len; i++) {
        const CxStage *stage = g_ptr_array_index(recipe->stages, i);

        if (!stage->transient && stage->platform != NULL)
            g_string_append_printf(list, "%s%s", list->len > 0 ? ", " : "", stage->platform);
    }
    return g_string_free(list, FALSE);
}

static gboolean
find_output(Builder *self, guint *out_index, GError **error)
{
    CxPlatformText text = cx_platform_text(&self->platform);
    g_autofree char *others = NULL;
    gboolean found = FALSE;

    for (guint i = 0; i < self->recipe->stages->len; i++) {
        const Plan *plan = &self->plans[i];

        if (plan->stage->transient || plan->steps == NULL ||
            (found && plan->stage->platform == NULL))
            continue;
        *out_index = i;
        found = TRUE;
    }
    if (found)
        return TRUE;

    others = list_output_platforms(self->recipe);
    return cx_throw(error, CX_ERROR_INVALID, "the recipe has no output stage for %s (only for %s)",
                    text.text, others);
}

/* The stage that a copy reads, or NULL with an error.  user is the index of the stage that the copy
 * stands in. */
static Plan *
find_stage(Builder *self, const char *name, guint user, GError **error)
{
    g_autofree char *quoted = cx_quote(name);
    gpointer index;

    if (!g_hash_table_lookup_extended(self->by_name, name, NULL, &index) ||
        GPOINTER_TO_UINT(index) >= user)
        return cx_throw_null(error, CX_ERROR_INVALID, "unknown stage %s", quoted);
    if (self->plans[GPOINTER_TO_UINT(index)].steps == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID,
                             "unknown stage %s (it is for platform %s only)", quoted,
                             self->plans[GPOINTER_TO_UINT(index)].stage->platform);

    return &self->plans[GPOINTER_TO_UINT(index)];
}

typedef struct {
    char *source; /* (owned) */
    char *dest;   /* (owned) */
    Plan *from;   /* borrowed; NULL: the context */
} Copy;

static void
copy_clear(Copy *self)
{
    g_free(self->source);
    g_free(self->dest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Copy, copy_clear)

static gboolean
parse_copy(Builder *self, const char *text, guint user, Copy *out_copy, GError **error)
{
    g_autofree char *stage = NULL;
    char *path;

    if (!cx_copy_parse(text, &out_copy->source, &out_copy->dest, error))
        return FALSE;
    if (!cx_copy_parse_stage(out_copy->source, &stage, &path))
        return TRUE;

    g_free(out_copy->source);
    out_copy->source = path;
    out_copy->from = find_stage(self, stage, user, error);
    return out_copy->from != NULL;
}

/* Puts the place of a step before the error that was raised.  Yields FALSE. */
static gboolean
locate(const Plan *plan, guint index, const ActiveStep *active, GError **error)
{
    g_autofree char *label = cx_stage_label(plan->stage, index);

    if (active != NULL && active->child > 0)
        g_prefix_error(error, "step %u: ", active->child);
    if (active != NULL)
        g_prefix_error(error, "step %u: ", active->number);
    g_prefix_error(error, "stage %s: ", label);
    return FALSE;
}

/* Marks the stages that stage `index` copies from. */
static gboolean
mark_sources(Builder *self, guint index, GError **error)
{
    const Plan *plan = &self->plans[index];

    for (guint i = 0; i < plan->steps->len; i++) {
        const ActiveStep *active = &g_array_index(plan->steps, ActiveStep, i);
        g_auto(Copy) copy = {0};

        if (active->step->copy == NULL)
            continue;
        if (!parse_copy(self, active->step->copy, index, &copy, error))
            return locate(plan, index, active, error);
        if (copy.from != NULL)
            copy.from->needed = TRUE;
    }
    return TRUE;
}

/* Copies lead backwards only, so one walk from the output to the front sees everything. */
static gboolean
mark_needed(Builder *self, guint output, GError **error)
{
    self->plans[output].needed = TRUE;
    for (guint i = output + 1; i-- > 0;)
        if (self->plans[i].needed && !mark_sources(self, i, error))
            return FALSE;

    return TRUE;
}

/* ---- vertices ---- */

static char *
make_title(const char *verb, const char *text)
{
    g_autofree char *whole = g_strconcat(verb, " ", text, NULL);

    return cx_one_line(whole, TITLE_MAX);
}

static CxVertex *
vertex_new(Builder *self, CxOp op, guint input)
{
    CxVertex *vertex = g_new0(CxVertex, 1);

    vertex->op = op;
    vertex->input = input;
    vertex->from = CX_NO_VERTEX;
    vertex->stage = self->graph->stages->len - 1;
    g_ptr_array_add(self->graph->vertices, vertex);
    return vertex;
}

static gboolean
add_source(Builder *self, const CxStage *stage, GError **error)
{
    CxVertex *vertex = vertex_new(self, CX_OP_SOURCE, CX_NO_VERTEX);
    g_autofree char *quoted = NULL;

    vertex->line = stage->place.line;
    vertex->title = make_title("from", stage->from);
    if (!cx_from_parse(stage->from, &vertex->source_kind, &vertex->source, error))
        return FALSE;
    if (vertex->source_kind != CX_FROM_REF)
        return TRUE;

    quoted = cx_quote(vertex->source);
    return cx_throw(error, CX_ERROR_INVALID,
                    "unresolved source %s (a Crucible reference; the client must turn it into a "
                    "file or an oci image)",
                    quoted);
}

/* Modifiers of an operation hold for it alone: they change a copy of the state. */
static gboolean
fill_run(Builder *self, CxVertex *vertex, const CxStep *step, const State *state, GError **error)
{
    g_auto(State) own = {0};

    state_init_copy(&own, state);
    if (!state_apply(&own, step, error))
        return FALSE;
    self->env_size += state_env_size(&own);
    if (self->env_size > CX_GRAPH_ENV_MAX)
        return cx_throw(error, CX_ERROR_LIMIT,
                        "the environments of all steps are larger than %d bytes", CX_GRAPH_ENV_MAX);

    vertex->command = g_strdup(step->run);
    vertex->shell = g_strdup(own.shell);
    vertex->workdir = g_strdup(own.workdir);
    vertex->env = state_dup_env(&own);
    vertex->title = make_title("run", step->run);
    return TRUE;
}

static gboolean
fill_copy(Builder *self,
          CxVertex *vertex,
          const CxStep *step,
          const State *state,
          guint stage,
          GError **error)
{
    g_auto(Copy) copy = {0};

    vertex->workdir = join_workdir(state->workdir, step, error);
    if (vertex->workdir == NULL || !parse_copy(self, step->copy, stage, &copy, error))
        return FALSE;

    if (copy.from != NULL) {
        const CxGraphStage *from = g_ptr_array_index(self->graph->stages, copy.from->graph_index);

        vertex->from = from->result;
    }
    vertex->source = g_steal_pointer(&copy.source);
    vertex->dest = g_steal_pointer(&copy.dest);
    vertex->title = make_title("copy", step->copy);
    return TRUE;
}

static gboolean
add_operation(
    Builder *self, const ActiveStep *active, const State *state, guint stage, GError **error)
{
    const CxStep *step = active->step;
    CxVertex *vertex = vertex_new(self, step->run != NULL ? CX_OP_RUN : CX_OP_COPY,
                                  self->graph->vertices->len - 1);

    vertex->step = active->number;
    vertex->child = active->child;
    vertex->line = step->place.line;
    return step->run != NULL ? fill_run(self, vertex, step, state, error)
                             : fill_copy(self, vertex, step, state, stage, error);
}

static gboolean
add_step(Builder *self, const ActiveStep *active, State *state, guint stage, GError **error)
{
    if (active->step->run != NULL || active->step->copy != NULL)
        return add_operation(self, active, state, stage, error);

    return state_apply(state, active->step, error);
}

static gboolean
add_stage(Builder *self, guint index, GError **error)
{
    Plan *plan = &self->plans[index];
    CxGraphStage *stage = g_new0(CxGraphStage, 1);
    g_auto(State) state = {0};

    plan->graph_index = self->graph->stages->len;
    g_ptr_array_add(self->graph->stages, stage);
    stage->label =
        plan->stage->name != NULL ? g_strdup(plan->stage->name) : g_strdup_printf("%u", index + 1);
    stage->transient = plan->stage->transient;
    if (!add_source(self, plan->stage, error))
        return locate(plan, index, NULL, error);

    state_init(&state);
    for (guint i = 0; i < plan->steps->len; i++) {
        const ActiveStep *active = &g_array_index(plan->steps, ActiveStep, i);

        if (!add_step(self, active, &state, index, error))
            return locate(plan, index, active, error);
    }

    stage->result = self->graph->vertices->len - 1;
    stage->env = state_dup_env(&state);
    stage->workdir = g_strdup(state.workdir);
    return TRUE;
}

CxGraph *
cx_recipe_to_graph(const CxRecipe *recipe, const CxPlatform *platform, GError **error)
{
    g_auto(Builder) builder = {0};
    guint output = 0;

    builder_init(&builder, recipe, platform);
    if (!find_output(&builder, &output, error) || !mark_needed(&builder, output, error))
        return NULL;

    for (guint i = 0; i <= output; i++)
        if (builder.plans[i].needed && !add_stage(&builder, i, error))
            return NULL;

    builder.graph->output = builder.plans[output].graph_index;
    return g_steal_pointer(&builder.graph);
}
