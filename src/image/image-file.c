/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image-file.h"

#include <string.h>

#include "base/error.h"
#include "oci/document.h"

/* All documents that one selection may read, so that an archive cannot keep us busy with listing
 * the same large ones. */
#define DOCUMENT_BYTES_MAX (64 * 1024 * 1024)

CxImageFile *
cx_image_file_open(int take_fd, const char *name, CxIdentity *identity, GError **error)
{
    CX_ERROR_CONTEXT(error, "\"%s\"", name);
    CxArchive *archive = cx_archive_open(take_fd, identity, error);
    CxImageFile *self;

    if (archive == NULL)
        return NULL;

    self = g_new0(CxImageFile, 1);
    self->archive = archive;
    self->name = g_strdup(name);
    self->places = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, g_free, g_free);
    return self;
}

void
cx_image_file_close(CxImageFile *self)
{
    if (self == NULL)
        return;

    cx_archive_close(self->archive);
    g_clear_pointer(&self->places, g_hash_table_unref);
    g_free(self->name);
    g_free(self);
}

/* ---- blobs ---- */

gboolean
cx_image_file_open_blob(CxImageFile *self,
                        const CxDescriptor *descriptor,
                        CxPart *out_part,
                        GError **error)
{
    CxDigestText text = cx_digest_text(&descriptor->digest);
    const char *place = g_hash_table_lookup(self->places, &descriptor->digest);
    g_autofree char *path = g_strconcat("blobs/sha256/", cx_digest_text_hex(&text), NULL);
    g_auto(CxPart) part = CX_PART_INIT;
    g_autoptr(GError) open_error = NULL;

    if (!cx_archive_open_part(self->archive, place != NULL ? place : path,
                              place != NULL ? CX_ARCHIVE_FOLLOW : 0, &part, &open_error)) {
        if (cx_error_is(open_error, CX_ERROR_NOT_FOUND))
            return cx_throw(error, CX_ERROR_NOT_FOUND, "blob %s is missing", text.text);
        g_propagate_error(error, g_steal_pointer(&open_error));
        return FALSE;
    }
    if (part.size != descriptor->size)
        return cx_throw(error, CX_ERROR_MISMATCH,
                        "blob %s has %" G_GUINT64_FORMAT " bytes where its descriptor says "
                        "%" G_GUINT64_FORMAT,
                        text.text, part.size, descriptor->size);

    *out_part = part;
    part.fd = -1;
    return TRUE;
}

static gboolean
take_from_budget(CxImageFile *self, guint64 size, GError **error)
{
    if (size > self->budget)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d bytes of documents",
                        DOCUMENT_BYTES_MAX);

    self->budget -= size;
    return TRUE;
}

GBytes *
cx_image_file_read_path(CxImageFile *self, const char *path, GError **error)
{
    g_autoptr(GBytes) bytes =
        cx_archive_read(self->archive, path, CX_ARCHIVE_FOLLOW, CX_DOCUMENT_MAX, error);

    if (bytes == NULL || !take_from_budget(self, g_bytes_get_size(bytes), error))
        return NULL;

    return g_steal_pointer(&bytes);
}

GBytes *
cx_image_file_read_document(CxImageFile *self, const CxDescriptor *descriptor, GError **error)
{
    CxDigestText text = cx_digest_text(&descriptor->digest);
    g_auto(CxPart) part = CX_PART_INIT;
    g_autoptr(GBytes) bytes = NULL;
    CxDigest actual;

    if (descriptor->size > CX_DOCUMENT_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "document %s is larger than %d bytes",
                             text.text, CX_DOCUMENT_MAX);
    if (!cx_image_file_open_blob(self, descriptor, &part, error) ||
        !take_from_budget(self, part.size, error))
        return NULL;

    bytes = cx_part_read(&part, error);
    if (bytes == NULL)
        return NULL;

    actual = cx_digest_of_bytes(bytes);
    if (!cx_digest_equal(&actual, &descriptor->digest))
        return cx_throw_null(error, CX_ERROR_MISMATCH, "blob %s: digest mismatch (read %s)",
                             text.text, cx_digest_text(&actual).text);

    return g_steal_pointer(&bytes);
}

/* ---- choosing ---- */

#define LISTED_MAX 20

void
cx_offer_free(CxOffer *self)
{
    g_free(self->label);
    g_free(self);
}

