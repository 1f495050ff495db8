/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "layer/draft.h"
#include "layer/erofs-format.h"
#include "layer/overlay-form.h"

/* What an entry carries, as its inode and the text of the draft hold it: xattrs are encoded at
 * once, and content is the blocks of the archive that it lies in. */

#define CHUNKS_MAX 65536 /* of one sparse file */

static gboolean
encode_xattr(GByteArray *out, const CxXattr *xattr, GError **error)
{
    static const struct {
        guint8 id;
        const char *text;
    } prefixes[] = CX_EROFS_XATTR_PREFIXES;
    gsize value_size;
    const void *value = g_bytes_get_data(xattr->value, &value_size);

    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        const char *bare = xattr->name + strlen(prefixes[i].text);
        CxErofsXattrEntry head;
        gsize name_size;

        if (!g_str_has_prefix(xattr->name, prefixes[i].text))
            continue;
        name_size = strlen(bare);
        if (name_size == 0 || strlen(xattr->name) > CX_EROFS_NAME_MAX)
            return cx_throw(error, CX_ERROR_INVALID, "attribute name of %" G_GSIZE_FORMAT " bytes",
                            name_size);
        if (value_size > G_MAXUINT16)
            return cx_throw(error, CX_ERROR_UNSUPPORTED, "attribute \"%s\" of 64 KiB or more",
                            xattr->name);

        head = (CxErofsXattrEntry){(guint8)name_size, prefixes[i].id,
                                   GUINT16_TO_LE((guint16)value_size)};
        g_byte_array_append(out, (const guint8 *)&head, sizeof head);
        g_byte_array_append(out, (const guint8 *)bare, (guint)name_size);
        if (value_size > 0)
            g_byte_array_append(out, value, (guint)value_size);
        while (out->len % 4 != 0)
            g_byte_array_append(out, (const guint8 *)"", 1);
        break;
    }
    return TRUE;
}

static gboolean
store_xattrs(CxDraft *self, const CxEntry *entry, guint32 *out_offset, GError **error)
{
    g_autoptr(GByteArray) encoded = g_byte_array_new();
    CxDraftXattrs *stored;
    gsize offset;

    *out_offset = 0;
    for (guint i = 0; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(entry->xattrs, i);

        if (cx_overlay_keeps_xattr(xattr->name) && !encode_xattr(encoded, xattr, error))
            return FALSE;
    }
    if (encoded->len == 0)
        return TRUE;
    if (encoded->len >
        4 * (G_MAXUINT16 - 32)) /* the inode counts in 16 bits; some room is left for our own */
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "attributes of %u bytes", encoded->len);
    if (!cx_arena_alloc(&self->text, sizeof *stored + encoded->len, 4, &offset, error))
        return FALSE;

    stored = (CxDraftXattrs *)(self->text.base + offset);
    stored->size = encoded->len;
    memcpy(stored->entries, encoded->data, encoded->len);
    *out_offset = (guint32)offset;
    return TRUE;
}

static gboolean
block_of(guint64 offset, guint64 size, guint32 *out_block, GError **error)
{
    if (offset % CX_EROFS_BLOCK != 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "content does not start at a block of the archive");
    if ((offset + size) >> CX_EROFS_BLOCK_BITS >= CX_EROFS_NULL_BLOCK)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "content lies beyond 2 TiB of the archive");

    *out_block = (guint32)(offset >> CX_EROFS_BLOCK_BITS);
    return TRUE;
}

/* The largest chunk that begins and ends with every run of data. */
static gboolean
choose_chunk(const CxEntry *entry, guint32 *out_bits, GError **error)
{
    guint32 bits = 0;
    guint64 end = 0;

    while (bits < CX_EROFS_CHUNK_BITS_MAX && ((guint64)CX_EROFS_BLOCK << bits) < entry->size)
        bits++;

    for (guint i = 0; i < entry->extents->len; i++) {
        const CxExtent *extent = &g_array_index(entry->extents, CxExtent, i);

        if (extent->size == 0)
            continue;
        if (extent->offset < end || extent->size > entry->size ||
            extent->offset > entry->size - extent->size)
            return cx_throw(error, CX_ERROR_INVALID, "sparse map is out of order");
        end = extent->offset + extent->size;
        if (extent->offset % CX_EROFS_BLOCK != 0 ||
            (end % CX_EROFS_BLOCK != 0 && end != entry->size))
            return cx_throw(error, CX_ERROR_UNSUPPORTED, "sparse file with holes between blocks");
        while (bits > 0 && ((extent->offset | (end == entry->size ? 0 : end)) &
                            (((guint64)CX_EROFS_BLOCK << bits) - 1)))
            bits--;
    }
    *out_bits = bits;
    return TRUE;
}

