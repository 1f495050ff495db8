/* SPDX-License-Identifier: Apache-2.0 */

/* cgroup v1: every controller is a tree of its own.  Containers without limits share cruxd-NAME of
 * the devices tree; limits are folders cruxd-NAME/ID of the memory, pids and cpu trees. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/cgroup-private.h"

#define CPU_PERIOD_US 100000

static gboolean
allow(const char *folder, const CxDeviceRule *rule, GError **error)
{
    g_autofree char *minor = rule->minor < 0 ? g_strdup("*") : g_strdup_printf("%d", rule->minor);
    g_autofree char *line = g_strdup_printf("c %d:%s rwm", rule->major, minor);

    return cx_cgroup_write(folder, "devices.allow", line, error);
}

/* runc before 1.2 makes a group of its own below ours and insists on allowing /dev/net/tun there,
 * which the kernel refuses unless we do.  It is of little use without CAP_NET_ADMIN. */
static const CxDeviceRule tun = {10, 200};

static gboolean
set_device_rules(const char *folder, GError **error)
{
    if (!cx_cgroup_write(folder, "devices.deny", "a", error) ||
        !cx_cgroup_write(folder, "devices.allow", "c *:* m", error) ||
        !cx_cgroup_write(folder, "devices.allow", "b *:* m", error))
        return FALSE;

    for (guint i = 0; i < cx_n_device_rules; i++)
        if (!allow(folder, &cx_device_rules[i], error))
            return FALSE;

    return allow(folder, &tun, error);
}

static gboolean
make_base(CxCgroups *self, CxController controller, GError **error)
{
    g_autofree char *own = cx_cgroup_find_own_folder(cx_controller_name(controller)),
                    *folder = NULL;

    if (own == NULL)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "the %s controller is not mounted",
                        cx_controller_name(controller));

    folder = g_build_filename(own, self->name, NULL);
    if (!cx_cgroup_make_folder(self->made, folder, error))
        return FALSE;

    self->folders[controller] = g_steal_pointer(&folder);
    return TRUE;
}

static void
open_devices(CxCgroups *self)
{
    g_autoptr(GError) why = NULL;

    if (make_base(self, CX_CONTROLLER_DEVICES, &why) &&
        set_device_rules(self->folders[CX_CONTROLLER_DEVICES], &why)) {
        self->base_fd = cx_cgroup_open_procs(self->folders[CX_CONTROLLER_DEVICES], &why);
        self->filters_devices = self->base_fd >= 0;
    }
    if (why != NULL)
        cx_cgroups_note(self, "cgroup v1: %s", why->message);
}

static gboolean
open_v1(CxCgroups *self, GError **error)
{
    gboolean found = FALSE;

    for (guint i = 0; i < CX_N_CONTROLLERS; i++) {
        g_autofree char *own = cx_cgroup_find_own_folder(cx_controller_name(i));

        found = found || own != NULL;
    }
    if (!found)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "not mounted");

    open_devices(self);
    for (guint i = CX_CONTROLLER_MEMORY; i < CX_N_CONTROLLERS; i++) {
        g_autoptr(GError) why = NULL;

        if (!make_base(self, i, &why))
            cx_cgroups_note(self, "cgroup v1: %s", why->message);
    }
    return TRUE;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static char *
make_folder(const CxCgroups *self, CxCgroup *group, CxController controller, GError **error)
{
    g_autofree char *folder = g_build_filename(self->folders[controller], group->id, NULL);
    int fd;

    if (!cx_cgroup_make_folder(group->made, folder, error))
        return NULL;

    fd = cx_cgroup_open_procs(folder, error);
    if (fd < 0)
        return NULL;

    g_array_append_val(group->join_fds, fd);
    return g_steal_pointer(&folder);
}

/* The kernel tells through an eventfd when the limit of this group made it kill, in the group
 * itself or in one that a runtime has made below it; the counters of the latter would be gone with
 * it. */
static gboolean
watch_oom(CxCgroup *group, const char *folder, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "memory.oom_control", NULL), *line = NULL;
    cx_autofd int control_fd = open(path, O_RDONLY | O_CLOEXEC),
                  event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (control_fd < 0 || event_fd < 0)
        return cx_throw_errno(error, "\"%s\"", path);

    line = g_strdup_printf("%d %d", event_fd, control_fd);
    if (!cx_cgroup_write(folder, "cgroup.event_control", line, error))
        return FALSE;

    group->oom_fd = cx_steal_fd(&event_fd);
    return TRUE;
}

static gboolean
limit_memory(const CxCgroups *self, CxCgroup *group, guint64 max, GError **error)
{
    g_autofree char *folder = make_folder(self, group, CX_CONTROLLER_MEMORY, error);
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, max);

    if (folder == NULL || !cx_cgroup_write(folder, "memory.limit_in_bytes", value, error))
        return FALSE;

    /* Swap is no way round the limit; the file is missing where the kernel does not count swap. */
    (void)cx_cgroup_write(folder, "memory.memsw.limit_in_bytes", value, NULL);
    return watch_oom(group, folder, error);
}

static gboolean
limit_pids(const CxCgroups *self, CxCgroup *group, guint64 max, GError **error)
{
    g_autofree char *folder = make_folder(self, group, CX_CONTROLLER_PIDS, error);
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, max);

    return folder != NULL && cx_cgroup_write(folder, "pids.max", value, error);
}

static gboolean
limit_cpu(const CxCgroups *self, CxCgroup *group, guint64 milli, GError **error)
{
    g_autofree char *folder = make_folder(self, group, CX_CONTROLLER_CPU, error);
    g_autofree char *quota =
        g_strdup_printf("%" G_GUINT64_FORMAT, MAX(milli * (CPU_PERIOD_US / 1000), 1000));

    return folder != NULL &&
           cx_cgroup_write(folder, "cpu.cfs_period_us", G_STRINGIFY(CPU_PERIOD_US), error) &&
           cx_cgroup_write(folder, "cpu.cfs_quota_us", quota, error);
}

static gboolean
make(const CxCgroups *self, CxCgroup *group, const CxLimits *limits, GError **error)
{
    return (limits->memory_max == 0 || limit_memory(self, group, limits->memory_max, error)) &&
           (limits->pids_max == 0 || limit_pids(self, group, limits->pids_max, error)) &&
           (limits->cpu_milli == 0 || limit_cpu(self, group, limits->cpu_milli, error));
}

static gboolean
was_oom_killed(const CxCgroup *group)
{
    eventfd_t count = 0;

    if (eventfd_read(group->oom_fd, &count) < 0)
        return FALSE;

    (void)eventfd_write(group->oom_fd, count); /* asked again it says the same */
    return count > 0;
}

const CxCgroupOps cx_cgroup_v1 = {
    .name = "cgroup v1",
    .open = open_v1,
    .make = make,
    .was_oom_killed = was_oom_killed,
};
