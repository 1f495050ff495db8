/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>

#include "base/error.h"
#include "oci/binfmt.h"

#define BINFMT_FOLDER "/proc/sys/fs/binfmt_misc"

/* ---- reading ---- */

/* Other spellings of an architecture; those of the kernel are told apart by uname's exact text. */
static const struct {
    const char *alias;
    const char *arch;
    const char *variant; /* NULL: keep what was given */
} aliases[] = {
    {"x86_64",      "amd64",   NULL},
    {"x86-64",      "amd64",   NULL},
    {"aarch64",     "arm64",   NULL},
    {"armhf",       "arm",     "v7"},
    {"armel",       "arm",     "v6"},
    {"armv8l",      "arm",     "v8"},
    {"armv7l",      "arm",     "v7"},
    {"armv6l",      "arm",     "v6"},
    {"armv5l",      "arm",     "v5"},
    {"armv5tel",    "arm",     "v5"},
    {"armv5tejl",   "arm",     "v5"},
    {"i386",        "386",     ""  },
    {"i486",        "386",     ""  },
    {"i586",        "386",     ""  },
    {"i686",        "386",     ""  },
    {"loongarch64", "loong64", NULL},
};

/* Variants that mean the same as another one, or as none. */
static const struct {
    const char *arch;
    const char *alias;
    const char *variant;
} variants[] = {
    {"amd64", "v1",   ""  },
    {"arm64", "8",    ""  },
    {"arm64", "v8",   ""  },
    {"arm64", "v8.0", ""  },
    {"arm64", "v9.0", "v9"},
    {"arm",   "",     "v7"},
    {"arm",   "5",    "v5"},
    {"arm",   "6",    "v6"},
    {"arm",   "7",    "v7"},
    {"arm",   "8",    "v8"},
};

/* Lower-case letters, digits and "_.-", the first a letter or digit: nothing that could act as a
 * path. */
static gboolean
set_part(char out[CX_PLATFORM_PART_MAX + 1], const char *text, gsize size)
{
    if (size > CX_PLATFORM_PART_MAX || (size > 0 && !g_ascii_isalnum(text[0])))
        return FALSE;

    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isalnum(text[i]) && strchr("_.-", text[i]) == NULL)
            return FALSE;
        out[i] = g_ascii_tolower(text[i]);
    }
    out[size] = '\0';
    return TRUE;
}

static void
normalise(CxPlatform *self)
{
    if (strcmp(self->os, "macos") == 0)
        g_strlcpy(self->os, "darwin", sizeof self->os);

    for (gsize i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (strcmp(self->arch, aliases[i].alias) != 0)
            continue;
        g_strlcpy(self->arch, aliases[i].arch, sizeof self->arch);
        if (aliases[i].variant != NULL)
            g_strlcpy(self->variant, aliases[i].variant, sizeof self->variant);
        break;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(variants); i++) {
        if (strcmp(self->arch, variants[i].arch) != 0 ||
            strcmp(self->variant, variants[i].alias) != 0)
            continue;
        g_strlcpy(self->variant, variants[i].variant, sizeof self->variant);
        break;
    }
}

gboolean
cx_platform_from_parts(
    const char *os, const char *arch, const char *variant, CxPlatform *out_platform, GError **error)
{
    CxPlatform platform = {"", "", ""};

    if (variant == NULL)
        variant = "";
    if (*os == '\0' || *arch == '\0' || !set_part(platform.os, os, strlen(os)) ||
        !set_part(platform.arch, arch, strlen(arch)) ||
        !set_part(platform.variant, variant, strlen(variant)))
        return cx_throw(error, CX_ERROR_INVALID,
                        "platform \"%.40s/%.40s%s%.40s\" is not os/arch or os/arch/variant", os,
                        arch, *variant == '\0' ? "" : "/", variant);

    normalise(&platform);
    *out_platform = platform;
    return TRUE;
}

gboolean
cx_platform_parse(const char *text, CxPlatform *out_platform, GError **error)
{
    CxPlatform platform = {"", "", ""};
    const char *arch = strchr(text, '/');
    const char *variant = arch == NULL ? NULL : strchr(arch + 1, '/');
    const char *end = text + strlen(text);
    const char *arch_end = variant == NULL ? end : variant;

    if (arch == NULL || arch == text || arch_end == arch + 1 ||
        (variant != NULL && variant + 1 == end) ||
        !set_part(platform.os, text, (gsize)(arch - text)) ||
        !set_part(platform.arch, arch + 1, (gsize)(arch_end - arch - 1)) ||
        (variant != NULL && !set_part(platform.variant, variant + 1, (gsize)(end - variant - 1))))
        return cx_throw(
            error, CX_ERROR_INVALID,
            "platform \"%.100s\" is not os/arch or os/arch/variant (such as linux/amd64)", text);

    normalise(&platform);
    *out_platform = platform;
    return TRUE;
}

CxPlatform
cx_platform_host(void)
{
    CxPlatform platform = {"linux", "unknown", ""};
    struct utsname names;

    if (uname(&names) == 0 && set_part(platform.arch, names.machine, strlen(names.machine)))
        normalise(&platform);

    return platform;
}

