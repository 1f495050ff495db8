/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "recipe/one-line.h"
#include "recipe/recipe-private.h"

const CxTextMember cx_stage_texts[CX_STAGE_TEXTS] = {
    {"name",     G_STRUCT_OFFSET(CxStage, name)    },
    {"platform", G_STRUCT_OFFSET(CxStage, platform)},
    {"from",     G_STRUCT_OFFSET(CxStage, from)    },
};

const CxTextMember cx_step_texts[CX_STEP_TEXTS] = {
    {"run",      G_STRUCT_OFFSET(CxStep, run)     },
    {"copy",     G_STRUCT_OFFSET(CxStep, copy)    },
    {"shell",    G_STRUCT_OFFSET(CxStep, shell)   },
    {"workdir",  G_STRUCT_OFFSET(CxStep, workdir) },
    {"platform", G_STRUCT_OFFSET(CxStep, platform)},
};

static void
free_step(gpointer data)
{
    CxStep *step = data;

    g_free(step->run);
    g_free(step->copy);
    g_free(step->shell);
    g_strfreev(step->env);
    g_free(step->workdir);
    g_free(step->platform);
    g_ptr_array_unref(step->steps);
    g_free(step);
}

static void
free_stage(gpointer data)
{
    CxStage *stage = data;

    g_free(stage->name);
    g_free(stage->platform);
    g_free(stage->from);
    g_ptr_array_unref(stage->steps);
    g_free(stage);
}

CxStep *
cx_step_new(void)
{
    CxStep *self = g_new0(CxStep, 1);

    self->steps = g_ptr_array_new_with_free_func(free_step);
    return self;
}

CxStage *
cx_stage_new(void)
{
    CxStage *self = g_new0(CxStage, 1);

    self->steps = g_ptr_array_new_with_free_func(free_step);
    return self;
}

CxRecipe *
cx_recipe_new(void)
{
    CxRecipe *self = g_new0(CxRecipe, 1);

    self->stages = g_ptr_array_new_with_free_func(free_stage);
    return self;
}

void
cx_recipe_free(CxRecipe *self)
{
    if (self == NULL)
        return;

    g_ptr_array_unref(self->stages);
    g_free(self);
}

char *
cx_stage_label(const CxStage *self, guint index)
{
    return self->name != NULL ? cx_quote(self->name) : g_strdup_printf("%u", index + 1);
}

/* ---- environment ---- */

int
cx_env_compare(const char *a, const char *b)
{
    gsize a_size = strcspn(a, "="), b_size = strcspn(b, "=");
    int order = memcmp(a, b, MIN(a_size, b_size));

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static gint
compare_entries(gconstpointer a, gconstpointer b)
{
    return cx_env_compare(*(const char *const *)a, *(const char *const *)b);
}

gboolean
cx_env_add(GPtrArray *env, const char *name, const char *value, GError **error)
{
    if (name[0] == '\0')
        return cx_throw(error, CX_ERROR_INVALID, "env: a name is empty");
    if (strchr(name, '=') != NULL) {
        g_autofree char *quoted = cx_quote(name);

        return cx_throw(error, CX_ERROR_INVALID, "env: the name %s holds a \"=\"", quoted);
    }

    g_ptr_array_add(env, g_strconcat(name, "=", value, NULL));
    return TRUE;
}

GStrv
cx_env_finish(GPtrArray *take_env)
{
    gboolean is_empty = take_env->len == 0;

    g_ptr_array_sort(take_env, compare_entries);
    g_ptr_array_add(take_env, NULL);
    if (is_empty) {
        g_ptr_array_free(take_env, TRUE);
        return NULL;
    }
    return (GStrv)g_ptr_array_free(take_env, FALSE);
}
