/* SPDX-License-Identifier: Apache-2.0 */
/* crucible.yaml: the resource and its recipe.  docs/recipe.md is the reference for authors.
 *
 * A person waits for the answer, so everything that cannot be meant is an error with its place:
 * what the wire form ignores (unknown keys, other types) would here only hide a slip of the pen. */
#include <string.h>

#include "base/error.h"
#include "recipe/one-line.h"
#include "recipe/recipe-private.h"
#include "recipe/yaml.h"

#define KEYS_MAX 8

/* The keys of one kind of map, in the order in which messages list them. */
typedef struct {
    const char *noun; /* "a stage" */
    const char *keys[KEYS_MAX];
} Shape;

static const Shape manifest_shape = {
    "the manifest", {"version", "resource", "entrypoint", "stages", NULL}
};
static const Shape resource_shape = {
    "resource", {"type", "name", "version", NULL}
};
static const Shape stage_shape = {
    "a stage", {"name", "transient", "platform", "from", "steps", NULL}
};
static const Shape step_shape = {
    "a step", {"run", "copy", "shell", "env", "workdir", "platform", "steps", NULL}
};

static const char *const built_types[] = {"runtime", "service", "machine", NULL};
static const char *const other_types[] = {"widget", "template", NULL};

typedef struct {
    char *file_name; /* (owned) fit for a line */
    CxManifestFile *manifest;
    CxPlace type_place;
} Reader;

void
cx_manifest_file_free(CxManifestFile *self)
{
    if (self == NULL)
        return;

    g_free(self->type);
    g_free(self->name);
    g_free(self->version);
    g_strfreev(self->entrypoint);
    cx_recipe_free(self->recipe);
    g_free(self);
}

/* Puts FILE:LINE:COLUMN before the error that was raised.  Yields FALSE. */
static gboolean
locate(const Reader *self, CxPlace place, GError **error)
{
    g_prefix_error(error, "%s:%u:%u: ", self->file_name, MAX(place.line, 1), MAX(place.column, 1));
    return FALSE;
}

/* ---- suggestions ---- */

#define WORD_MAX 24

