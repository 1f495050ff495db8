/* SPDX-License-Identifier: Apache-2.0 */
/* What we write: the promised bytes, what is in them, and what other people's tools say to them. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/tmp.h"
#include "image/export.h"
#include "image/test-image.h"
#include "layer/tar-reader.h"

/* The digest of the archive of make_image(), named "acme/api:1.2.0".  It changes only when the
 * format does, and then every image that anybody built changes with it. */
#define GOLDEN "sha256:b51d5cab81f8e471c388ebaac81d22ca761359a115f11a64b1c8b852bb38b458"

/* Two layers of which the first comes again. */
static CxTestImage *
make_image(void)
{
    CxTestImage *image = cx_test_image_new("linux/amd64");

    cx_test_image_add_layer(image, "etc/name", "first\n", CX_COMPRESSION_NONE);
    cx_test_image_add_layer(image, "srv/data", "second\n", CX_COMPRESSION_NONE);
    cx_test_image_add_layer(image, "etc/name", "first\n", CX_COMPRESSION_NONE);
    return image;
}

static void
import_fd(CxTestStores *stores, int take_fd)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxImageFile) file = cx_image_file_open(take_fd, "x.tar", NULL, &error);
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    CxPlatform want;

    g_assert_no_error(error);
    g_assert_true(cx_platform_parse("linux/amd64", &want, NULL));
    cx_image_file_select(file, &want, &manifest, &config, &error);
    g_assert_no_error(error);
    cx_image_file_import(file, manifest, config, stores->blobs, stores->layers, NULL, NULL, &error);
    g_assert_no_error(error);
}

static void
import_image(CxTestStores *stores, const CxTestImage *image)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");

    cx_test_archive_add_index(archive, descriptor);
    import_fd(stores, cx_test_archive_to_tar(archive));
}

static gboolean
export_to(CxTestStores *stores, const CxTestImage *image, const char *name, int fd, GError **error)
{
    g_autofree char *manifest_json = cx_test_image_manifest(image);
    g_autofree char *config_json = cx_test_image_config(image);
    g_autoptr(CxManifest) manifest = cx_manifest_parse(manifest_json, strlen(manifest_json), NULL);
    CxPlatform platform;
    CxExportImage export = {.name = name,
                            .manifest = manifest,
                            .manifest_json = manifest_json,
                            .config_json = config_json,
                            .platform = &platform};

    g_assert_true(cx_platform_parse(image->platform, &platform, NULL));
    return cx_image_export(&export, stores->blobs, stores->layers, fd, NULL, error);
}

/* The image by way of stores of its own, as an archive in memory. */
static int
export_image(const CxTestImage *image, const char *name)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("export", MFD_CLOEXEC);

    cx_test_stores_init(&stores);
    import_image(&stores, image);
    export_to(&stores, image, name, fd, &error);
    g_assert_no_error(error);
    return fd;
}

static GBytes *
read_all(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    g_autofree char *bytes = g_malloc((gsize)size + 1);

    g_assert_cmpint(cx_pread_full(fd, bytes, (gsize)size, 0, NULL), ==, size);
    return g_bytes_new_take(g_steal_pointer(&bytes), (gsize)size);
}

/* "type mode uid:gid mtime path" of every entry. */
static char *
list_entries(int fd)
{
    g_autoptr(CxTarReader) reader =
        cx_tar_reader_new(fd, 0, (guint64)lseek(fd, 0, SEEK_END), &cx_layer_limits_default);
    g_autoptr(GError) error = NULL;
    GString *text = g_string_new(NULL);
    const CxEntry *entry;

    while ((entry = cx_tar_reader_next(reader, &error)) != NULL)
        g_string_append_printf(text, "%c %04o %u:%u %" G_GINT64_FORMAT " %s\n",
                               entry->type == CX_ENTRY_FOLDER ? 'd' : 'f', entry->mode, entry->uid,
                               entry->gid, entry->mtime, entry->path);
    g_assert_no_error(error);
    return g_string_free(text, FALSE);
}

