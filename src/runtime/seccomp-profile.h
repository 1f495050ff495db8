/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* The system calls a container may make: what the ecosystem allows with the default capabilities,
 * decided by three tables.
 *
 * The filter is made of them at build time (seccomp-compile.c), so that no container waits for
 * libseccomp: crun 1.8.1 would spend 13 ms on it at each start.  Other runtimes get the tables as
 * JSON and do that work themselves. */

typedef enum {
    CX_SYSCALL_ALWAYS,
    CX_SYSCALL_ARG0_EQ, /* argument 0 equals value */
    CX_SYSCALL_ARG0_NE,
    CX_SYSCALL_ARG0_HAS,      /* argument 0 has the bit that value is */
    CX_SYSCALL_ARG0_HAS_NONE, /* … none of the bits of value */
} CxSyscallCondition;

typedef struct {
    const char *name;
    int errnum; /* 0: allowed; else what the call fails with */
    CxSyscallCondition condition;
    guint64 value;
} CxSyscallRule;

/* What a call fails with that no table names: programs then use an older one (a refusal they would
 * report). */
#define CX_SYSCALL_UNKNOWN_ERRNO 38 /* ENOSYS */

/* Calls visit for every rule, in a fixed order. */
typedef void (*CxSyscallVisitor)(const CxSyscallRule *rule, gpointer data);
void cx_seccomp_visit(CxSyscallVisitor visit, gpointer data);

/* The `linux.seccomp` object of config.json.  (transfer full) */
json_t *cx_seccomp_to_json(void);

/* The ready filter (an array of struct sock_filter) in base64.  Static. */
const char *cx_seccomp_peek_bpf(void);

G_END_DECLS
