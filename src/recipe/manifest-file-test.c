/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "recipe/recipe.h"

static CxManifestFile *
parse(const char *text, GError **error)
{
    return cx_manifest_file_parse("crucible.yaml", text, strlen(text), error);
}

/* The example of spec/daemon.md §5. */
static const char example[] = "version: 0\n"
                              "resource: {type: service, name: acme/api, version: 1.20}\n"
                              "entrypoint: [/app/server, 8080]\n"
                              "stages:\n"
                              "  - name: builder\n"
                              "    transient: true\n"
                              "    from: oci alpine:3.21\n"
                              "    steps:\n"
                              "      - run: apk add --no-cache gcc\n"
                              "        env: {CFLAGS: -O2, B: 1.50, A: true, E: }\n"
                              "      - workdir: /src\n"
                              "      - copy: src .\n"
                              "      - platform: linux/arm64\n"
                              "        steps: [{run: ./tune-arm}]\n"
                              "  - from: oci debian:bookworm-slim\n"
                              "    steps:\n"
                              "      - copy: builder:/src/server /app/server\n";

static const CxStep *
peek_step(const CxManifestFile *manifest, guint stage, guint step)
{
    const CxStage *s = g_ptr_array_index(manifest->recipe->stages, stage);

    return g_ptr_array_index(s->steps, step);
}

static void
test_example(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifestFile) manifest = parse(example, &error);
    const CxStage *builder, *output;
    const CxStep *step;

    g_assert_no_error(error);
    g_assert_cmpstr(manifest->type, ==, "service");
    g_assert_cmpstr(manifest->name, ==, "acme/api");
    g_assert_cmpstr(manifest->version, ==, "1.20");
    g_assert_cmpstr(manifest->entrypoint[0], ==, "/app/server");
    g_assert_cmpstr(manifest->entrypoint[1], ==, "8080");
    g_assert_null(manifest->entrypoint[2]);

    builder = g_ptr_array_index(manifest->recipe->stages, 0);
    output = g_ptr_array_index(manifest->recipe->stages, 1);
    g_assert_cmpstr(builder->name, ==, "builder");
    g_assert_true(builder->transient);
    g_assert_cmpuint(builder->place.line, ==, 5);
    g_assert_cmpuint(builder->place.column, ==, 5);
    g_assert_false(output->transient);
    g_assert_cmpstr(output->from, ==, "oci debian:bookworm-slim");

    step = peek_step(manifest, 0, 0);
    g_assert_cmpstr(step->run, ==, "apk add --no-cache gcc");
    g_assert_cmpstr(step->env[0], ==, "A=true");
    g_assert_cmpstr(step->env[1], ==, "B=1.50");
    g_assert_cmpstr(step->env[2], ==, "CFLAGS=-O2");
    g_assert_cmpstr(step->env[3], ==, "E=");
    g_assert_cmpstr(peek_step(manifest, 0, 1)->workdir, ==, "/src");
    g_assert_cmpuint(peek_step(manifest, 0, 2)->place.line, ==, 12);
    g_assert_cmpuint(peek_step(manifest, 0, 2)->place.column, ==, 9);
    step = peek_step(manifest, 0, 3);
    g_assert_cmpstr(step->platform, ==, "linux/arm64");
    g_assert_cmpstr(((CxStep *)g_ptr_array_index(step->steps, 0))->run, ==, "./tune-arm");
}

/* Both readers must understand the same: the file, sent as a request, comes out as the file. */
static void
test_same_as_json(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifestFile) manifest = parse(example, &error);
    g_autoptr(json_t) sent = NULL, again = NULL;
    g_autoptr(CxRecipe) received = NULL;

    g_assert_no_error(error);
    sent = cx_recipe_to_json(manifest->recipe);
    received = cx_recipe_from_json(sent, &error);
    g_assert_no_error(error);
    again = cx_recipe_to_json(received);
    g_assert_true(json_equal(sent, again));
}

#define STAGES "stages: [{from: file b}]\n"
#define RUNTIME "resource: {type: runtime, name: a/b}\n"

