/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/erofs-index.h"

#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "layer/erofs-format.h"
#include "layer/erofs-index-private.h"
#include "layer/erofs-sum.h"
#include "layer/overlay-form.h"

struct CxErofsIndex {
    gint n_refs; /* atomic */
    const char *data;
    gsize size;
    guint64 root;
    gint64 base_mtime;
};

/* An inode, decoded. */
typedef struct {
    CxErofsLayout layout;
    guint32 mode, uid, gid, n_links;
    guint32 data;
    guint64 size;
    gint64 mtime;
    guint64 xattrs_at;
    gsize xattrs_size;
    guint64 behind; /* where chunk table or inline data begin */
} Inode;

/* One block of a folder. */
typedef struct {
    const char *data;
    gsize size;
    const CxErofsRecord *records;
    guint n_records;
} Block;

/* ---- bounds ---------------------------------------------------------------------------------- */

static const void *
peek(const CxErofsIndex *self, guint64 offset, gsize size, GError **error)
{
    if (offset > self->size || size > self->size - offset)
        return cx_throw_null(error, CX_ERROR_MISMATCH, "index is damaged: it points past its end");

    return self->data + offset;
}

static gboolean
damaged(GError **error, const char *what)
{
    return cx_throw(error, CX_ERROR_MISMATCH, "index is damaged: %s", what);
}

/* ---- opening --------------------------------------------------------------------------------- */

static gboolean
check_super(CxErofsIndex *self, GError **error)
{
    const guint32 features = CX_EROFS_INCOMPAT_CHUNKED_FILE | CX_EROFS_INCOMPAT_DEVICE_TABLE;
    const CxErofsSuper *super = peek(self, CX_EROFS_SUPER_OFFSET, sizeof *super, error);
    CxErofsNode root;

    if (super == NULL)
        return FALSE;
    if (GUINT32_FROM_LE(super->magic) != CX_EROFS_MAGIC ||
        super->block_bits != CX_EROFS_BLOCK_BITS ||
        GUINT32_FROM_LE(super->feature_incompat) != features ||
        GUINT32_FROM_LE(super->meta_block) != 0)
        return damaged(error, "not an index of ours");

    self->root = GUINT16_FROM_LE(super->root_nid);
    self->base_mtime = (gint64)GUINT64_FROM_LE(super->build_time);
    if (!cx_erofs_index_stat(self, self->root, &root, error))
        return FALSE;
    return S_ISDIR(root.mode) || damaged(error, "its root is not a folder");
}

static gboolean
check_sum(const CxErofsIndex *self, GError **error)
{
    const CxErofsSuper *super = peek(self, CX_EROFS_SUPER_OFFSET, sizeof *super, error);
    const CxErofsDevice *device = peek(self, CX_EROFS_DEVICE_OFFSET, sizeof *device, error);
    guint64 boot = cx_erofs_get_boot();
    guint64 sum;

    if (super == NULL || device == NULL)
        return FALSE;
    if (boot != 0 && GUINT64_FROM_LE(super->boot) == boot)
        return TRUE;
    if (self->size < CX_EROFS_META_OFFSET)
        return damaged(error, "it is too short");

    sum = cx_erofs_sum_super(super, device) +
          cx_erofs_sum_blocks(CX_EROFS_META_OFFSET, self->data + CX_EROFS_META_OFFSET,
                              self->size - CX_EROFS_META_OFFSET);
    return sum == GUINT64_FROM_LE(super->checksum_of_blocks) ||
           damaged(error, "its sum is another");
}

