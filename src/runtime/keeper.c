/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "runtime/cgroup.h"
#include "runtime/keeper-private.h"

#define DELETE_DEADLINE_MS 10000

struct CxKeeper {
    gint refs; /* atomic: the owner, the reader, every step */
    CxRuntime *runtime;
    pid_t pid;
    int socket_fd;
    GThread *reader;

    GMutex lock;           /* guards what follows, and the fields of every step that say so */
    GHashTable *by_serial; /* (serial) -> (borrowed CxStepProcess) */
    guint32 last_serial;
};

struct CxStepProcess {
    CxKeeper *keeper; /* (owned) */
    guint32 serial;
    char *id;     /* (owned) */
    int ended_fd; /* (owned) eventfd */

    GCond changed;          /* with the keeper's lock, which guards what follows */
    gboolean ended;         /* exit or failure is known */
    gboolean settled;       /* nothing of it is left */
    CxExit exit;            /* if ended without failure */
    GError *failure;        /* (owned) */
    GError *settle_failure; /* (owned) */
};

static void
keeper_unref(CxKeeper *self)
{
    if (!g_atomic_int_dec_and_test(&self->refs))
        return;

    cx_clear_fd(&self->socket_fd);
    cx_runtime_unref(self->runtime);
    g_hash_table_unref(self->by_serial);
    g_mutex_clear(&self->lock);
    g_free(self);
}

/* ---- events from the keeper; all with the lock held ------------------------------------------ */

static void
mark_ended(CxStepProcess *step)
{
    step->ended = TRUE;
    (void)eventfd_write(step->ended_fd, 1);
    g_cond_broadcast(&step->changed);
}

static void
mark_settled(CxStepProcess *step)
{
    step->settled = TRUE;
    g_cond_broadcast(&step->changed);
}

static void
handle_event(CxStepProcess *step, const CxKeeperEvent *event)
{
    switch ((CxKeeperEventType)event->type) {
    case CX_KEEPER_ENDED:
        step->exit =
            (CxExit){.code = event->code, .signal = event->signal, .core = event->core != 0};
        mark_ended(step);
        break;
    case CX_KEEPER_FAILED:
        step->failure = g_error_new_literal(CX_ERROR, (gint)event->error, event->text);
        mark_ended(step);
        mark_settled(step);
        break;
    case CX_KEEPER_SETTLED:
        if (event->text[0] != '\0')
            step->settle_failure = g_error_new_literal(CX_ERROR, CX_ERROR_INTERNAL, event->text);
        mark_settled(step);
        break;
    }
}

/* ---- the keeper died ------------------------------------------------------------------------- */

static gboolean
is_in_our_pid_namespace(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/pid", (int)pid);
    struct stat ours, theirs;

    return stat(path, &theirs) < 0 || stat("/proc/self/ns/pid", &ours) < 0 ||
           ours.st_ino == theirs.st_ino;
}

static GArray *
list_children(void)
{
    GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
    const char *task;

    while (tasks != NULL && (task = g_dir_read_name(tasks)) != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/self/task/%s/children", task), *list = NULL;
        char *next;

        if (!g_file_get_contents(path, &list, NULL, NULL))
            continue;
        for (long number = strtol(list, &next, 10); number > 0; number = strtol(next, &next, 10)) {
            pid_t pid = (pid_t)number;

            g_array_append_val(pids, pid);
        }
    }
    return pids;
}

/* The containers' inits are our children now.  We start nothing else in a pid namespace of its own,
 * so that tells them. */
