/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/cancel.h"

G_BEGIN_DECLS

/* The one public error domain.  A code says what the caller can do; the text is for people: lower
 * case, no full stop, foreign strings quoted, the remedy in brackets if it is known.  On the wire
 * the code is sent as its name (cx_error_code_name). */
typedef enum {
    CX_ERROR_INTERNAL,     /* a fault of ours or of the machine */
    CX_ERROR_NOT_FOUND,    /* the thing named is not there */
    CX_ERROR_EXISTS,       /* the name is taken */
    CX_ERROR_INVALID,      /* the input is wrong; asking again does not help */
    CX_ERROR_DENIED,       /* the asking user may not do this */
    CX_ERROR_UNAUTHORIZED, /* credentials are missing or wrong */
    CX_ERROR_UNAVAILABLE,  /* something we need is not there now; asking again may help */
    CX_ERROR_MISMATCH,     /* bytes are not what their digest or size says */
    CX_ERROR_UNSUPPORTED,  /* understood, but not something this program or machine does */
    CX_ERROR_BUSY,         /* in use by somebody else */
    CX_ERROR_LIMIT,        /* a named limit is exceeded */
    CX_ERROR_NO_SPACE,     /* the disk or quota is full */
    CX_ERROR_EXIT_STATUS,  /* a program ended with a failure */
    CX_ERROR_TIMEOUT,      /* a deadline passed */
    CX_ERROR_CANCELLED,    /* the caller gave up */
    CX_N_ERRORS
} CxError;

#define CX_ERROR (cx_error_quark())
GQuark cx_error_quark(void);

/* The wire name of a code: "not-found".  Static. */
const char *cx_error_code_name(CxError code);

/* The code that an errno value stands for. */
CxError cx_error_from_errno(int errnum);

/* Whether error is of our domain and has this code.  NULL is no match. */
gboolean cx_error_is(const GError *error, CxError code);

/* Raise an error and yield the failure value of the caller's return type, so raising is one
 * statement: FALSE, NULL or -1.  The _errno forms take the code and the reason from errno ("TEXT:
 * No such file…"). */
gboolean cx_throw(GError **error, CxError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
gpointer cx_throw_null(GError **error, CxError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
int cx_throw_fd(GError **error, CxError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
gboolean cx_throw_errno(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
gpointer cx_throw_errno_null(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
int cx_throw_errno_fd(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

#ifdef __clang_analyzer__
/* What they return, for an analyzer that sees one file at a time. */
#define cx_throw(...) (cx_throw(__VA_ARGS__), FALSE)
#define cx_throw_null(...) (cx_throw_null(__VA_ARGS__), NULL)
#define cx_throw_fd(...) (cx_throw_fd(__VA_ARGS__), -1)
#define cx_throw_errno(...) (cx_throw_errno(__VA_ARGS__), FALSE)
#define cx_throw_errno_null(...) (cx_throw_errno_null(__VA_ARGS__), NULL)
#define cx_throw_errno_fd(...) (cx_throw_errno_fd(__VA_ARGS__), -1)
#endif

/* Whether the operation was cancelled; sets CX_ERROR_CANCELLED if so.  NULL is never cancelled. */
gboolean cx_check_cancelled(CxCancel *cancellable, GError **error);

/* Prefixes whatever error the rest of the scope raises with the noun only this level knows:
 *     CX_ERROR_CONTEXT(error, "layer %u of %u", i + 1, n);
 * The text is made at once, so do not put this into a hot loop. */
typedef struct {
    GError **error;
    char *prefix; /* (owned) */
} CxErrorContext;

CxErrorContext cx_error_context_begin(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
void cx_error_context_end(CxErrorContext *context);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxErrorContext, cx_error_context_end)

#define CX_ERROR_CONTEXT(error, ...)                                                               \
    g_auto(CxErrorContext) G_GNUC_UNUSED G_PASTE(cx_error_context_, __LINE__) =                    \
        cx_error_context_begin((error), __VA_ARGS__)

G_END_DECLS
