/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "base/identity.h"
#include "layer/codec.h"
#include "recipe/graph.h"
#include "runtime/cgroup.h"
#include "runtime/keeper.h"
#include "store/store.h"

G_BEGIN_DECLS

/* The native engine: solves graphs on one store.  One for each daemon; any thread may build. */
typedef struct CxEngine CxEngine;

typedef struct {
    CxStore *store;     /* borrowed, as all of these; must outlive the engine */
    CxRuntime *runtime; /* NULL: none works here; a run step then fails with `no_runtime` */
    CxKeeper *keeper;   /* NULL with runtime */
    CxCgroups *cgroups;
    const char *no_runtime;  /* why there is none */
    const char *work_folder; /* absolute; bundles of running steps (on tmpfs, best) */
    CxLimits step_limits;    /* for each run step */
    guint parallel;          /* operations at once; 0: number of cores */
} CxEngineOptions;

CxEngine *cx_engine_new(const CxEngineOptions *options, GError **error);
void cx_engine_free(CxEngine *self); /* no build may be running */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxEngine, cx_engine_free)

/* ---- one build ------------------------------------------------------------------------------- */

typedef enum {
    CX_STEP_STARTED,
    CX_STEP_LOG,    /* data: what the step printed */
    CX_STEP_CACHED, /* ended: the result was known */
    CX_STEP_DONE,   /* ended */
    CX_STEP_FAILED, /* ended; text: why */
    CX_N_STEP_EVENTS
} CxStepEventType;

typedef struct {
    CxStepEventType type;
    const char *platform;  /* "linux/amd64" */
    const char *stage;     /* label */
    const char *container; /* "<resource>-<platform>-stage-<label>", for people and logs */
    guint step; /* 0: the base image; the last one of all is G_MAXUINT: writing the image */
    guint line;
    const char *title;
    gint64 duration;  /* microseconds, when ended */
    const char *text; /* failed: why; with explain: why not cached; else NULL */
    const char *data; /* log */
    gsize size;
    gboolean is_stderr;
} CxStepEvent;

/* Called from any thread, one call at a time for each build; may block (that slows the build down).
 */
typedef void (*CxStepObserver)(gpointer user, const CxStepEvent *event);

typedef enum {
    CX_BUILD_NO_CACHE = 1 << 1,
    CX_BUILD_EXPLAIN = 1 << 2,
    CX_BUILD_HOST_PATHS =
        1 << 3, /* sources may lie outside the root (the daemon's switch, never the client's) */
} CxBuildFlags;

/* Times in what a build writes when SOURCE_DATE_EPOCH says nothing: 1980-01-01, the first that
 * every archive format can say. */
#define CX_BUILD_EPOCH 315532800

typedef struct {
    const CxRecipe *recipe;
    const char *resource; /* "acme/api" */
    const char *image;    /* name in the store, "acme/api:1.2.0"; NULL: the resource alone */
    int root_fd;          /* project root, opened with the user's rights */
    const char *output;   /* absolute folder; NULL: into the store only */
    CxIdentity *identity; /* whose rights count for root and output */
    const char *const *entrypoint; /* NULL: none */
    const CxPlatform *platforms;
    guint n_platforms;
    CxCompression compression; /* of layers that this build makes */
    gint64 epoch;              /* seconds, see CX_BUILD_EPOCH */
    CxBuildFlags flags;
    CxStepObserver observer; /* may be NULL */
    gpointer user;
} CxBuildRequest;

typedef struct {
    CxPlatform platform;
    CxDigest manifest;
    guint layers;
    guint64 bytes;       /* of all blobs */
    char *path;          /* (owned) of image.tar, or NULL */
    guint steps, cached; /* operations in all, and how many were known */
} CxBuiltImage;

void cx_built_image_free(CxBuiltImage *self);

/* Builds every platform.  (element-type CxBuiltImage) or NULL.  Blocks.  When it returns after an
 * error or a cancel, nothing of it is left behind: no container, mount, process, temporary file or
 * image.tar. */
GPtrArray *cx_engine_build(CxEngine *self,
                           const CxBuildRequest *request,
                           CxCancel *cancellable,
                           GError **error);

G_END_DECLS
