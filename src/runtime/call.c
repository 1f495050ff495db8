/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the runtime program: its arguments, its start, what its end means; and the state
 * root, where calls leave their traces. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/tmp.h"
#include "runtime/driver-private.h"
#include "runtime/message.h"

#define ANSWER_MAX (256 * 1024)
#define PRESERVED_FDS_MAX 16
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- what is on disk ------------------------------------------------------------------------- */

static char *
dup_log_path(const CxRuntime *self, const char *id)
{
    return g_strdup_printf("%s/%s.log", self->calls, id);
}

static char *
dup_pid_path(const CxRuntime *self, const char *id)
{
    return g_strdup_printf("%s/%s.pid", self->calls, id);
}

static char *
dup_answer_path(const CxRuntime *self, const char *id)
{
    return g_strdup_printf("%s/%s.answer", self->calls, id);
}

gboolean
cx_runtime_has_state(const CxRuntime *self, const char *id)
{
    g_autofree char *path = g_build_filename(self->root, id, NULL);

    return access(path, F_OK) == 0;
}

char *
cx_runtime_dup_message(CxRuntime *self, const char *id)
{
    g_autofree char *path = dup_log_path(self, id);
    cx_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? NULL : cx_runtime_message_from_log(fd, self->ops->chatter);
}

void
cx_runtime_forget(CxRuntime *self, const char *id)
{
    g_autofree char *log = dup_log_path(self, id), *pid = dup_pid_path(self, id),
                    *answer = dup_answer_path(self, id);
    cx_autofd int root_fd = -1;

    (void)unlink(log);
    (void)unlink(pid);
    (void)unlink(answer);
    if (!cx_runtime_has_state(self, id))
        return;

    root_fd = open(self->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd >= 0)
        (void)cx_remove_tree_at(root_fd, id, NULL);
}

GStrv
cx_runtime_list(const CxRuntime *self)
{
    g_autoptr(GStrvBuilder) ids = g_strv_builder_new();
    g_autoptr(GDir) dir = g_dir_open(self->root, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (cx_container_id_check(name, NULL))
            g_strv_builder_add(ids, name);

    return g_strv_builder_end(ids);
}

/* ---- a call: its arguments ------------------------------------------------------------------- */

static const char *const verbs[] = {
    [CX_RUNTIME_CREATE] = "create", [CX_RUNTIME_RUN] = "run",   [CX_RUNTIME_START] = "start",
    [CX_RUNTIME_STATE] = "state",   [CX_RUNTIME_KILL] = "kill", [CX_RUNTIME_DELETE] = "delete",
};
G_STATIC_ASSERT(G_N_ELEMENTS(verbs) == CX_RUNTIME_DELETE + 1);

static void
add(GPtrArray *argv, const char *word)
{
    g_ptr_array_add(argv, g_strdup(word));
}

static void
add_option(GPtrArray *argv, const char *option, const char *value)
{
    add(argv, option);
    add(argv, value);
}

static void
add_create_options(const CxRuntime *self, const CxCreate *create, GPtrArray *argv)
{
    g_autofree char *pid_path = dup_pid_path(self, create->id);

    add_option(argv, "--bundle", create->bundle);
    add_option(argv, "--pid-file", pid_path);
    if (create->console_socket != NULL)
        add_option(argv, "--console-socket", create->console_socket);
    if ((create->flags & CX_RUNTIME_NO_PIVOT) != 0)
        add(argv, "--no-pivot");
    if ((create->flags & CX_RUNTIME_NO_NEW_KEYRING) != 0)
        add(argv, "--no-new-keyring");
    if (create->preserve_fds > 0) {
        add(argv, "--preserve-fds");
        g_ptr_array_add(argv, g_strdup_printf("%u", create->preserve_fds));
    }
}

/* Everything explicit, so that the environment never matters; the id always after "--". */
static GPtrArray *
make_argv(const CxRuntime *self, const CxRuntimeCall *call, const char *log_path)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(argv, cx_runtime_dup_program_path(self));
    add_option(argv, "--root", self->root);
    add_option(argv, "--log", log_path);
    add_option(argv, "--log-format", "json");
    if (self->ops->add_options != NULL)
        self->ops->add_options(call->create != NULL ? call->create->flags : call->flags, argv);
    add(argv, verbs[call->verb]);
    if (call->verb == CX_RUNTIME_RUN)
        add(argv, "--detach");
    if (call->create != NULL)
        add_create_options(self, call->create, argv);
    if (call->verb == CX_RUNTIME_DELETE && call->force)
        add(argv, "--force");
    add(argv, "--");
    add(argv, call->id);
    if (call->verb == CX_RUNTIME_KILL)
        g_ptr_array_add(argv, self->ops->dup_signal_word != NULL
                                  ? self->ops->dup_signal_word(call->signal)
                                  : g_strdup_printf("%d", call->signal));
    g_ptr_array_add(argv, NULL);
    return argv;
}

