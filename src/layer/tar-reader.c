/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the headers of a tar in a file.
 *
 * A layer is mostly data that we skip, so headers are read through a small window (tar-window.h).
 * All that an entry needs (path, link, xattrs, extents) lives in buffers of the reader that are
 * used again for the next entry; the common entry allocates nothing.
 *
 * Headers that describe the next header (pax 'x', GNU 'L' and 'K') are collected first, then the
 * entry is made from them and its own header.  Where GNU and pax both name it, GNU wins, as in Go.
 */
#include "layer/tar-reader.h"

#include <string.h>

#include "base/error.h"
#include "layer/tar-format.h"
#include "layer/tar-pax.h"
#include "layer/tar-sparse.h"
#include "layer/tar-window.h"

#define NAME_MAX_BYTES 255 /* of one component, NAME_MAX of every Linux file system */
#define MAJOR_MAX 0xfff    /* what the kernel's dev_t can say */
#define MINOR_MAX 0xfffff
#define ID_MAX (G_MAXUINT32 - 1) /* the last one means "leave it" to chown */

struct CxTarReader {
    guint64 next;   /* where the next header starts */
    guint64 header; /* where the header of the current entry starts */
    gboolean finished;
    CxLayerLimits limits;
    guint64 n_entries;
    guint64 n_bytes; /* of content so far, holes included */

    CxTarHeader block; /* the header in work */
    CxEntry entry;     /* borrows everything from the fields below */
    CxPax pax;
    GString *path;
    GString *link;
    GString *long_name; /* GNU 'L'; empty: none */
    GString *long_link; /* GNU 'K' */
    GArray *extents;    /* of CxExtent */
    GString *extended;  /* content of an extended header */

    CxTarWindow window;
};

CxTarReader *
cx_tar_reader_new(int fd, guint64 offset, guint64 size, const CxLayerLimits *limits)
{
    CxTarReader *self;

    g_return_val_if_fail(size <= G_MAXINT64 && offset <= G_MAXINT64 - size, NULL);

    self = g_new0(CxTarReader, 1);
    self->next = offset;
    cx_tar_window_init(&self->window, fd, offset + size);
    self->limits = *limits;
    cx_pax_init(&self->pax);
    self->path = g_string_new(NULL);
    self->link = g_string_new(NULL);
    self->long_name = g_string_new(NULL);
    self->long_link = g_string_new(NULL);
    self->extents = g_array_new(FALSE, FALSE, sizeof(CxExtent));
    self->extended = g_string_new(NULL);
    return self;
}

void
cx_tar_reader_free(CxTarReader *self)
{
    if (self == NULL)
        return;

    cx_pax_clear(&self->pax);
    g_string_free(self->path, TRUE);
    g_string_free(self->link, TRUE);
    g_string_free(self->long_name, TRUE);
    g_string_free(self->long_link, TRUE);
    g_array_unref(self->extents);
    g_string_free(self->extended, TRUE);
    g_free(self);
}

guint64
cx_tar_reader_get_offset(const CxTarReader *self)
{
    return self->header;
}

/* ---- fields of a header ---------------------------------------------------------------------- */

static gboolean
check_sum(const CxTarHeader *header, GError **error)
{
    gint64 sum;

    if (!cx_tar_parse_number(header->checksum, sizeof header->checksum, &sum) ||
        (sum != cx_tar_checksum(header) && sum != cx_tar_checksum_signed(header)))
        return cx_throw(error, CX_ERROR_INVALID, "wrong checksum (damaged, or not a tar archive)");

    return TRUE;
}