CxErofsIndex *
cx_erofs_index_open_unchecked(int fd, GError **error)
{
    g_autoptr(CxErofsIndex) self = g_new0(CxErofsIndex, 1);
    struct stat st;
    void *data;

    self->n_refs = 1;
    if (fstat(fd, &st) < 0)
        return cx_throw_errno_null(error, "index");
    if (st.st_size <= 0)
        return cx_throw_null(error, CX_ERROR_MISMATCH, "index is damaged: it is empty");

    data = mmap(NULL, (gsize)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return cx_throw_errno_null(error, "index");
    self->data = data;
    self->size = (gsize)st.st_size;

    return check_super(self, error) ? g_steal_pointer(&self) : NULL;
}

CxErofsIndex *
cx_erofs_index_open(int fd, GError **error)
{
    g_autoptr(CxErofsIndex) self = cx_erofs_index_open_unchecked(fd, error);

    return self != NULL && check_sum(self, error) ? g_steal_pointer(&self) : NULL;
}

CxErofsIndex *
cx_erofs_index_ref(CxErofsIndex *self)
{
    g_atomic_int_inc(&self->n_refs);
    return self;
}

void
cx_erofs_index_unref(CxErofsIndex *self)
{
    if (self == NULL || !g_atomic_int_dec_and_test(&self->n_refs))
        return;

    if (self->data != NULL)
        (void)munmap((void *)self->data, self->size);
    g_free(self);
}

guint64
cx_erofs_index_get_root(const CxErofsIndex *self)
{
    return self->root;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static void
decode_compact(const CxErofsIndex *self, const CxErofsCompactInode *raw, Inode *out)
{
    out->size = GUINT32_FROM_LE(raw->size);
    out->data = GUINT32_FROM_LE(raw->data);
    out->uid = GUINT16_FROM_LE(raw->uid);
    out->gid = GUINT16_FROM_LE(raw->gid);
    out->n_links = GUINT16_FROM_LE(raw->nlink);
    out->mtime = self->base_mtime;
}

static void
decode_extended(const CxErofsExtendedInode *raw, Inode *out)
{
    out->size = GUINT64_FROM_LE(raw->size);
    out->data = GUINT32_FROM_LE(raw->data);
    out->uid = GUINT32_FROM_LE(raw->uid);
    out->gid = GUINT32_FROM_LE(raw->gid);
    out->n_links = GUINT32_FROM_LE(raw->nlink);
    out->mtime = (gint64)GUINT64_FROM_LE(raw->mtime);
}

static gboolean
load_inode(const CxErofsIndex *self, guint64 nid, Inode *out, GError **error)
{
    guint64 offset = nid > G_MAXUINT64 / CX_EROFS_SLOT ? G_MAXUINT64 : nid * CX_EROFS_SLOT;
    const CxErofsCompactInode *raw = peek(self, offset, sizeof *raw, error);
    Inode inode = {0};
    guint16 xattr_count;
    guint16 format;

    if (raw == NULL)
        return FALSE;

    format = GUINT16_FROM_LE(raw->format);
    inode.layout = format >> 1 & 7;
    inode.mode = GUINT16_FROM_LE(raw->mode);
    if (format & 1) {
        const CxErofsExtendedInode *extended = peek(self, offset, sizeof *extended, error);

        if (extended == NULL)
            return FALSE;
        decode_extended(extended, &inode);
    } else {
        decode_compact(self, raw, &inode);
    }

    xattr_count = GUINT16_FROM_LE(raw->xattr_count);
    inode.xattrs_at =
        offset + (format & 1 ? sizeof(CxErofsExtendedInode) : sizeof(CxErofsCompactInode));
    inode.xattrs_size =
        xattr_count == 0 ? 0 : sizeof(CxErofsXattrHeader) + (xattr_count - 1) * (gsize)4;
    inode.behind = inode.xattrs_at + inode.xattrs_size;
    if (inode.size > G_MAXINT64)
        return damaged(error, "a size out of range");

    *out = inode;
    return TRUE;
}

/* ---- xattrs ---------------------------------------------------------------------------------- */

static const char *
prefix_text(guint8 prefix)
{
    static const struct {
        guint8 id;
        const char *text;
    } prefixes[] = CX_EROFS_XATTR_PREFIXES;

    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++)
        if (prefixes[i].id == prefix)
            return prefixes[i].text;
    return NULL;
}

/* Steps to the next xattr of an inode; *at is 0 before the first.  FALSE at the end or with error
 * set. */
static gboolean
next_xattr(const CxErofsIndex *self,
           const Inode *inode,
           gsize *at,
           const CxErofsXattrEntry **out_entry,
           GError **error)
{
    const CxErofsXattrEntry *entry;
    gsize size;

    if (*at == 0)
        *at = sizeof(CxErofsXattrHeader);
    if (*at >= inode->xattrs_size)
        return FALSE;

    entry = peek(self, inode->xattrs_at + *at, sizeof *entry, error);
    if (entry == NULL)
        return FALSE;
    size = sizeof *entry + entry->name_size + GUINT16_FROM_LE(entry->value_size);
    if (size > inode->xattrs_size - *at)
        return damaged(error, "an attribute past its end");
    if (peek(self, inode->xattrs_at + *at, size, error) == NULL)
        return FALSE;

    *at += (size + 3) & ~(gsize)3;
    *out_entry = entry;
    return TRUE;
}

static char *
xattr_name(const CxErofsXattrEntry *entry)
{
    const char *prefix = prefix_text(entry->prefix);

    return g_strdup_printf("%s%.*s", prefix == NULL ? "?." : prefix, entry->name_size,
                           (const char *)(entry + 1));
}

static gboolean
is_mark(const CxErofsXattrEntry *entry, const char *mark)
{
    const char *bare = mark + strlen("trusted.");

    return entry->prefix == CX_EROFS_XATTR_TRUSTED && entry->name_size == strlen(bare) &&
           memcmp(entry + 1, bare, entry->name_size) == 0;
}

static gboolean
load_marks(const CxErofsIndex *self, const Inode *inode, CxErofsNode *node, GError **error)
{
    const CxErofsXattrEntry *entry;
    GError *local_error = NULL;
    gsize at = 0;

    while (next_xattr(self, inode, &at, &entry, &local_error)) {
        node->opaque |= is_mark(entry, CX_OVERLAY_OPAQUE);
        node->implicit |= is_mark(entry, CX_OVERLAY_IMPLICIT);
    }
    if (local_error != NULL) {
        g_propagate_error(error, local_error);
        return FALSE;
    }
    return TRUE;
}

GPtrArray *
cx_erofs_index_xattrs(CxErofsIndex *self, guint64 nid, GError **error)
{
    g_autoptr(GPtrArray) xattrs = g_ptr_array_new_with_free_func((GDestroyNotify)cx_xattr_free);
    const CxErofsXattrEntry *entry;
    GError *local_error = NULL;
    Inode inode;
    gsize at = 0;

    if (!load_inode(self, nid, &inode, error))
        return NULL;

    while (next_xattr(self, &inode, &at, &entry, &local_error)) {
        g_autofree char *name = xattr_name(entry);
        const char *value = (const char *)(entry + 1) + entry->name_size;

        if (cx_overlay_keeps_xattr(name))
            g_ptr_array_add(xattrs, cx_xattr_new(name, value, GUINT16_FROM_LE(entry->value_size)));
    }
    if (local_error != NULL) {
        g_propagate_error(error, local_error);
        return NULL;
    }
    return xattrs->len == 0 ? NULL : g_steal_pointer(&xattrs);
}

/* ---- files ----------------------------------------------------------------------------------- */

static gboolean
load_chunk(const CxErofsIndex *self,
           const Inode *inode,
           guint64 number,
           guint32 *out_block,
           GError **error)
{
    guint64 table =
        (inode->behind + sizeof(CxErofsChunk) - 1) & ~(guint64)(sizeof(CxErofsChunk) - 1);
    const CxErofsChunk *chunk;

    if (number > self->size)
        return damaged(error, "a chunk table past its end");
    chunk = peek(self, table + number * sizeof *chunk, sizeof *chunk, error);
    if (chunk == NULL)
        return FALSE;

    *out_block = GUINT32_FROM_LE(chunk->block);
    return TRUE;
}

static guint64
chunk_size(const Inode *inode)
{
    return (guint64)CX_EROFS_BLOCK << (inode->data & CX_EROFS_CHUNK_BITS_MAX);
}

gboolean
cx_erofs_index_map(
    CxErofsIndex *self, guint64 nid, guint64 offset, CxExtent *out_extent, GError **error)
{
    guint64 size;
    guint32 block;
    Inode inode;

    if (!load_inode(self, nid, &inode, error))
        return FALSE;
    if (!S_ISREG(inode.mode) || inode.layout != CX_EROFS_CHUNK_BASED || offset >= inode.size)
        return cx_throw(error, CX_ERROR_NOT_FOUND, "no content at %" G_GUINT64_FORMAT, offset);

    size = chunk_size(&inode);
    if (!load_chunk(self, &inode, offset / size, &block, error))
        return FALSE;

    out_extent->offset = offset - offset % size;
    out_extent->size = MIN(size, inode.size - out_extent->offset);
    out_extent->data_offset =
        block == CX_EROFS_NULL_BLOCK ? G_MAXUINT64 : (guint64)block * CX_EROFS_BLOCK;
    return TRUE;
}

static gboolean
load_content(const CxErofsIndex *self, const Inode *inode, CxErofsNode *node, GError **error)
{
    guint32 block;

    if (inode->size == 0)
        return TRUE;
    if (inode->layout != CX_EROFS_CHUNK_BASED || !(inode->data & CX_EROFS_CHUNK_INDEXES))
        return damaged(error, "a file of an unknown layout");

    node->sparse = inode->size > chunk_size(inode);
    if (!load_chunk(self, inode, 0, &block, error))
        return FALSE;
    if (block == CX_EROFS_NULL_BLOCK)
        node->sparse = TRUE;
    if (!node->sparse)
        node->data_offset = (guint64)block * CX_EROFS_BLOCK;
    return TRUE;
}

gboolean
cx_erofs_index_stat(CxErofsIndex *self, guint64 nid, CxErofsNode *out_node, GError **error)
{
    CxErofsNode node = {.nid = nid, .data_offset = G_MAXUINT64};
    gboolean ok = TRUE;
    Inode inode;

    if (!load_inode(self, nid, &inode, error))
        return FALSE;

    node.mode = inode.mode;
    node.uid = inode.uid;
    node.gid = inode.gid;
    node.size = inode.size;
    node.mtime = inode.mtime;
    node.nlink = inode.n_links;
    if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode))
        node.rdev = inode.data;
    if (S_ISDIR(inode.mode))
        ok = load_marks(self, &inode, &node, error);
    else if (S_ISREG(inode.mode))
        ok = load_content(self, &inode, &node, error);
    if (!ok)
        return FALSE;

    *out_node = node;
    return TRUE;
}

