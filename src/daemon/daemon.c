/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "daemon"
#include "daemon/daemon.h"

#include <errno.h>
#include <glib-unix.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/commands.h"
#include "daemon/instance.h"
#include "daemon/socket.h"

/* Requests worked on at once; more wait. */
#define WORKERS_MAX 64
/* Connections at once, idle ones too; more are refused. */
#define CONNECTIONS_MAX 8192
/* How long running requests may take to clean up when the daemon ends. */
#define SHUTDOWN_GRACE_S 20
/* How long nothing may happen before what was written is forced to disk and garbage is looked for.
 */
#define IDLE_SYNC_S 5
#define ACCEPT_PAUSE_MS 100

typedef struct {
    const CxDaemonOptions *options;
    CxHost host;
    CxCommands commands;
    GMainLoop *loop;         /* (owned) */
    GThreadPool *workers;    /* (owned) */
    GHashTable *connections; /* (borrowed CxConnection): all that are open */
    CxListener listener;
    guint accept_source; /* 0: not accepting */
    guint idle_source;
    GThread *sync_thread; /* (owned) or NULL */
    gboolean ending;
    gboolean stuck; /* a request did not end within the grace */
} Daemon;

static void accept_again(Daemon *self);

/* ---- requests -------------------------------------------------------------------------------- */

/* After a build: the cache stays within its budget, whoever built. */
static void
keep_house(Daemon *self, const CxConnection *connection)
{
    g_autoptr(GError) error = NULL;

    if (strcmp(cx_connection_get_request(connection)->command, "build") == 0 &&
        !cx_store_keep_budget(self->host.store, NULL, &error))
        cx_warning("garbage collection: %s, will try again after the next build", error->message);
}

/* On a worker thread. */
static void
work(gpointer data, gpointer user)
{
    CxConnection *connection = data;
    Daemon *self = user;
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) result = NULL;
    g_autofree char *line = NULL;

    if (cx_commands_run(&self->commands, connection, &result, &error))
        line = cx_message_format("ok", result);
    else
        line = cx_message_format_error(error);
    if (error != NULL)
        cx_info("%s: %s", cx_connection_get_request(connection)->command, error->message);

    cx_connection_send(connection, line);
    keep_house(self, connection);
    cx_connection_finish(connection);
}

static gboolean
is_any_working(Daemon *self)
{
    GHashTableIter iter;
    gpointer connection;

    g_hash_table_iter_init(&iter, self->connections);
    while (g_hash_table_iter_next(&iter, &connection, NULL))
        if (cx_connection_is_working(connection))
            return TRUE;
    return FALSE;
}

static gpointer
sync_store(gpointer data)
{
    Daemon *self = data;
    g_autoptr(GError) error = NULL;

    if (!cx_store_sync(self->host.store, &error))
        cx_warning("%s, will try again later", error->message);
    (void)malloc_trim(0);
    return NULL;
}

/* Nothing has happened for a while.  Forcing to disk may take long: not on the main loop. */
static gboolean
on_idle(gpointer data)
{
    Daemon *self = data;

    self->idle_source = 0;
    if (self->sync_thread != NULL)
        (void)g_thread_join(g_steal_pointer(&self->sync_thread));
    if (!is_any_working(self))
        self->sync_thread = g_thread_new("sync", sync_store, self);
    return G_SOURCE_REMOVE;
}

static void
rearm_idle(Daemon *self)
{
    if (self->idle_source != 0)
        g_source_remove(self->idle_source);
    self->idle_source = g_timeout_add_seconds(IDLE_SYNC_S, on_idle, self);
}

static void
on_request(gpointer user, CxConnection *connection)
{
    Daemon *self = user;

    (void)g_thread_pool_push(self->workers, connection, NULL);
}

static void
on_closed(gpointer user, CxConnection *connection)
{
    Daemon *self = user;

    g_hash_table_remove(self->connections, connection);
    rearm_idle(self);
    if (self->options->private_fd >= 0)
        self->ending = TRUE;
    if (self->ending && !is_any_working(self))
        g_main_loop_quit(self->loop);
}

static void
serve(Daemon *self, int take_fd)
{
    CxConnectionEvents events = {.request = on_request, .closed = on_closed, .user = self};
    gsize request_max =
        self->options->request_max != 0 ? self->options->request_max : CX_REQUEST_MAX_DEFAULT;
    g_autoptr(GError) error = NULL;
    CxConnection *connection;

    if (g_hash_table_size(self->connections) >= CONNECTIONS_MAX) {
        cx_warning("more than %d connections, one refused", CONNECTIONS_MAX);
        cx_clear_fd(&take_fd);
        return;
    }
    connection = cx_connection_new(take_fd, request_max, &events, &error);
    if (connection == NULL)
        cx_warning("connection refused: %s", error->message);
    else
        g_hash_table_add(self->connections, connection);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static gboolean
on_accept_again(gpointer data)
{
    accept_again(data);
    return G_SOURCE_REMOVE;
}

static gboolean
on_acceptable(gint listen_fd, GIOCondition condition, gpointer data)
{
    Daemon *self = data;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0) {
        serve(self, fd);
        return G_SOURCE_CONTINUE;
    }
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM)
        return G_SOURCE_CONTINUE;

    /* Out of descriptors: leave the queue to the kernel for a moment instead of spinning. */
    cx_warning("cannot accept: %s, pausing", g_strerror(errno));
    self->accept_source = 0;
    (void)g_timeout_add(ACCEPT_PAUSE_MS, on_accept_again, self);
    return G_SOURCE_REMOVE;
}

