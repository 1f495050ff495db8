/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/cgroup-private.h"

#define TOP "/sys/fs/cgroup"
#define KILL_ROUNDS 20 /* against a group that forks faster than we kill */
#define KILL_WAIT_MS 1000

const CxDeviceRule cx_device_rules[] = {
    {1,   3 }, /* null */
    {1,   5 }, /* zero */
    {1,   7 }, /* full */
    {1,   8 }, /* random */
    {1,   9 }, /* urandom */
    {5,   0 }, /* tty */
    {5,   2 }, /* ptmx */
    {136, -1}, /* pts */
};
const guint cx_n_device_rules = G_N_ELEMENTS(cx_device_rules);

static const char *const controller_names[] = {"devices", "memory", "pids", "cpu"};
G_STATIC_ASSERT(G_N_ELEMENTS(controller_names) == CX_N_CONTROLLERS);

const char *
cx_controller_name(CxController controller)
{
    return controller_names[controller];
}

void
cx_cgroups_note(CxCgroups *self, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(self->lines, g_strdup_vprintf(format, args));
    va_end(args);
}

/* ---- mounts ---------------------------------------------------------------------------------- */

/* A line of /proc/self/mountinfo, as far as it matters (proc(5)). */
typedef struct {
    const char *root;
    const char *point;
    const char *type;
    const char *options; /* of the super block: "rw,memory" */
} Mount;

/* 36 35 98:0 ROOT POINT rw shared:1 … - TYPE source OPTIONS */
static gboolean
parse_mount(const GStrv fields, Mount *out_mount)
{
    guint n = g_strv_length(fields), dash = 6;

    while (dash < n && strcmp(fields[dash], "-") != 0)
        dash++;
    if (dash + 3 >= n)
        return FALSE;

    *out_mount = (Mount){.root = fields[3],
                         .point = fields[4],
                         .type = fields[dash + 1],
                         .options = fields[dash + 3]};
    return TRUE;
}

typedef gboolean (*MountVisitor)(const Mount *mount, gpointer data);

/* Calls visit for every mount until it returns FALSE. */
static void
visit_mounts(MountVisitor visit, gpointer data)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return;

    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], " ", -1);
        Mount mount;

        if (parse_mount(fields, &mount) && !visit(&mount, data))
            return;
    }
}

static gboolean
has_word(const char *list, const char *word)
{
    g_auto(GStrv) words = g_strsplit(list, ",", -1);

    return g_strv_contains((const char *const *)words, word);
}

typedef struct {
    const char *controller; /* "": v2 */
    char *root;             /* (owned) */
    char *point;            /* (owned) */
} Search;

static gboolean
find_hierarchy(const Mount *mount, gpointer data)
{
    Search *search = data;
    gboolean v2 = *search->controller == '\0';

    if (strcmp(mount->type, v2 ? "cgroup2" : "cgroup") != 0 ||
        (!v2 && !has_word(mount->options, search->controller)))
        return TRUE;

    search->root = g_strdup(mount->root);
    search->point = g_strdup(mount->point);
    return FALSE;
}

/* The path of this process in a hierarchy, from /proc/self/cgroup: "4:memory:/a/b", "0::/a/b". */
static char *
find_own_path(const char *controller)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL))
        return g_strdup("/");

    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], ":", 3);

        if (g_strv_length(fields) == 3 &&
            (*controller == '\0' ? strcmp(fields[0], "0") == 0 : has_word(fields[1], controller)))
            return g_strdup(fields[2]);
    }
    return g_strdup("/");
}

char *
cx_cgroup_find_own_folder(const char *controller)
{
    Search search = {.controller = controller};
    g_autofree char *path = find_own_path(controller), *folder = NULL;
    const char *below = path;

    visit_mounts(find_hierarchy, &search);
    if (search.point == NULL)
        return NULL;

    /* In a container the mount may begin at our own group, while the path still names it from the
     * host's root. */
    if (strcmp(search.root, "/") != 0 && g_str_has_prefix(path, search.root))
        below = path + strlen(search.root);
    folder = g_build_filename(search.point, below[0] == '/' ? below + 1 : below, NULL);
    g_free(search.root);
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
        return search.point;

    g_free(search.point);
    return g_steal_pointer(&folder);
}

