/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "runtime/driver-private.h"
#include "runtime/driver.h"
#include "runtime/test-container.h"
#include "runtime/test-fake.h"

/* The driver against a runtime made here.  spec/oci-runtime.md §18. */

#define DEADLINE_MS 10000

/* ---- arguments ------------------------------------------------------------------------------- */

typedef struct {
    const char *runtime;
    CxRuntimeVerb verb; /* RUN stands for launch */
    CxCreate create;
    int signal;
    gboolean force;
    const char *argv; /* R, L and P stand for the state root, the log and the pid file */
} ArgvCase;

#define NO_STDIO                                                                                   \
    {                                                                                              \
        -1, -1, -1                                                                                 \
    }
#define C1                                                                                         \
    {                                                                                              \
        .id = "c1", .bundle = "/b", .stdio = NO_STDIO                                              \
    }
#define HEAD "--root R --log L --log-format json "

static const ArgvCase argv_cases[] = {
    {"crun",  CX_RUNTIME_CREATE, C1,                                                                                  0,       FALSE,
     HEAD "--cgroup-manager=disabled create --bundle /b --pid-file P -- c1"                                                                                                             },
    {"runc",  CX_RUNTIME_CREATE, C1,                                                                                  0,       FALSE, HEAD "create --bundle /b --pid-file P -- c1"      },
    {"runc",
     CX_RUNTIME_CREATE,          {.id = "c1", .bundle = "/b", .stdio = NO_STDIO, .console_socket = "/s"},
     0,                                                                                                                        FALSE,
     HEAD "create --bundle /b --pid-file P --console-socket /s -- c1"                                                                                                                   },
    {"runc",
     CX_RUNTIME_CREATE,          {.id = "c1",
      .bundle = "/b",
      .stdio = NO_STDIO,
      .flags = CX_RUNTIME_NO_PIVOT | CX_RUNTIME_NO_NEW_KEYRING},
     0,                                                                                                                        FALSE,
     HEAD "create --bundle /b --pid-file P --no-pivot --no-new-keyring -- c1"                                                                                                           },
    {"crun",
     CX_RUNTIME_CREATE,          {.id = "c1", .bundle = "/b", .stdio = NO_STDIO, .flags = CX_RUNTIME_SYSTEMD_CGROUP},
     0,                                                                                                                        FALSE,
     HEAD "--systemd-cgroup create --bundle /b --pid-file P -- c1"                                                                                                                      },
    {"youki",
     CX_RUNTIME_CREATE,          {.id = "c1", .bundle = "/b", .stdio = NO_STDIO, .flags = CX_RUNTIME_SYSTEMD_CGROUP},
     0,                                                                                                                        FALSE,
     HEAD "--systemd-cgroup create --bundle /b --pid-file P -- c1"                                                                                                                      },
    {"crun",  CX_RUNTIME_RUN,    C1,                                                                                  0,       FALSE,
     HEAD "--cgroup-manager=disabled run --detach --bundle /b --pid-file P -- c1"                                                                                                       },
    {"runc",  CX_RUNTIME_RUN,    C1,                                                                                  0,       FALSE, HEAD "run --detach --bundle /b --pid-file P -- c1"},
    {"youki", CX_RUNTIME_RUN,    C1,                                                                                  0,       FALSE,
     HEAD "create --bundle /b --pid-file P -- c1\n" HEAD "start -- c1"                                                                                                                  },
    {"runc",  CX_RUNTIME_START,  C1,                                                                                  0,       FALSE, HEAD "start -- c1"                                },
    {"runc",  CX_RUNTIME_STATE,  C1,                                                                                  0,       FALSE, HEAD "state -- c1"                                },
    {"crun",  CX_RUNTIME_KILL,   C1,                                                                                  SIGTERM, FALSE, HEAD "--cgroup-manager=disabled kill -- c1 15"    },
    {"runc",  CX_RUNTIME_KILL,   C1,                                                                                  SIGTRAP, FALSE, HEAD "kill -- c1 5"                               },
    {"youki", CX_RUNTIME_KILL,   C1,                                                                                  SIGTRAP, FALSE, HEAD "kill -- c1 SIGTRAP"                         },
    {"youki", CX_RUNTIME_KILL,   C1,                                                                                  SIGBUS,  FALSE, HEAD "kill -- c1 SIGBUS"                          },
    {"youki", CX_RUNTIME_KILL,   C1,                                                                                  SIGKILL, FALSE, HEAD "kill -- c1 9"                               },
    {"runc",  CX_RUNTIME_DELETE, C1,                                                                                  0,       FALSE, HEAD "delete -- c1"                               },
    {"runc",  CX_RUNTIME_DELETE, C1,                                                                                  0,       TRUE,  HEAD "delete --force -- c1"                       },
};

