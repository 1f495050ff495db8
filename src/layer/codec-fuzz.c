/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "layer/codec.h"

/* Decompresses any bytes as what they claim to be.  Never more than the limit comes out, and what
 * was taken whole is what was there. */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define LIMIT (4 * 1024 * 1024)

typedef struct {
    CxSink base;
    guint64 written;
} CountSink;

static gboolean
count_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    ((CountSink *)sink)->written += size;
    return TRUE;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    cx_autofd int fd = memfd_create("packed", MFD_CLOEXEC);
    CountSink plain = {.base = {.write = count_write}}, raw = {.base = {.write = count_write}};
    CxCompression compression = cx_compression_detect(data, size);
    g_autoptr(GError) error = NULL;
    gboolean good;

    if (fd < 0 || !cx_write_all(fd, data, size, NULL))
        return 0;

    good = cx_decompress(fd, 0, size, compression, LIMIT, &plain.base, &raw.base, NULL, &error);
    g_assert(good == (error == NULL));
    g_assert(plain.written <= LIMIT);
    g_assert(raw.written == size || (!good && raw.written < size));
    return 0;
}
