/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Structured log to stderr: one line a record, "level room: text key=value …", coloured on a
 * terminal.  Library code returns errors and does not log them; the edge logs.  Each .c file that
 * logs defines CX_LOG_ROOM first. Attributes are shown with -v only. */
typedef enum {
    CX_LOG_DEBUG,
    CX_LOG_INFO,
    CX_LOG_WARNING,
    CX_LOG_ERROR,
} CxLogLevel;

/* Set once by the main program, before threads. */
void cx_log_configure(CxLogLevel level, gboolean attributes);

void cx_log_record(CxLogLevel level,
                   const char *room,
                   const char *attributes,
                   const char *format,
                   ...) G_GNUC_PRINTF(4, 5);

/* Whether CX_DEBUG names this room ("CX_DEBUG=build,runtime"), which shows its debug records at any
 * level. */
gboolean cx_log_is_debugged(const char *room);

#define cx_debug(...) cx_log_record(CX_LOG_DEBUG, CX_LOG_ROOM, NULL, __VA_ARGS__)
#define cx_info(...) cx_log_record(CX_LOG_INFO, CX_LOG_ROOM, NULL, __VA_ARGS__)
#define cx_warning(...) cx_log_record(CX_LOG_WARNING, CX_LOG_ROOM, NULL, __VA_ARGS__)

G_END_DECLS
