/* SPDX-License-Identifier: Apache-2.0 */
/* The tree is built from libfyaml's events, not from its documents: events know no aliases to
 * expand and no recursion, so what a file may cost is counted here, event by event. */
#include "recipe/yaml.h"

#include <libfyaml.h>
#include <string.h>

#include "base/error.h"
#include "recipe/one-line.h"

typedef struct fy_parser CxFyParser;
typedef struct fy_diag CxFyDiag;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxFyParser, fy_parser_destroy)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxFyDiag, fy_diag_destroy)

/* A list or map whose end is still to come. */
typedef struct {
    CxYamlNode *node; /* borrowed: it hangs in the tree */
    GHashTable *keys; /* (owned) (borrowed char *): of a map */
} Level;

typedef struct {
    CxYamlNode *root; /* (owned) */
    GArray *levels;   /* (owned) of Level, innermost last */
    char *key;        /* (owned) read, its value is still to come */
    CxPlace key_place;
    guint n_nodes;
    guint n_documents;
    CxPlace place; /* of the last event that has one */
} Builder;

static void
clear_level(gpointer data)
{
    Level *level = data;

    g_clear_pointer(&level->keys, g_hash_table_unref);
}

static void
builder_clear(Builder *self)
{
    cx_yaml_node_free(self->root);
    g_array_unref(self->levels);
    g_free(self->key);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Builder, builder_clear)

/* ---- nodes ---- */

void
cx_yaml_node_free(CxYamlNode *self)
{
    if (self == NULL)
        return;

    g_free(self->text);
    g_free(self->key);
    g_clear_pointer(&self->items, g_ptr_array_unref);
    g_free(self);
}

static void
free_node(gpointer data)
{
    cx_yaml_node_free(data);
}

gboolean
cx_yaml_node_is_null(const CxYamlNode *self)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};

    return self->kind == CX_YAML_SCALAR && self->plain && g_strv_contains(nulls, self->text);
}

const CxYamlNode *
cx_yaml_node_peek(const CxYamlNode *self, const char *key)
{
    g_return_val_if_fail(self->kind == CX_YAML_MAP, NULL);

    for (guint i = 0; i < self->items->len; i++) {
        const CxYamlNode *item = g_ptr_array_index(self->items, i);

        if (strcmp(item->key, key) == 0)
            return cx_yaml_node_is_null(item) ? NULL : item;
    }
    return NULL;
}

/* ---- building ---- */

static void
note_place(Builder *self, struct fy_token *token)
{
    const struct fy_mark *mark = token != NULL ? fy_token_start_mark(token) : NULL;

    if (mark != NULL)
        self->place = (CxPlace){(guint)mark->line + 1, (guint)mark->column + 1};
}

/* libfyaml's place of an anchor or a quoted text is one after the sign that begins it. */
static void
step_back(Builder *self)
{
    self->place.column -= self->place.column > 1;
}

static Level *
peek_level(Builder *self)
{
    return self->levels->len == 0 ? NULL
                                  : &g_array_index(self->levels, Level, self->levels->len - 1);
}

static gboolean
expects_key(Builder *self)
{
    Level *level = peek_level(self);

    return level != NULL && level->keys != NULL && self->key == NULL;
}

/* Hangs a new node into the tree. */
static CxYamlNode *
add_node(Builder *self, CxYamlKind kind, GError **error)
{
    Level *level = peek_level(self);
    CxYamlNode *node;

    if (++self->n_nodes > CX_YAML_NODES_MAX)
        return cx_throw_null(error, CX_ERROR_LIMIT, "more than %d values", CX_YAML_NODES_MAX);
    if (expects_key(self))
        return cx_throw_null(error, CX_ERROR_INVALID, "a key must be a plain word or a string");

    node = g_new0(CxYamlNode, 1);
    node->kind = kind;
    node->place = self->place;
    node->key = g_steal_pointer(&self->key);
    node->key_place = self->key_place;
    if (kind != CX_YAML_SCALAR)
        node->items = g_ptr_array_new_with_free_func(free_node);

    if (level != NULL)
        g_ptr_array_add(level->node->items, node);
    else
        self->root = node;
    if (node->key != NULL)
        g_hash_table_add(level->keys, node->key);
    return node;
}

