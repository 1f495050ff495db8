/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "layer/tar-writer.h"
#include "layer/tree.h"

G_BEGIN_DECLS

/* Writes what a stack of deltas changes, as one layer, in one pass over sorted names.  A delta is a
 * folder in overlay form: an upper directory of a step, or a mounted or unpacked layer.  The
 * topmost delta wins; folders merge; whiteouts become
 * ".wh." entries, opaque folders ".wh..wh..opq".  Hard links within the result are kept.  Sockets
 * are left out. Every time is `mtime`.  `below`, if not NULL, is the merged tree under the deltas:
 * a whiteout of what is not there is left out, and so is a folder that equals the one below in
 * mode, owner and xattrs and holds no change. xattrs kept: security.capability, user.*.  The writer
 * is not finished. */
gboolean cx_layer_diff(const int *delta_fds, /* from the bottom up, borrowed */
                       guint n_deltas,
                       CxTree *below,
                       gint64 mtime,
                       CxTarWriter *writer,
                       CxCancel *cancellable,
                       GError **error);

G_END_DECLS
