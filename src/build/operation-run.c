/* SPDX-License-Identifier: Apache-2.0 */
/* A command in the stage's file system.  Its result is the upper directory that the command left,
 * committed as it is; nothing is walked, hashed or copied until somebody wants a layer. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "build/operation.h"
#include "build/pump.h"
#include "runtime/spec.h"
#include "runtime/user.h"

#define RESOLV_CONF_MAX (64 * 1024)
#define STEP_HOST_NAME                                                                             \
    "cruxd" /* the same everywhere: nothing in a result may tell where it was built */

static const char hosts_file[] =
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

static void
mix(const CxJob *job, CxHasher *hasher)
{
    const CxVertex *vertex = job->vertex;

    cx_hasher_field_string(hasher, vertex->shell);
    cx_hasher_field_string(hasher, vertex->command);
    cx_hasher_field_string(hasher, vertex->workdir);
    for (guint i = 0; vertex->env[i] != NULL; i++)
        cx_hasher_field_string(hasher, vertex->env[i]);
}

/* ---- the bundle ------------------------------------------------------------------------------ */

/* A running step: everything that must go when it ends. */
typedef struct {
    char *id;               /* (owned) container id; the bundle is work_folder/id */
    char *bundle;           /* (owned) absolute; NULL once the undertaker has it */
    int bundle_fd;          /* owned */
    int work_fd;            /* borrowed */
    CxActive *active;       /* (owned) */
    CxCgroup *cgroup;       /* (owned) */
    CxStepProcess *process; /* (owned) */
} Step;

