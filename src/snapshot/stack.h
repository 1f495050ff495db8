/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/stat.h>

#include "snapshot/snapshotter-private.h"

G_BEGIN_DECLS

/* The folders that an overlay mount is made of, held in use while it lasts. */
typedef struct {
    CxSnapshotter *owner; /* borrowed */
    GArray *fds;    /* (owned) of int, from the bottom up; borrowed from views or owned in opened */
    GArray *opened; /* (owned) of int */
    GPtrArray *views; /* (owned) of CxView, acquired */
    GArray *uppers;   /* (owned) of guint64, counted as in use */
    struct stat root; /* mode and owner of the merged root */
} CxStack;

void cx_stack_clear(CxStack *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxStack, cx_stack_clear)

/* Brings in the lowers from the bottom up.  What lies beneath a layer whose root is opaque is left
 * out.  Where a layer has folders it does not describe, a folder that repeats what the layers below
 * say of them is laid over it, since overlayfs would show mode and owner of the topmost. */
gboolean cx_stack_init(
    CxStack *self, CxSnapshotter *owner, const CxLower *lowers, guint n_lowers, GError **error);

/* Puts fd (borrowed) beneath all others. */
void cx_stack_put_below(CxStack *self, int fd);

G_END_DECLS
