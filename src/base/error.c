/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>

G_DEFINE_QUARK(cx_error, cx_error)

static const char *const code_names[] = {
    [CX_ERROR_INTERNAL] = "internal",
    [CX_ERROR_NOT_FOUND] = "not-found",
    [CX_ERROR_EXISTS] = "exists",
    [CX_ERROR_INVALID] = "invalid",
    [CX_ERROR_DENIED] = "denied",
    [CX_ERROR_UNAUTHORIZED] = "unauthorized",
    [CX_ERROR_UNAVAILABLE] = "unavailable",
    [CX_ERROR_MISMATCH] = "mismatch",
    [CX_ERROR_UNSUPPORTED] = "unsupported",
    [CX_ERROR_BUSY] = "busy",
    [CX_ERROR_LIMIT] = "limit",
    [CX_ERROR_NO_SPACE] = "no-space",
    [CX_ERROR_EXIT_STATUS] = "exit-status",
    [CX_ERROR_TIMEOUT] = "timeout",
    [CX_ERROR_CANCELLED] = "cancelled",
};
G_STATIC_ASSERT(G_N_ELEMENTS(code_names) == CX_N_ERRORS);

static const struct {
    int errnum;
    CxError code;
} errno_codes[] = {
    {ENOENT,       CX_ERROR_NOT_FOUND  },
    {ENOTDIR,      CX_ERROR_NOT_FOUND  },
    {ESRCH,        CX_ERROR_NOT_FOUND  },
    {EEXIST,       CX_ERROR_EXISTS     },
    {EACCES,       CX_ERROR_DENIED     },
    {EPERM,        CX_ERROR_DENIED     },
    {EROFS,        CX_ERROR_DENIED     },
    {EBUSY,        CX_ERROR_BUSY       },
    {ETXTBSY,      CX_ERROR_BUSY       },
    {ENOSPC,       CX_ERROR_NO_SPACE   },
    {EDQUOT,       CX_ERROR_NO_SPACE   },
    {EFBIG,        CX_ERROR_LIMIT      },
    {EMFILE,       CX_ERROR_LIMIT      },
    {ENFILE,       CX_ERROR_LIMIT      },
    {ENAMETOOLONG, CX_ERROR_LIMIT      },
    {ELOOP,        CX_ERROR_INVALID    },
    {EXDEV,        CX_ERROR_INVALID    },
    {EINVAL,       CX_ERROR_INVALID    },
    {ENOSYS,       CX_ERROR_UNSUPPORTED},
    {EOPNOTSUPP,   CX_ERROR_UNSUPPORTED},
    {ENODEV,       CX_ERROR_UNSUPPORTED},
    {ECONNREFUSED, CX_ERROR_UNAVAILABLE},
    {EPIPE,        CX_ERROR_UNAVAILABLE},
    {ECONNRESET,   CX_ERROR_UNAVAILABLE},
    {EAGAIN,       CX_ERROR_UNAVAILABLE},
    {ETIMEDOUT,    CX_ERROR_TIMEOUT    },
    {ECANCELED,    CX_ERROR_CANCELLED  },
};

const char *
cx_error_code_name(CxError code)
{
    g_return_val_if_fail((guint)code < CX_N_ERRORS, "internal");

    return code_names[code];
}

CxError
cx_error_from_errno(int errnum)
{
    for (gsize i = 0; i < G_N_ELEMENTS(errno_codes); i++)
        if (errno_codes[i].errnum == errnum)
            return errno_codes[i].code;

    return CX_ERROR_INTERNAL;
}

gboolean
cx_error_is(const GError *error, CxError code)
{
    return error != NULL && error->domain == CX_ERROR && error->code == (int)code;
}

static void
raise_text(GError **error, CxError code, const char *format, va_list args)
{
    g_autofree char *text = NULL;

    if (error == NULL)
        return;

    text = g_strdup_vprintf(format, args);
    g_set_error_literal(error, CX_ERROR, code, text);
}

static void
raise_errno(GError **error, int errnum, const char *format, va_list args)
{
    g_autofree char *text = NULL;

    if (error == NULL)
        return;

    text = g_strdup_vprintf(format, args);
    g_set_error(error, CX_ERROR, cx_error_from_errno(errnum), "%s: %s", text, g_strerror(errnum));
}

/* One body per return type: the value is what the type says for "failed".  In brackets, as an
 * analyzer sees macros of these names (error.h). */
#define DEFINE_THROW(type, suffix, value)                                                          \
    type(cx_throw##suffix)(GError * *error, CxError code, const char *format, ...)                 \
    {                                                                                              \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, format);                                                                    \
        raise_text(error, code, format, args);                                                     \
        va_end(args);                                                                              \
        return value;                                                                              \
    }                                                                                              \
    type(cx_throw_errno##suffix)(GError * *error, const char *format, ...)                         \
    {                                                                                              \
        int errnum = errno;                                                                        \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, format);                                                                    \
        raise_errno(error, errnum, format, args);                                                  \
        va_end(args);                                                                              \
        errno = errnum;                                                                            \
        return value;                                                                              \
    }

DEFINE_THROW(gboolean, , FALSE)
DEFINE_THROW(gpointer, _null, NULL)
DEFINE_THROW(int, _fd, -1)

gboolean
cx_check_cancelled(CxCancel *cancellable, GError **error)
{
    if (cancellable == NULL || !cx_cancel_is_triggered(cancellable))
        return FALSE;

    cx_throw(error, CX_ERROR_CANCELLED, "cancelled");
    return TRUE;
}

CxErrorContext
cx_error_context_begin(GError **error, const char *format, ...)
{
    CxErrorContext context = {.error = error, .prefix = NULL};
    va_list args;

    if (error == NULL)
        return context;

    va_start(args, format);
    context.prefix = g_strdup_vprintf(format, args);
    va_end(args);
    return context;
}

void
cx_error_context_end(CxErrorContext *context)
{
    if (context->error != NULL && *context->error != NULL)
        g_prefix_error(context->error, "%s: ", context->prefix);

    g_clear_pointer(&context->prefix, g_free);
}
