/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/erofs-format.h"

G_BEGIN_DECLS

/* Whether an index is what was written.  It is not forced to disk when it is made, for a build
 * would wait for that, so after a power failure any block of it may be missing.  The superblock
 * says under which boot it was written; a reader of another boot checks the sum.
 *
 * The sum of the CRC-32C of all blocks, each seeded with its number, so they may come in any order.
 */
guint64 cx_erofs_sum_blocks(guint64 offset, const void *blocks, gsize size);
guint64 cx_erofs_sum_super(const CxErofsSuper *super, const CxErofsDevice *device);

/* A number that tells this boot from others; 0 if it cannot be told. */
guint64 cx_erofs_get_boot(void);

G_END_DECLS
