/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A platform, normalised as containerd does: "x86_64" is amd64, "aarch64" and "arm64/v8" are arm64,
 * "armhf" is arm/v7, "armel" arm/v6, "arm" alone is arm/v7, "i386" is 386.  A plain value with
 * static storage. */
#define CX_PLATFORM_PART_MAX 31

typedef struct {
    char os[CX_PLATFORM_PART_MAX + 1];
    char arch[CX_PLATFORM_PART_MAX + 1];
    char variant[CX_PLATFORM_PART_MAX + 1]; /* "" for none */
} CxPlatform;

typedef struct {
    char text[3 * (CX_PLATFORM_PART_MAX + 1)];
} CxPlatformText;

/* "os/arch" or "os/arch/variant"; CX_ERROR_INVALID quotes the text. */
gboolean cx_platform_parse(const char *text, CxPlatform *out_platform, GError **error);
gboolean cx_platform_from_parts(const char *os,
                                const char *arch,
                                const char *variant,
                                CxPlatform *out_platform,
                                GError **error);
CxPlatform cx_platform_host(void);
CxPlatformText cx_platform_text(const CxPlatform *self); /* "linux/arm/v7" */
CxPlatformText cx_platform_slug(const CxPlatform *self); /* "linux-arm-v7" */
gboolean cx_platform_equal(const CxPlatform *a, const CxPlatform *b);

/* How well an image for `have` serves one who wants `want`: 0 not at all, higher is better (exact
 * 100; arm64 for arm64/v8; arm/v6 for arm/v7 and so on, lower).  Different os or arch is 0. */
int cx_platform_match(const CxPlatform *want, const CxPlatform *have);

/* Whether this machine runs programs of the platform natively ("" reason), or by binfmt_misc; else
 * the reason why not. */
gboolean cx_platform_is_runnable(const CxPlatform *self, char **out_reason);

G_END_DECLS
