/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/identity.h"
#include "layer/entry.h"

G_BEGIN_DECLS

/* The files of an image archive (a tar) or of an image layout folder, by path.  Of a tar only the
 * table of contents is read; nothing is unpacked.  In a tar every name stands once; what is asked
 * for must be a regular file. */
typedef struct CxArchive CxArchive;

/* What a hostile archive may hold. */
#define CX_ARCHIVE_ENTRIES_MAX 65536

/* Bytes of one file: [offset, offset + size) of fd. */
typedef struct {
    int fd; /* owned */
    guint64 offset;
    guint64 size;
} CxPart;

#define CX_PART_INIT                                                                               \
    {                                                                                              \
        .fd = -1, .offset = 0, .size = 0                                                           \
    }

void cx_part_clear(CxPart *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxPart, cx_part_clear)

/* take_fd: a tar opened for reading, or a folder; closed in any case.  The files of a folder are
 * opened later, beneath it and with the rights of identity (NULL: our own). */
CxArchive *cx_archive_open(int take_fd, CxIdentity *identity, GError **error);
void cx_archive_close(CxArchive *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxArchive, cx_archive_close)

typedef enum {
    CX_ARCHIVE_FOLLOW = 1 << 1, /* the path may be a link to another entry of the tar (one step) */
} CxArchiveFlags;

/* CX_ERROR_NOT_FOUND: no such path.  Any thread may call. */
gboolean cx_archive_open_part(
    CxArchive *self, const char *path, CxArchiveFlags flags, CxPart *out_part, GError **error);
/* A small file as a whole; CX_ERROR_LIMIT if it is larger than limit. */
GBytes *cx_archive_read(
    CxArchive *self, const char *path, CxArchiveFlags flags, gsize limit, GError **error);
GBytes *cx_part_read(const CxPart *self, GError **error); /* size is the caller's to check */

G_END_DECLS
