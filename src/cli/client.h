/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/json.h"

G_BEGIN_DECLS

/* Flags that stand before or after any verb. */
typedef struct {
    gboolean quiet;
    gboolean verbose;
    gboolean debug;
    char *socket;
    char *pid_file;
    char *root;     /* --root or $CRUXD_ROOT; NULL: the default */
    char *instance; /* NULL: default */
    int ready_fd;
} CxCliGlobals;

const char *cx_cli_root(const CxCliGlobals *globals);
const char *cx_cli_instance(const CxCliGlobals *globals);

/* A client's end of one request.  Like everybody else it speaks the protocol of docs/protocol.md.
 */
typedef struct CxClient CxClient;

typedef enum {
    CX_CLIENT_DAEMON_ONLY = 1 << 1, /* no private daemon when none runs: CX_ERROR_UNAVAILABLE */
} CxClientFlags;

/* Connects to the daemon that --socket or $CRUXD_SOCKET names, or to the instance's if it runs (and
 * owns --root, if that was given); else starts a private daemon for this one request. */
CxClient *cx_client_open(const CxCliGlobals *globals, CxClientFlags flags, GError **error);
/* Closes, and waits for a private daemon to have cleaned up. */
void cx_client_close(CxClient *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxClient, cx_client_close)

typedef void (*CxClientEvent)(gpointer user, const json_t *payload);

/* Sends the request and waits for its answer; events go to on_event (NULL: none are asked for).  An
 * `error` answer is raised with its code.  *out_result may be NULL when the answer had none. */
gboolean cx_client_call(CxClient *self,
                        const char *command,
                        const json_t *payload,
                        CxClientEvent on_event,
                        gpointer user,
                        json_t **out_result,
                        GError **error);

/* Open, call, close. */
gboolean cx_client_request(const CxCliGlobals *globals,
                           CxClientFlags flags,
                           const char *command,
                           const json_t *payload,
                           json_t **out_result,
                           GError **error);

G_END_DECLS