static char *
replace(const char *text, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);

    return g_strjoinv(to, parts);
}

/* The noted arguments with this run's paths replaced by their letters. */
static char *
get_argv(const TestFake *fake)
{
    g_autofree char *raw = test_fake_get(fake->folder, "argv");
    g_autofree char *root = g_build_filename(fake->state, cx_runtime_get_name(fake->runtime), NULL);
    g_autofree char *log = g_build_filename(fake->state, "calls/c1.log", NULL);
    g_autofree char *pid = g_build_filename(fake->state, "calls/c1.pid", NULL);
    g_autofree char *a = replace(raw, root, "R"), *b = replace(a, log, "L");

    return g_strchomp(replace(b, pid, "P"));
}

static gboolean
call(CxRuntime *runtime, const ArgvCase *c, GError **error)
{
    CxContainerStatus status;
    pid_t pid;

    switch (c->verb) {
    case CX_RUNTIME_CREATE:
        return cx_runtime_create(runtime, &c->create, DEADLINE_MS, &pid, error);
    case CX_RUNTIME_RUN:
        return cx_runtime_launch(runtime, &c->create, DEADLINE_MS, &pid, error);
    case CX_RUNTIME_START:
        return cx_runtime_start(runtime, "c1", DEADLINE_MS, error);
    case CX_RUNTIME_STATE:
        return cx_runtime_state(runtime, "c1", DEADLINE_MS, &status, &pid, error);
    case CX_RUNTIME_KILL:
        return cx_runtime_kill(runtime, "c1", c->signal, DEADLINE_MS, error);
    case CX_RUNTIME_DELETE:
        return cx_runtime_delete(runtime, "c1", c->force, DEADLINE_MS, error);
    }
    g_assert_not_reached();
}

static void
test_argv(gconstpointer data)
{
    const ArgvCase *c = data;
    g_autofree char *version = g_strconcat(c->runtime, " version 9.1\n", NULL), *argv = NULL;
    g_auto(TestFake) fake = {0};
    g_autoptr(GError) error = NULL;

    test_fake_open(&fake, version);
    test_fake_put(fake.folder, "plan",
                  "[ -z \"$pid_file\" ] || echo 12 > \"$pid_file\"\n"
                  "[ \"$verb\" != state ] || echo '{\"status\":\"stopped\"}'\n",
                  0644);
    call(fake.runtime, c, &error);
    g_assert_no_error(error);
    argv = get_argv(&fake);
    g_assert_cmpstr(argv, ==, c->argv);
}

static void
test_environment(void)
{
    g_auto(TestFake) fake = {0};
    g_autofree char *env = NULL;
    g_autoptr(GError) error = NULL;

    test_fake_open(&fake, "crun version 1.8.1\n");
    g_setenv("XDG_RUNTIME_DIR", "/nowhere", TRUE);
    g_setenv("NOTIFY_SOCKET", "/nowhere", TRUE);
    cx_runtime_start(fake.runtime, "c1", DEADLINE_MS, &error);
    g_unsetenv("XDG_RUNTIME_DIR");
    g_unsetenv("NOTIFY_SOCKET");
    g_assert_no_error(error);
    env = test_fake_get(fake.folder, "env");
    g_assert_nonnull(strstr(env, "PATH="));
    g_assert_nonnull(strstr(env, "CRUXD_CONTAINER=c1\n"));
    g_assert_null(strstr(env, "/nowhere"));
}

/* ---- what the runtime does, and what we make of it --------------------------------------------- */

typedef struct {
    const char *name;
    const char *plan;
    pid_t pid;          /* 0: it must fail with */
    CxError code;       /* … this */
    const char *phrase; /* … and this text */
} FakeCase;

#define PID(text) "printf -- '" text "' > \"$pid_file\"\n"
#define LOG(text) "[ $verb = create ] || exit 0; printf '%s\\n' '" text "' >> \"$log\"; exit 1\n"