/* How many bytes of the prefix field belong to the path. */
static gsize
prefix_size(const CxTarHeader *header)
{
    gint64 time;

    if (memcmp(header->magic, "ustar", sizeof header->magic) == 0)
        return memcmp(header->pad + 8, "tar", 4) == 0 ? 131 : sizeof header->prefix; /* star: 131 */

    /* GNU keeps times there.  Go before 1.8 wrote a prefix all the same: it shows as a time that is
     * none. */
    if (cx_tar_is_gnu(header) && header->prefix[0] != '\0' &&
        !cx_tar_parse_number(header->prefix, 12, &time))
        return sizeof header->prefix;

    return 0;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* Makes path clean in place: relative, no empty and no "." parts. */
static gboolean
clean_path(GString *path, const CxLayerLimits *limits, const char *what, GError **error)
{
    char *next = path->str, *to = path->str;
    guint32 depth = 0;

    while (*next != '\0') {
        gsize n = strcspn(next, "/");

        if (n == 2 && next[0] == '.' && next[1] == '.')
            return cx_throw(error, CX_ERROR_INVALID, "%s holds \"..\"", what);
        if (n > NAME_MAX_BYTES)
            return cx_throw(error, CX_ERROR_LIMIT, "%s: name longer than %d bytes", what,
                            NAME_MAX_BYTES);
        if (n > 0 && !(n == 1 && next[0] == '.')) {
            if (to > path->str)
                *to++ = '/';
            memmove(to, next, n);
            to += n;
            depth++;
        }
        next += n + (next[n] == '/');
    }
    g_string_truncate(path, (gsize)(to - path->str));

    if (path->len > limits->path_max)
        return cx_throw(error, CX_ERROR_LIMIT, "%s is longer than %u bytes", what,
                        limits->path_max);
    if (depth > limits->depth_max)
        return cx_throw(error, CX_ERROR_LIMIT, "%s is deeper than %u folders", what,
                        limits->depth_max);
    return TRUE;
}

/* The path as the archive says it, slash at the end and all. */
static void
join_path(CxTarReader *self, const CxTarHeader *header)
{
    gsize prefix = prefix_size(header);

    g_string_truncate(self->path, 0);
    if (self->long_name->len > 0) {
        g_string_append_len(self->path, self->long_name->str, (gssize)self->long_name->len);
    } else if ((self->pax.fields & CX_PAX_SPARSE_NAME) != 0) {
        g_string_append_len(self->path, self->pax.sparse_name->str,
                            (gssize)self->pax.sparse_name->len);
    } else if ((self->pax.fields & CX_PAX_PATH) != 0) {
        g_string_append_len(self->path, self->pax.path->str, (gssize)self->pax.path->len);
    } else {
        if (prefix > 0 && header->prefix[0] != '\0') {
            g_string_append_len(self->path, header->prefix,
                                (gssize)strnlen(header->prefix, prefix));
            g_string_append_c(self->path, '/');
        }
        g_string_append_len(self->path, header->name,
                            (gssize)strnlen(header->name, sizeof header->name));
    }
}

static void
join_link(CxTarReader *self, const CxTarHeader *header)
{
    g_string_truncate(self->link, 0);
    if (self->long_link->len > 0)
        g_string_append_len(self->link, self->long_link->str, (gssize)self->long_link->len);
    else if ((self->pax.fields & CX_PAX_LINK) != 0)
        g_string_append_len(self->link, self->pax.link->str, (gssize)self->pax.link->len);
    else
        g_string_append_len(self->link, header->link,
                            (gssize)strnlen(header->link, sizeof header->link));
}

/* A hard link names a path in the archive; a symlink says what it likes. */
static gboolean
read_link(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    join_link(self, header);
    if (self->entry.type == CX_ENTRY_HARDLINK &&
        !clean_path(self->link, &self->limits, "hard link", error))
        return FALSE;
    if (self->link->len == 0)
        return cx_throw(error, CX_ERROR_INVALID, "link to nothing");
    if (self->link->len > self->limits.path_max)
        return cx_throw(error, CX_ERROR_LIMIT, "link target is longer than %u bytes",
                        self->limits.path_max);

    self->entry.link = self->link->str;
    return TRUE;
}

/* ---- one entry ------------------------------------------------------------------------------- */

static gboolean
entry_type(char flag, gboolean is_folder_name, CxEntryType *out_type)
{
    switch (flag) {
    case CX_TAR_FILE_OLD: /* before ustar a folder was a file with a slash behind it */
        *out_type = is_folder_name ? CX_ENTRY_FOLDER : CX_ENTRY_FILE;
        return TRUE;
    case CX_TAR_FILE:
    case CX_TAR_FILE_CONTIGUOUS:
    case CX_TAR_GNU_SPARSE:
        *out_type = CX_ENTRY_FILE;
        return TRUE;
    case CX_TAR_HARDLINK:
        *out_type = CX_ENTRY_HARDLINK;
        return TRUE;
    case CX_TAR_SYMLINK:
        *out_type = CX_ENTRY_SYMLINK;
        return TRUE;
    case CX_TAR_CHAR:
        *out_type = CX_ENTRY_CHAR;
        return TRUE;
    case CX_TAR_BLOCK_DEVICE:
        *out_type = CX_ENTRY_BLOCK;
        return TRUE;
    case CX_TAR_FOLDER:
        *out_type = CX_ENTRY_FOLDER;
        return TRUE;
    case CX_TAR_FIFO:
        *out_type = CX_ENTRY_FIFO;
        return TRUE;
    default:
        return FALSE;
    }
}

static gboolean
read_type(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    gboolean is_folder_name = self->path->len > 0 && self->path->str[self->path->len - 1] == '/';

    if (entry_type(header->type, is_folder_name, &self->entry.type))
        return TRUE;

    return cx_throw(error, CX_ERROR_UNSUPPORTED,
                    g_ascii_isprint(header->type) ? "entry of type '%c'" : "entry of type 0x%02x",
                    (guchar)header->type);
}

static gboolean
read_owner(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    const CxPax *pax = &self->pax;
    gint64 uid = pax->uid, gid = pax->gid;

    if ((pax->fields & CX_PAX_UID) == 0 &&
        !CX_TAR_READ_NUMBER(header->uid, 0, ID_MAX, "uid", &uid, error))
        return FALSE;
    if ((pax->fields & CX_PAX_GID) == 0 &&
        !CX_TAR_READ_NUMBER(header->gid, 0, ID_MAX, "gid", &gid, error))
        return FALSE;

    self->entry.uid = (guint32)uid;
    self->entry.gid = (guint32)gid;
    return TRUE;
}

static gboolean
read_mode_and_time(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    const CxPax *pax = &self->pax;
    gint64 mode;

    if (!CX_TAR_READ_NUMBER(header->mode, G_MININT64, G_MAXINT64, "mode", &mode, error))
        return FALSE;

    self->entry.mode = (mode_t)(mode & 07777);
    if ((pax->fields & CX_PAX_MTIME) == 0)
        return CX_TAR_READ_NUMBER(header->mtime, G_MININT64, G_MAXINT64, "time", &self->entry.mtime,
                                  error);

    self->entry.mtime = pax->mtime;
    self->entry.mtime_nsec = pax->mtime_nsec;
    return TRUE;
}

static gboolean
read_device(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    gint64 major, minor;

    if (!CX_TAR_READ_NUMBER(header->major, 0, MAJOR_MAX, "major device number", &major, error) ||
        !CX_TAR_READ_NUMBER(header->minor, 0, MINOR_MAX, "minor device number", &minor, error))
        return FALSE;

    self->entry.major = (guint32)major;
    self->entry.minor = (guint32)minor;
    return TRUE;
}

/* How many bytes of data follow the header. */
static gboolean
read_size(CxTarReader *self, const CxTarHeader *header, guint64 *out_size, GError **error)
{
    gint64 size;

    if ((self->pax.fields & CX_PAX_SIZE) != 0) {
        *out_size = self->pax.size;
        return TRUE;
    }
    if (!CX_TAR_READ_NUMBER(header->size, 0, G_MAXINT64, "size", &size, error))
        return FALSE;

    *out_size = (guint64)size;
    return TRUE;
}

/* Finds the content of a file; self->next goes behind it. */
static gboolean
read_content(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    const guint sparse_fields = CX_PAX_SPARSE_1_0 | CX_PAX_SPARSE_MAP | CX_PAX_SPARSE_SIZE;
    gboolean gnu_sparse = header->type == CX_TAR_GNU_SPARSE;
    gboolean pax_sparse = !gnu_sparse && (self->pax.fields & sparse_fields) != 0;
    CxTarContent content = {.data = self->next};

    if (!read_size(self, header, &content.size, error))
        return FALSE;
    if (gnu_sparse && !cx_tar_sparse_read_gnu(&self->window, header, &self->limits, &content,
                                              self->extents, error))
        return FALSE;
    if (content.data > self->window.end || content.size > self->window.end - content.data)
        return cx_tar_throw_truncated(error);

    self->next = MIN(content.data + cx_tar_round_up(content.size), self->window.end);
    if (pax_sparse && !cx_tar_sparse_read_pax(&self->window, &self->pax, &self->limits, &content,
                                              self->extents, error))
        return FALSE;
    if ((gnu_sparse || pax_sparse) && !cx_tar_sparse_place(self->extents, &content, error))
        return FALSE;

    self->entry.data_offset = content.data;
    self->entry.size = content.size;
    if (gnu_sparse || pax_sparse) {
        self->entry.size = content.real_size;
        self->entry.extents = self->extents;
    }
    return TRUE;
}

static gboolean
count_entry(CxTarReader *self, GError **error)
{
    if (++self->n_entries > self->limits.entries_max)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %" G_GUINT64_FORMAT " entries",
                        self->limits.entries_max);
    if (self->entry.size > self->limits.bytes_max - self->n_bytes)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %" G_GUINT64_FORMAT " bytes of content",
                        self->limits.bytes_max);

    self->n_bytes += self->entry.size;
    return TRUE;
}

