/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/import.h"
#include "layer/codec.h"

G_BEGIN_DECLS

/* What tests of images are made of: stores in a temporary folder, and image files put together
 * entry by entry, right or wrong. */

typedef struct {
    char *path; /* (owned) */
    int fd;     /* owned */
    CxBlobStore *blobs;
    CxLayerStore *layers;
} CxTestStores;

void cx_test_stores_init(CxTestStores *self);
void cx_test_stores_clear(CxTestStores *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxTestStores, cx_test_stores_clear)
guint cx_test_stores_count_leftovers(const CxTestStores *self); /* in tmp/ */

/* A layer tar with one file. */
GBytes *cx_test_layer(const char *path, const char *text);
GBytes *cx_test_compress(GBytes *bytes, CxCompression compression);

/* An image of one platform. */
typedef struct {
    char *platform;       /* (owned) "linux/amd64" */
    GPtrArray *stored;    /* (owned) of owned GBytes: layers as stored */
    GArray *compressions; /* (owned) of CxCompression */
    GArray *diff_ids;     /* (owned) of CxDigest */
} CxTestImage;

CxTestImage *cx_test_image_new(const char *platform);
void cx_test_image_free(CxTestImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxTestImage, cx_test_image_free)
void cx_test_image_add_layer(CxTestImage *self,
                             const char *path,
                             const char *text,
                             CxCompression compression);
char *cx_test_image_config(const CxTestImage *self);
char *cx_test_image_manifest(const CxTestImage *self);

/* An image file in the making. */
typedef struct CxTestArchive CxTestArchive;

CxTestArchive *cx_test_archive_new(void);
void cx_test_archive_free(CxTestArchive *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxTestArchive, cx_test_archive_free)
void cx_test_archive_add(CxTestArchive *self, const char *path, GBytes *bytes);
void cx_test_archive_add_text(CxTestArchive *self, const char *path, const char *text);
void cx_test_archive_add_link(CxTestArchive *self,
                              CxEntryType type,
                              const char *path,
                              const char *target);
/* As blobs/sha256/<hex>; returns its descriptor as JSON.  members is further JSON for it, or "". */
char *cx_test_archive_add_blob(CxTestArchive *self,
                               GBytes *bytes,
                               const char *media_type,
                               const char *members);
/* All blobs of an image; returns the descriptor of the manifest as JSON. */
char *cx_test_archive_add_image(CxTestArchive *self, const CxTestImage *image, const char *members);
/* index.json with these descriptors ("{…},{…}"). */
void cx_test_archive_add_index(CxTestArchive *self, const char *descriptors);
int cx_test_archive_to_tar(const CxTestArchive *self);                /* an fd */
int cx_test_archive_to_folder(const CxTestArchive *self, int dir_fd); /* an fd of dir_fd */

G_END_DECLS
