/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/keeper-private.h"
#include "runtime/test-container.h"
#include "runtime/test-fake.h"

/* The keeper with a runtime that does wrong.  Whatever it does, the step ends with one error, the
 * container is deleted, and no process is left. */

#define LAUNCHING "[ $verb = run ] || exit 0\n"
/* An init that does its work when the runtime has gone: a shell would reap it if it were quicker.
 */
#define INIT(script)                                                                               \
    "sh -c \"tail --pid=$$ -s 0.01 -f /dev/null; " script "\" > /dev/null 2>&1 & "                 \
    "printf $! > \"$pid_file\"\n"

typedef struct {
    const char *name;
    const char *plan;
    CxError code;
    const char *phrase;
} FaultCase;

static const FaultCase fault_cases[] = {
    {"no-pid-file",         LAUNCHING,                                                                       CX_ERROR_INTERNAL,  "wrote no pid file"            },
    {"garbage-in-pid-file", LAUNCHING "echo 12x > $pid_file\n",                                              CX_ERROR_INTERNAL,
     "as the container's pid"                                                                                                                                   },
    {"foreign-pid",         LAUNCHING "echo 1 > $pid_file\n",                                                CX_ERROR_INTERNAL,
     "process 1, which the runtime named, is not the container"                                                                                                 },
    {"nobody's-pid",        LAUNCHING "echo 999999999 > $pid_file\n",                                        CX_ERROR_INTERNAL,
     "is not the container"                                                                                                                                     },
    {"crash",               LAUNCHING "kill -SEGV $$\n",                                                     CX_ERROR_INTERNAL,  "crun died by signal 11"       },
    {"message",             LAUNCHING "echo '{\"level\":\"error\",\"msg\":\"it broke\"}' >> $log; exit 1\n",
     CX_ERROR_INTERNAL,                                                                                                          "crun: it broke"               },
    {"program-not-found",
     LAUNCHING
     "echo '{\"level\":\"error\",\"msg\":\"executable file `x` not found\"}' >> $log; exit 1\n",             CX_ERROR_NOT_FOUND, "executable file `x` not found"},
};

static CxStepProcess *
launch(CxKeeper *keeper, const char *id)
{
    CxCreate create = {
        .id = id, .bundle = "/b", .stdio = {-1, -1, -1}
    };
    g_autoptr(GError) error = NULL;
    CxStepProcess *step = cx_keeper_launch(keeper, &create, &error);

    g_assert_no_error(error);
    return step;
}

static CxKeeper *
start(CxRuntime *runtime)
{
    g_autoptr(GError) error = NULL;
    CxKeeper *keeper = cx_keeper_start(runtime, &error);

    g_assert_no_error(error);
    return keeper;
}

static void
assert_nothing_left(const TestFake *fake)
{
    g_autofree char *calls = g_build_filename(fake->state, "calls", NULL);
    g_autoptr(GDir) dir = g_dir_open(calls, 0, NULL);
    g_auto(GStrv) ids = cx_runtime_list(fake->runtime);

    g_assert_cmpstr(g_dir_read_name(dir), ==, NULL);
    g_assert_cmpuint(g_strv_length(ids), ==, 0);
}

static void
test_fault(gconstpointer data)
{
    const FaultCase *c = data;
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autofree char *argv = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "crun version 1.8.1\n");
    test_fake_put(fake.folder, "plan", c->plan, 0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_error(error, CX_ERROR, (gint)c->code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, c->phrase));
    g_clear_error(&error);
    cx_step_process_settle(step, &error);
    g_assert_no_error(error);
    argv = test_fake_get(fake.folder, "argv");
    g_assert_true(g_str_has_suffix(argv, "delete --force -- c1\n"));
    assert_nothing_left(&fake);
}

static void
check_end(const char *version, const char *plan, int code, const char *const *calls)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autofree char *argv = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end = {0};

    test_fake_open(&fake, version);
    test_fake_put(fake.folder, "plan", plan, 0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    cx_step_process_wait(step, &end, &error);
    g_assert_no_error(error);
    g_assert_cmpint(end.code, ==, code);
    cx_step_process_settle(step, &error);
    g_assert_no_error(error);
    argv = test_fake_get(fake.folder, "argv");
    lines = g_strsplit(argv, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, g_strv_length((GStrv)calls) + 1);
    for (guint i = 0; calls[i] != NULL; i++)
        g_assert_nonnull(strstr(lines[i], calls[i]));
    assert_nothing_left(&fake);
}

