/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/erofs-index.h"

G_BEGIN_DECLS

/* The merged metadata of a stack of layers, without mounting anything: what is at a path, and where
 * a path leads when the symlinks in the image are followed.  Layers are added from the bottom up.
 */
typedef struct CxTree CxTree;

CxTree *cx_tree_new(void);
void cx_tree_free(CxTree *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxTree, cx_tree_free)

void cx_tree_add_index(CxTree *self, CxErofsIndex *index); /* takes a reference */
/* A folder in overlay form (char 0:0 whiteouts, trusted.overlay.opaque or user.overlay.opaque). */
void cx_tree_take_folder(CxTree *self, int take_fd);

typedef struct {
    mode_t mode; /* with S_IFMT; 0: nothing is there */
    guint32 uid, gid;
    gint64 mtime;
    GPtrArray *xattrs; /* (owned) of owned CxXattr, or NULL; only folders have them filled in */
} CxTreeNode;

void cx_tree_node_clear(CxTreeNode *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxTreeNode, cx_tree_node_clear)

/* What is at a clean relative path; no symlink is followed.  Nothing there, or below something that
 * is no folder: mode 0. FALSE is a fault (damage, I/O). */
gboolean cx_tree_lookup(CxTree *self, const char *path, CxTreeNode *out_node, GError **error);

/* Resolves any path ("/a/../b", links in the image followed in its root, 40 at most) to the clean
 * path of what it means; parts that do not exist stay as they are.  follow_last: also when the last
 * part is a link.  A part on the way that exists and is no folder is CX_ERROR_INVALID.  (transfer
 * full) */
char *cx_tree_resolve(CxTree *self, const char *path, gboolean follow_last, GError **error);

G_END_DECLS
