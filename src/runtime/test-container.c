/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/test-container.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/tmp.h"
#include "runtime/cgroup.h"
#include "runtime/driver-private.h"

#define BUSYBOX "/bin/busybox"

static const char *const applets[] = {"cat",  "chmod", "dd",    "echo",  "grep",    "head", "id",
                                      "kill", "ls",    "mkdir", "mknod", "mount",   "sh",   "sleep",
                                      "tail", "test",  "touch", "true",  "unshare", "yes"};

gboolean
test_enter_sandbox(const char **out_why)
{
    if (geteuid() != 0)
        *out_why = "not root";
    else if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        *out_why = "no mount namespaces";
    else if (!cx_cgroup_fix_view(NULL))
        *out_why = "the cgroup view cannot be fixed";
    else
        return TRUE;

    return FALSE;
}

gboolean
test_can_run_containers(const char **out_why)
{
    if (access(BUSYBOX, X_OK) == 0)
        return test_enter_sandbox(out_why);

    *out_why = BUSYBOX " (busybox-static) is missing";
    return FALSE;
}

static void
make_root(const char *root)
{
    static const char *const folders[] = {"bin", "dev", "etc", "proc", "sys", "tmp"};
    cx_autofd int root_fd = -1, in = open(BUSYBOX, O_RDONLY | O_CLOEXEC), out = -1;
    g_autoptr(GError) error = NULL;
    struct stat st;

    g_assert_cmpint(mkdir(root, 0755), ==, 0);
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (guint i = 0; i < G_N_ELEMENTS(folders); i++)
        g_assert_cmpint(mkdirat(root_fd, folders[i], 0755), ==, 0);

    out = openat(root_fd, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    g_assert_cmpint(fstat(in, &st), ==, 0);
    cx_copy_range(in, 0, out, (guint64)st.st_size, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < G_N_ELEMENTS(applets); i++) {
        g_autofree char *name = g_strconcat("bin/", applets[i], NULL);

        g_assert_cmpint(symlinkat("busybox", root_fd, name), ==, 0);
    }
}

TestGround *
test_ground_new(const char *runtime)
{
    g_autofree char *program = g_find_program_in_path(runtime);
    TestGround *self;
    g_autoptr(GError) error = NULL;

    if (program == NULL)
        return NULL;

    self = g_new0(TestGround, 1);
    self->folder = g_dir_make_tmp("cx-runtime-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(chmod(self->folder, 0755), ==, 0);
    self->root = g_build_filename(self->folder, "root", NULL);
    self->state = g_build_filename(self->folder, "state", NULL);
    make_root(self->root);
    self->runtime = cx_runtime_open(runtime, self->state, NULL, &error);
    g_assert_no_error(error);
    return self;
}

void
test_ground_free(TestGround *self)
{
    g_auto(GStrv) left = NULL;
    g_autoptr(GError) error = NULL;

    if (self == NULL)
        return;

    left = cx_runtime_list(self->runtime);
    g_assert_cmpuint(g_strv_length(left), ==, 0);
    cx_runtime_unref(self->runtime);
    cx_remove_tree_at(AT_FDCWD, self->folder, &error);
    g_assert_no_error(error);
    g_free(self->folder);
    g_free(self->root);
    g_free(self->state);
    g_free(self);
}

gboolean
test_ground_has_process(TestGround *self)
{
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    struct stat root, theirs;
    const char *name;

    g_assert_cmpint(stat(self->root, &root), ==, 0);
    while ((name = g_dir_read_name(proc)) != NULL) {
        g_autofree char *path = g_build_filename("/proc", name, "root/.", NULL);

        if (g_ascii_isdigit(*name) && stat(path, &theirs) == 0 && theirs.st_dev == root.st_dev &&
            theirs.st_ino == root.st_ino)
            return TRUE;
    }
    return FALSE;
}

char *
test_ground_make_bundle(TestGround *self,
                        const char *id,
                        const char *const *args,
                        CxSpecFlags flags)
{
    char *bundle = g_build_filename(self->folder, id, NULL);
    g_autofree char *path = g_build_filename(bundle, "config.json", NULL), *json = NULL;
    CxContainerSpec spec = {
        .root = self->root, .args = args, .flags = flags | CX_SPEC_HOST_NETWORK};
    g_autoptr(GError) error = NULL;

    json = cx_container_spec_to_json(&spec, self->runtime, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_mkdir_with_parents(bundle, 0700), ==, 0);
    g_file_set_contents(path, json, -1, &error);
    g_assert_no_error(error);
    return bundle;
}

char *
test_ground_make_script(TestGround *self, const char *id, const char *script)
{
    const char *const args[] = {"/bin/sh", "-c", script, NULL};

    return test_ground_make_bundle(self, id, args, 0);
}
