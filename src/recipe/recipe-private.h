/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "recipe/recipe.h"

G_BEGIN_DECLS

/* What the readers of this room share. */

CxRecipe *cx_recipe_new(void);
CxStage *cx_stage_new(void);
CxStep *cx_step_new(void);

/* The members that are plain strings: both readers and the writer go by these tables. */
typedef struct {
    const char *key;
    gsize offset; /* of a char * */
} CxTextMember;

#define CX_STAGE_TEXTS 3
#define CX_STEP_TEXTS 5
extern const CxTextMember cx_stage_texts[CX_STAGE_TEXTS];
extern const CxTextMember cx_step_texts[CX_STEP_TEXTS];

#define CX_TEXT_MEMBER(object, member) (G_STRUCT_MEMBER_P((object), (member)->offset))

/* An environment while it is read: entries are added one by one, then taken out sorted. */
gboolean cx_env_add(GPtrArray *env, const char *name, const char *value, GError **error);
GStrv cx_env_finish(GPtrArray *take_env); /* NULL when there is nothing in it */

/* Order of "NAME=value" entries by NAME. */
int cx_env_compare(const char *a, const char *b);

G_END_DECLS
