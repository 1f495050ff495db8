/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "oci/image.h"

#define HEX_A "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define HEX_B "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define BASE "\"os\":\"linux\",\"architecture\":\"amd64\""

static CxImageConfig *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    CxImageConfig *config = cx_image_config_parse(text, strlen(text), &error);

    g_assert_no_error(error);
    return config;
}

static void
test_new(void)
{
    CxPlatform platform = {"linux", "arm", "v7"};
    g_autoptr(CxImageConfig) config = cx_image_config_new(&platform);
    g_autofree char *text = cx_image_config_to_json(config, "1980-01-01T00:00:00Z");

    g_assert_cmpstr(text, ==,
                    "{\"architecture\":\"arm\",\"config\":{},\"created\":\"1980-01-01T00:00:00Z\","
                    "\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[],\"type\":\"layers\"},"
                    "\"variant\":\"v7\"}");
}

static void
test_parse(void)
{
    g_autoptr(CxImageConfig) read =
        parse("{\"os\":\"linux\",\"architecture\":\"aarch64\",\"variant\":\"v8\",\"config\":{"
              "\"Env\":[\"A=1\",\"B\"],"
              "\"Entrypoint\":[\"/e\"],\"Cmd\":[],\"WorkingDir\":\"/"
              "w\",\"User\":\"1:2\",\"StopSignal\":\"TERM\"},"
              "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\",\"sha256:" HEX_B
              "\"]}}");
    g_autoptr(CxImageConfig) config = cx_image_config_dup(read);

    g_assert_cmpstr(cx_platform_text(&config->platform).text, ==, "linux/arm64");
    g_assert_cmpuint(config->diff_ids->len, ==, 2);
    g_assert_cmpstr(cx_digest_text(&g_array_index(config->diff_ids, CxDigest, 1)).text, ==,
                    "sha256:" HEX_B);
    g_assert_cmpuint(g_strv_length(config->env), ==, 2);
    g_assert_cmpstr(config->env[0], ==, "A=1");
    g_assert_cmpstr(config->entrypoint[0], ==, "/e");
    g_assert_null(config->cmd);
    g_assert_cmpstr(config->working_dir, ==, "/w");
    g_assert_cmpstr(config->user, ==, "1:2");
    g_assert_cmpstr(config->stop_signal, ==, "TERM");
}

/* Everything may be left out but the platform. */
static void
test_sparse(void)
{
    static const char *const cases[] = {
        "{" BASE "}",
        "{" BASE ",\"config\":null,\"rootfs\":null,\"history\":null}",
        "{" BASE ",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}",
        "{" BASE ",\"config\":{\"Env\":null,\"Cmd\":null,\"WorkingDir\":null}}",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(CxImageConfig) config = parse(cases[i]);

        g_assert_cmpuint(config->diff_ids->len, ==, 0);
        g_assert_nonnull(config->env);
        g_assert_null(config->env[0]);
        g_assert_null(config->cmd);
        g_assert_cmpstr(config->working_dir, ==, "");
        g_assert_cmpstr(config->user, ==, "");
    }
}

