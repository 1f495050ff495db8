/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/test-tar.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/digest.h"
#include "base/fd.h"
#include "layer/tar-reader.h"

/* ---- archives by hand ------------------------------------------------------------------------ */

void
cx_test_tar_add_bytes(GByteArray *tar, const void *data, gsize size)
{
    static const guint8 zeros[CX_TAR_BLOCK];

    g_byte_array_append(tar, data, (guint)size);
    g_byte_array_append(tar, zeros, (guint)(cx_tar_round_up(size) - size));
}

CxTarHeader
cx_test_tar_header(char type, const char *name, guint64 size)
{
    CxTarHeader header = {.type = type};

    memcpy(header.name, name, MIN(strlen(name), sizeof header.name));
    memcpy(header.magic, "ustar", 6);
    memcpy(header.version, "00", 2);
    cx_tar_format_number(header.mode, sizeof header.mode, 0644);
    cx_tar_format_number(header.uid, sizeof header.uid, 0);
    cx_tar_format_number(header.gid, sizeof header.gid, 0);
    cx_tar_format_number(header.size, sizeof header.size, size);
    cx_tar_format_number(header.mtime, sizeof header.mtime, 0);
    cx_tar_format_number(header.major, sizeof header.major, 0);
    cx_tar_format_number(header.minor, sizeof header.minor, 0);
    return header;
}

void
cx_test_tar_add_sealed(GByteArray *tar, CxTarHeader header)
{
    cx_tar_format_number(header.checksum, 7, cx_tar_checksum(&header));
    cx_test_tar_add_bytes(tar, &header, sizeof header);
}

void
cx_test_tar_add_entry(GByteArray *tar, char type, const char *name, const char *content)
{
    cx_test_tar_add_sealed(tar, cx_test_tar_header(type, name, strlen(content)));
    cx_test_tar_add_bytes(tar, content, strlen(content));
}

void
cx_test_tar_add_link(GByteArray *tar, char type, const char *name, const char *link)
{
    CxTarHeader header = cx_test_tar_header(type, name, 0);

    memcpy(header.link, link, MIN(strlen(link), sizeof header.link));
    cx_test_tar_add_sealed(tar, header);
}

/* An extended header: text as it is, zero bytes in it written as "\1". */
void
cx_test_tar_add_extended(GByteArray *tar, char type, const char *text)
{
    g_autofree char *bytes = g_strdup(text);
    gsize size = strlen(text);

    cx_test_tar_add_sealed(tar, cx_test_tar_header(type, "extended", size));
    cx_test_tar_add_bytes(tar, g_strdelimit(bytes, "\1", '\0'), size);
}

void
cx_test_tar_append_record(GString *text, const char *key, const char *value)
{
    gsize rest = strlen(key) + strlen(value) + strlen(" =\n"), length = rest + 1;

    while (length != rest + (gsize)snprintf(NULL, 0, "%zu", length))
        length++;
    g_string_append_printf(text, "%zu %s=%s\n", length, key, value);
}

/* A pax header of one to three records, as key, value, … */
void
cx_test_tar_add_pax(GByteArray *tar, ...)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *key;
    va_list args;

    va_start(args, tar);
    while ((key = va_arg(args, const char *)) != NULL)
        cx_test_tar_append_record(text, key, va_arg(args, const char *));
    va_end(args);
    cx_test_tar_add_extended(tar, CX_TAR_PAX, text->str);
}

void
cx_test_tar_add_file(GByteArray *tar, const char *name)
{
    cx_test_tar_add_entry(tar, '0', name, "");
}

void
cx_test_tar_add_end(GByteArray *tar)
{
    static const guint8 zeros[2 * CX_TAR_BLOCK];

    g_byte_array_append(tar, zeros, sizeof zeros);
}

/* ---- reading them ---------------------------------------------------------------------------- */

static void
describe_content(GString *out, int fd, const CxEntry *entry)
{
    g_autofree char *bytes = g_malloc0(entry->size + 1);
    CxExtent whole = {0, entry->size, entry->data_offset};
    const CxExtent *extents = &whole;
    guint n_extents = 1;

    if (entry->extents != NULL) {
        extents = (const CxExtent *)(gpointer)entry->extents->data;
        n_extents = entry->extents->len;
        g_string_append(out, " sparse");
    }
    for (guint i = 0; i < n_extents; i++)
        g_assert_cmpint(cx_pread_full(fd, bytes + extents[i].offset, extents[i].size,
                                      extents[i].data_offset, NULL),
                        ==, (gssize)extents[i].size);
    if (strlen(bytes) == entry->size && entry->size < 20) {
        g_autofree char *text = g_strescape(bytes, NULL);

        g_string_append_printf(out, " \"%s\"", text);
    } else {
        CxDigest digest = cx_digest_of(bytes, entry->size);

        g_string_append_printf(out, " %" G_GUINT64_FORMAT " bytes %.15s", entry->size,
                               cx_digest_text(&digest).text);
    }
}

static void
describe_xattrs(GString *out, GPtrArray *xattrs)
{
    for (guint i = 0; xattrs != NULL && i < xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(xattrs, i);
        gsize size;
        const guint8 *value = g_bytes_get_data(xattr->value, &size);

        g_string_append_printf(out, " [%s=", xattr->name);
        for (gsize b = 0; b < size; b++)
            g_string_append_printf(out, g_ascii_isprint(value[b]) ? "%c" : "\\x%02x", value[b]);
        g_string_append_c(out, ']');
    }
}

/* "f 0644 0:0 12.000000000 path "content"", a line an entry. */
static void
describe_entry(GString *out, int fd, const CxEntry *entry)
{
    static const char letters[] = "fdlhcbp"; /* in the order of CxEntryType */

    g_string_append_printf(out, "%c %04o %u:%u %" G_GINT64_FORMAT ".%09u %s", letters[entry->type],
                           entry->mode, entry->uid, entry->gid, entry->mtime, entry->mtime_nsec,
                           entry->path);
    if (entry->link != NULL)
        g_string_append_printf(out, " -> %s", entry->link);
    if (entry->type == CX_ENTRY_CHAR || entry->type == CX_ENTRY_BLOCK)
        g_string_append_printf(out, " %u:%u", entry->major, entry->minor);
    if (entry->type == CX_ENTRY_FILE)
        describe_content(out, fd, entry);
    describe_xattrs(out, entry->xattrs);
    g_string_append_c(out, '\n');
}

/* What an archive reads as, up to its end or the first fault. */
char *
cx_test_tar_describe(const guint8 *data, gsize size, const CxLayerLimits *limits, GError **error)
{
    cx_autofd int fd = memfd_create("tar", MFD_CLOEXEC);
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(fd, 3, size, limits);
    GString *out = g_string_new(NULL);
    const CxEntry *entry;

    g_assert_true(cx_pwrite_all(fd, data, size, 3, NULL));
    while ((entry = cx_tar_reader_next(reader, error)) != NULL)
        describe_entry(out, fd, entry);
    return g_string_free(out, FALSE);
}
