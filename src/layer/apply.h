/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "layer/entry.h"

G_BEGIN_DECLS

/* Unpacks a layer tar into the empty folder dir_fd in overlay form (whiteouts as char 0:0, opaque
 * xattr), for kernels that cannot mount its index.  Independent of the layers below.  Everything is
 * opened beneath dir_fd without following links; owner, mode, times and xattrs (security.*, user.*,
 * trusted.* but overlay's) are set; holes stay holes. */
gboolean cx_layer_apply(int tar_fd,
                        guint64 tar_size,
                        const CxLayerLimits *limits,
                        int dir_fd,
                        CxCancel *cancellable,
                        GError **error);

G_END_DECLS
