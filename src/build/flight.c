/* SPDX-License-Identifier: Apache-2.0 */
#include "build/flight.h"

#include "base/error.h"

struct CxFlights {
    GMutex lock;
    GHashTable *by_key; /* (CxDigest inside the flight) -> (borrowed CxFlight); under lock */
    GThreadPool *pool;  /* (owned) */
};

/* Theory.  A flight is referenced by the table while it can be joined, by the pool until it has
 * run, and by each ticket.  `lock` guards tickets and ended; listeners are called under it, which
 * is what makes "no call after leave" true. */
struct CxFlight {
    gatomicrefcount refs;
    CxFlights *flights;
    CxDigest key;
    CxFlightRun run;
    gpointer job; /* (owned) */
    GDestroyNotify free_job;
    CxCancel *cancellable; /* (owned) */
    GMutex lock;
    GCond ended_cond;
    GPtrArray *tickets; /* (owned) of borrowed CxTicket */
    gboolean started;
    gboolean ended;
};

struct CxTicket {
    CxFlight *flight; /* (owned) */
    CxFlightListener listener;
};

void
cx_outcome_clear(CxOutcome *self)
{
    g_clear_pointer(&self->state, cx_state_unref);
    g_clear_pointer(&self->why, g_free);
}

static void
flight_unref(CxFlight *self)
{
    if (!g_atomic_ref_count_dec(&self->refs))
        return;

    self->free_job(self->job);
    g_ptr_array_unref(self->tickets);
    cx_cancel_unref(self->cancellable);
    g_cond_clear(&self->ended_cond);
    g_mutex_clear(&self->lock);
    g_free(self);
}

static CxFlight *
flight_ref(CxFlight *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

/* Nobody may join any more. */
static void
flight_unlist(CxFlight *self)
{
    g_mutex_lock(&self->flights->lock);
    if (g_hash_table_lookup(self->flights->by_key, &self->key) == self)
        g_hash_table_remove(self->flights->by_key, &self->key);
    g_mutex_unlock(&self->flights->lock);
}

static void
fly(gpointer data, gpointer unused)
{
    CxFlight *self = data;
    g_auto(CxOutcome) outcome = {NULL, FALSE, NULL};
    g_autoptr(GError) error = NULL;

    g_mutex_lock(&self->lock);
    self->started = TRUE;
    g_mutex_unlock(&self->lock);
    if (!cx_check_cancelled(self->cancellable, &error))
        (void)self->run(self->job, self, &outcome, self->cancellable, &error);
    flight_unlist(self);

    g_mutex_lock(&self->lock);
    self->ended = TRUE;
    for (guint i = 0; i < self->tickets->len; i++) {
        CxTicket *ticket = g_ptr_array_index(self->tickets, i);

        ticket->listener.done(ticket->listener.user, error == NULL ? &outcome : NULL, error);
    }
    g_cond_broadcast(&self->ended_cond);
    g_mutex_unlock(&self->lock);
    flight_unref(self);
}

CxFlights *
cx_flights_new(guint parallel)
{
    CxFlights *self = g_new0(CxFlights, 1);

    g_mutex_init(&self->lock);
    self->by_key = g_hash_table_new(cx_digest_hash, cx_digest_equal_keys);
    self->pool = g_thread_pool_new(fly, NULL, (gint)parallel, FALSE, NULL);
    return self;
}

void
cx_flights_free(CxFlights *self)
{
    if (self == NULL)
        return;

    g_thread_pool_free(self->pool, FALSE, TRUE);
    g_hash_table_unref(self->by_key);
    g_mutex_clear(&self->lock);
    g_free(self);
}

static CxFlight *
flight_new(CxFlights *flights,
           const CxDigest *key,
           CxFlightRun run,
           gpointer take_job,
           GDestroyNotify free_job)
{
    CxFlight *self = g_new0(CxFlight, 1);

    g_atomic_ref_count_init(&self->refs);
    self->flights = flights;
    self->key = *key;
    self->run = run;
    self->job = take_job;
    self->free_job = free_job;
    self->cancellable = cx_cancel_new();
    self->tickets = g_ptr_array_new();
    g_mutex_init(&self->lock);
    g_cond_init(&self->ended_cond);
    return self;
}

/* Joins unless the flight has ended or was given up. */
static gboolean
flight_admit(CxFlight *self, CxTicket *ticket)
{
    gboolean open;

    g_mutex_lock(&self->lock);
    open = !self->ended && !cx_cancel_is_triggered(self->cancellable);
    if (open)
        g_ptr_array_add(self->tickets, ticket);
    g_mutex_unlock(&self->lock);
    return open;
}

CxTicket *
cx_flights_join(CxFlights *self,
                const CxDigest *key,
                CxFlightRun run,
                gpointer take_job,
                GDestroyNotify free_job,
                const CxFlightListener *listener)
{
    CxTicket *ticket = g_new0(CxTicket, 1);
    CxFlight *flight;

    ticket->listener = *listener;
    g_mutex_lock(&self->lock);
    flight = g_hash_table_lookup(self->by_key, key);
    if (flight != NULL && flight_admit(flight, ticket)) {
        ticket->flight = flight_ref(flight);
        g_mutex_unlock(&self->lock);
        free_job(take_job);
        return ticket;
    }

    flight = flight_new(self, key, run, take_job, free_job);
    ticket->flight = flight_ref(flight);
    g_ptr_array_add(flight->tickets, ticket);
    g_hash_table_replace(self->by_key, &flight->key, flight);
    (void)g_thread_pool_push(self->pool, flight, NULL);
    g_mutex_unlock(&self->lock);
    return ticket;
}

void
cx_ticket_leave(CxTicket *self)
{
    CxFlight *flight;

    if (self == NULL)
        return;

    flight = self->flight;
    g_mutex_lock(&flight->lock);
    g_ptr_array_remove_fast(flight->tickets, self);
    if (flight->tickets->len == 0 && !flight->ended) {
        cx_cancel_trigger(flight->cancellable);
        while (flight->started && !flight->ended)
            g_cond_wait(&flight->ended_cond, &flight->lock);
    }
    g_mutex_unlock(&flight->lock);
    flight_unref(flight);
    g_free(self);
}

void
cx_flight_log(CxFlight *self, const char *data, gsize size, gboolean is_stderr)
{
    g_mutex_lock(&self->lock);
    for (guint i = 0; i < self->tickets->len; i++) {
        CxTicket *ticket = g_ptr_array_index(self->tickets, i);

        ticket->listener.log(ticket->listener.user, data, size, is_stderr);
    }
    g_mutex_unlock(&self->lock);
}