static const FakeCase fake_cases[] = {
    {"pid",                 PID("12"),                                                                   12, 0,                  NULL                            },
    {"pid-newline",         PID("12\\n"),                                                                12, 0,                  NULL                            },
    {"pid-space",           PID(" 12"),                                                                  0,  CX_ERROR_INTERNAL,  "\" 12\" as the container's pid"},
    {"pid-letter",          PID("12x"),                                                                  0,  CX_ERROR_INTERNAL,  "\"12x\" as"                    },
    {"pid-empty",           PID(""),                                                                     0,  CX_ERROR_INTERNAL,  "\"\" as"                       },
    {"pid-zero",            PID("0"),                                                                    0,  CX_ERROR_INTERNAL,  "\"0\" as"                      },
    {"pid-negative",        PID("-3"),                                                                   0,  CX_ERROR_INTERNAL,  "\"-3\" as"                     },
    {"pid-huge",            PID("123456789012345678901234567890"),                                       0,  CX_ERROR_INTERNAL,  "as the container"              },
    {"no-pid-file",         "exit 0\n",                                                                  0,  CX_ERROR_INTERNAL,  "wrote no pid file"             },
    {"json-log",            LOG("{\"msg\":\"it broke\",\"level\":\"error\",\"time\":\"t\"}"),            0,
     CX_ERROR_INTERNAL,                                                                                                          "crun: it broke"                },
    {"json-warning-last",
     "[ $verb = create ] || exit 0\n"
     "echo '{\"msg\":\"it broke\",\"level\":\"error\"}' >> \"$log\"\n"
     "echo '{\"msg\":\"unable to get oom kill count\",\"level\":\"warning\"}' >> \"$log\"; exit "
     "1\n",                                                                                              0,  CX_ERROR_INTERNAL,  "crun: it broke"                },
    {"logrus-log",          LOG("time=\"t\" level=error msg=\"say \\\"no\\\" to it\""),                  0,  CX_ERROR_INTERNAL,
     "crun: say \"no\" to it"                                                                                                                                    },
    {"plain-log",           LOG("just words"),                                                           0,  CX_ERROR_INTERNAL,  "crun: just words"              },
    {"silent",              "[ $verb = create ] || exit 0; exit 3\n",                                    0,  CX_ERROR_INTERNAL,
     "crun create exited with code 3 and said nothing"                                                                                                           },
    {"big-log",
     "[ $verb = create ] || exit 0; head -c 10000000 /dev/zero | tr '\\0' x > \"$log\"; exit 1\n",       0,  CX_ERROR_INTERNAL,  "crun: xxxxxxxx"                },
    {"segv",                "[ $verb = create ] || exit 0; kill -SEGV $$\n",                             0,  CX_ERROR_INTERNAL,
     "crun died by signal 11"                                                                                                                                    },
    {"program-missing",
     LOG("{\"msg\":\"executable file `/x` not found in $PATH: No such file or "
         "directory\",\"level\":\"error\"}"),
     0,                                                                                                      CX_ERROR_NOT_FOUND, "executable file `/x`"          },
    {"program-denied",      LOG("{\"msg\":\"open executable: Permission denied\",\"level\":\"error\"}"),
     0,                                                                                                      CX_ERROR_DENIED,    "Permission denied"             },
    {"interpreter-missing",
     LOG("{\"msg\":\"exec container process `/x`: No such file or "
         "directory\",\"level\":\"error\"}"),
     0,                                                                                                      CX_ERROR_NOT_FOUND, "exec container process"        },
    {"exists",              LOG("{\"msg\":\"container `c1` already exists\",\"level\":\"error\"}"),      0,
     CX_ERROR_EXISTS,                                                                                                            "already exists"                },
    {"deadline",            "[ $verb = create ] || exit 0; exec sleep 60\n",                             0,  CX_ERROR_TIMEOUT,
     "crun create: no answer within"                                                                                                                             },
};

