/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/fd.h"
#include "layer/draft.h"
#include "layer/erofs-format.h"
#include "layer/erofs-index.h"
#include "layer/erofs-sum.h"
#include "layer/overlay-form.h"
#include "layer/tar-reader.h"

/* Writes a finished draft as an erofs image.  Two passes over the folders in the same order: the
 * first gives each inode its place, the second writes.  Inodes go out through one buffer and the
 * blocks that do not fit behind their inode through another, so the file is written front to back
 * in two places.  The superblock comes last: a file cut short is no index. */

#define BUFFER_SIZE (64 * 1024)

typedef struct {
    int fd;         /* borrowed */
    guint64 offset; /* of the file, where the buffer begins */
    gsize used;
    char *buffer; /* (owned) */
    guint64 sum;  /* of what was flushed */
} Stream;

typedef struct {
    CxDraft *draft; /* borrowed */
    Stream inodes;
    Stream blocks;
    gint64 base_mtime; /* of inodes that do not tell theirs */
    guint32 base_mtime_nsec;
    guint64 end; /* of the inodes placed so far */
    guint64 n_inodes;
    guint64 n_implicit;
} Writer;

/* How an inode is laid out. */
typedef struct {
    gboolean extended;
    CxErofsLayout layout;
    gsize head;      /* bytes of inode and xattrs */
    gsize xattrs;    /* bytes of xattrs */
    gsize data;      /* bytes of chunk table, or of the data that shall lie inline */
    gsize alignment; /* of data */
} Shape;

/* ---- streams --------------------------------------------------------------------------------- */

static void
stream_init(Stream *self, int fd, guint64 offset)
{
    *self = (Stream){.fd = fd, .offset = offset, .buffer = g_malloc(BUFFER_SIZE)};
}

static gboolean
stream_flush(Stream *self, GError **error)
{
    if (!cx_pwrite_all(self->fd, self->buffer, self->used, self->offset, error))
        return FALSE;

    self->sum += cx_erofs_sum_blocks(self->offset, self->buffer, self->used);
    self->offset += self->used;
    self->used = 0;
    return TRUE;
}

static gboolean
stream_put(Stream *self, const void *data, gsize size, GError **error)
{
    while (size > 0) {
        gsize n = MIN(size, BUFFER_SIZE - self->used);

        memcpy(self->buffer + self->used, data, n);
        self->used += n;
        data = (const char *)data + n;
        size -= n;
        if (self->used == BUFFER_SIZE && !stream_flush(self, error))
            return FALSE;
    }
    return TRUE;
}

static guint64
stream_tell(const Stream *self)
{
    return self->offset + self->used;
}

static gboolean
stream_pad_to(Stream *self, guint64 offset, GError **error)
{
    static const char zeros[CX_EROFS_BLOCK];

    g_assert(offset >= stream_tell(self));

    while (stream_tell(self) < offset)
        if (!stream_put(self, zeros, MIN(sizeof zeros, offset - stream_tell(self)), error))
            return FALSE;
    return TRUE;
}

