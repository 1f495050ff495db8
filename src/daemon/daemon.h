/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "runtime/cgroup.h"

G_BEGIN_DECLS

typedef struct {
    const char *instance;    /* name */
    const char *socket_path; /* NULL: the instance's */
    const char *pid_file;    /* NULL: the instance's */
    const char *root;        /* store */
    const char *runtime;     /* NULL: the first that works */
    const char *snapshotter; /* NULL: the best that works */
    int ready_fd;            /* gets the readiness line; -1: none */
    int private_fd; /* taken: serve this one connection and end with it; -1: listen on the socket */
    guint64 cache_bytes; /* 0: default */
    gsize request_max;   /* bytes of one request; 0: default */
    CxLimits step_limits;
    gboolean allow_host_paths;
} CxDaemonOptions;

#define CX_DAEMON_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .ready_fd = -1, .private_fd = -1                                                           \
    }

/* Runs the daemon until SIGINT, SIGTERM or the shutdown command (or the end of its private
 * connection).  Call in a process with one thread. */
gboolean cx_daemon_run(const CxDaemonOptions *options, GError **error);

G_END_DECLS
