/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/version.h"

#include <string.h>

#include "oci/platform.h"

char *
cx_version_format(const char *version, const char *stage, const char *commit, const char *arch)
{
    gboolean is_main = strcmp(stage, "main") == 0;

    if (*version == '\0' || *stage == '\0' || *commit == '\0')
        return g_strdup("(local)");
    if (g_ascii_tolower(*version) == 'v')
        version++;

    return g_strdup_printf("%s%s%s %s [%s]", version, is_main ? "" : "+", is_main ? "" : stage,
                           commit, arch);
}

char *
cx_version_string(void)
{
    CxPlatform host = cx_platform_host();

    return cx_version_format(CX_BUILD_VERSION, CX_BUILD_STAGE, CX_BUILD_COMMIT, host.arch);
}