static void
step_clear(Step *self)
{
    g_clear_pointer(&self->process, cx_step_process_free);
    g_clear_pointer(&self->cgroup, cx_cgroup_free);
    g_clear_pointer(&self->active, cx_active_free);
    if (self->bundle != NULL)
        (void)cx_remove_tree_at(self->work_fd, self->id, NULL);
    cx_clear_fd(&self->bundle_fd);
    g_clear_pointer(&self->bundle, g_free);
    g_clear_pointer(&self->id, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Step, step_clear)

static gboolean
write_file(int dir_fd, const char *name, const void *data, gsize size, GError **error)
{
    cx_autofd int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return cx_throw_errno(error, "\"%s\"", name);

    return cx_write_all(fd, data, size, error);
}

/* The host's resolver, as a copy: a step may write to it and nobody else sees that. */
static gboolean
write_resolv_conf(int dir_fd, GError **error)
{
    g_autofree char *target = realpath("/etc/resolv.conf", NULL);
    g_autoptr(GBytes) bytes =
        target == NULL ? NULL : cx_read_file_at(AT_FDCWD, target, RESOLV_CONF_MAX, NULL);

    if (bytes == NULL)
        return write_file(dir_fd, "resolv.conf", "", 0, error);

    return write_file(dir_fd, "resolv.conf", g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                      error);
}

static gboolean
make_bundle(CxEngine *engine, Step *step, GError **error)
{
    step->id = g_strdup_printf("s%08x%08x", g_random_int(), g_random_int());
    step->work_fd = engine->work_fd;
    if (mkdirat(engine->work_fd, step->id, 0700) < 0)
        return cx_throw_errno(error, "bundle");

    step->bundle = g_build_filename(engine->options.work_folder, step->id, NULL);
    step->bundle_fd = openat(engine->work_fd, step->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (step->bundle_fd < 0)
        return cx_throw_errno(error, "bundle");

    return write_file(step->bundle_fd, "hosts", hosts_file, strlen(hosts_file), error) &&
           write_resolv_conf(step->bundle_fd, error);
}

static GStrv
step_environment(const CxJob *job, const char *home)
{
    g_autofree char *home_entry = g_strconcat("HOME=", home, NULL);
    const char *base[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          home_entry, NULL};
    g_auto(GStrv) image =
        cx_env_merge(base, (const char *const *)cx_state_get_config(job->input)->env);

    return cx_env_merge((const char *const *)image, (const char *const *)job->vertex->env);
}

static char *
make_config(const CxJob *job, Step *step, GError **error)
{
    CxEngine *engine = job->engine;
    const CxVertex *vertex = job->vertex;
    const char *root = cx_active_peek_path(step->active);
    g_autofree char *cwd = cx_state_join_workdir(job->input, vertex->workdir);
    g_autofree char *resolv = g_build_filename(step->bundle, "resolv.conf", NULL);
    g_autofree char *hosts = g_build_filename(step->bundle, "hosts", NULL);
    const char *args[] = {vertex->shell, "-c", vertex->command, NULL};
    const CxBind binds[] = {
        {resolv, "/etc/resolv.conf", FALSE},
        {hosts,  "/etc/hosts",       FALSE}
    };
    cx_autofd int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_auto(CxUser) user = {0};
    g_auto(GStrv) env = NULL;
    CxContainerSpec spec = {0};

    if (root_fd < 0)
        return cx_throw_errno_null(error, "root");
    if (!cx_user_lookup(root_fd, cx_state_get_config(job->input)->user, &user, error))
        return NULL;

    env = step_environment(job, user.home);
    spec.root = root;
    spec.hostname = STEP_HOST_NAME;
    spec.args = args;
    spec.env = (const char *const *)env;
    spec.cwd = cwd;
    spec.uid = user.uid;
    spec.gid = user.gid;
    spec.additional_gids = (const guint32 *)(const void *)user.additional_gids->data;
    spec.n_additional_gids = user.additional_gids->len;
    spec.binds = binds;
    spec.n_binds = G_N_ELEMENTS(binds);
    spec.flags = CX_SPEC_HOST_NETWORK |
                 (cx_cgroups_filters_devices(engine->options.cgroups) ? 0 : CX_SPEC_NO_MKNOD);
    return cx_container_spec_to_json(&spec, engine->options.runtime, error);
}

/* ---- running --------------------------------------------------------------------------------- */

static gboolean
launch(const CxJob *job, Step *step, CxPump *pump, GError **error)
{
    CxEngine *engine = job->engine;
    g_autofree char *config = make_config(job, step, error);
    CxCreate create = {.id = step->id, .bundle = step->bundle};

    if (config == NULL ||
        !write_file(step->bundle_fd, "config.json", config, strlen(config), error))
        return FALSE;

    step->cgroup =
        cx_cgroups_make(engine->options.cgroups, step->id, &engine->options.step_limits, error);
    if (step->cgroup == NULL)
        return FALSE;

    create.stdio[0] = -1;
    create.stdio[1] = cx_pump_get_writer(pump, FALSE);
    create.stdio[2] = cx_pump_get_writer(pump, TRUE);
    create.join_fds = cx_cgroup_get_join_fds(step->cgroup, &create.n_join_fds);
    create.flags = CX_RUNTIME_NO_NEW_KEYRING;
    step->process = cx_keeper_launch(engine->options.keeper, &create, error);
    cx_pump_close_writers(pump);
    return step->process != NULL;
}

static char *
describe_exit(const CxEngine *engine, const CxExit *exit)
{
    if (exit->oom_killed)
        return g_strdup_printf("out of memory (the limit of a step is %" G_GUINT64_FORMAT " MiB)",
                               engine->options.step_limits.memory_max >> 20);
    if (exit->signal != 0)
        return g_strdup_printf("killed by signal %d (%s)", exit->signal, strsignal(exit->signal));

    return g_strdup_printf("exit code %d", exit->code);
}

static gboolean
judge(
    const CxJob *job, const CxExit *exit, const CxPump *pump, const char *log_name, GError **error)
{
    g_autofree char *what = NULL, *tail = NULL, *log = NULL;

    if (exit->code == 0 && exit->signal == 0 && !exit->oom_killed)
        return TRUE;

    what = describe_exit(job->engine, exit);
    tail = cx_pump_dup_tail(pump);
    if (cx_pump_has_log(pump))
        log = g_strdup_printf(" [full output: %s/logs/%s]",
                              cx_store_get_path(job->engine->options.store), log_name);
    return cx_throw(error, CX_ERROR_EXIT_STATUS, "command failed: %s: %s%s", what,
                    *tail == '\0' ? "no output" : tail, log == NULL ? "" : log);
}

static void
to_flight(gpointer user, const char *data, gsize size, gboolean is_stderr)
{
    cx_flight_log(user, data, size, is_stderr);
}

static gboolean
execute(const CxJob *job, CxFlight *flight, Step *step, CxCancel *cancellable, GError **error)
{
    CxEngine *engine = job->engine;
    g_autofree char *log_name = NULL;
    g_autoptr(CxPump) pump = NULL;
    const CxLower *lowers;
    CxExit exit;
    guint n;

    if (!make_bundle(engine, step, error))
        return FALSE;

    lowers = cx_state_get_lowers(job->input, &n);
    step->active =
        cx_snapshotter_prepare(cx_store_get_snapshotter(engine->options.store), lowers, n, error);
    log_name = g_strconcat(step->id, ".log", NULL);
    pump = cx_pump_new(cx_store_get_logs_fd(engine->options.store), log_name, to_flight, flight,
                       error);
    if (step->active == NULL || pump == NULL || !launch(job, step, pump, error))
        return FALSE;

    if (!cx_pump_run(pump, step->process, cancellable, error) ||
        !cx_step_process_wait(step->process, &exit, error))
        return FALSE;

    exit.oom_killed = exit.oom_killed || cx_cgroup_was_oom_killed(step->cgroup);
    return judge(job, &exit, pump, log_name, error);
}

/* ---- keeping the result ---------------------------------------------------------------------- */

static gboolean
is_empty_folder(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    gboolean empty = TRUE;

    while (dir != NULL && empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir != NULL)
        (void)closedir(dir);
    return dir != NULL && empty;
}

/* The value of a run's record: the upper and the random content that stands for it in later keys;
 * "" when the step left the file system as it was. */
typedef struct {
    guint64 upper;
    CxDigest content;
} Kept;

static char *
kept_to_text(const Kept *kept)
{
    return g_strdup_printf("%016" G_GINT64_MODIFIER "x %s", kept->upper,
                           cx_digest_text(&kept->content).text);
}

static gboolean
kept_from_text(const char *text, Kept *out_kept)
{
    char *end = NULL;

    out_kept->upper = g_ascii_strtoull(text, &end, 16);
    return *end == ' ' && cx_digest_parse(end + 1, &out_kept->content, NULL);
}

static CxState *
state_with(const CxJob *job, CxLease *lease, const Kept *kept)
{
    CxLower lower = {.kind = CX_LOWER_UPPER, .upper = kept->upper};

    return cx_state_new_with_lower(job->input, lease, &lower, &kept->content);
}

static gboolean
keep(CxJob *job, Step *step, const CxDigest *key, CxOutcome *out_outcome, GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxLease) lease = cx_lease_new(store);
    g_autofree char *text = NULL;
    CxObject object;
    Kept kept;
    gboolean ok;

    if (is_empty_folder(cx_active_get_upper_fd(step->active))) {
        out_outcome->state = cx_state_ref(job->input);
        return cx_store_remember(store, key, "run", "", NULL, 0, error);
    }

    if (getrandom(kept.content.bytes, CX_DIGEST_SIZE, 0) != CX_DIGEST_SIZE)
        return cx_throw_errno(error, "random");
    cx_store_publish_begin(store);
    ok = cx_active_commit(step->active, &kept.upper, error);
    object = cx_object_upper(kept.upper);
    if (ok)
        cx_lease_hold(lease, &object);
    cx_store_publish_end(store);
    if (!ok)
        return FALSE;

    text = kept_to_text(&kept);
    if (!cx_store_remember(store, key, "run", text, &object, 1, error))
        return FALSE;

    out_outcome->state = state_with(job, lease, &kept);
    return TRUE;
}

/* TRUE with a state when the result is known, TRUE without when it is not. */
static gboolean
recall(CxJob *job, const CxDigest *key, CxOutcome *out_outcome, GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxLease) lease = cx_lease_new(store);
    g_autoptr(GError) local = NULL;
    g_autofree char *known = cx_store_recall(store, key, lease, &local);
    Kept kept;

    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (known != NULL && *known == '\0')
        out_outcome->state = cx_state_ref(job->input);
    else if (known != NULL && kept_from_text(known, &kept))
        out_outcome->state = state_with(job, lease, &kept);
    out_outcome->cached = out_outcome->state != NULL;
    return TRUE;
}

