/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/driver.h"

G_BEGIN_DECLS

/* What a container's config.json says (OCI runtime spec 1.0.2, spec/oci-runtime.md §11), from few
 * choices: the default capabilities, seccomp filter, masked and read-only paths of the ecosystem, a
 * fresh /dev, /proc and /sys always. */
typedef enum {
    CX_SPEC_NO_NEW_PRIVILEGES = 1 << 1, /* services; not build steps, where su and sudo must work */
    CX_SPEC_HOST_NETWORK = 1 << 2,
    CX_SPEC_READ_ONLY_ROOT = 1 << 3,
    CX_SPEC_TERMINAL = 1 << 4,
    CX_SPEC_NO_MKNOD = 1 << 5, /* device access is not filtered by a cgroup here: no CAP_MKNOD */
} CxSpecFlags;

typedef struct {
    const char *source;      /* absolute host path; must be a path the daemon chose */
    const char *destination; /* absolute, in the container */
    gboolean read_only;
} CxBind;

typedef struct {
    const char *root;        /* absolute path of the root file system */
    const char *hostname;    /* NULL: "localhost"; never the host's own */
    const char *const *args; /* not empty */
    const char *const
        *env;         /* complete: PATH and the like are added if missing, entries later win */
    const char *home; /* HOME if env has none; NULL: "/" */
    const char
        *cwd; /* absolute, not below /proc; made in the container if missing; NULL or "": "/" */
    guint32 uid, gid;
    const guint32 *additional_gids;
    guint n_additional_gids;
    const CxBind *binds;
    guint n_binds;
    guint64 nofile; /* RLIMIT_NOFILE; 0: 1024, which a program may raise to 1048576.  Clipped to our
                       own */
    CxSpecFlags flags;
} CxContainerSpec;

/* The JSON text.  Deterministic.  runtime decides how the seccomp filter is given.  (transfer full)
 * CX_ERROR_INVALID: no program, a path that is not absolute, text that is not UTF-8. */
char *cx_container_spec_to_json(const CxContainerSpec *spec, CxRuntime *runtime, GError **error);

/* Env merged as spec/daemon.md says: later wins in place, "A=foo=bar" keeps all after the first
 * '=', entries without '=' are dropped.  (transfer full) */
GStrv cx_env_merge(const char *const *base, const char *const *more);

G_END_DECLS
