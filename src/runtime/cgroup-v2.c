/* SPDX-License-Identifier: Apache-2.0 */

/* cgroup v2: one tree, in which a group has processes or passes controllers on, never both.
 *
 *     OWN/                      where the daemon was started
 *       cruxd-NAME/             the base group: device rules, passes memory, pids and cpu on
 *         shared/               containers without limits
 *         ID/                   one with limits
 *       cruxd-NAME.daemon/      the daemon itself, moved out of the way if it was alone in OWN
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/cgroup-private.h"

#define CPU_PERIOD_US 100000

static gboolean
has_controller(const char *folder, const char *file, const char *name)
{
    g_autofree char *path = g_build_filename(folder, file, NULL), *text = NULL;
    g_auto(GStrv) words = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;

    words = g_strsplit(g_strchomp(text), " ", -1);
    return g_strv_contains((const char *const *)words, name);
}

/* A service of systemd with Delegate=yes starts in the group it may divide, but is itself in the
 * way. */
static void
step_aside(const CxCgroups *self, const char *own)
{
    g_autofree char *procs = g_build_filename(own, "cgroup.procs", NULL), *text = NULL;
    g_autofree char *aside = g_strconcat(own, "/", self->name, ".daemon", NULL);
    char *next;

    if (!g_file_get_contents(procs, &text, NULL, NULL) || strtol(text, &next, 10) != getpid() ||
        strtol(next, NULL, 10) != 0)
        return; /* somebody else is there too */

    if (mkdir(aside, 0755) == 0 || errno == EEXIST)
        (void)cx_cgroup_write(aside, "cgroup.procs", "0", NULL);
}

static gboolean
pass_on(const char *folder, const char *name, GError **error)
{
    g_autofree char *word = g_strconcat("+", name, NULL);

    return has_controller(folder, "cgroup.subtree_control", name) ||
           cx_cgroup_write(folder, "cgroup.subtree_control", word, error);
}

static void
open_controller(CxCgroups *self, const char *own, const char *base, CxController controller)
{
    const char *name = cx_controller_name(controller);
    g_autoptr(GError) why = NULL;

    if (!has_controller(own, "cgroup.controllers", name)) {
        cx_cgroups_note(
            self, "cgroup v2: the %s controller is not passed on to \"%s\" (systemd: Delegate=yes)",
            name, own);
        return;
    }
    if (!pass_on(own, name, NULL))
        step_aside(self, own);
    if (!pass_on(own, name, &why) || !pass_on(base, name, &why)) {
        cx_cgroups_note(self, "cgroup v2: %s (other processes are in that group)", why->message);
        return;
    }
    self->folders[controller] = g_strdup(base);
}

static gboolean
open_v2(CxCgroups *self, GError **error)
{
    g_autofree char *own = cx_cgroup_find_own_folder(""), *base = NULL, *shared = NULL;
    g_autoptr(GError) why = NULL;

    if (own == NULL)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "not mounted");

    base = g_build_filename(own, self->name, NULL);
    shared = g_build_filename(base, "shared", NULL);
    if (!cx_cgroup_make_folder(self->made, base, error))
        return FALSE;

    for (guint i = CX_CONTROLLER_MEMORY; i < CX_N_CONTROLLERS; i++)
        open_controller(self, own, base, i);
    if (!cx_cgroup_make_folder(self->made, shared, error))
        return FALSE;
    self->base_fd = cx_cgroup_open_procs(shared, error);
    if (self->base_fd < 0)
        return FALSE;

    self->filters_devices = cx_cgroup_attach_device_rules(base, &why);
    if (!self->filters_devices)
        cx_cgroups_note(self, "cgroup v2: %s", why->message);
    return TRUE;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static gboolean
set_limits(const char *folder, const CxLimits *limits, GError **error)
{
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT, limits->memory_max);
    g_autofree char *pids = g_strdup_printf("%" G_GUINT64_FORMAT, limits->pids_max);
    g_autofree char *cpu =
        g_strdup_printf("%" G_GUINT64_FORMAT " %d",
                        MAX(limits->cpu_milli * (CPU_PERIOD_US / 1000), 1000), CPU_PERIOD_US);

    if (limits->memory_max > 0 && !cx_cgroup_write(folder, "memory.max", memory, error))
        return FALSE;
    /* Swap is no way round the limit; the file is missing where the kernel does not count swap. */
    if (limits->memory_max > 0)
        (void)cx_cgroup_write(folder, "memory.swap.max", "0", NULL);
    if (limits->pids_max > 0 && !cx_cgroup_write(folder, "pids.max", pids, error))
        return FALSE;

    return limits->cpu_milli == 0 || cx_cgroup_write(folder, "cpu.max", cpu, error);
}

static gboolean
make(const CxCgroups *self, CxCgroup *group, const CxLimits *limits, GError **error)
{
    CxController any = limits->memory_max > 0 ? CX_CONTROLLER_MEMORY
                       : limits->pids_max > 0 ? CX_CONTROLLER_PIDS
                                              : CX_CONTROLLER_CPU;
    g_autofree char *folder = g_build_filename(self->folders[any], group->id, NULL), *events = NULL;
    int fd;

    if (!cx_cgroup_make_folder(group->made, folder, error) || !set_limits(folder, limits, error))
        return FALSE;

    fd = cx_cgroup_open_procs(folder, error);
    if (fd < 0)
        return FALSE;

    /* One tree, so one group to be in: its own takes the place of the shared one. */
    g_array_set_size(group->join_fds, 0);
    g_array_append_val(group->join_fds, fd);
    events = g_build_filename(folder, "memory.events", NULL);
    if (limits->memory_max > 0)
        group->oom_fd = open(events, O_RDONLY | O_CLOEXEC);
    return TRUE;
}

/* memory.events counts what happens below the group too. */
static gboolean
was_oom_killed(const CxCgroup *group)
{
    char text[512] = "";
    const char *line;

    if (cx_pread_full(group->oom_fd, text, sizeof text - 1, 0, NULL) < 0)
        return FALSE;

    line = strstr(text, "\noom_kill ");
    return line != NULL && atoi(line + strlen("\noom_kill ")) > 0;
}

const CxCgroupOps cx_cgroup_v2 = {
    .name = "cgroup v2",
    .open = open_v2,
    .make = make,
    .was_oom_killed = was_oom_killed,
};
