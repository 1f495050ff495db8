/* SPDX-License-Identifier: Apache-2.0 */
/* What is read as an image file, which image is chosen from it, and what is refused. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "image/test-image.h"

#define AMD64 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}"
#define ARM64 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}"
#define UNKNOWN ",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}"
#define NAMED(name) ",\"annotations\":{\"io.containerd.image.name\":\"" name "\"}"

/* The content of the one file in the chosen image's first layer tells which image it is. */
static CxTestImage *
make_image(const char *platform, const char *text, CxCompression compression)
{
    CxTestImage *image = cx_test_image_new(platform);

    cx_test_image_add_layer(image, "file", text, compression);
    return image;
}

typedef struct {
    CxImageFile *file;
    CxManifest *manifest;
    CxImageConfig *config;
} Selection;

static void
clear_selection(Selection *self)
{
    cx_image_file_close(self->file);
    cx_manifest_free(self->manifest);
    cx_image_config_free(self->config);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Selection, clear_selection)

static gboolean
select_fd(Selection *self, int take_fd, const char *platform, GError **error)
{
    CxPlatform want;

    g_assert_true(cx_platform_parse(platform, &want, NULL));
    self->file = cx_image_file_open(take_fd, "x.tar", NULL, error);
    return self->file != NULL &&
           cx_image_file_select(self->file, &want, &self->manifest, &self->config, error);
}

/* Asserts that the archive gives, for the platform, the image. */
static void
assert_selects(const CxTestArchive *archive, const char *platform, const CxTestImage *image)
{
    g_auto(Selection) selection = {NULL};
    g_autoptr(GError) error = NULL;
    g_autofree char *expected = cx_test_image_config(image), *actual = NULL;

    g_assert_true(select_fd(&selection, cx_test_archive_to_tar(archive), platform, &error));
    g_assert_no_error(error);
    actual = cx_image_config_to_json(selection.config, NULL);
    g_assert_cmpstr(actual, ==, expected);
    g_assert_cmpuint(selection.manifest->layers->len, ==, image->stored->len);
    for (guint i = 0; i < image->stored->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(selection.manifest->layers, i);
        CxDigest digest = cx_digest_of_bytes(g_ptr_array_index(image->stored, i));

        g_assert_true(cx_digest_equal(&layer->digest, &digest));
    }
}

static void
assert_refuses(const CxTestArchive *archive, const char *platform, CxError code, const char *says)
{
    g_auto(Selection) selection = {NULL};
    g_autoptr(GError) error = NULL;

    g_assert_false(select_fd(&selection, cx_test_archive_to_tar(archive), platform, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_error(error, CX_ERROR, (int)code);
    g_assert_true(g_str_has_prefix(error->message, "\"x.tar\": "));
    g_assert_nonnull(strstr(error->message, says));
    g_assert_null(selection.manifest);
    g_assert_null(selection.config);
}

/* ---- OCI layouts ---- */

static void
test_one(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "a", CX_COMPRESSION_GZIP);
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");

    cx_test_archive_add_text(archive, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    cx_test_archive_add_index(archive, descriptor);
    assert_selects(archive, "linux/amd64", image);
    assert_refuses(archive, "linux/arm64", CX_ERROR_NOT_FOUND,
                   "no image for linux/arm64 (there is linux/amd64)");
}

/* Entries that state a platform win over those that must be asked. */
static void
test_platforms(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) unstated = make_image("linux/arm64", "unstated", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) amd64 = make_image("linux/amd64", "amd64", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) arm64 = make_image("linux/arm64", "arm64", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) s390x = make_image("linux/s390x", "s390x", CX_COMPRESSION_GZIP);
    g_autofree char *a = cx_test_archive_add_image(archive, unstated, "");
    g_autofree char *b = cx_test_archive_add_image(archive, amd64, AMD64);
    g_autofree char *c = cx_test_archive_add_image(archive, arm64, ARM64);
    g_autofree char *d = cx_test_archive_add_image(archive, s390x, "");
    g_autofree char *all = g_strjoin(",", a, b, c, d, NULL);

    cx_test_archive_add_index(archive, all);
    assert_selects(archive, "linux/amd64", amd64);
    assert_selects(archive, "linux/arm64", arm64);
    assert_selects(archive, "linux/s390x", s390x);
    assert_refuses(archive, "linux/riscv64", CX_ERROR_NOT_FOUND,
                   "(there is linux/arm64, linux/amd64, linux/s390x)");
}

/* As docker buildx writes it: one index of one image, an attestation beside each platform. */
static void
test_nested(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) amd64 = make_image("linux/amd64", "amd64", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) arm64 = make_image("linux/arm64", "arm64", CX_COMPRESSION_ZSTD);
    g_autoptr(CxTestImage) other = make_image("linux/amd64", "attestation", CX_COMPRESSION_GZIP);
    g_autofree char *a = cx_test_archive_add_image(archive, other, UNKNOWN);
    g_autofree char *b = cx_test_archive_add_image(
        archive, other,
        ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}");
    g_autofree char *c = cx_test_archive_add_image(archive, amd64, AMD64);
    g_autofree char *d = cx_test_archive_add_image(archive, arm64, ARM64);
    g_autofree char *inner =
        g_strdup_printf("{\"schemaVersion\":2,\"mediaType\":\"" CX_MEDIA_TYPE_OCI_INDEX
                        "\",\"manifests\":[%s,%s,%s,%s]}",
                        a, b, c, d);
    g_autoptr(GBytes) bytes = g_bytes_new(inner, strlen(inner));
    g_autofree char *index = cx_test_archive_add_blob(archive, bytes, CX_MEDIA_TYPE_OCI_INDEX, "");
    g_autofree char *twice = g_strjoin(",", index, index, NULL);

    cx_test_archive_add_index(archive, twice);
    assert_selects(archive, "linux/amd64", amd64);
    assert_selects(archive, "linux/arm64/v8", arm64);
    assert_refuses(archive, "linux/386", CX_ERROR_NOT_FOUND, "no image for linux/386");
}