/* How many letters must be put in, left out or changed to make b of a; case does not count. */
static guint
measure_distance(const char *a, const char *b)
{
    gsize n = strlen(b);
    guint row[WORD_MAX + 1];

    if (strlen(a) > WORD_MAX || n > WORD_MAX)
        return G_MAXUINT;

    for (gsize j = 0; j <= n; j++)
        row[j] = (guint)j;
    for (gsize i = 0; a[i] != '\0'; i++) {
        guint diagonal = row[0];

        row[0] = (guint)i + 1;
        for (gsize j = 0; j < n; j++) {
            guint change = diagonal + (g_ascii_tolower(a[i]) != g_ascii_tolower(b[j]));

            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

/* ` (did you mean "steps"?)` or "".  (transfer full) */
static char *
suggest(const char *word, const char *const *known)
{
    const char *best = NULL;
    guint best_distance = 3;

    for (gsize i = 0; known[i] != NULL; i++) {
        guint distance = measure_distance(word, known[i]);

        if (distance < best_distance && distance < strlen(known[i]) / 2 + 1) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best != NULL ? g_strdup_printf(" (did you mean \"%s\"?)", best) : g_strdup("");
}

/* ---- values ---- */

static gboolean
expect(const Reader *self, const CxYamlNode *node, const char *what, GError **error)
{
    g_autofree char *name = node->key != NULL ? cx_one_line(node->key, CX_QUOTE_MAX) : g_strdup("");

    cx_throw(error, CX_ERROR_INVALID, "%s%sexpected %s", name, node->key != NULL ? ": " : "", what);
    return locate(self, node->place, error);
}

static gboolean
check_shape(const Reader *self, const CxYamlNode *node, const Shape *shape, GError **error)
{
    if (node->kind != CX_YAML_MAP)
        return expect(self, node, "keys and values", error);

    for (guint i = 0; i < node->items->len; i++) {
        const CxYamlNode *item = g_ptr_array_index(node->items, i);
        g_autofree char *quoted = NULL, *hint = NULL;

        if (g_strv_contains(shape->keys, item->key))
            continue;
        quoted = cx_quote(item->key);
        hint = suggest(item->key, shape->keys);
        cx_throw(error, CX_ERROR_INVALID, "unknown key %s in %s%s", quoted, shape->noun, hint);
        return locate(self, item->key_place, error);
    }
    return TRUE;
}

/* Absent, null and "" leave *out_text alone. */
static gboolean
read_text(
    const Reader *self, const CxYamlNode *map, const char *key, char **out_text, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(map, key);

    if (node == NULL)
        return TRUE;
    if (node->kind != CX_YAML_SCALAR)
        return expect(self, node, "a string", error);

    if (node->text[0] != '\0')
        *out_text = g_strdup(node->text);
    return TRUE;
}

static gboolean
read_texts(const Reader *self,
           const CxYamlNode *map,
           const CxTextMember *members,
           guint n,
           gpointer object,
           GError **error)
{
    for (guint i = 0; i < n; i++)
        if (!read_text(self, map, members[i].key, CX_TEXT_MEMBER(object, &members[i]), error))
            return FALSE;

    return TRUE;
}

static gboolean
read_boolean(
    const Reader *self, const CxYamlNode *map, const char *key, gboolean *out_value, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(map, key);
    gboolean is_true;

    if (node == NULL)
        return TRUE;

    is_true = g_strcmp0(node->text, "true") == 0;
    if (!node->plain || !(is_true || g_strcmp0(node->text, "false") == 0))
        return expect(self, node, "true or false", error);

    *out_value = is_true;
    return TRUE;
}

static gboolean
read_env(const Reader *self, const CxYamlNode *map, GStrv *out_env, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(map, "env");
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);

    if (node == NULL)
        return TRUE;
    if (node->kind != CX_YAML_MAP)
        return expect(self, node, "names and values (NAME: value)", error);

    for (guint i = 0; i < node->items->len; i++) {
        const CxYamlNode *item = g_ptr_array_index(node->items, i);

        if (item->kind != CX_YAML_SCALAR)
            return expect(self, item, "a string", error);
        if (!cx_env_add(env, item->key, cx_yaml_node_is_null(item) ? "" : item->text, error))
            return locate(self, item->key_place, error);
    }
    *out_env = cx_env_finish(g_steal_pointer(&env));
    return TRUE;
}

/* A list member; absent: *out_list is NULL. */
static gboolean
peek_list(const Reader *self,
          const CxYamlNode *map,
          const char *key,
          const CxYamlNode **out_list,
          GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(map, key);

    if (node != NULL && node->kind != CX_YAML_LIST)
        return expect(self, node, "a list", error);

    *out_list = node;
    return TRUE;
}

/* ---- the recipe ---- */

static gboolean read_steps(const Reader *self,
                           const CxYamlNode *map,
                           GPtrArray *steps,
                           GError **error);

static gboolean
read_step(const Reader *self, const CxYamlNode *node, CxStep *step, GError **error)
{
    if (!check_shape(self, node, &step_shape, error))
        return FALSE;

    step->place = node->place;
    return read_texts(self, node, cx_step_texts, CX_STEP_TEXTS, step, error) &&
           read_env(self, node, &step->env, error) && read_steps(self, node, step->steps, error);
}

static gboolean
read_steps(const Reader *self, const CxYamlNode *map, GPtrArray *steps, GError **error)
{
    const CxYamlNode *list = NULL;

    if (!peek_list(self, map, "steps", &list, error))
        return FALSE;

    for (guint i = 0; list != NULL && i < list->items->len; i++) {
        CxStep *step = cx_step_new();

        g_ptr_array_add(steps, step);
        if (!read_step(self, g_ptr_array_index(list->items, i), step, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_stage(const Reader *self, const CxYamlNode *node, CxStage *stage, GError **error)
{
    if (!check_shape(self, node, &stage_shape, error))
        return FALSE;

    stage->place = node->place;
    return read_texts(self, node, cx_stage_texts, CX_STAGE_TEXTS, stage, error) &&
           read_boolean(self, node, "transient", &stage->transient, error) &&
           read_steps(self, node, stage->steps, error);
}

static gboolean
read_recipe(const Reader *self, const CxYamlNode *root, CxRecipe *recipe, GError **error)
{
    const CxYamlNode *list = NULL;
    CxPlace place;

    if (!peek_list(self, root, "stages", &list, error))
        return FALSE;

    for (guint i = 0; list != NULL && i < list->items->len; i++) {
        CxStage *stage = cx_stage_new();

        g_ptr_array_add(recipe->stages, stage);
        if (!read_stage(self, g_ptr_array_index(list->items, i), stage, error))
            return FALSE;
    }

    if (cx_recipe_check(recipe, &place, error))
        return TRUE;
    if (place.line == 0)
        place = list != NULL ? list->key_place : root->place;
    return locate(self, place, error);
}

/* ---- the manifest ---- */

static gboolean
read_version(const Reader *self, const CxYamlNode *root, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(root, "version");
    g_autofree char *quoted = NULL;

    if (node == NULL || (node->plain && strcmp(node->text, "0") == 0))
        return TRUE;
    if (node->kind != CX_YAML_SCALAR)
        return expect(self, node, "the number 0", error);

    quoted = cx_quote(node->text);
    cx_throw(error, CX_ERROR_UNSUPPORTED,
             "unsupported manifest version %s (this program reads version 0)", quoted);
    return locate(self, node->place, error);
}

static gboolean
check_type(const char *type, GError **error)
{
    g_autofree char *quoted = NULL, *hint = NULL;

    if (type == NULL)
        return cx_throw(error, CX_ERROR_INVALID,
                        "missing resource type (runtime, service or machine)");
    if (g_strv_contains(built_types, type))
        return TRUE;
    if (g_strv_contains(other_types, type))
        return cx_throw(
            error, CX_ERROR_UNSUPPORTED,
            "resources of type \"%s\" are not built here (runtime, service and machine are)", type);

    quoted = cx_quote(type);
    hint = suggest(type, built_types);
    return cx_throw(error, CX_ERROR_INVALID, "invalid resource type %s%s", quoted, hint);
}

static gboolean
read_resource(Reader *self, const CxYamlNode *root, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(root, "resource"), *type;
    CxManifestFile *manifest = self->manifest;

    if (node == NULL) {
        cx_throw(error, CX_ERROR_INVALID, "missing resource (type and name)");
        return locate(self, root->place, error);
    }
    if (!check_shape(self, node, &resource_shape, error) ||
        !read_text(self, node, "type", &manifest->type, error) ||
        !read_text(self, node, "name", &manifest->name, error) ||
        !read_text(self, node, "version", &manifest->version, error))
        return FALSE;

    type = cx_yaml_node_peek(node, "type");
    self->type_place = type != NULL ? type->place : node->place;
    if (!check_type(manifest->type, error))
        return locate(self, self->type_place, error);
    if (manifest->name == NULL) {
        cx_throw(error, CX_ERROR_INVALID, "missing resource name");
        return locate(self, node->place, error);
    }
    if (manifest->version == NULL)
        manifest->version = g_strdup("");
    return TRUE;
}

/* The words of a list of scalars; NULL when there are none. */
static gboolean
read_words(
    const Reader *self, const CxYamlNode *root, const char *key, GStrv *out_words, GError **error)
{
    const CxYamlNode *node = cx_yaml_node_peek(root, key);
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();

    if (node == NULL)
        return TRUE;
    if (node->kind != CX_YAML_LIST)
        return expect(self, node, "a list of strings ([/app/server, --flag])", error);

    for (guint i = 0; i < node->items->len; i++) {
        const CxYamlNode *word = g_ptr_array_index(node->items, i);

        if (word->kind != CX_YAML_SCALAR || (i == 0 && word->text[0] == '\0'))
            return expect(self, word, i == 0 ? "a program" : "a string", error);
        g_strv_builder_add(words, word->text);
    }
    if (node->items->len > 0)
        *out_words = g_strv_builder_end(words);
    return TRUE;
}

static gboolean
read_entrypoint(const Reader *self, const CxYamlNode *root, GError **error)
{
    CxManifestFile *manifest = self->manifest;
    gboolean is_service = strcmp(manifest->type, "service") == 0;

    if (!read_words(self, root, "entrypoint", &manifest->entrypoint, error))
        return FALSE;
    if (is_service && manifest->entrypoint == NULL) {
        cx_throw(error, CX_ERROR_INVALID, "service missing entrypoint");
        return locate(self, self->type_place, error);
    }
    if (!is_service && manifest->entrypoint != NULL) {
        cx_throw(error, CX_ERROR_INVALID, "entrypoint is for services only (this is a %s)",
                 manifest->type);
        return locate(self, cx_yaml_node_peek(root, "entrypoint")->key_place, error);
    }
    return TRUE;
}

/* Version and type first: they decide whether the rest means anything to us. */
static gboolean
read_manifest(Reader *self, const CxYamlNode *root, GError **error)
{
    if (root->kind != CX_YAML_MAP)
        return expect(self, root, "keys and values", error);

    return read_version(self, root, error) && read_resource(self, root, error) &&
           check_shape(self, root, &manifest_shape, error) && read_entrypoint(self, root, error) &&
           read_recipe(self, root, self->manifest->recipe, error);
}

CxManifestFile *
cx_manifest_file_parse(const char *file_name, const char *text, gsize size, GError **error)
{
    g_autoptr(CxManifestFile) manifest = g_new0(CxManifestFile, 1);
    g_autofree char *shown_name = cx_one_line(file_name, CX_RECIPE_PATH_MAX);
    Reader reader = {.file_name = shown_name, .manifest = manifest};
    g_autoptr(CxYamlNode) root = NULL;
    CxPlace place = {1, 1};

    manifest->recipe = cx_recipe_new();
    if (size > CX_MANIFEST_MAX) {
        cx_throw(error, CX_ERROR_LIMIT, "the file is larger than %d bytes", CX_MANIFEST_MAX);
        locate(&reader, place, error);
        return NULL;
    }

    root = cx_yaml_parse(text, size, &place, error);
    if (root == NULL) {
        locate(&reader, place, error);
        return NULL;
    }
    if (!read_manifest(&reader, root, error))
        return NULL;

    return g_steal_pointer(&manifest);
}
