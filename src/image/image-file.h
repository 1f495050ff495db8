/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/archive.h"
#include "image/import.h"

G_BEGIN_DECLS

/* What the files of this room share of an image file. */
struct CxImageFile {
    CxArchive *archive; /* (owned) */
    char *name;         /* (owned) for messages */
    GHashTable *places; /* (owned CxDigest) -> (owned char *) path: blobs that do not lie at
                           blobs/sha256/<hex> */
    guint64 budget;     /* bytes of documents that the selection under way may still read */
};

/* The blob of a descriptor, its size checked (its digest is for the reader).  CX_ERROR_NOT_FOUND:
 * it is missing; CX_ERROR_MISMATCH: its size is another. */
gboolean cx_image_file_open_blob(CxImageFile *self,
                                 const CxDescriptor *descriptor,
                                 CxPart *out_part,
                                 GError **error);
/* A document, whole and with its digest checked. */
GBytes *cx_image_file_read_document(CxImageFile *self,
                                    const CxDescriptor *descriptor,
                                    GError **error);
/* A document by its path, links of the archive followed. */
GBytes *cx_image_file_read_path(CxImageFile *self, const char *path, GError **error);

/* The two kinds of archive; text is the content of index.json or manifest.json. */
gboolean cx_image_file_select_oci(CxImageFile *self,
                                  GBytes *text,
                                  const CxPlatform *want,
                                  CxManifest **out_manifest,
                                  CxImageConfig **out_config,
                                  GError **error);
gboolean cx_image_file_select_docker(CxImageFile *self,
                                     GBytes *text,
                                     const CxPlatform *want,
                                     CxManifest **out_manifest,
                                     CxImageConfig **out_config,
                                     GError **error);

/* ---- choosing among several images ---- */

/* One image that an archive offers. */
typedef struct {
    CxDigest id;    /* of manifest or config */
    guint group;    /* offers of one group are one image for several platforms */
    char *label;    /* (owned) its name, for messages; NULL: none */
    gboolean known; /* platform is known */
    CxPlatform platform;
    gpointer data; /* whatever the chooser wants back; borrowed */
} CxOffer;

void cx_offer_free(CxOffer *self);

/* The one that serves best.  CX_ERROR_NOT_FOUND lists what is there; CX_ERROR_INVALID: several
 * images of different groups serve equally well. */
const CxOffer *cx_offers_choose(const GPtrArray *offers, const CxPlatform *want, GError **error);

G_END_DECLS