/* Several images in one file: never one of them by chance. */
static void
test_ambiguous(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) one = make_image("linux/amd64", "one", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) two = make_image("linux/amd64", "two", CX_COMPRESSION_GZIP);
    g_autofree char *a = cx_test_archive_add_image(archive, one, NAMED("a:1"));
    g_autofree char *b = cx_test_archive_add_image(archive, two, NAMED("b:1"));
    g_autofree char *both = g_strjoin(",", a, b, NULL);

    cx_test_archive_add_index(archive, both);
    assert_refuses(archive, "linux/amd64", CX_ERROR_INVALID,
                   "holds several images for linux/amd64: a:1 and b:1 (keep one to a file)");
}

/* One image under two names is one image. */
static void
test_two_names(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "one", CX_COMPRESSION_GZIP);
    g_autofree char *a = cx_test_archive_add_image(archive, image, NAMED("a:1"));
    g_autofree char *b = cx_test_archive_add_image(archive, image, NAMED("b:1"));
    g_autofree char *both = g_strjoin(",", a, b, NULL);

    cx_test_archive_add_index(archive, both);
    assert_selects(archive, "linux/amd64", image);
}

/* Things that are no images stand in an index too; they are passed over. */
static void
test_artifacts(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "one", CX_COMPRESSION_GZIP);
    g_autoptr(GBytes) empty = g_bytes_new_static("{}", 2);
    g_autofree char *config =
        cx_test_archive_add_blob(archive, empty, "application/vnd.x+json", "");
    g_autofree char *text =
        g_strdup_printf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[]}", config);
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
    g_autofree char *artifact =
        cx_test_archive_add_blob(archive, bytes, CX_MEDIA_TYPE_OCI_MANIFEST, "");
    g_autofree char *strange =
        cx_test_archive_add_blob(archive, bytes, "application/vnd.strange", "");
    g_autofree char *real = cx_test_archive_add_image(archive, image, "");
    g_autofree char *all = g_strjoin(",", strange, artifact, real, NULL);

    cx_test_archive_add_index(archive, all);
    assert_selects(archive, "linux/amd64", image);
}

/* Images without any layer are legal. */
static void
test_layerless(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");

    cx_test_archive_add_index(archive, descriptor);
    assert_selects(archive, "linux/amd64", image);
}