static json_t *
read_json(int fd, const char *path)
{
    g_autoptr(CxTarReader) reader =
        cx_tar_reader_new(fd, 0, (guint64)lseek(fd, 0, SEEK_END), &cx_layer_limits_default);
    const CxEntry *entry;

    while ((entry = cx_tar_reader_next(reader, NULL)) != NULL) {
        if (strcmp(entry->path, path) == 0) {
            g_autofree char *text = g_malloc(entry->size);

            g_assert_cmpint(cx_pread_full(fd, text, entry->size, entry->data_offset, NULL), ==,
                            entry->size);
            return cx_json_parse(text, entry->size, NULL);
        }
    }
    g_assert_not_reached();
}

/* ---- bytes ---- */

static void
test_entries(void)
{
    g_autoptr(CxTestImage) image = make_image();
    cx_autofd int fd = export_image(image, "acme/api:1.2.0");
    g_autofree char *entries = list_entries(fd);
    g_auto(GStrv) lines = g_strsplit(entries, "\n", -1);

    g_assert_cmpuint(g_strv_length(lines), ==, 5 + 4 + 1); /* two documents, two layers; the end */
    g_assert_cmpstr(lines[0], ==, "f 0644 0:0 0 oci-layout");
    g_assert_cmpstr(lines[1], ==, "f 0644 0:0 0 index.json");
    g_assert_cmpstr(lines[2], ==, "f 0644 0:0 0 manifest.json");
    g_assert_cmpstr(lines[3], ==, "d 0755 0:0 0 blobs");
    g_assert_cmpstr(lines[4], ==, "d 0755 0:0 0 blobs/sha256");
    for (guint i = 5; i < 9; i++) {
        g_assert_true(g_str_has_prefix(lines[i], "f 0644 0:0 0 blobs/sha256/"));
        g_assert_true(i == 5 || strcmp(lines[i - 1], lines[i]) < 0);
    }
}

static void
test_golden(void)
{
    g_autoptr(CxTestImage) image = make_image();
    cx_autofd int fd = export_image(image, "acme/api:1.2.0");
    g_autoptr(GBytes) bytes = read_all(fd);
    CxDigest digest = cx_digest_of_bytes(bytes);

    g_assert_cmpstr(cx_digest_text(&digest).text, ==, GOLDEN);
}

/* Out, in and out again: nothing is lost or changed, whatever the layers are. */
static void
test_round_trip(void)
{
    g_autoptr(CxTestImage) image = make_image();
    g_auto(CxTestStores) stores = {0};
    g_autoptr(GBytes) first_bytes = NULL, second_bytes = NULL;
    g_autoptr(GError) error = NULL;
    cx_autofd int first = -1, second = memfd_create("second", MFD_CLOEXEC);

    cx_test_image_add_layer(image, "g", "gzip", CX_COMPRESSION_GZIP);
    cx_test_image_add_layer(image, "z", "zstd", CX_COMPRESSION_ZSTD);
    first = export_image(image, NULL);
    first_bytes = read_all(first);
    cx_test_stores_init(&stores);
    import_fd(&stores, cx_steal_fd(&first));
    export_to(&stores, image, NULL, second, &error);
    g_assert_no_error(error);
    second_bytes = read_all(second);
    g_assert_true(g_bytes_equal(first_bytes, second_bytes));
}

static void
test_layerless(void)
{
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_auto(CxTestStores) stores = {0};
    cx_autofd int fd = export_image(image, NULL);

    cx_test_stores_init(&stores);
    import_fd(&stores, cx_steal_fd(&fd));
}

/* ---- names ---- */

