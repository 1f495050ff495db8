/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-format.h"

#include <string.h>

#include "base/error.h"

guint32
cx_tar_checksum(const CxTarHeader *header)
{
    const guint8 *bytes = (const guint8 *)header;
    guint32 sum = ' ' * sizeof header->checksum;

    for (gsize i = 0; i < CX_TAR_BLOCK; i++)
        sum += bytes[i];
    for (gsize i = 0; i < sizeof header->checksum; i++)
        sum -= (guint8)header->checksum[i];

    return sum;
}

gint32
cx_tar_checksum_signed(const CxTarHeader *header)
{
    const gint8 *bytes = (const gint8 *)header;
    gint32 sum = ' ' * sizeof header->checksum;

    for (gsize i = 0; i < CX_TAR_BLOCK; i++)
        sum += bytes[i];
    for (gsize i = 0; i < sizeof header->checksum; i++)
        sum -= (gint8)header->checksum[i];

    return sum;
}

/* Two's complement in big endian; the top bit of the first byte only marks the form. */
static gboolean
parse_base256(const guint8 *field, gsize size, gint64 *out_number)
{
    guint8 fill = (field[0] & 0x40) != 0 ? 0xff : 0;
    guint64 number = fill != 0 ? G_MAXUINT64 : 0;

    for (gsize i = 0; i < size; i++) {
        guint8 byte = i == 0 ? (guint8)(field[0] & 0x7f) | (fill & 0x80) : field[i];

        if (size - i > sizeof number && byte != fill)
            return FALSE;
        if (size - i == sizeof number && ((byte ^ fill) & 0x80) != 0)
            return FALSE;
        number = number << 8 | byte;
    }
    *out_number = (gint64)number;
    return TRUE;
}

gboolean
cx_tar_parse_number(const char *field, gsize size, gint64 *out_number)
{
    const char *end = field + size;
    guint64 number = 0;

    if ((field[0] & 0x80) != 0)
        return parse_base256((const guint8 *)field, size, out_number);

    while (field < end && (*field == ' ' || *field == '\0'))
        field++;
    for (; field < end && *field >= '0' && *field <= '7'; field++) {
        if (number >> 60 != 0)
            return FALSE;
        number = number << 3 | (guint64)(*field - '0');
    }
    while (field < end && *field == ' ')
        field++;
    if (field < end && *field != '\0')
        return FALSE;

    *out_number = (gint64)number;
    return TRUE;
}

gboolean
cx_tar_read_number(const char *field,
                   gsize size,
                   gint64 min,
                   gint64 max,
                   const char *what,
                   gint64 *out_number,
                   GError **error)
{
    gint64 number;

    if (!cx_tar_parse_number(field, size, &number))
        return cx_throw(error, CX_ERROR_INVALID, "%s is not a number", what);
    if (number < min || number > max)
        return cx_throw(error, CX_ERROR_INVALID, "%s %" G_GINT64_FORMAT " is out of range", what,
                        number);

    *out_number = number;
    return TRUE;
}

gboolean
cx_tar_is_gnu(const CxTarHeader *header)
{
    return memcmp(header->magic, "ustar  ", sizeof header->magic + 1) == 0;
}

gboolean
cx_tar_format_number(char *field, gsize size, guint64 number)
{
    char *next = field + size - 1;

    *next = '\0';
    while (next > field) {
        *--next = (char)('0' + (number & 7));
        number >>= 3;
    }
    return number == 0;
}
