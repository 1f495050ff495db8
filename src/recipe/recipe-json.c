/* SPDX-License-Identifier: Apache-2.0 */
/* The recipe of a build request.  Wrong types are errors with their place; unknown keys are
 * ignored, as everywhere on the wire (spec/daemon.md §3). */
#include <string.h>

#include "base/error.h"
#include "recipe/recipe-private.h"

/* ---- reading ---- */

static gboolean
read_texts(
    const json_t *json, const CxTextMember *members, guint n, gpointer object, GError **error)
{
    for (guint i = 0; i < n; i++) {
        char **member = CX_TEXT_MEMBER(object, &members[i]);
        const char *text = NULL;

        if (!cx_json_get_string(json, members[i].key, &text, error))
            return FALSE;
        if (text != NULL && text[0] != '\0')
            *member = g_strdup(text);
    }
    return TRUE;
}

static gboolean
read_line(const json_t *json, CxPlace *place, GError **error)
{
    gint64 line = 0;

    if (!cx_json_get_int(json, "line", &line, error))
        return FALSE;

    place->line = (guint)CLAMP(line, 0, G_MAXINT);
    return TRUE;
}

static gboolean
read_env(const json_t *json, GStrv *out_env, GError **error)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    json_t *object = cx_json_get(json, "env"), *value;
    const char *name;

    if (object == NULL)
        return TRUE;
    if (!json_is_object(object))
        return cx_throw(error, CX_ERROR_INVALID, "env: expected an object of strings");

    json_object_foreach(object, name, value)
    {
        const char *text = json_is_null(value) ? "" : json_string_value(value);

        if (text == NULL || (json_is_string(value) && strlen(text) != json_string_length(value)))
            return cx_throw(error, CX_ERROR_INVALID, "env: expected an object of strings");
        if (!cx_env_add(env, name, text, error))
            return FALSE;
    }
    *out_env = cx_env_finish(g_steal_pointer(&env));
    return TRUE;
}

/* A list member: absent is an empty one. */
static gboolean
get_list(const json_t *json, const char *key, json_t **out_list, GError **error)
{
    json_t *list = cx_json_get(json, key);

    if (list != NULL && !json_is_array(list))
        return cx_throw(error, CX_ERROR_INVALID, "%s: expected a list", key);

    *out_list = list;
    return TRUE;
}

static gboolean read_steps(const json_t *json, GPtrArray *steps, guint *n_steps, GError **error);

static gboolean
read_step(const json_t *json, CxStep *step, guint *n_steps, GError **error)
{
    if (!json_is_object(json))
        return cx_throw(error, CX_ERROR_INVALID, "expected an object");

    return read_texts(json, cx_step_texts, CX_STEP_TEXTS, step, error) &&
           read_env(json, &step->env, error) && read_line(json, &step->place, error) &&
           read_steps(json, step->steps, n_steps, error);
}

/* n_steps counts all steps of the recipe, so a request of nothing but "{}" costs no more memory
 * than its limit. */