static void
test_index_depth(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "deep", CX_COMPRESSION_GZIP);
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, AMD64);

    for (guint i = 0; i < 5; i++) {
        g_autofree char *text =
            g_strdup_printf("{\"schemaVersion\":2,\"manifests\":[%s]}", descriptor);
        g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

        g_free(descriptor);
        descriptor = cx_test_archive_add_blob(archive, bytes, CX_MEDIA_TYPE_OCI_INDEX, "");
    }
    cx_test_archive_add_index(archive, descriptor);
    assert_refuses(archive, "linux/amd64", CX_ERROR_LIMIT, "indexes nested deeper than 4 levels");
}

/* A few documents listed over and over must not cost more than they weigh. */
static void
test_document_budget(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(GString) list = g_string_new("");
    g_autofree char *padding = g_strnfill(3 * 1024 * 1024, ' ');
    g_autofree char *config =
        g_strconcat("{\"os\":\"linux\",\"architecture\":\"amd64\"}", padding, NULL);

    cx_test_archive_add_text(archive, "c.json", config);
    for (guint i = 0; i < 30; i++)
        g_string_append_printf(list, "%s{\"Config\":\"c.json\",\"Layers\":[]}", i > 0 ? "," : "[");
    g_string_append(list, "]");
    cx_test_archive_add_text(archive, "manifest.json", list->str);
    assert_refuses(archive, "linux/amd64", CX_ERROR_LIMIT, "more than 67108864 bytes of documents");
}

/* ---- refused documents ---- */

#define HEX "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" /* of "{}" */
#define DESCRIPTOR(size)                                                                           \
    "{\"mediaType\":\"" CX_MEDIA_TYPE_OCI_MANIFEST "\",\"digest\":\"sha256:" HEX                   \
    "\",\"size\":" size "}"

static void
test_refused(void)
{
    static const struct {
        const char *path, *text, *path2, *text2;
        CxError code;
        const char *says;
    } cases[] = {
        {"file",          "x",                                              NULL,                NULL,                                 CX_ERROR_INVALID,
         "neither index.json nor manifest.json is in it"                                                                                                                                            },
        {"index.json",    "",                                               NULL,                NULL,                                 CX_ERROR_INVALID,   "index: line 1"                          },
        {"index.json",    "{\"manifests\":[]}",                             NULL,                NULL,                                 CX_ERROR_NOT_FOUND,
         "(there is none at all)"                                                                                                                                                                   },
        {"index.json",    "{\"manifests\":[]}",                             "oci-layout",        "{\"imageLayoutVersion\":\"2.0.0\"}",
         CX_ERROR_UNSUPPORTED,                                                                                                                             "layout version \"2.0.0\""               },
        {"index.json",    "{\"manifests\":[]}",                             "oci-layout",        "[",                                  CX_ERROR_INVALID,
         "oci-layout: line 1"                                                                                                                                                                       },
        {"index.json",    "{\"manifests\":[]}",                             "./index.json",      "{}",                                 CX_ERROR_INVALID,
         "\"index.json\" is in the archive twice"                                                                                                                                                   },
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("2") "]}",          NULL,                NULL,                                 CX_ERROR_NOT_FOUND,
         "blob sha256:" HEX " is missing"                                                                                                                                                           },
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("3") "]}",          "blobs/sha256/" HEX, "{}",
         CX_ERROR_MISMATCH,                                                                                                                                "has 2 bytes where its descriptor says 3"},
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("9999999999") "]}", "blobs/sha256/" HEX, "{}",
         CX_ERROR_LIMIT,                                                                                                                                   "larger than 4194304 bytes"              },
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("2") "]}",          "blobs/sha256/" HEX, "[]",
         CX_ERROR_MISMATCH,                                                                                                                                "digest mismatch (read sha256:4f53cda1"  },
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("2") "]}",          "blobs/sha256/" HEX, "{}",
         CX_ERROR_INVALID,                                                                                                                                 "manifest: member \"config\" is missing" },
        {"index.json",    "{\"manifests\":[" DESCRIPTOR("-2") "]}",         "blobs/sha256/" HEX, "{}",
         CX_ERROR_INVALID,                                                                                                                                 "negative"                               },
        {"manifest.json", "{}",                                             NULL,                NULL,                                 CX_ERROR_INVALID,
         "manifest.json: expected a list of images"                                                                                                                                                 },
        {"manifest.json", "[7]",                                            NULL,                NULL,                                 CX_ERROR_INVALID,   "manifest.json: expected an object"      },
        {"manifest.json", "[]",                                             NULL,                NULL,                                 CX_ERROR_NOT_FOUND, "(there is none at all)"                 },
        {"manifest.json", "[{}]",                                           NULL,                NULL,                                 CX_ERROR_INVALID,   "Config: expected a path"                },
        {"manifest.json", "[{\"Config\":\"../c\"}]",                        NULL,                NULL,                                 CX_ERROR_INVALID,
         "Config: \"../c\" has \"..\""                                                                                                                                                              },
        {"manifest.json", "[{\"Config\":\"c\"}]",                           NULL,                NULL,                                 CX_ERROR_NOT_FOUND,
         "\"c\" is not in the archive"                                                                                                                                                              },
        {"manifest.json", "[{\"Config\":\"c\"}]",                           "c",                 "{}",                                 CX_ERROR_INVALID,   "config: platform"                       },
        {"manifest.json", "[{\"Config\":\"" HEX ".json\"}]",                HEX ".json",
         "{\"os\":\"linux\",\"architecture\":\"amd64\"}",                                                                              CX_ERROR_MISMATCH,  "digest mismatch"                        },
        {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]",        "c",
         "{\"os\":\"linux\",\"architecture\":\"amd64\"}",                                                                              CX_ERROR_INVALID,
         "1 layers, but the config has 0 diff ids"                                                                                                                                                  },
        {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]",             "c",
         "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"sha256:" HEX
         "\"]}}",                                                                                                                      CX_ERROR_INVALID,   "0 layers, but the config has 1 diff ids"},
        {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]",        "c",
         "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"sha256:" HEX
         "\"]}}",                                                                                                                      CX_ERROR_NOT_FOUND, "\"l\" is not in the archive"            },
        {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"a/../l\"]}]",   "c",
         "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"sha256:" HEX
         "\"]}}",                                                                                                                      CX_ERROR_INVALID,   "has \"..\""                             },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();

        cx_test_archive_add_text(archive, cases[i].path, cases[i].text);
        if (cases[i].path2 != NULL)
            cx_test_archive_add_text(archive, cases[i].path2, cases[i].text2);
        assert_refuses(archive, "linux/amd64", cases[i].code, cases[i].says);
    }
}

