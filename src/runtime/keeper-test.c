/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/driver-private.h"
#include "runtime/keeper.h"
#include "runtime/test-container.h"

/* Containers of real runtimes, through the keeper. */

static void
test_speed(gconstpointer data)
{
    g_autoptr(TestGround) ground = test_ground_new(data);
    const char *const args[] = {"/bin/true", NULL};
    g_autofree char *bundle = NULL;
    g_autoptr(GError) error = NULL;
    gint64 start, launch = 0, wait = 0, total;
    guint n = g_test_perf() ? 200 : 50;
    CxKeeper *keeper;

    if (ground == NULL) {
        g_test_skip("not installed");
        return;
    }
    bundle = test_ground_make_bundle(ground, "b", args, 0);
    keeper = cx_keeper_start(ground->runtime, &error);
    g_assert_no_error(error);
    start = g_get_monotonic_time();
    for (guint i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("s%u", i);
        CxCreate create = {
            .id = id, .bundle = bundle, .stdio = {-1, -1, -1}
        };
        gint64 t = g_get_monotonic_time();
        g_autoptr(CxStepProcess) step = cx_keeper_launch(keeper, &create, &error);
        CxExit end;

        g_assert_no_error(error);
        launch += g_get_monotonic_time() - t;
        cx_step_process_wait(step, &end, &error);
        g_assert_no_error(error);
        g_assert_cmpint(end.code, ==, 0);
        wait += g_get_monotonic_time() - t;
        cx_step_process_settle(step, &error);
        g_assert_no_error(error);
    }
    total = g_get_monotonic_time() - start;
    g_test_message("%s: request %.2f ms, until exit %.2f ms, until deleted %.2f ms",
                   (const char *)data, launch / 1e3 / n, wait / 1e3 / n, total / 1e3 / n);
    cx_keeper_stop(keeper);
}

int
main(int argc, char **argv)
{
    const char *why;

    g_test_init(&argc, &argv, NULL);
    if (!test_enter_sandbox(&why)) {
        g_print("1..0 # SKIP %s\n", why);
        return 0;
    }
    g_test_add_data_func("/keeper/speed/crun", "crun", test_speed);
    g_test_add_data_func("/keeper/speed/runc", "runc", test_speed);
    return g_test_run();
}
