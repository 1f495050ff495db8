/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "meta/object.h"

G_BEGIN_DECLS

/* What the store knows beside its bytes: <root>/meta.db, SQLite in WAL mode.  Any thread may call;
 * every change is one transaction.  Schema (version 1, in meta.c; docs/formats/meta.md):
 *
 *   image     name, platform -> manifest digest, when
 *   record    key -> kind, value, bytes, last use: what the cache knows
 *   hold      owner ("image:NAME PLATFORM", "record:<hex>") -> object it keeps from being collected
 *   unsynced  object -> boot id under which it was written and not yet forced to disk
 *   place     "NAME PLATFORM STAGE STEP" -> what a step was last time, for --explain
 */
typedef struct CxMeta CxMeta;

CxMeta *cx_meta_open(const char *path, GError **error);
void cx_meta_close(CxMeta *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxMeta, cx_meta_close)

/* ---- cache records --------------------------------------------------------------------------- */

/* The value under key and the objects it holds (of CxObject), or NULL with error unset when there
 * is none.  (transfer full) */
char *cx_meta_get_record(CxMeta *self, const CxDigest *key, GArray **out_objects, GError **error);
/* Keeps value under key, replacing what was there; bytes is what its objects take on disk. */
gboolean cx_meta_put_record(CxMeta *self,
                            const CxDigest *key,
                            const char *kind,
                            const char *value,
                            const CxObject *objects,
                            guint n_objects,
                            guint64 bytes,
                            GError **error);
gboolean cx_meta_drop_record(CxMeta *self, const CxDigest *key, GError **error);
/* Drops the least recently used records until the rest is below budget; 0 drops all. */
gboolean cx_meta_trim_records(CxMeta *self, guint64 budget, guint *out_dropped, GError **error);

typedef struct {
    guint64 records;
    guint64 record_bytes;
    guint64 images;
} CxMetaTotals;
gboolean cx_meta_count(CxMeta *self, CxMetaTotals *out_totals, GError **error);

/* ---- images ---------------------------------------------------------------------------------- */
typedef struct {
    char *name;
    char *platform;
    CxDigest manifest;
    gint64 created; /* seconds, wall clock */
} CxImageRow;

void cx_image_row_free(CxImageRow *self);

gboolean cx_meta_put_image(CxMeta *self,
                           const char *name,
                           const char *platform,
                           const CxDigest *manifest,
                           const CxObject *objects,
                           guint n_objects,
                           GError **error);
/* All images, or those of one name; (element-type CxImageRow), sorted by name and platform. */
GPtrArray *cx_meta_list_images(CxMeta *self, const char *name_or_null, GError **error);
gboolean cx_meta_remove_image(CxMeta *self, const char *name, gboolean *out_found, GError **error);

/* ---- holds and durability -------------------------------------------------------------------- */

/* Texts of all objects that an image or record holds: a set of owned strings. */
GHashTable *cx_meta_held_objects(CxMeta *self, GError **error);

/* Objects written under another boot than this one that were never forced to disk: after a crash of
 * the machine they may be damaged.  (element-type CxObject) */
GArray *cx_meta_list_suspects(CxMeta *self, GError **error);
/* Drops every record and image that holds the object. */
gboolean cx_meta_drop_holders(CxMeta *self, const CxObject *object, GError **error);
/* All bytes are on disk now. */
gboolean cx_meta_mark_synced(CxMeta *self, GError **error);
gboolean cx_meta_has_unsynced(CxMeta *self);

/* ---- explain --------------------------------------------------------------------------------- */
char *cx_meta_get_place(CxMeta *self, const char *place, GError **error); /* NULL: none */
gboolean cx_meta_put_place(CxMeta *self, const char *place, const char *value, GError **error);

G_END_DECLS