static void
test_refused(void)
{
    static const struct {
        const char *text;
        CxError code;
        const char *says;
    } cases[] = {
        {"[]",                                                   CX_ERROR_INVALID,     "config: expected a JSON object"},
        {"{}",                                                   CX_ERROR_INVALID,     "config: platform \"/\""        },
        {"{\"os\":\"linux\"}",                                   CX_ERROR_INVALID,     "platform \"linux/\""           },
        {"{\"os\":\"li/nux\",\"architecture\":\"amd64\"}",       CX_ERROR_INVALID,     "platform"                      },
        {"{" BASE ",\"config\":[]}",                             CX_ERROR_INVALID,     "config: expected an object"    },
        {"{" BASE ",\"config\":{\"Env\":\"A=1\"}}",              CX_ERROR_INVALID,
         "Env: expected a list of strings"                                                                             },
        {"{" BASE ",\"config\":{\"Cmd\":[1]}}",                  CX_ERROR_INVALID,
         "Cmd: expected a list of strings"                                                                             },
        {"{" BASE ",\"config\":{\"User\":0}}",                   CX_ERROR_INVALID,     "User: expected a string"       },
        {"{" BASE ",\"rootfs\":{\"type\":\"disk\"}}",            CX_ERROR_UNSUPPORTED, "type \"disk\""                 },
        {"{" BASE ",\"rootfs\":{\"diff_ids\":[7]}}",             CX_ERROR_INVALID,     "diff_ids: expected a list"     },
        {"{" BASE ",\"rootfs\":{\"diff_ids\":[\"sha256:00\"]}}", CX_ERROR_INVALID,
         "rootfs: digest \"sha256:00\""                                                                                },
        {"{" BASE ",\"history\":[7]}",                           CX_ERROR_INVALID,     "history[0]: expected an object"},
        {"{" BASE ",\"history\":[{\"empty_layer\":\"yes\"}]}",   CX_ERROR_INVALID,     "empty_layer"                   },
        {"{" BASE ",\"x\":\"\\u0000\"}",                         CX_ERROR_INVALID,     "config: line 1"                },
        {"{" BASE ",\"x\":\"\xff\"}",                            CX_ERROR_INVALID,     "config: line 1"                },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(cx_image_config_parse(cases[i].text, strlen(cases[i].text), &error));
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

/* What we do not know is kept; what we set replaces every spelling of its name. */
static void
test_kept(void)
{
    g_autoptr(CxImageConfig) config =
        parse("{" BASE ",\"author\":\"me\",\"created\":\"2020-01-01T00:00:00Z\",\"os.version\":"
              "\"1\",\"x\":{\"b\":[1,null]},"
              "\"config\":{\"Labels\":{\"l\":\"1\"},\"ExposedPorts\":{\"80/"
              "tcp\":{}},\"cmd\":[\"old\"],\"ENV\":[\"A=1\"],"
              "\"Entrypoint\":[\"/gone\"]}}");
    g_autofree char *text = NULL, *same = cx_image_config_to_json(config, NULL);

    g_assert_nonnull(strstr(same, "\"created\":\"2020-01-01T00:00:00Z\""));
    g_clear_pointer(&config->entrypoint, g_strfreev);
    g_clear_pointer(&config->cmd, g_strfreev);
    config->cmd = g_strsplit("/new -x", " ", -1);
    text = cx_image_config_to_json(config, "1980-01-01T00:00:00Z");
    g_assert_cmpstr(
        text, ==,
        "{\"architecture\":\"amd64\",\"author\":\"me\",\"config\":{\"Cmd\":[\"/new\",\"-x\"],"
        "\"Env\":[\"A=1\"],\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"l\":\"1\"}},"
        "\"created\":\"1980-01-01T00:00:00Z\",\"os\":\"linux\",\"os.version\":\"1\","
        "\"rootfs\":{\"diff_ids\":[],\"type\":\"layers\"},\"x\":{\"b\":[1,null]}}");
}

static void
test_history(void)
{
    /* "L" a layer, "e" an entry without layer, "?" one filled in; before and after adding a layer
     * and an empty entry. */
    static const struct {
        guint n_layers;
        const char *history, *after;
    } cases[] = {
        {0, "",     "Le"    },
        {2, "LL",   "LLLe"  },
        {2, "eLeL", "eLeLLe"},
        {2, "",     "??Le"  },
        {3, "Le",   "Le??Le"},
        {1, "LLL",  "LeeLe" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(CxImageConfig) config = parse("{" BASE "}");
        g_autoptr(GString) shape = g_string_new(NULL);
        json_t *history = json_array();
        CxDigest digest = cx_digest_of("x", 1);
        json_t *entry;
        gsize k;

        for (const char *c = cases[i].history; *c != '\0'; c++)
            json_array_append_new(history,
                                  *c == 'e' ? json_pack("{s:b}", "empty_layer", 1) : json_object());
        if (json_array_size(history) > 0)
            json_object_set(config->document, "history", history);
        json_decref(history);
        for (guint n = 0; n < cases[i].n_layers; n++)
            g_array_append_val(config->diff_ids, digest);

        cx_image_config_add_history(config, "1980-01-01T00:00:00Z", "run x", &digest);
        cx_image_config_add_history(config, NULL, "workdir \xff", NULL);

        g_assert_cmpuint(config->diff_ids->len, ==, cases[i].n_layers + 1);
        json_array_foreach(json_object_get(config->document, "history"), k, entry)
        {
            gboolean empty = json_is_true(json_object_get(entry, "empty_layer"));

            g_string_append_c(shape, json_object_get(entry, "comment") != NULL ? '?'
                                     : empty                                   ? 'e'
                                                                               : 'L');
        }
        g_assert_cmpstr(shape->str, ==, cases[i].after);
        entry = json_array_get(json_object_get(config->document, "history"), shape->len - 1);
        g_assert_cmpstr(json_string_value(json_object_get(entry, "created_by")), ==,
                        "workdir \xef\xbf\xbd");
        g_assert_null(json_object_get(entry, "created"));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/config/new", test_new);
    g_test_add_func("/oci/config/parse", test_parse);
    g_test_add_func("/oci/config/sparse", test_sparse);
    g_test_add_func("/oci/config/refused", test_refused);
    g_test_add_func("/oci/config/kept", test_kept);
    g_test_add_func("/oci/config/history", test_history);
    return g_test_run();
}
