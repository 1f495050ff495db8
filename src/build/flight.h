/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "build/state.h"

G_BEGIN_DECLS

/* One execution for equal vertices of whatever builds: a flight has a key, runs once on the
 * engine's pool, and serves all who have joined it.  It is cancelled when the last of them has
 * left, so cancelling one build never stops work that another wants. */
typedef struct CxFlights CxFlights; /* the table and its pool */
typedef struct CxFlight CxFlight;
typedef struct CxTicket CxTicket; /* one build's interest in one flight */

typedef struct {
    CxState *state; /* (owned) */
    gboolean cached;
    char *why; /* (owned) for --explain: more than the key alone tells; NULL: nothing */
} CxOutcome;

void cx_outcome_clear(CxOutcome *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxOutcome, cx_outcome_clear)

/* The work.  Runs on a thread of the pool. */
typedef gboolean (*CxFlightRun)(
    gpointer job, CxFlight *flight, CxOutcome *out_outcome, CxCancel *cancellable, GError **error);

typedef struct {
    void (*log)(gpointer user, const char *data, gsize size, gboolean is_stderr);
    /* Called once unless the ticket has left before.  outcome is borrowed and NULL when error is
     * set. */
    void (*done)(gpointer user, const CxOutcome *outcome, const GError *error);
    gpointer user;
} CxFlightListener;

CxFlights *cx_flights_new(guint parallel);
void cx_flights_free(CxFlights *self);

/* Joins the flight of key, or starts it with job, which then belongs to it; a job not needed is
 * freed at once. */
CxTicket *cx_flights_join(CxFlights *self,
                          const CxDigest *key,
                          CxFlightRun run,
                          gpointer take_job,
                          GDestroyNotify free_job,
                          const CxFlightListener *listener);
/* Gives up the interest.  If nobody else has any, the flight is cancelled and this waits until it
 * has ended.  No listener call is made after it returns. */
void cx_ticket_leave(CxTicket *self);

/* What the step printed, to everybody who has joined. */
void cx_flight_log(CxFlight *self, const char *data, gsize size, gboolean is_stderr);

G_END_DECLS
