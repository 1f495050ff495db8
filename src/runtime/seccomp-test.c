/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/json.h"
#include "runtime/seccomp-profile.h"

/* The filter is judged by what it says, on a machine of our own that runs it as seccomp(2) would.
 */

static guint32
run_filter(const struct sock_filter *code, gsize n, const struct seccomp_data *input)
{
    guint32 a = 0;

    for (gsize at = 0; at < n; at++) {
        const struct sock_filter *insn = &code[at];
        gboolean jump = FALSE;

        switch (insn->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            g_assert_cmpuint(insn->k + 4, <=, sizeof *input);
            memcpy(&a, (const char *)input + insn->k, 4);
            continue;
        case BPF_RET | BPF_K:
            return insn->k;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= insn->k;
            continue;
        case BPF_JMP | BPF_JA:
            at += insn->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            jump = a == insn->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            jump = a > insn->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            jump = a >= insn->k;
            break;
        default:
            g_error("instruction %zu has code 0x%x", at, insn->code);
        }
        at += jump ? insn->jt : insn->jf;
    }
    g_assert_not_reached();
}

#define ALLOW SECCOMP_RET_ALLOW
#define FAIL(e) (SECCOMP_RET_ERRNO | (e))
#define X32 0x40000000
#define I386_UNSHARE 310
#define I386_CLONE 120
#define I386_SOCKETCALL 102

typedef struct {
    guint32 arch;
    int number;
    guint64 arg0;
    guint32 verdict;
} Case;

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#define NATIVE 0
#endif

static const Case cases[] = {
    {NATIVE,          SYS_read,              0,          ALLOW       },
    {NATIVE,          SYS_execve,            0,          ALLOW       },
    {NATIVE,          SYS_openat2,           0,          ALLOW       },
    {NATIVE,          SYS_chroot,            0,          ALLOW       },
    {NATIVE,          SYS_mknodat,           0,          ALLOW       },
    {NATIVE,          SYS_ptrace,            0,          ALLOW       },
    {NATIVE,          SYS_mount,             0,          FAIL(EPERM) },
    {NATIVE,          SYS_umount2,           0,          FAIL(EPERM) },
    {NATIVE,          SYS_move_mount,        0,          FAIL(EPERM) },
    {NATIVE,          SYS_pivot_root,        0,          FAIL(EPERM) },
    {NATIVE,          SYS_unshare,           0,          FAIL(EPERM) },
    {NATIVE,          SYS_setns,             0,          FAIL(EPERM) },
    {NATIVE,          SYS_keyctl,            0,          FAIL(EPERM) },
    {NATIVE,          SYS_add_key,           0,          FAIL(EPERM) },
    {NATIVE,          SYS_bpf,               0,          FAIL(EPERM) },
    {NATIVE,          SYS_perf_event_open,   0,          FAIL(EPERM) },
    {NATIVE,          SYS_init_module,       0,          FAIL(EPERM) },
    {NATIVE,          SYS_kexec_load,        0,          FAIL(EPERM) },
    {NATIVE,          SYS_open_by_handle_at, 0,          FAIL(EPERM) },
    {NATIVE,          SYS_reboot,            0,          FAIL(EPERM) },
    {NATIVE,          SYS_settimeofday,      0,          FAIL(EPERM) },
    {NATIVE,          SYS_swapon,            0,          FAIL(EPERM) },
    {NATIVE,          SYS_userfaultfd,       0,          FAIL(EPERM) },
    {NATIVE,          SYS_clone3,            0,          FAIL(ENOSYS)},
    {NATIVE,          425,                   0,          FAIL(ENOSYS)}, /* io_uring_setup */
    {NATIVE,          9999,                  0,          FAIL(ENOSYS)},
    {NATIVE,          SYS_clone,             0x11,       ALLOW       },
    {NATIVE,          SYS_clone,             0x3d0f00,   ALLOW       }, /* a thread */
    {NATIVE,          SYS_clone,             0x10000011, FAIL(EPERM) },
    {NATIVE,          SYS_clone,             0x00020011, FAIL(EPERM) },
    {NATIVE,          SYS_clone,             0x02000011, FAIL(EPERM) },
    {NATIVE,          SYS_clone,             0x40000011, FAIL(EPERM) },
    {NATIVE,          SYS_personality,       0,          ALLOW       },
    {NATIVE,          SYS_personality,       8,          ALLOW       },
    {NATIVE,          SYS_personality,       0x20000,    ALLOW       },
    {NATIVE,          SYS_personality,       0x20008,    ALLOW       },
    {NATIVE,          SYS_personality,       0xffffffff, ALLOW       },
    {NATIVE,          SYS_personality,       0x40000,    FAIL(ENOSYS)}, /* ADDR_NO_RANDOMIZE */
    {NATIVE,          SYS_socket,            2,          ALLOW       },
    {NATIVE,          SYS_socket,            16,         ALLOW       },
    {NATIVE,          SYS_socket,            40,         FAIL(EPERM) },
#if defined(__x86_64__)
    {NATIVE,          SYS_arch_prctl,        0,          ALLOW       },
    {NATIVE,          X32 | SYS_read,        0,          ALLOW       },
    {NATIVE,          X32 | SYS_unshare,     0,          FAIL(EPERM) },
    {NATIVE,          X32 | SYS_clone,       0x10000011, FAIL(EPERM) },
    {AUDIT_ARCH_I386, 3,                     0,          ALLOW       }, /* read */
    {AUDIT_ARCH_I386, I386_UNSHARE,          0,          FAIL(EPERM) },
    {AUDIT_ARCH_I386, I386_CLONE,            0x10000011, FAIL(EPERM) },
    {AUDIT_ARCH_I386, I386_SOCKETCALL,       0,          ALLOW       },
#endif
};

