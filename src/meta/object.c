/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const prefixes[] = {
    [CX_OBJECT_BLOB] = "blob:",
    [CX_OBJECT_LAYER] = "layer:",
    [CX_OBJECT_UPPER] = "upper:",
};
G_STATIC_ASSERT(G_N_ELEMENTS(prefixes) == CX_N_OBJECT_KINDS);

CxObject
cx_object_blob(const CxDigest *digest)
{
    return (CxObject){.kind = CX_OBJECT_BLOB, .digest = *digest};
}

CxObject
cx_object_layer(const CxDigest *diff_id)
{
    return (CxObject){.kind = CX_OBJECT_LAYER, .digest = *diff_id};
}

CxObject
cx_object_upper(guint64 upper)
{
    return (CxObject){.kind = CX_OBJECT_UPPER, .upper = upper};
}

CxObjectText
cx_object_text(const CxObject *self)
{
    CxObjectText text;

    if (self->kind == CX_OBJECT_UPPER) {
        (void)snprintf(text.text, sizeof text.text, "%s%016" G_GINT64_MODIFIER "x",
                       prefixes[self->kind], self->upper);
    } else {
        CxDigestText digest = cx_digest_text(&self->digest);

        (void)snprintf(text.text, sizeof text.text, "%s%s", prefixes[self->kind],
                       cx_digest_text_hex(&digest));
    }
    return text;
}

gboolean
cx_object_parse(const char *text, CxObject *out_object)
{
    for (CxObjectKind kind = 0; kind < CX_N_OBJECT_KINDS; kind++) {
        const char *rest = text + strlen(prefixes[kind]);

        if (!g_str_has_prefix(text, prefixes[kind]))
            continue;
        out_object->kind = kind;
        if (kind != CX_OBJECT_UPPER)
            return cx_digest_parse_hex(rest, &out_object->digest);
        out_object->upper = g_ascii_strtoull(rest, NULL, 16);
        return strlen(rest) == 16;
    }
    return FALSE;
}