static void
bury(CxEngine *engine, Step *step)
{
    cx_engine_bury(engine, g_steal_pointer(&step->process), g_steal_pointer(&step->cgroup),
                   g_steal_pointer(&step->bundle));
}

static gboolean
run(CxJob *job, CxFlight *flight, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    g_auto(Step) step = {.bundle_fd = -1, .work_fd = -1};
    g_autoptr(CxState) compact = NULL;
    g_autofree char *reason = NULL;
    CxDigest key = cx_job_key(job);

    if (!(job->plan->flags & CX_BUILD_NO_CACHE) && !recall(job, &key, out_outcome, error))
        return FALSE;
    if (out_outcome->state != NULL)
        return TRUE;

    if (job->engine->options.runtime == NULL)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "no OCI runtime works here: %s [see: cruxd doctor]",
                        job->engine->options.no_runtime);
    if (!cx_platform_is_runnable(&job->plan->graph->platform, &reason))
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "cannot run programs of %s here: %s",
                        cx_platform_text(&job->plan->graph->platform).text, reason);

    /* A long stack is merged before it is mounted; what is kept still counts from the caller's
     * input. */
    compact = cx_state_compact(job->input, cancellable, error);
    if (compact == NULL)
        return FALSE;
    cx_state_unref(job->input);
    job->input = g_steal_pointer(&compact);

    if (!execute(job, flight, &step, cancellable, error) ||
        !keep(job, &step, &key, out_outcome, error))
        return FALSE;

    bury(job->engine, &step);
    return TRUE;
}

const CxOperation cx_operation_run = {.name = "run", .mix = mix, .run = run};
