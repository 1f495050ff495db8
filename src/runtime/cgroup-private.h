/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/cgroup.h"

G_BEGIN_DECLS

typedef enum {
    CX_CONTROLLER_DEVICES,
    CX_CONTROLLER_MEMORY,
    CX_CONTROLLER_PIDS,
    CX_CONTROLLER_CPU,
    CX_N_CONTROLLERS
} CxController;

/* One version of the kernel's interface. */
typedef struct {
    const char *name; /* "cgroup v1" */
    /* Makes the base group.  FALSE: this version is not mounted here, or cannot be used; error
     * tells. */
    gboolean (*open)(CxCgroups *self, GError **error);
    /* Makes the folders of one limited container, sets its limits and adds its join fds. */
    gboolean (*make)(const CxCgroups *self,
                     CxCgroup *group,
                     const CxLimits *limits,
                     GError **error);
    gboolean (*was_oom_killed)(const CxCgroup *group);
} CxCgroupOps;

extern const CxCgroupOps cx_cgroup_v1;
extern const CxCgroupOps cx_cgroup_v2;

/* Read-only once open, so that any thread may use it. */
struct CxCgroups {
    const CxCgroupOps *ops; /* NULL: no cgroups here */
    char *name;             /* (owned) "cruxd-NAME" */
    GPtrArray *lines;       /* (owned) of (owned) char *: what was found */
    /* The base folder for limits of each controller, or NULL where it is not to be had; on v2 they
     * are all the same. */
    char *folders[CX_N_CONTROLLERS]; /* (owned) */
    GPtrArray *made; /* (owned) of (owned) char *: folders to remove at the end, parents first */
    int base_fd;     /* cgroup.procs of the group without limits, or -1 */
    gboolean filters_devices;
};

struct CxCgroup {
    const CxCgroups *owner; /* (borrowed) */
    char *id;               /* (owned) */
    GPtrArray *made;        /* (owned) of (owned) char * */
    GArray *join_fds; /* (owned) of int; the first is the owner's base_fd if it has one, the rest
                         are owned */
    int oom_fd;       /* v1: eventfd; v2: memory.events; -1: no memory limit */
};

/* What both versions build on. */
void cx_cgroups_note(CxCgroups *self, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Makes a fresh, empty folder: one of that name is killed and removed first.  Remembered in made.
 */
gboolean cx_cgroup_make_folder(GPtrArray *made, const char *path, GError **error);
gboolean cx_cgroup_write(const char *folder, const char *file, const char *value, GError **error);
/* Opens folder/cgroup.procs for joining; -1 with error. */
int cx_cgroup_open_procs(const char *folder, GError **error);
/* The folder in which this process is, as seen below a mount: controller "" is v2.  NULL when not
 * mounted. */
char *cx_cgroup_find_own_folder(const char *controller);
const char *cx_controller_name(CxController controller);

/* v2: attaches the device rules to a group. */
gboolean cx_cgroup_attach_device_rules(const char *folder, GError **error);

/* What containers may do with devices: make any node, but read and write only these.  minor -1:
 * all. */
typedef struct {
    gint major;
    gint minor;
} CxDeviceRule;
extern const CxDeviceRule cx_device_rules[];
extern const guint cx_n_device_rules;

G_END_DECLS