typedef struct {
    gboolean has_v1;
    char *v2_point; /* (owned) below TOP */
} View;

static gboolean
look_for_hybrid(const Mount *mount, gpointer data)
{
    View *view = data;

    if (!g_str_has_prefix(mount->point, TOP "/"))
        return TRUE;
    if (strcmp(mount->type, "cgroup") == 0)
        view->has_v1 = TRUE;
    if (strcmp(mount->type, "cgroup2") == 0 && view->v2_point == NULL)
        view->v2_point = g_strdup(mount->point);
    return TRUE;
}

gboolean
cx_cgroup_fix_view(GError **error)
{
    View view = {0};
    g_autofree char *point = NULL;

    visit_mounts(look_for_hybrid, &view);
    point = view.v2_point;
    if (!view.has_v1 || point == NULL)
        return TRUE;

    /* Never on the host's side: an unmount travels to the peers of the mount it is on. */
    if (mount(NULL, TOP, NULL, MS_REC | MS_SLAVE, NULL) < 0 && errno != EINVAL)
        return cx_throw_errno(error, "\"%s\"", TOP);
    if (umount2(point, MNT_DETACH) < 0)
        return cx_throw_errno(error, "hide \"%s\", which is beside cgroup v1", point);

    return TRUE;
}

/* ---- folders --------------------------------------------------------------------------------- */

gboolean
cx_cgroup_write(const char *folder, const char *file, const char *value, GError **error)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    cx_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return cx_throw_errno(error, "write \"%s\" to \"%s\"", value, path);

    return TRUE;
}

int
cx_cgroup_open_procs(const char *folder, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "cgroup.procs", NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 ? fd : cx_throw_errno_fd(error, "\"%s\"", path);
}

/* KILL to all of a group; waits for each.  TRUE when there was nobody. */
static gboolean
kill_round(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "cgroup.procs", NULL), *text = NULL;
    char *next;
    gboolean empty = TRUE;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return TRUE;
    for (long pid = strtol(text, &next, 10); pid > 0; pid = strtol(next, &next, 10)) {
        cx_autofd int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
        struct pollfd entry = {.fd = pidfd, .events = POLLIN};

        empty = FALSE;
        if (pidfd < 0)
            continue;
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        (void)poll(&entry, 1, KILL_WAIT_MS);
    }
    return empty;
}

/* Kills what is in a group and the groups below it, and removes them.  A missing one is fine. */
static void
remove_folder(const char *path)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    if (rmdir(path) == 0 || errno == ENOENT)
        return;

    dir = g_dir_open(path, 0, NULL);
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *below = g_build_filename(path, name, NULL);

        if (g_file_test(below, G_FILE_TEST_IS_DIR))
            remove_folder(below);
    }
    for (guint i = 0; i < KILL_ROUNDS && !kill_round(path); i++)
        ;
    (void)rmdir(path);
}

static void
remove_folders(const GPtrArray *made)
{
    for (guint i = made->len; i-- > 0;)
        remove_folder(g_ptr_array_index(made, i));
}

gboolean
cx_cgroup_make_folder(GPtrArray *made, const char *path, GError **error)
{
    int rc = mkdir(path, 0755);

    if (rc < 0 && errno == EEXIST) {
        remove_folder(path);
        rc = mkdir(path, 0755);
    }
    if (rc < 0)
        return cx_throw_errno(error, "cgroup \"%s\"", path);

    g_ptr_array_add(made, g_strdup(path));
    return TRUE;
}

/* ---- the base group -------------------------------------------------------------------------- */

