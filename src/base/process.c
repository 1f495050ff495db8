/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "process"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

#define KILL_GRACE_MS 1000
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- between fork and exec: system calls only, no allocation, no locks ----------------------- */

static void
child_fail(int report_fd)
{
    int errnum = errno;

    (void)!write(report_fd, &errnum, sizeof errnum);
    _exit(127);
}

static void
child_reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &action, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves the wanted descriptors to 0, 1, 2, 3… : first all above the target range, then down, so
 * none is overwritten. */
static gboolean
child_place_fds(const CxSpawn *spawn, int report_fd)
{
    int above = 3 + (int)spawn->n_extra_fds + 1;
    int wanted[3] = {spawn->stdin_fd, spawn->stdout_fd, spawn->stderr_fd};
    int moved[3 + 16];

    for (guint i = 0; i < 3 + spawn->n_extra_fds; i++) {
        int fd = i < 3 ? wanted[i] : spawn->extra_fds[i - 3];

        if (fd < 0)
            fd = open("/dev/null", i == 0 ? O_RDONLY : O_WRONLY);
        moved[i] = fcntl(fd, F_DUPFD_CLOEXEC, above);
        if (moved[i] < 0)
            return FALSE;
    }
    if (dup3(report_fd, above - 1, O_CLOEXEC) < 0)
        return FALSE;
    for (guint i = 0; i < 3 + spawn->n_extra_fds; i++)
        if (dup2(moved[i], (int)i) < 0)
            return FALSE;

    return syscall(SYS_close_range, above, ~0U, 0) == 0;
}