static void
test_names(void)
{
    static const struct {
        const char *name, *ref_name;
        gboolean docker_tag;
    } cases[] = {
        {"acme/api:1.2.0",                 "1.2.0",                     TRUE },
        {"registry.example:5000/a/b:rc.1", "rc.1",                      TRUE },
        {"registry.example:5000/a/b",      "registry.example:5000/a/b", FALSE},
        {"ACME/api:1.2.0",                 "1.2.0",                     TRUE },
        {"acme/Api:1.2.0",                 "1.2.0",                     FALSE},
        {"acme/api",                       "acme/api",                  FALSE},
        {"api:1.0.0+build",                "1.0.0+build",               FALSE},
        {"api:",                           "api:",                      FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(CxTestImage) image = make_image();
        cx_autofd int fd = export_image(image, cases[i].name);
        g_autoptr(json_t) index = read_json(fd, "index.json");
        g_autoptr(json_t) list = read_json(fd, "manifest.json");
        const char *name = NULL, *ref_name = NULL, *arch = NULL;
        const json_t *tags = json_object_get(json_array_get(list, 0), "RepoTags");

        g_assert_cmpint(json_unpack(index, "{s:[{s:{s:s, s:s}, s:{s:s}}]}", "manifests",
                                    "annotations", "io.containerd.image.name", &name,
                                    "org.opencontainers.image.ref.name", &ref_name, "platform",
                                    "architecture", &arch),
                        ==, 0);
        g_assert_cmpstr(name, ==, cases[i].name);
        g_assert_cmpstr(ref_name, ==, cases[i].ref_name);
        g_assert_cmpstr(arch, ==, "amd64");
        if (cases[i].docker_tag)
            g_assert_cmpstr(json_string_value(json_array_get(tags, 0)), ==, cases[i].name);
        else
            g_assert_true(json_is_null(tags));
    }
}

static void
test_nameless(void)
{
    g_autoptr(CxTestImage) image = make_image();
    cx_autofd int fd = export_image(image, NULL);
    g_autoptr(json_t) index = read_json(fd, "index.json");
    g_autoptr(json_t) list = read_json(fd, "manifest.json");
    const json_t *item = json_array_get(list, 0);

    g_assert_null(
        json_object_get(json_array_get(json_object_get(index, "manifests"), 0), "annotations"));
    g_assert_true(json_is_null(json_object_get(item, "RepoTags")));
    g_assert_cmpuint(json_array_size(json_object_get(item, "Layers")), ==, 3);
    g_assert_true(json_equal(json_array_get(json_object_get(item, "Layers"), 0),
                             json_array_get(json_object_get(item, "Layers"), 2)));
}

/* ---- faults ---- */

static void
test_missing_layer(void)
{
    g_autoptr(CxTestImage) image = make_image();
    g_auto(CxTestStores) stores = {0};
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = memfd_create("export", MFD_CLOEXEC);

    cx_test_stores_init(&stores);
    g_assert_false(export_to(&stores, image, NULL, fd, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_assert_true(g_str_has_prefix(error->message, "export: layer sha256:"));
}

static void
test_cut_layer(void)
{
    g_autoptr(CxTestImage) image = make_image();
    g_auto(CxTestStores) stores = {0};
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = memfd_create("export", MFD_CLOEXEC);
    CxDigestText text = cx_digest_text(&g_array_index(image->diff_ids, CxDigest, 0));
    g_autofree char *path = NULL;

    cx_test_stores_init(&stores);
    import_image(&stores, image);
    path = g_build_filename(stores.path, "layers", cx_digest_text_hex(&text), "tar", NULL);
    g_assert_cmpint(truncate(path, 100), ==, 0);
    g_assert_false(export_to(&stores, image, NULL, fd, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
}

static void
test_other_config(void)
{
    g_autoptr(CxTestImage) image = make_image();
    g_auto(CxTestStores) stores = {0};
    g_autofree char *manifest_json = cx_test_image_manifest(image);
    g_autoptr(CxManifest) manifest = cx_manifest_parse(manifest_json, strlen(manifest_json), NULL);
    g_autoptr(GError) error = NULL;
    CxPlatform platform = cx_platform_host();
    CxExportImage export = {.manifest = manifest,
                            .manifest_json = manifest_json,
                            .config_json = "{}",
                            .platform = &platform};
    cx_autofd int fd = memfd_create("export", MFD_CLOEXEC);

    cx_test_stores_init(&stores);
    import_image(&stores, image);
    g_assert_false(cx_image_export(&export, stores.blobs, stores.layers, fd, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, 0);
}

static void
test_full_disk(void)
{
    g_autoptr(CxTestImage) image = make_image();
    g_auto(CxTestStores) stores = {0};
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    cx_test_stores_init(&stores);
    import_image(&stores, image);
    g_assert_false(export_to(&stores, image, NULL, fd, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NO_SPACE);
}

/* ---- other people's tools ---- */

/* Runs a program on an exported image; *out_text is replaced by what it says.  FALSE: it is not
 * installed. */
static gboolean
judge(const char *const *argv, char **out_text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *program = g_find_program_in_path(argv[0]);

    if (program == NULL) {
        g_test_skip_printf("%s is not installed", argv[0]);
        return FALSE;
    }
    g_free(*out_text);
    *out_text = cx_process_read(argv, 1024 * 1024, 60 * 1000, NULL, &error);
    g_assert_no_error(error);
    return TRUE;
}

/* A folder with image.tar, exported with layers of every kind. */
static void
make_archive(CxTmpdir *dir, int tmp_fd)
{
    g_autoptr(CxTestImage) image = make_image();
    cx_autofd int fd = -1, out_fd = -1;

    cx_test_image_add_layer(image, "g", "gzip", CX_COMPRESSION_GZIP);
    g_assert_true(cx_tmpdir_make(dir, tmp_fd, 0755, NULL));
    fd = export_image(image, "acme/api:1.2.0");
    out_fd = openat(dir->fd, "image.tar", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    g_assert_true(cx_copy_range(fd, 0, out_fd, (guint64)lseek(fd, 0, SEEK_END), NULL));
}

static void
test_skopeo(void)
{
    static const char *const transports[] = {"oci-archive", "docker-archive"};
    cx_autofd int tmp_fd = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;

    make_archive(&dir, tmp_fd);
    for (gsize i = 0; i < G_N_ELEMENTS(transports); i++) {
        g_autofree char *source =
            g_strdup_printf("%s:%s/%s/image.tar", transports[i], g_get_tmp_dir(), dir.name);
        g_autofree char *target =
            g_strdup_printf("dir:%s/%s/%s", g_get_tmp_dir(), dir.name, transports[i]);
        const char *const inspect[] = {"skopeo", "inspect", source, NULL};
        const char *const copy[] = {"skopeo", "copy", "--insecure-policy", "--quiet", source,
                                    target,   NULL};
        g_autofree char *text = NULL, *nothing = NULL;

        if (!judge(inspect, &text) || !judge(copy, &nothing))
            return;
        g_assert_nonnull(strstr(text, "\"Architecture\": \"amd64\""));
    }
}

static void
test_umoci(void)
{
    cx_autofd int tmp_fd = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    g_autofree char *folder = NULL, *tar = NULL, *layout = NULL, *bundle = NULL, *name = NULL;
    g_autofree char *text = NULL, *nothing = NULL;

    make_archive(&dir, tmp_fd);
    folder = g_build_filename(g_get_tmp_dir(), dir.name, NULL);
    tar = g_build_filename(folder, "image.tar", NULL);
    layout = g_strconcat(folder, ":1.2.0", NULL);
    bundle = g_build_filename(folder, "bundle", NULL);
    name = g_build_filename(bundle, "rootfs/etc/name", NULL);
    {
        const char *const untar[] = {"tar", "-x", "-C", folder, "-f", tar, NULL};
        const char *const unpack[] = {"umoci", "unpack", "--rootless", "--image",
                                      layout,  bundle,   NULL};

        if (!judge(untar, &nothing) || !judge(unpack, &nothing))
            return;
    }
    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "first\n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image/export/entries", test_entries);
    g_test_add_func("/image/export/golden", test_golden);
    g_test_add_func("/image/export/round-trip", test_round_trip);
    g_test_add_func("/image/export/layerless", test_layerless);
    g_test_add_func("/image/export/names", test_names);
    g_test_add_func("/image/export/nameless", test_nameless);
    g_test_add_func("/image/export/missing-layer", test_missing_layer);
    g_test_add_func("/image/export/cut-layer", test_cut_layer);
    g_test_add_func("/image/export/other-config", test_other_config);
    g_test_add_func("/image/export/full-disk", test_full_disk);
    g_test_add_func("/image/export/skopeo", test_skopeo);
    g_test_add_func("/image/export/umoci", test_umoci);
    return g_test_run();
}
