/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "recipe/recipe.h"

G_BEGIN_DECLS

/* What a front end makes: operations and the states they work on, for one platform.  Nothing below
 * knows whether a recipe or a Dockerfile was behind it.  Immutable once made.
 *
 *     stage "builder"                          stage 2 (output)
 *     source ◄─input─ run ◄─input─ run         source ◄─input─ copy ◄─input─ run
 *                                   ▲───────────from────────────┘
 *
 * Vertices are in an order in which every input stands before its user.  A vertex takes the file
 * system state of `input` and gives a new one; `from` is a second input that a copy reads. */
typedef enum {
    CX_OP_SOURCE, /* the base image; no input */
    CX_OP_RUN,
    CX_OP_COPY,
    CX_N_OPS
} CxOp;

#define CX_NO_VERTEX G_MAXUINT
#define CX_GRAPH_ENV_MAX (16 * 1024 * 1024) /* bytes of environment in all vertices together */

typedef struct {
    CxOp op;
    guint input; /* CX_NO_VERTEX for a source */
    guint from;  /* copy from a stage: its last vertex; else CX_NO_VERTEX */

    CxFromKind source_kind; /* source: never CX_FROM_REF */
    char *source; /* (owned) source: image or path; copy: path in the context or in the stage */

    char *shell;   /* (owned) run */
    char *command; /* (owned) run */
    char *dest;    /* (owned) copy: as written, relative to workdir */
    GStrv env; /* (owned) run: what state and step add to the image's, sorted by name; never NULL */
    char *workdir; /* (owned) run, copy: "" is the image's own; relative ones join the image's */

    /* Where it stands, for people. */
    guint stage; /* index into stages */
    guint step;  /* 1-based within the stage; 0 for the source */
    guint child; /* 1-based within the platform group that is the step; 0: not in a group */
    guint line;  /* in the source file; 0: unknown */
    char *title; /* (owned) one line: "run gcc -o app main.c", "copy src /app", "from file base.tar"
                  */
} CxVertex;

typedef struct {
    char *label; /* (owned) name, or 1-based index in the recipe as text */
    gboolean transient;
    guint result; /* last vertex */
    GStrv env; /* (owned) what the stage adds to the image's environment for good, sorted by name;
                  never NULL */
    char *workdir; /* (owned) what the image's working directory becomes; "" unchanged; may be
                      relative as above */
} CxGraphStage;

typedef struct {
    CxPlatform platform;
    GPtrArray *vertices; /* (owned) of owned CxVertex */
    GPtrArray *stages;   /* (owned) of owned CxGraphStage, those that the output needs */
    guint output;        /* index of the stage that is exported */
} CxGraph;

void cx_graph_free(CxGraph *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxGraph, cx_graph_free)

/* The graph of a checked recipe for one platform.  Platform groups and stages of other platforms
 * are left out; stages that the output does not need are left out as well.  Of an output stage for
 * every platform and one for just this, the latter is taken.  Each with its place,
 * CX_ERROR_INVALID: `unknown stage "x"` (it does not exist on this platform), `unresolved source
 * "…"`, no output stage for this platform; CX_ERROR_LIMIT: CX_GRAPH_ENV_MAX, CX_RECIPE_PATH_MAX. */
CxGraph *cx_recipe_to_graph(const CxRecipe *recipe, const CxPlatform *platform, GError **error);

G_END_DECLS