/* ---- folders and links ----------------------------------------------------------------------- */

/* Up to a block of a folder's or link's data from at on, which is a multiple of the block size. */
static const char *
peek_data(const CxErofsIndex *self, const Inode *inode, guint64 at, gsize *out_size, GError **error)
{
    guint64 whole = inode->size - inode->size % CX_EROFS_BLOCK;

    *out_size = (gsize)MIN(inode->size - at, CX_EROFS_BLOCK);
    if (inode->layout == CX_EROFS_FLAT_INLINE && at >= whole)
        return peek(self, inode->behind, *out_size, error);
    if (inode->layout == CX_EROFS_FLAT_PLAIN || inode->layout == CX_EROFS_FLAT_INLINE)
        return peek(self, (guint64)inode->data * CX_EROFS_BLOCK + at, *out_size, error);

    damaged(error, "a folder or link of an unknown layout");
    return NULL;
}

static gboolean
load_folder(const CxErofsIndex *self, guint64 nid, Inode *out, GError **error)
{
    if (!load_inode(self, nid, out, error))
        return FALSE;

    return S_ISDIR(out->mode) || cx_throw(error, CX_ERROR_NOT_FOUND, "not a folder");
}

static gboolean
load_block(
    const CxErofsIndex *self, const Inode *folder, guint64 number, Block *out, GError **error)
{
    guint first;

    out->data = peek_data(self, folder, number * CX_EROFS_BLOCK, &out->size, error);
    if (out->data == NULL)
        return FALSE;
    if (out->size < sizeof(CxErofsRecord))
        return damaged(error, "a folder without records");

    out->records = (const CxErofsRecord *)out->data;
    first = GUINT16_FROM_LE(out->records[0].name_offset);
    if (first == 0 || first % sizeof(CxErofsRecord) != 0 || first > out->size)
        return damaged(error, "a folder with wrong records");
    out->n_records = first / sizeof(CxErofsRecord);
    return TRUE;
}

