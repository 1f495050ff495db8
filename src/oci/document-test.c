/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, indexes and manifests: what is read, what is refused, what is written. */
#include <string.h>

#include "base/error.h"
#include "oci/image.h"

#define HEX "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define DIGEST "sha256:" HEX
#define CONFIG                                                                                     \
    "{\"mediaType\":\"" CX_MEDIA_TYPE_OCI_CONFIG "\",\"digest\":\"" DIGEST "\",\"size\":2}"
#define LAYER                                                                                      \
    "{\"mediaType\":\"" CX_MEDIA_TYPE_OCI_LAYER_GZIP "\",\"digest\":\"" DIGEST "\",\"size\":7}"
#define DOCKER_LAYER                                                                               \
    "{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar.gzip\",\"digest\":\"" DIGEST    \
    "\",\"size\":7}"

static void
test_media(void)
{
    static const struct {
        const char *media_type;
        CxMediaKind kind;
        const char *oci;
    } cases[] = {
        {CX_MEDIA_TYPE_OCI_INDEX,                                        CX_MEDIA_INDEX,      CX_MEDIA_TYPE_OCI_INDEX},
        {"application/vnd.docker.distribution.manifest.list.v2+json",    CX_MEDIA_INDEX,
         CX_MEDIA_TYPE_OCI_INDEX                                                                                     },
        {"application/vnd.docker.distribution.manifest.v2+json",         CX_MEDIA_MANIFEST,
         CX_MEDIA_TYPE_OCI_MANIFEST                                                                                  },
        {"application/vnd.docker.container.image.v1+json",               CX_MEDIA_CONFIG,
         CX_MEDIA_TYPE_OCI_CONFIG                                                                                    },
        {"application/vnd.docker.image.rootfs.diff.tar.gzip",            CX_MEDIA_LAYER_GZIP,
         CX_MEDIA_TYPE_OCI_LAYER_GZIP                                                                                },
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", CX_MEDIA_LAYER_ZSTD,
         CX_MEDIA_TYPE_OCI_LAYER_ZSTD                                                                                },
        {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted",        CX_MEDIA_UNKNOWN,    NULL                   },
        {"",                                                             CX_MEDIA_UNKNOWN,    NULL                   },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(cx_media_kind(cases[i].media_type), ==, cases[i].kind);
        g_assert_cmpstr(cx_media_type_to_oci(cases[i].media_type), ==,
                        cases[i].oci != NULL ? cases[i].oci : cases[i].media_type);
    }
    g_assert_true(cx_media_kind_is_layer(CX_MEDIA_LAYER_ZSTD));
    g_assert_false(cx_media_kind_is_layer(CX_MEDIA_CONFIG));
}

static CxDescriptor *
parse_descriptor(const char *text, GError **error)
{
    g_autoptr(json_t) json = cx_json_parse(text, strlen(text), error);

    g_assert_nonnull(json);
    return cx_descriptor_from_json(json, error);
}

/* Reads and writes again: the second column, or the same bytes where it is NULL. */
static void
test_descriptor(void)
{
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":0}",                              NULL                                                        },
        {"{\"annotations\":{\"a\":\"b\"},\"digest\":\"" DIGEST
         "\",\"mediaType\":\"m\",\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\","
         "\"variant\":"
         "\"v6\"},\"size\":4398046511104}",                                                NULL                                                        },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":1,\"urls\":[\"u\"],"
         "\"platform\":{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"}}", "{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"platform\":{\"architecture\":\"arm64\","
         "\"os\":\"linux\"},\"size\":1}"                     },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":1,\"platform\":{\"os\":\"\"},"
         "\"annotations\":{}}",                                                            "{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":1}"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxDescriptor) read = parse_descriptor(cases[i].text, &error);
        g_autoptr(CxDescriptor) copy = NULL;
        g_autoptr(json_t) json = NULL;
        g_autofree char *text = NULL;

        g_assert_no_error(error);
        copy = cx_descriptor_dup(read);
        json = cx_descriptor_to_json(copy);
        text = cx_json_canonical(json);
        g_assert_cmpstr(text, ==, cases[i].written != NULL ? cases[i].written : cases[i].text);
    }
}