static void
test_minimal(void)
{
    static const char *const texts[] = {
        RUNTIME STAGES,
        "version: 0\nresource: {type: machine, name: a/b, version: }\nentrypoint: []\n" STAGES,
        "version: ~\nresource: {type: runtime, name: a/b}\nentrypoint:\n" STAGES,
        "{\"version\": 0, \"resource\": {\"type\": \"runtime\", \"name\": \"a/b\"}, \"stages\": "
        "[{\"from\": \"file b\"}]}",
        "\xef\xbb\xbf" RUNTIME STAGES, /* a byte order mark */
        "---\r\nresource: {type: runtime, name: a/b}\r\nstages:\r\n  - from: file b\r\n...\r\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxManifestFile) manifest = parse(texts[i], &error);

        g_assert_no_error(error);
        g_assert_cmpstr(manifest->version, ==, "");
        g_assert_null(manifest->entrypoint);
        g_assert_cmpuint(manifest->recipe->stages->len, ==, 1);
    }
}

static const struct {
    const char *text, *message;
} refusals[] = {
  /* the whole */
    {"",                                                                                                 "1:1: the file is empty"                                     },
    {"- a\n",                                                                                            "1:1: expected keys and values"                              },
    {"just words\n",                                                                                     "1:1: expected keys and values"                              },
    {"a: &x 1\n",                                                                                        "1:4: anchors and aliases are not supported"                 },

 /* the manifest */
    {"version: 1\n" RUNTIME STAGES,
     "1:10: unsupported manifest version \"1\" (this program reads version 0)"                                                                                        },
    {"version: \"0\"\n" RUNTIME STAGES,
     "1:10: unsupported manifest version \"0\" (this program reads version 0)"                                                                                        },
    {"version: 0.0\n" RUNTIME STAGES,
     "1:10: unsupported manifest version \"0.0\" (this program reads version 0)"                                                                                      },
    {"version: [0]\n" RUNTIME STAGES,                                                                    "1:10: version: expected the number 0"                       },
    {"version: 0\n" STAGES,                                                                              "1:1: missing resource (type and name)"                      },
    {"resource: x\n" STAGES,                                                                             "1:11: resource: expected keys and values"                   },
    {"resource: {name: a}\n" STAGES,                                                                     "1:11: missing resource type (runtime, service or machine)"  },
    {"resource: {type: runtime}\n" STAGES,                                                               "1:11: missing resource name"                                },
    {"resource: {type: runtime, name: ''}\n" STAGES,                                                     "1:11: missing resource name"                                },
    {"resource: {type: runtime, name: [a]}\n" STAGES,                                                    "1:33: name: expected a string"                              },
    {"resource: {type: servcie, name: a}\n" STAGES,
     "1:18: invalid resource type \"servcie\" (did you mean \"service\"?)"                                                                                            },
    {"resource: {type: blob, name: a}\n" STAGES,                                                         "1:18: invalid resource type \"blob\""                       },
    {"resource: {type: widget, name: a}\nmain: x\n",
     "1:18: resources of type \"widget\" are not built here (runtime, service and machine are)"                                                                       },
    {"resource: {type: template, name: a}\n",
     "1:18: resources of type \"template\" are not built here (runtime, service and machine are)"                                                                     },
    {"resource: {type: service, name: a}\n" STAGES,                                                      "1:18: service missing entrypoint"                           },
    {"resource: {type: service, name: a}\nentrypoint: []\n" STAGES,
     "1:18: service missing entrypoint"                                                                                                                               },
    {"resource: {type: service, name: a}\nentrypoint: /bin/x\n" STAGES,
     "2:13: entrypoint: expected a list of strings ([/app/server, --flag])"                                                                                           },
    {"resource: {type: service, name: a}\nentrypoint: ['', x]\n" STAGES,
     "2:14: expected a program"                                                                                                                                       },
    {"resource: {type: service, name: a}\nentrypoint: [a, [b]]\n" STAGES,
     "2:17: expected a string"                                                                                                                                        },
    {RUNTIME "entrypoint: [/bin/x]\n" STAGES,
     "2:1: entrypoint is for services only (this is a runtime)"                                                                                                       },

 /* unknown keys */
    {RUNTIME "stage: [{from: file b}]\n",
     "2:1: unknown key \"stage\" in the manifest (did you mean \"stages\"?)"                                                                                          },
    {"Version: 0\n" RUNTIME STAGES,
     "1:1: unknown key \"Version\" in the manifest (did you mean \"version\"?)"                                                                                       },
    {"resource: {type: runtime, nam: a}\n" STAGES,
     "1:27: unknown key \"nam\" in resource (did you mean \"name\"?)"                                                                                                 },
    {RUNTIME "stages:\n  - from: file b\n    step: []\n",
     "4:5: unknown key \"step\" in a stage (did you mean \"steps\"?)"                                                                                                 },
    {RUNTIME "stages:\n  - from: file b\n    steps:\n      - rum: a\n",
     "5:9: unknown key \"rum\" in a step (did you mean \"run\"?)"                                                                                                     },
    {RUNTIME "stages:\n  - from: file b\n    steps:\n      - volume: a\n",
     "5:9: unknown key \"volume\" in a step"                                                                                                                          },
    {RUNTIME "stages:\n  - from: file b\n    steps:\n      - platform: linux/amd64\n        "
             "steps:\n          - {RUN: a}\n",                                                      "7:14: unknown key \"RUN\" in a step (did you mean \"run\"?)"},
    {RUNTIME STAGES "\"a\\nb\": 1\n",                                                                    "3:1: unknown key \"a\\nb\" in the manifest"                 },

 /* wrong types */
    {RUNTIME "stages: {}\n",                                                                             "2:9: stages: expected a list"                               },
    {RUNTIME "stages: [a]\n",                                                                            "2:10: expected keys and values"                             },
    {RUNTIME "stages: [{from: [file, b]}]\n",                                                            "2:17: from: expected a string"                              },
    {RUNTIME "stages: [{from: file b, transient: yes}]\n",
     "2:36: transient: expected true or false"                                                                                                                        },
    {RUNTIME "stages: [{from: file b, transient: 'true'}]\n",
     "2:36: transient: expected true or false"                                                                                                                        },
    {RUNTIME "stages: [{from: file b, transient: [true]}]\n",
     "2:36: transient: expected true or false"                                                                                                                        },
    {RUNTIME "stages: [{from: file b, steps: {run: a}}]\n",                                              "2:32: steps: expected a list"                               },
    {RUNTIME "stages: [{from: file b, steps: [make]}]\n",                                                "2:33: expected keys and values"                             },
    {RUNTIME "stages: [{from: file b, steps: [{run: [make]}]}]\n",                                       "2:39: run: expected a string"                               },
    {RUNTIME "stages: [{from: file b, steps: [{env: [A=b]}]}]\n",
     "2:39: env: expected names and values (NAME: value)"                                                                                                             },
    {RUNTIME "stages: [{from: file b, steps: [{env: {A: [b]}}]}]\n",                                     "2:43: A: expected a string"                                 },
    {RUNTIME "stages: [{from: file b, steps: [{env: {'': b}}]}]\n",                                      "2:40: env: a name is empty"                                 },
    {RUNTIME "stages: [{from: file b, steps: [{env: {A=B: c}}]}]\n",
     "2:40: env: the name \"A=B\" holds a \"=\""                                                                                                                      },

 /* the rules of the recipe, each with its place */
    {RUNTIME,                                                                                            "1:1: invalid recipe: recipe must have at least one stage"   },
    {RUNTIME "stages:\n",                                                                                "1:1: invalid recipe: recipe must have at least one stage"   },
    {RUNTIME "stages: []\n",                                                                             "2:1: invalid recipe: recipe must have at least one stage"   },
    {RUNTIME "stages:\n  - {from: file b}\n  - {from: file b}\n",
     "2:1: invalid recipe: recipe must have exactly one non-transient stage"                                                                                          },
    {RUNTIME "stages:\n  - name: a\n",
     "3:5: invalid recipe: stage \"a\": invalid stage: invalid from format"                                                                                           },
    {RUNTIME "stages:\n  - {name: a, from: file b, transient: true}\n  - {name: a, from: file b}\n",
     "4:5: invalid recipe: duplicate stage name: a"                                                                                                                   },
    {RUNTIME
     "stages:\n  - from: file b\n    steps:\n      - run: a\n      - run: b\n        copy: a /b\n", "6:9: invalid recipe: stage 1: invalid stage: step 2: invalid step: run and copy are mutually "
     "exclusive"                                              },
    {RUNTIME "stages:\n  - from: file b\n    steps:\n      - run: a\n      -\n",
     "6:7: expected keys and values"                                                                                                                                  },
    {RUNTIME "stages:\n  - from: file b\n    steps:\n      - {}\n",
     "5:9: invalid recipe: stage 1: invalid stage: step 1: invalid step: step has no fields set"                                                                      },
    {RUNTIME
     "stages:\n  - from: file b\n    steps:\n      - platform: linux/amd64\n        steps:\n"
     "          - run: a\n          - copy: x:/a /b\n",                                             "8:13: invalid recipe: stage 1: invalid stage: step 1: invalid step: step 2: invalid step: "
     "unknown stage \"x\""                                                                                },
};

