/* SPDX-License-Identifier: Apache-2.0 */

/* cgroup v2 has no devices controller: a small eBPF program, attached to the base group, is asked
 * for every mknod and open of a device below it (linux/bpf.h, struct bpf_cgroup_dev_ctx).  It says
 * what the rules of cgroup-v1.c say. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/cgroup-private.h"

#define INSTRUCTIONS_MAX 64

typedef struct {
    struct bpf_insn code[INSTRUCTIONS_MAX];
    guint n;
} Program;

static void
emit(Program *self, guint8 code, guint8 dst, guint8 src, gint16 off, gint32 imm)
{
    g_assert(self->n < INSTRUCTIONS_MAX);
    self->code[self->n++] =
        (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void
emit_return(Program *self, gint32 value)
{
    emit(self, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
    emit(self, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void
emit_load(Program *self, guint8 dst, gsize offset)
{
    emit(self, BPF_LDX | BPF_W | BPF_MEM, dst, BPF_REG_1, (gint16)offset, 0);
}

/* r2 = type, r3 = access, r4 = major, r5 = minor; an inequality skips what follows it. */
static void
write_program(Program *self)
{
    emit_load(self, BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
    emit(self, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
    emit(self, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    emit(self, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
    emit_load(self, BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
    emit_load(self, BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor));

    emit(self, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_3, 0, 2, BPF_DEVCG_ACC_MKNOD);
    emit_return(self, 1);
    emit(self, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 2, BPF_DEVCG_DEV_CHAR);
    emit_return(self, 0);
    for (guint i = 0; i < cx_n_device_rules; i++) {
        const CxDeviceRule *rule = &cx_device_rules[i];

        emit(self, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, rule->minor < 0 ? 2 : 3, rule->major);
        if (rule->minor >= 0)
            emit(self, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 2, rule->minor);
        emit_return(self, 1);
    }
    emit_return(self, 0);
}

static int
bpf(enum bpf_cmd command, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

gboolean
cx_cgroup_attach_device_rules(const char *folder, GError **error)
{
    Program program = {0};
    union bpf_attr load = {0}, attach = {0};
    cx_autofd int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), program_fd = -1;

    if (folder_fd < 0)
        return cx_throw_errno(error, "\"%s\"", folder);

    write_program(&program);
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (guint64)(gsize)program.code;
    load.insn_cnt = program.n;
    load.license = (guint64)(gsize) "Apache-2.0";
    program_fd = bpf(BPF_PROG_LOAD, &load);
    if (program_fd < 0)
        return cx_throw_errno(error, "load the device rules");

    attach.target_fd = (guint32)folder_fd;
    attach.attach_bpf_fd = (guint32)program_fd;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    if (bpf(BPF_PROG_ATTACH, &attach) < 0)
        return cx_throw_errno(error, "attach the device rules to \"%s\"", folder);

    return TRUE;
}
