/* SPDX-License-Identifier: Apache-2.0 */

/* The keeper's own process.
 *
 * Problem: exit statuses come only to a parent, a parent that dies must not leave containers
 * behind, and a build wants to pay for nothing but the start of the runtime.
 *
 * Idea: one single-threaded loop over pidfds and one socket.  It never waits for one process, so
 * many runtimes can be at work at once.  Each step goes through these phases:
 *
 *     LAUNCHING ──► (STARTING) ──► RUNNING ──► DELETING ──► gone
 *         └──────────────┴────────────┴────► UNDOING ─────► gone
 *
 * Invariants: a step has a runtime process in every phase but RUNNING; it has an init (a child of
 * ours, not yet reaped) from the end of LAUNCHING until it is reaped; whatever else becomes our
 * child is a stray and is reaped, or killed if it may be the rest of a launch that was broken off.
 * The deadline makes every phase but RUNNING end.
 *
 * Dropped: asking the runtime for states (the pidfd knows), one shim per step (a fork and a
 * handshake each). */
#define CX_LOG_ROOM "keeper"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "runtime/keeper-private.h"

#define CALL_DEADLINE_MS 60000
#define CANCEL_DEADLINE_MS 1000 /* a launch that was cancelled may still end by itself */
#define TERM_GRACE_MS 1000
#define STRAY_WAIT_MS 1000
#define HELPER_WAIT_MS 1000
#define SWEEP_DEADLINE_MS 10000
#define CLOSING_S 20 /* after this SIGALRM ends us, whatever is stuck */

typedef enum { LAUNCHING, STARTING, RUNNING, DELETING, UNDOING, GONE } Phase;

static const char *const phase_names[] = {"launching", "starting", "running",
                                          "deleting",  "undoing",  "gone"};
G_STATIC_ASSERT(G_N_ELEMENTS(phase_names) == GONE + 1);

typedef struct {
    guint32 serial;
    Phase phase;
    CxKeeperRequest request;
    CxCreate create; /* its texts are in request */

    CxRuntimeCall call;
    pid_t runtime_pid; /* 0: none */
    int runtime_pidfd;
    gint64 deadline; /* of the runtime process; monotonic time */
    guint warnings;  /* 0: none yet, 1: TERM was sent, 2: KILL was sent */

    pid_t init_pid; /* 0: none, or reaped */
    int init_pidfd;

    gboolean cancelled;
    GError *failure; /* (owned) why it did not run */
    char *leftover;  /* (owned) why it could not be deleted */
} Step;

typedef struct {
    CxRuntime *runtime;
    int socket_fd; /* -1: the daemon is gone, or wants us to end */
    int signal_fd;
    GPtrArray *steps;    /* (owned) of (owned) Step */
    GArray *entered;     /* of struct stat: the cgroup.procs files of the groups we are in */
    gboolean has_strays; /* a launch was broken off: an unknown child may be what is left of it */
} Keeper;

static void
step_free(gpointer data)
{
    Step *self = data;

    cx_clear_fd(&self->runtime_pidfd);
    cx_clear_fd(&self->init_pidfd);
    g_clear_error(&self->failure);
    g_free(self->leftover);
    g_free(self);
}

static void
change_phase(Step *self, Phase phase)
{
    cx_debug("%s: %s -> %s", self->request.id, phase_names[self->phase], phase_names[phase]);
    self->phase = phase;
}

static gint64
in_ms(gint64 ms)
{
    return g_get_monotonic_time() + ms * 1000;
}

