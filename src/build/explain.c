/* SPDX-License-Identifier: Apache-2.0 */
#include "build/explain.h"

#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "layer/compare.h"

static char *
place_of(const CxJob *job)
{
    const CxGraph *graph = job->plan->graph;
    const CxGraphStage *stage = g_ptr_array_index(graph->stages, job->vertex->stage);

    return g_strdup_printf("%s %s %s %u", job->plan->resource,
                           cx_platform_text(&graph->platform).text, stage->label,
                           job->vertex->step);
}

/* How many files a reason names. */
#define FILES_NAMED 5

/* What a key is made of, by the names people know the parts by. */
static json_t *
parts_of(const CxJob *job)
{
    const CxVertex *vertex = job->vertex;
    json_t *parts = json_object();
    g_autofree char *env = g_strjoinv(" ", vertex->env == NULL ? (char *[]){NULL} : vertex->env);
    const struct {
        const char *name;
        const char *value;
    } texts[] = {
        {"command",     vertex->command},
        {"shell",       vertex->shell  },
        {"environment", env            },
        {"workdir",     vertex->workdir},
        {"source",      vertex->source },
        {"destination", vertex->dest   },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        if (texts[i].value != NULL)
            json_object_set_new(parts, texts[i].name, json_string(texts[i].value));
    if (job->input != NULL)
        json_object_set_new(parts, "an earlier step",
                            json_string(cx_digest_text(cx_state_get_identity(job->input)).text));
    if (job->from != NULL)
        json_object_set_new(parts, "the stage copied from",
                            json_string(cx_digest_text(cx_state_get_identity(job->from)).text));
    return parts;
}

static char *
compare(const json_t *before, const json_t *now)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)now, name, value)
    {
        const json_t *old = json_object_get(before, name);
        gboolean is_state = strchr(name, ' ') != NULL;

        if (old != NULL && json_equal(old, value))
            continue;
        g_string_append_printf(text, "%s%s changed", text->len > 0 ? ", " : "", name);
        if (!is_state && json_is_string(old))
            g_string_append_printf(text, " (it was \"%.60s\")", json_string_value(old));
    }
    return text->len == 0 ? NULL : g_string_free(g_steal_pointer(&text), FALSE);
}

void
cx_explain_note(const CxJob *job)
{
    g_autofree char *place = place_of(job), *text = NULL;
    g_autoptr(json_t) now = parts_of(job);

    text = cx_json_canonical(now);
    (void)cx_meta_put_place(cx_store_get_meta(job->engine->options.store), place, text, NULL);
}

char *
cx_explain_job(const CxJob *job)
{
    CxMeta *meta = cx_store_get_meta(job->engine->options.store);
    g_autofree char *place = place_of(job), *last = cx_meta_get_place(meta, place, NULL);
    g_autoptr(json_t) now = parts_of(job);
    g_autoptr(json_t) before = last == NULL ? NULL : cx_json_parse(last, strlen(last), NULL);
    char *difference;

    if (job->plan->flags & CX_BUILD_NO_CACHE)
        return g_strdup("--no-cache was given");
    if (before == NULL)
        return g_strdup("this step has not been built here before");

    difference = compare(before, now);
    if (difference != NULL)
        return difference;

    return g_strdup(job->vertex->op == CX_OP_RUN ? "its result is not in the cache any more"
                                                 : "the files themselves changed");
}

static GStrv
compare_layers(CxLayerStore *layers, const CxDigest *before, const CxDigest *now)
{
    g_autoptr(CxErofsIndex) old_index = cx_layer_store_open_index(layers, before, NULL);
    g_autoptr(CxErofsIndex) new_index = cx_layer_store_open_index(layers, now, NULL);
    cx_autofd int old_fd = cx_layer_store_open_tar(layers, before, NULL, NULL);
    cx_autofd int new_fd = cx_layer_store_open_tar(layers, now, NULL, NULL);
    CxComparedLayer old_layer = {old_index, old_fd}, new_layer = {new_index, new_fd};

    if (old_index == NULL || new_index == NULL || old_fd < 0 || new_fd < 0)
        return NULL;

    return cx_layer_compare(&old_layer, &new_layer, FILES_NAMED, NULL);
}

char *
cx_explain_copy(const CxJob *job, const CxDigest *diff_id)
{
    CxStore *store = job->engine->options.store;
    CxMeta *meta = cx_store_get_meta(store);
    g_autofree char *step = place_of(job);
    g_autofree char *place = g_strconcat(step, " layer", NULL);
    g_autofree char *last = cx_meta_get_place(meta, place, NULL), *list = NULL;
    g_auto(GStrv) lines = NULL;
    CxDigest before;

    (void)cx_meta_put_place(meta, place, cx_digest_text(diff_id).text, NULL);
    if (!(job->plan->flags & CX_BUILD_EXPLAIN) || last == NULL ||
        !cx_digest_parse(last, &before, NULL) || cx_digest_equal(&before, diff_id))
        return NULL;

    lines = compare_layers(cx_store_get_layers(store), &before, diff_id);
    if (lines == NULL || lines[0] == NULL)
        return NULL;

    list = g_strjoinv(", ", lines);
    return g_strdup_printf("files changed: %s%s", list,
                           g_strv_length(lines) == FILES_NAMED ? ", …" : "");
}