static void
test_fake(gconstpointer data)
{
    const FakeCase *c = data;
    CxCreate create = C1;
    g_auto(TestFake) fake = {0};
    g_autofree char *argv = NULL, *leftover = NULL;
    g_autoptr(GError) error = NULL;
    pid_t pid = 0;
    gboolean ok;

    test_fake_open(&fake, "crun version 1.8.1\n");
    test_fake_put(fake.folder, "plan", c->plan, 0644);
    ok = cx_runtime_create(fake.runtime, &create, c->code == CX_ERROR_TIMEOUT ? 100 : DEADLINE_MS,
                           &pid, &error);
    g_assert_cmpint(ok, ==, c->pid > 0);
    g_assert_cmpint(pid, ==, c->pid);
    argv = get_argv(&fake);
    if (ok)
        return;

    g_assert_error(error, CX_ERROR, (gint)c->code);
    g_test_message("%.200s", error->message);
    g_assert_nonnull(strstr(error->message, c->phrase));
    g_assert_cmpuint(strlen(error->message), <, 1100);
    g_assert_true(g_str_has_suffix(argv, "delete --force -- c1"));
    leftover = test_fake_get(fake.state, "calls/c1.log");
    g_assert_cmpstr(leftover, ==, "");
}

/* A process that holds the runtime's stderr open for ever must not keep us waiting. */
static void
test_grandchild_keeps_stderr(void)
{
    CxCreate create = C1;
    g_auto(TestFake) fake = {0};
    g_autofree char *fifo = NULL;
    cx_autofd int out = -1, held = -1;
    g_autoptr(GError) error = NULL;
    pid_t pid;

    test_fake_open(&fake, "crun version 1.8.1\n");
    fifo = g_build_filename(fake.folder, "fifo", NULL);
    out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    create.stdio[2] = out;
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    test_fake_put(fake.folder, "plan", "cat \"$dir/fifo\" &\nprintf 12 > \"$pid_file\"\n", 0644);
    cx_runtime_create(fake.runtime, &create, DEADLINE_MS, &pid, &error);
    g_assert_no_error(error);
    held = open(fifo, O_WRONLY | O_CLOEXEC); /* once it is there, let it go */
    g_assert_cmpint(held, >=, 0);
}