/* What only some types have. */
static gboolean
read_kind(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    switch (self->entry.type) {
    case CX_ENTRY_FILE:
        return read_content(self, header, error);
    case CX_ENTRY_SYMLINK:
    case CX_ENTRY_HARDLINK:
        return read_link(self, header, error);
    case CX_ENTRY_CHAR:
    case CX_ENTRY_BLOCK:
        return read_device(self, header, error);
    case CX_ENTRY_FOLDER:
    case CX_ENTRY_FIFO:
    default:
        return TRUE;
    }
}

static gboolean
read_path(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    join_path(self, header);
    if (self->path->len == 0)
        return cx_throw(error, CX_ERROR_INVALID, "entry without a name");
    if (!read_type(self, header, error) || !clean_path(self->path, &self->limits, "path", error))
        return FALSE;
    if (self->path->len == 0 && self->entry.type != CX_ENTRY_FOLDER)
        return cx_throw(error, CX_ERROR_INVALID, "the root is not a folder");

    self->entry.path = self->path->str;
    return TRUE;
}

/* Makes the entry of a header that describes one.  Data after a header that is not a file's is no
 * data (POSIX: such a size is to be ignored). */
static gboolean
read_entry(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    if (!read_path(self, header, error) || !read_owner(self, header, error) ||
        !read_mode_and_time(self, header, error) || !read_kind(self, header, error) ||
        !count_entry(self, error))
        return FALSE;

    if (self->pax.xattrs->len > 0)
        self->entry.xattrs = self->pax.xattrs;
    return TRUE;
}