static void
kill_inherited(void)
{
    g_autoptr(GArray) pids = list_children();

    for (guint i = 0; i < pids->len; i++) {
        pid_t pid = g_array_index(pids, pid_t, i);

        if (is_in_our_pid_namespace(pid))
            continue;
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

static void
mourn(CxKeeper *self)
{
    GHashTableIter iter;
    gpointer value;

    kill_inherited();
    (void)cx_runtime_sweep(self->runtime, DELETE_DEADLINE_MS, NULL);

    g_mutex_lock(&self->lock);
    g_hash_table_iter_init(&iter, self->by_serial);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        CxStepProcess *step = value;

        if (!step->ended) {
            step->failure = g_error_new(CX_ERROR, CX_ERROR_UNAVAILABLE,
                                        "the container keeper died (restart the daemon)");
            mark_ended(step);
        }
        mark_settled(step);
    }
    g_mutex_unlock(&self->lock);
}

/* ---- the reader ------------------------------------------------------------------------------ */

static gpointer
read_events(gpointer data)
{
    CxKeeper *self = data;
    CxKeeperEvent event;
    ssize_t n;

    while ((n = recv(self->socket_fd, &event, sizeof event, 0)) != 0) {
        CxStepProcess *step;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        g_mutex_lock(&self->lock);
        step = g_hash_table_lookup(self->by_serial, GUINT_TO_POINTER(event.serial));
        if (step != NULL)
            handle_event(step, &event);
        g_mutex_unlock(&self->lock);
    }

    while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    mourn(self);
    keeper_unref(self);
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static int
open_lock(CxRuntime *runtime, GError **error)
{
    g_autofree char *path =
        g_build_filename(cx_runtime_get_state_root(runtime), "keeper.lock", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : cx_throw_errno_fd(error, "\"%s\"", path);
}

CxKeeper *
cx_keeper_start(CxRuntime *runtime, GError **error)
{
    cx_autofd int lock_fd = open_lock(runtime, error), ours = -1, theirs = -1;
    CxKeeper *self;
    int pair[2];
    pid_t pid;

    if (lock_fd < 0)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return cx_throw_errno_null(error, "keeper's socket");
    ours = pair[0];
    theirs = pair[1];

    /* Should the keeper die, the containers become our children and do not go astray. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid = fork();
    if (pid < 0)
        return cx_throw_errno_null(error, "fork of the keeper");
    if (pid == 0) {
        cx_keeper_loop(runtime, theirs, lock_fd);
        _exit(0);
    }

    self = g_new0(CxKeeper, 1);
    self->refs = 2;
    self->runtime = cx_runtime_ref(runtime);
    self->pid = pid;
    self->socket_fd = cx_steal_fd(&ours);
    self->by_serial = g_hash_table_new(NULL, NULL);
    g_mutex_init(&self->lock);
    self->reader = g_thread_new("keeper-reader", read_events, self);
    return self;
}

void
cx_keeper_stop(CxKeeper *self)
{
    if (self == NULL)
        return;

    /* It sees the end of our half, clears up, tells how every step ended, and ends: then so does
     * the reader. */
    (void)shutdown(self->socket_fd, SHUT_WR);
    (void)g_thread_join(self->reader);
    keeper_unref(self);
}

pid_t
cx_keeper_get_pid(const CxKeeper *self)
{
    return self->pid;
}

/* ---- requests -------------------------------------------------------------------------------- */

static gboolean
send_request(
    CxKeeper *self, const CxKeeperRequest *request, const int *fds, guint n_fds, GError **error)
{
    union {
        char space[CMSG_SPACE(sizeof(int) * CX_KEEPER_FDS_MAX)];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {.iov_base = (gpointer)request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *header = &control.align;

        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }
    while (sendmsg(self->socket_fd, &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return cx_throw(error, CX_ERROR_UNAVAILABLE,
                            "the container keeper died (restart the daemon)");

    return TRUE;
}

gboolean
cx_keeper_enter(CxKeeper *self, CxCgroups *cgroups, GError **error)
{
    static const CxLimits no_limits = {0};
    CxKeeperRequest request = {.type = CX_KEEPER_ENTER};
    g_autoptr(CxCgroup) base = cx_cgroups_make(cgroups, "keeper", &no_limits, error);
    const int *fds;
    guint n_fds;

    if (base == NULL)
        return FALSE;

    fds = cx_cgroup_get_join_fds(base, &n_fds);
    return send_request(self, &request, fds, n_fds, error);
}

static gboolean
check_launch(const CxCreate *create, GError **error)
{
    if (!cx_container_id_check(create->id, error))
        return FALSE;
    if (strlen(create->bundle) >= sizeof((CxKeeperRequest *)0)->bundle)
        return cx_throw(error, CX_ERROR_LIMIT, "bundle path longer than %d bytes", PATH_MAX - 1);
    if (create->console_socket != NULL &&
        strlen(create->console_socket) >= sizeof((CxKeeperRequest *)0)->console_socket)
        return cx_throw(error, CX_ERROR_LIMIT, "console socket path longer than 107 bytes");
    if (create->n_join_fds + 3 > CX_KEEPER_FDS_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %d cgroups to join",
                        CX_KEEPER_FDS_MAX - 3);
    if (create->preserve_fds > 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "the keeper passes no descriptors but stdio");

    return TRUE;
}

static CxStepProcess *
step_new(CxKeeper *keeper, const char *id, GError **error)
{
    int ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CxStepProcess *self;

    if (ended_fd < 0)
        return cx_throw_errno_null(error, "eventfd");

    self = g_new0(CxStepProcess, 1);
    g_atomic_int_inc(&keeper->refs);
    self->keeper = keeper;
    self->id = g_strdup(id);
    self->ended_fd = ended_fd;
    g_cond_init(&self->changed);
    g_mutex_lock(&keeper->lock);
    self->serial = ++keeper->last_serial;
    g_hash_table_insert(keeper->by_serial, GUINT_TO_POINTER(self->serial), self);
    g_mutex_unlock(&keeper->lock);
    return self;
}

CxStepProcess *
cx_keeper_launch(CxKeeper *self, const CxCreate *create, GError **error)
{
    CxKeeperRequest request = {.type = CX_KEEPER_LAUNCH, .flags = create->flags};
    int fds[CX_KEEPER_FDS_MAX];
    CxStepProcess *step;
    guint n_fds = 0;

    if (!check_launch(create, error))
        return NULL;

    g_strlcpy(request.id, create->id, sizeof request.id);
    g_strlcpy(request.bundle, create->bundle, sizeof request.bundle);
    if (create->console_socket != NULL)
        g_strlcpy(request.console_socket, create->console_socket, sizeof request.console_socket);
    for (guint i = 0; i < 3; i++)
        if (create->stdio[i] >= 0) {
            request.stdio_mask |= 1U << i;
            fds[n_fds++] = create->stdio[i];
        }
    for (guint i = 0; i < create->n_join_fds; i++)
        fds[n_fds++] = create->join_fds[i];

    step = step_new(self, create->id, error);
    if (step == NULL)
        return NULL;

    request.serial = step->serial;
    if (!send_request(self, &request, fds, n_fds, error)) {
        step->ended = step->settled = TRUE;
        cx_step_process_free(step);
        return NULL;
    }
    return step;
}

int
cx_step_process_get_fd(const CxStepProcess *self)
{
    return self->ended_fd;
}

void
cx_step_process_kill(CxStepProcess *self)
{
    CxKeeperRequest request = {.type = CX_KEEPER_KILL, .serial = self->serial};

    (void)send_request(self->keeper, &request, NULL, 0, NULL);
}

gboolean
cx_step_process_wait(CxStepProcess *self, CxExit *out_exit, GError **error)
{
    g_mutex_lock(&self->keeper->lock);
    while (!self->ended)
        g_cond_wait(&self->changed, &self->keeper->lock);
    g_mutex_unlock(&self->keeper->lock);

    if (self->failure != NULL) {
        g_propagate_error(error, g_error_copy(self->failure));
        return FALSE;
    }
    *out_exit = self->exit;
    return TRUE;
}

gboolean
cx_step_process_settle(CxStepProcess *self, GError **error)
{
    g_mutex_lock(&self->keeper->lock);
    while (!self->settled)
        g_cond_wait(&self->changed, &self->keeper->lock);
    g_mutex_unlock(&self->keeper->lock);

    if (self->settle_failure != NULL) {
        g_propagate_error(error, g_error_copy(self->settle_failure));
        return FALSE;
    }
    return TRUE;
}

void
cx_step_process_free(CxStepProcess *self)
{
    if (self == NULL)
        return;

    g_mutex_lock(&self->keeper->lock);
    if (!self->ended) {
        g_mutex_unlock(&self->keeper->lock);
        cx_step_process_kill(self);
        g_mutex_lock(&self->keeper->lock);
    }
    while (!self->settled)
        g_cond_wait(&self->changed, &self->keeper->lock);
    g_hash_table_remove(self->keeper->by_serial, GUINT_TO_POINTER(self->serial));
    g_mutex_unlock(&self->keeper->lock);

    cx_clear_fd(&self->ended_fd);
    g_cond_clear(&self->changed);
    g_clear_error(&self->failure);
    g_clear_error(&self->settle_failure);
    g_free(self->id);
    keeper_unref(self->keeper);
    g_free(self);
}
