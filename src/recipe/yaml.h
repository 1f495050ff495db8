/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "recipe/recipe.h"

G_BEGIN_DECLS

/* The adapter of libfyaml: one YAML 1.2 document as a tree in which everything knows its place.
 * What makes YAML surprising or expensive is refused: anchors, aliases, tags, merge keys, a second
 * document, duplicate keys, keys that are no scalars.  Scalars keep their text ("1.20" stays
 * "1.20"); what they mean is the reader's business. */
#define CX_YAML_DEPTH_MAX 32
#define CX_YAML_NODES_MAX 200000

typedef enum {
    CX_YAML_SCALAR,
    CX_YAML_LIST,
    CX_YAML_MAP,
} CxYamlKind;

typedef struct CxYamlNode CxYamlNode;
struct CxYamlNode {
    CxYamlKind kind;
    CxPlace place;

    char *text;     /* (owned) scalar: valid UTF-8 */
    gboolean plain; /* scalar: not quoted, not a block; only such a one can be null, a number or a
                       boolean */

    GPtrArray *items; /* (owned) of owned CxYamlNode; list and map */

    char *key; /* (owned) the node is a member of a map */
    CxPlace key_place;
};

void cx_yaml_node_free(CxYamlNode *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxYamlNode, cx_yaml_node_free)

/* The root, or NULL and where in *out_place.  The error's text is one line without the place. */
CxYamlNode *cx_yaml_parse(const char *text, gsize size, CxPlace *out_place, GError **error);

/* Plain "", "~", "null". */
gboolean cx_yaml_node_is_null(const CxYamlNode *self);

/* A member of a map, or NULL if it is absent or null.  Borrowed. */
const CxYamlNode *cx_yaml_node_peek(const CxYamlNode *self, const char *key);

G_END_DECLS
