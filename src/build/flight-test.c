/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "build/flight.h"

/* What one test's flights do and count.  Threads meet on the condition; nothing sleeps. */
typedef struct {
    GMutex lock;
    GCond changed;
    int runs;
    int ended;
    int done;
    int failed;
    gboolean may_end;
    GString *log; /* (owned) */
} World;

static void
world_init(World *self)
{
    memset(self, 0, sizeof *self);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->log = g_string_new(NULL);
}

static void
world_clear(World *self)
{
    g_string_free(self->log, TRUE);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
}

static void
bump(World *self, int *counter)
{
    g_mutex_lock(&self->lock);
    (*counter)++;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

static void
wait_until(World *self, const int *counter, int value)
{
    g_mutex_lock(&self->lock);
    while (*counter < value)
        g_cond_wait(&self->changed, &self->lock);
    g_mutex_unlock(&self->lock);
}

static void
wake(gpointer user)
{
    World *world = user;

    g_mutex_lock(&world->lock);
    g_cond_broadcast(&world->changed);
    g_mutex_unlock(&world->lock);
}

/* Runs until it may end or is cancelled. */
static gboolean
run(gpointer job, CxFlight *flight, CxOutcome *out, CxCancel *cancellable, GError **error)
{
    World *world = job;
    guint handler = cx_cancel_connect(cancellable, wake, world);

    cx_flight_log(flight, "hello", 5, FALSE);
    bump(world, &world->runs);
    g_mutex_lock(&world->lock);
    while (!world->may_end && !cx_cancel_is_triggered(cancellable))
        g_cond_wait(&world->changed, &world->lock);
    g_mutex_unlock(&world->lock);
    cx_cancel_disconnect(cancellable, handler);
    bump(world, &world->ended);
    return !cx_check_cancelled(cancellable, error);
}

static void
on_log(gpointer user, const char *data, gsize size, gboolean is_stderr)
{
    g_string_append_len(((World *)user)->log, data, (gssize)size);
}

static void
on_done(gpointer user, const CxOutcome *outcome, const GError *error)
{
    World *world = user;

    bump(world, error == NULL ? &world->done : &world->failed);
}

/* The job is the world itself: freeing it must do nothing. */
static void
free_nothing(gpointer job)
{
}

static CxTicket *
join(CxFlights *flights, World *world, const char *name)
{
    CxFlightListener listener = {on_log, on_done, world};
    CxDigest key = cx_digest_of(name, strlen(name));

    return cx_flights_join(flights, &key, run, world, free_nothing, &listener);
}

static void
allow_end(World *world)
{
    g_mutex_lock(&world->lock);
    world->may_end = TRUE;
    g_cond_broadcast(&world->changed);
    g_mutex_unlock(&world->lock);
}

static void
test_equal_keys_run_once(void)
{
    CxFlights *flights = cx_flights_new(4);
    World world;
    CxTicket *a, *b;

    world_init(&world);
    a = join(flights, &world, "same");
    wait_until(&world, &world.runs, 1);
    b = join(flights, &world, "same");
    allow_end(&world);
    wait_until(&world, &world.done, 2);
    g_assert_cmpint(world.runs, ==, 1);

    cx_ticket_leave(a);
    cx_ticket_leave(b);
    cx_flights_free(flights);
    world_clear(&world);
}

static void
test_other_keys_run_beside(void)
{
    CxFlights *flights = cx_flights_new(4);
    World world;
    CxTicket *a, *b;

    world_init(&world);
    a = join(flights, &world, "one");
    b = join(flights, &world, "two");
    wait_until(&world, &world.runs, 2); /* both are in the air at once */
    allow_end(&world);
    wait_until(&world, &world.done, 2);

    cx_ticket_leave(a);
    cx_ticket_leave(b);
    cx_flights_free(flights);
    world_clear(&world);
}

static void
test_leaving_does_not_stop_others(void)
{
    CxFlights *flights = cx_flights_new(4);
    World world;
    CxTicket *a, *b;

    world_init(&world);
    a = join(flights, &world, "same");
    b = join(flights, &world, "same");
    wait_until(&world, &world.runs, 1);
    cx_ticket_leave(a);
    g_assert_cmpint(world.ended, ==, 0);
    allow_end(&world);
    wait_until(&world, &world.done, 1);
    g_assert_cmpint(world.failed, ==, 0);

    cx_ticket_leave(b);
    cx_flights_free(flights);
    world_clear(&world);
}

static void
test_last_to_leave_cancels_and_waits(void)
{
    CxFlights *flights = cx_flights_new(4);
    World world;
    CxTicket *a;

    world_init(&world);
    a = join(flights, &world, "same");
    wait_until(&world, &world.runs, 1);
    cx_ticket_leave(a);
    g_assert_cmpint(world.ended, ==, 1); /* it has ended, not merely been told */
    g_assert_cmpint(world.done + world.failed, ==, 0);

    cx_flights_free(flights);
    world_clear(&world);
}

static void
test_joining_a_cancelled_one_starts_anew(void)
{
    CxFlights *flights = cx_flights_new(4);
    World world;
    CxTicket *a, *b;

    world_init(&world);
    a = join(flights, &world, "same");
    wait_until(&world, &world.runs, 1);
    cx_ticket_leave(a);
    b = join(flights, &world, "same");
    allow_end(&world);
    wait_until(&world, &world.done, 1);
    g_assert_cmpint(world.runs, ==, 2);

    cx_ticket_leave(b);
    cx_flights_free(flights);
    world_clear(&world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/flight/once", test_equal_keys_run_once);
    g_test_add_func("/flight/beside", test_other_keys_run_beside);
    g_test_add_func("/flight/leave-one", test_leaving_does_not_stop_others);
    g_test_add_func("/flight/leave-all", test_last_to_leave_cancels_and_waits);
    g_test_add_func("/flight/again", test_joining_a_cancelled_one_starts_anew);
    return g_test_run();
}
