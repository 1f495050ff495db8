/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "build/operation.h"

G_BEGIN_DECLS

/* Says why a step cannot come from the cache: compares what goes into its key with what went into
 * it the last time this step of this resource was built, and notes the new for the next time.  One
 * line ("the command changed: …", "an earlier step changed"), or NULL when nothing differs (then
 * the result was removed from the store, or a copied file changed).  (transfer full) */
char *cx_explain_job(const CxJob *job, const char *resource);

G_END_DECLS
