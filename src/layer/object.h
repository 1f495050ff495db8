/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* What lies in a folder on disk, read on its way into a layer. */

/* The names in a folder, sorted by byte, without "." and "..". */
typedef struct {
    guint n;
    const char **names; /* (owned) into bytes; the byte before each name is its DT_ type */
    char *bytes;        /* (owned) */
} CxNames;

#define CX_NAMES_INIT                                                                              \
    {                                                                                              \
        .n = 0, .names = NULL, .bytes = NULL                                                       \
    }

gboolean cx_names_read(CxNames *self,
                       int dir_fd,
                       GError **error); /* the position of dir_fd is used up */
void cx_names_clear(CxNames *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxNames, cx_names_clear)

static inline guint8
cx_names_type(const char *name)
{
    return (guint8)name[-1];
}

/* Fills in what stat tells: all but path, link, xattrs and times.  FALSE for a socket, which no
 * layer can hold. */
gboolean cx_object_describe(const struct stat *st, CxEntry *out_entry);

/* Opens a file or folder for reading without following a link; type is S_IFREG or S_IFDIR and is
 * checked on the fd. */
int cx_object_open(
    int dir_fd, const char *name, mode_t type, struct stat *out_stat, GError **error);

char *cx_object_read_link(int dir_fd, const char *name, GError **error);

typedef enum { CX_XATTR_SKIP, CX_XATTR_KEEP, CX_XATTR_REFUSE } CxXattrVerdict;
typedef CxXattrVerdict (*CxXattrJudge)(const char *name);

/* The xattrs of an open file or folder that judge keeps, sorted by name; *out_xattrs is NULL for
 * none. CX_ERROR_UNSUPPORTED names one that it refuses. */
gboolean cx_object_read_xattrs(int fd, CxXattrJudge judge, GPtrArray **out_xattrs, GError **error);

/* What goes from a folder of the host into a layer: security.capability and user.*, not what
 * overlayfs would obey. */
CxXattrVerdict cx_xattr_judge_portable(const char *name);

/* The inodes with more than one name that were written so far: (dev, inode) -> path. */
typedef struct CxLinkTable CxLinkTable;
CxLinkTable *cx_link_table_new(void);
void cx_link_table_free(CxLinkTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxLinkTable, cx_link_table_free)
/* The path under which this inode was written before, borrowed; or NULL, and path is remembered. */
const char *cx_link_table_visit(CxLinkTable *self, const struct stat *st, const char *path);

G_END_DECLS
