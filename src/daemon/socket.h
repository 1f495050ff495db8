/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The daemon's listening socket, its PID file and the announcement that it is ready (spec/daemon.md
 * §2). */
#define CX_SOCKET_GROUP "cruxd"

typedef struct {
    int fd;         /* owned */
    int lock_fd;    /* owned: "<socket>.lock", held while the name is ours */
    char *path;     /* (owned) */
    char *pid_file; /* (owned) */
} CxListener;

#define CX_LISTENER_INIT                                                                           \
    {                                                                                              \
        .fd = -1, .lock_fd = -1, .path = NULL, .pid_file = NULL                                    \
    }

/* Takes the name: makes its folder, refuses when a live daemon answers (CX_ERROR_BUSY), removes a
 * stale socket, binds, sets mode and group, writes the PID.  Nothing is accepted yet. */
gboolean cx_listener_bind(CxListener *self, const char *path, const char *pid_file, GError **error);
gboolean cx_listener_listen(CxListener *self, GError **error);
/* The readiness line on ready_fd (-1: none), which is then closed unless it is 0, 1 or 2; and
 * sd_notify's READY=1. */
void cx_listener_announce(const CxListener *self, int ready_fd);
/* Removes socket and PID file if they are ours. */
void cx_listener_close(CxListener *self);

/* A connection to a daemon's socket.  Returns an fd or -1: CX_ERROR_NOT_FOUND and
 * CX_ERROR_UNAVAILABLE when no daemon is there, CX_ERROR_DENIED. */
int cx_socket_connect(const char *path, GError **error);

G_END_DECLS
