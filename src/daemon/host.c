/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "daemon"
#include "daemon/host.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/tmp.h"
#include "daemon/instance.h"

/* Nothing we mount may show outside, or stay when we die; what the host mounts later is still seen.
 */
static gboolean
enter_mount_namespace(GError **error)
{
    if (geteuid() != 0)
        return cx_throw(
            error, CX_ERROR_DENIED,
            "the daemon needs to be root (start it with sudo, or ask an administrator to run it)");
    if (unshare(CLONE_NEWNS) < 0)
        return cx_throw_errno(error, "private mount namespace");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return cx_throw_errno(error, "private mount namespace");

    return TRUE;
}

/* Steps of an earlier daemon of this name that was killed: its containers died with its keeper, the
 * folders stayed. */
static gboolean
clear_leftovers(CxHost *self, GError **error)
{
    cx_autofd int fd = -1;

    if (g_mkdir_with_parents(self->folder, 0755) < 0)
        return cx_throw_errno(error, "\"%s\"", self->folder);

    fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno(error, "\"%s\"", self->folder);

    /* The runtime's own state is swept by the keeper, once that of the dead daemon has ended. */
    return cx_remove_tree_at(fd, "steps", error);
}

static gboolean
open_runtime(CxHost *self, const CxDaemonOptions *options, GError **error)
{
    g_autofree char *state = g_build_filename(self->folder, "runtime", NULL);
    g_autoptr(GError) local = NULL;

    self->runtime = cx_runtime_open(options->runtime, state, &self->runtime_lines, &local);
    if (self->runtime == NULL) {
        /* Builds without run steps work all the same. */
        if (options->runtime != NULL) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        self->no_runtime = g_strdup(local->message);
        return TRUE;
    }
    self->keeper = cx_keeper_start(self->runtime, error);
    return self->keeper != NULL && cx_keeper_enter(self->keeper, self->cgroups, error);
}

/* A private daemon waits for its turn: another one on the same store ends with its command. */
static CxStore *
open_store(const CxDaemonOptions *options, GError **error)
{
    CxStoreOptions store = {.path = options->root,
                            .snapshotter = options->snapshotter,
                            .cache_bytes = options->cache_bytes};
    g_autoptr(GError) local = NULL;
    CxStore *opened = cx_store_open(&store, NULL, &local);

    if (opened == NULL && options->private_fd >= 0 && cx_error_is(local, CX_ERROR_BUSY)) {
        cx_warning("%s, waiting for it to end", local->message);
        store.wait_for_lock = TRUE;
        return cx_store_open(&store, NULL, error);
    }
    if (opened == NULL)
        g_propagate_error(error, g_steal_pointer(&local));
    return opened;
}

gboolean
cx_host_open(CxHost *self, const CxDaemonOptions *options, GError **error)
{
    g_autofree char *steps = NULL;
    CxEngineOptions engine = {.step_limits = options->step_limits};

    *self = (CxHost){.folder = cx_instance_folder(options->instance)};
    if (!enter_mount_namespace(error) || !cx_cgroup_fix_view(error) ||
        !clear_leftovers(self, error))
        return FALSE;

    self->cgroups = cx_cgroups_open(options->instance);
    if (!open_runtime(self, options, error))
        return FALSE;

    self->store = open_store(options, error);
    if (self->store == NULL)
        return FALSE;

    steps = g_build_filename(self->folder, "steps", NULL);
    engine.store = self->store;
    engine.runtime = self->runtime;
    engine.keeper = self->keeper;
    engine.cgroups = self->cgroups;
    engine.no_runtime = self->no_runtime;
    engine.work_folder = steps;
    self->engine = cx_engine_new(&engine, error);
    return self->engine != NULL;
}

void
cx_host_close(CxHost *self, gboolean sync)
{
    g_clear_pointer(&self->engine, cx_engine_free);
    g_clear_pointer(&self->keeper, cx_keeper_stop);
    if (self->store != NULL)
        cx_store_close(g_steal_pointer(&self->store), sync);
    g_clear_pointer(&self->cgroups, cx_cgroups_close);
    g_clear_pointer(&self->runtime, cx_runtime_unref);
    if (self->folder != NULL) {
        cx_autofd int fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0) {
            (void)cx_remove_tree_at(fd, "steps", NULL);
            (void)cx_remove_tree_at(fd, "runtime", NULL);
        }
        (void)rmdir(self->folder);
    }
    g_clear_pointer(&self->runtime_lines, g_strfreev);
    g_clear_pointer(&self->no_runtime, g_free);
    g_clear_pointer(&self->folder, g_free);
}

static void
add_lines(GPtrArray *lines, const char *topic, const GStrv more)
{
    for (guint i = 0; more != NULL && more[i] != NULL; i++)
        g_ptr_array_add(lines, g_strdup_printf("%s: %s", topic, more[i]));
}

GStrv
cx_host_explain(CxHost *self, gboolean *out_healthy)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new();
    g_auto(GStrv) snapshotters = cx_snapshotter_explain(cx_store_get_snapshotter(self->store));
    g_auto(GStrv) cgroups = cx_cgroups_explain(self->cgroups);

    add_lines(lines, "runtime", self->runtime_lines);
    if (self->runtime != NULL)
        g_ptr_array_add(lines,
                        g_strdup_printf("runtime: using %s %s", cx_runtime_get_name(self->runtime),
                                        cx_runtime_get_version(self->runtime)));
    add_lines(lines, "snapshotter", snapshotters);
    g_ptr_array_add(
        lines, g_strdup_printf("snapshotter: using %s",
                               cx_snapshotter_get_engine(cx_store_get_snapshotter(self->store))));
    add_lines(lines, "cgroup", cgroups);
    g_ptr_array_add(lines, g_strdup_printf("store: %s", cx_store_get_path(self->store)));
    g_ptr_array_add(lines, NULL);
    *out_healthy = self->runtime != NULL;
    return (GStrv)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}
