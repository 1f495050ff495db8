/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "runtime/driver.h"

G_BEGIN_DECLS

/* What the engines of the registry tell about themselves, and a call of the runtime program cut in
 * two: start it, judge how it ended.  Whoever waits in between is free to wait for something else
 * too: the blocking calls of driver.h wait for the one process, the keeper for all of its own at
 * once. */

typedef enum {
    CX_RUNTIME_RUNS_DETACHED = 1 << 1, /* "run --detach" is create and start in one process */
    CX_RUNTIME_SEALABLE =
        1 << 2, /* copies itself at every start unless it is run from a sealed memfd */
    CX_RUNTIME_ENDS_CLEAN = 1 << 3, /* of a container that ended, has no hooks and no cgroup of the
                                     * runtime's own nothing is left but the state folder */
} CxRuntimeTraits;

/* A phrase of an engine's messages and what it means to us. */
typedef struct {
    CxError code;
    const char *phrase;
    const char *also; /* NULL, or a second phrase that must be there too */
} CxRuntimeSaying;

struct CxRuntimeOps {
    const char
        *name; /* "crun"; also the program's name, and the first word of what --version prints */
    CxRuntimeTraits traits;
    /* The version from which on the annotation run.oci.seccomp_bpf_data is known to be honoured;
     * NULL: it is not. */
    const char *takes_bpf_since;

    /* Optional.  Whether this version works on this machine as it is; NULL: always. */
    gboolean (*check)(const char *version, GError **error);
    /* Optional.  Global options beyond --root and --log. */
    void (*add_options)(CxRuntimeFlags flags, GPtrArray *argv);
    /* Optional.  The word that stands for a signal; NULL: its decimal number. */
    char *(*dup_signal_word)(int signal);
    /* Optional.  Beginnings of messages that only say that something failed; ended by NULL. */
    const char *const *chatter;
    /* Optional.  What messages mean, the first match counts; ended by a NULL phrase.  Else:
     * CX_ERROR_INTERNAL. */
    const CxRuntimeSaying *sayings;
};

struct CxRuntime {
    gint refs; /* atomic */
    const CxRuntimeOps *ops;
    char *version;    /* (owned) */
    char *program;    /* (owned) as found in PATH */
    int sealed_fd;    /* the program's sealed copy, or -1 */
    char *state_root; /* (owned) */
    char *root;       /* (owned) the runtime's own part of it */
    char *calls;      /* (owned) folder of logs and pid files */
};

extern const CxRuntimeOps cx_runtime_crun;
extern const CxRuntimeOps cx_runtime_runc;
extern const CxRuntimeOps cx_runtime_youki;

typedef enum {
    CX_RUNTIME_CREATE,
    CX_RUNTIME_RUN, /* detached */
    CX_RUNTIME_START,
    CX_RUNTIME_STATE,
    CX_RUNTIME_KILL,
    CX_RUNTIME_DELETE,
} CxRuntimeVerb;

typedef struct {
    CxRuntimeVerb verb;
    const char *id;
    const CxCreate *create; /* CREATE, RUN */
    CxRuntimeFlags flags;   /* the others: only SYSTEMD_CGROUP counts */
    int signal;             /* KILL */
    gboolean force;         /* DELETE */
    gboolean die_with_parent;
} CxRuntimeCall;

/* What a successful call found out. */
typedef struct {
    pid_t pid;                /* CREATE, RUN: init; STATE: init or 0 */
    CxContainerStatus status; /* STATE */
} CxRuntimeAnswer;

/* Starts the program; the caller waits for the pid.  -1 with error when that is not possible.  Only
 * one call for an id at a time. */
pid_t cx_runtime_begin(CxRuntime *self,
                       const CxRuntimeCall *call,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What its end (a status of waitpid) means. */
gboolean cx_runtime_judge(CxRuntime *self,
                          const CxRuntimeCall *call,
                          int status,
                          CxRuntimeAnswer *out_answer,
                          GError **error);

/* The answer of "state" (spec/oci-runtime.md §5). */
gboolean cx_runtime_parse_state(const char *text,
                                gsize size,
                                CxRuntimeAnswer *out_answer,
                                GError **error);

/* The last error the runtime has logged for this container, one line; NULL if there is none. */
char *cx_runtime_dup_message(CxRuntime *self, const char *id);
/* The code that a message stands for. */
CxError cx_runtime_classify(const CxRuntime *self, const char *message);
/* Whether the state root holds this container. */
gboolean cx_runtime_has_state(const CxRuntime *self, const char *id);
/* After the last call for a container, however that ended: its log, its pid file and what a forced
 * delete left. */
void cx_runtime_forget(CxRuntime *self, const char *id);
/* Ids of all containers in the state root.  (transfer full) */
GStrv cx_runtime_list(const CxRuntime *self);

gboolean cx_runtime_runs_detached(const CxRuntime *self);
/* The environment variable that tells, in /proc/PID/environ, for which container a runtime process
 * works. */
#define CX_RUNTIME_MARK "CRUXD_CONTAINER="
/* Deletes a container that has ended without starting the runtime for it, where that is all the
 * runtime would do (measured: 5 ms of one core a step).  FALSE: the runtime must do it. */
gboolean cx_runtime_drop_ended(CxRuntime *self, const char *id, CxRuntimeFlags flags);

const char *cx_runtime_get_state_root(const CxRuntime *self); /* as given to cx_runtime_open */
/* What to execute: the file, or the sealed copy, of which the fd is given by the second. */
char *cx_runtime_dup_program_path(const CxRuntime *self);
int cx_runtime_get_program_fd(const CxRuntime *self);

G_END_DECLS
