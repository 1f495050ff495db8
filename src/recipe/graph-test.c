/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "recipe/graph.h"

static CxGraph *
make_graph(const char *stages, const char *platform_text, GError **error)
{
    g_autofree char *text = g_strdup_printf("{\"stages\":%s}", stages);
    g_autoptr(GError) own_error = NULL;
    g_autoptr(json_t) json = cx_json_parse(text, strlen(text), &own_error);
    g_autoptr(CxRecipe) recipe = NULL;
    CxPlatform platform;

    g_assert_no_error(own_error);
    recipe = cx_recipe_from_json(json, &own_error);
    g_assert_no_error(own_error);
    cx_platform_parse(platform_text, &platform, &own_error);
    g_assert_no_error(own_error);
    return cx_recipe_to_graph(recipe, &platform, error);
}

/* The graph as text: what it promises, one vertex a line. */
static char *
describe(const CxGraph *graph)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < graph->vertices->len; i++) {
        const CxVertex *v = g_ptr_array_index(graph->vertices, i);
        g_autofree char *env = v->env != NULL ? g_strjoinv(",", v->env) : NULL;

        g_assert_true(v->input == CX_NO_VERTEX || v->input < i);
        g_assert_true(v->from == CX_NO_VERTEX || v->from < i);
        g_string_append_printf(text, "%u: %s", i, v->title);
        if (v->input != CX_NO_VERTEX)
            g_string_append_printf(text, " <%u", v->input);
        if (v->from != CX_NO_VERTEX)
            g_string_append_printf(text, " from %u", v->from);
        if (v->op == CX_OP_COPY)
            g_string_append_printf(text, " [%s -> %s]", v->source, v->dest);
        if (v->op != CX_OP_SOURCE)
            g_string_append_printf(text, " in '%s'", v->workdir);
        if (v->op == CX_OP_RUN)
            g_string_append_printf(text, " by %s with '%s'", v->shell, env);
        g_string_append_printf(text, " (%u.%u.%u)\n", v->stage, v->step, v->child);
    }
    for (guint i = 0; i < graph->stages->len; i++) {
        const CxGraphStage *s = g_ptr_array_index(graph->stages, i);
        g_autofree char *env = g_strjoinv(",", s->env);

        g_string_append_printf(text, "stage %s%s: result %u env '%s' workdir '%s'%s\n", s->label,
                               s->transient ? " transient" : "", s->result, env, s->workdir,
                               i == graph->output ? " output" : "");
    }
    return g_string_free(text, FALSE);
}

#define FROM "\"from\":\"file b\""
#define SOURCE "0: from file b (0.0.0)\n"

static const struct {
    const char *stages, *platform, *expected;
} cases[] = {
  /* one source */
    {"[{" FROM "}]",                                                                                  "linux/amd64", SOURCE "stage 1: result 0 env '' workdir '' output\n"},

 /* the state: kept from steps of their own, held for one operation only when beside it */
    {"[{" FROM ",\"steps\":[{\"run\":\"one\"},{\"env\":{\"B\":\"2\",\"A\":\"1\"},\"workdir\":\"/"
     "w\",\"shell\":\"/bin/bash\"},"
     "{\"run\":\"two\",\"env\":{\"A\":\"x\",\"C\":\"3=3\"},\"workdir\":\"sub\",\"shell\":\"/bin/"
     "zsh\"},{\"run\":\"three\"},"
     "{\"workdir\":\"deeper\"},{\"copy\":\"src .\"},{\"copy\":\"src "
     "x\",\"workdir\":\"/other\"},{\"copy\":\"src /y\"}]}]",                                     "linux/amd64",
     SOURCE "1: run one <0 in '' by /bin/sh with '' (0.1.0)\n"
            "2: run two <1 in '/w/sub' by /bin/zsh with 'A=x,B=2,C=3=3' (0.3.0)\n"
            "3: run three <2 in '/w' by /bin/bash with 'A=1,B=2' (0.4.0)\n"
            "4: copy src . <3 [src -> .] in '/w/deeper' (0.6.0)\n"
            "5: copy src x <4 [src -> x] in '/other' (0.7.0)\n"
            "6: copy src /y <5 [src -> /y] in '/w/deeper' (0.8.0)\n"
            "stage 1: result 6 env 'A=1,B=2' workdir '/w/deeper' output\n"                                                                                                },

 /* before any absolute workdir they stay relative to the image's */
    {"[{" FROM
     ",\"steps\":[{\"workdir\":\"src\"},{\"run\":\"a\"},{\"run\":\"b\",\"workdir\":\"lib\"}]}]", "linux/amd64",
     SOURCE "1: run a <0 in 'src' by /bin/sh with '' (0.2.0)\n"
            "2: run b <1 in 'src/lib' by /bin/sh with '' (0.3.0)\n"
            "stage 1: result 2 env '' workdir 'src' output\n"                                                                                                             },

 /* state starts anew in each stage; a copy reads the last vertex of its stage */
    {"[{\"name\":\"b\"," FROM
     ",\"transient\":true,\"steps\":[{\"env\":{\"A\":\"1\"}},{\"run\":\"make\"}]},"
     "{" FROM ",\"steps\":[{\"copy\":\"b:/src/server /app/server\"},{\"run\":\"x\"}]}]",
     "linux/amd64",                                                                                                  SOURCE
     "1: run make <0 in '' by /bin/sh with 'A=1' (0.2.0)\n"
     "2: from file b (1.0.0)\n"
     "3: copy b:/src/server /app/server <2 from 1 [/src/server -> /app/server] in '' (1.1.0)\n"
     "4: run x <3 in '' by /bin/sh with '' (1.2.0)\n"
     "stage b transient: result 1 env 'A=1' workdir ''\n"
     "stage 2: result 4 env '' workdir '' output\n"                                                                                                    },

 /* stages that the output does not need are left out, those needed through others are not */
    {"[{\"name\":\"a\"," FROM ",\"transient\":true},{\"name\":\"unused\"," FROM
     ",\"transient\":true,\"steps\":[{\"copy\":\"a:/ /\"}]},"
     "{\"name\":\"b\",\"from\":\"oci c\",\"transient\":true,\"steps\":[{\"copy\":\"a:/x /x\"}]},"
     "{" FROM ",\"steps\":[{\"copy\":\"b:/x /x\"}]},{\"name\":\"late\",\"from\":\"acme/x "
     "1\",\"transient\":true}]",                                                                 "linux/amd64",
     SOURCE "1: from oci c (1.0.0)\n"
            "2: copy a:/x /x <1 from 0 [/x -> /x] in '' (1.1.0)\n"
            "3: from file b (2.0.0)\n"
            "4: copy b:/x /x <3 from 2 [/x -> /x] in '' (2.1.0)\n"
            "stage a transient: result 0 env '' workdir ''\n"
            "stage b transient: result 2 env '' workdir ''\n"
            "stage 4: result 4 env '' workdir '' output\n"                                                                                                                },
};

