/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "daemon/connection.h"
#include "daemon/host.h"

G_BEGIN_DECLS

/* What the handlers of commands share.  One for each daemon; handlers run on worker threads,
 * several at once. */
typedef struct {
    CxHost *host; /* borrowed */
    const CxDaemonOptions *options;
    gint64 started;                   /* monotonic, microseconds */
    gint builds;                      /* atomic: builds that succeeded */
    void (*shut_down)(gpointer user); /* asks the main loop to end; any thread */
    gpointer user;
} CxCommands;

/* Runs the command of the connection's request and gives its result (may be NULL for none).
 * Unknown: `unknown command: NAME`; of the protocol, but not in this program yet: an error that
 * says so. */
gboolean cx_commands_run(CxCommands *self,
                         CxConnection *connection,
                         json_t **out_result,
                         GError **error);

/* ---- the handlers, by file ------------------------------------------------------------------- */
typedef gboolean (*CxCommandHandler)(CxCommands *self,
                                     CxConnection *connection,
                                     json_t **out_result,
                                     GError **error);

gboolean cx_command_build(CxCommands *self,
                          CxConnection *connection,
                          json_t **out_result,
                          GError **error);
gboolean cx_command_images(CxCommands *self,
                           CxConnection *connection,
                           json_t **out_result,
                           GError **error);
gboolean cx_command_inspect(CxCommands *self,
                            CxConnection *connection,
                            json_t **out_result,
                            GError **error);
gboolean cx_command_df(CxCommands *self,
                       CxConnection *connection,
                       json_t **out_result,
                       GError **error);
gboolean cx_command_gc(CxCommands *self,
                       CxConnection *connection,
                       json_t **out_result,
                       GError **error);

/* A required text of the payload: absent or empty is CX_ERROR_INVALID with `missing`.  Borrowed;
 * NULL on error. */
const char *cx_command_require(const CxConnection *connection,
                               const char *key,
                               const char *missing,
                               GError **error);

G_END_DECLS
