/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/commands.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/version.h"

const char *
cx_command_require(const CxConnection *connection,
                   const char *key,
                   const char *missing,
                   GError **error)
{
    const json_t *payload = cx_connection_get_request(connection)->payload;
    const char *value = NULL;

    if (payload != NULL && !cx_json_get_string(payload, key, &value, error))
        return NULL;
    if (value == NULL || *value == '\0')
        return cx_throw_null(error, CX_ERROR_INVALID, "%s", missing);

    return value;
}

static gboolean
run_status(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    g_autofree char *version = cx_version_string();
    g_autofree char *uptime =
        cx_format_uptime((g_get_monotonic_time() - self->started) / G_USEC_PER_SEC);
    json_t *result = json_object();

    json_object_set_new(result, "running", json_true());
    json_object_set_new(result, "version", json_string(version));
    json_object_set_new(result, "pid", json_integer(getpid()));
    json_object_set_new(result, "uptime", json_string(uptime));
    json_object_set_new(result, "builds", json_integer(g_atomic_int_get(&self->builds)));
    json_object_set_new(result, "root", json_string(cx_store_get_path(self->host->store)));
    *out_result = result;
    return TRUE;
}

static gboolean
run_shutdown(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    self->shut_down(self->user);
    return TRUE;
}

static gboolean
run_doctor(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    gboolean healthy = FALSE;
    g_auto(GStrv) lines = cx_host_explain(self->host, &healthy);

    *out_result = json_object();
    json_object_set_new(*out_result, "healthy", json_boolean(healthy));
    json_object_set_new(*out_result, "lines", cx_json_from_strv((const char *const *)lines));
    return TRUE;
}

static gboolean
not_built_yet(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    return cx_throw(error, CX_ERROR_UNSUPPORTED,
                    "command \"%s\" is not in this version of cruxd yet",
                    cx_connection_get_request(connection)->command);
}

static const struct {
    const char *name;
    CxCommandHandler run;
} commands[] = {
    {"build",             cx_command_build  },
    {"status",            run_status        },
    {"shutdown",          run_shutdown      },
    {"doctor",            run_doctor        },
    {"images",            cx_command_images },
    {"inspect",           cx_command_inspect},
    {"df",                cx_command_df     },
    {"gc",                cx_command_gc     },
    {"image-import",      not_built_yet     },
    {"image-start",       not_built_yet     },
    {"image-destroy",     not_built_yet     },
    {"container-stop",    not_built_yet     },
    {"container-destroy", not_built_yet     },
    {"container-status",  not_built_yet     },
    {"container-exec",    not_built_yet     },
    {"container-update",  not_built_yet     },
};

gboolean
cx_commands_run(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    const char *name = cx_connection_get_request(connection)->command;

    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(self, connection, out_result, error);

    return cx_throw(error, CX_ERROR_INVALID, "unknown command: %.200s", name);
}