static void
writer_clear(Writer *self)
{
    g_free(self->inodes.buffer);
    g_free(self->blocks.buffer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Writer, writer_clear)

/* ---- shapes ---------------------------------------------------------------------------------- */

static gsize
round_up(gsize value, gsize multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* What overlayfs shall know of an inode, as xattrs. */
static const struct {
    guint16 flag;
    const char *name;
    const char *value;
} marks[] = {
    {CX_DRAFT_OPAQUE,    CX_OVERLAY_OPAQUE,    "y"},
    {CX_DRAFT_IMPLICIT,  CX_OVERLAY_IMPLICIT,  "y"},
    {CX_DRAFT_WHITEOUTS, CX_OVERLAY_WHITEOUTS, "" },
};

static const char *
bare_name(const char *name)
{
    return name + strlen("trusted.");
}

static const CxDraftXattrs *
peek_xattrs(const Writer *self, const CxDraftInode *inode)
{
    return (const CxDraftXattrs *)(self->draft->text.base + inode->xattrs);
}

static gsize
xattrs_size(const Writer *self, const CxDraftInode *inode)
{
    gsize size = inode->xattrs == 0 ? 0 : peek_xattrs(self, inode)->size;

    for (gsize i = 0; i < G_N_ELEMENTS(marks); i++)
        if (inode->flags & marks[i].flag)
            size += round_up(sizeof(CxErofsXattrEntry) + strlen(bare_name(marks[i].name)) +
                                 strlen(marks[i].value),
                             4);
    return size == 0 ? 0 : size + sizeof(CxErofsXattrHeader);
}

static gboolean
needs_extended(const Writer *self, const CxDraftInode *inode)
{
    return inode->mtime != self->base_mtime || inode->mtime_nsec != self->base_mtime_nsec ||
           inode->uid > G_MAXUINT16 || inode->gid > G_MAXUINT16 || inode->size > G_MAXUINT32 ||
           inode->n_links > G_MAXUINT16;
}

static guint32
count_chunks(const Writer *self, const CxDraftInode *inode, guint32 *out_bits)
{
    guint32 bits = 0;

    if (inode->flags & CX_DRAFT_SPARSE) {
        const CxDraftChunks *chunks = (const CxDraftChunks *)(self->draft->text.base + inode->data);

        *out_bits = chunks->bits;
        return chunks->n_blocks;
    }

    while (bits < CX_EROFS_CHUNK_BITS_MAX && ((guint64)CX_EROFS_BLOCK << bits) < inode->size)
        bits++;
    *out_bits = bits;
    return (guint32)((inode->size + ((guint64)CX_EROFS_BLOCK << bits) - 1) >>
                     (bits + CX_EROFS_BLOCK_BITS));
}

/* Whether data behind a head at offset would lie in two blocks, which erofs does not allow for
 * inline data. */
static gboolean
is_split(const Shape *shape, guint64 offset)
{
    return (offset + shape->head) % CX_EROFS_BLOCK + shape->data > CX_EROFS_BLOCK;
}

static Shape
shape_inode(const Writer *self, const CxDraftInode *inode)
{
    Shape shape = {
        .extended = needs_extended(self, inode), .layout = CX_EROFS_FLAT_PLAIN, .alignment = 1};
    guint32 bits;

    shape.xattrs = xattrs_size(self, inode);
    shape.head = (shape.extended ? sizeof(CxErofsExtendedInode) : sizeof(CxErofsCompactInode)) +
                 shape.xattrs;
    if (S_ISREG(inode->mode) && inode->size > 0) {
        shape.layout = CX_EROFS_CHUNK_BASED;
        shape.alignment = sizeof(CxErofsChunk);
        shape.data = count_chunks(self, inode, &bits) * sizeof(CxErofsChunk);
    } else if (inode->size % CX_EROFS_BLOCK != 0) {
        shape.layout = CX_EROFS_FLAT_INLINE;
        shape.data = inode->size % CX_EROFS_BLOCK;
    }
    return shape;
}

/* What does not fit inline at the place the inode got lies in blocks. */
static Shape
shape_placed(const Writer *self, const CxDraftInode *inode)
{
    Shape shape = shape_inode(self, inode);

    if (shape.layout == CX_EROFS_FLAT_INLINE &&
        is_split(&shape, (guint64)inode->nid * CX_EROFS_SLOT)) {
        shape.layout = CX_EROFS_FLAT_PLAIN;
        shape.data = 0;
    }
    return shape;
}

static gboolean
place_inode(Writer *self, CxDraftInode *inode, GError **error)
{
    Shape shape = shape_inode(self, inode);
    guint64 offset = round_up(self->end, CX_EROFS_SLOT);

    if (shape.layout == CX_EROFS_FLAT_INLINE && is_split(&shape, offset) && !is_split(&shape, 0))
        offset = round_up(offset, CX_EROFS_BLOCK);
    if (offset / CX_EROFS_SLOT > G_MAXUINT32)
        return cx_throw(error, CX_ERROR_LIMIT, "index of more than 128 GiB");

    inode->nid = (guint32)(offset / CX_EROFS_SLOT);
    shape = shape_placed(self, inode);
    self->end = round_up(offset + shape.head, shape.alignment) + shape.data;
    self->n_inodes++;
    if (inode->flags & CX_DRAFT_IMPLICIT && inode != cx_draft_inode(self->draft, CX_DRAFT_ROOT))
        self->n_implicit++;
    return TRUE;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static gboolean
put_mark(Writer *self, const char *name, const char *value, GError **error)
{
    const char *bare = bare_name(name);
    CxErofsXattrEntry entry = {(guint8)strlen(bare), CX_EROFS_XATTR_TRUSTED,
                               GUINT16_TO_LE((guint16)strlen(value))};

    return stream_put(&self->inodes, &entry, sizeof entry, error) &&
           stream_put(&self->inodes, bare, strlen(bare), error) &&
           stream_put(&self->inodes, value, strlen(value), error) &&
           stream_pad_to(&self->inodes, round_up(stream_tell(&self->inodes), 4), error);
}

static gboolean
put_xattrs(Writer *self, const CxDraftInode *inode, GError **error)
{
    CxErofsXattrHeader header = {0};

    if (xattrs_size(self, inode) == 0)
        return TRUE;
    if (!stream_put(&self->inodes, &header, sizeof header, error))
        return FALSE;
    if (inode->xattrs != 0) {
        const CxDraftXattrs *xattrs = peek_xattrs(self, inode);

        if (!stream_put(&self->inodes, xattrs->entries, xattrs->size, error))
            return FALSE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(marks); i++)
        if (inode->flags & marks[i].flag && !put_mark(self, marks[i].name, marks[i].value, error))
            return FALSE;
    return TRUE;
}

/* The field of an inode that means something else in each layout. */
static guint32
data_field(const Writer *self, const CxDraftInode *inode, const Shape *shape)
{
    guint32 bits;

    if (shape->layout == CX_EROFS_CHUNK_BASED) {
        (void)count_chunks(self, inode, &bits);
        return CX_EROFS_CHUNK_INDEXES | bits;
    }
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        return inode->data;
    return inode->size == 0 ? 0 : (guint32)(stream_tell(&self->blocks) / CX_EROFS_BLOCK);
}

static gboolean
put_head(Writer *self, const CxDraftInode *inode, const Shape *shape, GError **error)
{
    guint16 format = (guint16)(shape->layout << 1 | (shape->extended ? 1 : 0));
    gsize beyond = shape->xattrs == 0 ? 0 : shape->xattrs - sizeof(CxErofsXattrHeader);
    guint16 xattr_count = shape->xattrs == 0 ? 0 : (guint16)(1 + beyond / 4);
    CxErofsCompactInode compact = {
        .format = GUINT16_TO_LE(format),
        .xattr_count = GUINT16_TO_LE(xattr_count),
        .mode = GUINT16_TO_LE(inode->mode),
        .nlink = GUINT16_TO_LE((guint16)inode->n_links),
        .size = GUINT32_TO_LE((guint32)inode->size),
        .data = GUINT32_TO_LE(data_field(self, inode, shape)),
        .ino = GUINT32_TO_LE(inode->nid),
        .uid = GUINT16_TO_LE((guint16)inode->uid),
        .gid = GUINT16_TO_LE((guint16)inode->gid),
    };
    CxErofsExtendedInode extended = {
        .format = compact.format,
        .xattr_count = compact.xattr_count,
        .mode = compact.mode,
        .size = GUINT64_TO_LE(inode->size),
        .data = compact.data,
        .ino = compact.ino,
        .uid = GUINT32_TO_LE(inode->uid),
        .gid = GUINT32_TO_LE(inode->gid),
        .mtime = GUINT64_TO_LE((guint64)inode->mtime),
        .mtime_nsec = GUINT32_TO_LE(inode->mtime_nsec),
        .nlink = GUINT32_TO_LE(inode->n_links),
    };

    return shape->extended ? stream_put(&self->inodes, &extended, sizeof extended, error)
                           : stream_put(&self->inodes, &compact, sizeof compact, error);
}

/* ---- contents -------------------------------------------------------------------------------- */

/* One block's worth of data, or the last piece of it. */
static gboolean
put_piece(Writer *self, const Shape *shape, const void *data, gsize size, GError **error)
{
    if (size < CX_EROFS_BLOCK && shape->layout == CX_EROFS_FLAT_INLINE)
        return stream_put(&self->inodes, data, size, error);

    return stream_put(&self->blocks, data, size, error) &&
           stream_pad_to(&self->blocks, round_up(stream_tell(&self->blocks), CX_EROFS_BLOCK),
                         error);
}

static guint8
record_type(guint16 mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 1;
    case S_IFDIR:
        return 2;
    case S_IFCHR:
        return 3;
    case S_IFBLK:
        return 4;
    case S_IFIFO:
        return 5;
    default:
        return 7;
    }
}

/* Fills one block with records from *name on, and moves *name past them.  Returns the bytes used.
 */
static gsize
fill_block(const Writer *self, guint32 *name, char block[CX_EROFS_BLOCK])
{
    CxErofsRecord *records = (CxErofsRecord *)block;
    gsize used = 0;
    guint n = 0;
    gsize text_at;
    guint32 id = *name;
    gsize size;

    for (; id != 0; id = cx_draft_name(self->draft, id)->next) {
        (void)cx_draft_text(self->draft, cx_draft_name(self->draft, id), &size);
        if (used + sizeof *records + size > CX_EROFS_BLOCK)
            break;
        used += sizeof *records + size;
        n++;
    }

    text_at = n * sizeof *records;
    for (guint i = 0; i < n; i++) {
        const CxDraftName *this = cx_draft_name(self->draft, *name);
        const CxDraftInode *inode = cx_draft_inode(self->draft, this->inode);
        const char *text = cx_draft_text(self->draft, this, &size);

        records[i] = (CxErofsRecord){.nid = GUINT64_TO_LE(inode->nid),
                                     .name_offset = GUINT16_TO_LE((guint16)text_at),
                                     .file_type = record_type(inode->mode)};
        memcpy(block + text_at, text, size);
        text_at += size;
        *name = this->next;
    }
    return used;
}

/* Each block but the last takes as many records as fit; the rest of it is zero. */
static gboolean
put_folder(Writer *self, const CxDraftInode *inode, const Shape *shape, GError **error)
{
    guint32 name = inode->data;

    while (name != 0) {
        char block[CX_EROFS_BLOCK] = {0};
        gsize used = fill_block(self, &name, block);

        if (!put_piece(self, shape, block, name == 0 ? used : CX_EROFS_BLOCK, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
put_link(Writer *self, const CxDraftInode *inode, const Shape *shape, GError **error)
{
    const char *target = self->draft->text.base + inode->data;

    for (guint64 at = 0; at < inode->size; at += CX_EROFS_BLOCK)
        if (!put_piece(self, shape, target + at, MIN(inode->size - at, CX_EROFS_BLOCK), error))
            return FALSE;
    return TRUE;
}

static gboolean
put_chunks(Writer *self, const CxDraftInode *inode, GError **error)
{
    guint32 bits;
    guint32 n = count_chunks(self, inode, &bits);
    const CxDraftChunks *sparse = NULL;

    if (inode->flags & CX_DRAFT_SPARSE)
        sparse = (const CxDraftChunks *)(self->draft->text.base + inode->data);
    if (!stream_pad_to(&self->inodes, round_up(stream_tell(&self->inodes), sizeof(CxErofsChunk)),
                       error))
        return FALSE;

    for (guint32 i = 0; i < n; i++) {
        guint32 block =
            sparse != NULL ? sparse->blocks[i] : inode->data + (guint32)((guint64)i << bits);
        CxErofsChunk chunk = {.device = GUINT16_TO_LE(block == CX_EROFS_NULL_BLOCK ? 0 : 1),
                              .block = GUINT32_TO_LE(block)};

        if (!stream_put(&self->inodes, &chunk, sizeof chunk, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
put_inode(Writer *self, const CxDraftInode *inode, GError **error)
{
    Shape shape = shape_placed(self, inode);

    if (!stream_pad_to(&self->inodes, (guint64)inode->nid * CX_EROFS_SLOT, error) ||
        !put_head(self, inode, &shape, error) || !put_xattrs(self, inode, error))
        return FALSE;

    if (shape.layout == CX_EROFS_CHUNK_BASED)
        return put_chunks(self, inode, error);
    if (S_ISDIR(inode->mode))
        return put_folder(self, inode, &shape, error);
    if (S_ISLNK(inode->mode))
        return put_link(self, inode, &shape, error);
    return TRUE;
}

/* ---- the whole ------------------------------------------------------------------------------- */

typedef gboolean (*Visit)(Writer *self, CxDraftInode *inode, GError **error);

/* Visits each live inode once, in the order of the file: what lies in one folder lies together. */
static gboolean
visit_inodes(Writer *self,
             Visit visit,
             gboolean (*is_done)(const CxDraftInode *inode),
             GError **error)
{
    const GArray *folders = self->draft->folders;

    if (!visit(self, cx_draft_inode(self->draft, CX_DRAFT_ROOT), error))
        return FALSE;

    for (guint i = 0; i < folders->len; i++) {
        guint32 folder = g_array_index(folders, guint32, i);
        guint32 id = cx_draft_inode(self->draft, folder)->data;

        for (; id != 0; id = cx_draft_name(self->draft, id)->next) {
            CxDraftInode *inode =
                cx_draft_inode(self->draft, cx_draft_name(self->draft, id)->inode);

            if (!is_done(inode) && !visit(self, inode, error))
                return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_placed(const CxDraftInode *inode)
{
    return inode->nid != 0;
}

static gboolean
is_written(const CxDraftInode *inode)
{
    return (inode->flags & CX_DRAFT_WRITTEN) != 0;
}

static gboolean
write_inode(Writer *self, CxDraftInode *inode, GError **error)
{
    inode->flags |= CX_DRAFT_WRITTEN;
    return put_inode(self, inode, error);
}

/* Inodes of the commonest kind of layer, where all have one time, then need no time of their own.
 */
static void
choose_base_time(Writer *self)
{
    for (guint32 i = CX_DRAFT_ROOT; i <= self->draft->n_inodes; i++) {
        const CxDraftInode *inode = cx_draft_inode(self->draft, i);

        if (inode->flags & CX_DRAFT_IMPLICIT)
            continue;
        self->base_mtime = inode->mtime;
        self->base_mtime_nsec = inode->mtime_nsec;
        return;
    }
}

static gboolean
put_super(Writer *self, guint64 tar_size, GError **error)
{
    struct {
        CxErofsSuper super;
        CxErofsDevice device;
    } head = {
        .super = {.magic = GUINT32_TO_LE(CX_EROFS_MAGIC),
                  .feature_compat = GUINT32_TO_LE(CX_EROFS_COMPAT_MTIME),
                  .feature_incompat = GUINT32_TO_LE(CX_EROFS_INCOMPAT_CHUNKED_FILE |
                                                    CX_EROFS_INCOMPAT_DEVICE_TABLE),
                  .block_bits = CX_EROFS_BLOCK_BITS,
                  .root_nid = GUINT16_TO_LE(CX_EROFS_META_OFFSET / CX_EROFS_SLOT),
                  .inodes = GUINT64_TO_LE(self->n_inodes),
                  .build_time = GUINT64_TO_LE((guint64)self->base_mtime),
                  .build_time_nsec = GUINT32_TO_LE(self->base_mtime_nsec),
                  .blocks = GUINT32_TO_LE((guint32)(stream_tell(&self->blocks) / CX_EROFS_BLOCK)),
                  .boot = GUINT64_TO_LE(cx_erofs_get_boot()),
                  .extra_devices = GUINT16_TO_LE(1),
                  .device_slot = GUINT16_TO_LE(CX_EROFS_DEVICE_OFFSET / sizeof(CxErofsDevice))},
        .device = {.blocks = GUINT32_TO_LE(
                       (guint32)(round_up(tar_size,      CX_EROFS_BLOCK) / CX_EROFS_BLOCK))},
    };

    head.super.checksum_of_blocks = GUINT64_TO_LE(self->inodes.sum + self->blocks.sum +
                                                  cx_erofs_sum_super(&head.super, &head.device));
    return cx_pwrite_all(self->inodes.fd, &head, sizeof head, CX_EROFS_SUPER_OFFSET, error);
}

static gboolean
write_index(CxDraft *draft, guint64 tar_size, int out_fd, CxErofsStats *out_stats, GError **error)
{
    g_auto(Writer) self = {.draft = draft, .end = CX_EROFS_META_OFFSET};

    choose_base_time(&self);
    if (!visit_inodes(&self, place_inode, is_placed, error))
        return FALSE;

    stream_init(&self.inodes, out_fd, CX_EROFS_META_OFFSET);
    stream_init(&self.blocks, out_fd, round_up(self.end, CX_EROFS_BLOCK));
    if (!visit_inodes(&self, write_inode, is_written, error) ||
        !stream_pad_to(&self.inodes, round_up(self.end, CX_EROFS_BLOCK), error) ||
        !stream_flush(&self.inodes, error) || !stream_flush(&self.blocks, error) ||
        !put_super(&self, tar_size, error))
        return FALSE;

    if (out_stats != NULL)
        *out_stats = (CxErofsStats){.entries = self.n_inodes, .implicit_folders = self.n_implicit};
    return TRUE;
}

gboolean
cx_erofs_index_build(int tar_fd,
                     guint64 tar_size,
                     const CxLayerLimits *limits,
                     int out_fd,
                     CxErofsStats *out_stats,
                     GError **error)
{
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(tar_fd, 0, tar_size, limits);
    g_autoptr(CxDraft) draft = cx_draft_new(limits);
    GError *local_error = NULL;
    const CxEntry *entry;

    while ((entry = cx_tar_reader_next(reader, &local_error)) != NULL)
        if (!cx_draft_add(draft, entry, error))
            return FALSE;
    if (local_error != NULL) {
        g_propagate_error(error, local_error);
        return FALSE;
    }

    return cx_draft_finish(draft, error) && write_index(draft, tar_size, out_fd, out_stats, error);
}
