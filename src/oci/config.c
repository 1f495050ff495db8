/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "oci/document.h"

static CxImageConfig *
new_empty(json_t *take_document)
{
    CxImageConfig *self = g_new0(CxImageConfig, 1);

    self->document = take_document;
    self->diff_ids = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    self->env = g_new0(char *, 1);
    self->working_dir = g_strdup("");
    self->user = g_strdup("");
    self->stop_signal = g_strdup("");
    return self;
}

CxImageConfig *
cx_image_config_new(const CxPlatform *platform)
{
    CxImageConfig *self = new_empty(json_object());

    self->platform = *platform;
    return self;
}

void
cx_image_config_free(CxImageConfig *self)
{
    if (self == NULL)
        return;

    json_decref(self->document);
    g_clear_pointer(&self->diff_ids, g_array_unref);
    g_strfreev(self->env);
    g_strfreev(self->entrypoint);
    g_strfreev(self->cmd);
    g_free(self->working_dir);
    g_free(self->user);
    g_free(self->stop_signal);
    g_free(self);
}

CxImageConfig *
cx_image_config_dup(const CxImageConfig *self)
{
    CxImageConfig *copy = g_new0(CxImageConfig, 1);

    copy->document = json_deep_copy(self->document);
    copy->platform = self->platform;
    copy->diff_ids = g_array_copy(self->diff_ids);
    copy->env = g_strdupv(self->env);
    copy->entrypoint = g_strdupv(self->entrypoint);
    copy->cmd = g_strdupv(self->cmd);
    copy->working_dir = g_strdup(self->working_dir);
    copy->user = g_strdup(self->user);
    copy->stop_signal = g_strdup(self->stop_signal);
    return copy;
}

/* ---- reading ---- */

static gboolean
read_platform(CxImageConfig *self, GError **error)
{
    const char *os = "", *arch = "", *variant = "";

    if (!cx_json_get_string(self->document, "os", &os, error) ||
        !cx_json_get_string(self->document, "architecture", &arch, error) ||
        !cx_json_get_string(self->document, "variant", &variant, error))
        return FALSE;

    return cx_platform_from_parts(os, arch, variant, &self->platform, error);
}

static gboolean
read_rootfs(CxImageConfig *self, GError **error)
{
    const char *type = "layers";
    const json_t *list = NULL;
    json_t *rootfs;

    if (!cx_document_get_object(self->document, "rootfs", &rootfs, error))
        return FALSE;
    if (rootfs == NULL)
        return TRUE;

    CX_ERROR_CONTEXT(error, "rootfs");
    if (!cx_json_get_string(rootfs, "type", &type, error) ||
        !cx_document_get_list(rootfs, "diff_ids", CX_LAYERS_MAX, &list, error))
        return FALSE;
    if (strcmp(type, "layers") != 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "type \"%.40s\" is not \"layers\"", type);

    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        CxDigest diff_id;

        if (text == NULL)
            return cx_throw(error, CX_ERROR_INVALID, "diff_ids: expected a list of strings");
        if (!cx_digest_parse(text, &diff_id, error))
            return FALSE;
        g_array_append_val(self->diff_ids, diff_id);
    }
    return TRUE;
}

/* A list without entries says the same as no list. */
static gboolean
read_arguments(const json_t *object, const char *key, GStrv *arguments, GError **error)
{
    if (!cx_json_get_strv(object, key, arguments, error))
        return FALSE;
    if (*arguments != NULL && **arguments == NULL)
        g_clear_pointer(arguments, g_strfreev);

    return TRUE;
}

static gboolean
read_text(const json_t *object, const char *key, char **text, GError **error)
{
    const char *value = NULL;

    if (!cx_json_get_string(object, key, &value, error))
        return FALSE;
    if (value != NULL) {
        g_free(*text);
        *text = g_strdup(value);
    }
    return TRUE;
}

static gboolean
read_execution(CxImageConfig *self, GError **error)
{
    g_auto(GStrv) env = NULL;
    json_t *config;

    if (!cx_document_get_object(self->document, "config", &config, error))
        return FALSE;
    if (config == NULL)
        return TRUE;
    if (!cx_json_get_strv(config, "Env", &env, error) ||
        !read_arguments(config, "Entrypoint", &self->entrypoint, error) ||
        !read_arguments(config, "Cmd", &self->cmd, error) ||
        !read_text(config, "WorkingDir", &self->working_dir, error) ||
        !read_text(config, "User", &self->user, error) ||
        !read_text(config, "StopSignal", &self->stop_signal, error))
        return FALSE;

    if (env != NULL) {
        g_strfreev(self->env);
        self->env = g_steal_pointer(&env);
    }
    return TRUE;
}

