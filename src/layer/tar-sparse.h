/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"
#include "layer/tar-format.h"
#include "layer/tar-pax.h"
#include "layer/tar-window.h"

G_BEGIN_DECLS

/* The ways of GNU tar to store files with holes (GNU tar manual, "Storing Sparse Files"): the old
 * header with a map in it, and the pax formats 0.0, 0.1 and 1.0. */

/* Where the stored bytes of a file lie. */
typedef struct {
    guint64 data; /* offset in the archive */
    guint64 size;
    guint64 real_size; /* with the holes */
} CxTarContent;

/* Old GNU.  content->data is what follows the header on input, and what follows the map's further
 * blocks on output. */
gboolean cx_tar_sparse_read_gnu(CxTarWindow *window,
                                const CxTarHeader *header,
                                const CxLayerLimits *limits,
                                CxTarContent *content,
                                GArray *extents,
                                GError **error);

/* pax.  In format 1.0 the map is cut off from the content. */
gboolean cx_tar_sparse_read_pax(CxTarWindow *window,
                                const CxPax *pax,
                                const CxLayerLimits *limits,
                                CxTarContent *content,
                                GArray *extents,
                                GError **error);

/* Drops empty extents (a map ends with one at the file's end), checks order and sums, and says
 * where each lies. */
gboolean cx_tar_sparse_place(GArray *extents, const CxTarContent *content, GError **error);

G_END_DECLS
