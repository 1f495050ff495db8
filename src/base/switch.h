/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Switches of the environment, read once (docs/environment.md). */

/* CX_DISABLE=openat2,erofs turns a fast path off so that its fallback is used (and tested). */
gboolean cx_switch_is_disabled(const char *fast_path);

/* CX_FAIL=content-commit:2,snapshot-commit:die makes a failpoint act: at its Nth pass (1 if no
 * number is given) it raises CX_ERROR_INTERNAL, or with "die" kills the process with SIGKILL
 * ("die3": at the third pass). Returns FALSE with error set when the failpoint fires. */
gboolean cx_failpoint(const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