static void
test_shapes(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxGraph) graph = make_graph(cases[i].stages, cases[i].platform, &error);
        g_autofree char *text = NULL;

        g_assert_no_error(error);
        text = describe(graph);
        g_assert_cmpstr(text, ==, cases[i].expected);
    }
}

/* A group changes the state, then its children run; for another platform it is skipped whole. */
static void
test_platform_groups(void)
{
    static const char stages[] =
        "[{" FROM ",\"steps\":[{\"run\":\"first\"},"
        "{\"platform\":\"linux/aarch64\",\"env\":{\"T\":\"arm\"},\"workdir\":\"/arm\",\"steps\":["
        "{\"run\":\"tune\"},{\"env\":{\"U\":\"1\"}}]},"
        "{\"run\":\"only\",\"platform\":\"linux/"
        "amd64\"},{\"env\":{\"V\":\"1\"},\"platform\":\"linux/amd64\"},{\"run\":\"last\"}]}]";
    static const struct {
        const char *platform, *expected;
    } targets[] = {
        {"linux/arm64",   SOURCE "1: run first <0 in '' by /bin/sh with '' (0.1.0)\n"
                               "2: run tune <1 in '/arm' by /bin/sh with 'T=arm' (0.2.1)\n"
                               "3: run last <2 in '/arm' by /bin/sh with 'T=arm,U=1' (0.5.0)\n"
                               "stage 1: result 3 env 'T=arm,U=1' workdir '/arm' output\n"},
        {"linux/amd64",   SOURCE "1: run first <0 in '' by /bin/sh with '' (0.1.0)\n"
                               "2: run only <1 in '' by /bin/sh with '' (0.3.0)\n"
                               "3: run last <2 in '' by /bin/sh with 'V=1' (0.5.0)\n"
                               "stage 1: result 3 env 'V=1' workdir '' output\n"          },
        {"linux/riscv64", SOURCE "1: run first <0 in '' by /bin/sh with '' (0.1.0)\n"
                                 "2: run last <1 in '' by /bin/sh with '' (0.5.0)\n"
                                 "stage 1: result 2 env '' workdir '' output\n"         },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(targets); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxGraph) graph = make_graph(stages, targets[i].platform, &error);
        g_autofree char *text = NULL;

        g_assert_no_error(error);
        text = describe(graph);
        g_assert_cmpstr(text, ==, targets[i].expected);
    }
}

/* The output stage made for just this platform is taken before the one for all. */
static void
test_platform_stages(void)
{
    static const char stages[] =
        "[{\"name\":\"arm\",\"from\":\"file "
        "arm\",\"platform\":\"linux/arm64\"},{\"name\":\"any\"," FROM "},"
        "{\"name\":\"x86\",\"from\":\"file x86\",\"platform\":\"linux/amd64\"}]";
    static const char *const expected[][2] = {
        {"linux/arm64",   "arm"},
        {"linux/amd64",   "x86"},
        {"linux/riscv64", "any"}
    };

    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxGraph) graph = make_graph(stages, expected[i][0], &error);

        g_assert_no_error(error);
        g_assert_cmpuint(graph->stages->len, ==, 1);
        g_assert_cmpstr(((CxGraphStage *)g_ptr_array_index(graph->stages, 0))->label, ==,
                        expected[i][1]);
    }
}

