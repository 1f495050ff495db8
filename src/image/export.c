/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an image as one archive for everybody: an OCI layout in a tar, and docker's manifest.json
 * beside it.  Nothing in it depends on when, where or by whom it is written. */
#include "image/export.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/tar-writer.h"
#include "oci/reference.h"

#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"
#define BLOBS "blobs/sha256/"
#define SPLICE_PIECE (64 * 1024 * 1024) /* copied between two looks at the cancellable */

typedef struct {
    const CxExportImage *image;
    CxBlobStore *blobs;
    CxLayerStore *layers;
    CxTarWriter *writer; /* (owned) */
    CxCancel *cancellable;
} Export;

/* ---- documents ---- */

static char *
blob_path(const CxDigest *digest)
{
    CxDigestText text = cx_digest_text(digest);

    return g_strconcat(BLOBS, cx_digest_text_hex(&text), NULL);
}

static char *
make_index(const CxExportImage *image)
{
    CxDigest digest = cx_digest_of(image->manifest_json, strlen(image->manifest_json));
    g_autoptr(CxDescriptor) manifest =
        cx_descriptor_new(CX_MEDIA_TYPE_OCI_MANIFEST, &digest, strlen(image->manifest_json));
    g_autoptr(json_t) index = NULL;

    manifest->has_platform = TRUE;
    manifest->platform = *image->platform;
    if (image->name != NULL) {
        const char *tag = cx_reference_peek_tag(image->name);

        manifest->annotations = json_pack("{s:s, s:s}", "io.containerd.image.name", image->name,
                                          "org.opencontainers.image.ref.name",
                                          tag != NULL && *tag != '\0' ? tag : image->name);
    }
    index = json_pack("{s:s, s:i, s:[o]}", "mediaType", CX_MEDIA_TYPE_OCI_INDEX, "schemaVersion", 2,
                      "manifests", cx_descriptor_to_json(manifest));
    return cx_json_canonical(index);
}

/* docker load refuses the whole archive for a name that it cannot read, so such a name is left out
 * here. */
static char *
make_docker_manifest(const CxExportImage *image)
{
    g_autofree char *config = blob_path(&image->manifest->config->digest);
    gboolean named = image->name != NULL && cx_reference_is_tagged(image->name);
    json_t *layers = json_array();
    g_autoptr(json_t) list =
        json_pack("[{s:s, s:o, s:o}]", "Config", config, "RepoTags",
                  named ? json_pack("[s]", image->name) : json_null(), "Layers", layers);

    for (guint i = 0; i < image->manifest->layers->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(image->manifest->layers, i);
        g_autofree char *path = blob_path(&layer->digest);

        json_array_append_new(layers, json_string(path));
    }
    return cx_json_canonical(list);
}

/* ---- entries ---- */

static gboolean
add_folder(Export *self, const char *path, GError **error)
{
    CxEntry entry = {.type = CX_ENTRY_FOLDER, .path = (char *)path, .mode = 0755};

    return cx_tar_writer_begin(self->writer, &entry, error);
}

static gboolean
add_text(Export *self, const char *path, const char *text, GError **error)
{
    CxEntry entry = {
        .type = CX_ENTRY_FILE, .path = (char *)path, .mode = 0644, .size = strlen(text)};

    return cx_tar_writer_add_bytes(self->writer, &entry, text, error);
}

/* A layer as it is stored: kept compressed among the blobs, or uncompressed in the layer store. */
static int
open_layer(Export *self, const CxDescriptor *layer, guint64 *out_size, GError **error)
{
    return cx_blob_store_has(self->blobs, &layer->digest)
               ? cx_blob_store_open_blob(self->blobs, &layer->digest, out_size, error)
               : cx_layer_store_open_tar(self->layers, &layer->digest, out_size, error);
}

