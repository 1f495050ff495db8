/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "recipe/recipe.h"

static char *arg_file;
static char *arg_output;
static char **arg_platforms;
static char *arg_compression;
static char *arg_progress;
static gboolean arg_explain;
static gboolean arg_no_cache;

static const GOptionEntry options[] = {
    {"file",        'f', 0, G_OPTION_ARG_FILENAME,     &arg_file,
     "manifest file (default: crucible.yaml in DIR)",                                                "FILE"},
    {"output",      'o', 0, G_OPTION_ARG_FILENAME,     &arg_output,
     "write image.tar into this folder (default: into the store only)",                              "DIR" },
    {"platform",    0,   0, G_OPTION_ARG_STRING_ARRAY, &arg_platforms,
     "build for os/arch[/variant]; may be given again (default: this machine)",                      "P"   },
    {"compression", 0,   0, G_OPTION_ARG_STRING,       &arg_compression,
     "of new layers: none, gzip or zstd (default: none)",                                            "NAME"},
    {"explain",     0,   0, G_OPTION_ARG_NONE,         &arg_explain,
     "say for each step why it did not come from the cache",                                         NULL  },
    {"progress",    0,   0, G_OPTION_ARG_STRING,       &arg_progress,    "auto, plain, tty or json", "MODE"},
    {"no-cache",    0,   0, G_OPTION_ARG_NONE,         &arg_no_cache,    "run every step anew",      NULL  },
    G_OPTION_ENTRY_NULL,
};

static CxManifestFile *
read_manifest(const char *folder, GError **error)
{
    g_autofree char *path =
        arg_file != NULL ? g_strdup(arg_file) : g_build_filename(folder, "crucible.yaml", NULL);
    g_autofree char *target = realpath(path, NULL);
    g_autoptr(GBytes) bytes = NULL;

    if (target == NULL)
        return cx_throw_errno_null(error, "\"%s\"", path);
    bytes = cx_read_file_at(AT_FDCWD, target, CX_MANIFEST_MAX, error);
    if (bytes == NULL)
        return NULL;

    return cx_manifest_file_parse(path, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                  error);
}

static void
set_strv(json_t *payload, const char *key, char **strings)
{
    if (strings != NULL && strings[0] != NULL)
        json_object_set_new(payload, key, cx_json_from_strv((const char *const *)strings));
}

static gboolean
set_epoch(json_t *payload, GError **error)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    guint64 seconds;

    if (text == NULL || *text == '\0')
        return TRUE;
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &seconds, NULL))
        return cx_throw(error, CX_ERROR_INVALID,
                        "SOURCE_DATE_EPOCH: \"%s\" is not a number of seconds", text);

    json_object_set_new(payload, "sourceDateEpoch", json_integer((json_int_t)seconds));
    return TRUE;
}

static json_t *
make_payload(const CxManifestFile *manifest, const char *folder, GError **error)
{
    g_autoptr(json_t) payload = json_object();
    g_autofree char *root = realpath(folder, NULL);
    g_autofree char *image = *manifest->version == '\0'
                                 ? g_strdup(manifest->name)
                                 : g_strdup_printf("%s:%s", manifest->name, manifest->version);

    if (root == NULL)
        return cx_throw_errno_null(error, "\"%s\"", folder);

    json_object_set_new(payload, "recipe", cx_recipe_to_json(manifest->recipe));
    json_object_set_new(payload, "resource", json_string(manifest->name));
    json_object_set_new(payload, "image", json_string(image));
    json_object_set_new(payload, "root", json_string(root));
    json_object_set_new(payload, "explain", json_boolean(arg_explain));
    json_object_set_new(payload, "noCache", json_boolean(arg_no_cache));
    set_strv(payload, "entrypoint", manifest->entrypoint);
    set_strv(payload, "platforms", arg_platforms);
    if (arg_compression != NULL)
        json_object_set_new(payload, "compression", json_string(arg_compression));
    if (arg_output != NULL) {
        g_autofree char *output = g_canonicalize_filename(arg_output, NULL);

        json_object_set_new(payload, "output", json_string(output));
    } else {
        json_object_set_new(payload, "storeOnly", json_true());
    }
    return set_epoch(payload, error) ? g_steal_pointer(&payload) : NULL;
}

static void
on_event(gpointer user, const json_t *payload)
{
    cx_progress_event(user, payload);
}

static void
print_result(const json_t *result, const char *name)
{
    json_t *images = cx_json_get(result, "images"), *image;
    gsize i;

    json_array_foreach(images, i, image)
    {
        const char *platform = "", *digest = "", *path = NULL;
        gint64 bytes = 0, steps = 0, cached = 0, layers = 0;
        g_autofree char *size = NULL;

        (void)cx_json_get_string(image, "platform", &platform, NULL);
        (void)cx_json_get_string(image, "digest", &digest, NULL);
        (void)cx_json_get_string(image, "path", &path, NULL);
        (void)cx_json_get_int(image, "bytes", &bytes, NULL);
        (void)cx_json_get_int(image, "steps", &steps, NULL);
        (void)cx_json_get_int(image, "cached", &cached, NULL);
        (void)cx_json_get_int(image, "layers", &layers, NULL);
        size = cx_cli_format_size((guint64)bytes);
        (void)printf("%s %s %s %" G_GINT64_FORMAT " layers %s, %" G_GINT64_FORMAT
                     " of %" G_GINT64_FORMAT " steps cached%s%s\n",
                     name, platform, digest, layers, size, cached, steps, path == NULL ? "" : ", ",
                     path == NULL ? "" : path);
    }
}

static gboolean
run_build(const CxCliGlobals *globals, char **arguments, GError **error)
{
    g_autoptr(CxProgress) progress = NULL;
    g_autoptr(CxManifestFile) manifest = NULL;
    g_autoptr(json_t) payload = NULL, result = NULL;
    g_autoptr(CxClient) client = NULL;

    if (arguments[0] == NULL || arguments[1] != NULL) {
        g_set_error(error, CX_CLI_USAGE, 0, "expected one project folder");
        return FALSE;
    }
    progress = cx_progress_new(arg_progress, error);
    if (progress == NULL)
        return FALSE;
    manifest = read_manifest(arguments[0], error);
    if (manifest == NULL)
        return FALSE;
    payload = make_payload(manifest, arguments[0], error);
    if (payload == NULL)
        return FALSE;

    client = cx_client_open(globals, 0, error);
    if (client == NULL ||
        !cx_client_call(client, "build", payload, on_event, progress, &result, error))
        return FALSE;

    if (cx_progress_is_json(progress)) {
        g_autofree char *line = cx_json_canonical(result);

        (void)printf("%s\n", line);
        return TRUE;
    }
    g_clear_pointer(&progress, cx_progress_free);
    print_result(result, json_string_value(json_object_get(payload, "image")));
    return TRUE;
}

const CxVerb cx_verb_build = {"build", "DIR", "build the recipe of a project into an image",
                              options, run_build};
