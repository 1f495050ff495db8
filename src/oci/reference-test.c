/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

static void
test_tag(void)
{
    static const struct {
        const char *text, *tag;
    } cases[] = {
        {"alpine",               NULL   },
        {"alpine:3.18",          "3.18" },
        {"localhost:5000/app",   NULL   },
        {"localhost:5000/app:1", "1"    },
        {"acme/api:1.2.0",       "1.2.0"},
        {"a:",                   ""     },
        {"",                     NULL   },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmpstr(cx_reference_peek_tag(cases[i].text), ==, cases[i].tag);
}

static void
test_tagged(void)
{
    static const char *const good[] = {
        "alpine:3.18",
        "acme/api:1.2.0",
        "x/a.b_c__d---e/f:_x",
        "docker.io/library/alpine:3",
        "LOCAL/app:1",
        "localhost:5000/app:v1.0.0-rc.1_x",
        "my-host.example:443/a/b/c:A",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef:latest",
    };
    static const char *const bad[] = {
        "",
        ":",
        ":1",
        "alpine",
        "alpine:",
        "Alpine:1",
        "acme/API:1",
        "acme//api:1",
        "acme/:1",
        "/acme:1",
        "a..b:1",
        "a___b:1",
        "a._b:1",
        "-a:1",
        "a-:1",
        "a b:1",
        "a:1 2",
        "a:.1",
        "a:-1",
        "a@sha256:00",
        "https://a/b:1",
        "host:port/a:1",
        "host:/a:1",
        ".host/a:1",
        "ho..st/a:1",
        "-host.x/a:1",
        "a_b.c/d:1", /* a domain has no "_" */
        "\xc3\xa9:1",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_test_message("%s", good[i]);
        g_assert_true(cx_reference_is_tagged(good[i]));
    }
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("%s", bad[i]);
        g_assert_false(cx_reference_is_tagged(bad[i]));
    }
}

static void
test_limits(void)
{
    g_autofree char *name = g_strnfill(255, 'a'), *long_name = g_strnfill(256, 'a');
    g_autofree char *tag = g_strnfill(128, 't'), *long_tag = g_strnfill(129, 't');
    g_autofree char *most = g_strconcat(name, ":", tag, NULL);
    g_autofree char *name_over = g_strconcat(long_name, ":", tag, NULL);
    g_autofree char *tag_over = g_strconcat(name, ":", long_tag, NULL);

    g_assert_true(cx_reference_is_tagged(most));
    g_assert_false(cx_reference_is_tagged(name_over));
    g_assert_false(cx_reference_is_tagged(tag_over));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/reference/tag", test_tag);
    g_test_add_func("/oci/reference/tagged", test_tagged);
    g_test_add_func("/oci/reference/limits", test_limits);
    return g_test_run();
}
