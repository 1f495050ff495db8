/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cancel.h"
#include "runtime/keeper.h"

G_BEGIN_DECLS

/* Carries what a step prints to its log file and to whoever listens, until the step has ended.
 * Memory is flat however much it prints; the last bytes of each stream are kept for the error
 * message. */
typedef struct CxPump CxPump;

#define CX_PUMP_TAIL 2048 /* bytes of each stream that are remembered */

typedef void (*CxPumpListener)(gpointer user, const char *data, gsize size, gboolean is_stderr);

/* log_dir_fd/log_name is made when the first byte comes: a silent step leaves no file. */
CxPump *cx_pump_new(
    int log_dir_fd, const char *log_name, CxPumpListener listener, gpointer user, GError **error);
void cx_pump_free(CxPump *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxPump, cx_pump_free)

/* The ends for the step's stdout and stderr; close_writers once the step has them. */
int cx_pump_get_writer(const CxPump *self, gboolean is_stderr);
void cx_pump_close_writers(CxPump *self);

/* Runs until process has ended and its output is drained; on cancel the process is killed.  A log
 * that cannot be written (full disk) stops growing and is said in the error tail; the step goes on.
 */
gboolean cx_pump_run(CxPump *self, CxStepProcess *process, CxCancel *cancellable, GError **error);

gboolean cx_pump_has_log(const CxPump *self);
/* The last lines of stderr, or of stdout when stderr was silent, as one line of valid UTF-8; ""
 * when both were.  (transfer full) */
char *cx_pump_dup_tail(const CxPump *self);

G_END_DECLS
