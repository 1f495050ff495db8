/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The tar header block (POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar
 * Format"), shared by reader and writer. */
#define CX_TAR_BLOCK 512

typedef struct {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];   /* "ustar\0", or GNU: "ustar " and version " \0" */
    char version[2]; /* "00" */
    char uname[32];
    char gname[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char pad[12];
} CxTarHeader;
G_STATIC_ASSERT(sizeof(CxTarHeader) == CX_TAR_BLOCK);

/* Type flags beyond the digits that POSIX gives to kinds of files. */
enum {
    CX_TAR_FILE = '0',
    CX_TAR_FILE_OLD = '\0',
    CX_TAR_HARDLINK = '1',
    CX_TAR_SYMLINK = '2',
    CX_TAR_CHAR = '3',
    CX_TAR_BLOCK_DEVICE = '4',
    CX_TAR_FOLDER = '5',
    CX_TAR_FIFO = '6',
    CX_TAR_FILE_CONTIGUOUS = '7',
    CX_TAR_PAX = 'x',
    CX_TAR_PAX_GLOBAL = 'g',
    CX_TAR_GNU_LONG_NAME = 'L',
    CX_TAR_GNU_LONG_LINK = 'K',
    CX_TAR_GNU_SPARSE = 'S',
};

/* Size rounded up to whole blocks.  The caller has checked that size is far from G_MAXUINT64. */
static inline guint64
cx_tar_round_up(guint64 size)
{
    return (size + CX_TAR_BLOCK - 1) & ~(guint64)(CX_TAR_BLOCK - 1);
}

/* The sum over the block with the checksum field as spaces. */
guint32 cx_tar_checksum(const CxTarHeader *header);

/* The same with bytes taken as signed, as some old programs did. */
gint32 cx_tar_checksum_signed(const CxTarHeader *header);

/* A numeric field: octal digits within spaces and zeros, or base-256 (GNU).  FALSE: neither, or
 * beyond 63 bits. */
gboolean cx_tar_parse_number(const char *field, gsize size, gint64 *out_number);

/* The same within min and max; what names the field in the error (CX_ERROR_INVALID). */
gboolean cx_tar_read_number(const char *field,
                            gsize size,
                            gint64 min,
                            gint64 max,
                            const char *what,
                            gint64 *out_number,
                            GError **error);
#define CX_TAR_READ_NUMBER(field, min, max, what, out, error)                                      \
    cx_tar_read_number((field), sizeof(field), (min), (max), (what), (out), (error))

/* Whether the header is GNU's own, which has other things than a prefix behind the device. */
gboolean cx_tar_is_gnu(const CxTarHeader *header);

/* Writes octal digits and a zero; FALSE if the number does not fit. */
gboolean cx_tar_format_number(char *field, gsize size, guint64 number);

G_END_DECLS
