/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* The two ways to write "this is gone": a layer tar does it with file names (OCI image spec,
 * layer.md, "Whiteouts"), overlayfs with a character device 0:0 and an xattr.  Everything that
 * converts between them asks here. */

#define CX_OVERLAY_OPAQUE                                                                          \
    "trusted.overlay.opaque" /* "y": hides the folder of this name in the layers below */
/* Empty, on a folder that holds whiteouts: overlayfs then looks for them when it lists the folder
 * even if no layer below has it (to overlayfs this is a folder that was copied from below, nobody
 * knows where). */
#define CX_OVERLAY_WHITEOUTS "trusted.overlay.origin"
/* Ours, in overlayfs's own name space so that a merged mount does not show it: "y" on a folder that
 * no entry of the layer describes, made only because something lies in it. */
#define CX_OVERLAY_IMPLICIT "trusted.overlay.implicit"

typedef enum {
    CX_NAME_PLAIN,
    CX_NAME_WHITEOUT, /* ".wh.NAME": NAME is gone */
    CX_NAME_OPAQUE,   /* ".wh..wh..opq": the folder hides all below it */
    CX_NAME_LEFTOVER, /* ".wh..wh.plnk" and the like, or something in one: bookkeeping of AUFS, to
                         be left out */
    CX_NAME_BAD,      /* a whiteout of nothing, "." or "..", or used as a folder */
} CxNameKind;

/* What the path of a tar entry means.  For WHITEOUT *out_name is the bare NAME within path. */
CxNameKind cx_overlay_classify(const char *path, const char **out_name);

/* Whether an xattr found in a layer may pass into a view: security.*, user.* and trusted.*, but
 * nothing that overlayfs would take for its own. */
gboolean cx_overlay_keeps_xattr(const char *name);

/* Whether an entry of a layer would act as a whiteout without being one.  It is left out of every
 * view. */
gboolean cx_overlay_is_false_whiteout(const CxEntry *entry);

/* How many components a clean path has.  Links of a layer that lead ever deeper could make a tree
 * deeper than any of its paths says. */
guint cx_overlay_count_parts(const char *path);

G_END_DECLS
