/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Removes trees while nobody waits: removing four folders costs a file system more than all else a
 * step needs.  A tree leaves its place at once, into tmp_fd, which the store empties at start; its
 * bytes go a little later. */
typedef struct CxReaper CxReaper;

CxReaper *cx_reaper_new(int tmp_fd); /* borrowed */
/* Waits until all is removed. */
void cx_reaper_free(CxReaper *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxReaper, cx_reaper_free)

/* Waits until all that was taken so far is removed. */
void cx_reaper_drain(CxReaper *self);

/* What is missing is no error.  Any thread may call. */
gboolean cx_reaper_take(CxReaper *self, int dir_fd, const char *name, GError **error);

G_END_DECLS
