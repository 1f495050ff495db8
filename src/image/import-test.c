/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "image/test-image.h"

static gboolean
import_fd(CxTestStores *stores,
          int take_fd,
          const CxImportHooks *hooks,
          CxCancel *cancellable,
          GError **error)
{
    g_autoptr(CxImageFile) file = cx_image_file_open(take_fd, "x.tar", NULL, error);
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    CxPlatform want;

    g_assert_true(cx_platform_parse("linux/amd64", &want, NULL));
    return file != NULL && cx_image_file_select(file, &want, &manifest, &config, error) &&
           cx_image_file_import(file, manifest, config, stores->blobs, stores->layers, hooks,
                                cancellable, error);
}

static int
make_tar(const CxTestImage *image)
{
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autofree char *descriptor = cx_test_archive_add_image(archive, image, "");

    cx_test_archive_add_index(archive, descriptor);
    return cx_test_archive_to_tar(archive);
}

static void
assert_imports(CxTestStores *stores, const CxTestImage *image, const CxImportHooks *hooks)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(import_fd(stores, make_tar(image), hooks, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(cx_test_stores_count_leftovers(stores), ==, 0);
}

/* Every byte of the image is where it belongs. */
static void
assert_stored(CxTestStores *stores, const CxTestImage *image)
{
    g_autofree char *config = cx_test_image_config(image);
    CxDigest config_digest = cx_digest_of(config, strlen(config));

    g_assert_true(cx_blob_store_has(stores->blobs, &config_digest));
    for (guint i = 0; i < image->stored->len; i++) {
        CxDigest digest = cx_digest_of_bytes(g_ptr_array_index(image->stored, i));
        CxDigest *diff_id = &g_array_index(image->diff_ids, CxDigest, i);
        g_autoptr(CxErofsIndex) index = NULL;
        g_autoptr(GBytes) blob = NULL;

        /* What is not compressed is stored once. */
        g_assert_cmpint(cx_blob_store_has(stores->blobs, &digest), ==,
                        !cx_digest_equal(&digest, diff_id));
        if (!cx_digest_equal(&digest, diff_id)) {
            blob = cx_blob_store_read(stores->blobs, &digest, G_MAXINT32, NULL);
            g_assert_true(g_bytes_equal(blob, g_ptr_array_index(image->stored, i)));
        }
        g_assert_true(cx_layer_store_has(stores->layers, diff_id));
        index = cx_layer_store_open_index(stores->layers, diff_id, NULL);
        g_assert_nonnull(index);
    }
}

static void
test_kinds(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "none", CX_COMPRESSION_NONE);
    cx_test_image_add_layer(image, "b", "gzip", CX_COMPRESSION_GZIP);
    cx_test_image_add_layer(image, "c", "zstd", CX_COMPRESSION_ZSTD);
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
}

static void
test_layerless(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");

    cx_test_stores_init(&stores);
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
}

static void
test_many_layers(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");

    cx_test_stores_init(&stores);
    for (guint i = 0; i < 100; i++) {
        g_autofree char *text = g_strdup_printf("%u", i % 50);

        cx_test_image_add_layer(image, "n", text, CX_COMPRESSION_GZIP);
    }
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
}

static void
test_docker(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autoptr(CxTestArchive) archive = cx_test_archive_new();
    g_autofree char *config = cx_test_image_config(image);
    g_autoptr(GError) error = NULL;

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "none", CX_COMPRESSION_NONE);
    cx_test_image_add_layer(image, "b", "gzip", CX_COMPRESSION_GZIP);
    g_free(config);
    config = cx_test_image_config(image);
    cx_test_archive_add_text(archive, "config", config);
    cx_test_archive_add(archive, "a/layer.tar", g_ptr_array_index(image->stored, 0));
    cx_test_archive_add(archive, "b/layer.tar", g_ptr_array_index(image->stored, 1));
    cx_test_archive_add_text(
        archive, "manifest.json",
        "[{\"Config\":\"config\",\"Layers\":[\"a/layer.tar\",\"./b/layer.tar\"]}]");
    g_assert_true(import_fd(&stores, cx_test_archive_to_tar(archive), NULL, NULL, &error));
    g_assert_no_error(error);
    assert_stored(&stores, image);
}