/* ---- a call: its start ----------------------------------------------------------------------- */

/* The descriptors 3… that the container shall keep are the ones of our own process (keeper.h has
 * none). */
static void
set_container_fds(const CxCreate *create, int extra[], CxSpawn *spawn)
{
    spawn->stdin_fd = create->stdio[0];
    spawn->stdout_fd = create->stdio[1];
    spawn->stderr_fd = create->stdio[2];
    spawn->join_fds = create->join_fds;
    spawn->n_join_fds = create->n_join_fds;
    for (guint i = 0; i < create->preserve_fds; i++)
        extra[i] = 3 + (int)i;
    spawn->extra_fds = extra;
    spawn->n_extra_fds = create->preserve_fds;
}

static gboolean
check_create(const CxRuntime *self, const CxCreate *create, GError **error)
{
    if (!cx_container_id_check(create->id, error))
        return FALSE;
    if (!g_path_is_absolute(create->bundle))
        return cx_throw(error, CX_ERROR_INVALID, "bundle \"%s\" is not an absolute path",
                        create->bundle);
    if (create->preserve_fds > PRESERVED_FDS_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "%u descriptors to keep, more than %d",
                        create->preserve_fds, PRESERVED_FDS_MAX);
    /* A failed create is cleaned up by a forced delete, which must not hit somebody else's
     * container. */
    if (cx_runtime_has_state(self, create->id))
        return cx_throw(error, CX_ERROR_EXISTS, "container \"%s\" exists", create->id);

    return TRUE;
}

