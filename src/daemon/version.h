/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* "(local)" unless version, stage and commit were all given to the build; else "<version>[+<stage>]
 * <commit> [<arch>]", the stage left out when it is "main" (spec/daemon.md §1).  (transfer full) */
char *cx_version_string(void);

/* The rule itself: version may begin with "v".  (transfer full) */
char *cx_version_format(const char *version,
                        const char *stage,
                        const char *commit,
                        const char *arch);

G_END_DECLS
