/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/stat.h>

G_BEGIN_DECLS

/* One file system object of a layer, as a tar header or a folder tells it (OCI image spec,
 * layer.md). */
typedef enum {
    CX_ENTRY_FILE,
    CX_ENTRY_FOLDER,
    CX_ENTRY_SYMLINK,
    CX_ENTRY_HARDLINK, /* another name of link */
    CX_ENTRY_CHAR,
    CX_ENTRY_BLOCK,
    CX_ENTRY_FIFO,
} CxEntryType;

typedef struct {
    char *name;    /* (owned) "security.capability" */
    GBytes *value; /* (owned) */
} CxXattr;

/* A run of bytes of a sparse file that is not a hole: [offset, offset+size) lies at data_offset in
 * the archive. */
typedef struct {
    guint64 offset;
    guint64 size;
    guint64 data_offset;
} CxExtent;

typedef struct {
    CxEntryType type;
    char *path;  /* (owned) relative and clean as from cx_path_clean; "" is the root */
    char *link;  /* (owned) symlink: the target verbatim; hard link: the clean path of the other
                    name; else NULL */
    mode_t mode; /* permission bits with setuid, setgid, sticky: 07777 at most */
    guint32 uid;
    guint32 gid;
    gint64 mtime; /* seconds */
    guint32 mtime_nsec;
    guint64 size; /* of a file's content; else 0 */
    guint32 major;
    guint32 minor;
    GPtrArray *xattrs;   /* (owned) of owned CxXattr, sorted by name; NULL: none */
    guint64 data_offset; /* where the content starts in the archive the entry was read from */
    GArray *extents;     /* (owned) of CxExtent; NULL unless the archive stores the file sparse */
} CxEntry;

void cx_entry_clear(CxEntry *self); /* frees what it owns and zeroes it */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxEntry, cx_entry_clear)

CxXattr *cx_xattr_new(const char *name, const void *value, gsize size);
void cx_xattr_free(CxXattr *self);

/* Whiteouts of the OCI layer format. */
#define CX_WHITEOUT_PREFIX ".wh."
#define CX_WHITEOUT_OPAQUE ".wh..wh..opq"

/* What a hostile layer may cost us.  Each limit is named in the error that it causes. */
typedef struct {
    guint64 entries_max; /* objects in one layer */
    guint64 bytes_max;   /* uncompressed bytes of one layer */
    guint32 path_max;    /* bytes of one path */
    guint32 depth_max;   /* components of one path */
    guint32 pax_max;     /* bytes of one pax or GNU extended header */
    guint32 xattrs_max;  /* bytes of all xattrs of one entry */
} CxLayerLimits;

/* 2,000,000 entries, 128 GiB, 4,096 bytes, 255 components, 1 MiB, 128 KiB */
extern const CxLayerLimits cx_layer_limits_default;

G_END_DECLS
