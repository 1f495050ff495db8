/* SPDX-License-Identifier: Apache-2.0 */
#define CX_LOG_ROOM "daemon"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/commands.h"

/* More platforms than there are. */
#define PLATFORMS_MAX 64
#define NAME_BYTES_MAX 255

/* The request, read from the payload.  Texts are borrowed from it. */
typedef struct {
    CxRecipe *recipe;  /* (owned) */
    GStrv entrypoint;  /* (owned) or NULL */
    GArray *platforms; /* (owned) of CxPlatform */
    int root_fd;       /* owned */
    CxBuildRequest request;
} Build;

static void
build_clear(Build *self)
{
    g_clear_pointer(&self->recipe, cx_recipe_free);
    g_clear_pointer(&self->entrypoint, g_strfreev);
    g_clear_pointer(&self->platforms, g_array_unref);
    cx_clear_fd(&self->root_fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, build_clear)

/* ---- reading the payload --------------------------------------------------------------------- */

static gboolean
read_platforms(const json_t *payload, GArray *platforms, GError **error)
{
    g_auto(GStrv) texts = NULL;

    if (!cx_json_get_strv(payload, "platforms", &texts, error))
        return FALSE;
    if (texts != NULL && g_strv_length(texts) > PLATFORMS_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "platforms: more than %d", PLATFORMS_MAX);

    for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
        CxPlatform platform;
        gboolean twice = FALSE;

        if (!cx_platform_parse(texts[i], &platform, error))
            return FALSE;
        for (guint k = 0; k < platforms->len; k++)
            twice = twice || cx_platform_equal(&platform, &g_array_index(platforms, CxPlatform, k));
        if (twice)
            return cx_throw(error, CX_ERROR_INVALID, "platforms: \"%s\" stands twice", texts[i]);
        g_array_append_val(platforms, platform);
    }
    if (platforms->len == 0) {
        CxPlatform host = cx_platform_host();

        g_array_append_val(platforms, host);
    }
    return TRUE;
}

static gboolean
read_compression(const json_t *payload, CxCompression *out_compression, GError **error)
{
    const char *name = "none";

    if (!cx_json_get_string(payload, "compression", &name, error))
        return FALSE;
    if (!cx_compression_parse(name, out_compression))
        return cx_throw(error, CX_ERROR_INVALID, "compression: \"%s\" is not none, gzip or zstd",
                        name);

    return TRUE;
}

/* The client's SOURCE_DATE_EPOCH, else the daemon's own, else the fixed date. */
static gboolean
read_epoch(const json_t *payload, gint64 *out_epoch, GError **error)
{
    const char *own = getenv("SOURCE_DATE_EPOCH");

    *out_epoch = own != NULL ? g_ascii_strtoll(own, NULL, 10) : CX_BUILD_EPOCH;
    if (!cx_json_get_int(payload, "sourceDateEpoch", out_epoch, error))
        return FALSE;
    if (*out_epoch < 0 || *out_epoch > G_GINT64_CONSTANT(253402300799))
        return cx_throw(error, CX_ERROR_INVALID,
                        "sourceDateEpoch: not a date between 1970 and 9999");

    return TRUE;
}

static gboolean
read_flags(const CxCommands *commands,
           const json_t *payload,
           CxBuildFlags *out_flags,
           GError **error)
{
    gboolean no_cache = FALSE, explain = FALSE;

    if (!cx_json_get_bool(payload, "noCache", &no_cache, error) ||
        !cx_json_get_bool(payload, "explain", &explain, error))
        return FALSE;

    *out_flags = (no_cache ? CX_BUILD_NO_CACHE : 0) | (explain ? CX_BUILD_EXPLAIN : 0) |
                 (commands->options->allow_host_paths ? CX_BUILD_HOST_PATHS : 0);
    return TRUE;
}

/* Names become folders of nothing, but they are shown, logged and made into container names. */
static gboolean
check_name(const char *what, const char *name, GError **error)
{
    gboolean ok =
        g_ascii_isalnum(name[0]) && strlen(name) <= NAME_BYTES_MAX && !cx_path_has_dotdot(name);

    for (const char *c = name; ok && *c != '\0'; c++)
        ok = g_ascii_isalnum(*c) || strchr("._-/:@+", *c) != NULL;
    if (!ok) {
        g_autofree char *shown = g_strescape(name, NULL);

        return cx_throw(error, CX_ERROR_INVALID, "%s \"%.80s\" is not a name like \"acme/api\"",
                        what, shown);
    }
    return TRUE;
}

static gboolean
read_texts(CxConnection *connection,
           const json_t *payload,
           Build *build,
           const char **out_root,
           GError **error)
{
    gboolean store_only = FALSE;

    build->request.resource =
        cx_command_require(connection, "resource", "missing resource name", error);
    if (build->request.resource == NULL ||
        !cx_json_get_bool(payload, "storeOnly", &store_only, error) ||
        !cx_json_get_string(payload, "image", &build->request.image, error) ||
        !check_name("resource", build->request.resource, error) ||
        (build->request.image != NULL && !check_name("image", build->request.image, error)))
        return FALSE;
    if (!store_only) {
        build->request.output =
            cx_command_require(connection, "output", "missing output directory", error);
        if (build->request.output == NULL)
            return FALSE;
    }
    *out_root = cx_command_require(connection, "root", "missing project root", error);
    if (*out_root == NULL)
        return FALSE;
    if (**out_root != '/' || (build->request.output != NULL && *build->request.output != '/'))
        return cx_throw(error, CX_ERROR_INVALID, "root and output must be absolute paths");

    return TRUE;
}

