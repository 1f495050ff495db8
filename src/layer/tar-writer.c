/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte this file writes decides layer digests: a change here is a new format, not a fix
 * (tests/golden).
 *
 * An entry is a ustar header; what that cannot say stands in a pax header before it, with its
 * records in the order of write_records. */
#include "layer/tar-writer.h"

#include <string.h>

#include "base/error.h"
#include "layer/tar-format.h"

#define PAX_NAME "././@PaxHeader"
#define NSEC_PER_SEC 1000000000

struct CxTarWriter {
    CxSink *sink; /* borrowed */
    guint64 n_entries;
    guint64 remaining; /* content of the current file still to come */
    guint padding;     /* zeros after it */
    GString *path;     /* as it stands in the archive */
    GString *records;  /* pax */
    GString *headers;  /* what begin is about to write */
};

CxTarWriter *
cx_tar_writer_new(CxSink *sink)
{
    CxTarWriter *self = g_new0(CxTarWriter, 1);

    self->sink = sink;
    self->path = g_string_new(NULL);
    self->records = g_string_new(NULL);
    self->headers = g_string_new(NULL);
    return self;
}

void
cx_tar_writer_free(CxTarWriter *self)
{
    if (self == NULL)
        return;

    g_string_free(self->path, TRUE);
    g_string_free(self->records, TRUE);
    g_string_free(self->headers, TRUE);
    g_free(self);
}

guint64
cx_tar_writer_get_count(const CxTarWriter *self)
{
    return self->n_entries;
}

/* ---- pax records ----------------------------------------------------------------------------- */

static guint
count_digits(gsize number)
{
    guint n = 1;

    while ((number /= 10) > 0)
        n++;
    return n;
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits. */
static void
add_record(GString *records, const char *key, const void *value, gsize size)
{
    gsize rest = strlen(" =\n") + strlen(key) + size;
    gsize length = rest + count_digits(rest);

    if (count_digits(length) != count_digits(rest))
        length = rest + count_digits(length);
    g_string_append_printf(records, "%" G_GSIZE_FORMAT " %s=", length, key);
    g_string_append_len(records, value, (gssize)size);
    g_string_append_c(records, '\n');
}

static void
add_number(GString *records, const char *key, guint64 number)
{
    char text[24];
    int n = g_snprintf(text, sizeof text, "%" G_GUINT64_FORMAT, number);

    add_record(records, key, text, (gsize)n);
}

/* Seconds and as many digits of a fraction as it has. */
static void
add_time(GString *records, const char *key, gint64 seconds, guint32 nsec)
{
    gboolean negative = seconds < 0;
    char text[48];
    int n;

    if (negative && nsec > 0) {
        seconds++;
        nsec = NSEC_PER_SEC - nsec;
    }
    n = g_snprintf(text, sizeof text, "%s%" G_GUINT64_FORMAT ".%09u", negative ? "-" : "",
                   negative ? 0 - (guint64)seconds : (guint64)seconds, nsec);
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    add_record(records, key, text, (gsize)n);
}

static gboolean
is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((guchar)*text >= 0x80)
            return FALSE;

    return TRUE;
}

/* ---- the ustar header ------------------------------------------------------------------------ */

/* Fits path into name and prefix, cut at the last slash that lets the prefix fit. */
static gboolean
split_path(CxTarHeader *header, const GString *path)
{
    gsize length = path->len, cut;
    const char *slash;

    if (!is_ascii(path->str))
        return FALSE;
    if (length <= sizeof header->name) {
        memcpy(header->name, path->str, length);
        return TRUE;
    }
    if (length > sizeof header->prefix + 1)
        length = sizeof header->prefix + 1;
    else if (path->str[length - 1] == '/')
        length--;

    slash = memrchr(path->str, '/', length);
    if (slash == NULL || slash == path->str)
        return FALSE;
    cut = (gsize)(slash - path->str);
    if (path->len - cut - 1 > sizeof header->name || path->len - cut - 1 == 0)
        return FALSE;

    memcpy(header->prefix, path->str, cut);
    memcpy(header->name, slash + 1, path->len - cut - 1);
    return TRUE;
}

/* What an old reader sees where the truth stands in a pax record: the start of it in ASCII. */
static void
put_stand_in(char *field, gsize size, const char *text)
{
    for (gsize i = 0; i < size && text[i] != '\0'; i++)
        field[i] = (guchar)text[i] < 0x80 ? text[i] : '_';
}

