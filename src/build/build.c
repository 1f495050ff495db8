/* SPDX-License-Identifier: Apache-2.0 */
/* A build request: one graph for each platform, solved side by side, then made into images. */
#include "base/error.h"
#include "build/finish.h"
#include "build/solver.h"

void
cx_built_image_free(CxBuiltImage *self)
{
    if (self == NULL)
        return;

    g_free(self->path);
    g_free(self);
}

/* One platform of a request, on a thread of its own when there are several. */
typedef struct {
    CxEngine *engine;
    const CxBuildRequest *request;
    const CxPlatform *platform;
    CxReporter *reporter;
    CxCancel *cancellable; /* shared: the first failure ends the others */
    CxFinish *finish;      /* (owned) result, not yet published */
    GError *error;         /* (owned) */
} Platform;

static CxFinish *
prepare(Platform *self, CxPlan *plan, const CxSolution *solution, GError **error)
{
    CxPlatformText platform = cx_platform_text(self->platform);
    CxStepEvent event = {.type = CX_STEP_STARTED,
                         .platform = platform.text,
                         .stage = "image",
                         .container = "",
                         .step = G_MAXUINT,
                         .title =
                             self->request->output != NULL ? "write image.tar" : "store image"};
    gint64 started = g_get_monotonic_time();
    CxFinish *finish;

    cx_reporter_send(self->reporter, &event);
    finish =
        cx_finish_prepare(self->engine, plan, self->request, solution, self->cancellable, error);
    event.type = finish != NULL ? CX_STEP_DONE : CX_STEP_FAILED;
    event.duration = g_get_monotonic_time() - started;
    event.text = finish == NULL ? (*error)->message : NULL;
    cx_reporter_send(self->reporter, &event);
    return finish;
}

static CxFinish *
build_platform(Platform *self, GError **error)
{
    CxGraph *graph = cx_recipe_to_graph(self->request->recipe, self->platform, error);
    g_autoptr(CxPlan) plan = NULL;
    g_auto(CxSolution) solution = {NULL, 0, 0};

    if (graph == NULL)
        return NULL;
    plan = cx_plan_new(self->request, graph, error);
    if (plan == NULL ||
        !cx_solve(self->engine, plan, self->reporter, &solution, self->cancellable, error))
        return NULL;

    return prepare(self, plan, &solution, error);
}

static gpointer
platform_thread(gpointer data)
{
    Platform *self = data;

    self->finish = build_platform(self, &self->error);
    if (self->finish == NULL)
        cx_cancel_trigger(self->cancellable);
    return NULL;
}

static void
run_all(Platform *platforms, guint n)
{
    g_autofree GThread **threads = g_new0(GThread *, n);

    /* The last one is done by this thread: a build for one platform starts none. */
    for (guint i = 0; i + 1 < n; i++)
        threads[i] = g_thread_new("platform", platform_thread, &platforms[i]);
    (void)platform_thread(&platforms[n - 1]);
    for (guint i = 0; i + 1 < n; i++)
        (void)g_thread_join(threads[i]);
}

/* The failure that came first is the one that did not come from cancelling. */
static const GError *
choose_error(const Platform *platforms, guint n)
{
    const GError *chosen = NULL;

    for (guint i = 0; i < n; i++)
        if (platforms[i].error != NULL &&
            (chosen == NULL || cx_error_is(chosen, CX_ERROR_CANCELLED)))
            chosen = platforms[i].error;
    return chosen;
}

static void
on_cancelled(gpointer inner)
{
    cx_cancel_trigger(inner);
}

/* All platforms are whole: now each gets its name and its place. */
static GPtrArray *
publish_all(Platform *platforms, guint n, GError **error)
{
    g_autoptr(GPtrArray) images =
        g_ptr_array_new_with_free_func((GDestroyNotify)cx_built_image_free);

    for (guint i = 0; i < n; i++)
        if (!cx_finish_name(platforms[i].finish, error))
            return NULL;

    for (guint i = 0; i < n; i++) {
        CxBuiltImage *image = cx_finish_publish(platforms[i].finish, error);

        if (image == NULL)
            return NULL;
        g_ptr_array_add(images, image);
    }
    return g_steal_pointer(&images);
}

GPtrArray *
cx_engine_build(CxEngine *self,
                const CxBuildRequest *request,
                CxCancel *cancellable,
                GError **error)
{
    g_autofree Platform *platforms = g_new0(Platform, request->n_platforms);
    g_autoptr(CxCancel) inner = cx_cancel_new();
    CxReporter reporter = {.request = request};
    GPtrArray *images = NULL;
    const GError *failure;
    guint handler;

    g_return_val_if_fail(request->n_platforms > 0, NULL);

    g_mutex_init(&reporter.lock);
    for (guint i = 0; i < request->n_platforms; i++)
        platforms[i] =
            (Platform){self, request, &request->platforms[i], &reporter, inner, NULL, NULL};
    handler = cx_cancel_connect(cancellable, on_cancelled, inner);
    run_all(platforms, request->n_platforms);
    cx_cancel_disconnect(cancellable, handler);
    g_mutex_clear(&reporter.lock);

    failure = choose_error(platforms, request->n_platforms);
    if (failure != NULL)
        g_propagate_error(error, g_error_copy(failure));
    else if (!cx_check_cancelled(cancellable, error))
        images = publish_all(platforms, request->n_platforms, error);

    for (guint i = 0; i < request->n_platforms; i++) {
        cx_finish_free(platforms[i].finish);
        g_clear_error(&platforms[i].error);
    }
    cx_engine_settle(self);
    return images;
}
