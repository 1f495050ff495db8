/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "runtime/driver.h"

/* The table is ours (spec/oci-runtime.md §8): runtimes differ in which names they take, and crun
 * swallows wrong ones. */
static const struct {
    const char *name;
    int number;
} names[] = {
    {"HUP",    SIGHUP   },
    {"INT",    SIGINT   },
    {"QUIT",   SIGQUIT  },
    {"ILL",    SIGILL   },
    {"TRAP",   SIGTRAP  },
    {"ABRT",   SIGABRT  },
    {"IOT",    SIGIOT   },
    {"BUS",    SIGBUS   },
    {"FPE",    SIGFPE   },
    {"KILL",   SIGKILL  },
    {"USR1",   SIGUSR1  },
    {"SEGV",   SIGSEGV  },
    {"USR2",   SIGUSR2  },
    {"PIPE",   SIGPIPE  },
    {"ALRM",   SIGALRM  },
    {"TERM",   SIGTERM  },
    {"CHLD",   SIGCHLD  },
    {"CONT",   SIGCONT  },
    {"STOP",   SIGSTOP  },
    {"TSTP",   SIGTSTP  },
    {"TTIN",   SIGTTIN  },
    {"TTOU",   SIGTTOU  },
    {"URG",    SIGURG   },
    {"XCPU",   SIGXCPU  },
    {"XFSZ",   SIGXFSZ  },
    {"VTALRM", SIGVTALRM},
    {"PROF",   SIGPROF  },
    {"WINCH",  SIGWINCH },
    {"IO",     SIGIO    },
    {"POLL",   SIGPOLL  },
    {"PWR",    SIGPWR   },
    {"SYS",    SIGSYS   },
#ifdef SIGSTKFLT
    {"STKFLT", SIGSTKFLT},
#endif
};

/* As the kernel counts them, not the C library, which keeps the first two for itself. */
#define RT_FIRST 34
#define RT_LAST 64

/* Decimal digits only, two at most; -1 for anything else. */
static int
parse_number(const char *text)
{
    gsize n = strspn(text, "0123456789");

    if (n == 0 || n > 2 || text[n] != '\0')
        return -1;

    return n == 1 ? text[0] - '0' : (text[0] - '0') * 10 + text[1] - '0';
}

/* "RTMIN", "RTMIN+n", "RTMAX-n", "RTMAX"; 0 for anything else. */
static int
parse_real_time(const char *name)
{
    gboolean from_first = g_ascii_strncasecmp(name, "RTMIN", 5) == 0;
    int number = 0;

    if (!from_first && g_ascii_strncasecmp(name, "RTMAX", 5) != 0)
        return 0;
    if (name[5] != '\0' && name[5] != (from_first ? '+' : '-'))
        return 0;
    if (name[5] != '\0')
        number = parse_number(name + 6);
    if (number < 0 || number > RT_LAST - RT_FIRST)
        return 0;

    return from_first ? RT_FIRST + number : RT_LAST - number;
}

int
cx_signal_parse(const char *text, GError **error)
{
    const char *name = g_ascii_strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    int number = parse_number(text);

    if (number < 0)
        number = parse_real_time(name);
    for (guint i = 0; number == 0 && i < G_N_ELEMENTS(names); i++)
        if (g_ascii_strcasecmp(name, names[i].name) == 0)
            number = names[i].number;
    if (number < 1 || number > RT_LAST) {
        cx_throw(error, CX_ERROR_INVALID,
                 "\"%.32s\" is not a signal (a name like TERM or a number from 1 to 64)", text);
        return 0;
    }
    return number;
}