static char
type_flag(CxEntryType type)
{
    static const char flags[] = {
        [CX_ENTRY_FILE] = CX_TAR_FILE,       [CX_ENTRY_FOLDER] = CX_TAR_FOLDER,
        [CX_ENTRY_SYMLINK] = CX_TAR_SYMLINK, [CX_ENTRY_HARDLINK] = CX_TAR_HARDLINK,
        [CX_ENTRY_CHAR] = CX_TAR_CHAR,       [CX_ENTRY_BLOCK] = CX_TAR_BLOCK_DEVICE,
        [CX_ENTRY_FIFO] = CX_TAR_FIFO,
    };

    return flags[type];
}

/* A number in the header, or 0 there and FALSE if it needs a record. */
static gboolean
put_number(char *field, gsize size, guint64 number)
{
    if (cx_tar_format_number(field, size, number))
        return TRUE;

    (void)cx_tar_format_number(field, size, 0);
    return FALSE;
}
#define PUT_NUMBER(field, number) put_number((field), sizeof(field), (number))

static void
seal(CxTarHeader *header)
{
    memcpy(header->magic, "ustar", sizeof header->magic);
    memcpy(header->version, "00", sizeof header->version);
    (void)cx_tar_format_number(header->checksum, 7, cx_tar_checksum(header));
    header->checksum[7] = ' ';
}

static void
append_zeros(GString *text, gsize n)
{
    gsize before = text->len;

    g_string_set_size(text, before + n);
    memset(text->str + before, 0, n);
}

static gsize
padding_of(guint64 size)
{
    return (gsize)(cx_tar_round_up(size) - size);
}

/* The pax header block and the records behind it. */
static void
append_pax(CxTarWriter *self)
{
    CxTarHeader header = {.type = CX_TAR_PAX};

    memcpy(header.name, PAX_NAME, strlen(PAX_NAME));
    (void)PUT_NUMBER(header.mode, 0);
    (void)PUT_NUMBER(header.uid, 0);
    (void)PUT_NUMBER(header.gid, 0);
    (void)PUT_NUMBER(header.size, self->records->len);
    (void)PUT_NUMBER(header.mtime, 0);
    (void)PUT_NUMBER(header.major, 0);
    (void)PUT_NUMBER(header.minor, 0);
    seal(&header);
    g_string_append_len(self->headers, (const char *)&header, sizeof header);
    g_string_append_len(self->headers, self->records->str, (gssize)self->records->len);
    append_zeros(self->headers, padding_of(self->records->len));
}

/* ---- one entry ------------------------------------------------------------------------------- */

/* Path and link, each in the header or in a record. */
static void
put_names(CxTarWriter *self, CxTarHeader *header, const CxEntry *entry)
{
    gboolean path_fits = split_path(header, self->path);
    gsize link_size = entry->link == NULL ? 0 : strlen(entry->link);
    gboolean link_fits =
        link_size <= sizeof header->link && (link_size == 0 || is_ascii(entry->link));

    if ((!path_fits && !g_utf8_validate(self->path->str, (gssize)self->path->len, NULL)) ||
        (!link_fits && !g_utf8_validate(entry->link, (gssize)link_size, NULL)))
        add_record(self->records, "hdrcharset", "BINARY", strlen("BINARY"));
    if (!path_fits) {
        put_stand_in(header->name, sizeof header->name, self->path->str);
        add_record(self->records, "path", self->path->str, self->path->len);
    }
    if (link_fits && link_size > 0) {
        memcpy(header->link, entry->link, link_size);
    } else if (!link_fits) {
        put_stand_in(header->link, sizeof header->link, entry->link);
        add_record(self->records, "linkpath", entry->link, link_size);
    }
}

static void
put_numbers(CxTarWriter *self, CxTarHeader *header, const CxEntry *entry)
{
    guint64 size = entry->type == CX_ENTRY_FILE ? entry->size : 0;
    gboolean is_device = entry->type == CX_ENTRY_CHAR || entry->type == CX_ENTRY_BLOCK;
    gboolean time_fits = PUT_NUMBER(header->mtime, entry->mtime < 0 ? 0 : (guint64)entry->mtime) &&
                         entry->mtime >= 0 && entry->mtime_nsec == 0;

    (void)PUT_NUMBER(header->mode, entry->mode & 07777);
    (void)PUT_NUMBER(header->major, is_device ? entry->major : 0);
    (void)PUT_NUMBER(header->minor, is_device ? entry->minor : 0);
    if (!PUT_NUMBER(header->size, size))
        add_number(self->records, "size", size);
    if (!PUT_NUMBER(header->uid, entry->uid))
        add_number(self->records, "uid", entry->uid);
    if (!PUT_NUMBER(header->gid, entry->gid))
        add_number(self->records, "gid", entry->gid);
    if (!time_fits)
        add_time(self->records, "mtime", entry->mtime, entry->mtime_nsec);
}

