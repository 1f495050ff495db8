/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/json.h"

G_BEGIN_DECLS

/* The envelope of spec/daemon.md §3 (docs/protocol.md): one line of JSON each way,
 * {"version":0,"command":…,"payload":…}. */
#define CX_PROTOCOL_VERSION 0
#define CX_REQUEST_MAX_DEFAULT (16 * 1024 * 1024)

typedef struct {
    char *command;   /* (owned) */
    json_t *payload; /* (owned) object, or NULL when there was none */
    gboolean stream; /* the client takes progress events */
} CxRequest;

void cx_request_clear(CxRequest *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxRequest, cx_request_clear)

/* Reads one request line (without its newline).  Messages are those of the specification:
 * "malformed message: …", "unsupported protocol version", "missing command". */
gboolean cx_request_parse(const char *line, gsize size, CxRequest *out_request, GError **error);

/* One line with its newline: command "ok", "error", "event" or a request's.  payload may be NULL.
 * (transfer full) */
char *cx_message_format(const char *command, const json_t *payload);
char *cx_message_format_error(const GError *error);
/* A request of ours. */
char *cx_request_format(const char *command, const json_t *payload, gboolean stream);

/* A message from the daemon, at the client's end: payload (transfer full) may be NULL. */
gboolean cx_message_parse(
    const char *line, gsize size, char **out_command, json_t **out_payload, GError **error);

/* Seconds as Go prints a duration: "0s", "59s", "1m0s", "1h2m3s", "26h0m5s".  (transfer full) */
char *cx_format_uptime(gint64 seconds);

G_END_DECLS