/* ---- headers about headers ------------------------------------------------------------------- */

/* A long name ends at its first zero byte; nothing may hide behind it. */
static gboolean
take_long_text(CxTarReader *self, GString *out_text, GError **error)
{
    gsize n = strlen(self->extended->str);

    for (gsize i = n; i < self->extended->len; i++)
        if (self->extended->str[i] != '\0')
            return cx_throw(error, CX_ERROR_INVALID, "long name holds a zero byte");
    if (n == 0)
        return cx_throw(error, CX_ERROR_INVALID, "long name is empty");

    g_string_truncate(out_text, 0);
    g_string_append_len(out_text, self->extended->str, (gssize)n);
    return TRUE;
}

static gboolean
read_extended(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    gint64 size;

    if (!CX_TAR_READ_NUMBER(header->size, 0, G_MAXINT64, "size", &size, error))
        return FALSE;
    if (size > self->limits.pax_max)
        return cx_throw(error, CX_ERROR_LIMIT, "extended header is larger than %u bytes",
                        self->limits.pax_max);

    g_string_truncate(self->extended, 0);
    if (!cx_tar_window_append(&self->window, self->next, (gsize)size, self->extended, error))
        return FALSE;

    self->next = MIN(self->next + cx_tar_round_up((guint64)size), self->window.end);
    return TRUE;
}