static void
test_run(void)
{
    const char *const calls[] = {"run --detach ", " delete -- c1", NULL};

    check_end("crun version 1.8.1\n", LAUNCHING INIT("exit 5"), 5, calls);
}

/* Without "run --detach". */
static void
test_create_and_start(void)
{
    const char *const calls[] = {" create ", " start -- c1", " delete -- c1", NULL};

    check_end("youki version 0.7.0\n", "[ $verb = create ] || exit 0\n" INIT("exit 6"), 6, calls);
}

/* What crun leaves of an ended container we remove ourselves; see cx_runtime_drop_ended. */
static void
test_state_of_crun(void)
{
    const char *const calls[] = {" run ", NULL};

    check_end("crun version 1.8.1\n",
              "mkdir -p $root/c1 && : > $root/c1/status\n" LAUNCHING INIT("exit 8"), 8, calls);
}

static void
test_delete_refused_once(void)
{
    const char *const calls[] = {" run ", " delete -- c1", " delete --force -- c1", NULL};

    check_end("runc version 1.1.5\n",
              "mkdir -p $root/c1\n"
              "case \"$(tail -n 1 $dir/argv)\" in *'delete -- '*) exit 1;; esac\n" LAUNCHING INIT(
                  "exit 7"),
              7, calls);
}

static void
test_delete_refused(void)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "runc version 1.1.5\n");
    test_fake_put(fake.folder, "plan",
                  "mkdir -p $root/c1\n"
                  "[ $verb = run ] || { echo no way >&2; exit 1; }\n" INIT("exit 7"),
                  0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    cx_step_process_wait(step, &end, &error);
    g_assert_no_error(error);
    g_assert_false(cx_step_process_settle(step, &error));
    g_assert_cmpstr(error->message, ==, "runc: no way");
    assert_nothing_left(&fake);
}

static void
test_start_refused(void)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autofree char *pid = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "youki version 0.7.0\n");
    test_fake_put(fake.folder, "plan",
                  "mkdir -p $root/c1\n"
                  "case $verb in delete) exit 0;; start) echo no way >&2; exit 1;; esac\n" INIT(
                      "sleep 1000") "cp \"$pid_file\" $dir/init\n",
                  0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_cmpstr(error->message, ==, "youki: no way");
    pid = test_fake_get(fake.folder, "init");
    g_assert_cmpint(kill(atoi(pid), 0), ==, -1);
    assert_nothing_left(&fake);
}

static void
check_cancel(const char *plan)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autofree char *argv = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "crun version 1.8.1\n");
    test_fake_put(fake.folder, "plan", plan, 0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    cx_step_process_kill(step);
    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_CANCELLED);
    argv = test_fake_get(fake.folder, "argv");
    g_assert_true(g_str_has_suffix(argv, "delete --force -- c1\n"));
    assert_nothing_left(&fake);
}

static void
test_cancel_hanging(void)
{
    check_cancel(LAUNCHING "exec sleep 1000\n");
}

static void
test_cancel_hanging_and_deaf(void)
{
    check_cancel(LAUNCHING "trap '' TERM; exec sleep 1000\n");
}

/* A runtime that dies has left a process, which became the keeper's child. */
static void
check_stray(const char *how)
{
    g_auto(TestFake) fake = {0};
    g_autofree char *plan =
        g_strconcat(LAUNCHING, how,
                    " sleep 1000 > /dev/null 2>&1 & printf $! > $dir/stray; kill -KILL $$\n", NULL);
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autofree char *pid = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "crun version 1.8.1\n");
    test_fake_put(fake.folder, "plan", plan, 0644);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
    pid = test_fake_get(fake.folder, "stray");
    g_assert_cmpint(atoi(pid), >, 1);
    g_assert_cmpint(kill(atoi(pid), 0), ==, -1);
    g_assert_cmpint(errno, ==, ESRCH);
}

static void
test_stray(void)
{
    check_stray("");
}

static void
test_stray_without_mark(void)
{
    check_stray("exec env -i");
}

static void
test_runtime_vanished(void)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(CxKeeper) keeper = NULL;
    g_autoptr(CxStepProcess) step = NULL;
    g_autoptr(GError) error = NULL;
    CxExit end;

    test_fake_open(&fake, "crun version 1.8.1\n");
    g_assert_cmpint(unlink(fake.program), ==, 0);
    keeper = start(fake.runtime);
    step = launch(keeper, "c1");
    g_assert_false(cx_step_process_wait(step, &end, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, fake.program));
}

/* ---- the real crun, killed half way ---------------------------------------------------------------- */

