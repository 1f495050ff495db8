/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec.h"

#include <string.h>
#include <sys/resource.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/json.h"
#include "runtime/seccomp-profile.h"

#define OCI_VERSION "1.0.2"
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DEFAULT_HOSTNAME "localhost" /* never the host's: a build must not see it */
/* Programs that close or look at "all" descriptors go by the soft limit; those that need many raise
 * it themselves. */
#define NOFILE_SOFT 1024
#define NOFILE_HARD 1048576
#define BPF_ANNOTATION "run.oci.seccomp_bpf_data"

static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",  "CAP_DAC_OVERRIDE",     "CAP_FOWNER",
    "CAP_FSETID",      "CAP_KILL",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
    "CAP_SETFCAP",     "CAP_SETGID", "CAP_SETPCAP",          "CAP_SETUID",
    "CAP_SYS_CHROOT",  NULL,
};
static const char *const mknod_capability = "CAP_MKNOD";

static const char *const masked_paths[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    NULL,
};

static const char *const read_only_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

/* A fresh one of each always: whatever the image has at these names is hidden, so its links cannot
 * lead a runtime astray. */
static const struct {
    const char *destination;
    const char *type;
    const char *options;
} mounts[] = {
    {"/proc",       "proc",   "nosuid,noexec,nodev"                              },
    {"/dev",        "tmpfs",  "nosuid,strictatime,mode=755,size=65536k"          },
    {"/dev/pts",    "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"},
    {"/dev/shm",    "tmpfs",  "nosuid,noexec,nodev,mode=1777,size=65536k"        },
    {"/dev/mqueue", "mqueue", "nosuid,noexec,nodev"                              },
    {"/sys",        "sysfs",  "nosuid,noexec,nodev,ro"                           },
};

/* ---- environment ----------------------------------------------------------------------------- */

/* Index of the entry with the same name, or the length. */
static guint
find_name(const GPtrArray *entries, const char *entry)
{
    gsize name = (gsize)(strchr(entry, '=') - entry) + 1;
    guint i = 0;

    while (i < entries->len && strncmp(g_ptr_array_index(entries, i), entry, name) != 0)
        i++;
    return i;
}

static void
merge_into(GPtrArray *entries, const char *const *more)
{
    for (gsize i = 0; more != NULL && more[i] != NULL; i++) {
        const char *equals = strchr(more[i], '=');
        guint at;

        if (equals == NULL || equals == more[i])
            continue;
        at = find_name(entries, more[i]);
        if (at == entries->len) {
            g_ptr_array_add(entries, g_strdup(more[i]));
            continue;
        }
        g_free(g_ptr_array_index(entries, at));
        g_ptr_array_index(entries, at) = g_strdup(more[i]);
    }
}

GStrv
cx_env_merge(const char *const *base, const char *const *more)
{
    GPtrArray *entries = g_ptr_array_new();

    merge_into(entries, base);
    merge_into(entries, more);
    g_ptr_array_add(entries, NULL);
    return (GStrv)g_ptr_array_free(entries, FALSE);
}

