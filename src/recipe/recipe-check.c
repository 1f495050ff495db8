/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a recipe.  Order and words are those of the seeds, whose clients show them; what we
 * add (values that could never work) comes after what they check at each level. */
#include <string.h>

#include "base/error.h"
#include "recipe/one-line.h"
#include "recipe/recipe-private.h"

#define NAME_CHARACTERS G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-"

typedef struct {
    const CxRecipe *recipe;
    GHashTable *earlier; /* (borrowed char *): names of the stages before the one at hand */
    guint n_steps;
    guint n_outputs;             /* without platform */
    GPtrArray *output_platforms; /* (owned) of owned char *: normalised */
    CxPlace place;               /* of what is being judged */
} Checker;

/* ---- a step ---- */

static gboolean
check_structure(const CxStep *step, GError **error)
{
    gboolean has_operation = step->run != NULL || step->copy != NULL;
    gboolean has_modifier =
        step->shell != NULL || step->env != NULL || step->workdir != NULL || step->platform != NULL;
    gboolean has_children = step->steps->len > 0;

    if (!has_operation && !has_modifier && !has_children)
        return cx_throw(error, CX_ERROR_INVALID, "step has no fields set");
    if (step->run != NULL && step->copy != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "run and copy are mutually exclusive");
    if (has_children && step->platform == NULL)
        return cx_throw(error, CX_ERROR_INVALID, "child steps require platform");
    if (has_children && has_operation)
        return cx_throw(error, CX_ERROR_INVALID, "platform group cannot have operations");
    if (step->copy != NULL && step->shell != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "shell cannot be used with copy");
    if (step->copy != NULL && step->env != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "env cannot be used with copy");

    return TRUE;
}

/* The platform's own parser repeats what it got; what is not fit for a message is quoted here. */
static gboolean
check_platform(const char *text, GError **error)
{
    g_autofree char *quoted = NULL;
    CxPlatform platform;

    if (text == NULL)
        return TRUE;
    if (strspn(text, NAME_CHARACTERS "/") == strlen(text))
        return cx_platform_parse(text, &platform, error);

    quoted = cx_quote(text);
    return cx_throw(error, CX_ERROR_INVALID,
                    "platform %s is not os/arch or os/arch/variant (such as linux/amd64)", quoted);
}

static gboolean
check_path(const char *what, const char *path, GError **error)
{
    if (path != NULL && strlen(path) > CX_RECIPE_PATH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "%s is longer than %d bytes", what,
                        CX_RECIPE_PATH_MAX);

    return TRUE;
}

/* One path, as in the seeds: what looks like a path with arguments could only end as "not found" in
 * the middle of a build. */
static gboolean
check_shell(const char *shell, GError **error)
{
    g_autofree char *quoted = NULL;

    if (shell == NULL || strpbrk(shell, " \t\r\n") == NULL)
        return check_path("shell", shell, error);

    quoted = cx_quote(shell);
    return cx_throw(error, CX_ERROR_INVALID, "shell %s must be one path without arguments", quoted);
}

