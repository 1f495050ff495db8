/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/driver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/switch.h"
#include "runtime/driver-private.h"

/* Best first. */
static const CxRuntimeOps *const registry[] = {&cx_runtime_crun, &cx_runtime_runc,
                                               &cx_runtime_youki};

#define PROBE_DEADLINE_MS 10000
#define ANSWER_MAX (256 * 1024)
#define PROGRAM_MAX (64 * 1024 * 1024)
#define ID_MAX 64

gboolean
cx_container_id_check(const char *id, GError **error)
{
    gsize n = strspn(id, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_+.-");

    if (n == 0 || n > ID_MAX || id[n] != '\0' || id[0] == '.')
        return cx_throw(error, CX_ERROR_INVALID,
                        "\"%.80s\" is not a container id (1 to %d of letters, digits, '_', '+', "
                        "'.', '-'; no dot first)",
                        id, ID_MAX);

    return TRUE;
}

/* ---- finding one ----------------------------------------------------------------------------- */

/* crun and runc copy their program at every start, so that a container cannot write to it, and run
 * the copy: twice the work of starting.  They leave that out when they are run from a sealed memfd,
 * which nobody can write to.  So we make that copy once (measured: crun --version takes 1.8 instead
 * of 3.5 ms).  It also means that an upgrade of the program is seen at the next start of the
 * daemon, as is its version. */
static int
seal_program(const char *path)
{
    cx_autofd int in = open(path, O_RDONLY | O_CLOEXEC), memory = -1;
    char magic[4] = "";
    struct stat st;

    if (in < 0 || fstat(in, &st) < 0 || st.st_size > PROGRAM_MAX ||
        cx_pread_full(in, magic, 4, 0, NULL) != 4 || memcmp(magic, "\177ELF", 4) != 0)
        return -1;

    memory = memfd_create("runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || !cx_copy_range(in, 0, memory, (guint64)st.st_size, NULL) ||
        fchmod(memory, 0755) < 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -1;

    return open(cx_fd_path(memory).path, O_RDONLY | O_CLOEXEC);
}

/* By the number of our process: the child has closed the fd when it executes this. */
char *
cx_runtime_dup_program_path(const CxRuntime *self)
{
    if (self->sealed_fd < 0)
        return g_strdup(self->program);

    return g_strdup_printf("/proc/%d/fd/%d", (int)getpid(), self->sealed_fd);
}

/* "crun version 1.8.1\n…" -> "crun", "1.8.1". */
static gboolean
parse_version(const char *output, char **out_name, char **out_version, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", 2);
    g_auto(GStrv) words = g_strsplit(lines[0] != NULL ? lines[0] : "", " ", 4);

    if (g_strv_length(words) < 3 || strcmp(words[1], "version") != 0 || *words[2] == '\0')
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "--version does not answer \"NAME version NUMBER\"");

    *out_name = g_strdup(words[0]);
    *out_version = g_strdup(words[2]);
    return TRUE;
}

/* By the numbers between the dots: "1.10" is newer than "1.8.1". */
static gboolean
is_version_at_least(const char *version, const char *wanted)
{
    while (*wanted != '\0') {
        guint64 have = g_ascii_strtoull(version, (char **)&version, 10), want;

        want = g_ascii_strtoull(wanted, (char **)&wanted, 10);
        if (have != want)
            return have > want;
        version += *version == '.';
        wanted += *wanted == '.';
    }
    return TRUE;
}

/* Starts the program once; fills in version, and ops when they are not known yet. */
static gboolean
probe(CxRuntime *self, GError **error)
{
    g_autofree char *program = cx_runtime_dup_program_path(self), *name = NULL, *output = NULL;
    const char *argv[] = {program, "--version", NULL};

    output = cx_process_read(argv, ANSWER_MAX, PROBE_DEADLINE_MS, NULL, error);
    if (output == NULL || !parse_version(output, &name, &self->version, error))
        return FALSE;

    for (guint i = 0; self->ops == NULL && i < G_N_ELEMENTS(registry); i++)
        if (g_strcmp0(registry[i]->name, name) == 0)
            self->ops = registry[i];
    if (self->ops == NULL || g_strcmp0(self->ops->name, name) != 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "it says to be \"%s\" (known are crun, runc and youki)", name);

    return self->ops->check == NULL || self->ops->check(self->version, error);
}

/* Takes the sealed copy in use, if that runs here (a sysctl may forbid programs in memory). */
static void
try_seal(CxRuntime *self)
{
    g_autofree char *program = NULL, *output = NULL;

    if ((self->ops->traits & CX_RUNTIME_SEALABLE) == 0 || cx_switch_is_disabled("sealed-runtime"))
        return;

    self->sealed_fd = seal_program(self->program);
    if (self->sealed_fd < 0)
        return;

    program = cx_runtime_dup_program_path(self);
    output = cx_process_read((const char *[]){program, "--version", NULL}, ANSWER_MAX,
                             PROBE_DEADLINE_MS, NULL, NULL);
    if (output == NULL)
        cx_clear_fd(&self->sealed_fd);
}

static gboolean
make_folders(CxRuntime *self, const char *state_root, GError **error)
{
    self->state_root = g_strdup(state_root);
    self->root = g_build_filename(state_root, self->ops->name, NULL);
    self->calls = g_build_filename(state_root, "calls", NULL);
    if (g_mkdir_with_parents(self->root, 0700) < 0)
        return cx_throw_errno(error, "state folder \"%s\"", self->root);
    if (g_mkdir_with_parents(self->calls, 0700) < 0)
        return cx_throw_errno(error, "state folder \"%s\"", self->calls);
    if (chmod(state_root, 0700) < 0 || chmod(self->root, 0700) < 0)
        return cx_throw_errno(error, "state folder \"%s\"", state_root);

    return TRUE;
}

/* ops NULL: whatever the program says it is. */
static CxRuntime *
try_open(const CxRuntimeOps *ops, const char *program, const char *state_root, GError **error)
{
    g_autoptr(CxRuntime) self = g_new0(CxRuntime, 1);

    self->refs = 1;
    self->ops = ops;
    self->sealed_fd = -1;
    self->program = g_find_program_in_path(program);
    if (self->program == NULL)
        return cx_throw_null(error, CX_ERROR_NOT_FOUND, "\"%s\" is missing or not executable",
                             program);
    if (!probe(self, error))
        return NULL;

    try_seal(self);
    return make_folders(self, state_root, error) ? g_steal_pointer(&self) : NULL;
}

static const CxRuntimeOps *
find_ops(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(registry); i++)
        if (strcmp(registry[i]->name, name) == 0)
            return registry[i];

    return NULL;
}

