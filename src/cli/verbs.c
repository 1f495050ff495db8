/* SPDX-License-Identifier: Apache-2.0 */
/* The small verbs: one request, a few lines of output. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "daemon/version.h"

static gboolean arg_json;

static const GOptionEntry json_options[] = {
    {"json", 0, 0, G_OPTION_ARG_NONE, &arg_json, "print the daemon's answer as JSON", NULL},
    G_OPTION_ENTRY_NULL,
};

gboolean
cx_cli_expect_none(char **arguments, GError **error)
{
    if (arguments[0] == NULL)
        return TRUE;

    g_set_error(error, CX_CLI_USAGE, 0, "unexpected argument \"%s\"", arguments[0]);
    return FALSE;
}

static gint64
number(const json_t *object, const char *key)
{
    gint64 value = 0;

    (void)cx_json_get_int(object, key, &value, NULL);
    return value;
}

static const char *
text(const json_t *object, const char *key)
{
    const char *value = "";

    (void)cx_json_get_string(object, key, &value, NULL);
    return value;
}

static void
print_json(const json_t *value)
{
    g_autofree char *line = value == NULL ? g_strdup("{}") : cx_json_canonical(value);

    (void)printf("%s\n", line);
}

/* Sends a request without payload; prints the answer itself when --json was given (*out_result is
 * NULL then). */
static gboolean
ask(const CxCliGlobals *globals,
    CxClientFlags flags,
    const char *command,
    const json_t *payload,
    json_t **out_result,
    GError **error)
{
    g_autoptr(json_t) result = NULL;

    if (!cx_client_request(globals, flags, command, payload, &result, error))
        return FALSE;

    if (arg_json)
        print_json(result);
    else
        *out_result = g_steal_pointer(&result);
    return TRUE;
}

/* ---- version, status, shutdown --------------------------------------------------------------- */

static gboolean
run_version(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autofree char *version = cx_version_string();

    if (!cx_cli_expect_none(arguments, error))
        return FALSE;

    (void)printf("%s\n", version);
    return TRUE;
}

static gboolean
run_status(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) result = NULL;

    if (!cx_cli_expect_none(arguments, error) ||
        !ask(globals, CX_CLIENT_DAEMON_ONLY, "status", NULL, &result, error))
        return FALSE;

    if (result != NULL)
        (void)printf("running, pid %" G_GINT64_FORMAT ", up %s, %" G_GINT64_FORMAT
                     " builds, version %s, store %s\n",
                     number(result, "pid"), text(result, "uptime"), number(result, "builds"),
                     text(result, "version"), text(result, "root"));
    return TRUE;
}

static gboolean
run_shutdown(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) result = NULL;

    return cx_cli_expect_none(arguments, error) &&
           cx_client_request(globals, CX_CLIENT_DAEMON_ONLY, "shutdown", NULL, &result, error);
}

/* ---- doctor ---------------------------------------------------------------------------------- */

static gboolean
run_doctor(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) result = NULL;
    g_auto(GStrv) lines = NULL;
    gboolean healthy = FALSE;

    if (!cx_cli_expect_none(arguments, error) || !ask(globals, 0, "doctor", NULL, &result, error))
        return FALSE;
    if (result == NULL)
        return TRUE;
    if (!cx_json_get_strv(result, "lines", &lines, error) ||
        !cx_json_get_bool(result, "healthy", &healthy, error))
        return FALSE;

    for (guint i = 0; lines != NULL && lines[i] != NULL; i++)
        (void)printf("%s\n", lines[i]);
    if (!healthy)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "builds with run steps do not work here (see above)");

    (void)printf("builds work here\n");
    return TRUE;
}

/* ---- images, inspect ------------------------------------------------------------------------- */

static gboolean
run_images(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) result = NULL;
    json_t *images, *image;
    gsize i;

    if (!cx_cli_expect_none(arguments, error) || !ask(globals, 0, "images", NULL, &result, error))
        return FALSE;
    if (result == NULL)
        return TRUE;

    images = cx_json_get(result, "images");
    (void)printf("%-40s %-16s %-21s %6s %10s\n", "NAME", "PLATFORM", "DIGEST", "LAYERS", "SIZE");
    json_array_foreach(images, i, image)
    {
        g_autofree char *size = cx_cli_format_size((guint64)number(image, "bytes"));

        (void)printf("%-40s %-16s %-21.19s %6" G_GINT64_FORMAT " %10s\n", text(image, "name"),
                     text(image, "platform"), text(image, "digest"), number(image, "layers"), size);
    }
    return TRUE;
}

static gboolean
run_inspect(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) payload = json_object(), result = NULL;
    g_autofree char *pretty = NULL;

    if (arguments[0] == NULL || arguments[1] != NULL) {
        g_set_error(error, CX_CLI_USAGE, 0, "expected one image name");
        return FALSE;
    }
    json_object_set_new(payload, "name", json_string(arguments[0]));
    if (!cx_client_request(globals, 0, "inspect", payload, &result, error))
        return FALSE;

    pretty = json_dumps(cx_json_get(result, "images"), JSON_INDENT(2) | JSON_SORT_KEYS);
    (void)printf("%s\n", pretty);
    return TRUE;
}

