/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/overlay-form.h"

#include <string.h>

#define AUFS_PREFIX ".wh..wh."

static CxNameKind
classify_last(const char *name, const char **out_name)
{
    const char *bare;

    if (!g_str_has_prefix(name, CX_WHITEOUT_PREFIX))
        return CX_NAME_PLAIN;
    if (strcmp(name, CX_WHITEOUT_OPAQUE) == 0)
        return CX_NAME_OPAQUE;
    if (g_str_has_prefix(name, AUFS_PREFIX))
        return CX_NAME_LEFTOVER;

    bare = name + strlen(CX_WHITEOUT_PREFIX);
    if (*bare == '\0' || strcmp(bare, ".") == 0 || strcmp(bare, "..") == 0)
        return CX_NAME_BAD;

    *out_name = bare;
    return CX_NAME_WHITEOUT;
}

CxNameKind
cx_overlay_classify(const char *path, const char **out_name)
{
    const char *part = path;

    if (strstr(path, CX_WHITEOUT_PREFIX) == NULL)
        return CX_NAME_PLAIN;

    for (const char *slash; (slash = strchr(part, '/')) != NULL; part = slash + 1) {
        if (!g_str_has_prefix(part, CX_WHITEOUT_PREFIX))
            continue;
        return g_str_has_prefix(part, AUFS_PREFIX) &&
                       !g_str_has_prefix(part, CX_WHITEOUT_OPAQUE "/")
                   ? CX_NAME_LEFTOVER
                   : CX_NAME_BAD;
    }
    return classify_last(part, out_name);
}

gboolean
cx_overlay_keeps_xattr(const char *name)
{
    if (g_str_has_prefix(name, "trusted.overlay.") || g_str_has_prefix(name, "user.overlay."))
        return FALSE;

    return g_str_has_prefix(name, "security.") || g_str_has_prefix(name, "user.") ||
           g_str_has_prefix(name, "trusted.");
}

gboolean
cx_overlay_is_false_whiteout(const CxEntry *entry)
{
    return entry->type == CX_ENTRY_CHAR && entry->major == 0 && entry->minor == 0;
}

guint
cx_overlay_count_parts(const char *path)
{
    guint n = path[0] != '\0';

    for (; *path != '\0'; path++)
        n += *path == '/';
    return n;
}
