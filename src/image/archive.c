/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "layer/codec.h"
#include "layer/tar-reader.h"

/* An entry of the tar. */
typedef struct {
    CxEntryType type;
    gboolean sparse; /* its bytes do not lie in a row */
    guint64 offset;
    guint64 size;
    char *link; /* (owned) where a link leads, a clean path; else NULL */
} Item;

struct CxArchive {
    int fd;
    CxIdentity *identity; /* (owned) or NULL */
    GHashTable *items;    /* (owned char *) -> (owned Item *); NULL for a folder */
};

/* Names of an image archive are short and flat; data is skipped, so its size is of no concern here.
 */
static const CxLayerLimits archive_limits = {
    .entries_max = CX_ARCHIVE_ENTRIES_MAX,
    .bytes_max = G_MAXINT64,
    .path_max = 1024,
    .depth_max = 32,
    .pax_max = 64 * 1024,
    .xattrs_max = 64 * 1024,
};

void
cx_part_clear(CxPart *self)
{
    cx_clear_fd(&self->fd);
}

/* ---- table of contents ---- */

static void
free_item(gpointer data)
{
    Item *item = data;

    g_free(item->link);
    g_free(item);
}

/* What a link of the entry at path means: hard links name a path, symlinks a place seen from their
 * own folder. */
static char *
resolve_link(const CxEntry *entry)
{
    g_autofree char *folder = NULL, *joined = NULL;

    if (entry->type != CX_ENTRY_SYMLINK || entry->link[0] == '/')
        return cx_path_clean(entry->link);

    folder = g_path_get_dirname(entry->path);
    joined = g_build_filename(folder, entry->link, NULL);
    return cx_path_clean(joined);
}

static gboolean
add_item(CxArchive *self, const CxEntry *entry, GError **error)
{
    const Item *before = g_hash_table_lookup(self->items, entry->path);
    Item *item;

    if (before != NULL && before->type == CX_ENTRY_FOLDER && entry->type == CX_ENTRY_FOLDER)
        return TRUE;
    if (before != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "\"%s\" is in the archive twice", entry->path);

    item = g_new0(Item, 1);
    item->type = entry->type;
    item->sparse = entry->extents != NULL;
    item->offset = entry->data_offset;
    item->size = entry->size;
    if (entry->type == CX_ENTRY_SYMLINK || entry->type == CX_ENTRY_HARDLINK)
        item->link = resolve_link(entry);
    g_hash_table_insert(self->items, g_strdup(entry->path), item);
    return TRUE;
}

/* An archive that was compressed as a whole gives no access by path: say so, instead of calling it
 * no tar. */
static gboolean
check_compression(int fd, GError **error)
{
    guint8 magic[8];
    gssize n = cx_pread_full(fd, magic, sizeof magic, 0, error);
    CxCompression compression;

    if (n < 0)
        return FALSE;

    compression = cx_compression_detect(magic, (gsize)n);
    if (compression != CX_COMPRESSION_NONE)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "the archive as a whole is compressed with %s (decompress it first)",
                        cx_compression_name(compression));

    return TRUE;
}

static gboolean
read_contents(CxArchive *self, guint64 size, GError **error)
{
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(self->fd, 0, size, &archive_limits);
    g_autoptr(GError) reader_error = NULL;
    const CxEntry *entry;

    self->items = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_item);
    while ((entry = cx_tar_reader_next(reader, &reader_error)) != NULL)
        if (!add_item(self, entry, error))
            return FALSE;

    if (reader_error != NULL) {
        g_propagate_error(error, g_steal_pointer(&reader_error));
        return FALSE;
    }
    return TRUE;
}

