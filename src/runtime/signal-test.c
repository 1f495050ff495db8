/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <signal.h>

#include "base/error.h"
#include "runtime/driver.h"

static const struct {
    const char *text;
    int number; /* 0: refused */
} cases[] = {
    {"TERM",        SIGTERM  },
    {"SIGTERM",     SIGTERM  },
    {"sigterm",     SIGTERM  },
    {"term",        SIGTERM  },
    {"SigTerm",     SIGTERM  },
    {"15",          SIGTERM  },
    {"KILL",        SIGKILL  },
    {"HUP",         SIGHUP   },
    {"IOT",         SIGABRT  },
    {"POLL",        SIGIO    },
    {"SYS",         SIGSYS   },
    {"STKFLT",      SIGSTKFLT},
    {"1",           1        },
    {"64",          64       },
    {"05",          5        },
    {"RTMIN",       34       },
    {"RTMIN+1",     35       },
    {"SIGRTMIN+30", 64       },
    {"RTMAX",       64       },
    {"sigrtmax-1",  63       },
    {"RTMAX-30",    34       },
    {"RTMIN+0",     34       },
    {"",            0        },
    {"0",           0        },
    {"65",          0        },
    {"99",          0        },
    {"015",         0        },
    {"0x0f",        0        },
    {"+15",         0        },
    {"-1",          0        },
    {" 15",         0        },
    {"15 ",         0        },
    {"FOO",         0        },
    {"USR1x",       0        },
    {"USR",         0        },
    {"SIG",         0        },
    {"SIG15",       0        },
    {"SIGSIGTERM",  0        },
    {"RTMIN+",      0        },
    {"RTMIN+31",    0        },
    {"RTMIN-1",     0        },
    {"RTMAX+1",     0        },
    {"RTMINx",      0        },
    {"RTMIN+1x",    0        },
    {"4294967311",  0        },
};

static void
test_table(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_test_message("\"%s\"", cases[i].text);
        g_assert_cmpint(cx_signal_parse(cases[i].text, &error), ==, cases[i].number);
        if (cases[i].number == 0)
            g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
        else
            g_assert_no_error(error);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/signal/table", test_table);
    return g_test_run();
}
