/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store-private.h"

struct CxLease {
    gatomicrefcount refs;
    CxStore *store;
    GMutex lock;
    GPtrArray *held; /* (owned) of owned char *: object texts, each counted in store->leases */
};

CxLease *
cx_lease_new(CxStore *store)
{
    CxLease *self = g_new0(CxLease, 1);

    g_atomic_ref_count_init(&self->refs);
    g_mutex_init(&self->lock);
    self->store = store;
    self->held = g_ptr_array_new_with_free_func(g_free);
    return self;
}

CxLease *
cx_lease_ref(CxLease *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

static void
change_count(CxStore *store, const char *text, int by)
{
    int count = GPOINTER_TO_INT(g_hash_table_lookup(store->leases, text)) + by;

    if (count > 0)
        g_hash_table_insert(store->leases, g_strdup(text), GINT_TO_POINTER(count));
    else
        g_hash_table_remove(store->leases, text);
}

void
cx_lease_hold(CxLease *self, const CxObject *object)
{
    CxObjectText text = cx_object_text(object);

    g_mutex_lock(&self->store->lease_lock);
    change_count(self->store, text.text, 1);
    g_mutex_unlock(&self->store->lease_lock);

    g_mutex_lock(&self->lock);
    g_ptr_array_add(self->held, g_strdup(text.text));
    g_mutex_unlock(&self->lock);
}

void
cx_lease_unref(CxLease *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
        return;

    g_mutex_lock(&self->store->lease_lock);
    for (guint i = 0; i < self->held->len; i++)
        change_count(self->store, g_ptr_array_index(self->held, i), -1);
    g_mutex_unlock(&self->store->lease_lock);

    g_ptr_array_unref(self->held);
    g_mutex_clear(&self->lock);
    g_free(self);
}

gboolean
cx_store_is_leased(CxStore *self, const CxObject *object)
{
    CxObjectText text = cx_object_text(object);
    gboolean leased;

    g_mutex_lock(&self->lease_lock);
    leased = g_hash_table_contains(self->leases, text.text);
    g_mutex_unlock(&self->lease_lock);
    return leased;
}
