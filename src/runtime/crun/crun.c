/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/driver-private.h"

#define UNIFIED_CONTROLLERS "/sys/fs/cgroup/unified/cgroup.controllers"

/* crun 1.8 refuses a v2 mount with controllers beside v1 ones, even if told to leave cgroups alone.
 */
static gboolean
check(const char *version, GError **error)
{
    cx_autofd int fd = open(UNIFIED_CONTROLLERS, O_RDONLY | O_CLOEXEC);
    char first;

    if (fd >= 0 && cx_read_full(fd, &first, 1, NULL) == 1 && first != '\n')
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "cgroup v2 with controllers is mounted beside cgroup v1 (unmount "
                        "/sys/fs/cgroup/unified)");

    return TRUE;
}

/* Cgroups are ours (cgroup.h): crun's own cost 3 ms a container. */
static void
add_options(CxRuntimeFlags flags, GPtrArray *argv)
{
    gboolean systemd = (flags & CX_RUNTIME_SYSTEMD_CGROUP) != 0;

    g_ptr_array_add(argv, g_strdup(systemd ? "--systemd-cgroup" : "--cgroup-manager=disabled"));
}

static const CxRuntimeSaying sayings[] = {
    {CX_ERROR_NOT_FOUND, "not found in $PATH",                  NULL                       },
    {CX_ERROR_NOT_FOUND, "executable file",                     NULL                       },
    {CX_ERROR_DENIED,    "open executable: ",                   NULL                       },
    {CX_ERROR_DENIED,    "is not a regular file",               NULL                       },
 /* A script whose interpreter, or a program whose loader, is not in the image. */
    {CX_ERROR_NOT_FOUND, "exec container process `",            "No such file or directory"},
    {CX_ERROR_DENIED,    "exec container process `",            NULL                       },
    {CX_ERROR_EXISTS,    "already exists",                      NULL                       },
    {CX_ERROR_NOT_FOUND, "No such process",                     NULL                       },
    {CX_ERROR_BUSY,      "is not running",                      NULL                       },
    {CX_ERROR_BUSY,      "exec.fifo",                           NULL                       },
    {CX_ERROR_BUSY,      "not in `created` or `stopped` state", NULL                       },
    {0,                  NULL,                                  NULL                       },
};

const CxRuntimeOps cx_runtime_crun = {
    .name = "crun",
    .traits = CX_RUNTIME_RUNS_DETACHED | CX_RUNTIME_SEALABLE | CX_RUNTIME_ENDS_CLEAN,
    .takes_bpf_since = "1.8",
    .check = check,
    .add_options = add_options,
    .sayings = sayings,
};