static gboolean
check_history(const CxImageConfig *self, GError **error)
{
    const json_t *history;

    if (!cx_document_get_list(self->document, "history", CX_HISTORY_MAX, &history, error))
        return FALSE;

    for (gsize i = 0; i < json_array_size(history); i++) {
        gboolean empty = FALSE;

        if (!json_is_object(json_array_get(history, i)))
            return cx_throw(error, CX_ERROR_INVALID, "history[%zu]: expected an object", i);
        if (!cx_json_get_bool(json_array_get(history, i), "empty_layer", &empty, error))
            return FALSE;
    }
    return TRUE;
}

CxImageConfig *
cx_image_config_parse(const char *text, gsize size, GError **error)
{
    CX_ERROR_CONTEXT(error, "config");
    g_autoptr(CxImageConfig) self = NULL;
    json_t *document = cx_document_parse(text, size, error);

    if (document == NULL)
        return NULL;

    self = new_empty(document);
    if (!read_platform(self, error) || !read_rootfs(self, error) || !read_execution(self, error) ||
        !check_history(self, error))
        return NULL;

    return g_steal_pointer(&self);
}

/* ---- history ---- */

static gboolean
is_empty_layer(const json_t *entry)
{
    return json_is_true(cx_json_get(entry, "empty_layer"));
}

/* The history of the document, made if there is none. */
static json_t *
ensure_history(CxImageConfig *self)
{
    json_t *history = cx_json_get(self->document, "history");

    if (history == NULL) {
        history = json_array();
        cx_document_take_member(self->document, "history", history);
    }
    return history;
}

/* Gives the history one entry for each layer: missing ones are added, and those that no layer is
 * left for become empty. */
static void
keep_in_step(json_t *history, guint n_layers)
{
    guint n = 0;

    for (gsize i = 0; i < json_array_size(history); i++) {
        json_t *entry = json_array_get(history, i);

        if (is_empty_layer(entry))
            continue;
        if (++n > n_layers)
            cx_document_take_member(entry, "empty_layer", json_true());
    }
    for (; n < n_layers; n++)
        json_array_append_new(history, json_pack("{s:s}", "comment", "not recorded"));
}

void
cx_image_config_add_history(CxImageConfig *self,
                            const char *created,
                            const char *created_by,
                            const CxDigest *diff_id)
{
    g_autofree char *text = cx_utf8_make_valid(created_by, strlen(created_by));
    json_t *history = ensure_history(self);
    json_t *entry = json_pack("{s:s}", "created_by", text);

    keep_in_step(history, self->diff_ids->len);
    if (created != NULL)
        json_object_set_new(entry, "created", json_string(created));
    if (diff_id == NULL)
        json_object_set_new(entry, "empty_layer", json_true());
    else
        g_array_append_val(self->diff_ids, *diff_id);
    json_array_append_new(history, entry);
}

/* ---- writing ---- */

static json_t *
text_or_null(const char *text)
{
    return *text == '\0' ? NULL : json_string(text);
}

static json_t *
strv_or_null(GStrv strings)
{
    return strings == NULL || *strings == NULL ? NULL
                                               : cx_json_from_strv((const char *const *)strings);
}

static void
write_execution(const CxImageConfig *self, json_t *document)
{
    json_t *before = cx_json_get(document, "config");
    json_t *config = before == NULL ? json_object() : json_incref(before);

    cx_document_take_member(config, "Env", strv_or_null(self->env));
    cx_document_take_member(config, "Entrypoint", strv_or_null(self->entrypoint));
    cx_document_take_member(config, "Cmd", strv_or_null(self->cmd));
    cx_document_take_member(config, "WorkingDir", text_or_null(self->working_dir));
    cx_document_take_member(config, "User", text_or_null(self->user));
    cx_document_take_member(config, "StopSignal", text_or_null(self->stop_signal));
    cx_document_take_member(document, "config", config);
}

static void
write_rootfs(const CxImageConfig *self, json_t *document)
{
    json_t *diff_ids = json_array();

    for (guint i = 0; i < self->diff_ids->len; i++) {
        const CxDigest *diff_id = &g_array_index(self->diff_ids, CxDigest, i);

        json_array_append_new(diff_ids, json_string(cx_digest_text(diff_id).text));
    }
    cx_document_take_member(document, "rootfs",
                            json_pack("{s:s, s:o}", "type", "layers", "diff_ids", diff_ids));
}

char *
cx_image_config_to_json(const CxImageConfig *self, const char *created)
{
    g_autoptr(json_t) document = json_deep_copy(self->document);

    cx_document_take_member(document, "architecture", json_string(self->platform.arch));
    cx_document_take_member(document, "os", json_string(self->platform.os));
    cx_document_take_member(document, "variant", text_or_null(self->platform.variant));
    if (created != NULL)
        cx_document_take_member(document, "created", json_string(created));
    write_execution(self, document);
    write_rootfs(self, document);
    return cx_json_canonical(document);
}
