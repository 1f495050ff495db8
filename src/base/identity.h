/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* Who asked: the user at the other end of a socket, with all their groups (spec/daemon.md §7).
 * Immutable, shared. */
typedef struct CxIdentity CxIdentity;

CxIdentity *cx_identity_of_peer(int socket_fd, GError **error); /* SO_PEERCRED and SO_PEERGROUPS */
CxIdentity *cx_identity_of_self(void);
CxIdentity *cx_identity_ref(CxIdentity *self);
void cx_identity_unref(CxIdentity *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxIdentity, cx_identity_unref)

uid_t cx_identity_get_uid(const CxIdentity *self);
gid_t cx_identity_get_gid(const CxIdentity *self);
/* A stable text of uid and groups, for keys: what one user may read another may not.  Borrowed. */
const char *cx_identity_peek_key(const CxIdentity *self);

/* While it lives, files are opened by this thread (this thread only) with the rights of self:
 *     g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
 *     if (!cx_acting_as_begin(&as, identity, error)) return FALSE;
 * Nothing of ours (store, sockets) may be opened meanwhile.  Not nested. */
typedef struct {
    gboolean active;
} CxActingAs;

#define CX_ACTING_AS_INIT                                                                          \
    {                                                                                              \
        .active = FALSE                                                                            \
    }

gboolean cx_acting_as_begin(CxActingAs *self, const CxIdentity *identity, GError **error);
void cx_acting_as_end(CxActingAs *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxActingAs, cx_acting_as_end)

G_END_DECLS