CxArchive *
cx_archive_open(int take_fd, CxIdentity *identity, GError **error)
{
    g_autoptr(CxArchive) self = g_new0(CxArchive, 1);
    struct stat st;

    self->fd = take_fd;
    self->identity = identity == NULL ? NULL : cx_identity_ref(identity);
    if (fstat(self->fd, &st) < 0)
        return cx_throw_errno_null(error, "stat");
    if (S_ISDIR(st.st_mode))
        return g_steal_pointer(&self);
    if (!S_ISREG(st.st_mode))
        return cx_throw_null(error, CX_ERROR_INVALID, "neither a file nor a folder");
    if (!check_compression(self->fd, error) || !read_contents(self, (guint64)st.st_size, error))
        return NULL;

    return g_steal_pointer(&self);
}

void
cx_archive_close(CxArchive *self)
{
    if (self == NULL)
        return;

    cx_clear_fd(&self->fd);
    g_clear_pointer(&self->identity, cx_identity_unref);
    g_clear_pointer(&self->items, g_hash_table_unref);
    g_free(self);
}

/* ---- files ---- */

static gboolean
open_in_folder(CxArchive *self, const char *path, CxPart *out_part, GError **error)
{
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
    cx_autofd int fd = -1;
    struct stat st;

    if (self->identity != NULL && !cx_acting_as_begin(&as, self->identity, error))
        return FALSE;

    fd =
        cx_chase_open(self->fd, path, CX_CHASE_BENEATH, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, error);
    if (fd < 0)
        return FALSE;
    if (fstat(fd, &st) < 0)
        return cx_throw_errno(error, "\"%s\"", path);
    if (!S_ISREG(st.st_mode))
        return cx_throw(error, CX_ERROR_INVALID, "\"%s\" is not a regular file", path);

    *out_part = (CxPart){.fd = cx_steal_fd(&fd), .offset = 0, .size = (guint64)st.st_size};
    return TRUE;
}

static gboolean
open_in_tar(
    CxArchive *self, const char *path, CxArchiveFlags flags, CxPart *out_part, GError **error)
{
    const Item *item = g_hash_table_lookup(self->items, path);
    int fd;

    if (item != NULL && item->link != NULL && (flags & CX_ARCHIVE_FOLLOW) != 0)
        item = g_hash_table_lookup(self->items, item->link);
    if (item == NULL)
        return cx_throw(error, CX_ERROR_NOT_FOUND, "\"%s\" is not in the archive", path);
    if (item->type != CX_ENTRY_FILE)
        return cx_throw(error, CX_ERROR_INVALID, "\"%s\" is not a regular file", path);
    if (item->sparse)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "\"%s\" is stored sparse (write the archive without holes)", path);

    fd = fcntl(self->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return cx_throw_errno(error, "\"%s\"", path);

    *out_part = (CxPart){.fd = fd, .offset = item->offset, .size = item->size};
    return TRUE;
}

gboolean
cx_archive_open_part(
    CxArchive *self, const char *path, CxArchiveFlags flags, CxPart *out_part, GError **error)
{
    if (self->items == NULL)
        return open_in_folder(self, path, out_part, error);

    return open_in_tar(self, path, flags, out_part, error);
}

GBytes *
cx_part_read(const CxPart *self, GError **error)
{
    g_autofree char *data = g_malloc((gsize)self->size + 1);
    gssize n = cx_pread_full(self->fd, data, (gsize)self->size, self->offset, error);

    if (n < 0)
        return NULL;
    if ((guint64)n < self->size)
        return cx_throw_null(error, CX_ERROR_MISMATCH, "file shrank while it was read");

    return g_bytes_new_take(g_steal_pointer(&data), (gsize)n);
}

GBytes *
cx_archive_read(
    CxArchive *self, const char *path, CxArchiveFlags flags, gsize limit, GError **error)
{
    g_auto(CxPart) part = CX_PART_INIT;

    if (!cx_archive_open_part(self, path, flags, &part, error))
        return NULL;
    if (part.size > limit)
        return cx_throw_null(error, CX_ERROR_LIMIT,
                             "\"%s\" is larger than %" G_GSIZE_FORMAT " bytes", path, limit);

    return cx_part_read(&part, error);
}
