/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/json.h"
#include "base/tmp.h"
#include "runtime/spec.h"
#include "runtime/test-container.h"

/* A driver that never runs anything: only its name and version matter here. */
static CxRuntime *
open_fake(const char *version)
{
    g_autofree char *folder = g_dir_make_tmp("cx-spec-XXXXXX", NULL);
    g_autofree char *program = g_build_filename(folder, "runtime", NULL);
    g_autofree char *state = g_build_filename(folder, "state", NULL);
    g_autofree char *script = g_strdup_printf("#!/bin/sh\necho '%s'\n", version);
    g_autoptr(GError) error = NULL;
    CxRuntime *runtime;

    g_file_set_contents(program, script, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(chmod(program, 0755), ==, 0);
    runtime = cx_runtime_open(program, state, NULL, &error);
    g_assert_no_error(error);
    cx_remove_tree_at(AT_FDCWD, folder, NULL);
    return runtime;
}

static const char *const true_args[] = {"/bin/true", NULL};

/* The member that a path of names and indices leads to: "process/args/0". */
static json_t *
find(json_t *object, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (guint i = 0; parts[i] != NULL; i++)
        object = json_is_array(object)
                     ? json_array_get(object, (gsize)g_ascii_strtoull(parts[i], NULL, 10))
                     : json_object_get(object, parts[i]);
    return object;
}

static json_t *
make(const CxContainerSpec *spec, const char *version)
{
    g_autoptr(CxRuntime) runtime = open_fake(version);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = cx_container_spec_to_json(spec, runtime, &error);
    json_t *config;

    g_assert_no_error(error);
    config = cx_json_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    return config;
}

static gboolean
has_string(json_t *array, const char *text)
{
    gsize i;
    json_t *item;

    json_array_foreach(array, i,
                       item) if (g_strcmp0(json_string_value(item), text) == 0) return TRUE;

    return FALSE;
}

/* Each of these must be there with every choice of flags. */
static void
test_defaults(void)
{
    CxContainerSpec spec = {.root = "/r", .args = true_args};
    g_autoptr(json_t) config = make(&spec, "runc version 1.1.5");
    static const struct {
        const char *path;
        const char *value;
    } strings[] = {
        {"ociVersion",                  "1.0.2"                                                            },
        {"root/path",                   "/r"                                                               },
        {"hostname",                    "localhost"                                                        },
        {"process/cwd",                 "/"                                                                },
        {"process/args/0",              "/bin/true"                                                        },
        {"process/env/0",               "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"process/env/1",               "HOME=/"                                                           },
        {"mounts/0/destination",        "/proc"                                                            },
        {"mounts/1/destination",        "/dev"                                                             },
        {"mounts/1/type",               "tmpfs"                                                            },
        {"mounts/5/destination",        "/sys"                                                             },
        {"mounts/5/options/3",          "ro"                                                               },
        {"linux/namespaces/4/type",     "network"                                                          },
        {"linux/seccomp/defaultAction", "SCMP_ACT_ERRNO"                                                   },
    };

    for (guint i = 0; i < G_N_ELEMENTS(strings); i++) {
        g_test_message("%s", strings[i].path);
        g_assert_cmpstr(json_string_value(find(config, strings[i].path)), ==, strings[i].value);
    }
    g_assert_true(json_is_false(find(config, "process/terminal")));
    g_assert_true(json_is_false(find(config, "process/noNewPrivileges")));
    g_assert_true(json_is_false(find(config, "root/readonly")));
    g_assert_cmpuint(json_array_size(find(config, "process/capabilities/bounding")), ==, 14);
    g_assert_cmpuint(json_array_size(find(config, "process/capabilities/inheritable")), ==, 0);
    g_assert_null(find(config, "process/capabilities/ambient"));
    g_assert_null(find(config, "linux/resources"));
    g_assert_null(find(config, "annotations"));
    g_assert_true(has_string(find(config, "linux/maskedPaths"), "/proc/kcore"));
    g_assert_true(has_string(find(config, "linux/readonlyPaths"), "/proc/sys"));
}

static void
test_choices(void)
{
    const char *const env[] = {"PATH=/bin", "A=1", "HOME=/h", "A=2=3", "bad", "=x", NULL};
    const guint32 gids[] = {4, 33};
    /* clang-format off */
    const CxBind binds[] = {{"/src", "/etc/hosts", TRUE}, {"/cache", "/c", FALSE}};
    /* clang-format on */
    CxContainerSpec spec = {
        .root = "/r",
        .hostname = "h",
        .args = true_args,
        .env = env,
        .home = "/root",
        .cwd = "/a//b/./c",
        .uid = 4294967294u,
        .gid = 7,
        .additional_gids = gids,
        .n_additional_gids = 2,
        .binds = binds,
        .n_binds = 2,
        .flags = CX_SPEC_NO_NEW_PRIVILEGES | CX_SPEC_HOST_NETWORK | CX_SPEC_READ_ONLY_ROOT |
                 CX_SPEC_TERMINAL | CX_SPEC_NO_MKNOD,
    };
    g_autoptr(json_t) config = make(&spec, "crun version 1.8.1");
    json_t *bounding = find(config, "process/capabilities/bounding");

    g_assert_cmpstr(json_string_value(find(config, "process/cwd")), ==, "/a/b/c");
    g_assert_cmpstr(json_string_value(find(config, "hostname")), ==, "h");
    g_assert_cmpint(json_integer_value(find(config, "process/user/uid")), ==, 4294967294);
    g_assert_cmpint(json_integer_value(find(config, "process/user/additionalGids/1")), ==, 33);
    g_assert_cmpstr(json_string_value(find(config, "process/env/0")), ==, "PATH=/bin");
    g_assert_cmpstr(json_string_value(find(config, "process/env/1")), ==, "HOME=/h");
    g_assert_cmpstr(json_string_value(find(config, "process/env/2")), ==, "TERM=xterm");
    g_assert_cmpstr(json_string_value(find(config, "process/env/3")), ==, "A=2=3");
    g_assert_cmpuint(json_array_size(find(config, "process/env")), ==, 4);
    g_assert_true(json_is_true(find(config, "process/terminal")));
    g_assert_true(json_is_true(find(config, "process/noNewPrivileges")));
    g_assert_true(json_is_true(find(config, "root/readonly")));
    g_assert_false(has_string(bounding, "CAP_MKNOD"));
    g_assert_true(has_string(bounding, "CAP_CHOWN"));
    g_assert_cmpuint(json_array_size(find(config, "linux/namespaces")), ==, 4);
    g_assert_cmpstr(json_string_value(find(config, "mounts/6/source")), ==, "/src");
    g_assert_true(has_string(find(config, "mounts/6/options"), "ro"));
    g_assert_true(has_string(find(config, "mounts/7/options"), "rw"));
    g_assert_null(find(config, "linux/seccomp"));
    g_assert_cmpuint(json_string_length(find(config, "annotations/run.oci.seccomp_bpf_data")), >,
                     1000);
}

static void
test_rlimits(void)
{
    static const struct {
        guint64 asked, ours, soft, hard;
    } cases[] = {
        {0,    2000, 1024, 2000},
        {700,  2000, 700,  700 },
        {5000, 2000, 2000, 2000},
        {0,    500,  500,  500 }, /* a limit can only be lowered: last */
    };
    struct rlimit before, now;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        CxContainerSpec spec = {.root = "/r", .args = true_args, .nofile = cases[i].asked};
        g_autoptr(json_t) config = NULL;

        if (cases[i].ours > before.rlim_max)
            continue;
        now = (struct rlimit){.rlim_cur = MIN(before.rlim_cur, cases[i].ours),
                              .rlim_max = cases[i].ours};
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &now), ==, 0);
        config = make(&spec, "runc version 1.1.5");
        g_assert_cmpint(json_integer_value(find(config, "process/rlimits/0/soft")), ==,
                        (gint64)cases[i].soft);
        g_assert_cmpint(json_integer_value(find(config, "process/rlimits/0/hard")), ==,
                        (gint64)cases[i].hard);
    }
}

