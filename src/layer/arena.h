/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

/* A growing array of bytes in its own mapping.  It grows by moving pages, not bytes, and gives all
 * of them back to the system when it is freed, so a large tree leaves no hole in the heap.  Things
 * in it are named by offset: a pointer is good until the next allocation. */
typedef struct {
    char *base;
    gsize used;
    gsize mapped;
    gsize limit; /* growing past it is CX_ERROR_LIMIT */
} CxArena;

void cx_arena_clear(CxArena *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxArena, cx_arena_clear)

/* size zeroed bytes at *out_offset, which is a multiple of align (a power of two). */
gboolean cx_arena_alloc(CxArena *self, gsize size, gsize align, gsize *out_offset, GError **error);

G_END_DECLS
