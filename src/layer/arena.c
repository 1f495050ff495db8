/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/arena.h"

#include <sys/mman.h>

#define FIRST_MAPPING (64 * 1024)

void
cx_arena_clear(CxArena *self)
{
    if (self->base != NULL)
        (void)munmap(self->base, self->mapped);
    self->base = NULL;
    self->used = self->mapped = 0;
}

static gboolean
grow(CxArena *self, gsize needed, GError **error)
{
    gsize size = MAX(self->mapped, FIRST_MAPPING);
    void *base;

    while (size < needed)
        size *= 2;

    if (self->base == NULL)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        base = mremap(self->base, self->mapped, size, MREMAP_MAYMOVE);
    if (base == MAP_FAILED)
        return cx_throw_errno(error, "%" G_GSIZE_FORMAT " bytes of memory", size);

    self->base = base;
    self->mapped = size;
    return TRUE;
}

gboolean
cx_arena_alloc(CxArena *self, gsize size, gsize align, gsize *out_offset, GError **error)
{
    gsize offset = (self->used + align - 1) & ~(align - 1);

    if (size > self->limit || offset > self->limit - size)
        return cx_throw(error, CX_ERROR_LIMIT,
                        "the layer's names and attributes take more than %" G_GSIZE_FORMAT " bytes",
                        self->limit);
    if (offset + size > self->mapped && !grow(self, offset + size, error))
        return FALSE;

    self->used = offset + size;
    *out_offset = offset;
    return TRUE;
}
