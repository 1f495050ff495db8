/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/seccomp-bpf.h" /* made by seccomp-compile */
#include "runtime/seccomp-profile.h"

const char *
cx_seccomp_peek_bpf(void)
{
    return bpf;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* Names without condition and of one action share an entry; the profile has them in a row. */
typedef struct {
    json_t *entries; /* (owned) */
    json_t *names;   /* (borrowed) of the last entry; NULL: it takes no more */
    int errnum;
} Writer;

static json_t *
condition_to_json(const CxSyscallRule *rule)
{
    static const char *const operators[] = {
        [CX_SYSCALL_ARG0_EQ] = "SCMP_CMP_EQ",
        [CX_SYSCALL_ARG0_NE] = "SCMP_CMP_NE",
        [CX_SYSCALL_ARG0_HAS] = "SCMP_CMP_MASKED_EQ",
        [CX_SYSCALL_ARG0_HAS_NONE] = "SCMP_CMP_MASKED_EQ",
    };

    guint64 second = rule->condition == CX_SYSCALL_ARG0_HAS ? rule->value : 0;

    return json_pack("[{s:i, s:I, s:I, s:s}]", "index", 0, "value", (json_int_t)rule->value,
                     "valueTwo", (json_int_t)second, "op", operators[rule->condition]);
}

static void
add_entry(const CxSyscallRule *rule, gpointer data)
{
    Writer *self = data;
    gboolean always = rule->condition == CX_SYSCALL_ALWAYS;
    json_t *entry;

    if (always && self->names != NULL && self->errnum == rule->errnum) {
        json_array_append_new(self->names, json_string(rule->name));
        return;
    }
    entry = json_pack("{s:[s], s:s}", "names", rule->name, "action",
                      rule->errnum == 0 ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO");
    if (rule->errnum != 0)
        json_object_set_new(entry, "errnoRet", json_integer(rule->errnum));
    if (!always)
        json_object_set_new(entry, "args", condition_to_json(rule));
    json_array_append_new(self->entries, entry);
    self->names = always ? json_object_get(entry, "names") : NULL;
    self->errnum = rule->errnum;
}

static json_t *
architectures(void)
{
#if defined(__x86_64__)
    return json_pack("[s, s, s]", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
#elif defined(__aarch64__)
    return json_pack("[s, s]", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");
#elif defined(__s390x__)
    return json_pack("[s, s]", "SCMP_ARCH_S390X", "SCMP_ARCH_S390");
#else
    return json_array();
#endif
}

json_t *
cx_seccomp_to_json(void)
{
    Writer writer = {.entries = json_array()};

    cx_seccomp_visit(add_entry, &writer);
    return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet",
                     CX_SYSCALL_UNKNOWN_ERRNO, "architectures", architectures(), "syscalls",
                     writer.entries);
}
