/* SPDX-License-Identifier: Apache-2.0 */
/* A build request's recipe: JSON -> check -> graph for two platforms -> JSON again. */
#include <stdint.h>

#include "recipe/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_graph(const CxRecipe *recipe, const char *platform_text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxGraph) graph = NULL;
    CxPlatform platform;

    g_assert_true(cx_platform_parse(platform_text, &platform, NULL));
    graph = cx_recipe_to_graph(recipe, &platform, &error);
    g_assert_true((graph == NULL) == (error != NULL));

    for (guint i = 0; graph != NULL && i < graph->vertices->len; i++) {
        const CxVertex *vertex = g_ptr_array_index(graph->vertices, i);

        g_assert_true(vertex->op == CX_OP_SOURCE ? vertex->input == CX_NO_VERTEX
                                                 : vertex->input < i);
        g_assert_true(vertex->from == CX_NO_VERTEX || vertex->from < i);
        g_assert_true(vertex->stage < graph->stages->len);
        g_assert_cmpint(g_utf8_strlen(vertex->title, -1), <=, 80);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(json_t) json = cx_json_parse((const char *)data, size, NULL), written = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(CxRecipe) recipe = json != NULL ? cx_recipe_from_json(json, &error) : NULL,
                        again = NULL;

    if (recipe == NULL) {
        g_assert_true(json == NULL || error != NULL);
        return 0;
    }

    check_graph(recipe, "linux/amd64");
    check_graph(recipe, "linux/arm64");
    written = cx_recipe_to_json(recipe);
    again = cx_recipe_from_json(written, &error);
    g_assert_no_error(error);
    return 0;
}