static gboolean
add_layer(Export *self, const CxDescriptor *layer, const char *path, GError **error)
{
    CX_ERROR_CONTEXT(error, "layer %s", cx_digest_text(&layer->digest).text);
    CxEntry entry = {
        .type = CX_ENTRY_FILE, .path = (char *)path, .mode = 0644, .size = layer->size};
    guint64 size = 0;
    cx_autofd int fd = open_layer(self, layer, &size, error);

    if (fd < 0)
        return FALSE;
    if (size != layer->size)
        return cx_throw(error, CX_ERROR_MISMATCH,
                        "the store has %" G_GUINT64_FORMAT " bytes of %" G_GUINT64_FORMAT, size,
                        layer->size);
    if (!cx_tar_writer_begin(self->writer, &entry, error))
        return FALSE;

    for (guint64 done = 0; done < size;) {
        guint64 piece = MIN(SPLICE_PIECE, size - done);

        if (cx_check_cancelled(self->cancellable, error) ||
            !cx_tar_writer_splice(self->writer, fd, done, piece, error))
            return FALSE;
        done += piece;
    }
    return TRUE;
}

/* ---- blobs ---- */

/* One blob to write: a document or a layer. */
typedef struct {
    char *path;                /* (owned) */
    const char *text;          /* borrowed; NULL: a layer */
    const CxDescriptor *layer; /* borrowed */
} Blob;

static void
clear_blob(gpointer data)
{
    g_free(((Blob *)data)->path);
}

static gint
compare_blobs(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Blob *)a)->path, ((const Blob *)b)->path);
}

static void
list_document(GArray *list, const char *text)
{
    CxDigest digest = cx_digest_of(text, strlen(text));
    Blob blob = {.path = blob_path(&digest), .text = text};

    g_array_append_val(list, blob);
}

/* Every blob of the image, sorted.  (A layer that an image has twice stands there twice.) */
static GArray *
list_blobs(const CxExportImage *image)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(Blob));

    g_array_set_clear_func(list, clear_blob);
    list_document(list, image->manifest_json);
    list_document(list, image->config_json);
    for (guint i = 0; i < image->manifest->layers->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(image->manifest->layers, i);
        Blob blob = {.path = blob_path(&layer->digest), .layer = layer};

        g_array_append_val(list, blob);
    }
    g_array_sort(list, compare_blobs);
    return list;
}

static gboolean
add_blobs(Export *self, GError **error)
{
    g_autoptr(GArray) list = list_blobs(self->image);
    const char *before = "";

    for (guint i = 0; i < list->len; i++) {
        const Blob *blob = &g_array_index(list, Blob, i);

        if (strcmp(blob->path, before) == 0)
            continue;
        if (blob->text != NULL ? !add_text(self, blob->path, blob->text, error)
                               : !add_layer(self, blob->layer, blob->path, error))
            return FALSE;
        before = blob->path;
    }
    return TRUE;
}

static gboolean
write_archive(Export *self, GError **error)
{
    g_autofree char *index = make_index(self->image);
    g_autofree char *docker_manifest = make_docker_manifest(self->image);

    return add_text(self, "oci-layout", LAYOUT_FILE, error) &&
           add_text(self, "index.json", index, error) &&
           add_text(self, "manifest.json", docker_manifest, error) &&
           add_folder(self, "blobs", error) && add_folder(self, "blobs/sha256", error) &&
           add_blobs(self, error) && cx_tar_writer_finish(self->writer, error);
}

/* A config that is not the one its manifest names makes an archive that nobody can read. */
static gboolean
check_config(const CxExportImage *image, GError **error)
{
    CxDigest digest = cx_digest_of(image->config_json, strlen(image->config_json));

    if (!cx_digest_equal(&digest, &image->manifest->config->digest))
        return cx_throw(error, CX_ERROR_MISMATCH, "config %s is not the one of its manifest",
                        cx_digest_text(&digest).text);

    return TRUE;
}

gboolean
cx_image_export(const CxExportImage *image,
                CxBlobStore *blobs,
                CxLayerStore *layers,
                int out_fd,
                CxCancel *cancellable,
                GError **error)
{
    CX_ERROR_CONTEXT(error, "export");
    CxFdSink sink = cx_fd_sink(out_fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    Export export = {.image = image,
                     .blobs = blobs,
                     .layers = layers,
                     .writer = writer,
                     .cancellable = cancellable};

    return check_config(image, error) && write_archive(&export, error);
}
