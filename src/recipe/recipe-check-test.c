/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "recipe/recipe.h"

static CxRecipe *
read_recipe(const char *text, GError **error)
{
    g_autoptr(GError) parse_error = NULL;
    g_autoptr(json_t) json = cx_json_parse(text, strlen(text), &parse_error);

    g_assert_no_error(parse_error);
    return cx_recipe_from_json(json, error);
}

#define FROM "\"from\":\"file b\""
#define ONE_STEP(step) "[{" FROM ",\"steps\":[" step "]}]"
#define THIRD_STEP(step)                                                                           \
    "[{\"name\":\"x\"," FROM ",\"steps\":[{\"run\":\"a\"},{\"run\":\"b\"}," step "]}]"

/* Every validation error of spec/daemon.md §5 with its wrapping: what clients of the seeds see. */
static const struct {
    const char *stages, *message;
} refusals[] = {
  /* the recipe */
    {"[]",                                                                                               "recipe must have at least one stage"                                                     },
    {"[{" FROM ",\"transient\":true}]",                                                                  "recipe must have at least one non-transient stage"                                       },
    {"[{" FROM "},{" FROM "}]",                                                                          "recipe must have exactly one non-transient stage"                                        },
    {"[{" FROM "},{\"name\":\"b\"," FROM "},{" FROM ",\"platform\":\"linux/arm64\"}]",
     "recipe must have exactly one non-transient stage"                                                                                                                                            },
    {"[{" FROM ",\"platform\":\"linux/arm64\"},{" FROM ",\"platform\":\"linux/arm64\"}]",
     "duplicate output platform: linux/arm64"                                                                                                                                                      },
    {"[{" FROM ",\"platform\":\"linux/arm64\"},{" FROM ",\"platform\":\"linux/aarch64\"}]",
     "duplicate output platform: linux/arm64"                                                                                                                                                      },
    {"[{\"name\":\"x\"," FROM "},{\"name\":\"x\"," FROM "}]",                                            "duplicate stage name: x"                                                                 },

 /* a stage */
    {"[{\"name\":\"2\"," FROM "}]",                                                                      "stage \"2\": invalid stage: stage name must not be numeric"                              },
    {"[{\"name\":\"-2\"," FROM "}]",                                                                     "stage \"-2\": invalid stage: stage name must not be numeric"                             },
    {"[{}]",                                                                                             "stage 1: invalid stage: invalid from format"                                             },
    {"[{\"from\":\" \"}]",                                                                               "stage 1: invalid stage: invalid from format"                                             },
    {"[{" FROM ",\"transient\":true},{\"from\":\"oci a b\"}]",
     "stage 2: invalid stage: invalid from format"                                                                                                                                                 },
    {"[{\"from\":\"file\"}]",                                                                            "stage 1: invalid stage: invalid from format: missing source value"                       },
    {"[{" FROM ",\"platform\":\"linux/"
     "amd64\",\"steps\":[{\"run\":\"a\"},{\"run\":\"b\",\"platform\":\"linux/amd64\"}]}]",          "stage 1: invalid stage: step 2: steps cannot use platform inside a platform-scoped stage"},
    {"[{" FROM
     ",\"platform\":\"linux/amd64\",\"steps\":[{\"steps\":[{\"platform\":\"linux/amd64\"}]}]}]",    "stage 1: invalid stage: step 1: steps cannot use platform inside a platform-scoped stage"},

 /* a step */
    {THIRD_STEP("{}"),                                                                                   "stage \"x\": invalid stage: step 3: invalid step: step has no fields set"                },
    {THIRD_STEP("{\"run\":\"\",\"env\":{}}"),
     "stage \"x\": invalid stage: step 3: invalid step: step has no fields set"                                                                                                                    },
    {THIRD_STEP("{\"run\":\"a\",\"copy\":\"a /b\"}"),
     "stage \"x\": invalid stage: step 3: invalid step: run and copy are mutually exclusive"                                                                                                       },
    {THIRD_STEP("{\"steps\":[{\"run\":\"a\"}]}"),
     "stage \"x\": invalid stage: step 3: invalid step: child steps require platform"                                                                                                              },
    {THIRD_STEP("{\"run\":\"a\",\"steps\":[{\"run\":\"a\"}]}"),
     "stage \"x\": invalid stage: step 3: invalid step: child steps require platform"                                                                                                              },
    {THIRD_STEP("{\"run\":\"a\",\"platform\":\"linux/amd64\",\"steps\":[{\"run\":\"a\"}]}"),
     "stage \"x\": invalid stage: step 3: invalid step: platform group cannot have operations"                                                                                                     },
    {THIRD_STEP("{\"copy\":\"a /b\",\"platform\":\"linux/amd64\",\"steps\":[{\"run\":\"a\"}]}"),
     "stage \"x\": invalid stage: step 3: invalid step: platform group cannot have operations"                                                                                                     },
    {ONE_STEP("{\"platform\":\"linux/"
              "amd64\",\"steps\":[{\"run\":\"a\"},{\"run\":\"a\",\"platform\":\"linux/amd64\"}]}"),
     "stage 1: invalid stage: step 1: invalid step: step 2: platform groups cannot be nested"                                                                                                      },
    {ONE_STEP("{\"platform\":\"linux/amd64\",\"steps\":[{\"run\":\"a\",\"copy\":\"a /b\"}]}"),
     "stage 1: invalid stage: step 1: invalid step: step 1: invalid step: run and copy are "
     "mutually exclusive"                                                                                                                                                                          },
    {ONE_STEP("{\"platform\":\"linux/amd64\",\"steps\":[{\"steps\":[{\"run\":\"a\"}]}]}"),
     "stage 1: invalid stage: step 1: invalid step: step 1: invalid step: child steps require "
     "platform"                                                                                                                                                                                    },
    {ONE_STEP("{\"copy\":\"a /b\",\"shell\":\"/bin/bash\",\"env\":{\"A\":\"1\"}}"),
     "stage 1: invalid stage: step 1: invalid step: shell cannot be used with copy"                                                                                                                },
    {ONE_STEP("{\"copy\":\"a /b\",\"env\":{\"A\":\"1\"}}"),
     "stage 1: invalid stage: step 1: invalid step: env cannot be used with copy"                                                                                                                  },

 /* what could never work, in our words */
    {"[{\"name\":\"a b\"," FROM "}]",
     "stage \"a b\": invalid stage: stage name \"a b\" must begin with a letter or digit and hold "
     "only those, \".\", \"_\" and \"-\""                                                                                                                                                          },
    {"[{\"name\":\"../x\"," FROM "}]",
     "stage \"../x\": invalid stage: stage name \"../x\" must begin with a letter or digit and "
     "hold only those, \".\", \"_\" and \"-\""                                                                                                                                                     },
    {ONE_STEP("{\"run\":\"a\",\"shell\":\"/bin/bash -eu\"}"),
     "stage 1: invalid stage: step 1: invalid step: shell \"/bin/bash -eu\" must be one path "
     "without arguments"                                                                                                                                                                           },
    {ONE_STEP("{\"platform\":\"\\u001b/x\"}"),
     "stage 1: invalid stage: step 1: invalid step: platform \"\\x1b/x\" is not os/arch or "
     "os/arch/variant (such as linux/amd64)"                                                                                                                                                       },
    {ONE_STEP("{\"copy\":\"a\"}"),
     "stage 1: invalid stage: step 1: invalid step: missing source or destination in \"a\""                                                                                                        },
    {ONE_STEP("{\"copy\":\"a b c\"}"),
     "stage 1: invalid stage: step 1: invalid step: missing source or destination in \"a b c\""                                                                                                    },
    {ONE_STEP("{\"copy\":\"nope:/a /b\"}"),
     "stage 1: invalid stage: step 1: invalid step: unknown stage \"nope\""                                                                                                                        },
    {THIRD_STEP("{\"copy\":\"x:/a /b\"}"),
     "stage \"x\": invalid stage: step 3: invalid step: unknown stage \"x\" (a stage can copy only "
     "from those before it)"                                                                                                                                                                       },
    {"[{\"name\":\"b\"," FROM ",\"transient\":true},{" FROM ",\"steps\":[{\"copy\":\"b: /x\"}]}]",
     "stage 2: invalid stage: step 1: invalid step: missing path after stage \"b\" in copy"                                                                                                        },
};

