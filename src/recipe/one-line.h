/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Foreign text made fit for one line on a terminal or in a log: no control characters, no invisible
 * formatting such as bidirectional overrides, valid UTF-8, a bounded length. */
#define CX_QUOTE_MAX 200

/* Runs of white space become one space, the ends are trimmed, control characters are escaped;
 * longer than max characters: cut, and the last one is "…".  (transfer full) */
char *cx_one_line(const char *text, gsize max);

/* The text in double quotes; quotes, backslashes, line ends and control characters escaped; cut
 * after CX_QUOTE_MAX characters.  (transfer full) */
char *cx_quote(const char *text);

G_END_DECLS
