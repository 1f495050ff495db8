/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* A read-only index of a layer tar: an erofs file system (kernel docs filesystems/erofs.rst,
 * erofs_fs.h) of 512-byte blocks that holds the metadata alone; file contents are chunks of a
 * second device, which is the tar itself.  In it a layer has the form that overlayfs wants: a
 * whiteout is a character device 0:0, an opaque folder has the xattr trusted.overlay.opaque = "y".
 * We mount only indexes that we wrote ourselves, from a tar that was checked. */

typedef struct {
    guint64 entries;
    guint64 implicit_folders; /* folders that no entry describes, made as 0755 root */
} CxErofsStats;

/* Writes the index of tar_fd[0..tar_size) to out_fd (a new empty file).  Hard links to a name that
 * is not in the layer, whiteouts with a bad name (".wh.", ".wh..", ".wh...", ".wh./x"), a file and
 * a folder of one name in a wrong order: the later entry wins as tar extraction would do; what
 * cannot be is CX_ERROR_INVALID.  One duplicate path: the last wins. */
gboolean cx_erofs_index_build(int tar_fd,
                              guint64 tar_size,
                              const CxLayerLimits *limits,
                              int out_fd,
                              CxErofsStats *out_stats,
                              GError **error);

/* An index opened for looking up, mapped into memory; every access is bounds-checked, damage is
 * CX_ERROR_MISMATCH. Immutable, any thread, reference counted. */
typedef struct CxErofsIndex CxErofsIndex;

CxErofsIndex *cx_erofs_index_open(int fd, GError **error); /* fd borrowed */
CxErofsIndex *cx_erofs_index_ref(CxErofsIndex *self);
void cx_erofs_index_unref(CxErofsIndex *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxErofsIndex, cx_erofs_index_unref)

typedef struct {
    guint64 nid; /* node number */
    mode_t mode; /* with the S_IFMT bits */
    guint32 uid, gid;
    guint64 size;
    gint64 mtime;
    guint32 nlink;
    guint32 rdev;        /* S_ISCHR and 0: a whiteout */
    guint64 data_offset; /* of a file's first byte in the tar; G_MAXUINT64 for an empty or sparse
                            file */
    gboolean sparse;     /* a file in several runs: cx_erofs_index_map tells where they are */
    gboolean opaque;
    gboolean implicit; /* a folder that no entry describes */
} CxErofsNode;

guint64 cx_erofs_index_get_root(const CxErofsIndex *self);
gboolean cx_erofs_index_stat(CxErofsIndex *self,
                             guint64 nid,
                             CxErofsNode *out_node,
                             GError **error);
/* One name in a folder: CX_ERROR_NOT_FOUND when it is not there. */
gboolean cx_erofs_index_lookup(
    CxErofsIndex *self, guint64 folder, const char *name, CxErofsNode *out_node, GError **error);
char *cx_erofs_index_read_link(CxErofsIndex *self, guint64 nid, GError **error);
/* The run of bytes of a file that offset lies in: where it begins, its size, and where it is in the
 * tar (G_MAXUINT64 for a hole).  CX_ERROR_NOT_FOUND past the end. */
gboolean cx_erofs_index_map(
    CxErofsIndex *self, guint64 nid, guint64 offset, CxExtent *out_extent, GError **error);
/* Names of a folder, sorted by byte, without "." and "..". */
GStrv cx_erofs_index_list(CxErofsIndex *self, guint64 folder, GError **error);
/* All xattrs but trusted.overlay.*, (element-type CxXattr), or NULL for none; error is set on
 * damage. */
GPtrArray *cx_erofs_index_xattrs(CxErofsIndex *self, guint64 nid, GError **error);

G_END_DECLS