/* ---- hooks ---- */

typedef struct {
    CxTestStores *stores;
    GMutex lock;
    guint blobs, layers, reused, late;
    guint64 bytes;
    gboolean answer;
} Witness;

static void
hold_blob(gpointer user, const CxDigest *digest)
{
    Witness *self = user;

    g_mutex_lock(&self->lock);
    self->blobs++;
    self->late += (guint)cx_blob_store_has(self->stores->blobs, digest);
    g_mutex_unlock(&self->lock);
}

static void
hold_layer(gpointer user, const CxDigest *diff_id)
{
    Witness *self = user;

    g_mutex_lock(&self->lock);
    self->layers++;
    self->late += (guint)cx_layer_store_has(self->stores->layers, diff_id);
    g_mutex_unlock(&self->lock);
}

static gboolean
may_reuse(gpointer user, const CxDigest *blob, const CxDigest *diff_id)
{
    Witness *self = user;

    g_mutex_lock(&self->lock);
    self->reused++;
    g_mutex_unlock(&self->lock);
    return self->answer;
}

static void
note_progress(gpointer user, guint layer, guint n_layers, guint64 bytes, guint64 total)
{
    Witness *self = user;

    g_assert_cmpuint(layer, <, n_layers);
    g_assert_cmpuint(bytes, <=, total);
    g_mutex_lock(&self->lock);
    if (bytes == total)
        self->bytes += bytes;
    g_mutex_unlock(&self->lock);
}

/* Everything is held before it is stored, and progress ends at the size of each layer. */
static void
test_hooks(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    Witness witness = {.stores = &stores};
    CxImportHooks hooks = {.hold_blob = hold_blob,
                           .hold_layer = hold_layer,
                           .progress = note_progress,
                           .may_reuse = may_reuse,
                           .user = &witness};
    guint64 total = 0;

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "none", CX_COMPRESSION_NONE);
    cx_test_image_add_layer(image, "b", "gzip", CX_COMPRESSION_GZIP);
    for (guint i = 0; i < image->stored->len; i++)
        total += g_bytes_get_size(g_ptr_array_index(image->stored, i));
    assert_imports(&stores, image, &hooks);
    g_assert_cmpuint(witness.blobs, ==, 2); /* config and one layer */
    g_assert_cmpuint(witness.layers, ==, 2);
    g_assert_cmpuint(witness.late, ==, 0);
    g_assert_cmpuint(witness.reused, ==, 0);
    g_assert_cmpuint(witness.bytes, ==, total);
}

/* The archive with all bytes of its layers' blobs turned to zero. */
static int
make_hollow(const CxTestImage *image)
{
    cx_autofd int fd = make_tar(image);
    off_t size = lseek(fd, 0, SEEK_END);
    g_autofree char *bytes = g_malloc((gsize)size);

    g_assert_cmpint(cx_pread_full(fd, bytes, (gsize)size, 0, NULL), ==, size);
    for (guint i = 0; i < image->stored->len; i++) {
        gsize n;
        const void *layer = g_bytes_get_data(g_ptr_array_index(image->stored, i), &n);
        char *place = memmem(bytes, (gsize)size, layer, n);

        g_assert_nonnull(place);
        memset(place + 16, 0, n - 16); /* it still begins as it should */
    }
    g_assert_true(cx_pwrite_all(fd, bytes, (gsize)size, 0, NULL));
    return cx_steal_fd(&fd);
}