static gboolean
is_stage_name(const CxRecipe *recipe, const char *name)
{
    for (guint i = 0; i < recipe->stages->len; i++) {
        const CxStage *stage = g_ptr_array_index(recipe->stages, i);

        if (g_strcmp0(stage->name, name) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean
check_copy(Checker *self, const char *copy, GError **error)
{
    g_autofree char *source = NULL, *dest = NULL, *stage = NULL, *path = NULL, *quoted = NULL;

    if (!cx_copy_parse(copy, &source, &dest, error))
        return FALSE;
    if (!cx_copy_parse_stage(source, &stage, &path))
        return TRUE;

    quoted = cx_quote(stage);
    if (!g_hash_table_contains(self->earlier, stage))
        return cx_throw(error, CX_ERROR_INVALID, "unknown stage %s%s", quoted,
                        is_stage_name(self->recipe, stage)
                            ? " (a stage can copy only from those before it)"
                            : "");
    if (path[0] == '\0')
        return cx_throw(error, CX_ERROR_INVALID, "missing path after stage %s in copy", quoted);

    return TRUE;
}

static gboolean
check_values(Checker *self, const CxStep *step, GError **error)
{
    return check_platform(step->platform, error) && check_shell(step->shell, error) &&
           check_path("workdir", step->workdir, error) &&
           (step->copy == NULL || check_copy(self, step->copy, error));
}

static gboolean check_step(Checker *self, const CxStep *step, GError **error);

static gboolean
check_child(Checker *self, const CxStep *child, GError **error)
{
    self->place = child->place;
    if (child->platform != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "platform groups cannot be nested");

    return check_step(self, child, error);
}

static gboolean
check_step_itself(Checker *self, const CxStep *step, GError **error)
{
    if (++self->n_steps > CX_RECIPE_STEPS_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d steps", CX_RECIPE_STEPS_MAX);
    if (!check_structure(step, error) || !check_values(self, step, error))
        return FALSE;

    for (guint i = 0; i < step->steps->len; i++) {
        if (!check_child(self, g_ptr_array_index(step->steps, i), error)) {
            g_prefix_error(error, "step %u: ", i + 1);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_step(Checker *self, const CxStep *step, GError **error)
{
    self->place = step->place;
    if (check_step_itself(self, step, error))
        return TRUE;

    g_prefix_error(error, "invalid step: ");
    return FALSE;
}

/* ---- a stage ---- */

static gboolean
is_numeric(const char *name)
{
    const char *digits = name + (name[0] == '+' || name[0] == '-');

    return digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
}

/* A name becomes part of a container id, and "name:path" of a copy: so few characters are possible.
 */
static gboolean
check_name(const char *name, GError **error)
{
    g_autofree char *quoted = NULL;

    if (name == NULL)
        return TRUE;
    if (is_numeric(name))
        return cx_throw(error, CX_ERROR_INVALID, "stage name must not be numeric");
    if (strlen(name) > CX_RECIPE_STAGE_NAME_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "stage name is longer than %d bytes",
                        CX_RECIPE_STAGE_NAME_MAX);
    if (g_ascii_isalnum(name[0]) && strspn(name, NAME_CHARACTERS) == strlen(name))
        return TRUE;

    quoted = cx_quote(name);
    return cx_throw(error, CX_ERROR_INVALID,
                    "stage name %s must begin with a letter or digit and hold only those, \".\", "
                    "\"_\" and \"-\"",
                    quoted);
}

static gboolean
check_from(const char *from, GError **error)
{
    g_autofree char *value = NULL;
    CxFromKind kind;

    return cx_from_parse(from != NULL ? from : "", &kind, &value, error);
}

static gboolean
uses_platform(const CxStep *step)
{
    if (step->platform != NULL)
        return TRUE;
    for (guint i = 0; i < step->steps->len; i++)
        if (uses_platform(g_ptr_array_index(step->steps, i)))
            return TRUE;

    return FALSE;
}

static gboolean
check_stage_step(Checker *self, const CxStage *stage, const CxStep *step, GError **error)
{
    self->place = step->place;
    if (stage->platform != NULL && uses_platform(step))
        return cx_throw(error, CX_ERROR_INVALID,
                        "steps cannot use platform inside a platform-scoped stage");

    return check_step(self, step, error);
}

static gboolean
check_stage_itself(Checker *self, const CxStage *stage, GError **error)
{
    if (!check_name(stage->name, error) || !check_from(stage->from, error) ||
        !check_platform(stage->platform, error))
        return FALSE;

    for (guint i = 0; i < stage->steps->len; i++) {
        if (!check_stage_step(self, stage, g_ptr_array_index(stage->steps, i), error)) {
            g_prefix_error(error, "step %u: ", i + 1);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_stage(Checker *self, const CxStage *stage, guint index, GError **error)
{
    g_autofree char *label = NULL;

    if (check_stage_itself(self, stage, error))
        return TRUE;

    label = cx_stage_label(stage, index);
    g_prefix_error(error, "stage %s: invalid stage: ", label);
    return FALSE;
}

/* ---- the recipe ---- */

static gboolean
note_output(Checker *self, const CxStage *stage, GError **error)
{
    CxPlatform platform;
    CxPlatformText text;

    if (stage->transient)
        return TRUE;
    if (stage->platform == NULL) {
        self->n_outputs++;
        return TRUE;
    }

    if (!cx_platform_parse(stage->platform, &platform, error))
        return FALSE;
    text = cx_platform_text(&platform);
    if (g_ptr_array_find_with_equal_func(self->output_platforms, text.text, g_str_equal, NULL))
        return cx_throw(error, CX_ERROR_INVALID, "duplicate output platform: %s", text.text);

    g_ptr_array_add(self->output_platforms, g_strdup(text.text));
    return TRUE;
}

static gboolean
check_stage_in_recipe(Checker *self, const CxStage *stage, guint index, GError **error)
{
    self->place = stage->place;
    if (stage->name != NULL && g_hash_table_contains(self->earlier, stage->name)) {
        g_autofree char *name = cx_one_line(stage->name, CX_RECIPE_STAGE_NAME_MAX);

        return cx_throw(error, CX_ERROR_INVALID, "duplicate stage name: %s", name);
    }
    if (!check_stage(self, stage, index, error))
        return FALSE;

    self->place = stage->place;
    if (stage->name != NULL)
        g_hash_table_add(self->earlier, stage->name);
    return note_output(self, stage, error);
}

static gboolean
check_recipe(Checker *self, GError **error)
{
    guint n = self->recipe->stages->len;

    if (n == 0)
        return cx_throw(error, CX_ERROR_INVALID, "recipe must have at least one stage");
    if (n > CX_RECIPE_STAGES_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d stages", CX_RECIPE_STAGES_MAX);

    for (guint i = 0; i < n; i++)
        if (!check_stage_in_recipe(self, g_ptr_array_index(self->recipe->stages, i), i, error))
            return FALSE;

    self->place = (CxPlace){0, 0};
    if (self->n_outputs == 0 && self->output_platforms->len == 0)
        return cx_throw(error, CX_ERROR_INVALID,
                        "recipe must have at least one non-transient stage");
    if (self->n_outputs > 1)
        return cx_throw(error, CX_ERROR_INVALID,
                        "recipe must have exactly one non-transient stage");

    return TRUE;
}

gboolean
cx_recipe_check(const CxRecipe *self, CxPlace *out_place, GError **error)
{
    g_autoptr(GHashTable) earlier = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) output_platforms = g_ptr_array_new_with_free_func(g_free);
    Checker checker = {.recipe = self, .earlier = earlier, .output_platforms = output_platforms};
    gboolean ok = check_recipe(&checker, error);

    if (!ok)
        g_prefix_error(error, "invalid recipe: ");
    if (out_place != NULL)
        *out_place = checker.place;
    return ok;
}
