/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "base/digest.h"
#include "layer/tar-writer.h"
#include "layer/tree.h"

G_BEGIN_DECLS

/* Turns a file or a folder into the entries that put it at dest in an image, like `cp -aT`, owner
 * 0:0, every time `mtime` (spec/daemon.md §5, copy).  Straight from source to writer: each file is
 * opened once and read once; memory is one folder of names per level.  Sources are walked by fd
 * without following links; a device or socket in it is CX_ERROR_INVALID naming it.
 *
 * dest is resolved in `below` (links followed; missing parents are made 0755; existing parents are
 * written with the metadata they have, so the layer does not depend on what is under it).  A folder
 * onto something that is no folder, or a file onto a folder, is CX_ERROR_INVALID.  A folder of the
 * source that meets a link to a folder in the image is merged into what the link means.  The folder
 * at dest itself keeps its metadata if it exists; folders below it take those of the source. */
typedef struct {
    int parent_fd;    /* borrowed: the folder that holds the source */
    const char *name; /* one component beneath parent_fd, or "." for parent_fd itself; a symlink is
                         packed as a symlink */
    const char *dest; /* absolute path in the image */
    CxTree *below;    /* borrowed; the image so far */
    gint64 mtime;
    gboolean keep_owner; /* FALSE: 0:0 */
} CxPack;

gboolean cx_layer_pack(const CxPack *pack,
                       CxTarWriter *writer,
                       CxCancel *cancellable,
                       GError **error);

/* A key over what lstat says of every object of the source: name, type, mode, size, mtime, ctime,
 * device, inode (not over contents).  While it stays the same, so do the bytes that cx_layer_pack
 * would write (given the same dest and image). Objects modified within the last 2 s before the walk
 * make *out_settled FALSE: the caller must not remember the key. */
gboolean cx_layer_pack_key(const CxPack *pack,
                           CxDigest *out_key,
                           gboolean *out_settled,
                           CxCancel *cancellable,
                           GError **error);

G_END_DECLS
