/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/tmp.h"
#include "oci/binfmt.h"
#include "oci/platform.h"

static void
test_parse(void)
{
    static const struct {
        const char *text, *normal, *slug;
    } cases[] = {
        {"linux/amd64",       "linux/amd64",    "linux-amd64"   },
        {"linux/x86_64",      "linux/amd64",    "linux-amd64"   },
        {"Linux/AMD64/v1",    "linux/amd64",    "linux-amd64"   },
        {"linux/amd64/v3",    "linux/amd64/v3", "linux-amd64-v3"},
        {"linux/aarch64",     "linux/arm64",    "linux-arm64"   },
        {"linux/arm64/v8",    "linux/arm64",    "linux-arm64"   },
        {"linux/arm64/8",     "linux/arm64",    "linux-arm64"   },
        {"linux/arm64/v9.0",  "linux/arm64/v9", "linux-arm64-v9"},
        {"linux/arm",         "linux/arm/v7",   "linux-arm-v7"  },
        {"linux/arm/6",       "linux/arm/v6",   "linux-arm-v6"  },
        {"linux/armhf",       "linux/arm/v7",   "linux-arm-v7"  },
        {"linux/armel",       "linux/arm/v6",   "linux-arm-v6"  },
        {"linux/i386",        "linux/386",      "linux-386"     },
        {"linux/loongarch64", "linux/loong64",  "linux-loong64" },
        {"macos/arm64",       "darwin/arm64",   "darwin-arm64"  },
        {"linux/s390x",       "linux/s390x",    "linux-s390x"   },
        {"linux/mips64le",    "linux/mips64le", "linux-mips64le"},
        {"windows/amd64",     "windows/amd64",  "windows-amd64" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        CxPlatform platform;

        g_assert_true(cx_platform_parse(cases[i].text, &platform, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(cx_platform_text(&platform).text, ==, cases[i].normal);
        g_assert_cmpstr(cx_platform_slug(&platform).text, ==, cases[i].slug);
    }
}

static void
test_refused(void)
{
    static const char *const cases[] = {
        "",
        "linux",
        "/",
        "linux/",
        "/amd64",
        "linux//v7",
        "linux/arm/",
        "linux/arm/v7/x",
        "linux/../etc",
        "linux/am d64",
        "linux/amd64\n",
        "linux/arm64/.v8",
        "linux/\xc3\xa9",
        "abcdefghijklmnopqrstuvwxyzabcdef/amd64",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        CxPlatform platform;

        g_assert_false(cx_platform_parse(cases[i], &platform, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, cases[i]));
    }
}

static void
test_parts(void)
{
    g_autoptr(GError) error = NULL;
    CxPlatform platform;

    g_assert_true(cx_platform_from_parts("linux", "arm64", "v8", &platform, &error));
    g_assert_cmpstr(cx_platform_text(&platform).text, ==, "linux/arm64");
    g_assert_true(cx_platform_from_parts("linux", "amd64", NULL, &platform, &error));
    g_assert_cmpstr(platform.variant, ==, "");
    g_assert_false(cx_platform_from_parts("linux", "", "", &platform, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
}

static void
test_match(void)
{
    /* Each row: what is wanted, then what is there from the best to what must not be taken. */
    static const struct {
        const char *want;
        const char *fits[4];
        const char *refused[5];
    } cases[] = {
        {"linux/amd64",
         {"linux/amd64"},
         {"linux/amd64/v2", "linux/386", "windows/amd64", "linux/arm64"}                                                              },
        {"linux/amd64/v3", {"linux/amd64/v3", "linux/amd64/v2", "linux/amd64"}, {"linux/amd64/v4"}                                    },
        {"linux/arm64",    {"linux/arm64/v8"},                                  {"linux/arm64/v9", "linux/arm64/v8.2", "linux/arm/v8"}},
        {"linux/arm64/v9",
         {"linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64"},
         {"linux/arm64/v8.6", "linux/arm64/v9.1"}                                                                                     },
        {"linux/arm/v7",
         {"linux/arm", "linux/arm/v6", "linux/arm/v5"},
         {"linux/arm/v8", "linux/arm64"}                                                                                              },
        {"linux/arm/v6",   {"linux/arm/v6", "linux/arm/v5"},                    {"linux/arm", "linux/arm/x"}                          },
        {"linux/riscv64",  {"linux/riscv64"},                                   {"linux/riscv64/rva23"}                               },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        CxPlatform want, have;
        int last = 101;

        g_assert_true(cx_platform_parse(cases[i].want, &want, NULL));
        for (gsize k = 0; k < G_N_ELEMENTS(cases[i].fits) && cases[i].fits[k] != NULL; k++) {
            g_assert_true(cx_platform_parse(cases[i].fits[k], &have, NULL));
            g_assert_cmpint(cx_platform_match(&want, &have), <, last);
            last = cx_platform_match(&want, &have);
            g_assert_cmpint(last, >, 0);
            g_assert_true(k > 0 || last == 100);
        }
        for (gsize k = 0; k < G_N_ELEMENTS(cases[i].refused) && cases[i].refused[k] != NULL; k++) {
            g_assert_true(cx_platform_parse(cases[i].refused[k], &have, NULL));
            g_assert_cmpint(cx_platform_match(&want, &have), ==, 0);
        }
    }
}

static void
test_runnable(void)
{
    CxPlatform host = cx_platform_host(), other;
    g_autofree char *reason = NULL, *why = NULL;

    g_assert_true(cx_platform_is_runnable(&host, &reason));
    g_assert_cmpstr(reason, ==, "");
    g_assert_true(cx_platform_is_runnable(&host, NULL));
    g_assert_true(cx_platform_parse("windows/amd64", &other, NULL));
    g_assert_false(cx_platform_is_runnable(&other, &why));
    g_assert_cmpstr(why, ==, "programs for windows do not run on linux");
}

#define ARM64_MAGIC "7f454c460201010000000000000000000200b700"
#define ARM64_MASK "ffffffffffffff00fffffffffffffffffeffffff"

static void
test_binfmt(void)
{
    static const struct {
        const char *text, *arch, *reason;
        gboolean found;
    } cases[] = {
        {"enabled\ninterpreter /usr/bin/qemu\nflags: OCF\noffset 0\nmagic " ARM64_MAGIC
         "\nmask " ARM64_MASK "\n",
         "arm64",                                                                                     "entry",                              TRUE },
        {"enabled\ninterpreter /usr/bin/qemu\nflags: F\noffset 0\nmagic " ARM64_MAGIC "\n",  "arm64",
         "entry",                                                                                                                           TRUE },
        {"enabled\ninterpreter /usr/bin/qemu\nflags: F\noffset 0\nmagic " ARM64_MAGIC "\n",
         "riscv64",                                                                                   "nothing runs riscv64 programs here", FALSE},
        {"enabled\ninterpreter /usr/bin/qemu\nflags: OC\noffset 0\nmagic " ARM64_MAGIC
         "\nmask " ARM64_MASK "\n",
         "arm64",                                                                                     "\"entry\" has no flag F",            FALSE},
        {"disabled\ninterpreter /usr/bin/qemu\nflags: F\noffset 0\nmagic " ARM64_MAGIC "\n",
         "arm64",                                                                                     "nothing runs arm64",                 FALSE},
        {"enabled\ninterpreter /bin/sh\nflags: F\nextension .sh\n",                          "arm64", "nothing runs arm64",
         FALSE                                                                                                                                   },
        {"enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f4\n",                         "arm64", "nothing runs arm64",
         FALSE                                                                                                                                   },
        {"enabled\ninterpreter /x\nflags: F\noffset 4\nmagic 02\n",                          "arm64", "nothing runs arm64",
         FALSE                                                                                                                                   },
        {"",                                                                                 "arm64", "nothing runs arm64",                 FALSE},
        {"",                                                                                 "pdp11", "no emulator is known for pdp11",     FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *folder = g_dir_make_tmp("cx-binfmt-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "entry", NULL), *reason = NULL;

        g_assert_true(g_file_set_contents(path, cases[i].text, -1, NULL));
        g_assert_cmpint(cx_binfmt_find(AT_FDCWD, folder, cases[i].arch, &reason), ==,
                        cases[i].found);
        g_assert_nonnull(strstr(reason, cases[i].reason));
        g_assert_true(cx_remove_tree_at(AT_FDCWD, folder, NULL));
    }
}

static void
test_binfmt_absent(void)
{
    g_autofree char *reason = NULL;

    g_assert_false(cx_binfmt_find(AT_FDCWD, "/nonexistent", "arm64", &reason));
    g_assert_cmpstr(reason, ==, "nothing runs arm64 programs here (install qemu-user-static)");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/platform/parse", test_parse);
    g_test_add_func("/oci/platform/refused", test_refused);
    g_test_add_func("/oci/platform/parts", test_parts);
    g_test_add_func("/oci/platform/match", test_match);
    g_test_add_func("/oci/platform/runnable", test_runnable);
    g_test_add_func("/oci/platform/binfmt", test_binfmt);
    g_test_add_func("/oci/platform/binfmt-absent", test_binfmt_absent);
    return g_test_run();
}