static void
test_descriptor_refused(void)
{
    static const struct {
        const char *text;
        CxError code;
        const char *says;
    } cases[] = {
        {"[]",                                                                                              CX_ERROR_INVALID,     "expected a descriptor"      },
        {"{\"digest\":\"" DIGEST "\",\"size\":0}",                                                          CX_ERROR_INVALID,     "mediaType is missing"       },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":7,\"size\":0}",                                          CX_ERROR_INVALID,     "mediaType"                  },
        {"{\"mediaType\":\"m\",\"size\":0}",                                                                CX_ERROR_INVALID,     "digest is missing"          },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\"}",                                                 CX_ERROR_INVALID,     "size is missing"            },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":-1}",                                     CX_ERROR_INVALID,
         "negative"                                                                                                                                            },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":1.0}",                                    CX_ERROR_INVALID,
         "whole number"                                                                                                                                        },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":9223372036854775807}",
         CX_ERROR_LIMIT,                                                                                                          "4398046511104"              },
        {"{\"digest\":\"sha256:../../etc/passwd\",\"mediaType\":\"m\",\"size\":0}",
         CX_ERROR_INVALID,                                                                                                        "64 lower-case hex digits"   },
        {"{\"digest\":\"sha256:" HEX "/x\",\"mediaType\":\"m\",\"size\":0}",                                CX_ERROR_INVALID,
         "digest"                                                                                                                                              },
        {"{\"digest\":\"" HEX "\",\"mediaType\":\"m\",\"size\":0}",                                         CX_ERROR_INVALID,     "digest"                     },
        {"{\"digest\":\"sha512:00\",\"mediaType\":\"m\",\"size\":0}",                                       CX_ERROR_UNSUPPORTED,
         "sha512"                                                                                                                                              },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":0,\"annotations\":{\"a\":1}}",
         CX_ERROR_INVALID,                                                                                                        "annotations: \"a\""         },
        {"{\"digest\":\"" DIGEST "\",\"mediaType\":\"m\",\"size\":0,\"platform\":\"linux\"}",
         CX_ERROR_INVALID,                                                                                                        "platform"                   },
        {"{\"digest\":\"" DIGEST
         "\",\"mediaType\":\"m\",\"size\":0,\"platform\":{\"os\":\"..\",\"architecture\":\"x\"}}", CX_ERROR_INVALID,     "platform: platform \"../x\""},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(parse_descriptor(cases[i].text, &error));
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

