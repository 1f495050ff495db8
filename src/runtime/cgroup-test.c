/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/cgroup-private.h"
#include "runtime/cgroup.h"
#include "runtime/test-container.h"

/* Groups of the real kernel, in mount namespaces of the test's own.  Each test says which view it
 * needs and skips where the machine cannot give it. */

#define TOP "/sys/fs/cgroup"

static char *
instance_name(void)
{
    return g_strdup_printf("cgroup-test-%d", (int)getpid());
}

/* Runs body in a child that has joined a group; its result is the child's exit code. */
static int
run_inside(const CxCgroup *group, int (*body)(void))
{
    int status = 0;
    guint n;
    const int *fds = cx_cgroup_get_join_fds(group, &n);
    pid_t pid = fork();

    if (pid == 0) {
        for (guint i = 0; i < n; i++)
            if (write(fds[i], "0", 1) != 1)
                _exit(200);
        _exit(body());
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 0 if it could be made and opened, else the errno of the first that failed (+100: of making it).
 */
static int
try_device(mode_t type, guint major_number, guint minor_number)
{
    g_autofree char *folder = g_dir_make_tmp("cx-cgroup-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "node", NULL);
    int result = 0, fd;

    if (mknod(path, type | 0600, makedev(major_number, minor_number)) < 0) {
        result = 100 + errno;
    } else {
        fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        result = fd < 0 ? errno : 0;
        (void)close(fd);
    }
    (void)unlink(path);
    (void)rmdir(folder);
    return result;
}

static int
open_null(void)
{
    return try_device(S_IFCHR, 1, 3);
}

static int
open_urandom(void)
{
    return try_device(S_IFCHR, 1, 9);
}

static int
open_memory(void)
{
    return try_device(S_IFCHR, 1, 1);
}

static int
open_disk(void)
{
    return try_device(S_IFBLK, 7, 0);
}

static int
open_kmsg(void)
{
    return try_device(S_IFCHR, 1, 11);
}

static void
check_devices(CxCgroups *cgroups)
{
    static const CxLimits none = {0};
    g_autoptr(CxCgroup) group = cx_cgroups_make(cgroups, "c1", &none, NULL);

    g_assert_nonnull(group);
    g_assert_cmpint(run_inside(group, open_null), ==, 0);
    g_assert_cmpint(run_inside(group, open_urandom), ==, 0);
    g_assert_cmpint(run_inside(group, open_memory), ==, EPERM);
    g_assert_cmpint(run_inside(group, open_disk), ==, EPERM);
    g_assert_cmpint(run_inside(group, open_kmsg), ==, EPERM);
    g_assert_cmpint(open_kmsg(), ==, 0); /* so it was the group that refused */
}

static CxCgroups *
open_groups(const char *expected)
{
    g_autofree char *name = instance_name();
    CxCgroups *cgroups = cx_cgroups_open(name);
    g_auto(GStrv) lines = cx_cgroups_explain(cgroups);

    for (guint i = 0; lines[i] != NULL; i++)
        g_test_message("%s", lines[i]);
    g_assert_cmpstr(cgroups->ops != NULL ? cgroups->ops->name : "", ==, expected);
    return cgroups;
}

/* ---- the view -------------------------------------------------------------------------------- */

static void
test_fix_view(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *mounts = NULL;

    /* main has called it already: nothing is left to do, and that is fine */
    cx_cgroup_fix_view(&error);
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents("/proc/self/mounts", &mounts, NULL, NULL));
    if (strstr(mounts, " " TOP "/") != NULL)
        g_assert_null(strstr(mounts, " " TOP "/unified cgroup2 "));
}

/* ---- v1 -------------------------------------------------------------------------------------- */

static gboolean
has_v1(void)
{
    g_autofree char *folder = cx_cgroup_find_own_folder("devices");

    if (folder == NULL)
        g_test_skip("no cgroup v1 here");
    return folder != NULL;
}

static char *
read_value(const CxCgroups *cgroups, CxController controller, const char *file)
{
    g_autofree char *path = g_build_filename(cgroups->folders[controller], "c1", file, NULL);
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_strchomp(text);
}

static void
test_v1_devices(void)
{
    g_autoptr(CxCgroups) cgroups = NULL;

    if (!has_v1())
        return;

    cgroups = open_groups("cgroup v1");
    g_assert_true(cx_cgroups_filters_devices(cgroups));
    check_devices(cgroups);
}

static void
test_v1_limits(void)
{
    CxLimits limits = {.memory_max = 64 << 20, .pids_max = 33, .cpu_milli = 1500};
    g_autoptr(CxCgroups) cgroups = NULL;
    g_autoptr(CxCgroup) group = NULL;
    g_autofree char *memory = NULL, *pids = NULL, *quota = NULL, *folder = NULL;
    g_autoptr(GError) error = NULL;
    guint n;

    if (!has_v1())
        return;

    cgroups = open_groups("cgroup v1");
    group = cx_cgroups_make(cgroups, "c1", &limits, &error);
    g_assert_no_error(error);
    (void)cx_cgroup_get_join_fds(group, &n);
    g_assert_cmpuint(n, ==, 4);
    memory = read_value(cgroups, CX_CONTROLLER_MEMORY, "memory.limit_in_bytes");
    pids = read_value(cgroups, CX_CONTROLLER_PIDS, "pids.max");
    quota = read_value(cgroups, CX_CONTROLLER_CPU, "cpu.cfs_quota_us");
    g_assert_cmpstr(memory, ==, "67108864");
    g_assert_cmpstr(pids, ==, "33");
    g_assert_cmpstr(quota, ==, "150000");
    g_assert_false(cx_cgroup_was_oom_killed(group));

    folder = g_build_filename(cgroups->folders[CX_CONTROLLER_PIDS], "c1", NULL);
    g_clear_pointer(&group, cx_cgroup_free);
    g_assert_cmpint(access(folder, F_OK), ==, -1);
}

static void
test_without_limits_no_folder(void)
{
    static const CxLimits none = {0};
    g_autoptr(CxCgroups) cgroups = NULL;
    g_autoptr(CxCgroup) group = NULL;
    guint n;

    if (!has_v1())
        return;

    cgroups = open_groups("cgroup v1");
    group = cx_cgroups_make(cgroups, "c1", &none, NULL);
    (void)cx_cgroup_get_join_fds(group, &n);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(group->made->len, ==, 0);
    g_assert_false(cx_cgroup_was_oom_killed(group));
}

/* A daemon that was killed left a process and a group below its base. */
static void
test_leftovers(void)
{
    CxLimits limits = {.pids_max = 10};
    g_autoptr(CxCgroups) second = NULL;
    CxCgroups *first;
    CxCgroup *group;
    const int *fds;
    int status;
    pid_t pid;
    guint n;

    if (!has_v1())
        return;

    first = open_groups("cgroup v1");
    group = cx_cgroups_make(first, "c1", &limits, NULL);
    g_assert_nonnull(group);
    fds = cx_cgroup_get_join_fds(group, &n);
    pid = fork();
    if (pid == 0) {
        for (;;)
            (void)pause();
    }
    for (guint i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("%d", (int)pid);

        g_assert_true(cx_write_all(fds[i], text, strlen(text), NULL));
    }

    second = open_groups("cgroup v1");
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    g_assert_true(cx_cgroups_filters_devices(second));
    cx_cgroup_free(group);
    g_assert_true(cx_cgroups_filters_devices(second));
    g_clear_pointer(&second, cx_cgroups_close);
    cx_cgroups_close(first);
}

/* ---- other views; each in a namespace that is left as it is --------------------------------------- */

/* Shows the v2 tree alone, as a machine without v1 has it. */
static gboolean
enter_v2_view(void)
{
    struct statfs fs;

    if (unshare(CLONE_NEWNS) < 0)
        return FALSE;
    while (statfs(TOP, &fs) == 0 && umount2(TOP, MNT_DETACH) == 0)
        ;
    return mount("cgroup2", TOP, "cgroup2", 0, NULL) == 0;
}

static void
test_v2(void)
{
    g_autoptr(CxCgroups) cgroups = NULL;
    g_autofree char *shared = NULL, *own = NULL;

    if (!enter_v2_view()) {
        g_test_skip("no cgroup v2 here");
        return;
    }
    cgroups = open_groups("cgroup v2");
    if (!cx_cgroups_filters_devices(cgroups)) {
        g_test_skip("the kernel takes no device program");
        return;
    }
    check_devices(cgroups);

    own = cx_cgroup_find_own_folder("");
    shared = g_build_filename(own, cgroups->name, "shared", NULL);
    g_assert_cmpint(access(shared, F_OK), ==, 0);
    g_clear_pointer(&cgroups, cx_cgroups_close);
    g_assert_cmpint(access(shared, F_OK), ==, -1);
}

/* The limits of v2 where the tree has their controllers (not beside v1). */
static void
test_v2_limits(void)
{
    CxLimits limits = {.memory_max = 64 << 20, .pids_max = 33, .cpu_milli = 1500};
    g_autoptr(CxCgroups) cgroups = NULL;
    g_autoptr(CxCgroup) group = NULL;
    g_autofree char *memory = NULL, *pids = NULL, *cpu = NULL;
    g_autoptr(GError) error = NULL;
    guint n;

    if (!enter_v2_view()) {
        g_test_skip("no cgroup v2 here");
        return;
    }
    cgroups = open_groups("cgroup v2");
    group = cx_cgroups_make(cgroups, "c1", &limits, &error);
    if (cx_error_is(error, CX_ERROR_UNSUPPORTED)) {
        g_test_skip(error->message);
        return;
    }
    g_assert_no_error(error);
    (void)cx_cgroup_get_join_fds(group, &n);
    g_assert_cmpuint(n, ==, 1);
    memory = read_value(cgroups, CX_CONTROLLER_MEMORY, "memory.max");
    pids = read_value(cgroups, CX_CONTROLLER_PIDS, "pids.max");
    cpu = read_value(cgroups, CX_CONTROLLER_CPU, "cpu.max");
    g_assert_cmpstr(memory, ==, "67108864");
    g_assert_cmpstr(pids, ==, "33");
    g_assert_cmpstr(cpu, ==, "150000 100000");
}

static void
test_no_cgroups(void)
{
    static const CxLimits none = {0}, wanted = {.pids_max = 5};
    g_autoptr(CxCgroups) cgroups = NULL;
    g_autoptr(CxCgroup) group = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) error = NULL;
    guint n;

    g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
    while (umount2(TOP, MNT_DETACH) == 0)
        ;
    cgroups = open_groups("");
    lines = cx_cgroups_explain(cgroups);
    g_assert_cmpuint(g_strv_length(lines), ==, 2);
    g_assert_false(cx_cgroups_filters_devices(cgroups));
    group = cx_cgroups_make(cgroups, "c1", &none, &error);
    g_assert_no_error(error);
    (void)cx_cgroup_get_join_fds(group, &n);
    g_assert_cmpuint(n, ==, 0);
    g_assert_null(cx_cgroups_make(cgroups, "c2", &wanted, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "pids limit"));
}

int
main(int argc, char **argv)
{
    const char *why;

    g_test_init(&argc, &argv, NULL);
    if (!test_enter_sandbox(&why)) {
        g_print("1..0 # SKIP %s\n", why);
        return 0;
    }
    g_test_add_func("/cgroup/fix-view", test_fix_view);
    g_test_add_func("/cgroup/v1/devices", test_v1_devices);
    g_test_add_func("/cgroup/v1/limits", test_v1_limits);
    g_test_add_func("/cgroup/v1/without-limits-no-folder", test_without_limits_no_folder);
    g_test_add_func("/cgroup/v1/leftovers", test_leftovers);
    g_test_add_func("/cgroup/v2/devices", test_v2);
    g_test_add_func("/cgroup/v2/limits", test_v2_limits);
    g_test_add_func("/cgroup/neither/explained", test_no_cgroups);
    return g_test_run();
}
