/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* An image's user text ("", "1000", "1000:1001", "nginx", "nginx:www") looked up in the image's own
 * /etc/passwd and /etc/group: opened in-root, never through links that leave it, 1 MiB at most
 * (CX_ERROR_LIMIT), numbers strictly 0..4294967294 in decimal. spec/oci-runtime.md §11, table "user
 * text".  Unknown name: CX_ERROR_NOT_FOUND. */
typedef struct {
    guint32 uid;
    guint32 gid;
    GArray *additional_gids; /* (owned) of guint32, sorted; groups that list the user, when no group
                                was named */
    char *home;              /* (owned) from passwd, else "/" */
} CxUser;

void cx_user_clear(CxUser *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxUser, cx_user_clear)

gboolean cx_user_lookup(int root_fd, const char *text, CxUser *out_user, GError **error);

G_END_DECLS