static void
test_refusals(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *text = g_strdup_printf("{\"stages\":%s}", refusals[i].stages);
        g_autofree char *message = g_strconcat("invalid recipe: ", refusals[i].message, NULL);
        g_autoptr(GError) error = NULL;

        g_assert_null(read_recipe(text, &error));
        g_assert_cmpstr(error->message, ==, message);
        g_assert_true(cx_error_is(error, CX_ERROR_INVALID));
    }
}

/* A platform that is none is quoted by the platform's own parser. */
static void
test_bad_platform(void)
{
    static const char *const texts[] = {
        "{\"stages\":[{" FROM ",\"platform\":\"amd64\"}]}",
        "{\"stages\":" ONE_STEP("{\"run\":\"a\",\"platform\":\"linux/amd64/v1/x\"}") "}",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(read_recipe(texts[i], &error));
        g_assert_true(cx_error_is(error, CX_ERROR_INVALID));
        g_assert_true(g_str_has_prefix(error->message, "invalid recipe: stage 1: invalid stage: "));
        g_assert_nonnull(strstr(error->message, i == 0 ? "\"amd64\"" : "\"linux/amd64/v1/x\""));
    }
}

static void
test_accepted(void)
{
    static const char *const stages[] = {
        "[{" FROM "}]",
        "[{\"name\":\"app_1.x-y\"," FROM ",\"steps\":[]}]",
        "[{\"name\":\"2nd\"," FROM "}]",
        "[{\"from\":\"acme/runtime 1.0\"}]",
        "[{" FROM "},{" FROM ",\"platform\":\"linux/arm64\"}]",
        "[{" FROM ",\"platform\":\"linux/amd64\"},{" FROM ",\"platform\":\"linux/arm64\"}]",
        "[{\"name\":\"b\"," FROM ",\"transient\":true},{" FROM
        ",\"steps\":[{\"copy\":\"b:/x /y\"}]}]",
        ONE_STEP("{\"run\":\"a\",\"shell\":\"/bin/"
                 "bash\",\"env\":{\"A\":\"\"},\"workdir\":\"x\",\"platform\":\"linux/amd64\"}"),
        ONE_STEP("{\"copy\":\"a b\",\"workdir\":\"/w\",\"platform\":\"linux/amd64\"}"),
        ONE_STEP("{\"platform\":\"linux/amd64\"}"),
        ONE_STEP("{\"platform\":\"linux/amd64\",\"env\":{\"A\":\"1\"},\"steps\":[{\"workdir\":\"/"
                 "x\"},{\"copy\":\"a /b\"}]}"),
        ONE_STEP("{\"copy\":\"./x:y /b\"}"),
    };

    for (gsize i = 0; i < G_N_ELEMENTS(stages); i++) {
        g_autofree char *text = g_strdup_printf("{\"stages\":%s}", stages[i]);
        g_autoptr(GError) error = NULL;
        g_autoptr(CxRecipe) recipe = read_recipe(text, &error);

        g_assert_no_error(error);
        g_assert_nonnull(recipe);
    }
}

