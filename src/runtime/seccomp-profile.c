/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/seccomp-profile.h"

#include <errno.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/socket.h>

/* clone with one of these makes a namespace, which is a door to much of the kernel that containers
 * have no business with. */
#define NAMESPACE_FLAGS                                                                            \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     (guint64)CLONE_NEWNET)

/* clang-format off */
/* What docker and podman allow with the default capabilities.  A name that an architecture does not have is ignored there. */
static const char *const allowed[] = {
    "_llseek", "_newselect", "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl",
    "arm_fadvise64_64", "arm_sync_file_range", "bind", "breakpoint", "brk", "cacheflush", "capget",
    "capset", "chdir", "chmod", "chown", "chown32", "chroot", "clock_adjtime", "clock_adjtime64",
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range", "creat", "dup",
    "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat",
    "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchown", "fchown32", "fchownat", "fcntl",
    "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr",
    "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate",
    "ftruncate64", "futex", "futex_time64", "futimesat", "get_mempolicy", "get_robust_list",
    "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32",
    "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer",
    "getpeername", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage", "getsid",
    "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel",
    "io_destroy", "io_getevents", "io_setup", "io_submit", "ioctl", "ioprio_get", "ioprio_set",
    "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
    "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listxattr", "llistxattr",
    "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "madvise", "mbind", "membarrier",
    "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock",
    "mlock2", "mlockall", "mmap", "mmap2", "modify_ldt", "mprotect", "mq_getsetattr", "mq_notify",
    "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "mremap", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock",
    "munlockall", "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "open", "openat",
    "openat2", "pause", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl",
    "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv",
    "process_vm_writev", "pselect6", "pselect6_time64", "ptrace", "pwrite64", "pwritev",
    "pwritev2", "read", "readahead", "readdir", "readlink", "readlinkat", "readv", "recv",
    "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr",
    "rename", "renameat", "renameat2", "restart_syscall", "rmdir", "rseq", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "s390_pci_mmio_read",
    "s390_pci_mmio_write", "s390_runtime_instr", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
    "seccomp", "select", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send",
    "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_mempolicy", "set_robust_list",
    "set_thread_area", "set_tid_address", "set_tls", "setfsgid", "setfsgid32", "setfsuid",
    "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid",
    "setpriority", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setsockopt", "setuid",
    "setuid32", "setxattr", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaction",
    "sigaltstack", "signal", "signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn",
    "sigsuspend", "socketcall", "socketpair", "splice", "stat", "stat64", "statfs", "statfs64",
    "statx", "symlink", "symlinkat", "sync", "sync_file_range", "sync_file_range2", "syncfs",
    "syscall", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
    "timerfd", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask",
    "uname", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes", "vfork",
    "wait4", "waitid", "waitpid", "write", "writev",
    NULL,
};

/* Known, and refused: a program is told so, and does not go looking for an older call. */
static const char *const refused[] = {
    "acct", "add_key", "bdflush", "bpf", "clock_settime", "clock_settime64", "delete_module",
    "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
    "io_pgetevents", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
    "lookup_dcookie", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages",
    "nfsservctl", "nice", "oldfstat", "oldlstat", "oldolduname", "oldstat", "olduname",
    "open_by_handle_at", "open_tree", "pciconfig_iobase", "pciconfig_read", "pciconfig_write",
    "perf_event_open", "pivot_root", "process_madvise", "query_module", "quotactl", "reboot",
    "request_key", "setdomainname", "sethostname", "setns", "settimeofday", "sgetmask", "ssetmask",
    "stime", "swapcontext", "swapoff", "swapon", "sysfs", "syslog", "umount", "umount2", "unshare",
    "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old", "vmsplice",
    NULL,
};
/* clang-format on */

/* The flags of clone3 are behind a pointer, where a filter cannot look; C libraries fall back to
 * clone.  Personality 0xffffffff asks.  AF_VSOCK: a build shares the host's network, not its line
 * to the hypervisor. */
static const CxSyscallRule conditional[] = {
    {"clone",       0,      CX_SYSCALL_ARG0_HAS_NONE, NAMESPACE_FLAGS      },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWNS          },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWCGROUP      },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWUTS         },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWIPC         },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWUSER        },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWPID         },
    {"clone",       EPERM,  CX_SYSCALL_ARG0_HAS,      CLONE_NEWNET         },
    {"clone3",      ENOSYS, CX_SYSCALL_ALWAYS,        0                    },
    {"personality", 0,      CX_SYSCALL_ARG0_EQ,       PER_LINUX            },
    {"personality", 0,      CX_SYSCALL_ARG0_EQ,       PER_LINUX32          },
    {"personality", 0,      CX_SYSCALL_ARG0_EQ,       UNAME26              },
    {"personality", 0,      CX_SYSCALL_ARG0_EQ,       UNAME26 | PER_LINUX32},
    {"personality", 0,      CX_SYSCALL_ARG0_EQ,       0xffffffff           },
    {"socket",      0,      CX_SYSCALL_ARG0_NE,       AF_VSOCK             },
    {"socket",      EPERM,  CX_SYSCALL_ARG0_EQ,       AF_VSOCK             },
};

void
cx_seccomp_visit(CxSyscallVisitor visit, gpointer data)
{
    for (guint i = 0; allowed[i] != NULL; i++)
        visit(&(CxSyscallRule){.name = allowed[i]}, data);
    for (guint i = 0; refused[i] != NULL; i++)
        visit(&(CxSyscallRule){.name = refused[i], .errnum = EPERM}, data);
    for (guint i = 0; i < G_N_ELEMENTS(conditional); i++)
        visit(&conditional[i], data);
}
