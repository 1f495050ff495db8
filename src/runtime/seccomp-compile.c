/* SPDX-License-Identifier: Apache-2.0 */

/* Runs at build time: makes the default filter for the native architecture and its elder siblings,
 * and prints it as a C string of base64.  Nothing of it depends on the machine it is made on but
 * libseccomp's table of names. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/seccomp-profile.h"

static void
check(int rc, const char *what)
{
    if (rc == 0)
        return;

    (void)fprintf(stderr, "seccomp-compile: %s: %s\n", what, strerror(-rc));
    exit(1);
}

/* Programs of these run on the native kernel too. */
static void
add_siblings(scmp_filter_ctx filter)
{
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        check(seccomp_arch_add(filter, SCMP_ARCH_X86), "x86");
        check(seccomp_arch_add(filter, SCMP_ARCH_X32), "x32");
        break;
    case SCMP_ARCH_AARCH64:
        check(seccomp_arch_add(filter, SCMP_ARCH_ARM), "arm");
        break;
    case SCMP_ARCH_S390X:
        check(seccomp_arch_add(filter, SCMP_ARCH_S390), "s390");
        break;
    default:
        break;
    }
}

static void
add_rule(const CxSyscallRule *rule, gpointer data)
{
    scmp_filter_ctx filter = data;
    guint32 action = rule->errnum == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO((guint32)rule->errnum);
    int number = seccomp_syscall_resolve_name(rule->name);
    struct scmp_arg_cmp condition = {.op = SCMP_CMP_EQ, .datum_a = rule->value};

    /* What this architecture has not, and what already is the answer to everything unknown. */
    if (number == __NR_SCMP_ERROR || rule->errnum == CX_SYSCALL_UNKNOWN_ERRNO)
        return;

    if (rule->condition == CX_SYSCALL_ARG0_NE)
        condition.op = SCMP_CMP_NE;
    if (rule->condition == CX_SYSCALL_ARG0_HAS || rule->condition == CX_SYSCALL_ARG0_HAS_NONE)
        condition.op = SCMP_CMP_MASKED_EQ;
    if (rule->condition == CX_SYSCALL_ARG0_HAS)
        condition.datum_b = rule->value;
    check(seccomp_rule_add_array(filter, action, number,
                                 rule->condition == CX_SYSCALL_ALWAYS ? 0 : 1, &condition),
          rule->name);
}

static void
print_base64(const guchar *data, gsize size)
{
    g_autofree char *text = g_base64_encode(data, size);

    (void)printf("/* Made by seccomp-compile: %" G_GSIZE_FORMAT
                 " instructions. */\nstatic const char bpf[] =\n",
                 size / 8);
    for (gsize i = 0; i < strlen(text); i += 96)
        (void)printf("    \"%.96s\"\n", text + i);
    (void)printf("    ;\n");
}

int
main(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(CX_SYSCALL_UNKNOWN_ERRNO));
    int fd = memfd_create("bpf", MFD_CLOEXEC);
    guchar *data;
    off_t size;

    check(filter == NULL || fd < 0 ? -ENOMEM : 0, "init");
    add_siblings(filter);
    cx_seccomp_visit(add_rule, filter);
    /* A binary tree: a filter is run for each call that the kernel's own cache does not know. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    check(seccomp_export_bpf(filter, fd), "export");
    seccomp_release(filter);

    size = lseek(fd, 0, SEEK_END);
    data = mmap(NULL, (gsize)size, PROT_READ, MAP_PRIVATE, fd, 0);
    check(data == MAP_FAILED ? -errno : 0, "read back");
    print_base64(data, (gsize)size);
    return 0;
}
