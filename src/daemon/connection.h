/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "base/identity.h"
#include "base/json.h"
#include "daemon/protocol.h"

G_BEGIN_DECLS

/* One request and one response on one socket.  The main loop reads the request without ever
 * blocking; a worker thread then owns the sending side, while the main loop only watches whether
 * the peer goes away (which cancels the work). */
typedef struct CxConnection CxConnection;

typedef struct {
    /* A whole request line has come: called on the main loop. */
    void (*request)(gpointer user, CxConnection *connection);
    /* The connection is over and about to be freed: called on the main loop. */
    void (*closed)(gpointer user, CxConnection *connection);
    gpointer user;
} CxConnectionEvents;

/* take_fd: a connected stream socket.  Freed by itself when it is over. */
CxConnection *cx_connection_new(int take_fd,
                                gsize request_max,
                                const CxConnectionEvents *events,
                                GError **error);

const CxRequest *cx_connection_get_request(const CxConnection *self);
CxIdentity *cx_connection_get_identity(CxConnection *self); /* borrowed */
CxCancel *cx_connection_get_cancellable(
    CxConnection *self); /* borrowed: cancelled when the peer is gone */

/* Worker side: sends one line, blocking, a bounded time; a peer that is gone or does not read is
 * cancelled and the line dropped. */
void cx_connection_send(CxConnection *self, const char *line);
/* Worker side: the answer was sent.  The connection may be gone when this returns. */
void cx_connection_finish(CxConnection *self);

/* Main loop: ends a connection that has no worker (at shutdown). */
void cx_connection_drop(CxConnection *self);
gboolean cx_connection_is_working(const CxConnection *self);

G_END_DECLS