static gboolean
begin_level(Builder *self, CxYamlKind kind, GError **error)
{
    Level level = {0};

    if (self->levels->len >= CX_YAML_DEPTH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "nested deeper than %d levels", CX_YAML_DEPTH_MAX);

    level.node = add_node(self, kind, error);
    if (level.node == NULL)
        return FALSE;
    if (kind == CX_YAML_MAP)
        level.keys = g_hash_table_new(g_str_hash, g_str_equal);

    g_array_append_val(self->levels, level);
    return TRUE;
}

static gboolean
add_key(Builder *self, char *take_key, GError **error)
{
    g_autofree char *key = take_key, *quoted = NULL;
    Level *level = peek_level(self);

    if (strcmp(key, "<<") == 0)
        return cx_throw(error, CX_ERROR_INVALID, "merge keys (\"<<\") are not supported");

    for (guint i = 0; g_hash_table_contains(level->keys, key) && i < level->node->items->len; i++) {
        const CxYamlNode *first = g_ptr_array_index(level->node->items, i);

        if (strcmp(first->key, key) != 0)
            continue;
        quoted = cx_quote(key);
        return cx_throw(error, CX_ERROR_INVALID, "duplicate key %s (first in line %u)", quoted,
                        first->key_place.line);
    }

    self->key = g_steal_pointer(&key);
    self->key_place = self->place;
    return TRUE;
}

/* The text of a scalar, or NULL.  A value that is not written has no token. */
static char *
dup_scalar(struct fy_token *token, enum fy_scalar_style style, GError **error)
{
    gsize size = 0;
    const char *text = token != NULL ? fy_token_get_text(token, &size) : "";

    if (text == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "a value cannot be read");

    /* Only an escape can make a zero byte; libfyaml 0.7 also gives one for an empty block. */
    if (style != FYSS_DOUBLE_QUOTED)
        size = strnlen(text, size);
    if (memchr(text, '\0', size) != NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "a value holds a zero byte");
    if (!g_utf8_validate_len(text, size, NULL))
        return cx_throw_null(error, CX_ERROR_INVALID, "a value is not valid UTF-8");

    return g_strndup(text, size);
}

static gboolean
add_scalar(Builder *self, struct fy_token *token, GError **error)
{
    enum fy_scalar_style style = token != NULL ? fy_token_scalar_style(token) : FYSS_PLAIN;
    g_autofree char *text = NULL;
    CxYamlNode *node;

    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        step_back(self);
    text = dup_scalar(token, style, error);
    if (text == NULL)
        return FALSE;
    if (expects_key(self))
        return add_key(self, g_steal_pointer(&text), error);

    node = add_node(self, CX_YAML_SCALAR, error);
    if (node == NULL)
        return FALSE;

    node->text = g_steal_pointer(&text);
    node->plain = style == FYSS_PLAIN;
    return TRUE;
}

static gboolean
begin_document(Builder *self, GError **error)
{
    if (++self->n_documents > 1)
        return cx_throw(error, CX_ERROR_INVALID, "more than one document in the file");

    return TRUE;
}

/* ---- events ---- */

static gboolean
refuse_alias(Builder *self, struct fy_token *token, GError **error)
{
    note_place(self, token);
    step_back(self);
    return cx_throw(error, CX_ERROR_INVALID, "anchors and aliases are not supported");
}

static gboolean
refuse_properties(Builder *self, struct fy_token *anchor, struct fy_token *tag, GError **error)
{
    if (anchor != NULL)
        return refuse_alias(self, anchor, error);
    if (tag == NULL)
        return TRUE;

    note_place(self, tag);
    return cx_throw(error, CX_ERROR_INVALID, "tags are not supported");
}

