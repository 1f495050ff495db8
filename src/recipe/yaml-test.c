/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "recipe/yaml.h"

static CxYamlNode *
parse(const char *text, CxPlace *out_place, GError **error)
{
    return cx_yaml_parse(text, strlen(text), out_place, error);
}

static void
test_tree(void)
{
    g_autoptr(GError) error = NULL;
    CxPlace place;
    g_autoptr(CxYamlNode) root = parse("# a comment\n"
                                       "version: 0\n"
                                       "list:\n"
                                       "  - 1.20\n"
                                       "  - \"1.20\"\n"
                                       "  - |\n"
                                       "    two\n"
                                       "    lines\n"
                                       "  -\n"
                                       "map: {a: ~, 'b': {}}\n",
                                       &place, &error);
    const CxYamlNode *list, *map, *item;

    g_assert_no_error(error);
    g_assert_cmpint(root->kind, ==, CX_YAML_MAP);
    g_assert_cmpuint(root->items->len, ==, 3);
    list = cx_yaml_node_peek(root, "list");
    g_assert_cmpint(list->kind, ==, CX_YAML_LIST);
    g_assert_cmpuint(list->key_place.line, ==, 3);
    g_assert_cmpuint(list->items->len, ==, 4);

    item = g_ptr_array_index(list->items, 0);
    g_assert_cmpstr(item->text, ==, "1.20");
    g_assert_true(item->plain);
    g_assert_cmpuint(item->place.line, ==, 4);
    g_assert_cmpuint(item->place.column, ==, 5);
    item = g_ptr_array_index(list->items, 1);
    g_assert_cmpstr(item->text, ==, "1.20");
    g_assert_false(item->plain);
    item = g_ptr_array_index(list->items, 2);
    g_assert_cmpstr(item->text, ==, "two\nlines\n");
    g_assert_true(cx_yaml_node_is_null(g_ptr_array_index(list->items, 3)));

    map = cx_yaml_node_peek(root, "map");
    g_assert_cmpint(map->kind, ==, CX_YAML_MAP);
    g_assert_null(cx_yaml_node_peek(map, "a"));
    g_assert_null(cx_yaml_node_peek(map, "c"));
    g_assert_cmpint(cx_yaml_node_peek(map, "b")->kind, ==, CX_YAML_MAP);
}

