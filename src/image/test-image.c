/* SPDX-License-Identifier: Apache-2.0 */
#include "image/test-image.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "layer/tar-writer.h"

/* ---- stores ---- */

void
cx_test_stores_init(CxTestStores *self)
{
    g_autoptr(GError) error = NULL;

    self->path = g_dir_make_tmp("cx-image-XXXXXX", &error);
    g_assert_no_error(error);
    self->fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(self->fd, >=, 0);
    self->blobs = cx_blob_store_open(self->fd, &error);
    g_assert_no_error(error);
    self->layers = cx_layer_store_open(self->fd, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
}

void
cx_test_stores_clear(CxTestStores *self)
{
    g_autoptr(GError) error = NULL;

    cx_layer_store_close(self->layers);
    cx_blob_store_close(self->blobs);
    cx_clear_fd(&self->fd);
    cx_remove_tree_at(AT_FDCWD, self->path, &error);
    g_assert_no_error(error);
    g_clear_pointer(&self->path, g_free);
}

guint
cx_test_stores_count_leftovers(const CxTestStores *self)
{
    g_autofree char *path = g_build_filename(self->path, "tmp", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (dir != NULL && g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

/* ---- bytes ---- */

typedef struct {
    CxSink base;
    GByteArray *bytes;
} MemorySink;

static gboolean
memory_sink_write(CxSink *base, const void *data, gsize size, GError **error)
{
    g_byte_array_append(((MemorySink *)base)->bytes, data, (guint)size);
    return TRUE;
}

static MemorySink
memory_sink(void)
{
    return (MemorySink){.base = {.write = memory_sink_write}, .bytes = g_byte_array_new()};
}

GBytes *
cx_test_layer(const char *path, const char *text)
{
    MemorySink sink = memory_sink();
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    CxEntry entry = {
        .type = CX_ENTRY_FILE, .path = (char *)path, .mode = 0644, .size = strlen(text)};

    g_assert_true(cx_tar_writer_add_bytes(writer, &entry, text, NULL));
    g_assert_true(cx_tar_writer_finish(writer, NULL));
    return g_byte_array_free_to_bytes(sink.bytes);
}

GBytes *
cx_test_compress(GBytes *bytes, CxCompression compression)
{
    MemorySink sink = memory_sink();
    g_autoptr(CxEncoder) encoder = cx_encoder_new(compression, &sink.base, NULL);
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);

    g_assert_nonnull(encoder);
    g_assert_true(cx_sink_write(cx_encoder_get_sink(encoder), data, size, NULL));
    g_assert_true(cx_encoder_finish(encoder, NULL));
    return g_byte_array_free_to_bytes(sink.bytes);
}

/* ---- images ---- */

CxTestImage *
cx_test_image_new(const char *platform)
{
    CxTestImage *self = g_new0(CxTestImage, 1);

    self->platform = g_strdup(platform);
    self->stored = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    self->compressions = g_array_new(FALSE, FALSE, sizeof(CxCompression));
    self->diff_ids = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    return self;
}

void
cx_test_image_free(CxTestImage *self)
{
    g_free(self->platform);
    g_ptr_array_unref(self->stored);
    g_array_unref(self->compressions);
    g_array_unref(self->diff_ids);
    g_free(self);
}

void
cx_test_image_add_layer(CxTestImage *self,
                        const char *path,
                        const char *text,
                        CxCompression compression)
{
    g_autoptr(GBytes) tar = cx_test_layer(path, text);
    CxDigest diff_id = cx_digest_of_bytes(tar);

    g_array_append_val(self->diff_ids, diff_id);
    g_array_append_val(self->compressions, compression);
    g_ptr_array_add(self->stored, compression == CX_COMPRESSION_NONE
                                      ? g_bytes_ref(tar)
                                      : cx_test_compress(tar, compression));
}

char *
cx_test_image_config(const CxTestImage *self)
{
    CxPlatform platform;
    g_autoptr(CxImageConfig) config = NULL;

    g_assert_true(cx_platform_parse(self->platform, &platform, NULL));
    config = cx_image_config_new(&platform);
    g_array_append_vals(config->diff_ids, self->diff_ids->data, self->diff_ids->len);
    return cx_image_config_to_json(config, "1980-01-01T00:00:00Z");
}

static const char *
layer_media_type(CxCompression compression)
{
    static const char *const media_types[] = {
        [CX_COMPRESSION_NONE] = CX_MEDIA_TYPE_OCI_LAYER,
        [CX_COMPRESSION_GZIP] = CX_MEDIA_TYPE_OCI_LAYER_GZIP,
        [CX_COMPRESSION_ZSTD] = CX_MEDIA_TYPE_OCI_LAYER_ZSTD,
    };

    return media_types[compression];
}

char *
cx_test_image_manifest(const CxTestImage *self)
{
    g_autofree char *config = cx_test_image_config(self);
    CxDigest digest = cx_digest_of(config, strlen(config));
    g_autoptr(CxManifest) manifest =
        cx_manifest_new(cx_descriptor_new(CX_MEDIA_TYPE_OCI_CONFIG, &digest, strlen(config)));

    for (guint i = 0; i < self->stored->len; i++) {
        GBytes *bytes = g_ptr_array_index(self->stored, i);

        digest = cx_digest_of_bytes(bytes);
        g_ptr_array_add(
            manifest->layers,
            cx_descriptor_new(layer_media_type(g_array_index(self->compressions, CxCompression, i)),
                              &digest, g_bytes_get_size(bytes)));
    }
    return cx_manifest_to_json(manifest);
}

/* ---- archives ---- */

typedef struct {
    CxEntryType type;
    char *path;    /* (owned) */
    char *target;  /* (owned) */
    GBytes *bytes; /* (owned) */
} Member;

struct CxTestArchive {
    GArray *members; /* (owned) of Member */
};

static void
clear_member(gpointer data)
{
    Member *member = data;

    g_free(member->path);
    g_free(member->target);
    g_clear_pointer(&member->bytes, g_bytes_unref);
}

CxTestArchive *
cx_test_archive_new(void)
{
    CxTestArchive *self = g_new0(CxTestArchive, 1);

    self->members = g_array_new(FALSE, FALSE, sizeof(Member));
    g_array_set_clear_func(self->members, clear_member);
    return self;
}

void
cx_test_archive_free(CxTestArchive *self)
{
    g_array_unref(self->members);
    g_free(self);
}

void
cx_test_archive_add(CxTestArchive *self, const char *path, GBytes *bytes)
{
    Member member = {.type = CX_ENTRY_FILE, .path = g_strdup(path), .bytes = g_bytes_ref(bytes)};

    g_array_append_val(self->members, member);
}

void
cx_test_archive_add_text(CxTestArchive *self, const char *path, const char *text)
{
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

    cx_test_archive_add(self, path, bytes);
}

void
cx_test_archive_add_link(CxTestArchive *self,
                         CxEntryType type,
                         const char *path,
                         const char *target)
{
    Member member = {.type = type, .path = g_strdup(path), .target = g_strdup(target)};

    g_array_append_val(self->members, member);
}

static gboolean
has_member(const CxTestArchive *self, const char *path)
{
    for (guint i = 0; i < self->members->len; i++)
        if (strcmp(g_array_index(self->members, Member, i).path, path) == 0)
            return TRUE;

    return FALSE;
}

char *
cx_test_archive_add_blob(CxTestArchive *self,
                         GBytes *bytes,
                         const char *media_type,
                         const char *members)
{
    CxDigest digest = cx_digest_of_bytes(bytes);
    CxDigestText text = cx_digest_text(&digest);
    g_autofree char *path = g_strconcat("blobs/sha256/", cx_digest_text_hex(&text), NULL);

    if (!has_member(self, path))
        cx_test_archive_add(self, path, bytes);
    return g_strdup_printf("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", media_type,
                           text.text, g_bytes_get_size(bytes), members);
}

char *
cx_test_archive_add_image(CxTestArchive *self, const CxTestImage *image, const char *members)
{
    char *config = cx_test_image_config(image), *manifest = cx_test_image_manifest(image);
    g_autoptr(GBytes) config_bytes = g_bytes_new_take(config, strlen(config));
    g_autoptr(GBytes) manifest_bytes = g_bytes_new_take(manifest, strlen(manifest));

    g_free(cx_test_archive_add_blob(self, config_bytes, CX_MEDIA_TYPE_OCI_CONFIG, ""));
    for (guint i = 0; i < image->stored->len; i++)
        g_free(cx_test_archive_add_blob(self, g_ptr_array_index(image->stored, i), "", ""));
    return cx_test_archive_add_blob(self, manifest_bytes, CX_MEDIA_TYPE_OCI_MANIFEST, members);
}

void
cx_test_archive_add_index(CxTestArchive *self, const char *descriptors)
{
    g_autofree char *text =
        g_strdup_printf("{\"schemaVersion\":2,\"manifests\":[%s]}", descriptors);

    cx_test_archive_add_text(self, "index.json", text);
}

int
cx_test_archive_to_tar(const CxTestArchive *self)
{
    int fd = memfd_create("image.tar", MFD_CLOEXEC);
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);

    g_assert_cmpint(fd, >=, 0);
    for (guint i = 0; i < self->members->len; i++) {
        const Member *member = &g_array_index(self->members, Member, i);
        CxEntry entry = {.type = member->type,
                         .path = member->path,
                         .link = member->target,
                         .mode = 0644,
                         .size = member->bytes == NULL ? 0 : g_bytes_get_size(member->bytes)};
        const void *data = member->bytes == NULL ? "" : g_bytes_get_data(member->bytes, NULL);

        g_assert_true(cx_tar_writer_add_bytes(writer, &entry, data, NULL));
    }
    g_assert_true(cx_tar_writer_finish(writer, NULL));
    return fd;
}

static void
put_member(int dir_fd, const Member *member)
{
    g_autofree char *parent = g_path_get_dirname(member->path);
    g_autofree char *name = g_path_get_basename(member->path);
    cx_autofd int parent_fd = cx_chase_mkdir_p(dir_fd, parent, CX_CHASE_BENEATH, 0755, NULL);

    g_assert_cmpint(parent_fd, >=, 0);
    if (member->bytes != NULL)
        g_assert_true(cx_replace_file_at(parent_fd, name, g_bytes_get_data(member->bytes, NULL),
                                         g_bytes_get_size(member->bytes), 0644, NULL));
    else
        g_assert_cmpint(symlinkat(member->target, parent_fd, name), ==, 0);
}

int
cx_test_archive_to_folder(const CxTestArchive *self, int dir_fd)
{
    for (guint i = 0; i < self->members->len; i++)
        put_member(dir_fd, &g_array_index(self->members, Member, i));

    return fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
}
