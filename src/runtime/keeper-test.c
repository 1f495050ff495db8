/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/keeper-private.h"
#include "runtime/keeper.h"
#include "runtime/test-container.h"

/* Containers of real runtimes, through the keeper; each test runs with every runtime that is
 * installed. */

typedef struct {
    TestGround *ground;
    CxKeeper *keeper;
} Fixture;

typedef void (*Body)(Fixture *self);

/* What a test needs of one container. */
typedef struct {
    CxExit end;
    char *out; /* (owned) all of stdout */
    char *err; /* (owned) all of stderr */
    GError *failure;
} Outcome;

static void
outcome_clear(Outcome *self)
{
    g_free(self->out);
    g_free(self->err);
    g_clear_error(&self->failure);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Outcome, outcome_clear)

static CxStepProcess *
launch(Fixture *self, const char *id, const char *bundle, const int stdio[3])
{
    CxCreate create = {
        .id = id, .bundle = bundle, .stdio = {-1, -1, -1}
    };
    g_autoptr(GError) error = NULL;
    CxStepProcess *step;

    if (stdio != NULL)
        memcpy(create.stdio, stdio, sizeof create.stdio);
    step = cx_keeper_launch(self->keeper, &create, &error);
    g_assert_no_error(error);
    return step;
}

static CxStepProcess *
launch_script(Fixture *self, const char *id, const char *script)
{
    g_autofree char *bundle = test_ground_make_script(self->ground, id, script);

    return launch(self, id, bundle, NULL);
}

static char *
read_to_end(int fd)
{
    GString *text = g_string_new(NULL);
    char buffer[4096];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        g_string_append_len(text, buffer, n);
    g_assert_cmpint(n, ==, 0);
    return g_string_free(text, FALSE);
}

/* Runs it with pipes until they end, then takes the exit, then the settling. */
static void
run_bundle(Fixture *self,
           const char *bundle,
           const CxCgroup *cgroup,
           const char *input,
           Outcome *out_outcome)
{
    int in[2], out[2], err[2];
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    CxCreate create = {.id = "c1", .bundle = bundle};

    g_assert_cmpint(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), ==, 0);
    create.stdio[0] = in[0];
    create.stdio[1] = out[1];
    create.stdio[2] = err[1];
    if (cgroup != NULL)
        create.join_fds = cx_cgroup_get_join_fds(cgroup, &create.n_join_fds);
    g_assert_true(cx_write_all(in[1], input, strlen(input), NULL));
    step = cx_keeper_launch(self->keeper, &create, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < 3; i++)
        (void)close(create.stdio[i]);
    (void)close(in[1]);

    out_outcome->out = read_to_end(out[0]);
    out_outcome->err = read_to_end(err[0]);
    (void)close(out[0]);
    (void)close(err[0]);
    (void)cx_step_process_wait(step, &out_outcome->end, &out_outcome->failure);
    cx_step_process_settle(step, &error);
    g_assert_no_error(error);
}

