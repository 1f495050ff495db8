/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "daemon/instance.h"
#include "daemon/protocol.h"
#include "daemon/version.h"

static void
test_requests_accepted(void)
{
    static const struct {
        const char *line;
        const char *command;
        gboolean stream;
        gboolean payload;
    } cases[] = {
        {"{\"version\":0,\"command\":\"status\"}",                            "status", FALSE, FALSE},
        {"{\"command\":\"status\"}",                                          "status", FALSE, FALSE},
        {"{\"version\":null,\"command\":\"status\",\"payload\":null}",        "status", FALSE, FALSE},
        {"{\"Version\":0,\"COMMAND\":\"build\",\"Payload\":{}}",              "build",  FALSE, TRUE },
        {"{\"COMMAND\":\"wrong\",\"command\":\"right\"}",                     "right",  FALSE, FALSE},
        {"{\"command\":\"wrong\",\"command\":\"right\"}",                     "right",  FALSE, FALSE},
        {" {\"command\":\"build\",\"stream\":true,\"extra\":[1,{\"a\":2}]} ", "build",  TRUE,  FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(CxRequest) request = {NULL, NULL, FALSE};
        g_autoptr(GError) error = NULL;

        g_assert_true(cx_request_parse(cases[i].line, strlen(cases[i].line), &request, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(request.command, ==, cases[i].command);
        g_assert_cmpint(request.stream, ==, cases[i].stream);
        g_assert_cmpint(request.payload != NULL, ==, cases[i].payload);
    }
}

static void
test_requests_refused(void)
{
    static const struct {
        const char *line;
        const char *message; /* how it begins */
    } cases[] = {
        {"",                                       "malformed message: "         },
        {"hello",                                  "malformed message: "         },
        {"[]",                                     "malformed message: "         },
        {"{\"command\":\"status\"",                "malformed message: "         },
        {"{\"command\":\"status\"} x",             "malformed message: "         },
        {"{\"command\":7}",                        "malformed message: command: "},
        {"{\"command\":\"a\",\"payload\":[]}",     "malformed message: payload: "},
        {"{\"command\":\"\xff\"}",                 "malformed message: "         },
        {"{\"version\":1,\"command\":\"status\"}", "unsupported protocol version"},
        {"{\"version\":\"0\",\"command\":\"a\"}",  "unsupported protocol version"},
        {"{}",                                     "missing command"             },
        {"{\"command\":null}",                     "missing command"             },
        {"{\"command\":\"\"}",                     "missing command"             },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(CxRequest) request = {NULL, NULL, FALSE};
        g_autoptr(GError) error = NULL;

        g_assert_false(cx_request_parse(cases[i].line, strlen(cases[i].line), &request, &error));
        g_assert_nonnull(error);
        g_assert_true(g_str_has_prefix(error->message, cases[i].message));
        g_assert_null(strchr(error->message, '\n'));
    }
}

static void
test_nesting_is_bounded(void)
{
    g_autoptr(GString) line = g_string_new("{\"command\":\"a\",\"payload\":{\"x\":");
    g_auto(CxRequest) request = {NULL, NULL, FALSE};
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 100000; i++)
        g_string_append_c(line, '[');
    g_assert_false(cx_request_parse(line->str, line->len, &request, &error));
    g_assert_nonnull(strstr(error->message, "nested deeper"));
}

static void
test_messages(void)
{
    g_autoptr(json_t) payload = json_pack("{s:i,s:s}", "b", 2, "a", "x\ny");
    g_autofree char *ok = cx_message_format("ok", NULL), *with = cx_message_format("ok", payload);
    g_autofree char *request = cx_request_format("build", NULL, TRUE);
    g_autoptr(GError) error = g_error_new(CX_ERROR, CX_ERROR_NOT_FOUND, "no \"x\" \xff");
    g_autofree char *failed = cx_message_format_error(error);

    g_assert_cmpstr(ok, ==, "{\"version\":0,\"command\":\"ok\"}\n");
    g_assert_cmpstr(with, ==,
                    "{\"version\":0,\"command\":\"ok\",\"payload\":{\"a\":\"x\\ny\",\"b\":2}}\n");
    g_assert_cmpstr(request, ==, "{\"version\":0,\"command\":\"build\",\"stream\":true}\n");
    g_assert_cmpstr(
        failed, ==,
        "{\"version\":0,\"command\":\"error\",\"payload\":{\"code\":\"not-found\",\"message\":"
        "\"no \\\"x\\\" \xef\xbf\xbd\"}}\n");
}

static void
test_uptime(void)
{
    static const struct {
        gint64 seconds;
        const char *text;
    } cases[] = {
        {0,     "0s"     },
        {59,    "59s"    },
        {60,    "1m0s"   },
        {3599,  "59m59s" },
        {3600,  "1h0m0s" },
        {3723,  "1h2m3s" },
        {93605, "26h0m5s"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = cx_format_uptime(cases[i].seconds);

        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void
test_version(void)
{
    static const struct {
        const char *version, *stage, *commit, *text;
    } cases[] = {
        {"v1.2.0", "main", "abc", "1.2.0 abc [amd64]"     },
        {"V1.2.0", "beta", "abc", "1.2.0+beta abc [amd64]"},
        {"1.2.0",  "main", "abc", "1.2.0 abc [amd64]"     },
        {"",       "main", "abc", "(local)"               },
        {"v1",     "",     "abc", "(local)"               },
        {"v1",     "main", "",    "(local)"               },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text =
            cx_version_format(cases[i].version, cases[i].stage, cases[i].commit, "amd64");

        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void
test_instance_names(void)
{
    static const char *const good[] = {"default", "a", "ci-2.x_y", "private-17"};
    static const char *const bad[] = {"", ".", "..", "a/b", "-x", "a b", "\xc3\xa9"};

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(cx_instance_name_check(good[i], NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(cx_instance_name_check(bad[i], NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/protocol/accepted", test_requests_accepted);
    g_test_add_func("/protocol/refused", test_requests_refused);
    g_test_add_func("/protocol/nesting", test_nesting_is_bounded);
    g_test_add_func("/protocol/messages", test_messages);
    g_test_add_func("/protocol/uptime", test_uptime);
    g_test_add_func("/version", test_version);
    g_test_add_func("/instance/names", test_instance_names);
    return g_test_run();
}
