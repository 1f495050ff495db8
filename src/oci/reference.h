/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Names of images as people write them: [domain "/"] path [":" tag]. */

/* The tag: what follows the last ":" after the last "/".  Borrowed from text; NULL for none. */
const char *cx_reference_peek_tag(const char *text);

/* Whether text is a name with a tag that other engines accept as it is (distribution's reference
 * grammar): lower-case path of 255 bytes at most, tag of 128. */
gboolean cx_reference_is_tagged(const char *text);

G_END_DECLS
