/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"
#include "layer/sink.h"

G_BEGIN_DECLS

/* Writes ustar with pax records where ustar cannot say it: long paths and links, non-ASCII names,
 * sizes and ids beyond octal, sub-second times, xattrs as SCHILY.xattr.NAME.  The same entries give
 * the same bytes on every machine: no user names, no access times, pax records in a fixed order,
 * folders end in "/".  These bytes are a promise: layer digests depend on them (tests/golden). */
typedef struct CxTarWriter CxTarWriter;

CxTarWriter *cx_tar_writer_new(CxSink *sink); /* sink borrowed */
void cx_tar_writer_free(CxTarWriter *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxTarWriter, cx_tar_writer_free)

/* Writes the header; for a file of size > 0 exactly size bytes must follow through write or splice.
 * data_offset and extents of the entry are ignored: files are written whole. */
gboolean cx_tar_writer_begin(CxTarWriter *self, const CxEntry *entry, GError **error);
gboolean cx_tar_writer_write(CxTarWriter *self, const void *data, gsize size, GError **error);
gboolean cx_tar_writer_splice(
    CxTarWriter *self, int fd, guint64 offset, guint64 size, GError **error);

/* Header and content at once. */
gboolean cx_tar_writer_add_bytes(CxTarWriter *self,
                                 const CxEntry *entry,
                                 const void *data,
                                 GError **error);

/* How many entries were written so far. */
guint64 cx_tar_writer_get_count(const CxTarWriter *self);

/* The two zero blocks.  No padding to a record: the archive ends there. */
gboolean cx_tar_writer_finish(CxTarWriter *self, GError **error);

G_END_DECLS
