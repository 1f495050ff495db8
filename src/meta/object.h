/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/digest.h"

G_BEGIN_DECLS

/* What the store keeps and garbage collection weighs: a blob, a layer or an upper, named by one
 * short text, so that holds and leases of all kinds live in one table: "blob:<hex>", "layer:<hex>",
 * "upper:<16 hex digits>". */
typedef enum { CX_OBJECT_BLOB, CX_OBJECT_LAYER, CX_OBJECT_UPPER, CX_N_OBJECT_KINDS } CxObjectKind;

typedef struct {
    CxObjectKind kind;
    CxDigest digest; /* blob, layer */
    guint64 upper;   /* upper */
} CxObject;

typedef struct {
    char text[sizeof "layer:" + CX_DIGEST_HEX_SIZE];
} CxObjectText;

CxObject cx_object_blob(const CxDigest *digest);
CxObject cx_object_layer(const CxDigest *diff_id);
CxObject cx_object_upper(guint64 upper);
CxObjectText cx_object_text(const CxObject *self);
gboolean cx_object_parse(const char *text, CxObject *out_object);

G_END_DECLS