/* Tries one and tells in reasons how it went. */
static CxRuntime *
look_at(const CxRuntimeOps *ops,
        const char *program,
        const char *state_root,
        GStrvBuilder *reasons,
        GError **error)
{
    g_autoptr(GError) why = NULL;
    CxRuntime *self = try_open(ops, program, state_root, &why);
    g_autofree char *reason = NULL;

    if (self != NULL)
        reason =
            g_strdup_printf("%s: version %s, %s", self->ops->name, self->version, self->program);
    else
        reason = g_strdup_printf("%s: %s", program, why->message);
    g_strv_builder_add(reasons, reason);
    if (self == NULL)
        g_propagate_prefixed_error(error, g_steal_pointer(&why), "runtime %s: ", program);
    return self;
}

static CxRuntime *
look_at_all(const char *state_root, GStrvBuilder *reasons, GError **error)
{
    g_auto(GStrv) lines = NULL;
    g_autofree char *text = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(registry); i++) {
        CxRuntime *self = look_at(registry[i], registry[i]->name, state_root, reasons, NULL);

        if (self != NULL)
            return self;
    }
    lines = g_strv_builder_end(reasons);
    g_strv_builder_addv(reasons, (const char **)lines);
    text = g_strjoinv("; ", lines);
    return cx_throw_null(error, CX_ERROR_NOT_FOUND, "no container runtime works: %s (install crun)",
                         text);
}

CxRuntime *
cx_runtime_open(const char *name, const char *state_root, GStrv *out_reasons, GError **error)
{
    g_autoptr(GStrvBuilder) reasons = g_strv_builder_new();
    CxRuntime *self;

    g_return_val_if_fail(g_path_is_absolute(state_root), NULL);

    if (name == NULL)
        self = look_at_all(state_root, reasons, error);
    else if (strchr(name, '/') == NULL && find_ops(name) == NULL)
        self = cx_throw_null(error, CX_ERROR_NOT_FOUND,
                             "runtime \"%s\" is not known (crun, runc, youki, or a path)", name);
    else
        self = look_at(find_ops(name), name, state_root, reasons, error);

    if (out_reasons != NULL)
        *out_reasons = g_strv_builder_end(reasons);
    return self;
}

CxRuntime *
cx_runtime_ref(CxRuntime *self)
{
    g_atomic_int_inc(&self->refs);
    return self;
}

void
cx_runtime_unref(CxRuntime *self)
{
    if (self == NULL || !g_atomic_int_dec_and_test(&self->refs))
        return;

    cx_clear_fd(&self->sealed_fd);
    g_free(self->version);
    g_free(self->program);
    g_free(self->state_root);
    g_free(self->root);
    g_free(self->calls);
    g_free(self);
}

const char *
cx_runtime_get_name(const CxRuntime *self)
{
    return self->ops->name;
}

const char *
cx_runtime_get_version(const CxRuntime *self)
{
    return self->version;
}

gboolean
cx_runtime_takes_bpf(const CxRuntime *self)
{
    return self->ops->takes_bpf_since != NULL &&
           is_version_at_least(self->version, self->ops->takes_bpf_since);
}

gboolean
cx_runtime_runs_detached(const CxRuntime *self)
{
    return (self->ops->traits & CX_RUNTIME_RUNS_DETACHED) != 0;
}

const char *
cx_runtime_get_state_root(const CxRuntime *self)
{
    return self->state_root;
}

int
cx_runtime_get_program_fd(const CxRuntime *self)
{
    return self->sealed_fd;
}
