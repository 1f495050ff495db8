/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/fd.h"
#include "layer/tar-format.h"
#include "layer/tar-reader.h"
#include "layer/tar-writer.h"

/* Reads any bytes as a tar.  Whatever comes out must keep what the header of the reader promises,
 * and must come out the same after the writer wrote it. */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
check_place(const CxEntry *entry, gsize size)
{
    guint64 reached = 0;

    if (entry->type != CX_ENTRY_FILE || entry->extents == NULL) {
        g_assert(entry->type != CX_ENTRY_FILE ||
                 (entry->data_offset <= size && entry->size <= size - entry->data_offset));
        return;
    }
    for (guint i = 0; i < entry->extents->len; i++) {
        const CxExtent *extent = &g_array_index(entry->extents, CxExtent, i);

        g_assert(extent->size > 0 && extent->offset >= reached);
        g_assert(extent->data_offset <= size && extent->size <= size - extent->data_offset);
        reached = extent->offset + extent->size;
        g_assert(reached <= entry->size);
    }
}

static void
check_path(const char *path)
{
    g_autofree char *clean = cx_path_clean(path);

    g_assert_cmpstr(path, ==, clean);
    g_assert(!cx_path_has_dotdot(path));
}

static void
check_xattrs(const CxEntry *entry)
{
    for (guint i = 1; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const CxXattr *before = g_ptr_array_index(entry->xattrs, i - 1);
        const CxXattr *xattr = g_ptr_array_index(entry->xattrs, i);

        g_assert_cmpstr(before->name, <, xattr->name);
    }
}

static void
check_same(const CxEntry *a, const CxEntry *b)
{
    g_assert_cmpint(a->type, ==, b->type);
    g_assert_cmpstr(a->path, ==, b->path);
    g_assert_cmpstr(a->link, ==, b->link);
    g_assert_cmpuint(a->mode, ==, b->mode);
    g_assert_cmpuint(a->uid, ==, b->uid);
    g_assert_cmpuint(a->gid, ==, b->gid);
    g_assert_cmpint(a->mtime, ==, b->mtime);
    g_assert_cmpuint(a->mtime_nsec, ==, b->mtime_nsec);
    g_assert_cmpuint(a->major, ==, b->major);
    g_assert_cmpuint(a->minor, ==, b->minor);
    g_assert_cmpuint(a->xattrs == NULL ? 0 : a->xattrs->len, ==,
                     b->xattrs == NULL ? 0 : b->xattrs->len);
}

/* The entry without its content, written and read again. */
static void
check_round_trip(const CxEntry *entry)
{
    cx_autofd int fd = memfd_create("again", MFD_CLOEXEC);
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    g_autoptr(CxTarReader) reader = NULL;
    CxEntry bare = *entry;

    bare.size = 0;
    g_assert(cx_tar_writer_begin(writer, &bare, NULL) && cx_tar_writer_finish(writer, NULL));
    reader = cx_tar_reader_new(fd, 0, sink.written, &cx_layer_limits_default);
    check_same(cx_tar_reader_next(reader, NULL), &bare);
    g_assert(cx_tar_reader_next(reader, NULL) == NULL);
}

static void
read_all(const guint8 *data, gsize size)
{
    cx_autofd int fd = memfd_create("tar", MFD_CLOEXEC);
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(fd, 0, size, &cx_layer_limits_default);
    g_autoptr(GError) error = NULL;
    const CxEntry *entry;

    if (fd < 0 || !cx_write_all(fd, data, size, NULL))
        return;

    while ((entry = cx_tar_reader_next(reader, &error)) != NULL) {
        check_path(entry->path);
        if (entry->type == CX_ENTRY_HARDLINK)
            check_path(entry->link);
        check_place(entry, size);
        check_xattrs(entry);
        check_round_trip(entry);
    }
}

/* Chance does not find checksums: every block that looks like a header gets the right one. */
static void
mend_checksums(guint8 *data, gsize size)
{
    for (gsize i = 0; i + CX_TAR_BLOCK <= size; i += CX_TAR_BLOCK) {
        CxTarHeader header;

        memcpy(&header, data + i, sizeof header);
        if (memcmp(header.magic, "ustar", 5) != 0)
            continue;
        (void)cx_tar_format_number(header.checksum, 7, cx_tar_checksum(&header));
        header.checksum[7] = ' ';
        memcpy(data + i, &header, sizeof header);
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree guint8 *mended = g_memdup2(data, size);

    read_all(data, size);
    mend_checksums(mended, size);
    read_all(mended, size);
    return 0;
}