static gboolean
read_steps(const json_t *json, GPtrArray *steps, guint *n_steps, GError **error)
{
    json_t *list = NULL;

    if (!get_list(json, "steps", &list, error))
        return FALSE;

    for (gsize i = 0; i < json_array_size(list); i++) {
        CxStep *step = cx_step_new();

        g_ptr_array_add(steps, step);
        if (++*n_steps > CX_RECIPE_STEPS_MAX)
            return cx_throw(error, CX_ERROR_LIMIT, "more than %d steps", CX_RECIPE_STEPS_MAX);
        if (!read_step(json_array_get(list, i), step, n_steps, error)) {
            g_prefix_error(error, "step %" G_GSIZE_FORMAT ": ", i + 1);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
read_stage(const json_t *json, CxStage *stage, guint *n_steps, GError **error)
{
    if (!json_is_object(json))
        return cx_throw(error, CX_ERROR_INVALID, "expected an object");

    return read_texts(json, cx_stage_texts, CX_STAGE_TEXTS, stage, error) &&
           cx_json_get_bool(json, "transient", &stage->transient, error) &&
           read_line(json, &stage->place, error) && read_steps(json, stage->steps, n_steps, error);
}

static gboolean
read_stages(const json_t *json, CxRecipe *recipe, GError **error)
{
    json_t *list = NULL;
    guint n_steps = 0;

    if (!json_is_object(json))
        return cx_throw(error, CX_ERROR_INVALID, "expected an object");
    if (!get_list(json, "stages", &list, error))
        return FALSE;
    if (json_array_size(list) > CX_RECIPE_STAGES_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d stages", CX_RECIPE_STAGES_MAX);

    for (guint i = 0; i < json_array_size(list); i++) {
        CxStage *stage = cx_stage_new();

        g_ptr_array_add(recipe->stages, stage);
        if (!read_stage(json_array_get(list, i), stage, &n_steps, error)) {
            g_autofree char *label = cx_stage_label(stage, i);

            g_prefix_error(error, "stage %s: ", label);
            return FALSE;
        }
    }
    return TRUE;
}

CxRecipe *
cx_recipe_from_json(const json_t *json, GError **error)
{
    g_autoptr(CxRecipe) self = cx_recipe_new();

    if (!read_stages(json, self, error)) {
        g_prefix_error(error, "invalid recipe: ");
        return NULL;
    }
    if (!cx_recipe_check(self, NULL, error))
        return NULL;

    return g_steal_pointer(&self);
}

/* ---- writing ---- */

static void
write_texts(json_t *json, const CxTextMember *members, guint n, gconstpointer object)
{
    for (guint i = 0; i < n; i++) {
        char *const *member = CX_TEXT_MEMBER(object, &members[i]);

        if (*member != NULL)
            json_object_set_new(json, members[i].key, json_string(*member));
    }
}

static void
write_env(json_t *json, const GStrv env)
{
    json_t *object = json_object();

    for (gsize i = 0; env != NULL && env[i] != NULL; i++) {
        const char *value = strchr(env[i], '=') + 1;
        g_autofree char *name = g_strndup(env[i], (gsize)(value - 1 - env[i]));

        json_object_set_new(object, name, json_string(value));
    }
    if (json_object_size(object) > 0)
        json_object_set(json, "env", object);
    json_decref(object);
}

static void
write_line(json_t *json, const CxPlace *place)
{
    if (place->line > 0)
        json_object_set_new(json, "line", json_integer(place->line));
}

static json_t *
steps_to_json(const GPtrArray *steps)
{
    json_t *list = json_array();

    for (guint i = 0; i < steps->len; i++) {
        const CxStep *step = g_ptr_array_index(steps, i);
        json_t *json = json_object();

        write_texts(json, cx_step_texts, CX_STEP_TEXTS, step);
        write_env(json, step->env);
        write_line(json, &step->place);
        if (step->steps->len > 0)
            json_object_set_new(json, "steps", steps_to_json(step->steps));
        json_array_append_new(list, json);
    }
    return list;
}

static json_t *
stage_to_json(const CxStage *stage)
{
    json_t *json = json_object();

    write_texts(json, cx_stage_texts, CX_STAGE_TEXTS, stage);
    if (stage->transient)
        json_object_set_new(json, "transient", json_true());
    write_line(json, &stage->place);
    json_object_set_new(json, "steps", steps_to_json(stage->steps));
    return json;
}

json_t *
cx_recipe_to_json(const CxRecipe *self)
{
    json_t *json = json_object(), *stages = json_array();

    for (guint i = 0; i < self->stages->len; i++)
        json_array_append_new(stages, stage_to_json(g_ptr_array_index(self->stages, i)));

    json_object_set_new(json, "stages", stages);
    return json;
}
