/* SPDX-License-Identifier: Apache-2.0 */
/* cruxd: the daemon and its command line.  This file finds the verb; each verb has a file of its
 * own. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/cli.h"
#include "daemon/instance.h"

#define EXIT_USAGE 2

G_DEFINE_QUARK(cx - cli - usage, cx_cli_usage)

static const CxVerb *const verbs[] = {
    &cx_verb_start, &cx_verb_version, &cx_verb_status,  &cx_verb_shutdown, &cx_verb_doctor,
    &cx_verb_build, &cx_verb_images,  &cx_verb_inspect, &cx_verb_df,       &cx_verb_gc,
};

static CxCliGlobals arg_globals = {.ready_fd = -1};

static const GOptionEntry global_options[] = {
    {"quiet",    'q', 0, G_OPTION_ARG_NONE,     &arg_globals.quiet,    "log warnings and errors only",   NULL  },
    {"verbose",  'v', 0, G_OPTION_ARG_NONE,     &arg_globals.verbose,  "log all attributes of a record",
     NULL                                                                                                      },
    {"debug",    'd', 0, G_OPTION_ARG_NONE,     &arg_globals.debug,    "log debug records too",          NULL  },
    {"socket",   's', 0, G_OPTION_ARG_FILENAME, &arg_globals.socket,
     "socket of the daemon ($CRUXD_SOCKET)",                                                             "PATH"},
    {"pid-file", 0,   0, G_OPTION_ARG_FILENAME, &arg_globals.pid_file, "PID file of the daemon",
     "PATH"                                                                                                    },
    {"ready-fd", 0,   0, G_OPTION_ARG_INT,      &arg_globals.ready_fd,
     "descriptor that gets a line when ready",                                                           "FD"  },
    {"root",     0,   0, G_OPTION_ARG_FILENAME, &arg_globals.root,     "the store ($CRUXD_ROOT)",        "DIR" },
    {"instance", 0,   0, G_OPTION_ARG_STRING,   &arg_globals.instance, "name of the daemon's instance",
     "NAME"                                                                                                    },
    G_OPTION_ENTRY_NULL,
};

static void
print_usage(FILE *out)
{
    (void)fprintf(out, "usage: cruxd [FLAGS] COMMAND [ARGUMENTS]\n\ncommands:\n");
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
        (void)fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    (void)fprintf(out, "\nflags, before or after the command:\n");
    for (gsize i = 0; global_options[i].long_name != NULL; i++) {
        const GOptionEntry *option = &global_options[i];
        g_autofree char *name = g_strdup_printf(
            "--%s%s%s", option->long_name, option->arg_description == NULL ? "" : " ",
            option->arg_description == NULL ? "" : option->arg_description);

        (void)fprintf(out, "  %c%c%c %-18s %s\n", option->short_name == 0 ? ' ' : '-',
                      option->short_name == 0 ? ' ' : option->short_name,
                      option->short_name == 0 ? ' ' : ',', name, option->description);
    }
    (void)fprintf(out, "\ncruxd COMMAND --help tells more about one of them.\n");
}

/* Whether a flag takes the next argument as its value. */
static gboolean
takes_value(const char *flag)
{
    for (gsize i = 0; global_options[i].long_name != NULL; i++) {
        const GOptionEntry *option = &global_options[i];

        if (option->arg == G_OPTION_ARG_NONE)
            continue;
        if (g_str_has_prefix(flag, "--") && strcmp(flag + 2, option->long_name) == 0)
            return TRUE;
        if (flag[0] == '-' && flag[1] == option->short_name && option->short_name != 0 &&
            flag[2] == '\0')
            return TRUE;
    }
    return FALSE;
}

/* Index of the verb in argv: the first word that is neither a flag nor a flag's value; 0 when there
 * is none. */
static int
find_verb(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            return i;
        if (takes_value(argv[i]))
            i++;
    }
    return 0;
}

static int
fail_usage(const CxVerb *verb, const char *text)
{
    (void)fprintf(stderr, "error: %s\n", text);
    if (verb == NULL)
        print_usage(stderr);
    else
        (void)fprintf(stderr,
                      "usage: cruxd [FLAGS] %s [OPTIONS] %s\n       cruxd %s --help tells more\n",
                      verb->name, verb->arguments, verb->name);
    return EXIT_USAGE;
}

/* Relative paths are made absolute while we are still where the user is. */
static void
make_absolute(char **path)
{
    if (*path != NULL && **path != '/') {
        char *absolute = g_canonicalize_filename(*path, NULL);

        g_free(*path);
        *path = absolute;
    }
}

static void
settle_globals(void)
{
    if (arg_globals.root == NULL)
        arg_globals.root = g_strdup(g_getenv("CRUXD_ROOT"));
    make_absolute(&arg_globals.root);
    make_absolute(&arg_globals.socket);
    make_absolute(&arg_globals.pid_file);
    cx_log_configure(arg_globals.debug   ? CX_LOG_DEBUG
                     : arg_globals.quiet ? CX_LOG_WARNING
                                         : CX_LOG_INFO,
                     arg_globals.verbose);
}

static gboolean
parse_options(const CxVerb *verb, int *argc, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(verb->arguments);
    g_autofree char *summary = g_strdup_printf("cruxd %s: %s", verb->name, verb->summary);
    GOptionGroup *globals = g_option_group_new(
        "global", "Flags of every command:", "Show the flags of every command", NULL, NULL);

    g_option_context_set_summary(context, summary);
    if (verb->options != NULL)
        g_option_context_add_main_entries(context, verb->options, NULL);
    g_option_group_add_entries(globals, global_options);
    g_option_context_add_group(context, globals);
    return g_option_context_parse(context, argc, argv, error);
}

static int
run_verb(const CxVerb *verb, int argc, char **argv)
{
    g_autofree char *name = g_strdup_printf("cruxd %s", verb->name);
    g_autoptr(GError) error = NULL;

    g_set_prgname(name);
    if (!parse_options(verb, &argc, &argv, &error))
        return fail_usage(verb, error->message);

    settle_globals();
    if (arg_globals.instance != NULL && !cx_instance_name_check(arg_globals.instance, &error))
        return fail_usage(verb, error->message);
    if (!verb->run(&arg_globals, argv + 1, &error)) {
        if (error->domain == CX_CLI_USAGE)
            return fail_usage(verb, error->message);
        (void)fprintf(stderr, "error: %s\n", error->message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static gboolean
wants_help(int argc, char **argv)
{
    gboolean wanted = FALSE;

    for (int i = 1; i < argc; i++)
        wanted = wanted || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    return wanted;
}

int
main(int argc, char **argv)
{
    int at = find_verb(argc, argv);
    const char *name = at > 0 ? argv[at] : NULL;

    (void)setlocale(LC_ALL, "");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)g_log_set_always_fatal((GLogLevelFlags)(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR));
    if (name == NULL && wants_help(argc, argv)) {
        print_usage(stdout);
        return EXIT_SUCCESS;
    }
    if (name == NULL)
        return fail_usage(NULL, "no command was given");

    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (strcmp(verbs[i]->name, name) == 0) {
            /* The verb goes, the flags before it stay. */
            memmove(&argv[at], &argv[at + 1], (gsize)(argc - at) * sizeof *argv);
            return run_verb(verbs[i], argc - 1, argv);
        }
    {
        g_autofree char *text = g_strdup_printf("unknown command \"%s\"", name);

        return fail_usage(NULL, text);
    }
}
