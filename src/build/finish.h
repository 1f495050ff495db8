/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "build/solver.h"

G_BEGIN_DECLS

/* Makes the image of one platform out of a solved graph: the base with one new layer, its config
 * and manifest, in the store under its name and, if asked for, as image.tar in the output folder
 * (written beside it and renamed, with the rights of the user; left alone when it is already this
 * very image). */
CxBuiltImage *cx_finish_image(CxEngine *engine,
                              const CxPlan *plan,
                              const CxBuildRequest *request,
                              const CxSolution *solution,
                              GCancellable *cancellable,
                              GError **error);

G_END_DECLS