static void
test_refusals(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *message = g_strconcat("crucible.yaml:", refusals[i].message, NULL);
        g_autoptr(GError) error = NULL;

        g_assert_null(parse(refusals[i].text, &error));
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void
test_codes(void)
{
    static const struct {
        const char *text;
        CxError code;
    } cases[] = {
        {"version: 1\n" RUNTIME STAGES,         CX_ERROR_UNSUPPORTED},
        {"resource: {type: widget, name: a}\n", CX_ERROR_UNSUPPORTED},
        {"a: b\n",                              CX_ERROR_INVALID    },
        {"a: [\n",                              CX_ERROR_INVALID    },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(parse(cases[i].text, &error));
        g_assert_true(cx_error_is(error, cases[i].code));
    }
}

static void
test_too_large(void)
{
    g_autofree char *text = g_strnfill(CX_MANIFEST_MAX + 1, '#');
    g_autoptr(GError) error = NULL;

    g_assert_null(parse(text, &error));
    g_assert_true(cx_error_is(error, CX_ERROR_LIMIT));
    g_assert_cmpstr(error->message, ==, "crucible.yaml:1:1: the file is larger than 4194304 bytes");
}

/* Every recipe in examples/ is one that we read. */
static void
test_examples(void)
{
    const char *root = g_getenv("CRUXD_SOURCE_ROOT");
    g_autofree char *folder = g_build_filename(root != NULL ? root : ".", "examples", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    if (dir == NULL) {
        g_test_skip("no examples/ (set CRUXD_SOURCE_ROOT)");
        return;
    }
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, "crucible.yaml", NULL), *text = NULL;
        g_autoptr(CxManifestFile) manifest = NULL;
        g_autoptr(GError) error = NULL;
        gsize size;

        g_assert_true(g_file_get_contents(path, &text, &size, &error));
        manifest = cx_manifest_file_parse(path, text, size, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(manifest->recipe->stages->len, >, 0);
    }
}

static void
test_file_name(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(cx_manifest_file_parse("odd\nname", "", 0, &error));
    g_assert_cmpstr(error->message, ==, "odd name:1:1: the file is empty");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/manifest-file/example", test_example);
    g_test_add_func("/recipe/manifest-file/same-as-json", test_same_as_json);
    g_test_add_func("/recipe/manifest-file/minimal", test_minimal);
    g_test_add_func("/recipe/manifest-file/refusals", test_refusals);
    g_test_add_func("/recipe/manifest-file/codes", test_codes);
    g_test_add_func("/recipe/manifest-file/too-large", test_too_large);
    g_test_add_func("/recipe/manifest-file/file-name", test_file_name);
    g_test_add_func("/recipe/manifest-file/examples", test_examples);
    return g_test_run();
}