static GStrv
complete_env(const CxContainerSpec *spec)
{
    g_autofree char *home = g_strconcat("HOME=", spec->home != NULL ? spec->home : "/", NULL);
    gboolean terminal = (spec->flags & CX_SPEC_TERMINAL) != 0;
    const char *const defaults[] = {DEFAULT_PATH, home, terminal ? "TERM=xterm" : NULL, NULL};

    return cx_env_merge(defaults, spec->env);
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* JSON is UTF-8, so nothing else can be passed on. */
static gboolean
check_texts(const char *noun, const char *const *texts, GError **error)
{
    for (guint i = 0; texts[i] != NULL; i++)
        if (!g_utf8_validate(texts[i], -1, NULL))
            return cx_throw(error, CX_ERROR_INVALID, "%s %u is not valid UTF-8", noun, i + 1);

    return TRUE;
}

static gboolean
check_path(const char *noun, const char *path, GError **error)
{
    if (path == NULL || !g_path_is_absolute(path) || cx_path_has_dotdot(path) ||
        !g_utf8_validate(path, -1, NULL))
        return cx_throw(error, CX_ERROR_INVALID,
                        "%s \"%.256s\" is not an absolute path without \"..\"", noun,
                        path != NULL ? path : "");

    return TRUE;
}

/* Never below /proc: /proc/self/fd/N as a working folder has led out of containers
 * (CVE-2024-21626). */
static char *
clean_cwd(const char *cwd, GError **error)
{
    g_autofree char *relative = cx_path_clean(cwd);

    if (!check_path("working folder", cwd, error))
        return NULL;
    if (strcmp(relative, "proc") == 0 || g_str_has_prefix(relative, "proc/"))
        return cx_throw_null(error, CX_ERROR_INVALID, "working folder \"%.256s\" is below /proc",
                             cwd);

    return g_strconcat("/", relative, NULL);
}

static gboolean
check_spec(const CxContainerSpec *spec, GError **error)
{
    if (spec->args == NULL || spec->args[0] == NULL)
        return cx_throw(error, CX_ERROR_INVALID, "there is no program to run");
    if (!check_texts("argument", spec->args, error) || !check_path("root", spec->root, error))
        return FALSE;
    if (spec->env != NULL && !check_texts("environment entry", spec->env, error))
        return FALSE;
    if (spec->hostname != NULL && !g_utf8_validate(spec->hostname, -1, NULL))
        return cx_throw(error, CX_ERROR_INVALID, "the host name is not valid UTF-8");
    for (guint i = 0; i < spec->n_binds; i++)
        if (!check_path("mount source", spec->binds[i].source, error) ||
            !check_path("mount destination", spec->binds[i].destination, error))
            return FALSE;

    return TRUE;
}

/* ---- the parts of config.json ---------------------------------------------------------------- */

static json_t *
make_capability_set(const CxContainerSpec *spec)
{
    json_t *set = cx_json_from_strv(capabilities);

    if ((spec->flags & CX_SPEC_NO_MKNOD) == 0)
        json_array_append_new(set, json_string(mknod_capability));
    return set;
}

static json_t *
make_rlimits(const CxContainerSpec *spec)
{
    guint64 hard = spec->nofile > 0 ? spec->nofile : NOFILE_HARD,
            soft = spec->nofile > 0 ? spec->nofile : NOFILE_SOFT;
    struct rlimit ours;

    /* To raise it beyond ours would take CAP_SYS_RESOURCE. */
    if (getrlimit(RLIMIT_NOFILE, &ours) == 0 && ours.rlim_max != RLIM_INFINITY)
        hard = MIN(hard, ours.rlim_max);
    return json_pack("[{s:s, s:I, s:I}]", "type", "RLIMIT_NOFILE", "hard", (json_int_t)hard, "soft",
                     (json_int_t)MIN(soft, hard));
}

static json_t *
make_user(const CxContainerSpec *spec)
{
    json_t *user =
               json_pack("{s:I, s:I}", "uid", (json_int_t)spec->uid, "gid", (json_int_t)spec->gid),
           *gids;

    if (spec->n_additional_gids == 0)
        return user;

    gids = json_array();
    for (guint i = 0; i < spec->n_additional_gids; i++)
        json_array_append_new(gids, json_integer(spec->additional_gids[i]));
    json_object_set_new(user, "additionalGids", gids);
    return user;
}

static json_t *
make_process(const CxContainerSpec *spec, const char *cwd)
{
    g_auto(GStrv) env = complete_env(spec);
    json_t *caps =
        json_pack("{s:o, s:o, s:o, s:[]}", "bounding", make_capability_set(spec), "effective",
                  make_capability_set(spec), "permitted", make_capability_set(spec), "inheritable");

    return json_pack("{s:b, s:o, s:o, s:o, s:s, s:o, s:b, s:o}", "terminal",
                     (spec->flags & CX_SPEC_TERMINAL) != 0, "user", make_user(spec), "args",
                     cx_json_from_strv(spec->args), "env",
                     cx_json_from_strv((const char *const *)env), "cwd", cwd, "capabilities", caps,
                     "noNewPrivileges", (spec->flags & CX_SPEC_NO_NEW_PRIVILEGES) != 0, "rlimits",
                     make_rlimits(spec));
}

static json_t *
make_options(const char *options)
{
    g_auto(GStrv) words = g_strsplit(options, ",", -1);

    return cx_json_from_strv((const char *const *)words);
}

static json_t *
make_mounts(const CxContainerSpec *spec)
{
    json_t *list = json_array();

    for (guint i = 0; i < G_N_ELEMENTS(mounts); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "destination",
                                              mounts[i].destination, "type", mounts[i].type,
                                              "source", mounts[i].type, "options",
                                              make_options(mounts[i].options)));
    for (guint i = 0; i < spec->n_binds; i++) {
        const CxBind *bind = &spec->binds[i];

        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:o}", "destination", bind->destination, "type", "bind",
                      "source", bind->source, "options",
                      make_options(bind->read_only ? "bind,rprivate,ro" : "bind,rprivate,rw")));
    }
    return list;
}

static json_t *
make_linux(const CxContainerSpec *spec, gboolean with_seccomp)
{
    json_t *namespaces = json_pack("[{s:s}, {s:s}, {s:s}, {s:s}]", "type", "pid", "type", "ipc",
                                   "type", "uts", "type", "mount");
    json_t *object = json_pack("{s:o, s:o, s:o}", "namespaces", namespaces, "maskedPaths",
                               cx_json_from_strv(masked_paths), "readonlyPaths",
                               cx_json_from_strv(read_only_paths));

    if ((spec->flags & CX_SPEC_HOST_NETWORK) == 0)
        json_array_append_new(namespaces, json_pack("{s:s}", "type", "network"));
    if (with_seccomp)
        json_object_set_new(object, "seccomp", cx_seccomp_to_json());
    return object;
}

char *
cx_container_spec_to_json(const CxContainerSpec *spec, CxRuntime *runtime, GError **error)
{
    g_autofree char *cwd =
        clean_cwd(spec->cwd != NULL && *spec->cwd != '\0' ? spec->cwd : "/", error);
    gboolean bpf = cx_runtime_takes_bpf(runtime);
    g_autoptr(json_t) config = NULL;

    if (cwd == NULL || !check_spec(spec, error))
        return NULL;

    config = json_pack(
        "{s:s, s:s, s:{s:s, s:b}, s:o, s:o, s:o}", "ociVersion", OCI_VERSION, "hostname",
        spec->hostname != NULL ? spec->hostname : DEFAULT_HOSTNAME, "root", "path", spec->root,
        "readonly", (spec->flags & CX_SPEC_READ_ONLY_ROOT) != 0, "process", make_process(spec, cwd),
        "mounts", make_mounts(spec), "linux", make_linux(spec, !bpf));
    if (bpf)
        json_object_set_new(config, "annotations",
                            json_pack("{s:s}", BPF_ANNOTATION, cx_seccomp_peek_bpf()));
    return cx_json_canonical(config);
}