static void
child_run(const CxSpawn *spawn, const char *program, char *const *env, int report_fd, pid_t parent)
{
    child_reset_signals();
    if (spawn->new_session)
        (void)setsid();
    if (spawn->die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
        child_fail(report_fd);
    for (guint i = 0; i < spawn->n_join_fds; i++)
        if (write(spawn->join_fds[i], "0", 1) != 1)
            child_fail(report_fd);
    if ((spawn->cwd_fd >= 0 ? fchdir(spawn->cwd_fd) : chdir("/")) < 0)
        child_fail(report_fd);
    if (!child_place_fds(spawn, report_fd))
        child_fail(report_fd);

    report_fd = 3 + (int)spawn->n_extra_fds;
    (void)execve(program, (char *const *)spawn->argv, env);
    child_fail(report_fd);
}

/* ---- public ---------------------------------------------------------------------------------- */

pid_t
cx_process_spawn(const CxSpawn *spawn, GError **error)
{
    static const char *const default_env[] = {DEFAULT_PATH, NULL};
    g_autofree char *program = g_find_program_in_path(spawn->argv[0]);
    const char *const *env = spawn->env != NULL ? spawn->env : default_env;
    cx_autofd int read_fd = -1, write_fd = -1;
    int pipe_fds[2], errnum = 0;
    sigset_t all, before;
    pid_t pid, parent = getpid();

    g_assert(spawn->n_extra_fds <= 16);
    if (program == NULL)
        return cx_throw_fd(error,
                           g_file_test(spawn->argv[0], G_FILE_TEST_EXISTS) ? CX_ERROR_DENIED
                                                                           : CX_ERROR_NOT_FOUND,
                           "program \"%s\" is missing or not executable", spawn->argv[0]);
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return cx_throw_errno_fd(error, "pipe");
    read_fd = pipe_fds[0];
    write_fd = pipe_fds[1];

    if (cx_log_is_debugged(CX_LOG_ROOM)) {
        g_autofree char *line = g_strjoinv(" ", (char **)spawn->argv);
        cx_debug("%s", line);
    }

    /* No handler of ours may run in the child before it has reset them. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        child_run(spawn, program, (char *const *)env, write_fd, parent);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return cx_throw_errno_fd(error, "fork");

    cx_clear_fd(&write_fd);
    if (cx_read_full(read_fd, &errnum, sizeof errnum, NULL) == sizeof errnum) {
        (void)waitpid(pid, NULL, 0);
        errno = errnum;
        return cx_throw_errno_fd(error, "start \"%s\"", spawn->argv[0]);
    }
    return pid;
}

/* Waits for the pidfd, a cancel or the deadline; TRUE when the process ended. */
static gboolean
wait_for_end(int pidfd, int deadline_ms, CxCancel *cancellable)
{
    struct pollfd fds[2] = {
        {.fd = pidfd, .events = POLLIN},
        {.fd = -1,    .events = POLLIN}
    };
    gint64 end = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
    gboolean ended = FALSE;

    for (;;) {
        gint64 left = deadline_ms < 0 ? -1 : MAX(0, (end - g_get_monotonic_time() + 999) / 1000);
        int n = poll(fds, 2, (int)left);

        if (n < 0 && errno == EINTR)
            continue;
        ended = n > 0 && fds[0].revents != 0;
        break;
    }
    return ended;
}

gboolean
cx_process_wait(pid_t pid, int deadline_ms, CxCancel *cancellable, int *out_status, GError **error)
{
    cx_autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    gboolean ended;
    int status = 0;

    if (pidfd < 0)
        return cx_throw_errno(error, "pidfd of process %d", pid);

    ended = wait_for_end(pidfd, deadline_ms, cancellable);
    if (!ended) {
        (void)kill(pid, SIGTERM);
        if (!wait_for_end(pidfd, KILL_GRACE_MS, NULL))
            (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return cx_throw_errno(error, "wait for process %d", pid);

    if (!ended && cancellable != NULL && cx_cancel_is_triggered(cancellable))
        return cx_throw(error, CX_ERROR_CANCELLED, "cancelled");
    if (!ended)
        return cx_throw(error, CX_ERROR_TIMEOUT, "no answer within %d ms", deadline_ms);

    *out_status = status;
    return TRUE;
}

static char *
last_line(const char *text)
{
    g_autofree char *copy = g_strchomp(g_strdup(text));
    const char *newline = strrchr(copy, '\n');

    return g_strdup(newline == NULL ? copy : newline + 1);
}

static char *
read_back(int fd, gsize limit)
{
    char *text = g_malloc0(limit + 1);

    if (cx_pread_full(fd, text, limit, 0, NULL) < 0)
        text[0] = '\0';
    return text;
}

char *
cx_process_read(
    const char *const *argv, gsize limit, int deadline_ms, CxCancel *cancellable, GError **error)
{
    /* Files, not pipes: a grandchild that keeps a pipe open would keep us waiting
     * (spec/oci-runtime.md §7). */
    cx_autofd int out = memfd_create("stdout", MFD_CLOEXEC),
                  err = memfd_create("stderr", MFD_CLOEXEC);
    CxSpawn spawn = CX_SPAWN_INIT;
    int status = 0;
    pid_t pid;

    if (out < 0 || err < 0)
        return cx_throw_errno_null(error, "memfd");

    spawn.argv = argv;
    spawn.stdout_fd = out;
    spawn.stderr_fd = err;
    pid = cx_process_spawn(&spawn, error);
    if (pid < 0 || !cx_process_wait(pid, deadline_ms, cancellable, &status, error))
        return NULL;
    if (status != 0) {
        g_autofree char *messages = read_back(err, 4096), *line = last_line(messages),
                        *what = cx_process_describe_status(status);

        return cx_throw_null(error, CX_ERROR_EXIT_STATUS, "%s %s%s%s", argv[0], what,
                             *line != '\0' ? ": " : "", line);
    }
    return read_back(out, limit);
}

char *
cx_process_describe_status(int status)
{
    if (WIFSIGNALED(status))
        return g_strdup_printf("was killed by signal %d (%s)", WTERMSIG(status),
                               strsignal(WTERMSIG(status)));

    return g_strdup_printf("exited with code %d", WEXITSTATUS(status));
}
