/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* Reads the headers of a tar archive in a file: ustar, pax (path, linkpath, size, uid, gid, mtime,
 * SCHILY.xattr.*, LIBARCHIVE.xattr.*, GNU.sparse.*), GNU long names, base-256 numbers, old GNU
 * sparse.  Data is skipped by seeking, so a pass over a layer costs a read per entry.  Paths come
 * out clean and relative; a path or hard link that holds ".." or a NUL, a size or number out of
 * range, a checksum that is wrong, a header cut short or past a limit is CX_ERROR_INVALID or
 * CX_ERROR_LIMIT, naming the entry and its offset.  Absolute paths lose their slash, as every tar
 * does. An archive that ends without its two zero blocks but at an entry's end is accepted; cut
 * within an entry it is CX_ERROR_MISMATCH ("archive is truncated"). */
typedef struct CxTarReader CxTarReader;

/* Reads [offset, offset + size) of fd (borrowed, pread only, so one fd may serve several readers).
 */
CxTarReader *cx_tar_reader_new(int fd, guint64 offset, guint64 size, const CxLayerLimits *limits);
void cx_tar_reader_free(CxTarReader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxTarReader, cx_tar_reader_free)

/* The next entry, borrowed until the next call; NULL at the end or with error set. */
const CxEntry *cx_tar_reader_next(CxTarReader *self, GError **error);

/* Where the header of the current entry starts (for messages). */
guint64 cx_tar_reader_get_offset(const CxTarReader *self);

G_END_DECLS