static void
test_large_index(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autofree char *text = g_strnfill(CX_DOCUMENT_MAX + 1, ' ');

    cx_test_archive_add_text(archive, "index.json", text);
    assert_refuses(archive, "linux/amd64", CX_ERROR_LIMIT,
                   "\"index.json\" is larger than 4194304 bytes");
}

/* A blob that is a link could lie anywhere. */
static void
test_linked_blob(void)
{
    static const CxEntryType types[] = {CX_ENTRY_SYMLINK, CX_ENTRY_HARDLINK, CX_ENTRY_FIFO,
                                        CX_ENTRY_FOLDER};

    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();
        gboolean link = types[i] == CX_ENTRY_SYMLINK || types[i] == CX_ENTRY_HARDLINK;

        cx_test_archive_add_text(archive, "real", "{}");
        cx_test_archive_add_link(archive, types[i], "blobs/sha256/" HEX, link ? "real" : NULL);
        cx_test_archive_add_text(archive, "index.json", "{\"manifests\":[" DESCRIPTOR("2") "]}");
        assert_refuses(archive, "linux/amd64", CX_ERROR_INVALID, "is not a regular file");
    }
}

/* ---- docker archives ---- */

/* Adds a layer of an image at a path, and the config as docker names it; returns manifest.json. */
static char *
add_docker(CxTestArchive *archive, const CxTestImage *image, const char *layer_path)
{
    char *config = cx_test_image_config(image);
    g_autoptr(GBytes) bytes = g_bytes_new_take(config, strlen(config));
    CxDigest digest = cx_digest_of_bytes(bytes);
    CxDigestText text = cx_digest_text(&digest);
    g_autofree char *config_path = g_strconcat(cx_digest_text_hex(&text), ".json", NULL);

    cx_test_archive_add(archive, config_path, bytes);
    cx_test_archive_add(archive, layer_path, g_ptr_array_index(image->stored, 0));
    return g_strdup_printf("[{\"Config\":\"%s\",\"RepoTags\":[\"x:1\"],\"Layers\":[\"%s\"]}]",
                           config_path, layer_path);
}

