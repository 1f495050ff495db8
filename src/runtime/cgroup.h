/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Cgroups made by us, not by the runtime: the same on v1, v2 and a v1/v2 hybrid, and cheap.  One
 * base group for each daemon carries the device rules (v1 devices controller, or a device eBPF
 * program on v2); a step with limits gets a group of its own below it.  The runtime is started
 * inside by way of join fds and told to leave cgroups alone. */
typedef struct CxCgroups CxCgroups; /* the base group of one instance */
typedef struct CxCgroup CxCgroup;   /* of one container */

typedef struct {
    guint64 memory_max; /* bytes; 0: none */
    guint64 pids_max;   /* 0: none */
    guint64 cpu_milli;  /* thousandths of a core; 0: none */
} CxLimits;

/* Gives this process (and all it starts) a view of /sys/fs/cgroup the runtime accepts: on a hybrid
 * host the v2 mount beside the v1 controllers is hidden.  Call after unshare(CLONE_NEWNS).  TRUE
 * also when nothing had to be done. */
gboolean cx_cgroup_fix_view(GError **error);

/* Makes (or takes over, killing leftovers) the base group "cruxd-NAME".  Never fails for want of
 * cgroups: explain tells. */
CxCgroups *cx_cgroups_open(const char *instance_name);
void cx_cgroups_close(CxCgroups *self); /* removes the group */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxCgroups, cx_cgroups_close)

/* Whether device access is filtered; if not, spec.h must take CAP_MKNOD away. */
gboolean cx_cgroups_filters_devices(const CxCgroups *self);
GStrv cx_cgroups_explain(const CxCgroups *self); /* lines for doctor */

/* A group for one container; with no limits it shares the base group (no system call).
 * CX_ERROR_UNSUPPORTED: a limit was asked for whose controller is not there. */
CxCgroup *cx_cgroups_make(CxCgroups *self, const char *id, const CxLimits *limits, GError **error);
const int *cx_cgroup_get_join_fds(const CxCgroup *self, guint *out_n); /* borrowed */
gboolean cx_cgroup_was_oom_killed(CxCgroup *self);
void cx_cgroup_free(CxCgroup *self); /* kills what is left in it and removes it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxCgroup, cx_cgroup_free)

G_END_DECLS
