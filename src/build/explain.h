/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "build/operation.h"

G_BEGIN_DECLS

/* Says why a step cannot come from the cache: compares what goes into its key with what went into
 * it the last time this step of this resource ran.  One line ("command changed (it was …)", "an
 * earlier step changed").  (transfer full) */
char *cx_explain_job(const CxJob *job);

/* Notes what went into the key of a step that ran, for the next time. */
void cx_explain_note(const CxJob *job);

/* Says which files of a copy that was done anew differ from those of the last time, and notes this
 * layer for the next.  NULL: nothing to say, or nobody asked.  (transfer full) */
char *cx_explain_copy(const CxJob *job, const CxDigest *diff_id);

G_END_DECLS