CxCgroups *
cx_cgroups_open(const char *instance_name)
{
    static const CxCgroupOps *const versions[] = {&cx_cgroup_v1, &cx_cgroup_v2};
    CxCgroups *self = g_new0(CxCgroups, 1);

    self->name = g_strconcat("cruxd-", instance_name, NULL);
    self->lines = g_ptr_array_new_with_free_func(g_free);
    self->made = g_ptr_array_new_with_free_func(g_free);
    self->base_fd = -1;
    for (guint i = 0; self->ops == NULL && i < G_N_ELEMENTS(versions); i++) {
        g_autoptr(GError) why = NULL;

        if (versions[i]->open(self, &why))
            self->ops = versions[i];
        else
            cx_cgroups_note(self, "%s: %s", versions[i]->name, why->message);
    }
    if (self->ops != NULL)
        cx_cgroups_note(self, "%s: device access is %s", self->ops->name,
                        self->filters_devices
                            ? "filtered"
                            : "not filtered, so containers cannot make device nodes");
    for (guint i = CX_CONTROLLER_MEMORY; self->ops != NULL && i < CX_N_CONTROLLERS; i++)
        cx_cgroups_note(self, "%s: %s limits are %s", self->ops->name, controller_names[i],
                        self->folders[i] != NULL ? "available" : "not available");
    return self;
}

void
cx_cgroups_close(CxCgroups *self)
{
    if (self == NULL)
        return;

    remove_folders(self->made);
    cx_clear_fd(&self->base_fd);
    for (guint i = 0; i < CX_N_CONTROLLERS; i++)
        g_free(self->folders[i]);
    g_ptr_array_unref(self->made);
    g_ptr_array_unref(self->lines);
    g_free(self->name);
    g_free(self);
}

gboolean
cx_cgroups_filters_devices(const CxCgroups *self)
{
    return self->filters_devices;
}

GStrv
cx_cgroups_explain(const CxCgroups *self)
{
    g_autoptr(GStrvBuilder) lines = g_strv_builder_new();

    for (guint i = 0; i < self->lines->len; i++)
        g_strv_builder_add(lines, g_ptr_array_index(self->lines, i));

    return g_strv_builder_end(lines);
}

/* ---- the group of one container -------------------------------------------------------------- */

static gboolean
check_limits(const CxCgroups *self, const CxLimits *limits, GError **error)
{
    const guint64 wanted[CX_N_CONTROLLERS] = {
        [CX_CONTROLLER_MEMORY] = limits->memory_max,
        [CX_CONTROLLER_PIDS] = limits->pids_max,
        [CX_CONTROLLER_CPU] = limits->cpu_milli,
    };

    for (guint i = 0; i < CX_N_CONTROLLERS; i++)
        if (wanted[i] > 0 && self->folders[i] == NULL)
            return cx_throw(error, CX_ERROR_UNSUPPORTED,
                            "a %s limit is asked for, but this machine lets us set none (cruxd "
                            "doctor says why)",
                            controller_names[i]);

    return TRUE;
}

CxCgroup *
cx_cgroups_make(CxCgroups *self, const char *id, const CxLimits *limits, GError **error)
{
    CX_ERROR_CONTEXT(error, "limits of \"%s\"", id);
    g_autoptr(CxCgroup) group = g_new0(CxCgroup, 1);

    group->owner = self;
    group->id = g_strdup(id);
    group->made = g_ptr_array_new_with_free_func(g_free);
    group->join_fds = g_array_new(FALSE, FALSE, sizeof(int));
    group->oom_fd = -1;
    if (self->base_fd >= 0)
        g_array_append_val(group->join_fds, self->base_fd);
    if (limits->memory_max == 0 && limits->pids_max == 0 && limits->cpu_milli == 0)
        return g_steal_pointer(&group);

    if (!check_limits(self, limits, error) || !self->ops->make(self, group, limits, error))
        return NULL;

    return g_steal_pointer(&group);
}

const int *
cx_cgroup_get_join_fds(const CxCgroup *self, guint *out_n)
{
    *out_n = self->join_fds->len;
    return (const int *)(gpointer)self->join_fds->data;
}

gboolean
cx_cgroup_was_oom_killed(CxCgroup *self)
{
    return self->oom_fd >= 0 && self->owner->ops->was_oom_killed(self);
}

void
cx_cgroup_free(CxCgroup *self)
{
    if (self == NULL)
        return;

    remove_folders(self->made);
    for (guint i = 0; i < self->join_fds->len; i++)
        if (g_array_index(self->join_fds, int, i) != self->owner->base_fd)
            cx_clear_fd(&g_array_index(self->join_fds, int, i));
    cx_clear_fd(&self->oom_fd);
    g_array_unref(self->join_fds);
    g_ptr_array_unref(self->made);
    g_free(self->id);
    g_free(self);
}
