/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "layer/tree.h"
#include "oci/image.h"
#include "store/store.h"

G_BEGIN_DECLS

/* What a vertex gives: a base image and what was put on it so far, as a stack of lowers. Immutable,
 * shared, and it keeps a lease on everything it is made of.
 *
 * `identity` stands for the content in the keys of later steps.  Of a copy it is made from the diff
 * id (so a copy that was done again and gave the same bytes changes nothing after it), of a run
 * from the random id of its upper (so what follows a step that really ran anew runs anew). */
typedef struct CxState CxState;

CxState *cx_state_new_from_image(CxStore *store,
                                 CxLease *lease, /* takes a reference; holds the image's objects */
                                 const CxDigest *manifest_digest,
                                 CxManifest *take_manifest,
                                 CxImageConfig *take_config);
/* input with one more lower on top. */
CxState *cx_state_new_with_lower(CxState *input,
                                 CxLease *lease,
                                 const CxLower *lower,
                                 const CxDigest *content);
CxState *cx_state_ref(CxState *self);
void cx_state_unref(CxState *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxState, cx_state_unref)

const CxDigest *cx_state_get_identity(const CxState *self);
const CxImageConfig *cx_state_get_config(const CxState *self); /* of the base image */
const CxManifest *cx_state_get_manifest(const CxState *self);  /* of the base image */
const CxDigest *cx_state_get_manifest_digest(const CxState *self);
const CxLower *cx_state_get_lowers(const CxState *self, guint *out_n);
guint cx_state_get_n_base(const CxState *self); /* how many of them are the base image's */
/* The key of what was put on the base: what a flattened layer depends on. */
CxDigest cx_state_changes_key(const CxState *self, guint first_lower);

/* The merged metadata of the lowers [0, n). */
CxTree *cx_state_make_tree(const CxState *self, guint n, GError **error);

/* The image's working directory with the step's on top: absolute and clean. */
char *cx_state_join_workdir(const CxState *self, const char *workdir);

/* A state whose stack is short enough to be mounted: long runs of uppers are merged into one layer
 * (and remembered). */
CxState *cx_state_compact(CxState *self, CxCancel *cancellable, GError **error);

/* Merges the lowers from first_lower on into one layer.  *out_empty: they change nothing, and no
 * layer was made.  Remembered by the changes' key and mtime. */
gboolean cx_state_flatten(CxState *self,
                          guint first_lower,
                          gint64 mtime,
                          CxLease *lease,
                          CxDigest *out_diff_id,
                          gboolean *out_empty,
                          CxCancel *cancellable,
                          GError **error);

G_END_DECLS