static gboolean
take_extended(CxTarReader *self, const CxTarHeader *header, GError **error)
{
    const char *text;
    gsize size;

    if (!read_extended(self, header, error))
        return FALSE;

    text = self->extended->str;
    size = self->extended->len;
    switch (header->type) {
    case CX_TAR_PAX:
        return cx_pax_parse(&self->pax, text, size, &self->limits, error);
    case CX_TAR_PAX_GLOBAL:
        return cx_pax_check_global(text, size, error);
    case CX_TAR_GNU_LONG_NAME:
        return take_long_text(self, self->long_name, error);
    default:
        return take_long_text(self, self->long_link, error);
    }
}

static gboolean
is_extended_type(char type)
{
    return type == CX_TAR_PAX || type == CX_TAR_PAX_GLOBAL || type == CX_TAR_GNU_LONG_NAME ||
           type == CX_TAR_GNU_LONG_LINK;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static gboolean
is_zero_block(const CxTarHeader *header)
{
    static const CxTarHeader zero;

    return header->name[0] == '\0' && memcmp(header, &zero, sizeof zero) == 0;
}

/* Reads the header at self->next into self->block and steps over it; *out_end tells that there is
 * none. */
static gboolean
read_header(CxTarReader *self, gboolean *out_end, GError **error)
{
    const CxTarHeader *block;

    *out_end = self->next == self->window.end;
    if (*out_end)
        return TRUE;

    block = cx_tar_window_peek(&self->window, self->next, sizeof *block, error);
    if (block == NULL)
        return FALSE;

    self->block = *block;
    self->next += sizeof *block;
    if (!is_zero_block(&self->block))
        return check_sum(&self->block, error);

    *out_end = TRUE;
    if (self->next == self->window.end)
        return TRUE;
    block = cx_tar_window_peek(&self->window, self->next, sizeof *block, error);
    if (block == NULL)
        return FALSE;
    if (!is_zero_block(block))
        return cx_throw(error, CX_ERROR_INVALID, "lone zero block within the archive");

    return TRUE;
}

/* Reads on to the next entry. */
static gboolean
advance(CxTarReader *self, GError **error)
{
    gboolean is_end, is_described = FALSE;

    for (;;) {
        self->header = self->next;
        if (!read_header(self, &is_end, error))
            return FALSE;
        if (is_end && is_described)
            return cx_throw(error, CX_ERROR_MISMATCH,
                            "archive is truncated (extended header without its entry)");
        if (is_end) {
            self->finished = TRUE;
            return TRUE;
        }
        if (!is_extended_type(self->block.type))
            return read_entry(self, &self->block, error);
        if (!take_extended(self, &self->block, error))
            return FALSE;
        is_described |= self->block.type != CX_TAR_PAX_GLOBAL;
    }
}

static void
forget_entry(CxTarReader *self)
{
    memset(&self->entry, 0, sizeof self->entry);
    cx_pax_reset(&self->pax);
    g_string_truncate(self->path, 0);
    g_string_truncate(self->long_name, 0);
    g_string_truncate(self->long_link, 0);
    g_array_set_size(self->extents, 0);
}

/* A path for a message: printable, and not longer than one wants to read. */
static char *
show_path(const GString *path)
{
    g_autofree char *shown = g_strndup(path->str, 200);

    return g_strescape(shown, NULL);
}

const CxEntry *
cx_tar_reader_next(CxTarReader *self, GError **error)
{
    g_return_val_if_fail(self != NULL, NULL);

    if (self->finished)
        return NULL;

    forget_entry(self);
    if (!advance(self, error)) {
        g_autofree char *shown = show_path(self->path);

        g_prefix_error(error, "tar entry \"%s\" at offset %" G_GUINT64_FORMAT ": ", shown,
                       self->header);
        return NULL;
    }
    return self->finished ? NULL : &self->entry;
}
