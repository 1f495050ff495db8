/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What the kernel's binfmt_misc runs for us: programs of another architecture by way of an emulator
 * (kernel docs, admin-guide/binfmt-misc.rst).  Entries go by many names (qemu-aarch64, rosetta,
 * FEX), so they are judged by what they match: the first bytes of a program of that architecture.
 *
 * folder is the mounted binfmt_misc, relative to dir_fd.  TRUE: *out_reason is the name of the
 * entry; FALSE: why there is none and what to do.  An entry without the flag F is no good: its
 * emulator is looked up inside the image. */
gboolean cx_binfmt_find(int dir_fd, const char *folder, const char *arch, char **out_reason);

G_END_DECLS