static void
test_existing_is_unharmed(void)
{
    CxCreate create = C1;
    g_auto(TestFake) fake = {0};
    g_autofree char *folder = NULL, *argv = NULL;
    g_autoptr(GError) error = NULL;
    pid_t pid;

    test_fake_open(&fake, "crun version 1.8.1\n");
    folder = g_build_filename(fake.state, "crun/c1", NULL);
    g_assert_cmpint(mkdir(folder, 0700), ==, 0);
    g_assert_false(cx_runtime_create(fake.runtime, &create, DEADLINE_MS, &pid, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_EXISTS);
    argv = test_fake_get(fake.folder, "argv");
    g_assert_cmpstr(argv, ==, ""); /* no process was started */
}

static void
test_invalid_id(void)
{
    static const char *const bad[] = {
        "",    ".",
        "..",  "../x",
        "a/b", "a b",
        "a:b", "\xc3\xa9",
        ".a",  "1234567890123456789012345678901234567890123456789012345678901234x"};
    static const char *const good[] = {
        "a",   "-x", "a.b_c-d",
        "A+b", "_",  "1234567890123456789012345678901234567890123456789012345678901234"};
    g_auto(TestFake) fake = {0};
    g_autofree char *argv = NULL;

    test_fake_open(&fake, "crun version 1.8.1\n");
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(cx_runtime_delete(fake.runtime, bad[i], TRUE, DEADLINE_MS, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    }
    for (guint i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(cx_container_id_check(good[i], NULL));
    argv = test_fake_get(fake.folder, "argv");
    g_assert_cmpstr(argv, ==, "");
}

/* ---- state ----------------------------------------------------------------------------------- */

typedef struct {
    const char *plan;
    gboolean has_folder;
    int status; /* -1: error */
    pid_t pid;
} StateCase;

#define SAYS(text) "cat <<'END'\n" text "\nEND\n"

static const StateCase state_cases[] = {
    {SAYS("{\"id\":\"c\",\"status\":\"running\",\"pid\":7}"),                           TRUE,  CX_CONTAINER_RUNNING,  7},
    {SAYS("{ \"pid\" : 7 , \"status\" : \"created\" }"),                                TRUE,  CX_CONTAINER_CREATED,  7},
    {SAYS("{\"status\":\"stopped\",\"pid\":7}"),                                        TRUE,  CX_CONTAINER_STOPPED,  0},
    {SAYS("{\"status\":\"stopped\"}"),                                                  TRUE,  CX_CONTAINER_STOPPED,  0},
    {SAYS("{\"status\":\"paused\",\"pid\":9,\"annotations\":{\"status\":\"running\",\"pid\":\"1\"}"
          "}"),
     TRUE,                                                                                     CX_CONTAINER_PAUSED,   9},
    {SAYS("{\"annotations\":{\"x\":\"\\\"status\\\":\\\"running\\\"\"},\"status\":\"created\","
          "\"pid\":1}"),
     TRUE,                                                                                     CX_CONTAINER_CREATED,  1},
    {SAYS("{\"status\":\"creating\"}"),                                                 TRUE,  CX_CONTAINER_CREATING, 0},
    {SAYS("{\"status\":\"hibernating\"}"),                                              TRUE,  -1,                    0},
    {SAYS("{\"status\":\"running\",\"pid\":4294967303}"),                               TRUE,  -1,                    0},
    {SAYS("{\"status\":7}"),                                                            TRUE,  -1,                    0},
    {SAYS("{}"),                                                                        TRUE,  -1,                    0},
    {"exit 0\n",                                                                        TRUE,  -1,                    0},
    {SAYS("null"),                                                                      TRUE,  -1,                    0},
    {SAYS("[]"),                                                                        TRUE,  -1,                    0},
    {SAYS("Incorrect Usage."),                                                          TRUE,  -1,                    0},
    {"echo 'error opening file `/c1/status`: No such file or directory' >&2; exit 1\n", FALSE,
     CX_CONTAINER_ABSENT,                                                                                             0},
    {"echo 'container does not exist' >&2; exit 1\n",                                   FALSE, CX_CONTAINER_ABSENT,   0},
    {"echo 'no idea' >&2; exit 1\n",                                                    FALSE, CX_CONTAINER_ABSENT,   0},
    {"echo 'no idea' >&2; exit 1\n",                                                    TRUE,  -1,                    0},
    {"kill -KILL $$\n",                                                                 FALSE, -1,                    0},
};

static void
test_state(gconstpointer data)
{
    const StateCase *c = data;
    CxContainerStatus status = CX_CONTAINER_ABSENT;
    g_auto(TestFake) fake = {0};
    g_autofree char *folder = NULL;
    g_autoptr(GError) error = NULL;
    pid_t pid = 0;

    test_fake_open(&fake, "runc version 1.1.5+ds1\n");
    folder = g_build_filename(fake.state, "runc/c1", NULL);
    if (c->has_folder)
        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
    test_fake_put(fake.folder, "plan", c->plan, 0644);
    if (c->status < 0) {
        g_assert_false(cx_runtime_state(fake.runtime, "c1", DEADLINE_MS, &status, &pid, &error));
        g_assert_nonnull(error);
        return;
    }
    cx_runtime_state(fake.runtime, "c1", DEADLINE_MS, &status, &pid, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, c->status);
    g_assert_cmpint(pid, ==, c->pid);
}

static void
test_unknown_id(void)
{
    g_auto(TestFake) fake = {0};
    g_autoptr(GError) error = NULL;

    test_fake_open(&fake, "crun version 1.8.1\n");
    test_fake_put(fake.folder, "plan", "echo whatever >&2; exit 1\n", 0644);
    g_assert_false(cx_runtime_kill(fake.runtime, "c1", SIGTERM, DEADLINE_MS, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(cx_runtime_delete(fake.runtime, "c1", FALSE, DEADLINE_MS, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
    cx_runtime_delete(fake.runtime, "c1", TRUE, DEADLINE_MS, &error);
    g_assert_no_error(error);
}

static void
test_sweep(void)
{
    g_auto(TestFake) fake = {0};
    g_autofree char *a = NULL, *b = NULL, *argv = NULL;
    g_autoptr(GError) error = NULL;

    test_fake_open(&fake, "crun version 1.8.1\n");
    a = g_build_filename(fake.state, "crun/a", NULL);
    b = g_build_filename(fake.state, "crun/b", NULL);
    g_assert_cmpint(mkdir(a, 0700), ==, 0);
    g_assert_cmpint(mkdir(b, 0700), ==, 0);
    cx_runtime_sweep(fake.runtime, DEADLINE_MS, &error);
    g_assert_no_error(error);
    g_assert_cmpint(access(a, F_OK), ==, -1);
    g_assert_cmpint(access(b, F_OK), ==, -1);
    argv = test_fake_get(fake.folder, "argv");
    g_assert_nonnull(strstr(argv, "delete --force -- a\n"));
    g_assert_nonnull(strstr(argv, "delete --force -- b\n"));
}

/* ---- finding one ----------------------------------------------------------------------------- */

static void
test_open_refused(void)
{
    g_autofree char *folder = g_dir_make_tmp("cx-driver-XXXXXX", NULL);
    g_autofree char *state = g_build_filename(folder, "state", NULL);
    g_autofree char *program = g_build_filename(folder, "crun", NULL);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) reasons = NULL;

    g_assert_null(cx_runtime_open(program, state, &reasons, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, program));
    g_assert_cmpuint(g_strv_length(reasons), ==, 1);
    g_clear_error(&error);

    test_fake_put(folder, "crun", "#!/bin/sh\necho hello\n", 0644);
    g_assert_null(cx_runtime_open(program, state, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);

    test_fake_put(folder, "crun", "#!/bin/sh\necho hello\n", 0755);
    g_assert_null(cx_runtime_open(program, state, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNSUPPORTED);
    g_clear_error(&error);

    test_fake_put(folder, "crun", "#!/bin/sh\necho kata version 3.0\n", 0755);
    g_assert_null(cx_runtime_open(program, state, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "kata"));
    g_clear_error(&error);

    g_assert_null(cx_runtime_open("kata", state, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    cx_remove_tree_at(AT_FDCWD, folder, NULL);
}

static void
test_open(void)
{
    static const struct {
        const char *version;
        const char *name;
        const char *number;
        gboolean takes_bpf;
    } cases[] = {
        {"crun version 1.8.1\ncommit: x\n", "crun",  "1.8.1",     TRUE },
        {"crun version 1.10\n",             "crun",  "1.10",      TRUE },
        {"crun version 1.7.2\n",            "crun",  "1.7.2",     FALSE},
        {"crun version 0.20\n",             "crun",  "0.20",      FALSE},
        {"runc version 1.1.5+ds1\n",        "runc",  "1.1.5+ds1", FALSE},
        {"youki version 0.7.0\n",           "youki", "0.7.0",     FALSE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(TestFake) fake = {0};
        struct stat st;

        test_fake_open(&fake, cases[i].version);
        g_assert_cmpstr(cx_runtime_get_name(fake.runtime), ==, cases[i].name);
        g_assert_cmpstr(cx_runtime_get_version(fake.runtime), ==, cases[i].number);
        g_assert_cmpint(cx_runtime_takes_bpf(fake.runtime), ==, cases[i].takes_bpf);
        g_assert_cmpint(stat(fake.state, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 0700);
    }
}

static void
add_cases(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(argv_cases); i++) {
        g_autofree char *path = g_strdup_printf("/driver/argv/%u", i);

        g_test_add_data_func(path, &argv_cases[i], test_argv);
    }
    for (guint i = 0; i < G_N_ELEMENTS(fake_cases); i++) {
        g_autofree char *path = g_strconcat("/driver/create/", fake_cases[i].name, NULL);

        g_test_add_data_func(path, &fake_cases[i], test_fake);
    }
    for (guint i = 0; i < G_N_ELEMENTS(state_cases); i++) {
        g_autofree char *path = g_strdup_printf("/driver/state/%u", i);

        g_test_add_data_func(path, &state_cases[i], test_state);
    }
}

int
main(int argc, char **argv)
{
    const char *why;

    g_test_init(&argc, &argv, NULL);
    /* The driver of crun looks at the cgroup mounts; where they can be put right, let it not be in
     * the way. */
    (void)test_enter_sandbox(&why);
    add_cases();
    g_test_add_func("/driver/environment", test_environment);
    g_test_add_func("/driver/grandchild-keeps-stderr", test_grandchild_keeps_stderr);
    g_test_add_func("/driver/existing-is-unharmed", test_existing_is_unharmed);
    g_test_add_func("/driver/invalid-id", test_invalid_id);
    g_test_add_func("/driver/unknown-id", test_unknown_id);
    g_test_add_func("/driver/sweep", test_sweep);
    g_test_add_func("/driver/open", test_open);
    g_test_add_func("/driver/open-refused", test_open_refused);
    return g_test_run();
}
