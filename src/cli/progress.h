/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/json.h"

G_BEGIN_DECLS

/* Shows a build's events on stderr (json: on stdout).  plain: a line for each thing that happens,
 * in order.  tty: the same lines, with one line for each running step kept below them.  json: every
 * event as it came, one a line. */
typedef struct CxProgress CxProgress;

/* mode: "auto", "plain", "tty", "json"; NULL with CX_CLI_USAGE for others. */
CxProgress *cx_progress_new(const char *mode, GError **error);
void cx_progress_free(CxProgress *self); /* takes the running lines away */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxProgress, cx_progress_free)

void cx_progress_event(CxProgress *self, const json_t *payload);
gboolean cx_progress_is_json(const CxProgress *self);

G_END_DECLS