/* ---- writing ---- */

static CxPlatformText
join_parts(const CxPlatform *self, char separator)
{
    CxPlatformText result;
    int n = snprintf(result.text, sizeof result.text, "%s%c%s", self->os, separator, self->arch);

    if (self->variant[0] != '\0')
        (void)snprintf(result.text + n, sizeof result.text - (gsize)n, "%c%s", separator,
                       self->variant);
    return result;
}

CxPlatformText
cx_platform_text(const CxPlatform *self)
{
    return join_parts(self, '/');
}

CxPlatformText
cx_platform_slug(const CxPlatform *self)
{
    return join_parts(self, '-');
}

gboolean
cx_platform_equal(const CxPlatform *a, const CxPlatform *b)
{
    return strcmp(a->os, b->os) == 0 && strcmp(a->arch, b->arch) == 0 &&
           strcmp(a->variant, b->variant) == 0;
}

/* ---- matching ---- */

/* A variant as a version; FALSE for texts that are none. */
typedef struct {
    guint major;
    guint minor;
} Version;

static gboolean
parse_version(const CxPlatform *platform, Version *out_version)
{
    const char *text = platform->variant;
    char *end;

    if (*text == '\0') {
        *out_version = strcmp(platform->arch, "arm64") == 0 ? (Version){8, 0} : (Version){1, 0};
        return TRUE;
    }
    if (text[0] != 'v' || !g_ascii_isdigit(text[1]) || strlen(text) > 5)
        return FALSE;

    *out_version = (Version){(guint)strtoul(text + 1, &end, 10), 0};
    if (*end == '.' && g_ascii_isdigit(end[1]))
        out_version->minor = (guint)strtoul(end + 1, &end, 10);
    return *end == '\0';
}

/* Whether a machine of version `want` runs what was built for `have`: versions of one line contain
 * those before them, and ARMv9.n contains ARMv8.(n+5). */
static gboolean
version_contains(const char *arch, Version want, Version have)
{
    if (strcmp(arch, "arm64") != 0)
        return have.major <= want.major;
    if (want.major == have.major)
        return have.minor <= want.minor;

    return want.major == 9 && have.major == 8 && have.minor <= want.minor + 5;
}

int
cx_platform_match(const CxPlatform *want, const CxPlatform *have)
{
    static const char *const ordered[] = {"amd64", "arm", "arm64", NULL};
    Version want_version, have_version;
    int distance;

    if (cx_platform_equal(want, have))
        return 100;
    if (strcmp(want->os, have->os) != 0 || strcmp(want->arch, have->arch) != 0 ||
        !g_strv_contains(ordered, want->arch) || !parse_version(want, &want_version) ||
        !parse_version(have, &have_version) ||
        !version_contains(want->arch, want_version, have_version))
        return 0;

    distance = 10 * ((int)want_version.major - (int)have_version.major) + (int)want_version.minor -
               (int)have_version.minor;
    return CLAMP(99 - distance, 1, 99);
}

/* ---- running ---- */

/* The x86-64 level of this processor. */
#if defined(__x86_64__)
static guint
x86_level(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("sse4.2") ||
        !__builtin_cpu_supports("popcnt"))
        return 1;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") ||
        !__builtin_cpu_supports("fma"))
        return 2;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 3;
    return 4;
}
#else
static guint
x86_level(void)
{
    return 1;
}
#endif

/* Not every 64-bit ARM core runs 32-bit programs; the kernel refuses the personality where none of
 * them does. */
static gboolean
runs_32_bit_arm(void)
{
    int before = personality(0xffffffff);

    if (before < 0 || personality(PER_LINUX32) < 0)
        return FALSE;

    (void)personality((unsigned long)before);
    return TRUE;
}

static gboolean
runs_natively(const CxPlatform *self, const CxPlatform *host)
{
    Version version;

    if (strcmp(host->arch, "amd64") == 0 && strcmp(self->arch, "386") == 0)
        return TRUE;
    if (strcmp(host->arch, "amd64") == 0 && strcmp(self->arch, "amd64") == 0)
        return parse_version(self, &version) && version.major <= x86_level();
    if (strcmp(host->arch, "arm64") == 0 && strcmp(self->arch, "arm") == 0)
        return runs_32_bit_arm();

    return cx_platform_match(host, self) > 0;
}

gboolean
cx_platform_is_runnable(const CxPlatform *self, char **out_reason)
{
    CxPlatform host = cx_platform_host();
    g_autofree char *reason = NULL;
    gboolean runnable = TRUE;

    if (strcmp(self->os, "linux") != 0) {
        reason = g_strdup_printf("programs for %s do not run on linux", self->os);
        runnable = FALSE;
    } else if (runs_natively(self, &host)) {
        reason = g_strdup("");
    } else if (strcmp(self->arch, host.arch) == 0) {
        reason = g_strdup_printf("this processor does not run %s", cx_platform_text(self).text);
        runnable = FALSE;
    } else {
        runnable = cx_binfmt_find(AT_FDCWD, BINFMT_FOLDER, self->arch, &reason);
    }

    if (out_reason != NULL)
        *out_reason = g_steal_pointer(&reason);
    return runnable;
}
