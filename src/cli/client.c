/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/instance.h"
#include "daemon/protocol.h"
#include "daemon/socket.h"
#include "store/store.h"

/* An answer is never longer than this (images and inspect of a full store; events are short). */
#define ANSWER_MAX (256 * 1024 * 1024)
#define READ_BYTES (64 * 1024)

struct CxClient {
    int fd;            /* owned */
    pid_t private_pid; /* 0: a daemon that was there */
    GByteArray *input; /* (owned) bytes read and not yet used */
};

const char *
cx_cli_root(const CxCliGlobals *globals)
{
    return globals->root != NULL ? globals->root : CX_STORE_DEFAULT_ROOT;
}

const char *
cx_cli_instance(const CxCliGlobals *globals)
{
    return globals->instance != NULL ? globals->instance : CX_INSTANCE_DEFAULT;
}

static CxClient *
client_new(int take_fd, pid_t private_pid)
{
    CxClient *self = g_new0(CxClient, 1);

    self->fd = take_fd;
    self->private_pid = private_pid;
    self->input = g_byte_array_new();
    return self;
}

void
cx_client_close(CxClient *self)
{
    if (self == NULL)
        return;

    cx_clear_fd(&self->fd);
    while (self->private_pid > 0 && waitpid(self->private_pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    g_byte_array_unref(self->input);
    g_free(self);
}

/* ---- the private daemon ---------------------------------------------------------------------- */

/* In the child: serves the one connection, and says on it why if it cannot. */
static void
run_private_daemon(const CxCliGlobals *globals, int fd)
{
    g_autofree char *instance = g_strdup_printf("private-%d", getpid());
    CxDaemonOptions options = CX_DAEMON_OPTIONS_INIT;
    g_autoptr(GError) error = NULL;

    options.instance = instance;
    options.root = cx_cli_root(globals);
    options.private_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (!globals->debug)
        cx_log_configure(CX_LOG_WARNING, globals->verbose);
    if (!cx_daemon_run(&options, &error)) {
        g_autofree char *line = cx_message_format_error(error);

        (void)cx_write_all(fd, line, strlen(line), NULL);
        _exit(1);
    }
    _exit(0);
}

static CxClient *
start_private_daemon(const CxCliGlobals *globals, GError **error)
{
    int fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return cx_throw_errno_null(error, "socketpair");

    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        run_private_daemon(globals, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0) {
        (void)close(fds[0]);
        return cx_throw_errno_null(error, "fork");
    }
    return client_new(fds[0], pid);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Whether the daemon on the instance's socket works on the store that --root names. */
static gboolean
owns_root(const char *socket_path, const char *root)
{
    int fd = cx_socket_connect(socket_path, NULL);
    g_autoptr(CxClient) client = fd < 0 ? NULL : client_new(fd, 0);
    g_autoptr(json_t) result = NULL;
    const char *owned = NULL;

    return client != NULL && cx_client_call(client, "status", NULL, NULL, NULL, &result, NULL) &&
           result != NULL && cx_json_get_string(result, "root", &owned, NULL) &&
           g_strcmp0(owned, root) == 0;
}

CxClient *
cx_client_open(const CxCliGlobals *globals, CxClientFlags flags, GError **error)
{
    const char *named = globals->socket != NULL ? globals->socket : getenv("CRUXD_SOCKET");
    g_autofree char *path =
        named != NULL ? g_strdup(named) : cx_instance_socket(cx_cli_instance(globals));
    g_autoptr(GError) local = NULL;
    gboolean may_be_private = named == NULL && !(flags & CX_CLIENT_DAEMON_ONLY);
    int fd = -1;

    if (!may_be_private || globals->root == NULL || owns_root(path, globals->root))
        fd = cx_socket_connect(path, &local);
    if (fd >= 0)
        return client_new(fd, 0);
    if (may_be_private && (local == NULL || !cx_error_is(local, CX_ERROR_DENIED) || geteuid() == 0))
        return start_private_daemon(globals, error);
    if (cx_error_is(local, CX_ERROR_DENIED))
        return cx_throw_null(error, CX_ERROR_DENIED,
                             "you may not talk to the daemon at \"%s\" [its group is \"%s\"]", path,
                             CX_SOCKET_GROUP);

    return cx_throw_null(error, CX_ERROR_UNAVAILABLE,
                         "no daemon is running on \"%s\" [start one: cruxd start]", path);
}

/* ---- calling --------------------------------------------------------------------------------- */

/* The next line without its newline, (transfer full), or NULL. */
static char *
read_line(CxClient *self, gsize *out_size, GError **error)
{
    gsize searched = 0;

    for (;;) {
        const guint8 *newline =
            self->input->len == searched
                ? NULL
                : memchr(self->input->data + searched, '\n', self->input->len - searched);
        guint8 buffer[READ_BYTES];
        ssize_t n;

        if (newline != NULL) {
            gsize size = (gsize)(newline - self->input->data);
            char *line = g_strndup((const char *)self->input->data, size);

            g_byte_array_remove_range(self->input, 0, (guint)size + 1);
            *out_size = size;
            return line;
        }
        searched = self->input->len;
        if (searched > ANSWER_MAX)
            return cx_throw_null(error, CX_ERROR_LIMIT, "the daemon's answer is too long");

        n = recv(self->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cx_throw_errno_null(error, "daemon");
        if (n == 0)
            return cx_throw_null(error, CX_ERROR_UNAVAILABLE,
                                 "the daemon closed the connection without an answer");
        g_byte_array_append(self->input, buffer, (guint)n);
    }
}

static CxError
code_from_name(const char *name)
{
    for (CxError code = 0; name != NULL && code < CX_N_ERRORS; code++)
        if (strcmp(name, cx_error_code_name(code)) == 0)
            return code;
    return CX_ERROR_INTERNAL;
}

static gboolean
raise_answer(const json_t *payload, GError **error)
{
    const char *message = "unknown error", *code = NULL;

    if (payload != NULL) {
        (void)cx_json_get_string(payload, "message", &message, NULL);
        (void)cx_json_get_string(payload, "code", &code, NULL);
    }
    return cx_throw(error, code_from_name(code), "%s", message);
}

static gboolean
send_request(CxClient *self, const char *line, GError **error)
{
    gsize left = strlen(line);

    while (left > 0) {
        ssize_t n = send(self->fd, line, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        /* A daemon that refuses early has an answer for us even if it reads no further. */
        if (n < 0 && errno == EPIPE)
            return TRUE;
        if (n < 0)
            return cx_throw_errno(error, "daemon");
        line += n;
        left -= (gsize)n;
    }
    return TRUE;
}

gboolean
cx_client_call(CxClient *self,
               const char *command,
               const json_t *payload,
               CxClientEvent on_event,
               gpointer user,
               json_t **out_result,
               GError **error)
{
    g_autofree char *request = cx_request_format(command, payload, on_event != NULL);

    if (!send_request(self, request, error))
        return FALSE;

    for (;;) {
        g_autofree char *answer = NULL;
        g_autoptr(json_t) body = NULL;
        gsize size = 0;
        g_autofree char *line = read_line(self, &size, error);

        if (line == NULL || !cx_message_parse(line, size, &answer, &body, error))
            return FALSE;
        if (strcmp(answer, "event") == 0 && on_event != NULL && body != NULL) {
            on_event(user, body);
            continue;
        }
        if (strcmp(answer, "error") == 0)
            return raise_answer(body, error);

        *out_result = g_steal_pointer(&body);
        return TRUE;
    }
}

gboolean
cx_client_request(const CxCliGlobals *globals,
                  CxClientFlags flags,
                  const char *command,
                  const json_t *payload,
                  json_t **out_result,
                  GError **error)
{
    g_autoptr(CxClient) client = cx_client_open(globals, flags, error);

    return client != NULL &&
           cx_client_call(client, command, payload, NULL, NULL, out_result, error);
}