static void
run_script(Fixture *self, const char *script, Outcome *out_outcome)
{
    g_autofree char *bundle = test_ground_make_script(self->ground, "c1", script);

    run_bundle(self, bundle, NULL, "", out_outcome);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void
test_exit_codes(Fixture *self)
{
    static const int codes[] = {0, 1, 7, 137, 255};

    for (guint i = 0; i < G_N_ELEMENTS(codes); i++) {
        g_autofree char *script = g_strdup_printf("exit %d", codes[i]);
        g_auto(Outcome) outcome = {0};

        run_script(self, script, &outcome);
        g_assert_no_error(outcome.failure);
        g_assert_cmpint(outcome.end.code, ==, codes[i]);
        g_assert_cmpint(outcome.end.signal, ==, 0);
        g_assert_false(outcome.end.core);
    }
}

static void
test_kill(Fixture *self)
{
    g_autofree char *ready = g_build_filename(self->ground->root, "tmp/ready", NULL);
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    cx_autofd int fifo = -1;
    struct pollfd entry;
    CxExit end;
    char c;

    g_assert_cmpint(mkfifo(ready, 0600), ==, 0);
    step = launch_script(self, "c1", "echo > /tmp/ready; sleep 1000");
    fifo = open(ready, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(read(fifo, &c, 1), ==, 1);
    entry = (struct pollfd){.fd = cx_step_process_get_fd(step), .events = POLLIN};
    g_assert_cmpint(poll(&entry, 1, 0), ==, 0);

    cx_step_process_kill(step);
    cx_step_process_wait(step, &end, &error);
    g_assert_no_error(error);
    g_assert_cmpint(end.code, ==, -1);
    g_assert_cmpint(end.signal, ==, SIGKILL);
    g_assert_cmpint(poll(&entry, 1, 0), ==, 1);
    cx_step_process_kill(step); /* late, and harmless */
}

/* At whatever moment the launch is: it ends at once, as cancelled or as killed. */
static void
test_kill_during_launch(Fixture *self)
{
    for (guint i = 0; i < 5; i++) {
        g_autofree char *id = g_strdup_printf("c%u", i);
        g_autoptr(CxStepProcess) step = launch_script(self, id, "sleep 1000");
        g_autoptr(GError) error = NULL;
        CxExit end;

        cx_step_process_kill(step);
        if (cx_step_process_wait(step, &end, &error))
            g_assert_cmpint(end.signal, ==, SIGKILL);
        else
            g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
    }
    g_assert_false(test_ground_has_process(self->ground));
}

static void
test_free_kills(Fixture *self)
{
    CxStepProcess *step = launch_script(self, "c1", "sleep 1000");

    cx_step_process_free(step);
    g_assert_false(test_ground_has_process(self->ground));
}

static void
test_stop_kills(Fixture *self)
{
    g_autoptr(CxStepProcess) a = launch_script(self, "a", "sleep 1000");
    g_autoptr(CxStepProcess) b = launch_script(self, "b", "exit 3");
    g_autoptr(GError) error = NULL;
    CxExit end;

    cx_step_process_wait(b, &end, &error);
    g_assert_no_error(error);
    cx_keeper_stop(g_steal_pointer(&self->keeper));
    if (cx_step_process_wait(a, &end, &error))
        g_assert_cmpint(end.signal, ==, SIGKILL);
    else
        g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
    g_assert_cmpint(kill(-1, 0), ==, 0); /* we are still here */
    g_assert_false(test_ground_has_process(self->ground));
}

/* Everything of the container goes with its init, and orphans do not stay as zombies. */
static void
test_children_go_too(Fixture *self)
{
    g_auto(Outcome) outcome = {0};

    run_script(self,
               "for i in 1 2 3 4 5 6 7 8; do sleep 1000 > /dev/null 2>&1 & done\n"
               "(sleep 1000 > /dev/null 2>&1 &) ; exit 5",
               &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpint(outcome.end.code, ==, 5);
    g_assert_false(test_ground_has_process(self->ground));
}

/* ---- stdio ----------------------------------------------------------------------------------- */

static void
test_stdio(Fixture *self)
{
    g_autofree char *bundle =
        test_ground_make_script(self->ground, "c1", "cat; echo oops >&2; echo done; exit 4");
    g_auto(Outcome) outcome = {0};

    run_bundle(self, bundle, NULL, "hello\nworld\n", &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpint(outcome.end.code, ==, 4);
    g_assert_cmpstr(outcome.out, ==, "hello\nworld\ndone\n");
    g_assert_cmpstr(outcome.err, ==, "oops\n");
}

static void
test_absent_stdio(Fixture *self)
{
    g_autoptr(CxStepProcess) step =
        launch_script(self, "c1", "cat && echo gone && echo gone >&2 && exit 6");
    g_autoptr(GError) error = NULL;
    CxExit end;

    cx_step_process_wait(step, &end, &error);
    g_assert_no_error(error);
    g_assert_cmpint(end.code, ==, 6);
}

static void
test_no_leaked_descriptors(Fixture *self)
{
    g_auto(Outcome) outcome = {0};

    /* 0, 1, 2 and the folder that ls reads */
    run_script(self, "ls /proc/self/fd | grep -c .; ls -l /proc/self/fd >&2", &outcome);
    g_assert_no_error(outcome.failure);
    g_test_message("%s", outcome.err);
    g_assert_cmpint(atoi(outcome.out), ==, 4);
}

/* ---- programs that cannot be run --------------------------------------------------------------- */

static void
put_program(Fixture *self, const char *name, const char *text, mode_t mode)
{
    g_autofree char *path = g_build_filename(self->ground->root, "tmp", name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void
test_program_refused(Fixture *self)
{
    static const struct {
        const char *program;
        int code;
        gboolean late; /* only init itself finds out: its exit code and stderr tell */
    } cases[] = {
        {"/nope",               CX_ERROR_NOT_FOUND, FALSE},
        {"nope",                CX_ERROR_NOT_FOUND, FALSE},
        {"/tmp",                CX_ERROR_DENIED,    FALSE},
        {"/tmp/plain",          CX_ERROR_DENIED,    FALSE},
        {"/tmp/garbage",        CX_ERROR_DENIED,    TRUE },
        {"/tmp/no-interpreter", CX_ERROR_NOT_FOUND, TRUE },
    };

    put_program(self, "plain", "hi\n", 0644);
    put_program(self, "garbage", "\177hi\n", 0755);
    put_program(self, "no-interpreter", "#!/no/where\n", 0755);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *const args[] = {cases[i].program, NULL};
        g_autofree char *bundle = test_ground_make_bundle(self->ground, "c1", args, 0);
        g_auto(Outcome) outcome = {0};

        run_bundle(self, bundle, NULL, "", &outcome);
        g_test_message("%s: %s", cases[i].program,
                       outcome.failure != NULL ? outcome.failure->message : outcome.err);
        if (cases[i].late && outcome.failure == NULL)
            g_assert_cmpint(outcome.end.code, !=, 0);
        else
            g_assert_error(outcome.failure, CX_ERROR, cases[i].code);
        g_assert_false(cx_runtime_has_state(self->ground->runtime, "c1"));
        g_assert_false(test_ground_has_process(self->ground));
    }
}

static void
test_bad_bundle(Fixture *self)
{
    g_autofree char *bundle = test_ground_make_script(self->ground, "c1", "true");
    g_autofree char *config = g_build_filename(bundle, "config.json", NULL);
    g_auto(Outcome) missing = {0}, garbage = {0};

    g_assert_true(g_file_set_contents(config, "{\"ociVersion\":", -1, NULL));
    run_bundle(self, bundle, NULL, "", &garbage);
    g_assert_nonnull(garbage.failure);
    g_assert_cmpint(unlink(config), ==, 0);
    run_bundle(self, bundle, NULL, "", &missing);
    g_assert_nonnull(missing.failure);
}

static void
test_same_id_twice(Fixture *self)
{
    g_autofree char *bundle = test_ground_make_script(self->ground, "other", "exit 1");
    g_autoptr(CxStepProcess) first = launch_script(self, "c1", "exit 9");
    g_autoptr(CxStepProcess) second = launch(self, "c1", bundle, NULL);
    g_autoptr(GError) error = NULL;
    CxExit end;

    g_assert_false(cx_step_process_wait(second, &end, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_EXISTS);
    g_clear_error(&error);
    cx_step_process_wait(first, &end, &error);
    g_assert_no_error(error);
    g_assert_cmpint(end.code, ==, 9);
}

static void
test_invalid_requests(Fixture *self)
{
    CxCreate create = {
        .id = "../x", .bundle = "/b", .stdio = {-1, -1, -1}
    };
    g_autofree char *long_path = g_strnfill(5000, '/');
    g_autoptr(GError) error = NULL;

    g_assert_null(cx_keeper_launch(self->keeper, &create, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    g_clear_error(&error);
    create.id = "x";
    create.bundle = long_path;
    g_assert_null(cx_keeper_launch(self->keeper, &create, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_LIMIT);
}

/* ---- many ------------------------------------------------------------------------------------ */

static guint
count_open(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static char *
list_children(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)pid, (int)pid);
    char *list = NULL;

    g_assert_true(g_file_get_contents(path, &list, NULL, NULL));
    return list;
}

static void
test_many(Fixture *self)
{
    CxStepProcess *steps[30];
    pid_t keeper = cx_keeper_get_pid(self->keeper);
    g_auto(Outcome) first = {0};
    g_autofree char *children = NULL;
    guint open_before;
    g_autoptr(GError) error = NULL;
    CxExit end;

    run_script(self, "true", &first); /* by then the keeper has closed what it inherited */
    open_before = count_open(keeper);
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autofree char *id = g_strdup_printf("c%u", i);
        g_autofree char *script = g_strdup_printf("exit %u", i);

        steps[i] = launch_script(self, id, script);
    }
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        cx_step_process_wait(steps[i], &end, &error);
        g_assert_no_error(error);
        g_assert_cmpint(end.code, ==, (int)i);
        cx_step_process_free(steps[i]);
    }
    children = list_children(keeper);
    g_assert_cmpstr(children, ==, "");
    g_assert_cmpuint(count_open(keeper), ==, open_before);
}

static gpointer
run_some(gpointer data)
{
    Fixture *self = data;

    for (guint i = 0; i < 5; i++) {
        g_autofree char *id = g_strdup_printf("t%p-%u", (gpointer)g_thread_self(), i);
        g_autoptr(CxStepProcess) step = launch_script(self, id, "exit 3");
        g_autoptr(GError) error = NULL;
        CxExit end;

        cx_step_process_wait(step, &end, &error);
        g_assert_no_error(error);
        g_assert_cmpint(end.code, ==, 3);
    }
    return NULL;
}

static void
test_threads(Fixture *self)
{
    GThread *threads[4];

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("run", run_some, self);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        (void)g_thread_join(threads[i]);
}

/* ---- confinement ----------------------------------------------------------------------------- */

static void
test_seccomp(Fixture *self)
{
    g_auto(Outcome) outcome = {0};

    run_script(self,
               "grep '^Seccomp:' /proc/self/status\n"
               "unshare -U true && echo ESCAPED\n"
               "mount -t tmpfs none /tmp && echo ESCAPED\n"
               "echo fine",
               &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpstr(outcome.out, ==, "Seccomp:\t2\nfine\n");
    g_assert_nonnull(strstr(outcome.err, "Operation not permitted"));
}

static void
test_environment(Fixture *self)
{
    g_auto(Outcome) outcome = {0};

    run_script(self,
               "echo $HOME; id -u; ls -d /proc/self /sys/kernel /dev/null /dev/pts /dev/shm\n"
               "touch /sys/x /proc/sys/kernel/hostname 2>/dev/null || echo read-only\n"
               "grep CapBnd /proc/self/status; cat /proc/sys/kernel/hostname; ulimit -n",
               &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpstr(outcome.out, ==,
                    "/\n0\n/dev/null\n/dev/pts\n/dev/shm\n/proc/self\n/sys/kernel\nread-only\n"
                    "CapBnd:\t00000000a80425fb\nlocalhost\n1024\n");
}

static CxCgroups *
open_cgroups(Fixture *self)
{
    g_autofree char *name = g_strdup_printf("keeper-test-%d", (int)getpid());
    CxCgroups *cgroups = cx_cgroups_open(name);
    g_auto(GStrv) lines = cx_cgroups_explain(cgroups);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; lines[i] != NULL; i++)
        g_test_message("%s", lines[i]);
    cx_keeper_enter(self->keeper, cgroups, &error);
    g_assert_no_error(error);
    return cgroups;
}

/* A device node that a container makes is good for nothing but the harmless few. */
static void
test_devices(Fixture *self)
{
    g_autoptr(CxCgroups) cgroups = open_cgroups(self);
    static const CxLimits none = {0};
    g_autoptr(CxCgroup) group = cx_cgroups_make(cgroups, "c1", &none, NULL);
    g_autofree char *bundle = NULL;
    g_auto(Outcome) outcome = {0};

    if (!cx_cgroups_filters_devices(cgroups)) {
        g_test_skip("device access is not filtered here");
        return;
    }
    bundle = test_ground_make_script(
        self->ground, "c1",
        "mknod /dev/disk b 7 0 && mknod /dev/mymem c 1 1 && mknod /dev/mynull c 1 3 && echo made\n"
        "cat /dev/disk && echo ESCAPED\n"
        "head -c 1 /dev/mymem && echo ESCAPED\n"
        "echo x > /dev/mynull && echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo "
        "fine");
    run_bundle(self, bundle, group, "", &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpstr(outcome.out, ==, "made\nfine\n");
    g_assert_nonnull(strstr(outcome.err, "/dev/disk': Operation not permitted"));
}

static void
test_memory_limit(Fixture *self)
{
    g_autoptr(CxCgroups) cgroups = open_cgroups(self);
    CxLimits limits = {.memory_max = 32 * 1024 * 1024};
    g_autoptr(GError) error = NULL;
    g_autoptr(CxCgroup) group = cx_cgroups_make(cgroups, "c1", &limits, &error);
    g_autofree char *bundle = NULL;
    g_auto(Outcome) small = {0}, big = {0};

    if (cx_error_is(error, CX_ERROR_UNSUPPORTED)) {
        g_test_skip(error->message);
        return;
    }
    g_assert_no_error(error);
    bundle = test_ground_make_script(self->ground, "c1", "echo small");
    run_bundle(self, bundle, group, "", &small);
    g_assert_no_error(small.failure);
    g_assert_false(cx_cgroup_was_oom_killed(group));

    g_free(bundle);
    bundle = test_ground_make_script(self->ground, "c1", "exec tail -c 200m /dev/zero");
    run_bundle(self, bundle, group, "", &big);
    g_assert_no_error(big.failure);
    g_assert_cmpint(big.end.signal, ==, SIGKILL);
    g_assert_true(cx_cgroup_was_oom_killed(group));
    g_assert_true(cx_cgroup_was_oom_killed(group));
}

static void
test_pids_limit(Fixture *self)
{
    g_autoptr(CxCgroups) cgroups = open_cgroups(self);
    CxLimits limits = {.pids_max = 16};
    g_autoptr(GError) error = NULL;
    g_autoptr(CxCgroup) group = cx_cgroups_make(cgroups, "c1", &limits, &error);
    g_autofree char *bundle = NULL;
    g_auto(Outcome) outcome = {0};

    if (cx_error_is(error, CX_ERROR_UNSUPPORTED)) {
        g_test_skip(error->message);
        return;
    }
    g_assert_no_error(error);
    bundle = test_ground_make_script(
        self->ground, "c1",
        "i=0; while [ $i -lt 40 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; echo ESCAPED");
    run_bundle(self, bundle, group, "", &outcome);
    g_assert_no_error(outcome.failure);
    g_assert_cmpstr(outcome.out, ==, "");
    g_assert_nonnull(strstr(outcome.err, "can't fork"));
    g_assert_cmpint(outcome.end.code, !=, 0);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void
test_keeper_killed(Fixture *self)
{
    g_autofree char *ready = g_build_filename(self->ground->root, "tmp/ready", NULL);
    CxCreate create = {
        .id = "late", .bundle = "/b", .stdio = {-1, -1, -1}
    };
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    cx_autofd int fifo = -1;
    CxExit end;
    char c;

    g_assert_cmpint(mkfifo(ready, 0600), ==, 0);
    step = launch_script(self, "c1", "echo > /tmp/ready; sleep 1000");
    fifo = open(ready, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(read(fifo, &c, 1), ==, 1);
    g_assert_cmpint(kill(cx_keeper_get_pid(self->keeper), SIGKILL), ==, 0);

    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    cx_step_process_settle(step, &error);
    g_assert_no_error(error);
    g_assert_false(test_ground_has_process(self->ground));
    g_assert_false(cx_runtime_has_state(self->ground->runtime, "c1"));
    g_assert_null(cx_keeper_launch(self->keeper, &create, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNAVAILABLE);
}

/* The lock is the keeper's until it has ended: who gets it knows that everything was cleared up. */
static void
wait_for_keeper_lock(TestGround *ground)
{
    g_autofree char *path = g_build_filename(ground->state, "keeper.lock", NULL);
    cx_autofd int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
}

static void
test_daemon_killed(Fixture *self)
{
    g_autofree char *ready = g_build_filename(self->ground->root, "tmp/ready", NULL);
    g_autoptr(GError) error = NULL;
    cx_autofd int fifo = -1;
    pid_t daemon;
    char c;

    g_assert_cmpint(mkfifo(ready, 0600), ==, 0);
    cx_keeper_stop(g_steal_pointer(&self->keeper));
    daemon = fork();
    if (daemon == 0) {
        self->keeper = cx_keeper_start(self->ground->runtime, NULL);
        (void)launch_script(self, "running", "echo > /tmp/ready; sleep 1000");
        (void)launch_script(self, "starting", "sleep 1000");
        for (;;)
            (void)pause();
    }
    fifo = open(ready, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(read(fifo, &c, 1), ==, 1);
    g_assert_true(test_ground_has_process(self->ground));
    g_assert_cmpint(kill(daemon, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(daemon, NULL, 0), ==, daemon);

    wait_for_keeper_lock(self->ground);
    g_assert_false(test_ground_has_process(self->ground));
}

/* What an instance left that was killed together with its keeper. */
static void
test_leftovers_are_swept(Fixture *self)
{
    CxCreate create = {
        .id = "old", .stdio = {-1, -1, -1}
    };
    g_autofree char *bundle = test_ground_make_script(self->ground, "old", "sleep 1000");
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;
    pid_t init;

    create.bundle = bundle;
    cx_keeper_stop(g_steal_pointer(&self->keeper));
    cx_runtime_launch(self->ground->runtime, &create, 10000, &init, &error);
    g_assert_no_error(error);
    self->keeper = cx_keeper_start(self->ground->runtime, &error);
    g_assert_no_error(error);
    step = launch_script(self, "new", "exit 2"); /* answered after the sweep */
    cx_step_process_wait(step, &end, &error);
    g_assert_no_error(error);
    g_assert_cmpint(end.code, ==, 2);
    g_assert_false(cx_runtime_has_state(self->ground->runtime, "old"));
    g_assert_cmpint(waitpid(init, NULL, 0), ==, init);
}

/* ---- speed ----------------------------------------------------------------------------------- */

/* Each step is launched when the one before has ended, while that one is still being deleted. */
static void
test_speed(Fixture *self)
{
    const char *const args[] = {"/bin/true", NULL};
    g_autoptr(CxCgroups) cgroups = open_cgroups(self);
    static const CxLimits none = {0};
    g_autoptr(CxCgroup) group = cx_cgroups_make(cgroups, "c1", &none, NULL);
    g_autofree char *bundle = test_ground_make_bundle(self->ground, "b", args, 0);
    guint n = g_test_perf() ? 200 : 10;
    gint64 start, sum = 0, best = G_MAXINT64;
    g_autoptr(GPtrArray) steps =
        g_ptr_array_new_with_free_func((GDestroyNotify)cx_step_process_free);
    g_autoptr(GError) error = NULL;
    CxExit end;

    start = g_get_monotonic_time();
    for (guint i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("s%u", i);
        CxCreate create = {
            .id = id, .bundle = bundle, .stdio = {-1, -1, -1}
        };
        gint64 begin = g_get_monotonic_time(), took;

        create.join_fds = cx_cgroup_get_join_fds(group, &create.n_join_fds);
        g_ptr_array_add(steps, cx_keeper_launch(self->keeper, &create, &error));
        g_assert_no_error(error);
        cx_step_process_wait(g_ptr_array_index(steps, i), &end, &error);
        g_assert_no_error(error);
        g_assert_cmpint(end.code, ==, 0);
        took = g_get_monotonic_time() - begin;
        sum += took;
        best = MIN(best, took);
    }
    for (guint i = 0; i < n; i++) {
        cx_step_process_settle(g_ptr_array_index(steps, i), &error);
        g_assert_no_error(error);
    }
    g_test_message("%u steps: launch to exit %.2f ms (best %.2f), all settled %.2f ms a step", n,
                   (double)sum / 1e3 / n, (double)best / 1e3,
                   (double)(g_get_monotonic_time() - start) / 1e3 / n);
}

/* ---- main ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    Body body;
} bodies[] = {
    {"exit-codes",            test_exit_codes           },
    {"kill",                  test_kill                 },
    {"kill-during-launch",    test_kill_during_launch   },
    {"free-kills",            test_free_kills           },
    {"stop-kills",            test_stop_kills           },
    {"children-go-too",       test_children_go_too      },
    {"stdio",                 test_stdio                },
    {"absent-stdio",          test_absent_stdio         },
    {"no-leaked-descriptors", test_no_leaked_descriptors},
    {"program-refused",       test_program_refused      },
    {"bad-bundle",            test_bad_bundle           },
    {"same-id-twice",         test_same_id_twice        },
    {"invalid-requests",      test_invalid_requests     },
    {"many",                  test_many                 },
    {"threads",               test_threads              },
    {"seccomp",               test_seccomp              },
    {"environment",           test_environment          },
    {"devices",               test_devices              },
    {"memory-limit",          test_memory_limit         },
    {"pids-limit",            test_pids_limit           },
    {"keeper-killed",         test_keeper_killed        },
    {"daemon-killed",         test_daemon_killed        },
    {"leftovers-are-swept",   test_leftovers_are_swept  },
    {"speed",                 test_speed                },
};

typedef struct {
    const char *runtime;
    Body body;
} Case;

static void
run_case(gconstpointer data)
{
    const Case *c = data;
    g_autoptr(TestGround) ground = test_ground_new(c->runtime);
    g_autoptr(GError) error = NULL;
    Fixture fixture = {.ground = ground};

    if (ground == NULL) {
        g_test_skip("not installed");
        return;
    }
    fixture.keeper = cx_keeper_start(ground->runtime, &error);
    g_assert_no_error(error);
    c->body(&fixture);
    cx_keeper_stop(fixture.keeper);
}

int
main(int argc, char **argv)
{
    static const char *const runtimes[] = {"crun", "runc"};
    const char *why;

    g_test_init(&argc, &argv, NULL);
    if (!test_can_run_containers(&why)) {
        g_print("1..0 # SKIP %s\n", why);
        return 0;
    }
    for (guint r = 0; r < G_N_ELEMENTS(runtimes); r++)
        for (guint i = 0; i < G_N_ELEMENTS(bodies); i++) {
            g_autofree char *path = g_strdup_printf("/keeper/%s/%s", runtimes[r], bodies[i].name);
            Case *c = g_new(Case, 1);

            *c = (Case){runtimes[r], bodies[i].body};
            g_test_add_data_func_full(path, c, run_case, g_free);
        }
    return g_test_run();
}
