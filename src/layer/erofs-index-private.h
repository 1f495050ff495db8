/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/erofs-index.h"

G_BEGIN_DECLS

/* Opens an index without asking whether it is whole: every access is checked all the same, and
 * fuzzing is about those. */
CxErofsIndex *cx_erofs_index_open_unchecked(int fd, GError **error);

G_END_DECLS
