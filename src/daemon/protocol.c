/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/protocol.h"

#include <string.h>

#include "base/error.h"

void
cx_request_clear(CxRequest *self)
{
    g_clear_pointer(&self->command, g_free);
    g_clear_pointer(&self->payload, json_decref);
}

static gboolean
check_version(const json_t *envelope, GError **error)
{
    const json_t *version = cx_json_get(envelope, "version");

    if (version == NULL)
        return TRUE;
    if (!json_is_integer(version) || json_integer_value(version) != CX_PROTOCOL_VERSION)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "unsupported protocol version");

    return TRUE;
}

gboolean
cx_request_parse(const char *line, gsize size, CxRequest *out_request, GError **error)
{
    g_autoptr(json_t) envelope = cx_json_parse(line, size, error);
    const char *command = NULL;
    gboolean stream = FALSE;
    json_t *payload;

    if (envelope == NULL) {
        g_prefix_error(error, "malformed message: ");
        return FALSE;
    }
    if (!json_is_object(envelope))
        return cx_throw(error, CX_ERROR_INVALID, "malformed message: expected an object");
    if (!check_version(envelope, error))
        return FALSE;
    if (!cx_json_get_string(envelope, "command", &command, error) ||
        !cx_json_get_bool(envelope, "stream", &stream, error)) {
        g_prefix_error(error, "malformed message: ");
        return FALSE;
    }
    if (command == NULL || *command == '\0')
        return cx_throw(error, CX_ERROR_INVALID, "missing command");

    payload = cx_json_get(envelope, "payload");
    if (payload != NULL && !json_is_object(payload))
        return cx_throw(error, CX_ERROR_INVALID, "malformed message: payload: expected an object");

    out_request->command = g_strdup(command);
    out_request->payload = json_incref(payload);
    out_request->stream = stream;
    return TRUE;
}

static char *
format(const char *command, const json_t *payload, const char *extra)
{
    g_autofree char *text = payload == NULL ? NULL : cx_json_canonical(payload);
    g_autoptr(json_t) name = json_string(command);
    g_autofree char *quoted = cx_json_canonical(name);

    return g_strdup_printf("{\"version\":%d,\"command\":%s%s%s%s}\n", CX_PROTOCOL_VERSION, quoted,
                           extra, text == NULL ? "" : ",\"payload\":", text == NULL ? "" : text);
}

char *
cx_message_format(const char *command, const json_t *payload)
{
    return format(command, payload, "");
}

char *
cx_request_format(const char *command, const json_t *payload, gboolean stream)
{
    return format(command, payload, stream ? ",\"stream\":true" : "");
}

char *
cx_message_format_error(const GError *error)
{
    g_autofree char *message = cx_utf8_make_valid(error->message, strlen(error->message));
    g_autoptr(json_t) payload = json_object();

    json_object_set_new(payload, "message", json_string(message));
    if (error->domain == CX_ERROR)
        json_object_set_new(payload, "code", json_string(cx_error_code_name((CxError)error->code)));
    return cx_message_format("error", payload);
}

gboolean
cx_message_parse(
    const char *line, gsize size, char **out_command, json_t **out_payload, GError **error)
{
    g_auto(CxRequest) message = {NULL, NULL, FALSE};

    if (!cx_request_parse(line, size, &message, error))
        return FALSE;

    *out_command = g_steal_pointer(&message.command);
    *out_payload = g_steal_pointer(&message.payload);
    return TRUE;
}

char *
cx_format_uptime(gint64 seconds)
{
    gint64 hours = seconds / 3600, minutes = seconds / 60 % 60;

    if (hours > 0)
        return g_strdup_printf("%" G_GINT64_FORMAT "h%" G_GINT64_FORMAT "m%" G_GINT64_FORMAT "s",
                               hours, minutes, seconds % 60);
    if (minutes > 0)
        return g_strdup_printf("%" G_GINT64_FORMAT "m%" G_GINT64_FORMAT "s", minutes, seconds % 60);

    return g_strdup_printf("%" G_GINT64_FORMAT "s", seconds);
}
