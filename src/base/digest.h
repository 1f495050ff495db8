/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* SHA-256 content digests, "sha256:<64 lower-case hex digits>" (OCI image spec, descriptor.md,
 * "Digests"). A plain value: copy by assignment, compare with cx_digest_equal. */
#define CX_DIGEST_SIZE 32
#define CX_DIGEST_HEX_SIZE 64

typedef struct {
    guint8 bytes[CX_DIGEST_SIZE];
} CxDigest;

typedef struct {
    char text[sizeof "sha256:" + CX_DIGEST_HEX_SIZE];
} CxDigestText;

/* Parses the strict form.  CX_ERROR_UNSUPPORTED: another registered algorithm; CX_ERROR_INVALID:
 * anything else. */
gboolean cx_digest_parse(const char *text, CxDigest *out_digest, GError **error);
gboolean cx_digest_parse_hex(const char *hex,
                             CxDigest *out_digest); /* the 64 digits alone; nothing may follow */

CxDigestText cx_digest_text(const CxDigest *digest);      /* .text is "sha256:…" */
const char *cx_digest_text_hex(const CxDigestText *text); /* the digits within it */

gboolean cx_digest_equal(const CxDigest *a, const CxDigest *b);
int cx_digest_compare(const CxDigest *a, const CxDigest *b);
guint cx_digest_hash(gconstpointer digest);                      /* for GHashTable */
gboolean cx_digest_equal_keys(gconstpointer a, gconstpointer b); /* for GHashTable */
CxDigest *cx_digest_dup(const CxDigest *digest);                 /* g_free it */

/* A running SHA-256.  Not for two threads at once.  Reusable after finish. */
typedef struct CxHasher CxHasher;

CxHasher *cx_hasher_new(void);
void cx_hasher_free(CxHasher *self);
void cx_hasher_update(CxHasher *self, const void *data, gsize size);
CxDigest cx_hasher_finish(CxHasher *self); /* and starts anew */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxHasher, cx_hasher_free)

CxDigest cx_digest_of(const void *data, gsize size);
CxDigest cx_digest_of_bytes(GBytes *bytes);

/* A key over framed fields: every field is preceded by its length, so no two field lists collide.
 */
void cx_hasher_field(CxHasher *self, const void *data, gsize size);
void cx_hasher_field_string(CxHasher *self, const char *text); /* NULL differs from "" */
void cx_hasher_field_number(CxHasher *self, guint64 number);
void cx_hasher_field_digest(CxHasher *self, const CxDigest *digest);

G_END_DECLS