static gboolean
take_event(Builder *self, struct fy_event *event, GError **error)
{
    note_place(self, fy_event_get_token(event));

    switch (event->type) {
    case FYET_DOCUMENT_START:
        return begin_document(self, error);
    case FYET_MAPPING_START:
        return refuse_properties(self, event->mapping_start.anchor, event->mapping_start.tag,
                                 error) &&
               begin_level(self, CX_YAML_MAP, error);
    case FYET_SEQUENCE_START:
        return refuse_properties(self, event->sequence_start.anchor, event->sequence_start.tag,
                                 error) &&
               begin_level(self, CX_YAML_LIST, error);
    case FYET_SCALAR:
        return refuse_properties(self, event->scalar.anchor, event->scalar.tag, error) &&
               add_scalar(self, event->scalar.value, error);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        g_array_set_size(self->levels, self->levels->len - 1);
        return TRUE;
    case FYET_ALIAS:
        return refuse_alias(self, event->alias.anchor, error);
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        break;
    }
    return TRUE;
}

static gboolean
take_events(Builder *self, struct fy_parser *parser, GError **error)
{
    struct fy_event *event;
    gboolean ok = TRUE;

    while (ok && (event = fy_parser_parse(parser)) != NULL) {
        ok = take_event(self, event, error);
        fy_parser_event_free(parser, event);
    }
    return ok;
}

/* libfyaml's first complaint. */
static gboolean
throw_diagnostic(Builder *self, struct fy_diag *diag, GError **error)
{
    void *iterator = NULL;
    const struct fy_diag_error *first = fy_diag_errors_iterate(diag, &iterator);
    g_autofree char *line = NULL;

    if (first == NULL)
        return cx_throw(error, CX_ERROR_INVALID, "not YAML");
    if (first->line > 0)
        self->place = (CxPlace){(guint)first->line, (guint)MAX(first->column, 1)};

    line = cx_one_line(first->msg, CX_QUOTE_MAX);
    return cx_throw(error, CX_ERROR_INVALID, "%s", line);
}

static gboolean
check_utf8(const char *text, gsize size, CxPlace *out_place, GError **error)
{
    const char *bad, *line = text;

    if (g_utf8_validate_len(text, size, &bad))
        return TRUE;

    *out_place = (CxPlace){1, 1};
    for (const char *p = text; p < bad; p++) {
        if (*p == '\n') {
            out_place->line++;
            line = p + 1;
        }
    }
    out_place->column = (guint)g_utf8_strlen(line, bad - line) + 1;
    return cx_throw(error, CX_ERROR_INVALID,
                    *bad == '\0' ? "the file holds a zero byte" : "the file is not valid UTF-8");
}

/* libfyaml would print what it does not collect. */
static void
be_silent(struct fy_diag *diag, void *user, const char *text, size_t size)
{
}

static gboolean
build(Builder *self, const char *text, gsize size, GError **error)
{
    struct fy_diag_cfg diag_config;
    g_autoptr(CxFyDiag) diag = NULL;
    g_autoptr(CxFyParser) parser = NULL;

    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    diag_config.output_fn = be_silent;
    diag = fy_diag_create(&diag_config);
    fy_diag_set_collect_errors(diag, true);
    parser = fy_parser_create(&(struct fy_parse_cfg){
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
        .diag = diag,
    });
    if (parser == NULL || fy_parser_set_string(parser, text, size) != 0)
        return cx_throw(error, CX_ERROR_INTERNAL, "the YAML parser cannot be set up");

    if (!take_events(self, parser, error))
        return FALSE;
    if (fy_parser_get_stream_error(parser) || fy_diag_got_error(diag))
        return throw_diagnostic(self, diag, error);

    return TRUE;
}

CxYamlNode *
cx_yaml_parse(const char *text, gsize size, CxPlace *out_place, GError **error)
{
    g_auto(Builder) builder = {
        .place = {1, 1}
    };

    builder.levels = g_array_new(FALSE, FALSE, sizeof(Level));
    g_array_set_clear_func(builder.levels, clear_level);
    if (!check_utf8(text, size, out_place, error))
        return NULL;

    *out_place = builder.place;
    if (size > 0 && !build(&builder, text, size, error)) {
        *out_place = builder.place;
        return NULL;
    }
    if (builder.root == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "the file is empty");

    return g_steal_pointer(&builder.root);
}
