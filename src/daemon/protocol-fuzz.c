/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#include "daemon/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(CxRequest) request = {NULL, NULL, FALSE};

    (void)cx_request_parse((const char *)data, size, &request, NULL);
    return 0;
}
