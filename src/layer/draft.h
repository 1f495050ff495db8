/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/arena.h"
#include "layer/entry.h"

G_BEGIN_DECLS

/* The tree that one layer's entries describe, in memory, while its index is made.  About 90 bytes
 * an entry.
 *
 * Names and inodes are apart: a name says "in folder P, TEXT is inode I".  So a hard link is one
 * more name, a later entry of the same path gives the name another inode, and what lay in a folder
 * that was replaced is out of reach without being looked for.  Ids count from 1; 0 is none; the
 * root is inode 1.
 *
 * Once finished, the names of each folder are sorted, "." and ".." among them, and links are
 * counted. */
typedef struct {
    guint32 folder; /* inode */
    guint32 text;   /* offset in text: one byte of length, then the name */
    guint32 inode;
    guint32 next;         /* name in the same folder */
    guint32 next_in_hash; /* name with the same hash */
} CxDraftName;

typedef enum {
    CX_DRAFT_OPAQUE = 1 << 1,
    CX_DRAFT_IMPLICIT = 1 << 2,
    CX_DRAFT_SPARSE = 1 << 3,
    CX_DRAFT_WHITEOUTS = 1 << 4, /* a folder that holds some */
    CX_DRAFT_WRITTEN = 1 << 5,   /* for who writes it */
} CxDraftFlags;

typedef struct {
    gint64 mtime;
    guint64 size; /* of a file's content, a symlink's target, a finished folder's records */
    guint32 mtime_nsec;
    guint32 uid;
    guint32 gid;
    guint32
        data; /* folder: first name; file: first block in the tar, or offset of a CxDraftChunks in
               * text; symlink: offset of the target in text; device: its number as erofs has it */
    guint32 xattrs; /* offset of a CxDraftXattrs in text, or 0 */
    guint32 nid;    /* for who writes it */
    guint32 n_links;
    guint16 mode; /* with S_IFMT; a whiteout is character device 0 */
    guint16 flags;
} CxDraftInode;

/* Where the chunks of a sparse file lie. */
typedef struct {
    guint32 bits; /* a chunk has 512 << bits bytes */
    guint32 n_blocks;
    guint32 blocks[]; /* CX_EROFS_NULL_BLOCK: a hole */
} CxDraftChunks;

/* erofs xattr entries, ready to be written. */
typedef struct {
    guint32 size;
    char entries[];
} CxDraftXattrs;

typedef struct {
    CxArena names;  /* of CxDraftName */
    CxArena inodes; /* of CxDraftInode */
    CxArena text;
    guint64 n_max; /* names, and inodes */
    guint depth_max;
    guint32 n_names;
    guint32 n_inodes;
    guint32 *buckets; /* (owned) n_buckets, a power of two */
    guint32 n_buckets;
    guint64 hash_key[2];
    GString *last_path; /* (owned) the folder looked up last, and its inode */
    guint32 last_folder;
    GArray *folders; /* (owned) of guint32: finished folders, each before those in it */
} CxDraft;

#define CX_DRAFT_ROOT 1

CxDraft *cx_draft_new(const CxLayerLimits *limits);
void cx_draft_free(CxDraft *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxDraft, cx_draft_free)

/* Takes in one entry of the layer, as extracting it would.  CX_ERROR_INVALID, CX_ERROR_LIMIT, or
 * CX_ERROR_UNSUPPORTED for what a tar may say and an index cannot. */
gboolean cx_draft_add(CxDraft *self, const CxEntry *entry, GError **error);

gboolean cx_draft_finish(CxDraft *self, GError **error);

/* Everything about an entry but where it is (draft-describe.c). */
gboolean cx_draft_describe(CxDraft *self,
                           const CxEntry *entry,
                           CxDraftInode *out_inode,
                           GError **error);

static inline CxDraftInode *
cx_draft_inode(const CxDraft *self, guint32 inode)
{
    return (CxDraftInode *)self->inodes.base + inode;
}

static inline CxDraftName *
cx_draft_name(const CxDraft *self, guint32 name)
{
    return (CxDraftName *)self->names.base + name;
}

static inline const char *
cx_draft_text(const CxDraft *self, const CxDraftName *name, gsize *out_size)
{
    const char *text = self->text.base + name->text;

    *out_size = (guint8)text[0];
    return text + 1;
}

G_END_DECLS