static void
test_refusals(void)
{
    static const struct {
        const char *stages, *message;
    } refusals[] = {
        {"[{" FROM ",\"platform\":\"linux/arm64\"},{" FROM ",\"platform\":\"linux/arm/v7\"}]",
         "the recipe has no output stage for linux/amd64 (only for linux/arm64, linux/arm/v7)"                                                                                         },
        {"[{\"name\":\"b\"," FROM ",\"platform\":\"linux/arm64\",\"transient\":true},"
         "{\"name\":\"c\"," FROM ",\"steps\":[{\"run\":\"x\"},{\"copy\":\"b:/x /x\"}]}]",
         "stage \"c\": step 2: unknown stage \"b\" (it is for platform linux/arm64 only)"                                                                                              },
        {"[{\"name\":\"b\"," FROM ",\"platform\":\"linux/arm64\",\"transient\":true},"
         "{" FROM ",\"steps\":[{\"platform\":\"linux/"
         "amd64\",\"steps\":[{\"run\":\"x\"},{\"copy\":\"b:/x /x\"}]}]}]",                "stage 2: step 1: step 2: unknown stage \"b\" (it is for platform linux/arm64 only)"},
        {"[{\"from\":\"acme/runtime  1.0\"}]",
         "stage 1: unresolved source \"acme/runtime 1.0\" (a Crucible reference; the client must "
         "turn it into a file or an "
         "oci image)"                                                                                                                                                                  },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(make_graph(refusals[i].stages, "linux/amd64", &error));
        g_assert_cmpstr(error->message, ==, refusals[i].message);
        g_assert_true(cx_error_is(error, CX_ERROR_INVALID));
    }
}

static void
test_source(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxGraph) graph = make_graph(
        "[{\"from\":\"file  my base.tar\",\"line\":7,\"steps\":[{\"run\":\"a\",\"line\":9}]}]",
        "linux/amd64", &error);
    const CxVertex *source, *run;

    g_assert_no_error(error);
    source = g_ptr_array_index(graph->vertices, 0);
    run = g_ptr_array_index(graph->vertices, 1);
    g_assert_cmpint(source->source_kind, ==, CX_FROM_FILE);
    g_assert_cmpstr(source->source, ==, "my base.tar");
    g_assert_cmpuint(source->line, ==, 7);
    g_assert_cmpuint(run->line, ==, 9);
    g_assert_cmpstr(run->command, ==, "a");
}

static void
test_title(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxGraph) graph = make_graph(
        "[{" FROM ",\"steps\":[{\"run\":\"set -e\\n\\tmake \\u001b[31m\\n\"},{\"run\":\""
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
        "\"}]}]",
        "linux/amd64", &error);

    g_assert_no_error(error);
    g_assert_cmpstr(((CxVertex *)g_ptr_array_index(graph->vertices, 1))->title, ==,
                    "run set -e make \\x1b[31m");
    g_assert_cmpstr(
        ((CxVertex *)g_ptr_array_index(graph->vertices, 2))->title, ==,
        "run 012345678901234567890123456789012345678901234567890123456789012345678901234…");
}

/* A small recipe must not become a huge graph: environments and working directories are copied into
 * vertices. */
static void
test_limits(void)
{
    g_autofree char *value = g_strnfill(100000, 'v'), *folder = g_strnfill(3000, 'd');
    g_autoptr(GString) runs = g_string_new(NULL);
    g_autofree char *env = NULL, *workdir = NULL;
    g_autoptr(GError) env_error = NULL, workdir_error = NULL;

    for (guint i = 0; i < 400; i++)
        g_string_append(runs, ",{\"run\":\"x\"}");
    env = g_strdup_printf("[{" FROM ",\"steps\":[{\"env\":{\"A\":\"%s\"}}%s]}]", value, runs->str);
    workdir = g_strdup_printf(
        "[{" FROM ",\"steps\":[{\"workdir\":\"%s\"},{\"run\":\"a\",\"workdir\":\"%s\"}]}]", folder,
        folder);

    g_assert_null(make_graph(env, "linux/amd64", &env_error));
    g_assert_true(cx_error_is(env_error, CX_ERROR_LIMIT));
    g_assert_null(make_graph(workdir, "linux/amd64", &workdir_error));
    g_assert_true(cx_error_is(workdir_error, CX_ERROR_LIMIT));
    g_assert_cmpstr(workdir_error->message, ==,
                    "stage 1: step 2: workdir is longer than 4095 bytes");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/graph/shapes", test_shapes);
    g_test_add_func("/recipe/graph/platform-groups", test_platform_groups);
    g_test_add_func("/recipe/graph/platform-stages", test_platform_stages);
    g_test_add_func("/recipe/graph/refusals", test_refusals);
    g_test_add_func("/recipe/graph/source", test_source);
    g_test_add_func("/recipe/graph/title", test_title);
    g_test_add_func("/recipe/graph/limits", test_limits);
    return g_test_run();
}
