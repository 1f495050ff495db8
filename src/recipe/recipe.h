/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/json.h"
#include "oci/platform.h"

G_BEGIN_DECLS

/* A recipe as its author wrote it (spec/daemon.md §5), checked.  Two readers make it, the manifest
 * file crucible.yaml and the JSON of a build request; one checker judges both in the same words.
 * Pure: bytes in, object or error out.
 *
 * Strings that may be missing are NULL when missing and never empty: the wire form of other clients
 * writes "" for what is not there, so both readers take "" for nothing. */
#define CX_RECIPE_STAGES_MAX 1000
#define CX_RECIPE_STEPS_MAX 10000         /* in all stages together, children counted */
#define CX_RECIPE_PATH_MAX 4095           /* bytes of a workdir or shell */
#define CX_RECIPE_STAGE_NAME_MAX 64       /* bytes; names become part of container ids */
#define CX_MANIFEST_MAX (4 * 1024 * 1024) /* bytes of a crucible.yaml */

/* Where something stands in a source file, both counted from 1.  0: unknown. */
typedef struct {
    guint line;
    guint column;
} CxPlace;

typedef struct CxStep CxStep;
struct CxStep {
    char *run;        /* (owned) NULL: none */
    char *copy;       /* (owned) NULL: none */
    char *shell;      /* (owned) NULL: inherited */
    GStrv env;        /* (owned) "NAME=value" sorted by name; NULL: none */
    char *workdir;    /* (owned) NULL: inherited */
    char *platform;   /* (owned) NULL: every platform */
    GPtrArray *steps; /* (owned) of owned CxStep: children of a platform group; never NULL */
    CxPlace place;
};

typedef struct {
    char *name; /* (owned) NULL: nameless */
    gboolean transient;
    char *platform;   /* (owned) NULL: every platform */
    char *from;       /* (owned) NULL only before the check */
    GPtrArray *steps; /* (owned) of owned CxStep */
    CxPlace place;
} CxStage;

typedef struct {
    GPtrArray *stages; /* (owned) of owned CxStage */
} CxRecipe;

void cx_recipe_free(CxRecipe *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxRecipe, cx_recipe_free)

/* ---- the build request's form ---- */

/* {"stages":[{"name","transient","platform","from","steps":[{"run","copy","shell","env":{},"workdir","platform",
 * "steps"}]}]}, keys in any case; "line" in stages and steps is an optional extension.  The result
 * is checked. */
CxRecipe *cx_recipe_from_json(const json_t *json, GError **error);
json_t *cx_recipe_to_json(const CxRecipe *self);

/* ---- the rules ---- */

/* Judges by the rules of spec/daemon.md §5, each wrapped with its place:
 *     invalid recipe: stage "x": invalid stage: step 3: invalid step: run and copy are mutually
 * exclusive *out_place, if asked for, is where the wrong thing stands ({0, 0}: unknown), also set
 * on success. */
gboolean cx_recipe_check(const CxRecipe *self, CxPlace *out_place, GError **error);

/* A stage as messages name it: "name" in quotes, or its 1-based index.  (transfer full) */
char *cx_stage_label(const CxStage *self, guint index);

/* ---- the manifest file ---- */

typedef struct {
    char *type;       /* (owned) "runtime", "service", "machine" */
    char *name;       /* (owned) */
    char *version;    /* (owned) "" when absent */
    GStrv entrypoint; /* (owned) NULL: none */
    CxRecipe *recipe; /* (owned) */
} CxManifestFile;

void cx_manifest_file_free(CxManifestFile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxManifestFile, cx_manifest_file_free)

/* Reads and checks crucible.yaml.  Errors are one line and start with "FILE:LINE:COLUMN: ".
 * YAML 1.2; anchors and aliases, tags, merge keys, a second document, duplicate keys, unknown keys
 * and wrong types are errors that say where. */
CxManifestFile *cx_manifest_file_parse(const char *file_name,
                                       const char *text,
                                       gsize size,
                                       GError **error);

/* ---- the small languages in a recipe's strings ---- */

typedef enum {
    CX_FROM_OCI,  /* oci X: a registry image */
    CX_FROM_FILE, /* file P: an archive or layout */
    CX_FROM_REF,  /* a Crucible reference, which a client resolves */
} CxFromKind;

/* "oci alpine:3.21" -> CX_FROM_OCI, "alpine:3.21".  Tokens of a longer value are joined by one
 * space. */
gboolean cx_from_parse(const char *text, CxFromKind *out_kind, char **out_value, GError **error);

/* "src dest" -> its two tokens. */
gboolean cx_copy_parse(const char *text, char **out_source, char **out_dest, GError **error);

/* "build:/app/bin" -> TRUE, "build", "/app/bin"; FALSE: a host path. */
gboolean cx_copy_parse_stage(const char *source, char **out_stage, char **out_path);

/* dest made absolute by workdir (NULL or "": none) and clean: "relative dest "…" requires workdir".
 */
char *cx_copy_dest(const char *dest, const char *workdir, GError **error);

/* A workdir on top of another as WORKDIR does it: an absolute one replaces, a relative one joins.
 * The result is absolute and clean when either is absolute; two relative ones stay relative, to be
 * joined to the image's later.  base may be NULL or "".  (transfer full) */
char *cx_workdir_join(const char *base, const char *workdir);

G_END_DECLS