static void
test_limits(void)
{
    g_autofree char *path = g_strnfill(CX_RECIPE_PATH_MAX, 'p'),
                    *name = g_strnfill(CX_RECIPE_STAGE_NAME_MAX + 1, 'n');
    g_autofree char *fits =
        g_strdup_printf("{\"stages\":" ONE_STEP("{\"workdir\":\"%s\"}") "}", path);
    char *texts[] = {
        g_strdup_printf("{\"stages\":" ONE_STEP("{\"workdir\":\"/%s\"}") "}", path),
        g_strdup_printf("{\"stages\":" ONE_STEP("{\"shell\":\"/%s\"}") "}", path),
        g_strdup_printf("{\"stages\":[{\"name\":\"%s\"," FROM "}]}", name),
    };
    g_autoptr(GError) no_error = NULL;
    g_autoptr(CxRecipe) recipe = read_recipe(fits, &no_error);

    g_assert_no_error(no_error);
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(read_recipe(texts[i], &error));
        g_assert_true(cx_error_is(error, CX_ERROR_LIMIT));
        g_free(texts[i]);
    }
}

/* The place is that of the innermost thing that is wrong. */
static void
test_place(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxRecipe) recipe = read_recipe(
        "{\"stages\":[{" FROM ",\"line\":2,\"steps\":[{\"line\":3,\"run\":\"a\"},{\"line\":4,"
        "\"platform\":\"linux/amd64\",\"steps\":[{\"line\":6,\"run\":\"b\"}]}]}]}",
        &error);
    CxStage *stage;
    CxStep *group, *child;
    CxPlace place = {0, 0};

    g_assert_no_error(error);
    stage = g_ptr_array_index(recipe->stages, 0);
    group = g_ptr_array_index(stage->steps, 1);
    child = g_ptr_array_index(group->steps, 0);

    child->copy = g_strdup("a /b");
    g_assert_false(cx_recipe_check(recipe, &place, NULL));
    g_assert_cmpuint(place.line, ==, 6);

    g_clear_pointer(&group->platform, g_free);
    g_assert_false(cx_recipe_check(recipe, &place, NULL));
    g_assert_cmpuint(place.line, ==, 4);

    g_clear_pointer(&stage->from, g_free);
    g_assert_false(cx_recipe_check(recipe, &place, NULL));
    g_assert_cmpuint(place.line, ==, 2);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/check/refusals", test_refusals);
    g_test_add_func("/recipe/check/bad-platform", test_bad_platform);
    g_test_add_func("/recipe/check/accepted", test_accepted);
    g_test_add_func("/recipe/check/limits", test_limits);
    g_test_add_func("/recipe/check/place", test_place);
    return g_test_run();
}
