/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Removes trees while nobody waits.  A tree leaves its place at once, into tmp_fd, which the store
 * empties at start; its bytes go when for a while no other came, since a file system that has just
 * removed folders is slow to make new ones (ext4 looks for inodes not freed lately), and the next
 * step makes some. */
typedef struct CxReaper CxReaper;

CxReaper *cx_reaper_new(int tmp_fd); /* borrowed */
/* Returns when all is removed. */
void cx_reaper_free(CxReaper *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxReaper, cx_reaper_free)

/* Removes what waits, now, and returns when it is gone. */
void cx_reaper_drain(CxReaper *self);

/* What is missing is no error.  Any thread may call. */
gboolean cx_reaper_take(CxReaper *self, int dir_fd, const char *name, GError **error);

G_END_DECLS