static void
accept_again(Daemon *self)
{
    if (self->accept_source == 0 && self->listener.fd >= 0)
        self->accept_source = g_unix_fd_add(self->listener.fd, G_IO_IN, on_acceptable, self);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static gboolean
on_grace_over(gpointer data)
{
    Daemon *self = data;

    cx_warning("requests did not end in time, leaving without them");
    self->stuck = TRUE;
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

/* On the main loop: no new connections, idle ones dropped, running requests cancelled. */
static gboolean
begin_end(gpointer data)
{
    Daemon *self = data;
    g_autoptr(GList) connections = NULL;

    if (self->ending)
        return G_SOURCE_REMOVE;
    self->ending = TRUE;
    if (self->accept_source != 0)
        g_source_remove(self->accept_source);
    self->accept_source = 0;
    cx_clear_fd(&self->listener.fd);

    connections = g_hash_table_get_keys(self->connections);
    for (GList *l = connections; l != NULL; l = l->next) {
        CxConnection *connection = l->data;
        gboolean asked = cx_connection_is_working(connection) &&
                         strcmp(cx_connection_get_request(connection)->command, "shutdown") == 0;

        if (!cx_connection_is_working(connection))
            cx_connection_drop(connection);
        else if (!asked)
            cx_cancel_trigger(cx_connection_get_cancellable(connection));
    }
    if (!is_any_working(self))
        g_main_loop_quit(self->loop);
    (void)g_timeout_add_seconds(SHUTDOWN_GRACE_S, on_grace_over, self);
    return G_SOURCE_REMOVE;
}

static void
shut_down(gpointer user)
{
    (void)g_idle_add_full(G_PRIORITY_DEFAULT, begin_end, user, NULL);
}

static gboolean
on_signal(gpointer data)
{
    (void)begin_end(data);
    return G_SOURCE_CONTINUE;
}

/* ---- starting -------------------------------------------------------------------------------- */

static void
raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static gboolean
begin_serving(Daemon *self, GError **error)
{
    if (self->options->private_fd >= 0) {
        serve(self, self->options->private_fd);
        return TRUE;
    }
    if (!cx_listener_listen(&self->listener, error))
        return FALSE;

    accept_again(self);
    cx_listener_announce(&self->listener, self->options->ready_fd);
    cx_info("listening on %s", self->listener.path);
    return TRUE;
}

static gboolean
daemon_open(Daemon *self, GError **error)
{
    const CxDaemonOptions *options = self->options;
    g_autofree char *socket_path = options->socket_path != NULL
                                       ? g_strdup(options->socket_path)
                                       : cx_instance_socket(options->instance);
    g_autofree char *pid_file = options->pid_file != NULL ? g_strdup(options->pid_file)
                                                          : cx_instance_pid_file(options->instance);

    raise_file_limit();
    /* The name is taken before anything else is touched: a second daemon must not disturb the first
     * one's state. */
    if (options->private_fd < 0 && !cx_listener_bind(&self->listener, socket_path, pid_file, error))
        return FALSE;
    cx_instance_sweep();
    if (!cx_host_open(&self->host, options, error))
        return FALSE;

    self->commands = (CxCommands){.host = &self->host,
                                  .options = options,
                                  .started = g_get_monotonic_time(),
                                  .shut_down = shut_down,
                                  .user = self};
    self->loop = g_main_loop_new(NULL, FALSE);
    self->connections = g_hash_table_new(g_direct_hash, g_direct_equal);
    self->workers = g_thread_pool_new(work, self, WORKERS_MAX, FALSE, NULL);
    (void)g_unix_signal_add(SIGINT, on_signal, self);
    (void)g_unix_signal_add(SIGTERM, on_signal, self);
    return begin_serving(self, error);
}

static void
daemon_close(Daemon *self)
{
    if (self->stuck) {
        /* Threads of stuck requests still use everything: the kernel and the keeper clean up after
         * us. */
        cx_listener_close(&self->listener);
        _exit(1);
    }
    if (self->sync_thread != NULL)
        (void)g_thread_join(self->sync_thread);
    if (self->workers != NULL)
        g_thread_pool_free(self->workers, TRUE, TRUE);
    cx_listener_close(&self->listener);
    cx_host_close(&self->host, self->options->private_fd < 0);
    g_clear_pointer(&self->connections, g_hash_table_unref);
    g_clear_pointer(&self->loop, g_main_loop_unref);
}

gboolean
cx_daemon_run(const CxDaemonOptions *options, GError **error)
{
    Daemon self = {.options = options, .listener = CX_LISTENER_INIT};
    gboolean ok;

    (void)signal(SIGPIPE, SIG_IGN);
    ok = daemon_open(&self, error);
    if (ok)
        g_main_loop_run(self.loop);
    daemon_close(&self);
    return ok;
}