/* Layers under any name: uncompressed they are known by their diff id, compressed by their name or
 * their bytes. */
static void
test_docker(void)
{
    static const CxCompression compressions[] = {CX_COMPRESSION_NONE, CX_COMPRESSION_GZIP,
                                                 CX_COMPRESSION_ZSTD};

    for (gsize i = 0; i < G_N_ELEMENTS(compressions); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();
        g_autoptr(CxTestImage) image = make_image("linux/amd64", "docker", compressions[i]);
        g_autofree char *manifest = add_docker(archive, image, "0123/layer.tar");

        cx_test_archive_add_text(archive, "manifest.json", manifest);
        assert_selects(archive, "linux/amd64", image);
        assert_refuses(archive, "linux/arm64", CX_ERROR_NOT_FOUND, "(there is linux/amd64)");
    }
}

static void
test_docker_named(void)
{
    static const char *const forms[] = {"blobs/sha256/%s", "%s.tar.gz", "sha256:%s"};

    for (gsize i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();
        g_autoptr(CxTestImage) image = make_image("linux/amd64", "named", CX_COMPRESSION_GZIP);
        CxDigest digest = cx_digest_of_bytes(g_ptr_array_index(image->stored, 0));
        CxDigestText text = cx_digest_text(&digest);
        g_auto(GStrv) parts = g_strsplit(forms[i], "%s", 2);
        g_autofree char *path = g_strconcat(parts[0], cx_digest_text_hex(&text), parts[1], NULL);
        g_autofree char *manifest = add_docker(archive, image, path);

        cx_test_archive_add_text(archive, "manifest.json", manifest);
        assert_selects(archive, "linux/amd64", image);
    }
}

/* Old docker stores equal layers once and links to them. */
static void
test_docker_links(void)
{
    static const struct {
        CxEntryType type;
        const char *target;
        gboolean found;
        CxError code;
        const char *says;
    } cases[] = {
        {CX_ENTRY_SYMLINK,  "../0123/layer.tar",   TRUE,  0,                  NULL                   },
        {CX_ENTRY_SYMLINK,  "/0123/layer.tar",     TRUE,  0,                  NULL                   },
        {CX_ENTRY_HARDLINK, "0123/layer.tar",      TRUE,  0,                  NULL                   },
        {CX_ENTRY_SYMLINK,  "../../../etc/passwd", FALSE, CX_ERROR_NOT_FOUND,
         "is not in the archive"                                                                     },
        {CX_ENTRY_SYMLINK,  "layer.tar",           FALSE, CX_ERROR_INVALID,   "is not a regular file"},
        {CX_ENTRY_SYMLINK,  "../link",             FALSE, CX_ERROR_INVALID,   "is not a regular file"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();
        g_autoptr(CxTestImage) image = make_image("linux/amd64", "docker", CX_COMPRESSION_NONE);
        g_autofree char *manifest = add_docker(archive, image, "0123/layer.tar");
        g_autoptr(GString) text = g_string_new(manifest);

        g_string_replace(text, "0123/layer.tar", "4567/layer.tar", 1);
        cx_test_archive_add_link(archive, cases[i].type, "4567/layer.tar", cases[i].target);
        cx_test_archive_add_link(archive, CX_ENTRY_SYMLINK, "link", "0123/layer.tar");
        cx_test_archive_add_text(archive, "manifest.json", text->str);
        if (cases[i].found)
            assert_selects(archive, "linux/amd64", image);
        else
            assert_refuses(archive, "linux/amd64", cases[i].code, cases[i].says);
    }
}

static void
test_docker_ambiguous(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) one = make_image("linux/amd64", "one", CX_COMPRESSION_NONE);
    g_autoptr(CxTestImage) two = make_image("linux/amd64", "two", CX_COMPRESSION_NONE);
    g_autofree char *a = add_docker(archive, one, "1/layer.tar");
    g_autofree char *b = add_docker(archive, two, "2/layer.tar");
    g_autofree char *both = NULL;

    a[strlen(a) - 1] = ',';
    both = g_strconcat(a, b + 1, NULL);
    cx_test_archive_add_text(archive, "manifest.json", both);
    assert_refuses(archive, "linux/amd64", CX_ERROR_INVALID,
                   "holds several images for linux/amd64: x:1 and x:1");
}

