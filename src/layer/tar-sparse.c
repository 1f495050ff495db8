/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-sparse.h"

#include <string.h>

#include "base/error.h"

/* The old GNU header has its map where ustar has the prefix, and goes on in blocks of its own. */
typedef struct {
    char offset[12];
    char size[12];
} GnuSparse;

typedef struct {
    char before[386];
    GnuSparse map[4];
    char is_extended;
    char real_size[12];
    char pad[17];
} GnuSparseHeader;
G_STATIC_ASSERT(sizeof(GnuSparseHeader) == CX_TAR_BLOCK);

typedef struct {
    GnuSparse map[21];
    char is_extended;
    char pad[7];
} GnuSparseBlock;
G_STATIC_ASSERT(sizeof(GnuSparseBlock) == CX_TAR_BLOCK);

static gboolean
throw_map_limit(const CxLayerLimits *limits, GError **error)
{
    return cx_throw(error, CX_ERROR_LIMIT, "sparse map is larger than %u bytes", limits->pax_max);
}

static gboolean
append_gnu_map(GArray *extents, const GnuSparse *map, gsize n, GError **error)
{
    for (gsize i = 0; i < n && map[i].size[0] != '\0'; i++) {
        CxExtent extent;
        gint64 number;

        if (!CX_TAR_READ_NUMBER(map[i].offset, 0, G_MAXINT64, "offset of a sparse file's data",
                                &number, error))
            return FALSE;
        extent.offset = (guint64)number;
        if (!CX_TAR_READ_NUMBER(map[i].size, 0, G_MAXINT64, "size of a sparse file's data", &number,
                                error))
            return FALSE;
        extent.size = (guint64)number;
        g_array_append_val(extents, extent);
    }
    return TRUE;
}

gboolean
cx_tar_sparse_read_gnu(CxTarWindow *window,
                       const CxTarHeader *header,
                       const CxLayerLimits *limits,
                       CxTarContent *content,
                       GArray *extents,
                       GError **error)
{
    const GnuSparseHeader *sparse = (const GnuSparseHeader *)header;
    gboolean more = sparse->is_extended != 0;
    guint64 map_size = 0;
    gint64 real_size;

    if (!cx_tar_is_gnu(header))
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "sparse file of an unknown format");
    if (!CX_TAR_READ_NUMBER(sparse->real_size, 0, G_MAXINT64, "size", &real_size, error) ||
        !append_gnu_map(extents, sparse->map, G_N_ELEMENTS(sparse->map), error))
        return FALSE;

    while (more) {
        const GnuSparseBlock *block =
            cx_tar_window_peek(window, content->data, CX_TAR_BLOCK, error);

        map_size += CX_TAR_BLOCK;
        if (block == NULL)
            return FALSE;
        if (map_size > limits->pax_max)
            return throw_map_limit(limits, error);
        if (!append_gnu_map(extents, block->map, G_N_ELEMENTS(block->map), error))
            return FALSE;
        more = block->is_extended != 0;
        content->data += CX_TAR_BLOCK;
    }
    content->real_size = (guint64)real_size;
    return TRUE;
}

/* The map of format 1.0 as it is read. */
typedef struct {
    CxTarWindow *window;         /* borrowed */
    const CxLayerLimits *limits; /* borrowed */
    const CxTarContent *content; /* borrowed */
    GString *text;               /* (owned) whole blocks */
    gsize position;
} Map;

/* Takes a line with a number off the map, reading more of it as needed. */
static gboolean
next_number(Map *self, guint64 *out_number, GError **error)
{
    GString *text = self->text;
    const char *start, *newline;

    while ((newline = memchr(text->str + self->position, '\n', text->len - self->position)) ==
           NULL) {
        if (text->len - self->position > CX_TAR_BLOCK ||
            text->len + CX_TAR_BLOCK > self->content->size)
            return cx_throw(error, CX_ERROR_INVALID, "sparse map does not end");
        if (text->len + CX_TAR_BLOCK > self->limits->pax_max)
            return throw_map_limit(self->limits, error);
        if (!cx_tar_window_append(self->window, self->content->data + text->len, CX_TAR_BLOCK, text,
                                  error))
            return FALSE;
    }
    start = text->str + self->position;
    if (!cx_pax_parse_decimal(start, (gsize)(newline - start), G_MAXINT64, out_number))
        return cx_throw(error, CX_ERROR_INVALID, "sparse map is not made of numbers");

    self->position += (gsize)(newline - start) + 1;
    return TRUE;
}

static gboolean
read_map(Map *self, GArray *extents, GError **error)
{
    guint64 n = 0;

    if (!next_number(self, &n, error))
        return FALSE;

    for (guint64 i = 0; i < n; i++) {
        CxExtent extent = {0};

        if (!next_number(self, &extent.offset, error) || !next_number(self, &extent.size, error))
            return FALSE;
        g_array_append_val(extents, extent);
    }
    return TRUE;
}

/* Format 1.0: the content starts with the map as text, filled up to a block. */
static gboolean
cut_map(CxTarWindow *window,
        const CxLayerLimits *limits,
        CxTarContent *content,
        GArray *extents,
        GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Map map = {.window = window, .limits = limits, .content = content, .text = text};

    if (!read_map(&map, extents, error))
        return FALSE;

    content->data += text->len;
    content->size -= text->len;
    return TRUE;
}

gboolean
cx_tar_sparse_read_pax(CxTarWindow *window,
                       const CxPax *pax,
                       const CxLayerLimits *limits,
                       CxTarContent *content,
                       GArray *extents,
                       GError **error)
{
    if ((pax->fields & CX_PAX_SPARSE_SIZE) == 0)
        return cx_throw(error, CX_ERROR_INVALID, "sparse file without its size");

    content->real_size = pax->sparse_size;
    if ((pax->fields & CX_PAX_SPARSE_1_0) != 0)
        return cut_map(window, limits, content, extents, error);

    g_array_append_vals(extents, pax->extents->data, pax->extents->len);
    return TRUE;
}

gboolean
cx_tar_sparse_place(GArray *extents, const CxTarContent *content, GError **error)
{
    guint64 reached = 0, stored = 0, real_size = content->real_size;
    guint kept = 0;

    for (guint i = 0; i < extents->len; i++) {
        CxExtent extent = g_array_index(extents, CxExtent, i);

        if (extent.offset < reached || extent.offset > real_size ||
            extent.size > real_size - extent.offset)
            return cx_throw(error, CX_ERROR_INVALID,
                            "sparse map is out of order or leaves the file");
        if (extent.size > content->size - stored)
            return cx_throw(error, CX_ERROR_INVALID,
                            "sparse map holds more than the archive stores");
        if (extent.size == 0)
            continue;
        extent.data_offset = content->data + stored;
        reached = extent.offset + extent.size;
        stored += extent.size;
        g_array_index(extents, CxExtent, kept++) = extent;
    }
    if (stored != content->size)
        return cx_throw(error, CX_ERROR_INVALID, "sparse map holds less than the archive stores");

    g_array_set_size(extents, kept);
    return TRUE;
}
