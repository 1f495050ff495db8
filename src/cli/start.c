/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/error.h"
#include "cli/cli.h"
#include "daemon/daemon.h"

static char *arg_runtime;
static char *arg_snapshotter;
static char *arg_cache_bytes;
static char *arg_request_max;
static char *arg_step_memory;
static gint64 arg_step_pids;
static double arg_step_cpus;
static gboolean arg_host_paths;

static const GOptionEntry options[] = {
    {"runtime",          0, 0, G_OPTION_ARG_STRING, &arg_runtime,
     "OCI runtime: crun, runc, youki or a path (default: what works)",                                      "NAME"},
    {"snapshotter",      0, 0, G_OPTION_ARG_STRING, &arg_snapshotter,
     "erofs or unpacked (default: what works)",                                                             "NAME"},
    {"cache-bytes",      0, 0, G_OPTION_ARG_STRING, &arg_cache_bytes, "budget of the cache, like 20G",
     "SIZE"                                                                                                       },
    {"request-max",      0, 0, G_OPTION_ARG_STRING, &arg_request_max, "longest request (default 16M)",
     "SIZE"                                                                                                       },
    {"step-memory",      0, 0, G_OPTION_ARG_STRING, &arg_step_memory,
     "memory limit of a run step, like 2G",                                                                 "SIZE"},
    {"step-pids",        0, 0, G_OPTION_ARG_INT64,  &arg_step_pids,   "processes a run step may have",      "N"   },
    {"step-cpus",        0, 0, G_OPTION_ARG_DOUBLE, &arg_step_cpus,   "cores a run step may use, like 1.5",
     "N"                                                                                                          },
    {"allow-host-paths", 0, 0, G_OPTION_ARG_NONE,   &arg_host_paths,
     "recipes may name absolute paths outside their project root",                                          NULL  },
    G_OPTION_ENTRY_NULL,
};

static gboolean
read_size(const char *option, const char *text, guint64 *out_bytes, GError **error)
{
    if (text == NULL || cx_cli_parse_size(text, out_bytes, error))
        return TRUE;

    g_prefix_error(error, "--%s: ", option);
    return FALSE;
}

static gboolean
run_start(const CxCliGlobals *globals, char **arguments, GError **error)
{
    CxDaemonOptions daemon = CX_DAEMON_OPTIONS_INIT;
    guint64 request_max = 0;

    if (!cx_cli_expect_none(arguments, error) ||
        !read_size("cache-bytes", arg_cache_bytes, &daemon.cache_bytes, error) ||
        !read_size("request-max", arg_request_max, &request_max, error) ||
        !read_size("step-memory", arg_step_memory, &daemon.step_limits.memory_max, error))
        return FALSE;
    if (arg_step_pids < 0 || !(arg_step_cpus >= 0 && arg_step_cpus <= 4096))
        return cx_throw(error, CX_ERROR_INVALID,
                        "--step-pids and --step-cpus must not be negative");

    daemon.instance = cx_cli_instance(globals);
    daemon.socket_path = globals->socket;
    daemon.pid_file = globals->pid_file;
    daemon.root = cx_cli_root(globals);
    daemon.runtime = arg_runtime;
    daemon.snapshotter = arg_snapshotter;
    daemon.ready_fd = globals->ready_fd;
    daemon.request_max = (gsize)request_max;
    daemon.step_limits.pids_max = (guint64)arg_step_pids;
    daemon.step_limits.cpu_milli = (guint64)llround(arg_step_cpus * 1000);
    daemon.allow_host_paths = arg_host_paths;
    return cx_daemon_run(&daemon, error);
}

const CxVerb cx_verb_start = {"start", "", "run the daemon in the foreground", options, run_start};
