/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/erofs-index.h"

G_BEGIN_DECLS

/* One layer to compare: its index and its tar, both borrowed. */
typedef struct {
    CxErofsIndex *index;
    int tar_fd;
} CxComparedLayer;

/* What differs between two layers, for people: "src/main.c: content", "bin/x: mode 0644 -> 0755",
 * "new.c: new", "old.c: gone"; at most `max` lines, found in the order of sorted names.  Times are
 * not compared.  Contents of files of equal size are read.  NULL on damage or a fault of reading.
 */
GStrv cx_layer_compare(const CxComparedLayer *before,
                       const CxComparedLayer *now,
                       guint max,
                       GError **error);

G_END_DECLS
