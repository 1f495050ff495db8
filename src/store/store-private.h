/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

struct CxStore {
    char *path;                 /* (owned) */
    int root_fd;                /* owned */
    int lock_fd;                /* owned; locked while we own the root */
    int tmp_fd;                 /* owned */
    int logs_fd;                /* owned */
    CxMeta *meta;               /* (owned) */
    CxBlobStore *blobs;         /* (owned) */
    CxLayerStore *layers;       /* (owned) */
    CxSnapshotter *snapshotter; /* (owned) */
    guint64 cache_bytes;

    /* Readers publish or recall; the writer removes one object.  So "is it held?" and "remove it"
     * are one step. */
    GRWLock publication;
    GMutex lease_lock;
    GHashTable *leases; /* (owned char *) object text -> count as pointer; under lease_lock */
};

/* Whether any lease holds the object. */
gboolean cx_store_is_leased(CxStore *self, const CxObject *object);
/* Whether the object's bytes are there. */
gboolean cx_store_has_object(CxStore *self, const CxObject *object);
