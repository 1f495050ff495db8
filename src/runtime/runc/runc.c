/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/driver-private.h"

static void
add_options(CxRuntimeFlags flags, GPtrArray *argv)
{
    if ((flags & CX_RUNTIME_SYSTEMD_CGROUP) != 0)
        g_ptr_array_add(argv, g_strdup("--systemd-cgroup"));
}

static const char *const chatter[] = {
    "runc run failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    NULL,
};

static const CxRuntimeSaying sayings[] = {
    {CX_ERROR_NOT_FOUND, "executable file not found in $PATH",        NULL},
    {CX_ERROR_NOT_FOUND, "no such file or directory",                 NULL},
    {CX_ERROR_DENIED,    "permission denied",                         NULL},
    {CX_ERROR_DENIED,    "is a directory",                            NULL},
    {CX_ERROR_DENIED,    "exec format error",                         NULL},
    {CX_ERROR_EXISTS,    "already exists",                            NULL},
    {CX_ERROR_NOT_FOUND, "container not running",                     NULL},
    {CX_ERROR_NOT_FOUND, "does not exist",                            NULL},
    {CX_ERROR_BUSY,      "cannot start an already running container", NULL},
    {CX_ERROR_BUSY,      "cannot start a container that has stopped", NULL},
    {CX_ERROR_BUSY,      "that is not stopped",                       NULL},
    {0,                  NULL,                                        NULL},
};

const CxRuntimeOps cx_runtime_runc = {
    .name = "runc",
    .traits = CX_RUNTIME_RUNS_DETACHED,
    .add_options = add_options,
    .chatter = chatter,
    .sayings = sayings,
};
