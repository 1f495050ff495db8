/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/erofs-sum.h"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <string.h>

#include "base/fd.h"

guint64
cx_erofs_sum_blocks(guint64 offset, const void *blocks, gsize size)
{
    guint64 sum = 0;

    for (gsize at = 0; at < size; at += CX_EROFS_BLOCK) {
        guint32 number = (guint32)((offset + at) / CX_EROFS_BLOCK);
        gsize n = MIN(size - at, CX_EROFS_BLOCK);

        sum += crc32_iscsi((unsigned char *)blocks + at, (int)n, number);
    }
    return sum;
}

guint64
cx_erofs_sum_super(const CxErofsSuper *super, const CxErofsDevice *device)
{
    CxErofsSuper bare = *super;

    bare.checksum_of_blocks = 0;
    bare.boot = 0;
    return cx_erofs_sum_blocks(CX_EROFS_SUPER_OFFSET, &bare, sizeof bare) +
           cx_erofs_sum_blocks(CX_EROFS_DEVICE_OFFSET, device, sizeof *device);
}

guint64
cx_erofs_get_boot(void)
{
    cx_autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    guint64 boot = 0;
    char text[37] = "";

    if (fd < 0 || cx_read_full(fd, text, 36, NULL) != 36)
        return 0;

    /* A UUID at random: its first half, without the dashes, is enough of it. */
    for (gsize i = 0; i < 18; i++)
        if (g_ascii_isxdigit(text[i]))
            boot = boot << 4 | (guint64)g_ascii_xdigit_value(text[i]);
    return boot;
}