/* Where a file is both, the index is believed: it has digests. */
static void
test_both(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) oci = make_image("linux/amd64", "oci", CX_COMPRESSION_GZIP);
    g_autoptr(CxTestImage) docker = make_image("linux/amd64", "docker", CX_COMPRESSION_GZIP);
    g_autofree char *descriptor = cx_test_archive_add_image(archive, oci, "");
    g_autofree char *manifest = add_docker(archive, docker, "1/layer.tar");

    cx_test_archive_add_text(archive, "manifest.json", manifest);
    cx_test_archive_add_index(archive, descriptor);
    assert_selects(archive, "linux/amd64", oci);
}

/* ---- files and folders ---- */

static void
assert_open_refuses(int take_fd, CxError code, const char *says)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(cx_image_file_open(take_fd, "x.tar", NULL, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, CX_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, says));
}

static int
make_file(const void *data, gsize size)
{
    int fd = memfd_create("x", MFD_CLOEXEC);

    g_assert_true(cx_write_all(fd, data, size, NULL));
    return fd;
}

static void
test_no_archive(void)
{
    int pipe_fds[2];
    g_autofree char *garbage = g_strnfill(2048, 'x');

    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    (void)close(pipe_fds[1]);
    assert_open_refuses(pipe_fds[0], CX_ERROR_INVALID, "neither a file nor a folder");
    assert_open_refuses(open("/dev/null", O_RDONLY | O_CLOEXEC), CX_ERROR_INVALID,
                        "neither a file nor a folder");
    assert_open_refuses(make_file(garbage, 2048), CX_ERROR_INVALID, "");
    assert_open_refuses(make_file("\x1f\x8b\x08\0\0\0\0\0", 8), CX_ERROR_UNSUPPORTED,
                        "compressed with gzip (decompress it first)");
}