static void
signal_pidfd(int pidfd, int signal)
{
    if (pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void
send_event(Keeper *self, const CxKeeperEvent *event)
{
    while (send(self->socket_fd, event, sizeof *event, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            break; /* nobody is there to be told; end of file will follow */
}

static void
send_ended(Keeper *self, const Step *step, const siginfo_t *info)
{
    gboolean exited = info->si_code == CLD_EXITED;
    CxKeeperEvent event = {
        .type = CX_KEEPER_ENDED,
        .serial = step->serial,
        .code = exited ? info->si_status : -1,
        .signal = exited ? 0 : info->si_status,
        .core = info->si_code == CLD_DUMPED,
    };

    send_event(self, &event);
}

static void
send_settled(Keeper *self, const Step *step)
{
    CxKeeperEvent event = {.type = CX_KEEPER_SETTLED, .serial = step->serial};

    if (step->failure != NULL) {
        event.type = CX_KEEPER_FAILED;
        event.error =
            step->failure->domain == CX_ERROR ? (guint32)step->failure->code : CX_ERROR_INTERNAL;
        g_strlcpy(event.text, step->failure->message, sizeof event.text);
    } else if (step->leftover != NULL) {
        g_strlcpy(event.text, step->leftover, sizeof event.text);
    }
    send_event(self, &event);
}

/* ---- strays ---------------------------------------------------------------------------------- */

/* With a known pid: the step it belongs to. */
static Step *
find_by_pid(Keeper *self, pid_t pid)
{
    for (guint i = 0; i < self->steps->len; i++) {
        Step *step = g_ptr_array_index(self->steps, i);

        if (step->runtime_pid == pid || step->init_pid == pid)
            return step;
    }
    return NULL;
}

static gboolean
is_launching(const Keeper *self)
{
    for (guint i = 0; i < self->steps->len; i++) {
        const Step *step = g_ptr_array_index(self->steps, i);

        if (step->phase == LAUNCHING || step->phase == STARTING)
            return TRUE;
    }
    return FALSE;
}

static gboolean
wait_for_end(pid_t pid, int timeout_ms)
{
    cx_autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};

    return pidfd < 0 || poll(&entry, 1, timeout_ms) > 0;
}

static void
kill_and_reap(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)wait_for_end(pid, STRAY_WAIT_MS);
    (void)waitpid(pid, NULL, WNOHANG);
}

/* Whether a process was forked by the runtime that worked for this container and has not executed a
 * program yet. */
static gboolean
is_marked(pid_t pid, const char *id)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/environ", (int)pid);
    g_autofree char *mark = g_strconcat(CX_RUNTIME_MARK, id, NULL), *env = NULL;
    gsize size = 0;

    if (!g_file_get_contents(path, &env, &size, NULL))
        return FALSE;
    for (gsize i = 0; i < size; i += strlen(env + i) + 1)
        if (strcmp(env + i, mark) == 0)
            return TRUE;

    return FALSE;
}

/* Kills the children we know nothing of: all of them, or those that were made for one container. */
static void
kill_strays(Keeper *self, const char *id)
{
    g_autofree char *list = NULL;
    char *next;

    if (!g_file_get_contents("/proc/thread-self/children", &list, NULL, NULL))
        return;
    for (long pid = strtol(list, &next, 10); pid > 0; pid = strtol(next, &next, 10))
        if (find_by_pid(self, (pid_t)pid) == NULL && (id == NULL || is_marked((pid_t)pid, id)))
            kill_and_reap((pid_t)pid);
}

/* An unknown child of a moment at which no launch is under way cannot be an init whose pid is still
 * to be told to us. */
static void
reap_strays(Keeper *self)
{
    if (is_launching(self))
        return;

    if (self->has_strays)
        kill_strays(self, NULL);
    self->has_strays = FALSE;
    for (;;) {
        siginfo_t info = {0};

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        if (find_by_pid(self, info.si_pid) != NULL)
            return; /* its pidfd is readable too, and its turn comes first */
        (void)waitpid(info.si_pid, NULL, WNOHANG);
    }
}

/* ---- phases ---------------------------------------------------------------------------------- */

static gboolean
begin_call(Keeper *self, Step *step, CxRuntimeCall call, GError **error)
{
    pid_t pid;

    call.id = step->request.id;
    call.flags = (CxRuntimeFlags)step->request.flags;
    call.die_with_parent = TRUE;
    pid = cx_runtime_begin(self->runtime, &call, error);
    if (pid < 0)
        return FALSE;

    step->call = call;
    step->runtime_pid = pid;
    step->runtime_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    step->deadline = in_ms(CALL_DEADLINE_MS);
    step->warnings = 0;
    return TRUE;
}

static void
settle(Keeper *self, Step *step)
{
    if (step->init_pid > 0)
        kill_and_reap(step->init_pid);
    step->init_pid = 0;
    cx_runtime_forget(self->runtime, step->request.id);
    send_settled(self, step);
    change_phase(step, GONE);
}

/* Whatever the launch has made is deleted by force; takes the error. */
static void
undo(Keeper *self, Step *step, GError *failure)
{
    if (step->failure == NULL)
        step->failure = failure;
    else
        g_clear_error(&failure);

    signal_pidfd(step->init_pidfd, SIGKILL);
    change_phase(step, UNDOING);
    if (!begin_call(self, step, (CxRuntimeCall){.verb = CX_RUNTIME_DELETE, .force = TRUE}, NULL))
        settle(self, step);
}

static void
run(Keeper *self, Step *step)
{
    change_phase(step, RUNNING);
    if (step->cancelled)
        signal_pidfd(step->init_pidfd, SIGKILL);
}

static gboolean
is_child(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static pid_t
find_parent(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *stat = NULL;
    const char *after_name;
    int parent = 0;

    if (!g_file_get_contents(path, &stat, NULL, NULL))
        return 0;

    after_name = strrchr(stat, ')');
    return after_name != NULL && sscanf(after_name, ") %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

/* Once init is a child of ours that nobody has reaped, its pid cannot be reused.  `crun run
 * --detach` leaves a helper between us and init that ends a moment after the process we started;
 * until then it is init's parent. */
static gboolean
adopt_init(Step *step, pid_t pid, GError **error)
{
    while (!is_child(pid)) {
        pid_t helper = find_parent(pid);

        if (helper == getpid())
            continue; /* became our child in between */
        if (helper <= 0 || !is_child(helper) || !wait_for_end(helper, HELPER_WAIT_MS))
            return cx_throw(error, CX_ERROR_INTERNAL,
                            "process %d, which the runtime named, is not the container", (int)pid);
        (void)waitpid(helper, NULL, WNOHANG);
    }
    step->init_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (step->init_pidfd < 0)
        return cx_throw_errno(error, "watch process %d", (int)pid);

    step->init_pid = pid;
    return TRUE;
}

static void
launch_ended(Keeper *self, Step *step, const CxRuntimeAnswer *answer)
{
    GError *error = NULL;

    if (!adopt_init(step, answer->pid, &error))
        undo(self, step, error);
    else if (step->call.verb == CX_RUNTIME_RUN)
        run(self, step);
    else if (begin_call(self, step, (CxRuntimeCall){.verb = CX_RUNTIME_START}, &error))
        change_phase(step, STARTING);
    else
        undo(self, step, error);
}

/* A delete that was refused is tried once more, with force. */
static void
delete_failed(Keeper *self, Step *step, GError *error)
{
    if (step->phase == DELETING) {
        g_error_free(error);
        undo(self, step, NULL);
        return;
    }
    step->leftover = g_strdup(error->message);
    g_error_free(error);
    settle(self, step);
}

static GError *
explain_broken_off(const Keeper *self, const Step *step)
{
    const char *name = cx_runtime_get_name(self->runtime);

    if (step->cancelled)
        return g_error_new(CX_ERROR, CX_ERROR_CANCELLED, "cancelled");

    return g_error_new(CX_ERROR, CX_ERROR_TIMEOUT, "%s did not end within %d s", name,
                       CALL_DEADLINE_MS / 1000);
}

static void
runtime_ended(Keeper *self, Step *step)
{
    gboolean broken_off = step->warnings > 0;
    CxRuntimeAnswer answer = {0};
    GError *error = NULL;
    int status = 0;

    if (waitpid(step->runtime_pid, &status, WNOHANG) != step->runtime_pid)
        return;

    step->runtime_pid = 0;
    cx_clear_fd(&step->runtime_pidfd);
    if (!cx_runtime_judge(self->runtime, &step->call, status, &answer, &error) && broken_off) {
        g_error_free(error);
        error = explain_broken_off(self, step);
    }
    if (error != NULL) {
        kill_strays(self, step->request.id);
        self->has_strays = TRUE;
    }

    if (step->phase == LAUNCHING || step->phase == STARTING) {
        if (error != NULL)
            undo(self, step, error);
        else if (step->phase == LAUNCHING)
            launch_ended(self, step, &answer);
        else
            run(self, step);
    } else if (error != NULL) {
        delete_failed(self, step, error);
    } else {
        settle(self, step);
    }
}

static void
init_ended(Keeper *self, Step *step)
{
    siginfo_t info = {0};

    if (waitid(P_PID, (id_t)step->init_pid, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return;

    step->init_pid = 0;
    cx_clear_fd(&step->init_pidfd);
    send_ended(self, step, &info);
    change_phase(step, DELETING);
    if (cx_runtime_drop_ended(self->runtime, step->request.id, step->create.flags))
        settle(self, step);
    else if (!begin_call(self, step, (CxRuntimeCall){.verb = CX_RUNTIME_DELETE}, NULL))
        undo(self, step, NULL);
}

static void
deadline_passed(Step *step)
{
    signal_pidfd(step->runtime_pidfd, step->warnings == 0 ? SIGTERM : SIGKILL);
    step->warnings++;
    step->deadline = in_ms(TERM_GRACE_MS);
}

static void
cancel(Step *step)
{
    step->cancelled = TRUE;
    if (step->phase == RUNNING)
        signal_pidfd(step->init_pidfd, SIGKILL);
    else if (step->phase == LAUNCHING || step->phase == STARTING)
        step->deadline = MIN(step->deadline, in_ms(CANCEL_DEADLINE_MS));
}

/* ---- requests -------------------------------------------------------------------------------- */

static gboolean
has_entered(const Keeper *self, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return FALSE;
    for (guint i = 0; i < self->entered->len; i++) {
        const struct stat *known = &g_array_index(self->entered, struct stat, i);

        if (known->st_dev == st.st_dev && known->st_ino == st.st_ino)
            return TRUE;
    }
    return FALSE;
}

static void
handle_enter(Keeper *self, const int *fds, guint n_fds)
{
    for (guint i = 0; i < n_fds; i++) {
        struct stat st;

        if (fstat(fds[i], &st) == 0 && write(fds[i], "0", 1) == 1)
            g_array_append_val(self->entered, st);
    }
}

static gboolean
is_in_use(const Keeper *self, const char *id)
{
    for (guint i = 0; i < self->steps->len; i++)
        if (strcmp(((const Step *)g_ptr_array_index(self->steps, i))->request.id, id) == 0)
            return TRUE;

    return FALSE;
}

static Step *
step_new(const CxKeeperRequest *request)
{
    Step *self = g_new0(Step, 1);

    self->serial = request->serial;
    self->request = *request;
    self->runtime_pidfd = self->init_pidfd = -1;
    self->create = (CxCreate){
        .id = self->request.id,
        .bundle = self->request.bundle,
        .flags = (CxRuntimeFlags)request->flags,
        .console_socket = request->console_socket[0] != '\0' ? self->request.console_socket : NULL,
    };
    return self;
}

/* Starts the runtime with the descriptors, which are only lent: kept open here they would keep the
 * container's pipes from ending. */
static gboolean
begin_launch(Keeper *self, Step *step, const int *fds, guint n_fds, GError **error)
{
    int join_fds[CX_KEEPER_FDS_MAX];
    guint next = 0;
    gboolean begun;

    if (is_in_use(self, step->request.id))
        return cx_throw(error, CX_ERROR_EXISTS, "container \"%s\" exists", step->request.id);

    for (guint i = 0; i < 3; i++)
        step->create.stdio[i] =
            (step->request.stdio_mask & (1U << i)) != 0 && next < n_fds ? fds[next++] : -1;
    for (; next < n_fds; next++)
        if (!has_entered(self, fds[next]))
            join_fds[step->create.n_join_fds++] = fds[next];
    step->create.join_fds = join_fds;

    begun = begin_call(
        self, step,
        (CxRuntimeCall){
            .verb = cx_runtime_runs_detached(self->runtime) ? CX_RUNTIME_RUN : CX_RUNTIME_CREATE,
            .create = &step->create,
        },
        error);
    step->create.join_fds = NULL;
    step->create.n_join_fds = 0;
    return begun;
}

static void
handle_launch(Keeper *self, const CxKeeperRequest *request, const int *fds, guint n_fds)
{
    Step *step = step_new(request);

    if (begin_launch(self, step, fds, n_fds, &step->failure)) {
        g_ptr_array_add(self->steps, step);
        return;
    }

    /* Nothing was started, and the state of that id may be somebody else's. */
    send_settled(self, step);
    step_free(step);
}

static void
handle_kill(Keeper *self, guint32 serial)
{
    for (guint i = 0; i < self->steps->len; i++) {
        Step *step = g_ptr_array_index(self->steps, i);

        if (step->serial == serial)
            cancel(step);
    }
}

/* The daemon is gone: everything ends, in bounded time. */
static void
handle_end_of_file(Keeper *self)
{
    (void)alarm(CLOSING_S);
    (void)shutdown(self->socket_fd, SHUT_RD);
    for (guint i = 0; i < self->steps->len; i++)
        cancel(g_ptr_array_index(self->steps, i));
}

/* FALSE at the end of file. */
static gboolean
handle_request(Keeper *self)
{
    CxKeeperRequest request = {0};
    union {
        char space[CMSG_SPACE(sizeof(int) * CX_KEEPER_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    int fds[CX_KEEPER_FDS_MAX];
    guint n_fds = 0;
    ssize_t n = recvmsg(self->socket_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return FALSE;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            n_fds = (guint)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
        }
    if (request.type == CX_KEEPER_ENTER)
        handle_enter(self, fds, n_fds);
    else if (request.type == CX_KEEPER_LAUNCH)
        handle_launch(self, &request, fds, n_fds);
    else
        handle_kill(self, request.serial);

    for (guint i = 0; i < n_fds; i++)
        (void)close(fds[i]);
    return TRUE;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void
drop_gone(Keeper *self)
{
    for (guint i = self->steps->len; i-- > 0;)
        if (((Step *)g_ptr_array_index(self->steps, i))->phase == GONE)
            g_ptr_array_remove_index_fast(self->steps, i);
}

/* Two entries for each step, in the order of steps: the runtime, init. */
static void
fill_poll(const Keeper *self, gboolean open, GArray *polls, gint64 *out_deadline)
{
    struct pollfd entry = {.fd = open ? self->socket_fd : -1, .events = POLLIN};

    *out_deadline = G_MAXINT64;
    g_array_set_size(polls, 0);
    g_array_append_val(polls, entry);
    entry.fd = self->signal_fd;
    g_array_append_val(polls, entry);
    for (guint i = 0; i < self->steps->len; i++) {
        const Step *step = g_ptr_array_index(self->steps, i);

        entry.fd = step->runtime_pidfd;
        g_array_append_val(polls, entry);
        entry.fd = step->phase == RUNNING ? step->init_pidfd : -1;
        g_array_append_val(polls, entry);
        if (step->runtime_pid > 0)
            *out_deadline = MIN(*out_deadline, step->deadline);
    }
}

static int
poll_timeout(gint64 deadline)
{
    gint64 left = (deadline - g_get_monotonic_time() + 999) / 1000;

    return deadline == G_MAXINT64 ? -1 : (int)CLAMP(left, 0, G_MAXINT);
}

static void
handle_steps(Keeper *self, const GArray *polls)
{
    for (guint i = 0; i < self->steps->len; i++) {
        Step *step = g_ptr_array_index(self->steps, i);

        if (g_array_index(polls, struct pollfd, 2 + 2 * i).revents != 0)
            runtime_ended(self, step);
        else if (g_array_index(polls, struct pollfd, 3 + 2 * i).revents != 0)
            init_ended(self, step);
        else if (step->runtime_pid > 0 && g_get_monotonic_time() >= step->deadline)
            deadline_passed(step);
    }
}

static void
loop(Keeper *self)
{
    g_autoptr(GArray) polls = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    struct signalfd_siginfo ignored;
    gboolean open = TRUE;
    gint64 deadline;

    while (open || self->steps->len > 0) {
        fill_poll(self, open, polls, &deadline);
        if (poll((struct pollfd *)(gpointer)polls->data, polls->len, poll_timeout(deadline)) < 0 &&
            errno != EINTR)
            return;

        while (read(self->signal_fd, &ignored, sizeof ignored) > 0)
            ;
        handle_steps(self, polls);
        if (open && g_array_index(polls, struct pollfd, 0).revents != 0 && !handle_request(self)) {
            open = FALSE;
            handle_end_of_file(self);
        }
        drop_gone(self);
        reap_strays(self);
    }
}

/* Nothing of the daemon stays open here but what is named; 0, 1 and 2 become /dev/null. */
static void
close_inherited(const int *keep, guint n_keep)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), next = 3;

    for (int fd = 0; fd < 3; fd++)
        (void)dup2(null_fd, fd);
    for (;;) {
        int lowest = G_MAXINT;

        for (guint i = 0; i < n_keep; i++)
            if (keep[i] >= next && keep[i] < lowest)
                lowest = keep[i];
        if (lowest > next)
            (void)syscall(SYS_close_range, next, lowest == G_MAXINT ? ~0U : (guint)lowest - 1, 0);
        if (lowest == G_MAXINT)
            return;
        next = lowest + 1;
    }
}

static void
set_signals(void)
{
    const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t mask;

    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &action, NULL);
    action.sa_handler = SIG_IGN;
    for (guint i = 0; i < G_N_ELEMENTS(ignored); i++)
        (void)sigaction(ignored[i], &action, NULL);

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
}

void
cx_keeper_loop(CxRuntime *runtime, int socket_fd, int lock_fd)
{
    const int keep[] = {socket_fd, lock_fd, cx_runtime_get_program_fd(runtime)};
    Keeper self = {.runtime = runtime, .socket_fd = socket_fd};
    sigset_t child;

    (void)prctl(PR_SET_NAME, "cruxd-keeper");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)setsid();
    (void)umask(0022);
    (void)!chdir("/");
    close_inherited(keep, G_N_ELEMENTS(keep));
    set_signals();
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    self.signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    self.steps = g_ptr_array_new_with_free_func(step_free);
    self.entered = g_array_new(FALSE, FALSE, sizeof(struct stat));

    /* The keeper of a daemon that was here before may still be clearing up; its end is bounded. */
    while (flock(lock_fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    (void)cx_runtime_sweep(runtime, SWEEP_DEADLINE_MS, NULL);
    loop(&self);

    g_ptr_array_unref(self.steps);
    g_array_unref(self.entered);
}