static void
put_xattrs(CxTarWriter *self, const CxEntry *entry)
{
    for (guint i = 0; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(entry->xattrs, i);
        g_autofree char *key = g_strconcat("SCHILY.xattr.", xattr->name, NULL);
        gsize size;
        const void *value = g_bytes_get_data(xattr->value, &size);

        add_record(self->records, key, value, size);
    }
}

static void
compose_headers(CxTarWriter *self, const CxEntry *entry)
{
    CxTarHeader header = {.type = type_flag(entry->type)};

    g_string_truncate(self->records, 0);
    g_string_truncate(self->headers, 0);
    g_string_assign(self->path, entry->path[0] == '\0' ? "." : entry->path);
    if (entry->type == CX_ENTRY_FOLDER)
        g_string_append_c(self->path, '/');

    put_names(self, &header, entry);
    put_numbers(self, &header, entry);
    put_xattrs(self, entry);
    seal(&header);
    if (self->records->len > 0)
        append_pax(self);
    g_string_append_len(self->headers, (const char *)&header, sizeof header);
}

/* Zeros to the end of the block. */
static gboolean
write_padding(CxTarWriter *self, GError **error)
{
    static const char zeros[CX_TAR_BLOCK];
    gsize n = self->padding;

    self->padding = 0;
    return cx_sink_write(self->sink, zeros, n, error);
}

static gboolean
check_complete(CxTarWriter *self, GError **error)
{
    if (self->remaining == 0)
        return TRUE;

    return cx_throw(error, CX_ERROR_INTERNAL,
                    "\"%s\": %" G_GUINT64_FORMAT " bytes of its content are missing",
                    self->path->str, self->remaining);
}

gboolean
cx_tar_writer_begin(CxTarWriter *self, const CxEntry *entry, GError **error)
{
    g_return_val_if_fail(entry->path != NULL, FALSE);
    g_return_val_if_fail(entry->link != NULL ||
                             (entry->type != CX_ENTRY_SYMLINK && entry->type != CX_ENTRY_HARDLINK),
                         FALSE);

    if (!check_complete(self, error))
        return FALSE;

    compose_headers(self, entry);
    if (!cx_sink_write(self->sink, self->headers->str, self->headers->len, error))
        return FALSE;

    self->n_entries++;
    self->remaining = entry->type == CX_ENTRY_FILE ? entry->size : 0;
    self->padding = (guint)padding_of(self->remaining);
    return TRUE;
}

/* Accounts for size bytes that are about to be written. */
static gboolean
claim(CxTarWriter *self, guint64 size, GError **error)
{
    if (size > self->remaining)
        return cx_throw(error, CX_ERROR_INTERNAL, "\"%s\": more content than its size",
                        self->path->str);

    self->remaining -= size;
    return TRUE;
}

gboolean
cx_tar_writer_write(CxTarWriter *self, const void *data, gsize size, GError **error)
{
    return claim(self, size, error) && cx_sink_write(self->sink, data, size, error) &&
           (self->remaining > 0 || write_padding(self, error));
}

gboolean
cx_tar_writer_splice(CxTarWriter *self, int fd, guint64 offset, guint64 size, GError **error)
{
    return claim(self, size, error) && cx_sink_splice(self->sink, fd, offset, size, error) &&
           (self->remaining > 0 || write_padding(self, error));
}

gboolean
cx_tar_writer_add_bytes(CxTarWriter *self, const CxEntry *entry, const void *data, GError **error)
{
    return cx_tar_writer_begin(self, entry, error) &&
           cx_tar_writer_write(self, data, (gsize)self->remaining, error);
}

gboolean
cx_tar_writer_finish(CxTarWriter *self, GError **error)
{
    static const char zeros[2 * CX_TAR_BLOCK];

    return check_complete(self, error) && cx_sink_write(self->sink, zeros, sizeof zeros, error);
}