static int
open_root(CxConnection *connection, const char *root, GError **error)
{
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
    int fd;

    if (!cx_acting_as_begin(&as, cx_connection_get_identity(connection), error))
        return -1;

    fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? cx_throw_errno_fd(error, "project root \"%s\"", root) : fd;
}

static gboolean
read_build(CxCommands *commands, CxConnection *connection, Build *build, GError **error)
{
    const json_t *payload = cx_connection_get_request(connection)->payload;
    const json_t *recipe = payload == NULL ? NULL : cx_json_get(payload, "recipe");
    const char *root = NULL;

    if (recipe == NULL)
        return cx_throw(error, CX_ERROR_INVALID, "missing recipe");
    if (!read_texts(connection, payload, build, &root, error) ||
        !cx_json_get_strv(payload, "entrypoint", &build->entrypoint, error) ||
        !read_platforms(payload, build->platforms, error) ||
        !read_compression(payload, &build->request.compression, error) ||
        !read_epoch(payload, &build->request.epoch, error) ||
        !read_flags(commands, payload, &build->request.flags, error))
        return FALSE;

    build->recipe = cx_recipe_from_json(recipe, error);
    if (build->recipe == NULL)
        return FALSE;

    build->root_fd = open_root(connection, root, error);
    if (build->root_fd < 0)
        return FALSE;

    build->request.recipe = build->recipe;
    build->request.root_fd = build->root_fd;
    build->request.identity = cx_connection_get_identity(connection);
    if (build->entrypoint != NULL && build->entrypoint[0] != NULL)
        build->request.entrypoint = (const char *const *)build->entrypoint;
    build->request.platforms = (const CxPlatform *)(const void *)build->platforms->data;
    build->request.n_platforms = build->platforms->len;
    return TRUE;
}

/* ---- events ---------------------------------------------------------------------------------- */

static const char *const event_names[] = {
    [CX_STEP_STARTED] = "step-started", [CX_STEP_LOG] = "step-log",
    [CX_STEP_CACHED] = "step-cached",   [CX_STEP_DONE] = "step-done",
    [CX_STEP_FAILED] = "step-failed",
};
G_STATIC_ASSERT(G_N_ELEMENTS(event_names) == CX_N_STEP_EVENTS);

static void
set_text(json_t *object, const char *key, const char *text)
{
    g_autofree char *valid = text == NULL ? NULL : cx_utf8_make_valid(text, strlen(text));

    if (valid != NULL)
        json_object_set_new(object, key, json_string(valid));
}

static void
send_event(gpointer user, const CxStepEvent *event)
{
    g_autoptr(json_t) payload = json_object();
    g_autofree char *line = NULL;

    json_object_set_new(payload, "type", json_string(event_names[event->type]));
    set_text(payload, "platform", event->platform);
    set_text(payload, "stage", event->stage);
    set_text(payload, "container", event->container);
    if (event->step != G_MAXUINT)
        json_object_set_new(payload, "step", json_integer(event->step));
    if (event->type == CX_STEP_LOG) {
        g_autofree char *data = cx_utf8_make_valid(event->data, event->size);

        json_object_set_new(payload, "data", json_string(data));
        json_object_set_new(payload, "stream", json_string(event->is_stderr ? "stderr" : "stdout"));
    } else {
        set_text(payload, "title", event->title);
        set_text(payload, "text", event->text);
        if (event->line != 0)
            json_object_set_new(payload, "line", json_integer(event->line));
        if (event->type != CX_STEP_STARTED)
            json_object_set_new(payload, "microseconds", json_integer(event->duration));
    }
    line = cx_message_format("event", payload);
    cx_connection_send(user, line);
}

/* ---- the command ----------------------------------------------------------------------------- */

static json_t *
describe_images(const GPtrArray *images)
{
    json_t *array = json_array();

    for (guint i = 0; i < images->len; i++) {
        const CxBuiltImage *image = g_ptr_array_index(images, i);
        json_t *item = json_object();

        json_object_set_new(item, "platform", json_string(cx_platform_text(&image->platform).text));
        json_object_set_new(item, "digest", json_string(cx_digest_text(&image->manifest).text));
        json_object_set_new(item, "layers", json_integer(image->layers));
        json_object_set_new(item, "bytes", json_integer((json_int_t)image->bytes));
        json_object_set_new(item, "steps", json_integer(image->steps));
        json_object_set_new(item, "cached", json_integer(image->cached));
        set_text(item, "path", image->path);
        json_array_append_new(array, item);
    }
    return array;
}

gboolean
cx_command_build(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    g_auto(Build) build = {.root_fd = -1};
    g_autoptr(GPtrArray) images = NULL;

    build.platforms = g_array_new(FALSE, FALSE, sizeof(CxPlatform));
    if (!read_build(self, connection, &build, error))
        return FALSE;

    if (cx_connection_get_request(connection)->stream) {
        build.request.observer = send_event;
        build.request.user = connection;
    }
    cx_info("build %s for user %u", build.request.resource,
            cx_identity_get_uid(build.request.identity));
    images = cx_engine_build(self->host->engine, &build.request,
                             cx_connection_get_cancellable(connection), error);
    if (images == NULL)
        return FALSE;

    g_atomic_int_inc(&self->builds);
    *out_result = json_object();
    set_text(*out_result, "output", build.request.output);
    json_object_set_new(*out_result, "images", describe_images(images));
    return TRUE;
}
