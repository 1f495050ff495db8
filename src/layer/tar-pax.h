/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* What pax records (POSIX.1-2017, pax, "pax Extended Header") say about the entry that follows
 * them: "LENGTH KEY=VALUE\n", with the keys of GNU tar, star and libarchive.  A pure parser: bytes
 * in, fields out.  One object serves a whole archive: reset it after each entry. */
typedef enum {
    CX_PAX_PATH = 1 << 1,
    CX_PAX_LINK = 1 << 2,
    CX_PAX_SIZE = 1 << 3,
    CX_PAX_UID = 1 << 4,
    CX_PAX_GID = 1 << 5,
    CX_PAX_MTIME = 1 << 6,
    CX_PAX_SPARSE_SIZE = 1 << 7, /* GNU.sparse.size or .realsize: the size with holes */
    CX_PAX_SPARSE_MAP = 1 << 8,  /* the map is in `extents` (sparse formats 0.0 and 0.1) */
    CX_PAX_SPARSE_NAME = 1 << 9, /* GNU.sparse.name, goes before path */
    CX_PAX_SPARSE_1_0 = 1 << 10, /* the map stands before the data */
} CxPaxFields;

typedef struct {
    guint fields; /* CxPaxFields that are set */
    GString *path;
    GString *sparse_name;
    GString *link;
    guint64 size;
    guint32 uid;
    guint32 gid;
    gint64 mtime;
    guint32 mtime_nsec;
    guint64 sparse_size;
    gint64 sparse_major;
    gint64 sparse_minor;
    gboolean sparse_half; /* an offset of format 0.0 waits for its numbytes */
    GArray *extents;      /* of CxExtent, data_offset not filled in */
    GPtrArray *xattrs;    /* of owned CxXattr, sorted by name */
    gsize xattr_bytes;
} CxPax;

void cx_pax_init(CxPax *self);
void cx_pax_reset(CxPax *self); /* forgets the entry, keeps the memory */
void cx_pax_clear(CxPax *self);

/* Takes in the records of an 'x' header; later records win.  On failure self holds rubbish: reset
 * it. */
gboolean cx_pax_parse(
    CxPax *self, const char *records, gsize size, const CxLayerLimits *limits, GError **error);

/* Checks a 'g' header.  docker and containerd skip global headers and GNU tar applies them, so one
 * that would change what an entry is, and not just its times and comments, is CX_ERROR_UNSUPPORTED;
 * others mean nothing to us. */
gboolean cx_pax_check_global(const char *records, gsize size, GError **error);

/* Strict unsigned decimal, nothing else around it. */
gboolean cx_pax_parse_decimal(const char *text, gsize size, guint64 max, guint64 *out_number);

G_END_DECLS
