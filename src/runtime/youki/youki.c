/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "runtime/driver-private.h"

/* From reading youki's source, not from running it (spec/oci-runtime.md). */

static void
add_options(CxRuntimeFlags flags, GPtrArray *argv)
{
    if ((flags & CX_RUNTIME_SYSTEMD_CGROUP) != 0)
        g_ptr_array_add(argv, g_strdup("--systemd-cgroup"));
}

/* Its own table swaps these two by number. */
static char *
dup_signal_word(int signal)
{
    if (signal == SIGTRAP)
        return g_strdup("SIGTRAP");
    if (signal == SIGBUS)
        return g_strdup("SIGBUS");

    return g_strdup_printf("%d", signal);
}

static const CxRuntimeSaying sayings[] = {
    {CX_ERROR_NOT_FOUND, "for container not found",             NULL},
    {CX_ERROR_DENIED,    "executable",                          NULL},
    {CX_ERROR_EXISTS,    "already exists",                      NULL},
    {CX_ERROR_NOT_FOUND, "does not exist",                      NULL},
    {CX_ERROR_NOT_FOUND, "not running",                         NULL},
    {CX_ERROR_BUSY,      "incorrect status",                    NULL},
    {CX_ERROR_BUSY,      "could not be deleted because it was", NULL},
    {0,                  NULL,                                  NULL},
};

const CxRuntimeOps cx_runtime_youki = {
    .name = "youki",
    .add_options = add_options,
    .dup_signal_word = dup_signal_word,
    .sayings = sayings,
};