pid_t
cx_runtime_begin(CxRuntime *self, const CxRuntimeCall *call, GError **error)
{
    g_autofree char *log_path = dup_log_path(self, call->id),
                    *answer_path = dup_answer_path(self, call->id);
    g_autofree char *mark = g_strconcat(CX_RUNTIME_MARK, call->id, NULL);
    const char *const env[] = {DEFAULT_PATH, mark, NULL};
    g_autoptr(GPtrArray) argv = NULL;
    cx_autofd int log_fd = -1, answer_fd = -1;
    CxSpawn spawn = CX_SPAWN_INIT;
    int extra[PRESERVED_FDS_MAX];

    if (call->create != NULL ? !check_create(self, call->create, error)
                             : !cx_container_id_check(call->id, error))
        return -1;

    log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return cx_throw_errno_fd(error, "\"%s\"", log_path);
    if (call->verb == CX_RUNTIME_STATE) {
        answer_fd = open(answer_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (answer_fd < 0)
            return cx_throw_errno_fd(error, "\"%s\"", answer_path);
    }

    argv = make_argv(self, call, log_path);
    spawn.argv = (const char *const *)argv->pdata;
    spawn.env = env;
    spawn.die_with_parent = call->die_with_parent;
    spawn.stdout_fd = answer_fd;
    spawn.stderr_fd = log_fd;
    if (call->create != NULL)
        set_container_fds(call->create, extra, &spawn);
    return cx_process_spawn(&spawn, error);
}

/* ---- a call: its end ------------------------------------------------------------------------- */

/* Digits and at most one newline, nothing else. */
static gboolean
parse_pid(const char *text, pid_t *out_pid)
{
    gsize n = strspn(text, G_CSET_DIGITS);
    long number;

    if (n == 0 || n > 9 || (text[n] != '\0' && strcmp(text + n, "\n") != 0))
        return FALSE;

    number = strtol(text, NULL, 10);
    *out_pid = (pid_t)number;
    return number > 0;
}

static gboolean
read_pid(const CxRuntime *self, const char *id, pid_t *out_pid, GError **error)
{
    g_autofree char *path = dup_pid_path(self, id);
    cx_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[32] = "";

    if (fd < 0)
        return cx_throw(error, CX_ERROR_INTERNAL, "%s ended well but wrote no pid file",
                        self->ops->name);
    if (cx_read_full(fd, text, sizeof text - 1, NULL) < 0 || !parse_pid(text, out_pid)) {
        g_autofree char *escaped = g_strescape(text, NULL);

        return cx_throw(error, CX_ERROR_INTERNAL, "%s wrote \"%.16s\" as the container's pid",
                        self->ops->name, escaped);
    }

    return TRUE;
}

static const char *const statuses[] = {
    [CX_CONTAINER_ABSENT] = "",         [CX_CONTAINER_CREATING] = "creating",
    [CX_CONTAINER_CREATED] = "created", [CX_CONTAINER_RUNNING] = "running",
    [CX_CONTAINER_PAUSED] = "paused",   [CX_CONTAINER_STOPPED] = "stopped",
};
G_STATIC_ASSERT(G_N_ELEMENTS(statuses) == CX_CONTAINER_STOPPED + 1);

gboolean
cx_runtime_parse_state(const char *text, gsize size, CxRuntimeAnswer *out_answer, GError **error)
{
    g_autoptr(json_t) state = cx_json_parse(text, size, error);
    CxContainerStatus status = CX_CONTAINER_CREATING;
    const char *word = NULL;
    gint64 pid = 0;

    if (state == NULL)
        return FALSE;
    if (!json_is_object(state))
        return cx_throw(error, CX_ERROR_INTERNAL, "not a JSON object");
    if (!cx_json_get_string(state, "status", &word, error) ||
        !cx_json_get_int(state, "pid", &pid, error))
        return FALSE;

    if (pid < 0 || pid > G_MAXINT32)
        return cx_throw(error, CX_ERROR_INTERNAL, "%" G_GINT64_FORMAT " is not a pid", pid);

    while (status <= CX_CONTAINER_STOPPED && g_strcmp0(word, statuses[status]) != 0)
        status++;
    if (status > CX_CONTAINER_STOPPED)
        return cx_throw(error, CX_ERROR_INTERNAL, "unknown status \"%s\"",
                        word != NULL ? word : "");

    out_answer->status = status;
    out_answer->pid =
        status >= CX_CONTAINER_CREATED && status <= CX_CONTAINER_PAUSED && pid > 0 ? (pid_t)pid : 0;
    return TRUE;
}

static gboolean
read_state(const CxRuntime *self, const char *id, CxRuntimeAnswer *out_answer, GError **error)
{
    CX_ERROR_CONTEXT(error, "answer of %s state", self->ops->name);
    g_autofree char *path = dup_answer_path(self, id);
    g_autoptr(GBytes) text = cx_read_file_at(AT_FDCWD, path, ANSWER_MAX, error);

    return text != NULL && cx_runtime_parse_state(g_bytes_get_data(text, NULL),
                                                  g_bytes_get_size(text), out_answer, error);
}

CxError
cx_runtime_classify(const CxRuntime *self, const char *message)
{
    for (const CxRuntimeSaying *s = self->ops->sayings; s != NULL && s->phrase != NULL; s++)
        if (strstr(message, s->phrase) != NULL &&
            (s->also == NULL || strstr(message, s->also) != NULL))
            return s->code;

    return CX_ERROR_INTERNAL;
}

static gboolean
throw_failure(CxRuntime *self, const CxRuntimeCall *call, int status, GError **error)
{
    g_autofree char *message = cx_runtime_dup_message(self, call->id);

    if (WIFSIGNALED(status))
        return cx_throw(error, CX_ERROR_INTERNAL, "%s died by signal %d", self->ops->name,
                        WTERMSIG(status));
    if (message == NULL)
        return cx_throw(error, CX_ERROR_INTERNAL, "%s %s exited with code %d and said nothing",
                        self->ops->name, verbs[call->verb], WEXITSTATUS(status));

    return cx_throw(error, cx_runtime_classify(self, message), "%s: %s", self->ops->name, message);
}

gboolean
cx_runtime_judge(CxRuntime *self,
                 const CxRuntimeCall *call,
                 int status,
                 CxRuntimeAnswer *out_answer,
                 GError **error)
{
    gboolean ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    gboolean failed = WIFEXITED(status) && !ok;

    /* Whether an id is known is seen by its state folder, not by the words of the message
     * (spec/oci-runtime.md §5). */
    if (failed && call->create == NULL && !cx_runtime_has_state(self, call->id)) {
        if (call->verb == CX_RUNTIME_DELETE && call->force)
            return TRUE;
        if (call->verb != CX_RUNTIME_STATE)
            return cx_throw(error, CX_ERROR_NOT_FOUND, "container \"%s\" is not known to %s",
                            call->id, self->ops->name);
        *out_answer = (CxRuntimeAnswer){.status = CX_CONTAINER_ABSENT};
        return TRUE;
    }
    if (!ok)
        return throw_failure(self, call, status, error);
    if (call->create != NULL)
        return read_pid(self, call->id, &out_answer->pid, error);

    return call->verb != CX_RUNTIME_STATE || read_state(self, call->id, out_answer, error);
}

/* ---- the blocking calls ---------------------------------------------------------------------- */

static gboolean
wait_and_judge(CxRuntime *self,
               const CxRuntimeCall *call,
               pid_t pid,
               int deadline_ms,
               CxRuntimeAnswer *out_answer,
               GError **error)
{
    int status;

    if (!cx_process_wait(pid, deadline_ms, NULL, &status, error)) {
        g_prefix_error(error, "%s %s: ", self->ops->name, verbs[call->verb]);
        return FALSE;
    }
    return cx_runtime_judge(self, call, status, out_answer, error);
}

static gboolean
call_and_wait(CxRuntime *self,
              const CxRuntimeCall *call,
              int deadline_ms,
              CxRuntimeAnswer *out_answer,
              GError **error)
{
    pid_t pid = cx_runtime_begin(self, call, error);

    return pid >= 0 && wait_and_judge(self, call, pid, deadline_ms, out_answer, error);
}

/* A container that failed half way leaves nothing behind. */
static gboolean
create_and_wait(CxRuntime *self,
                CxRuntimeVerb verb,
                const CxCreate *create,
                int deadline_ms,
                pid_t *out_pid,
                GError **error)
{
    CxRuntimeCall call = {.verb = verb, .id = create->id, .create = create};
    CxRuntimeAnswer answer = {0};
    pid_t pid = cx_runtime_begin(self, &call, error);

    if (pid < 0)
        return FALSE;
    if (!wait_and_judge(self, &call, pid, deadline_ms, &answer, error)) {
        (void)cx_runtime_delete(self, create->id, TRUE, deadline_ms, NULL);
        return FALSE;
    }
    *out_pid = answer.pid;
    return TRUE;
}

gboolean
cx_runtime_create(
    CxRuntime *self, const CxCreate *create, int deadline_ms, pid_t *out_pid, GError **error)
{
    return create_and_wait(self, CX_RUNTIME_CREATE, create, deadline_ms, out_pid, error);
}

gboolean
cx_runtime_start(CxRuntime *self, const char *id, int deadline_ms, GError **error)
{
    CxRuntimeCall call = {.verb = CX_RUNTIME_START, .id = id};
    CxRuntimeAnswer answer;

    return call_and_wait(self, &call, deadline_ms, &answer, error);
}

gboolean
cx_runtime_launch(
    CxRuntime *self, const CxCreate *create, int deadline_ms, pid_t *out_pid, GError **error)
{
    pid_t pid;

    if (cx_runtime_runs_detached(self))
        return create_and_wait(self, CX_RUNTIME_RUN, create, deadline_ms, out_pid, error);

    if (!cx_runtime_create(self, create, deadline_ms, &pid, error))
        return FALSE;
    if (!cx_runtime_start(self, create->id, deadline_ms, error)) {
        (void)cx_runtime_delete(self, create->id, TRUE, deadline_ms, NULL);
        return FALSE;
    }
    *out_pid = pid;
    return TRUE;
}

gboolean
cx_runtime_state(CxRuntime *self,
                 const char *id,
                 int deadline_ms,
                 CxContainerStatus *out_status,
                 pid_t *out_pid,
                 GError **error)
{
    CxRuntimeCall call = {.verb = CX_RUNTIME_STATE, .id = id};
    CxRuntimeAnswer answer = {0};

    if (!call_and_wait(self, &call, deadline_ms, &answer, error))
        return FALSE;

    *out_status = answer.status;
    *out_pid = answer.pid;
    return TRUE;
}

gboolean
cx_runtime_kill(CxRuntime *self, const char *id, int signal, int deadline_ms, GError **error)
{
    CxRuntimeCall call = {.verb = CX_RUNTIME_KILL, .id = id, .signal = signal};
    CxRuntimeAnswer answer;

    g_return_val_if_fail(signal > 0 && signal <= 64, FALSE);
    return call_and_wait(self, &call, deadline_ms, &answer, error);
}

gboolean
cx_runtime_delete(CxRuntime *self, const char *id, gboolean force, int deadline_ms, GError **error)
{
    CxRuntimeCall call = {.verb = CX_RUNTIME_DELETE, .id = id, .force = force};
    CxRuntimeAnswer answer;
    gboolean deleted = call_and_wait(self, &call, deadline_ms, &answer, error);

    if (deleted || force)
        cx_runtime_forget(self, id);
    return deleted;
}

gboolean
cx_runtime_sweep(CxRuntime *self, int deadline_ms, GError **error)
{
    g_auto(GStrv) ids = cx_runtime_list(self);
    gboolean ok = TRUE;

    for (guint i = 0; ids[i] != NULL; i++)
        ok = cx_runtime_delete(self, ids[i], TRUE, deadline_ms, ok ? error : NULL) && ok;

    return ok;
}

gboolean
cx_runtime_drop_ended(CxRuntime *self, const char *id, CxRuntimeFlags flags)
{
    cx_autofd int root_fd = -1;

    if (!(self->ops->traits & CX_RUNTIME_ENDS_CLEAN) || (flags & CX_RUNTIME_SYSTEMD_CGROUP))
        return FALSE;

    root_fd = open(self->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Only if its state is where we know it to be. */
    return root_fd >= 0 && faccessat(root_fd, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           cx_remove_tree_at(root_fd, id, NULL);
}
