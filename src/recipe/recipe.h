/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/json.h"
#include "oci/platform.h"

G_BEGIN_DECLS

/* A recipe as its author wrote it (spec/daemon.md §5), checked.  Two readers make it, the manifest file crucible.yaml and the JSON of a
 * build request; one checker judges both in the seeds' words.  Pure: bytes in, object or error out. */
#define CX_RECIPE_STAGES_MAX 1000
#define CX_RECIPE_STEPS_MAX 10000
#define CX_MANIFEST_MAX (4 * 1024 * 1024) /* bytes of a crucible.yaml */

typedef struct CxStep CxStep;
struct CxStep {
    char *run;      /* (owned) NULL: none */
    char *copy;     /* (owned) NULL: none */
    char *shell;    /* (owned) NULL: inherited */
    GStrv env;      /* (owned) "NAME=value" in the order written; NULL: none */
    char *workdir;  /* (owned) NULL: inherited */
    char *platform; /* (owned) NULL: every platform */
    GPtrArray *steps; /* (owned) of owned CxStep: children of a platform group; never NULL */
    guint line;       /* in the source file; 0: unknown */
};

typedef struct {
    char *name; /* (owned) NULL: nameless */
    gboolean transient;
    char *platform; /* (owned) NULL: every platform */
    char *from;     /* (owned) */
    GPtrArray *steps; /* (owned) of owned CxStep */
    guint line;
} CxStage;

typedef struct {
    GPtrArray *stages; /* (owned) of owned CxStage */
} CxRecipe;

void cx_recipe_free(CxRecipe *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxRecipe, cx_recipe_free)

/* The build request's form: {"stages":[{"name","transient","platform","from","steps":[{"run","copy","shell","env":{},"workdir",
 * "platform","steps"}]}]}, keys in any case; "line" is an optional extension.  Already checked. */
CxRecipe *cx_recipe_from_json(const json_t *json, GError **error);
json_t *cx_recipe_to_json(const CxRecipe *self);

/* The rules of spec/daemon.md §5, each wrapped with its place:
 * invalid recipe: stage "x": invalid stage: step 3: invalid step: run and copy are mutually exclusive.
 * *out_line gets the source line of what is wrong (0: unknown). */
gboolean cx_recipe_check(const CxRecipe *self, guint *out_line, GError **error);

/* ---- the manifest file ---- */
typedef struct {
    char *type;    /* (owned) "runtime", "service", "machine" */
    char *name;    /* (owned) */
    char *version; /* (owned) "" when absent */
    GStrv entrypoint; /* (owned) NULL: none */
    CxRecipe *recipe; /* (owned) */
} CxManifestFile;

void cx_manifest_file_free(CxManifestFile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxManifestFile, cx_manifest_file_free)

/* Reads and checks crucible.yaml.  Errors start with "FILE:LINE:COLUMN: ".  YAML 1.2; anchors and aliases, duplicate keys, unknown keys and
 * wrong types are errors that say where. */
CxManifestFile *cx_manifest_file_parse(const char *file_name, const char *text, gsize size, GError **error);

/* ---- small parsers, with the vectors of the specification ---- */

typedef enum {
    CX_FROM_OCI,  /* oci X: a registry image */
    CX_FROM_FILE, /* file P: an archive or layout */
    CX_FROM_REF,  /* a Crucible reference, which a client resolves */
} CxFromKind;

gboolean cx_from_parse(const char *text, CxFromKind *out_kind, char **out_value, GError **error);

/* "src dest" -> its two tokens. */
gboolean cx_copy_parse(const char *text, char **out_source, char **out_dest, GError **error);
/* dest made absolute by workdir (NULL or "": none) and clean: "relative dest "…" requires workdir". */
char *cx_copy_dest(const char *dest, const char *workdir, GError **error);
/* "build:/app/bin" -> TRUE, "build", "/app/bin"; FALSE: a host path. */
gboolean cx_copy_parse_stage(const char *source, char **out_stage, char **out_path);

G_END_DECLS
