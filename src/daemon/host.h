/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "build/engine.h"
#include "daemon/daemon.h"

G_BEGIN_DECLS

/* What a daemon stands on: private mount namespace, runtime, keeper, cgroups, store and engine,
 * opened in the one order that works (the keeper is forked before there are threads) and closed in
 * reverse. */
typedef struct {
    char *folder;        /* (owned) of the instance */
    CxRuntime *runtime;  /* (owned) NULL: none works */
    char *no_runtime;    /* (owned) why */
    GStrv runtime_lines; /* (owned) for doctor */
    CxKeeper *keeper;    /* (owned) */
    CxCgroups *cgroups;  /* (owned) */
    CxStore *store;      /* (owned) */
    CxEngine *engine;    /* (owned) */
} CxHost;

gboolean cx_host_open(CxHost *self, const CxDaemonOptions *options, GError **error);
void cx_host_close(CxHost *self, gboolean sync);

/* What works here and what does not, one line each; *out_healthy tells whether a build with run
 * steps would work. */
GStrv cx_host_explain(CxHost *self, gboolean *out_healthy);

G_END_DECLS