static const char *
peek_name(const Block *block, guint number, gsize *out_size, GError **error)
{
    gsize start = GUINT16_FROM_LE(block->records[number].name_offset);
    gsize end = number + 1 < block->n_records
                    ? GUINT16_FROM_LE(block->records[number + 1].name_offset)
                    : block->size;

    if (start >= end || end > block->size) {
        damaged(error, "a name past its block");
        return NULL;
    }
    *out_size = strnlen(block->data + start, end - start);
    return block->data + start;
}

static gboolean
compare_record(const Block *block, guint number, const char *name, int *out_order, GError **error)
{
    gsize wanted_size = strlen(name);
    gsize size;
    const char *text = peek_name(block, number, &size, error);
    int order;

    if (text == NULL)
        return FALSE;

    order = memcmp(name, text, MIN(wanted_size, size));
    *out_order = order != 0 ? order : (wanted_size > size) - (wanted_size < size);
    return TRUE;
}

/* The last block whose first name is not after name, by bisection. */
static gboolean
find_block(
    const CxErofsIndex *self, const Inode *folder, const char *name, Block *out, GError **error)
{
    guint64 low = 0;
    guint64 high = (folder->size + CX_EROFS_BLOCK - 1) / CX_EROFS_BLOCK;

    while (high - low > 1) {
        guint64 middle = low + (high - low) / 2;
        int order;

        if (!load_block(self, folder, middle, out, error) ||
            !compare_record(out, 0, name, &order, error))
            return FALSE;
        if (order < 0)
            high = middle;
        else
            low = middle;
    }
    return load_block(self, folder, low, out, error);
}