/* What is stored is not read again, unless the file must prove that it has it. */
static void
test_reuse(void)
{
    static const CxCompression compressions[] = {CX_COMPRESSION_NONE, CX_COMPRESSION_GZIP};

    for (gsize i = 0; i < G_N_ELEMENTS(compressions); i++) {
        g_auto(CxTestStores) stores = {0};
        g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
        g_autoptr(GError) error = NULL;
        Witness witness = {.stores = &stores, .answer = TRUE};
        CxImportHooks hooks = {.may_reuse = may_reuse, .user = &witness};

        cx_test_stores_init(&stores);
        cx_test_image_add_layer(image, "a", "reused", compressions[i]);
        assert_imports(&stores, image, &hooks);
        g_assert_true(import_fd(&stores, make_hollow(image), &hooks, NULL, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(witness.reused, ==, 1);
        witness.answer = FALSE;
        g_assert_false(import_fd(&stores, make_hollow(image), &hooks, NULL, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
        assert_imports(&stores, image, &hooks);
        assert_stored(&stores, image);
    }
}

/* A store that lost one half of a layer gets it back. */
static void
test_repair(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    CxDigest digest;

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "half", CX_COMPRESSION_GZIP);
    digest = cx_digest_of_bytes(g_ptr_array_index(image->stored, 0));
    assert_imports(&stores, image, NULL);
    g_assert_true(cx_blob_store_remove(stores.blobs, &digest, NULL, NULL));
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
    g_assert_true(cx_layer_store_remove(stores.layers, &g_array_index(image->diff_ids, CxDigest, 0),
                                        NULL, NULL));
    assert_imports(&stores, image, NULL);
    assert_stored(&stores, image);
}

static void
test_cancelled(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autoptr(CxCancel) cancellable = cx_cancel_new();
    g_autoptr(GError) error = NULL;

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "x", CX_COMPRESSION_GZIP);
    cx_cancel_trigger(cancellable);
    g_assert_false(import_fd(&stores, make_tar(image), NULL, cancellable, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
    g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
}

static void
cancel_it(gpointer user, guint layer, guint n_layers, guint64 bytes, guint64 total)
{
    cx_cancel_trigger(user);
}

/* Cancelled while the first layers are under way: the others are not begun. */
static void
test_cancelled_midway(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autoptr(CxCancel) cancellable = cx_cancel_new();
    g_autoptr(GError) error = NULL;
    CxImportHooks hooks = {.progress = cancel_it, .user = cancellable};
    g_autoptr(GArray) layers = NULL;

    cx_test_stores_init(&stores);
    for (guint i = 0; i < 20; i++) {
        g_autofree char *text = g_strdup_printf("%u", i);

        cx_test_image_add_layer(image, "n", text, CX_COMPRESSION_GZIP);
    }
    g_assert_false(import_fd(&stores, make_tar(image), &hooks, cancellable, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
    g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
    layers = cx_layer_store_list(stores.layers, NULL);
    g_assert_cmpuint(layers->len, <, 20);
}

/* ---- hostile layers ---- */

/* Puts other bytes in the place of the layer, which its descriptor then describes. */
static void
replace_stored(CxTestImage *image, GBytes *take_bytes)
{
    g_bytes_unref(image->stored->pdata[0]);
    image->stored->pdata[0] = take_bytes;
}

static void
set_diff_id(CxTestImage *image, GBytes *tar)
{
    g_array_index(image->diff_ids, CxDigest, 0) = cx_digest_of_bytes(tar);
}

static void
make_wrong_diff_id(CxTestImage *image)
{
    g_autoptr(GBytes) other = cx_test_layer("a", "other");

    set_diff_id(image, other);
}

static void
make_no_tar(CxTestImage *image)
{
    g_autofree char *garbage = g_strnfill(4096, 'x');
    g_autoptr(GBytes) bytes = g_bytes_new(garbage, 4096);

    replace_stored(image, cx_test_compress(bytes, CX_COMPRESSION_GZIP));
    set_diff_id(image, bytes);
}

static void
make_cut_gzip(CxTestImage *image)
{
    GBytes *bytes = image->stored->pdata[0];

    replace_stored(image, g_bytes_new_from_bytes(bytes, 0, g_bytes_get_size(bytes) - 9));
}

static void
make_trailing(CxTestImage *image)
{
    gsize size;
    const char *data = g_bytes_get_data(image->stored->pdata[0], &size);
    GByteArray *longer = g_byte_array_new();

    g_byte_array_append(longer, (const guint8 *)data, (guint)size);
    g_byte_array_append(longer, (const guint8 *)"more", 4);
    replace_stored(image, g_byte_array_free_to_bytes(longer));
}

static void
make_zstd(CxTestImage *image)
{
    g_autoptr(GBytes) tar = cx_test_layer("a", "text");

    replace_stored(image, cx_test_compress(tar, CX_COMPRESSION_ZSTD));
}

static void
make_plain(CxTestImage *image)
{
    replace_stored(image, cx_test_layer("a", "text"));
}

static void
make_empty(CxTestImage *image)
{
    replace_stored(image, g_bytes_new_static("", 0));
}

static void
make_dotdot(CxTestImage *image)
{
    g_autoptr(GBytes) tar = cx_test_layer("../escape", "text");

    replace_stored(image, cx_test_compress(tar, CX_COMPRESSION_GZIP));
    set_diff_id(image, tar);
}

static void
make_uncompressed_lie(CxTestImage *image)
{
    make_plain(image);
    g_array_index(image->compressions, CxCompression, 0) = CX_COMPRESSION_NONE;
    make_wrong_diff_id(image);
}

static void
make_more_diff_ids(CxTestImage *image)
{
    CxDigest digest = cx_digest_of("x", 1);

    g_array_append_val(image->diff_ids, digest);
}

/* One clear line, and the stores as they were. */
static void
test_hostile(void)
{
    static const struct {
        const char *name;
        void (*make)(CxTestImage *image);
        CxError code;
        const char *says;
    } cases[] = {
        {"wrong diff id", make_wrong_diff_id,    CX_ERROR_MISMATCH, "layer 1 of 1: diff id sha256:"            },
        {"no tar",        make_no_tar,           CX_ERROR_INVALID,  "layer 1 of 1: "                           },
        {"cut gzip",      make_cut_gzip,         CX_ERROR_MISMATCH, "layer 1 of 1: "                           },
        {"trailing",      make_trailing,         CX_ERROR_MISMATCH, "layer 1 of 1: "                           },
        {"zstd",          make_zstd,             CX_ERROR_INVALID,  "says compression gzip, its bytes say zstd"},
        {"plain",         make_plain,            CX_ERROR_INVALID,  "says compression gzip, its bytes say none"},
        {"empty",         make_empty,            CX_ERROR_INVALID,  "its bytes say none"                       },
        {"dotdot",        make_dotdot,           CX_ERROR_INVALID,  "\"..\""                                   },
        {"lie",           make_uncompressed_lie, CX_ERROR_MISMATCH, "is not its diff id"                       },
        {"more diff ids", make_more_diff_ids,    CX_ERROR_INVALID,
         "1 layers, but the config has 2 diff ids"                                                             },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(CxTestStores) stores = {0};
        g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) layers = NULL;

        cx_test_stores_init(&stores);
        cx_test_image_add_layer(image, "a", "text", CX_COMPRESSION_GZIP);
        cases[i].make(image);
        g_assert_false(import_fd(&stores, make_tar(image), NULL, NULL, &error));
        g_test_message("%s: %s", cases[i].name, error->message);
        g_assert_error(error, CX_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].says));
        g_assert_null(strchr(error->message, '\n'));
        layers = cx_layer_store_list(stores.layers, NULL);
        g_assert_cmpuint(layers->len, ==, 0);
        g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
    }
}

/* Bytes that are not those of the digest that names them. */
static void
test_changed_bytes(void)
{
    static const CxCompression compressions[] = {CX_COMPRESSION_NONE, CX_COMPRESSION_GZIP};

    for (gsize i = 0; i < G_N_ELEMENTS(compressions); i++) {
        g_auto(CxTestStores) stores = {0};
        g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
        g_autoptr(GError) error = NULL;

        cx_test_stores_init(&stores);
        cx_test_image_add_layer(image, "a", "text", compressions[i]);
        g_assert_false(import_fd(&stores, make_hollow(image), NULL, NULL, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
        g_assert_false(
            cx_layer_store_has(stores.layers, &g_array_index(image->diff_ids, CxDigest, 0)));
    }
}

/* A gzip stream that hides behind good bytes: the same tar, another container.  The blob's digest
 * must tell. */
static void
test_other_container(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = -1;
    off_t size;
    g_autofree char *bytes = NULL;
    char *place;
    gsize n;

    cx_test_stores_init(&stores);
    cx_test_image_add_layer(image, "a", "text", CX_COMPRESSION_GZIP);
    fd = make_tar(image);
    size = lseek(fd, 0, SEEK_END);
    bytes = g_malloc((gsize)size);
    g_assert_cmpint(cx_pread_full(fd, bytes, (gsize)size, 0, NULL), ==, size);
    place = memmem(bytes, (gsize)size, g_bytes_get_data(image->stored->pdata[0], &n), 10);
    g_assert_nonnull(place);
    place[9] ^= 1; /* gzip's OS field: no decoder cares */
    g_assert_true(cx_pwrite_all(fd, bytes, (gsize)size, 0, NULL));
    g_assert_false(import_fd(&stores, cx_steal_fd(&fd), NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_assert_nonnull(strstr(error->message, "digest mismatch"));
    g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
}

static void
test_bomb(void)
{
    CxLayerLimits limits = cx_layer_limits_default;
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autofree char *zeros = g_strnfill(1024 * 1024, '0');
    g_autoptr(GError) error = NULL;

    cx_test_stores_init(&stores);
    limits.bytes_max = 64 * 1024;
    cx_layer_store_close(stores.layers);
    stores.layers = cx_layer_store_open(stores.fd, &limits, NULL);
    cx_test_image_add_layer(image, "a", zeros, CX_COMPRESSION_GZIP);
    g_assert_false(import_fd(&stores, make_tar(image), NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
    g_assert_nonnull(strstr(error->message, "65536"));
    g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
}

/* One of many layers is bad: its number is told, and nothing is left under way. */
static void
test_one_of_many(void)
{
    g_auto(CxTestStores) stores = {0};
    g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
    g_autoptr(GError) error = NULL;
    CxDigest digest = cx_digest_of("x", 1);

    cx_test_stores_init(&stores);
    for (guint i = 0; i < 20; i++) {
        g_autofree char *text = g_strdup_printf("%u", i);

        cx_test_image_add_layer(image, "n", text, CX_COMPRESSION_GZIP);
    }
    g_array_index(image->diff_ids, CxDigest, 7) = digest;
    g_assert_false(import_fd(&stores, make_tar(image), NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_assert_nonnull(strstr(error->message, "\"x.tar\": layer 8 of 20: diff id "));
    g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
}

/* Failing at any commit leaves nothing half done, and the next try succeeds. */
static void
test_failpoints(void)
{
    static const char *const points[] = {"content-commit", "content-commit:2", "layer-commit"};
    const char *point = g_getenv("CX_FAIL");

    if (g_test_subprocess()) {
        g_auto(CxTestStores) stores = {0};
        g_autoptr(CxTestImage) image = cx_test_image_new("linux/amd64");
        g_autoptr(GError) error = NULL;

        g_assert_nonnull(point);
        cx_test_stores_init(&stores);
        cx_test_image_add_layer(image, "a", "text", CX_COMPRESSION_GZIP);
        g_assert_false(import_fd(&stores, make_tar(image), NULL, NULL, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
        g_assert_cmpuint(cx_test_stores_count_leftovers(&stores), ==, 0);
        assert_imports(&stores, image, NULL);
        assert_stored(&stores, image);
        return;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(points); i++) {
        g_assert_true(g_setenv("CX_FAIL", points[i], TRUE));
        g_test_trap_subprocess(NULL, 0, 0);
        g_unsetenv("CX_FAIL");
        g_test_trap_assert_passed();
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image/import/failpoints", test_failpoints);
    g_test_add_func("/image/import/kinds", test_kinds);
    g_test_add_func("/image/import/layerless", test_layerless);
    g_test_add_func("/image/import/many-layers", test_many_layers);
    g_test_add_func("/image/import/docker", test_docker);
    g_test_add_func("/image/import/hooks", test_hooks);
    g_test_add_func("/image/import/reuse", test_reuse);
    g_test_add_func("/image/import/repair", test_repair);
    g_test_add_func("/image/import/cancelled", test_cancelled);
    g_test_add_func("/image/import/cancelled-midway", test_cancelled_midway);
    g_test_add_func("/image/import/hostile", test_hostile);
    g_test_add_func("/image/import/changed-bytes", test_changed_bytes);
    g_test_add_func("/image/import/other-container", test_other_container);
    g_test_add_func("/image/import/bomb", test_bomb);
    g_test_add_func("/image/import/one-of-many", test_one_of_many);
    return g_test_run();
}