static void
test_deterministic(void)
{
    const char *const env[] = {"B=2", "A=1", NULL};
    CxContainerSpec spec = {.root = "/r", .args = true_args, .env = env};
    g_autoptr(CxRuntime) runtime = open_fake("crun version 1.8.1");
    g_autofree char *a = cx_container_spec_to_json(&spec, runtime, NULL);
    g_autofree char *b = cx_container_spec_to_json(&spec, runtime, NULL);

    g_assert_cmpstr(a, ==, b);
}

static void
test_refused(void)
{
    static const char *const no_args[] = {NULL}, *const bad_args[] = {"/bin/echo", "\xff", NULL},
                             *const bad_env[] = {"A=\xff", NULL};
    static const CxBind relative = {"src", "/d", FALSE}, dotdot = {"/s", "/d/../../e", FALSE};
    /* clang-format off */
    const CxContainerSpec cases[] = {
        {.root = "/r", .args = no_args},
        {.root = "/r", .args = NULL},
        {.root = "/r", .args = bad_args},
        {.root = "/r", .args = true_args, .env = bad_env},
        {.root = "r", .args = true_args},
        {.root = NULL, .args = true_args},
        {.root = "/r", .args = true_args, .cwd = "a"},
        {.root = "/r", .args = true_args, .cwd = "/a/../b"},
        {.root = "/r", .args = true_args, .cwd = "/proc/self/fd/7"},
        {.root = "/r", .args = true_args, .cwd = "//./proc"},
        {.root = "/r", .args = true_args, .cwd = "/\xff"},
        {.root = "/r", .args = true_args, .hostname = "\xff"},
        {.root = "/r", .args = true_args, .binds = &relative, .n_binds = 1},
        {.root = "/r", .args = true_args, .binds = &dotdot, .n_binds = 1},
    };
    /* clang-format on */
    g_autoptr(CxRuntime) runtime = open_fake("runc version 1.1.5");

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_test_message("case %u", i);
        g_assert_null(cx_container_spec_to_json(&cases[i], runtime, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    }
}

static void
test_env_merge(void)
{
    static const struct {
        const char *base, *more, *merged; /* entries parted by spaces */
    } cases[] = {
        {"",          "",        ""             },
        {"A=1 B=2",   "",        "A=1 B=2"      },
        {"A=1 B=2",   "B=3",     "A=1 B=3"      },
        {"A=1 B=2",   "C=3 A=4", "A=4 B=2 C=3"  },
        {"A=1 A=2",   "",        "A=2"          },
        {"A=foo=bar", "B==",     "A=foo=bar B=="},
        {"A B=1 =c",  "C",       "B=1"          },
        {"AB=1",      "A=2",     "AB=1 A=2"     },
        {"A=1",       "A=",      "A="           },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) base = g_strsplit(cases[i].base, " ", -1),
                      more = g_strsplit(cases[i].more, " ", -1);
        g_auto(GStrv) merged = cx_env_merge((const char *const *)base, (const char *const *)more);
        g_autofree char *text = g_strjoinv(" ", merged);

        g_assert_cmpstr(text, ==, cases[i].merged);
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
    g_test_add_func("/spec/defaults", test_defaults);
    g_test_add_func("/spec/choices", test_choices);
    g_test_add_func("/spec/deterministic", test_deterministic);
    g_test_add_func("/spec/refused", test_refused);
    g_test_add_func("/spec/env-merge", test_env_merge);
    g_test_add_func("/spec/rlimits", test_rlimits); /* lowers our own limit: last */
    return g_test_run();
}
