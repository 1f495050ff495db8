/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-pax.h"

/* Reads any bytes as pax records, from a copy of just their size. */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *records = g_memdup2(data, size);
    CxPax pax;

    cx_pax_init(&pax);
    (void)cx_pax_parse(&pax, records, size, &cx_layer_limits_default, NULL);
    (void)cx_pax_check_global(records, size, NULL);
    cx_pax_clear(&pax);
    return 0;
}
