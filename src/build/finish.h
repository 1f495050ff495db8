/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "build/solver.h"

G_BEGIN_DECLS

/* The image of one platform out of a solved graph: the base with one new layer, its config and
 * manifest.  Made in parts, so that a build for several platforms shows all of its results or
 * none. */
typedef struct CxFinish CxFinish;

/* Makes layer and documents, and, if an output folder was asked for, the whole image.tar as a file
 * without a name (with the rights of the user; not when the one in place is already this very
 * image). */
CxFinish *cx_finish_prepare(CxEngine *engine,
                            CxPlan *plan,
                            const CxBuildRequest *request,
                            const CxSolution *solution,
                            CxCancel *cancellable,
                            GError **error);
/* Gives the image its name in the store. */
gboolean cx_finish_name(CxFinish *self, GError **error);
/* Gives image.tar its place: the last thing of all, so that a build that failed shows none. */
CxBuiltImage *cx_finish_publish(CxFinish *self, GError **error);
void cx_finish_free(CxFinish *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxFinish, cx_finish_free)

G_END_DECLS