/* ---- df, gc ---------------------------------------------------------------------------------- */

static gboolean
run_df(const CxCliGlobals *globals, char **arguments, GError **error)
{
    static const struct {
        const char *label;
        const char *count;
        const char *bytes;
    } rows[] = {
        {"blobs (as pulled or pushed)", "blobs",     "blobBytes"    },
        {"layers",                      "layers",    "layerBytes"   },
        {"snapshots of steps",          "snapshots", "snapshotBytes"},
        {"logs",                        NULL,        "logBytes"     },
        {"cache (of the above)",        "records",   "cacheBytes"   },
    };
    g_autoptr(json_t) result = NULL;
    g_autofree char *budget = NULL;

    if (!cx_cli_expect_none(arguments, error) || !ask(globals, 0, "df", NULL, &result, error))
        return FALSE;
    if (result == NULL)
        return TRUE;

    (void)printf("%-30s %8s %12s\n", "WHAT", "COUNT", "SIZE");
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *size = cx_cli_format_size((guint64)number(result, rows[i].bytes));
        g_autofree char *count =
            rows[i].count == NULL
                ? g_strdup("")
                : g_strdup_printf("%" G_GINT64_FORMAT, number(result, rows[i].count));

        (void)printf("%-30s %8s %12s\n", rows[i].label, count, size);
    }
    budget = cx_cli_format_size((guint64)number(result, "cacheBudget"));
    (void)printf("%" G_GINT64_FORMAT " images; the cache may grow to %s\n",
                 number(result, "images"), budget);
    return TRUE;
}

static gboolean arg_all;
static gboolean arg_dry_run;

static const GOptionEntry gc_options[] = {
    {"all",     0, 0, G_OPTION_ARG_NONE, &arg_all,
     "drop the whole cache, not only what is over its budget",                                 NULL},
    {"dry-run", 0, 0, G_OPTION_ARG_NONE, &arg_dry_run, "only say what nothing needs any more",
     NULL                                                                                          },
    {"json",    0, 0, G_OPTION_ARG_NONE, &arg_json,    "print the daemon's answer as JSON",    NULL},
    G_OPTION_ENTRY_NULL,
};

static gboolean
run_gc(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(json_t) payload = json_object(), result = NULL;
    g_autofree char *size = NULL;

    json_object_set_new(payload, "all", json_boolean(arg_all));
    json_object_set_new(payload, "dryRun", json_boolean(arg_dry_run));
    if (!cx_cli_expect_none(arguments, error) || !ask(globals, 0, "gc", payload, &result, error))
        return FALSE;
    if (result == NULL)
        return TRUE;

    size = cx_cli_format_size((guint64)number(result, "bytes"));
    (void)printf("%s %" G_GINT64_FORMAT " objects, %s (%" G_GINT64_FORMAT
                 " cache records dropped)\n",
                 arg_dry_run ? "would remove" : "removed", number(result, "objects"), size,
                 number(result, "records"));
    return TRUE;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

gboolean
cx_cli_parse_size(const char *size, guint64 *out_bytes, GError **error)
{
    static const char units[] = "kmgt";
    char *end = NULL;
    double value = g_ascii_strtod(size, &end);
    const char *unit = *end == '\0' ? NULL : strchr(units, g_ascii_tolower(*end));
    double factor = 1;

    for (const char *u = units; unit != NULL && u <= unit; u++)
        factor *= 1024;
    if (unit != NULL)
        end++;
    if (unit != NULL && g_ascii_tolower(*end) == 'i')
        end++;
    if (g_ascii_tolower(*end) == 'b')
        end++;
    if (end == size || *end != '\0' || !(value >= 0) || value * factor > 9e18)
        return cx_throw(error, CX_ERROR_INVALID, "\"%s\" is not a size like 512M", size);

    *out_bytes = (guint64)(value * factor);
    return TRUE;
}

char *
cx_cli_format_size(guint64 bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    gsize unit = 0;

    while (value >= 1024 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    return unit == 0 ? g_strdup_printf("%" G_GUINT64_FORMAT " B", bytes)
                     : g_strdup_printf("%.1f %s", value, units[unit]);
}

const CxVerb cx_verb_version = {"version", "", "print the version", NULL, run_version};
const CxVerb cx_verb_status = {"status", "", "tell whether the daemon runs, and since when",
                               json_options, run_status};
const CxVerb cx_verb_shutdown = {"shutdown", "", "end the daemon", NULL, run_shutdown};
const CxVerb cx_verb_doctor = {"doctor", "", "tell what works on this machine, and why not",
                               json_options, run_doctor};
const CxVerb cx_verb_images = {"images", "", "list the images in the store", json_options,
                               run_images};
const CxVerb cx_verb_inspect = {"inspect", "NAME", "show an image's manifest and config as JSON",
                                NULL, run_inspect};
const CxVerb cx_verb_df = {"df", "", "tell what the store takes on disk", json_options, run_df};
const CxVerb cx_verb_gc = {"gc", "", "remove what nothing needs any more", gc_options, run_gc};
