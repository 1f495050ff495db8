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

/* As the client of the seeds serialises it: capitalised keys, "" and null for what is not there. */
static void
test_foreign_client(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxRecipe) recipe =
        read_recipe("{\"Stages\":[{\"Name\":\"builder\",\"Transient\":true,\"Platform\":\"\","
                    "\"From\":\"oci alpine:3.21\",\"Steps\":["
                    "{\"Run\":\"make\",\"Shell\":\"/bin/"
                    "bash\",\"Copy\":\"\",\"Env\":{\"B\":\"2\",\"A\":\"1=1\",\"a\":\"\"},"
                    "\"Workdir\":\"/src\",\"Platform\":\"\",\"Steps\":null}]},"
                    "{\"Name\":\"\",\"Transient\":false,\"Platform\":\"\",\"From\":\"file "
                    "b.tar\",\"Steps\":null}],\"Other\":7}",
                    &error);
    const CxStage *builder, *output;
    const CxStep *step;

    g_assert_no_error(error);
    g_assert_cmpuint(recipe->stages->len, ==, 2);
    builder = g_ptr_array_index(recipe->stages, 0);
    output = g_ptr_array_index(recipe->stages, 1);
    g_assert_cmpstr(builder->name, ==, "builder");
    g_assert_true(builder->transient);
    g_assert_null(builder->platform);
    g_assert_null(output->name);
    g_assert_false(output->transient);
    g_assert_cmpuint(output->steps->len, ==, 0);

    step = g_ptr_array_index(builder->steps, 0);
    g_assert_cmpstr(step->run, ==, "make");
    g_assert_cmpstr(step->shell, ==, "/bin/bash");
    g_assert_null(step->copy);
    g_assert_cmpstr(step->workdir, ==, "/src");
    g_assert_cmpuint(g_strv_length(step->env), ==, 3);
    g_assert_cmpstr(step->env[0], ==, "A=1=1");
    g_assert_cmpstr(step->env[1], ==, "B=2");
    g_assert_cmpstr(step->env[2], ==, "a=");
}

static void
test_keys(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxRecipe) recipe =
        read_recipe("{\"STAGES\":null,\"stages\":[{\"From\":\"file wrong\",\"from\":\"file "
                    "right\",\"sTEPS\":[{\"RUN\":\"x\",\"run\":\"y\"}]}]}",
                    &error);
    const CxStage *stage;

    g_assert_no_error(error);
    stage = g_ptr_array_index(recipe->stages, 0);
    g_assert_cmpstr(stage->from, ==, "file right");
    g_assert_cmpstr(((CxStep *)g_ptr_array_index(stage->steps, 0))->run, ==, "y");
}

static void
test_wrong_types(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"7",                                                       "invalid recipe: expected an object"                 },
        {"{}",                                                      "invalid recipe: recipe must have at least one stage"},
        {"{\"stages\":null}",                                       "invalid recipe: recipe must have at least one stage"},
        {"{\"stages\":{}}",                                         "invalid recipe: stages: expected a list"            },
        {"{\"stages\":[7]}",                                        "invalid recipe: stage 1: expected an object"        },
        {"{\"stages\":[{\"name\":5}]}",                             "invalid recipe: stage 1: name: expected a string"   },
        {"{\"stages\":[{\"name\":\"a\",\"transient\":\"yes\"}]}",
         "invalid recipe: stage \"a\": transient: expected true or false"                                                },
        {"{\"stages\":[{\"steps\":[{},[]]}]}",
         "invalid recipe: stage 1: step 2: expected an object"                                                           },
        {"{\"stages\":[{\"steps\":\"x\"}]}",                        "invalid recipe: stage 1: steps: expected a list"    },
        {"{\"stages\":[{\"steps\":[{\"steps\":[{\"run\":[]}]}]}]}",
         "invalid recipe: stage 1: step 1: step 1: run: expected a string"                                               },
        {"{\"stages\":[{\"steps\":[{\"env\":[\"A=b\"]}]}]}",
         "invalid recipe: stage 1: step 1: env: expected an object of strings"                                           },
        {"{\"stages\":[{\"steps\":[{\"env\":{\"A\":1}}]}]}",
         "invalid recipe: stage 1: step 1: env: expected an object of strings"                                           },
        {"{\"stages\":[{\"steps\":[{\"env\":{\"\":\"1\"}}]}]}",
         "invalid recipe: stage 1: step 1: env: a name is empty"                                                         },
        {"{\"stages\":[{\"steps\":[{\"env\":{\"A=B\":\"1\"}}]}]}",
         "invalid recipe: stage 1: step 1: env: the name \"A=B\" holds a \"=\""                                          },
        {"{\"stages\":[{\"steps\":[{\"line\":\"x\"}]}]}",
         "invalid recipe: stage 1: step 1: line: expected a whole number"                                                },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(read_recipe(cases[i].text, &error));
        g_assert_cmpstr(error->message, ==, cases[i].message);
        g_assert_true(cx_error_is(error, CX_ERROR_INVALID));
    }
}

static void
test_too_many_steps(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new("{\"stages\":[{\"from\":\"file x\",\"steps\":[{}");

    for (guint i = 0; i < CX_RECIPE_STEPS_MAX; i++)
        g_string_append(text, ",{}");
    g_string_append(text, "]}]}");

    g_assert_null(read_recipe(text->str, &error));
    g_assert_true(cx_error_is(error, CX_ERROR_LIMIT));
    g_assert_cmpstr(error->message, ==, "invalid recipe: stage 1: more than 10000 steps");
}

static void
test_round_trip(void)
{
    static const char text[] =
        "{\"stages\":[{\"from\":\"oci "
        "alpine:3.21\",\"line\":3,\"name\":\"b\",\"steps\":[{\"env\":{\"A\":\"1\"},\"line\":5,"
        "\"run\":\"x\",\"shell\":\"/bin/bash\"},{\"platform\":\"linux/"
        "arm64\",\"steps\":[{\"workdir\":\"/w\"}]}],"
        "\"transient\":true},{\"from\":\"file "
        "b.tar\",\"platform\":\"linux/amd64\",\"steps\":[{\"copy\":\"b:/x /y\"}]}]}";
    g_autoptr(GError) error = NULL;
    g_autoptr(CxRecipe) recipe = read_recipe(text, &error);
    g_autoptr(json_t) json = NULL;
    g_autofree char *written = NULL;

    g_assert_no_error(error);
    json = cx_recipe_to_json(recipe);
    written = cx_json_canonical(json);
    g_assert_cmpstr(written, ==, text);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/json/foreign-client", test_foreign_client);
    g_test_add_func("/recipe/json/keys", test_keys);
    g_test_add_func("/recipe/json/wrong-types", test_wrong_types);
    g_test_add_func("/recipe/json/too-many-steps", test_too_many_steps);
    g_test_add_func("/recipe/json/round-trip", test_round_trip);
    return g_test_run();
}