static gboolean
store_chunks(CxDraft *self, const CxEntry *entry, guint32 *out_offset, GError **error)
{
    CxDraftChunks *chunks;
    guint64 chunk_size;
    guint64 n_chunks;
    guint32 bits = 0;
    gsize offset;

    if (!choose_chunk(entry, &bits, error))
        return FALSE;

    chunk_size = (guint64)CX_EROFS_BLOCK << bits;
    n_chunks = entry->size / chunk_size + (entry->size % chunk_size != 0);
    if (n_chunks > CHUNKS_MAX)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "sparse file of more than %d chunks",
                        CHUNKS_MAX);
    if (!cx_arena_alloc(&self->text, sizeof *chunks + n_chunks * sizeof(guint32), 4, &offset,
                        error))
        return FALSE;

    chunks = (CxDraftChunks *)(self->text.base + offset);
    chunks->bits = bits;
    chunks->n_blocks = (guint32)n_chunks;
    memset(chunks->blocks, 0xff, n_chunks * sizeof(guint32));
    for (guint i = 0; i < entry->extents->len; i++) {
        const CxExtent *extent = &g_array_index(entry->extents, CxExtent, i);

        for (guint64 at = 0; at < extent->size; at += chunk_size)
            if (!block_of(extent->data_offset + at, MIN(chunk_size, extent->size - at),
                          &chunks->blocks[(extent->offset + at) / chunk_size], error))
                return FALSE;
    }
    *out_offset = (guint32)offset;
    return TRUE;
}

static gboolean
store_link(CxDraft *self, const char *target, CxDraftInode *inode, GError **error)
{
    gsize size = strlen(target);
    gsize offset;

    if (size == 0 || size > CX_EROFS_LINK_MAX)
        return cx_throw(error, CX_ERROR_INVALID, "symlink target of %" G_GSIZE_FORMAT " bytes",
                        size);
    if (!cx_arena_alloc(&self->text, size, 1, &offset, error))
        return FALSE;

    memcpy(self->text.base + offset, target, size);
    inode->size = size;
    inode->data = (guint32)offset;
    return TRUE;
}

static gboolean
store_content(CxDraft *self, const CxEntry *entry, CxDraftInode *inode, GError **error)
{
    inode->size = entry->size;
    if (entry->size == 0)
        return TRUE;
    if (entry->extents == NULL)
        return block_of(entry->data_offset, entry->size, &inode->data, error);

    inode->flags |= CX_DRAFT_SPARSE;
    return store_chunks(self, entry, &inode->data, error);
}

/* The kernel's new_encode_dev. */
static gboolean
store_device(const CxEntry *entry, CxDraftInode *inode, GError **error)
{
    if (entry->major > 0xfff || entry->minor > 0xfffff)
        return cx_throw(error, CX_ERROR_INVALID, "device number %u:%u", entry->major, entry->minor);

    inode->data = (entry->minor & 0xff) | (entry->major << 8) | ((entry->minor & ~0xffu) << 12);
    return TRUE;
}

static guint16
format_of(CxEntryType type)
{
    static const guint16 formats[] = {
        [CX_ENTRY_FILE] = S_IFREG, [CX_ENTRY_FOLDER] = S_IFDIR, [CX_ENTRY_SYMLINK] = S_IFLNK,
        [CX_ENTRY_CHAR] = S_IFCHR, [CX_ENTRY_BLOCK] = S_IFBLK,  [CX_ENTRY_FIFO] = S_IFIFO,
    };

    return formats[type];
}

gboolean
cx_draft_describe(CxDraft *self, const CxEntry *entry, CxDraftInode *out_inode, GError **error)
{
    CxDraftInode inode = {
        .mode = format_of(entry->type) | (entry->mode & 07777),
        .uid = entry->uid,
        .gid = entry->gid,
        .mtime = entry->mtime,
        .mtime_nsec = entry->mtime_nsec,
    };
    gboolean ok = TRUE;

    if (entry->type == CX_ENTRY_FILE)
        ok = store_content(self, entry, &inode, error);
    else if (entry->type == CX_ENTRY_SYMLINK)
        ok = store_link(self, entry->link, &inode, error);
    else if (entry->type == CX_ENTRY_CHAR || entry->type == CX_ENTRY_BLOCK)
        ok = store_device(entry, &inode, error);

    if (!ok || !store_xattrs(self, entry, &inode.xattrs, error))
        return FALSE;

    *out_inode = inode;
    return TRUE;
}