static void
test_filter(void)
{
    gsize size;
    g_autofree guchar *bytes = g_base64_decode(cx_seccomp_peek_bpf(), &size);

    if (NATIVE == 0) {
        g_test_skip("no table for this architecture");
        return;
    }
    g_assert_cmpuint(size % sizeof(struct sock_filter), ==, 0);
    g_assert_cmpuint(size / sizeof(struct sock_filter), <=, 4096); /* the kernel's BPF_MAXINSNS */
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        struct seccomp_data input = {.nr = c->number, .arch = c->arch, .args = {c->arg0}};

        g_test_message("arch %x, call %d (0x%" G_GINT64_MODIFIER "x)", c->arch, c->number, c->arg0);
        g_assert_cmphex(run_filter((const struct sock_filter *)(gpointer)bytes, size / 8, &input),
                        ==, c->verdict);
    }
}

/* A foreign architecture gets nothing at all. */
static void
test_foreign_architecture(void)
{
    gsize size;
    g_autofree guchar *bytes = g_base64_decode(cx_seccomp_peek_bpf(), &size);
    struct seccomp_data input = {.nr = 0, .arch = AUDIT_ARCH_MIPS};

    g_assert_cmphex(run_filter((const struct sock_filter *)(gpointer)bytes, size / 8, &input), !=,
                    ALLOW);
}

static void
count_name(const CxSyscallRule *rule, gpointer data)
{
    GHashTable *seen = data;

    if (rule->condition != CX_SYSCALL_ALWAYS)
        return;
    g_test_message("%s", rule->name);
    g_assert_true(g_hash_table_add(seen, (gpointer)rule->name)); /* in one table only, and once */
}

static void
test_tables(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    cx_seccomp_visit(count_name, seen);
    g_assert_cmpuint(g_hash_table_size(seen), >, 400);
}

static void
test_json(void)
{
    g_autoptr(json_t) object = cx_seccomp_to_json();
    json_t *calls = json_object_get(object, "syscalls");

    g_assert_cmpstr(json_string_value(json_object_get(object, "defaultAction")), ==,
                    "SCMP_ACT_ERRNO");
    g_assert_cmpint(json_integer_value(json_object_get(object, "defaultErrnoRet")), ==, ENOSYS);
    g_assert_cmpuint(json_array_size(calls), ==, 18);
    g_assert_cmpuint(json_array_size(json_object_get(json_array_get(calls, 0), "names")), >, 300);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(calls, 1), "action")), ==,
                    "SCMP_ACT_ERRNO");
    g_assert_cmpint(json_integer_value(json_object_get(json_array_get(calls, 1), "errnoRet")), ==,
                    EPERM);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/seccomp/filter", test_filter);
    g_test_add_func("/seccomp/foreign-architecture", test_foreign_architecture);
    g_test_add_func("/seccomp/tables", test_tables);
    g_test_add_func("/seccomp/json", test_json);
    return g_test_run();
}