gboolean
cx_erofs_index_lookup(
    CxErofsIndex *self, guint64 folder, const char *name, CxErofsNode *out_node, GError **error)
{
    guint low = 0;
    Inode inode;
    Block block;
    guint high;

    if (!load_folder(self, folder, &inode, error) || !find_block(self, &inode, name, &block, error))
        return FALSE;

    high = block.n_records;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        int order;

        if (!compare_record(&block, middle, name, &order, error))
            return FALSE;
        if (order == 0)
            return cx_erofs_index_stat(self, GUINT64_FROM_LE(block.records[middle].nid), out_node,
                                       error);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return cx_throw(error, CX_ERROR_NOT_FOUND, "\"%s\" is not there", name);
}

GStrv
cx_erofs_index_list(CxErofsIndex *self, guint64 folder, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    Inode inode;

    if (!load_folder(self, folder, &inode, error))
        return NULL;

    for (guint64 number = 0; number * CX_EROFS_BLOCK < inode.size; number++) {
        Block block;

        if (!load_block(self, &inode, number, &block, error))
            return NULL;
        for (guint i = 0; i < block.n_records; i++) {
            gsize size;
            const char *name = peek_name(&block, i, &size, error);

            if (name == NULL)
                return NULL;
            if (!(size == 1 && name[0] == '.') && !(size == 2 && name[0] == '.' && name[1] == '.'))
                g_ptr_array_add(names, g_strndup(name, size));
        }
    }
    g_ptr_array_set_free_func(names, NULL);
    g_ptr_array_add(names, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&names), FALSE);
}

char *
cx_erofs_index_read_link(CxErofsIndex *self, guint64 nid, GError **error)
{
    g_autoptr(GString) target = g_string_new(NULL);
    Inode inode;

    if (!load_inode(self, nid, &inode, error))
        return NULL;
    if (!S_ISLNK(inode.mode))
        return cx_throw_null(error, CX_ERROR_INVALID, "not a symlink");
    if (inode.size > CX_EROFS_LINK_MAX)
        return cx_throw_null(error, CX_ERROR_MISMATCH, "index is damaged: a link that is too long");

    for (guint64 at = 0; at < inode.size; at += CX_EROFS_BLOCK) {
        gsize size;
        const char *piece = peek_data(self, &inode, at, &size, error);

        if (piece == NULL)
            return NULL;
        g_string_append_len(target, piece, (gssize)size);
    }
    return g_string_free(g_steal_pointer(&target), FALSE);
}