static void
test_index(void)
{
    static const char text[] = "{\"schemaVersion\":2,\"manifests\":[" CONFIG "," LAYER "]}";
    static const char empty[] = "{\"schemaVersion\":2,\"manifests\":null}";
    g_autoptr(GError) error = NULL;
    g_autoptr(CxIndex) index = cx_index_parse(text, strlen(text), &error);
    g_autoptr(CxIndex) none = NULL;

    g_assert_no_error(error);
    g_assert_cmpuint(index->manifests->len, ==, 2);
    g_assert_cmpuint(((CxDescriptor *)index->manifests->pdata[1])->size, ==, 7);
    none = cx_index_parse(empty, strlen(empty), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(none->manifests->len, ==, 0);
}

static void
test_index_refused(void)
{
    static const struct {
        const char *text;
        CxError code;
        const char *says;
    } cases[] = {
        {"",                                                                    CX_ERROR_INVALID,     "index: line 1"                 },
        {"[]",                                                                  CX_ERROR_INVALID,     "expected a JSON object"        },
        {"{\"manifests\":[]",                                                   CX_ERROR_INVALID,     "index: line 1, column"         },
        {"{\"schemaVersion\":2}",                                               CX_ERROR_INVALID,     "\"manifests\" is missing"      },
        {"{\"schemaVersion\":3,\"manifests\":[]}",                              CX_ERROR_UNSUPPORTED, "schema version 3"              },
        {"{\"schemaVersion\":2,\"manifests\":{}}",                              CX_ERROR_INVALID,     "manifests: expected a list"    },
        {"{\"manifests\":[" CONFIG ",{}]}",                                     CX_ERROR_INVALID,     "index: manifests[1]: mediaType"},
        {"{\"manifests\":[],\"layers\":[]}",                                    CX_ERROR_INVALID,     "member \"layers\" contradicts" },
        {"{\"manifests\":[],\"LAYERS\":[]}",                                    CX_ERROR_INVALID,     "member \"layers\" contradicts" },
        {"{\"manifests\":[],\"config\":{}}",                                    CX_ERROR_INVALID,     "member \"config\" contradicts" },
        {"{\"manifests\":[],\"mediaType\":\"" CX_MEDIA_TYPE_OCI_MANIFEST "\"}", CX_ERROR_INVALID,
         "contradicts its place"                                                                                                      },
        {"{\"manifests\":[],\"mediaType\":\"text/plain\"}",                     CX_ERROR_INVALID,     "text/plain"                    },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(cx_index_parse(cases[i].text, strlen(cases[i].text), &error));
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

/* A document that repeats an item n times between two texts. */
static char *
repeat(const char *before, const char *item, guint n, const char *after)
{
    GString *text = g_string_new(before);

    for (guint i = 0; i < n; i++)
        g_string_append_printf(text, "%s%s", i > 0 ? "," : "", item);
    g_string_append(text, after);
    return g_string_free(text, FALSE);
}

static void
test_limits(void)
{
    g_autofree char *entries = repeat("{\"manifests\":[", LAYER, CX_INDEX_ENTRIES_MAX + 1, "]}");
    g_autofree char *layers = repeat("{\"config\":" CONFIG ",\"layers\":[", LAYER, 10000, "]}");
    g_autofree char *most =
        repeat("{\"config\":" CONFIG ",\"layers\":[", LAYER, CX_LAYERS_MAX, "]}");
    g_autofree char *large = repeat("{\"manifests\":[", LAYER, 40000, "]}");
    g_autofree char *many = repeat("{\"config\":[", "{}", 200000, "]}");
    g_autofree char *deep = repeat("{\"manifests\":", "[[[", 100, "");
    g_autoptr(GError) many_error = NULL;
    g_autoptr(GError) entries_error = NULL, layers_error = NULL, large_error = NULL,
                      deep_error = NULL;
    g_autoptr(CxManifest) manifest = cx_manifest_parse(most, strlen(most), NULL);

    g_assert_nonnull(manifest);
    g_assert_cmpuint(manifest->layers->len, ==, CX_LAYERS_MAX);
    g_assert_null(cx_index_parse(entries, strlen(entries), &entries_error));
    g_assert_error(entries_error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_cmpstr(entries_error->message, ==, "index: manifests: 1001 entries, more than 1000");
    g_assert_null(cx_manifest_parse(layers, strlen(layers), &layers_error));
    g_assert_error(layers_error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_cmpstr(layers_error->message, ==, "manifest: layers: 10000 entries, more than 1000");
    g_assert_null(cx_index_parse(large, strlen(large), &large_error));
    g_assert_error(large_error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_cmpstr(large_error->message, ==, "index: larger than 4194304 bytes");
    g_assert_null(cx_image_config_parse(many, strlen(many), &many_error));
    g_assert_error(many_error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_cmpstr(many_error->message, ==, "config: more than 200000 values");
    g_assert_null(cx_index_parse(deep, strlen(deep), &deep_error));
    g_assert_error(deep_error, CX_ERROR, CX_ERROR_LIMIT);
}

static void
test_manifest(void)
{
    static const char text[] =
        "{\"schemaVersion\":2,\"mediaType\":\"application/"
        "vnd.docker.distribution.manifest.v2+json\","
        "\"config\":" CONFIG ",\"layers\":[" DOCKER_LAYER "],\"annotations\":{\"k\":\"v\"}}";
    static const char written[] =
        "{\"annotations\":{\"k\":\"v\"},\"config\":{\"digest\":\"" DIGEST
        "\",\"mediaType\":\"" CX_MEDIA_TYPE_OCI_CONFIG
        "\",\"size\":2},\"layers\":[{\"digest\":\"" DIGEST
        "\",\"mediaType\":\"" CX_MEDIA_TYPE_OCI_LAYER_GZIP
        "\",\"size\":7}],\"mediaType\":\"" CX_MEDIA_TYPE_OCI_MANIFEST "\",\"schemaVersion\":2}";
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifest) manifest = cx_manifest_parse(text, strlen(text), &error);
    g_autoptr(CxManifest) again = NULL;
    g_autofree char *json = NULL, *second = NULL;

    g_assert_no_error(error);
    json = cx_manifest_to_json(manifest);
    g_assert_cmpstr(json, ==, written);
    again = cx_manifest_parse(json, strlen(json), &error);
    g_assert_no_error(error);
    second = cx_manifest_to_json(again);
    g_assert_cmpstr(second, ==, json);
}

static void
test_manifest_refused(void)
{
    static const struct {
        const char *text;
        CxError code;
        const char *says;
    } cases[] = {
        {"{\"layers\":[]}",                                                                     CX_ERROR_INVALID,     "manifest: member \"config\" is missing"},
        {"{\"config\":[]}",                                                                     CX_ERROR_INVALID,     "config: expected an object"            },
        {"{\"config\":{}}",                                                                     CX_ERROR_INVALID,     "manifest: config: mediaType is missing"},
        {"{\"config\":" CONFIG ",\"layers\":[" LAYER ",7]}",                                    CX_ERROR_INVALID,
         "layers[1]: expected"                                                                                                                                },
        {"{\"config\":" CONFIG ",\"layers\":\"x\"}",                                            CX_ERROR_INVALID,     "layers: expected a list"               },
        {"{\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}",                              CX_ERROR_INVALID,
         "\"manifests\" contradicts"                                                                                                                          },
        {"{\"config\":" CONFIG ",\"layers\":[],\"mediaType\":\"" CX_MEDIA_TYPE_OCI_INDEX "\"}",
         CX_ERROR_INVALID,                                                                                            "contradicts its place"                 },
        {"{\"schemaVersion\":1,\"fsLayers\":[]}",                                               CX_ERROR_UNSUPPORTED,
         "schema version 1 is no longer"                                                                                                                      },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(cx_manifest_parse(cases[i].text, strlen(cases[i].text), &error));
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

static void
test_check(void)
{
    static const char one[] =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"" DIGEST "\"]}}";
    static const struct {
        const char *text;
        gboolean fits;
        CxError code;
        const char *says;
    } cases[] = {
        {"{\"config\":" CONFIG ",\"layers\":[" LAYER "]}",  TRUE,  0,                    NULL},
        {"{\"config\":" CONFIG ",\"layers\":[]}",           FALSE, CX_ERROR_INVALID,
         "0 layers, but the config has 1 diff ids"                                           },
        {"{\"config\":" LAYER ",\"layers\":[]}",            FALSE, CX_ERROR_UNSUPPORTED,
         "not a container image"                                                             },
        {"{\"config\":" CONFIG ",\"layers\":[" CONFIG "]}", FALSE, CX_ERROR_UNSUPPORTED,
         "layer 1 of 1"                                                                      },
    };
    g_autoptr(CxImageConfig) config = cx_image_config_parse(one, strlen(one), NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(CxManifest) manifest =
            cx_manifest_parse(cases[i].text, strlen(cases[i].text), &error);

        g_assert_no_error(error);
        g_assert_cmpint(cx_manifest_check(manifest, config, &error), ==, cases[i].fits);
        if (cases[i].fits)
            continue;
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/media", test_media);
    g_test_add_func("/oci/descriptor", test_descriptor);
    g_test_add_func("/oci/descriptor/refused", test_descriptor_refused);
    g_test_add_func("/oci/index", test_index);
    g_test_add_func("/oci/index/refused", test_index_refused);
    g_test_add_func("/oci/limits", test_limits);
    g_test_add_func("/oci/manifest", test_manifest);
    g_test_add_func("/oci/manifest/refused", test_manifest_refused);
    g_test_add_func("/oci/manifest/check", test_check);
    return g_test_run();
}
