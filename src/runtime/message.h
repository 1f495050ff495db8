/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a runtime said last (spec/oci-runtime.md §6): the newest error of its log, be it JSON,
 * logrus text or a plain line; one line, control characters escaped, 1 KiB at most.  Only the end
 * of a long log is read. */
#define CX_RUNTIME_MESSAGE_MAX 1024

/* NULL when nothing was said.  chatter: beginnings to leave out, ended by NULL, or NULL.  (transfer
 * full) */
char *cx_runtime_message_from_log(int fd, const char *const *chatter);
char *cx_runtime_message_from_text(const char *text, gsize size, const char *const *chatter);

G_END_DECLS