/* "linux/amd64, linux/arm64", each once. */
static char *
list_platforms(const GPtrArray *offers)
{
    g_autoptr(GPtrArray) seen = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < offers->len && seen->len < LISTED_MAX; i++) {
        const CxOffer *offer = g_ptr_array_index(offers, i);
        CxPlatformText text = cx_platform_text(&offer->platform);

        if (offer->known && !g_ptr_array_find_with_equal_func(seen, text.text, g_str_equal, NULL))
            g_ptr_array_add(seen, g_strdup(text.text));
    }
    g_ptr_array_add(seen, NULL);
    return g_strjoinv(", ", (char **)seen->pdata);
}

static const char *
label_of(const CxOffer *offer, CxDigestText *text)
{
    *text = cx_digest_text(&offer->id);
    return offer->label != NULL ? offer->label : text->text;
}

const CxOffer *
cx_offers_choose(const GPtrArray *offers, const CxPlatform *want, GError **error)
{
    const CxOffer *best = NULL, *rival = NULL;
    g_autofree char *platforms = NULL;
    CxDigestText a, b;
    int best_score = 0;

    for (guint i = 0; i < offers->len; i++) {
        const CxOffer *offer = g_ptr_array_index(offers, i);
        int score = offer->known ? cx_platform_match(want, &offer->platform) : 0;

        if (score > best_score) {
            best = offer;
            best_score = score;
            rival = NULL;
        } else if (score > 0 && score == best_score && offer->group != best->group &&
                   !cx_digest_equal(&offer->id, &best->id)) {
            rival = offer;
        }
    }
    if (rival != NULL)
        return cx_throw_null(error, CX_ERROR_INVALID,
                             "holds several images for %s: %s and %s (keep one to a file)",
                             cx_platform_text(want).text, label_of(best, &a), label_of(rival, &b));
    if (best != NULL)
        return best;

    platforms = list_platforms(offers);
    return cx_throw_null(error, CX_ERROR_NOT_FOUND, "no image for %s (there is %s)",
                         cx_platform_text(want).text,
                         *platforms == '\0' ? "none at all" : platforms);
}

/* ---- selecting ---- */

/* The content of a document at a fixed path; NULL without error when it is not there. */
static GBytes *
read_entrance(CxImageFile *self, const char *path, GError **error)
{
    g_autoptr(GError) read_error = NULL;
    GBytes *bytes = cx_archive_read(self->archive, path, 0, CX_DOCUMENT_MAX, &read_error);

    if (bytes == NULL && !cx_error_is(read_error, CX_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&read_error));
    return bytes;
}

/* oci-layout may be missing, as other readers allow; a version we do not know may not. */
static gboolean
check_layout(CxImageFile *self, GError **error)
{
    g_autoptr(GError) read_error = NULL;
    g_autoptr(GBytes) bytes = read_entrance(self, "oci-layout", &read_error);
    g_autoptr(json_t) json = NULL;
    const char *version = NULL;

    if (read_error != NULL) {
        g_propagate_error(error, g_steal_pointer(&read_error));
        return FALSE;
    }
    if (bytes == NULL)
        return TRUE;

    CX_ERROR_CONTEXT(error, "oci-layout");
    json = cx_document_parse_value(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (json == NULL || !cx_json_get_string(json, "imageLayoutVersion", &version, error))
        return FALSE;
    if (g_strcmp0(version, "1.0.0") != 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "layout version \"%.20s\" is not 1.0.0",
                        version == NULL ? "" : version);

    return TRUE;
}

gboolean
cx_image_file_select(CxImageFile *self,
                     const CxPlatform *want,
                     CxManifest **out_manifest,
                     CxImageConfig **out_config,
                     GError **error)
{
    CX_ERROR_CONTEXT(error, "\"%s\"", self->name);
    g_autoptr(GError) read_error = NULL;
    g_autoptr(GBytes) index = read_entrance(self, "index.json", &read_error);
    g_autoptr(GBytes) manifest = NULL;

    self->budget = DOCUMENT_BYTES_MAX;
    if (index != NULL)
        return check_layout(self, error) &&
               cx_image_file_select_oci(self, index, want, out_manifest, out_config, error);

    if (read_error == NULL)
        manifest = read_entrance(self, "manifest.json", &read_error);
    if (manifest != NULL)
        return cx_image_file_select_docker(self, manifest, want, out_manifest, out_config, error);

    if (read_error == NULL)
        return cx_throw(error, CX_ERROR_INVALID,
                        "not an image: neither index.json nor manifest.json is in it");
    g_propagate_error(error, g_steal_pointer(&read_error));
    return FALSE;
}