static const char wrapper[] =
    "#!/bin/sh\n"
    "dir=${0%/*}\n"
    "crun=$(cat $dir/program)\n"
    "case \" $* \" in *' run --detach '*) ;; *) exec $crun \"$@\";; esac\n"
    "$crun \"$@\" &\n"
    "busybox usleep $(cat $dir/delay)\n"
    "kill -KILL $!\n"
    "wait $!\n";

static guint
count_mounts(void)
{
    g_autofree char *text = NULL;
    guint n = 0;

    g_assert_true(g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL));
    for (const char *p = text; *p != '\0'; p++)
        n += *p == '\n';
    return n;
}

/* Puts the wrapper in the place of crun.  It starts the sealed copy: the file itself would, killed
 * at the wrong moment, leave the mount of itself behind that it makes against writers. */
static CxRuntime *
wrap_runtime(TestGround *ground)
{
    g_autofree char *program = g_build_filename(ground->folder, "wrapper", NULL);
    g_autofree char *sealed = cx_runtime_dup_program_path(ground->runtime);
    g_autoptr(GError) error = NULL;
    CxRuntime *plain = ground->runtime;

    test_fake_put(ground->folder, "wrapper", wrapper, 0755);
    test_fake_put(ground->folder, "program", sealed, 0644);
    test_fake_put(ground->folder, "delay", "0", 0644);
    ground->runtime = cx_runtime_open(program, ground->state, NULL, &error);
    g_assert_no_error(error);
    return plain;
}

/* With luck crun is done before it is killed; then the container runs until it is freed.  Which it
 * is, is not for us to say: that nothing is left, is. */
static void
test_killed_half_way(void)
{
    const char *why = "crun is missing";
    g_autofree char *crun = g_find_program_in_path("crun"), *bundle = NULL;
    g_autoptr(TestGround) ground = NULL;
    g_autoptr(CxRuntime) plain = NULL;
    g_autoptr(CxKeeper) keeper = NULL;
    guint mounts, n = g_test_slow() ? 200 : 40;

    if (crun == NULL || !test_can_run_containers(&why)) {
        g_test_skip(why);
        return;
    }
    ground = test_ground_new("crun");
    bundle = test_ground_make_script(ground, "b", "sleep 1000");
    plain = wrap_runtime(ground);
    keeper = start(ground->runtime);
    mounts = count_mounts();
    for (guint i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("c%u", i);
        g_autofree char *delay = g_strdup_printf("%u", i * 12000 / n);
        CxCreate create = {
            .id = id, .bundle = bundle, .stdio = {-1, -1, -1}
        };
        g_autoptr(GError) error = NULL;
        CxStepProcess *step;

        test_fake_put(ground->folder, "delay", delay, 0644);
        step = cx_keeper_launch(keeper, &create, &error);
        g_assert_no_error(error);
        cx_step_process_free(step);
        g_assert_false(cx_runtime_has_state(ground->runtime, id));
        g_assert_false(test_ground_has_process(ground));
    }
    if (cx_runtime_get_program_fd(plain) >= 0)
        g_assert_cmpuint(count_mounts(), ==, mounts);
}

int
main(int argc, char **argv)
{
    const char *why;

    g_test_init(&argc, &argv, NULL);
    /* The driver of crun looks at the cgroup mounts; put them right where that is possible. */
    (void)test_enter_sandbox(&why);
    for (guint i = 0; i < G_N_ELEMENTS(fault_cases); i++) {
        g_autofree char *path = g_strconcat("/keeper-fault/launch/", fault_cases[i].name, NULL);

        g_test_add_data_func(path, &fault_cases[i], test_fault);
    }
    g_test_add_func("/keeper-fault/run", test_run);
    g_test_add_func("/keeper-fault/create-and-start", test_create_and_start);
    g_test_add_func("/keeper-fault/start-refused", test_start_refused);
    g_test_add_func("/keeper-fault/crun-state", test_state_of_crun);
    g_test_add_func("/keeper-fault/delete-refused-once", test_delete_refused_once);
    g_test_add_func("/keeper-fault/delete-refused", test_delete_refused);
    g_test_add_func("/keeper-fault/cancel/hanging", test_cancel_hanging);
    g_test_add_func("/keeper-fault/cancel/hanging-and-deaf", test_cancel_hanging_and_deaf);
    g_test_add_func("/keeper-fault/stray", test_stray);
    g_test_add_func("/keeper-fault/stray-without-mark", test_stray_without_mark);
    g_test_add_func("/keeper-fault/runtime-vanished", test_runtime_vanished);
    g_test_add_func("/keeper-fault/killed-half-way", test_killed_half_way);
    return g_test_run();
}