static void
test_null(void)
{
    static const struct {
        const char *text;
        gboolean is_null;
    } cases[] = {
        {"a: null",     TRUE },
        {"a: Null",     TRUE },
        {"a: ~",        TRUE },
        {"a:",          TRUE },
        {"a: ''",       FALSE},
        {"a: \"null\"", FALSE},
        {"a: nul",      FALSE},
        {"a: |\n",      FALSE},
        {"a: []",       FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        CxPlace place;
        g_autoptr(CxYamlNode) root = parse(cases[i].text, &place, &error);

        g_assert_no_error(error);
        g_assert_cmpint(cx_yaml_node_is_null(g_ptr_array_index(root->items, 0)), ==,
                        cases[i].is_null);
    }
}

static void
test_refusals(void)
{
    static const struct {
        const char *text;
        guint line, column;
        const char *message;
    } cases[] = {
        {"",                       1, 1, "the file is empty"                     },
        {"# nothing\n",            1, 1, "the file is empty"                     },
        {"a: 1\nb: &x 2\n",        2, 4, "anchors and aliases are not supported" },
        {"a: &x [1]\n",            1, 4, "anchors and aliases are not supported" },
        {"a: *x\n",                1, 4, "anchors and aliases are not supported" },
        {"a:\n  - !!str 1\n",      2, 5, "tags are not supported"                },
        {"--- !x\na: 1\n",         1, 5, "tags are not supported"                },
        {"a:\n  <<: {b: 1}\n",     2, 3, "merge keys (\"<<\") are not supported" },
        {"a: 1\nb: 2\n\"a\": 3\n", 3, 1, "duplicate key \"a\" (first in line 1)" },
        {"a: 1\n---\nb: 2\n",      2, 1, "more than one document in the file"    },
        {"? [a]\n: 1\n",           1, 3, "a key must be a plain word or a string"},
        {"? {a: b}\n: 1\n",        1, 3, "a key must be a plain word or a string"},
        {"a: b\n\xff: c\n",        2, 1, "the file is not valid UTF-8"           },
        {"a: \xc3\xa4 \xc3",       1, 6, "the file is not valid UTF-8"           },
        {"a: \"x\\0y\"\n",         1, 4, "a value holds a zero byte"             },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        CxPlace place = {0, 0};

        g_assert_null(parse(cases[i].text, &place, &error));
        g_assert_cmpstr(error->message, ==, cases[i].message);
        g_assert_cmpuint(place.line, ==, cases[i].line);
        g_assert_cmpuint(place.column, ==, cases[i].column);
    }
}

/* The words are libfyaml's; what we promise is the line and that there is one line of text. */
static void
test_syntax(void)
{
    static const struct {
        const char *text;
        guint line;
    } cases[] = {
        {"a: 1\n b: 2\n",  1},
        {"\ta: b\n",       1},
        {"a: b\nc: \"x\n", 2},
        {"a: @b\n",        1},
        {"a: 'x\n\n\n",    1},
        {"a: b\n- c\n",    2},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        CxPlace place = {0, 0};

        g_assert_null(parse(cases[i].text, &place, &error));
        g_assert_true(cx_error_is(error, CX_ERROR_INVALID));
        g_assert_cmpuint(place.line, >=, cases[i].line);
        g_assert_cmpuint(place.line, <=, cases[i].line + 3);
        g_assert_null(strchr(error->message, '\n'));
    }
}

/* Nothing but the error tells of it: a library does not write to somebody's terminal. */
static void
test_silence(void)
{
    if (g_test_subprocess()) {
        CxPlace place;

        g_assert_null(parse("%YAML 0.8\n---\na: b\n", &place, NULL));
        return;
    }

    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("");
}

static void
test_zero_byte(void)
{
    g_autoptr(GError) error = NULL;
    CxPlace place;

    g_assert_null(cx_yaml_parse("a: b\nc\0d: 1\n", 12, &place, &error));
    g_assert_cmpstr(error->message, ==, "the file holds a zero byte");
    g_assert_cmpuint(place.line, ==, 2);
    g_assert_cmpuint(place.column, ==, 2);
}

static void
test_depth(void)
{
    g_autofree char *fits = g_strnfill(CX_YAML_DEPTH_MAX, '['),
                    *ends = g_strnfill(CX_YAML_DEPTH_MAX, ']');
    g_autofree char *deepest = g_strconcat(fits, ends, NULL), *deeper = g_strnfill(100000, '[');
    g_autoptr(GError) error = NULL;
    CxPlace place;
    g_autoptr(CxYamlNode) root = parse(deepest, &place, &error);

    g_assert_no_error(error);
    g_assert_null(parse(deeper, &place, &error));
    g_assert_true(cx_error_is(error, CX_ERROR_LIMIT));
    g_assert_cmpuint(place.column, ==, CX_YAML_DEPTH_MAX + 1);
}

static void
test_nodes(void)
{
    g_autoptr(GString) text = g_string_new("[");
    g_autoptr(GError) error = NULL;
    CxPlace place;

    for (guint i = 0; i < CX_YAML_NODES_MAX; i++)
        g_string_append(text, "a,");
    g_string_append(text, "]");

    g_assert_null(parse(text->str, &place, &error));
    g_assert_true(cx_error_is(error, CX_ERROR_LIMIT));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/yaml/tree", test_tree);
    g_test_add_func("/recipe/yaml/null", test_null);
    g_test_add_func("/recipe/yaml/refusals", test_refusals);
    g_test_add_func("/recipe/yaml/syntax", test_syntax);
    g_test_add_func("/recipe/yaml/silence", test_silence);
    g_test_add_func("/recipe/yaml/zero-byte", test_zero_byte);
    g_test_add_func("/recipe/yaml/depth", test_depth);
    g_test_add_func("/recipe/yaml/nodes", test_nodes);
    return g_test_run();
}
