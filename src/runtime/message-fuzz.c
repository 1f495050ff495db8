/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "runtime/driver-private.h"
#include "runtime/message.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

/* What a runtime program prints: its log, and the answer of "state". */
int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    static const char *const chatter[] = {"runc run failed: ", NULL};
    g_autofree char *message = cx_runtime_message_from_text((const char *)data, size, chatter);
    CxRuntimeAnswer answer;

    if (message != NULL) {
        g_assert_cmpuint(strlen(message), <=, CX_RUNTIME_MESSAGE_MAX);
        g_assert_null(strpbrk(message, "\n\r\t\x1b"));
        g_assert_true(g_utf8_validate(message, -1, NULL));
    }
    if (cx_runtime_parse_state((const char *)data, size, &answer, NULL))
        g_assert_cmpint(answer.pid, >=, 0);
    return 0;
}
