/* SPDX-License-Identifier: Apache-2.0 */
#include "base/identity.h"

#include <errno.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

struct CxIdentity {
    gatomicrefcount refs;
    uid_t uid;
    gid_t gid;
    GArray *groups; /* (owned) of gid_t */
    char *key;      /* (owned) */
};

static CxIdentity *
identity_new(uid_t uid, gid_t gid, GArray *take_groups)
{
    CxIdentity *self = g_new0(CxIdentity, 1);
    g_autoptr(GString) key = g_string_new(NULL);

    g_atomic_ref_count_init(&self->refs);
    self->uid = uid;
    self->gid = gid;
    self->groups = take_groups;
    g_string_append_printf(key, "%u:%u", uid, gid);
    for (guint i = 0; i < take_groups->len; i++)
        g_string_append_printf(key, ",%u", g_array_index(take_groups, gid_t, i));
    self->key = g_string_free(g_steal_pointer(&key), FALSE);
    return self;
}

CxIdentity *
cx_identity_of_peer(int socket_fd, GError **error)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    g_autoptr(GArray) groups = g_array_new(FALSE, TRUE, sizeof(gid_t));
    socklen_t bytes = 0;

    if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return cx_throw_errno_null(error, "peer credentials");
    if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) < 0 && errno == ERANGE) {
        g_array_set_size(groups, bytes / sizeof(gid_t));
        if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, groups->data, &bytes) < 0)
            return cx_throw_errno_null(error, "peer groups");
    }
    return identity_new(peer.uid, peer.gid, g_steal_pointer(&groups));
}

CxIdentity *
cx_identity_of_self(void)
{
    GArray *groups = g_array_new(FALSE, TRUE, sizeof(gid_t));
    int n = getgroups(0, NULL);

    if (n > 0) {
        g_array_set_size(groups, (guint)n);
        n = getgroups(n, (gid_t *)(void *)groups->data);
        g_array_set_size(groups, (guint)MAX(n, 0));
    }
    return identity_new(geteuid(), getegid(), groups);
}

CxIdentity *
cx_identity_ref(CxIdentity *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
cx_identity_unref(CxIdentity *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
        return;

    g_array_unref(self->groups);
    g_free(self->key);
    g_free(self);
}

uid_t
cx_identity_get_uid(const CxIdentity *self)
{
    return self->uid;
}

gid_t
cx_identity_get_gid(const CxIdentity *self)
{
    return self->gid;
}

const char *
cx_identity_peek_key(const CxIdentity *self)
{
    return self->key;
}

/* The raw system calls change this thread alone; glibc's wrappers would change the whole process.
 * Leaving fsuid 0 also takes the file capabilities (DAC_OVERRIDE and its kin) out of the thread's
 * effective set, and coming back restores them: capabilities(7), "Effect of user ID changes". */
static gboolean
set_file_rights(uid_t uid, gid_t gid, const gid_t *groups, gsize n_groups)
{
    if (syscall(SYS_setgroups, n_groups, groups) < 0)
        return FALSE;

    (void)syscall(SYS_setfsgid, gid);
    (void)syscall(SYS_setfsuid, uid);
    if (syscall(SYS_setfsuid, (uid_t)-1) != (long)uid ||
        syscall(SYS_setfsgid, (gid_t)-1) != (long)gid) {
        errno = EPERM;
        return FALSE;
    }
    return TRUE;
}

gboolean
cx_acting_as_begin(CxActingAs *self, const CxIdentity *identity, GError **error)
{
    g_assert(!self->active);

    if (identity->uid == geteuid())
        return TRUE;

    self->active = TRUE;
    if (!set_file_rights(identity->uid, identity->gid,
                         (const gid_t *)(void *)identity->groups->data, identity->groups->len))
        return cx_throw_errno(error, "cannot take the rights of user %u", identity->uid);

    return TRUE;
}

void
cx_acting_as_end(CxActingAs *self)
{
    if (!self->active)
        return;

    /* A thread that cannot have its own rights back must not go on. */
    g_assert(set_file_rights(geteuid(), getegid(), NULL, 0));
    self->active = FALSE;
}