static void
test_empty_file(void)
{
    g_auto(Selection) selection = {NULL};
    g_autoptr(GError) error = NULL;

    g_assert_false(select_fd(&selection, make_file("", 0), "linux/amd64", &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
}

/* Cut anywhere, an archive is refused when it is opened, or reads as one without the entries that
 * are gone. */
static void
test_truncated(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "cut", CX_COMPRESSION_GZIP);
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");
    cx_autofd int whole = -1;
    g_autofree char *bytes = NULL;
    off_t size;

    cx_test_archive_add_index(archive, descriptor);
    whole = cx_test_archive_to_tar(archive);
    size = lseek(whole, 0, SEEK_END) - 3 * 512; /* the last content and the end */
    bytes = g_malloc((gsize)size);
    g_assert_cmpint(cx_pread_full(whole, bytes, (gsize)size, 0, NULL), ==, size);
    for (gsize n = 0; n < (gsize)size; n += 100) {
        g_auto(Selection) selection = {NULL};
        g_autoptr(GError) error = NULL;

        g_assert_false(select_fd(&selection, make_file(bytes, n), "linux/amd64", &error));
        g_assert_nonnull(error);
        g_assert_cmpint(error->domain, ==, CX_ERROR);
    }
}

/* An archive with more names than any image needs. */
static void
test_many_entries(void)
{
    cx_autofd int fd = memfd_create("many", MFD_CLOEXEC);
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    char name[32];

    for (guint i = 0; i <= 65536; i++) {
        (void)g_snprintf(name, sizeof name, "%u", i);
        cx_test_archive_add_text(archive, name, "");
    }
    assert_open_refuses(cx_test_archive_to_tar(archive), CX_ERROR_LIMIT, "65536");
}

static void
test_folder(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autoptr(CxTestImage) image = make_image("linux/amd64", "folder", CX_COMPRESSION_GZIP);
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");
    cx_autofd int tmp_fd = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    g_auto(Selection) selection = {NULL};
    g_autoptr(GError) error = NULL;

    g_assert_true(cx_tmpdir_make(&dir, tmp_fd, 0700, NULL));
    cx_test_archive_add_index(archive, descriptor);
    g_assert_true(
        select_fd(&selection, cx_test_archive_to_folder(archive, dir.fd), "linux/amd64", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(selection.manifest->layers->len, ==, 1);
}

/* A folder's files stay within it. */
static void
test_folder_links(void)
{
    static const char *const targets[] = {"/etc/passwd", "../../../../../../../../etc/passwd"};

    for (gsize i = 0; i < G_N_ELEMENTS(targets); i++) {
        g_autoptr(CxTestArchive) archive = cx_test_archive_new();
        cx_autofd int tmp_fd = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
        g_auto(Selection) selection = {NULL};
        g_autoptr(GError) error = NULL;

        g_assert_true(cx_tmpdir_make(&dir, tmp_fd, 0700, NULL));
        cx_test_archive_add_link(archive, CX_ENTRY_SYMLINK, "index.json", targets[i]);
        g_assert_false(select_fd(&selection, cx_test_archive_to_folder(archive, dir.fd),
                                 "linux/amd64", &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_DENIED);
    }
}

/* Somebody without rights: a socket remembers who made it. */
static CxIdentity *
make_nobody(void)
{
    CxIdentity *identity;
    int fds[2];

    g_assert_true(setegid(65534) == 0 && seteuid(65534) == 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_true(seteuid(0) == 0 && setegid(0) == 0);
    identity = cx_identity_of_peer(fds[0], NULL);
    g_assert_cmpuint(cx_identity_get_uid(identity), ==, 65534);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return identity;
}

/* In a folder, files are read with the rights of whoever asked. */
static void
test_folder_rights(void)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    cx_autofd int tmp_fd = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    g_autoptr(CxIdentity) nobody = NULL;
    g_autoptr(CxImageFile) file = NULL;
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    g_autoptr(GError) error = NULL;
    CxPlatform want = cx_platform_host();

    if (geteuid() != 0) {
        g_test_skip("needs root to act as somebody else");
        return;
    }
    nobody = make_nobody();
    g_assert_true(cx_tmpdir_make(&dir, tmp_fd, 0755, NULL));
    cx_test_archive_add_index(archive, "");
    file = cx_image_file_open(cx_test_archive_to_folder(archive, dir.fd), "x", nobody, NULL);
    g_assert_nonnull(file);
    g_assert_cmpint(fchmodat(dir.fd, "index.json", 0600, 0), ==, 0);
    g_assert_false(cx_image_file_select(file, &want, &manifest, &config, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_DENIED);
    g_clear_error(&error);
    g_assert_cmpint(fchmodat(dir.fd, "index.json", 0644, 0), ==, 0);
    g_assert_false(cx_image_file_select(file, &want, &manifest, &config, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image/oci/one", test_one);
    g_test_add_func("/image/oci/platforms", test_platforms);
    g_test_add_func("/image/oci/nested", test_nested);
    g_test_add_func("/image/oci/ambiguous", test_ambiguous);
    g_test_add_func("/image/oci/two-names", test_two_names);
    g_test_add_func("/image/oci/artifacts", test_artifacts);
    g_test_add_func("/image/oci/layerless", test_layerless);
    g_test_add_func("/image/oci/index-depth", test_index_depth);
    g_test_add_func("/image/oci/large-index", test_large_index);
    g_test_add_func("/image/oci/linked-blob", test_linked_blob);
    g_test_add_func("/image/document-budget", test_document_budget);
    g_test_add_func("/image/refused", test_refused);
    g_test_add_func("/image/docker/layers", test_docker);
    g_test_add_func("/image/docker/named", test_docker_named);
    g_test_add_func("/image/docker/links", test_docker_links);
    g_test_add_func("/image/docker/ambiguous", test_docker_ambiguous);
    g_test_add_func("/image/both", test_both);
    g_test_add_func("/image/no-archive", test_no_archive);
    g_test_add_func("/image/empty-file", test_empty_file);
    g_test_add_func("/image/truncated", test_truncated);
    g_test_add_func("/image/many-entries", test_many_entries);
    g_test_add_func("/image/folder", test_folder);
    g_test_add_func("/image/folder/links", test_folder_links);
    g_test_add_func("/image/folder/rights", test_folder_rights);
    return g_test_run();
}
