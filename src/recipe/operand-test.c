/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "recipe/recipe.h"

static void
test_from(void)
{
    static const struct {
        const char *text;
        CxFromKind kind;
        const char *value; /* or the error */
        gboolean fails;
    } cases[] = {
        {"oci alpine:3.21",                        CX_FROM_OCI,  "alpine:3.21",                               FALSE},
        {"  oci\tdocker.io/library/alpine:3.21\n", CX_FROM_OCI,  "docker.io/library/alpine:3.21",
         FALSE                                                                                                     },
        {"file ./base.tar",                        CX_FROM_FILE, "./base.tar",                                FALSE},
        {"file my  base.tar",                      CX_FROM_FILE, "my base.tar",                               FALSE},
        {"ref acme/runtime >=1.0 <2",              CX_FROM_REF,  "acme/runtime >=1.0 <2",                     FALSE},
        {"acme/runtime 0.1.0",                     CX_FROM_REF,  "acme/runtime 0.1.0",                        FALSE},
        {"ref file 1.0",                           CX_FROM_REF,  "file 1.0",                                  FALSE},
        {"alpine:3.21",                            CX_FROM_REF,  "alpine:3.21",                               FALSE},
        {"File base.tar",                          CX_FROM_REF,  "File base.tar",                             FALSE},
        {"",                                       CX_FROM_REF,  "invalid from format",                       TRUE },
        {" \t\n",                                  CX_FROM_REF,  "invalid from format",                       TRUE },
        {"oci alpine 3.21",                        CX_FROM_REF,  "invalid from format",                       TRUE },
        {"oci",                                    CX_FROM_REF,  "invalid from format: missing source value", TRUE },
        {"file",                                   CX_FROM_REF,  "invalid from format: missing source value", TRUE },
        {"ref ",                                   CX_FROM_REF,  "invalid from format: missing source value", TRUE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *value = NULL;
        CxFromKind kind = CX_FROM_REF;

        g_assert_cmpint(cx_from_parse(cases[i].text, &kind, &value, &error), ==, !cases[i].fails);
        g_assert_cmpstr(cases[i].fails ? error->message : value, ==, cases[i].value);
        g_assert_cmpint(kind, ==, cases[i].kind);
        g_assert_true(!cases[i].fails || cx_error_is(error, CX_ERROR_INVALID));
    }
}

/* The vectors of spec/daemon.md §5: copy text and workdir to source and destination. */
static void
test_copy(void)
{
    static const struct {
        const char *text, *workdir, *source, *dest, *message;
    } cases[] = {
        {"file.txt /opt/file.txt", "",       "file.txt", "/opt/file.txt", NULL                                            },
        {"file.txt /opt/file.txt", "/app",   "file.txt", "/opt/file.txt", NULL                                            },
        {"file.txt out/",          "/app",   "file.txt", "/app/out",      NULL                                            },
        {" src\t. ",               "/app",   "src",      "/app",          NULL                                            },
        {"src ../x//y/",           "/app/z", "src",      "/app/x/y",      NULL                                            },
        {"src ../../../etc",       "/app",   "src",      "/etc",          NULL                                            },
        {"src /a/./b/../c/",       NULL,     "src",      "/a/c",          NULL                                            },
        {"src /",                  NULL,     "src",      "/",             NULL                                            },
        {"src out",                "app",    "src",      "/app/out",      NULL                                            }, /* an image whose WorkingDir is relative */
        {"a\xc2\xa0/b",            NULL,     "a",        "/b",            NULL                                            }, /* a no-break space is white space */
        {"file.txt out/",          "",       NULL,       NULL,            "relative dest \"out/\" requires workdir"       },
        {"file.txt out/",          NULL,     NULL,       NULL,            "relative dest \"out/\" requires workdir"       },
        {"file.txt",               "/app",   NULL,       NULL,            "missing source or destination in \"file.txt\"" },
        {"a b c",                  "/app",   NULL,       NULL,            "missing source or destination in \"a b c\""    },
        {"",                       "/app",   NULL,       NULL,            "missing source or destination in \"\""         },
        {"a\nb\nc",                "/app",   NULL,       NULL,            "missing source or destination in \"a\\nb\\nc\""},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *source = NULL, *dest = NULL, *resolved = NULL;

        if (cx_copy_parse(cases[i].text, &source, &dest, &error))
            resolved = cx_copy_dest(dest, cases[i].workdir, &error);

        g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].message);
        g_assert_cmpstr(resolved, ==, cases[i].dest);
        if (cases[i].source != NULL)
            g_assert_cmpstr(source, ==, cases[i].source);
    }
}

static void
test_copy_stage(void)
{
    static const struct {
        const char *source, *stage, *path;
    } cases[] = {
        {"build:/app/bin",  "build", "/app/bin"},
        {"build:bin",       "build", "bin"     },
        {"build:",          "build", ""        },
        {"build:/a:b",      "build", "/a:b"    },
        {"/usr/local/bin",  NULL,    NULL      },
        {":/some/path",     NULL,    NULL      },
        {"/foo:bar",        NULL,    NULL      },
        {"some/stage:path", NULL,    NULL      },
        {"./a:b",           NULL,    NULL      },
        {"file.txt",        NULL,    NULL      },
        {"",                NULL,    NULL      },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *stage = NULL, *path = NULL;

        g_assert_cmpint(cx_copy_parse_stage(cases[i].source, &stage, &path), ==,
                        cases[i].stage != NULL);
        g_assert_cmpstr(stage, ==, cases[i].stage);
        g_assert_cmpstr(path, ==, cases[i].path);
    }
}

static void
test_workdir(void)
{
    static const struct {
        const char *base, *workdir, *joined;
    } cases[] = {
        {"",     "/app",       "/app"       },
        {NULL,   "/app//x/..", "/app"       },
        {"/app", "src",        "/app/src"   },
        {"/app", "../lib",     "/lib"       },
        {"/app", "../../..",   "/"          },
        {"/app", ".",          "/app"       },
        {"/app", "/other",     "/other"     },
        {"",     "src",        "src"        },
        {"src",  "lib",        "src/lib"    },
        {"src",  "../../x",    "src/../../x"}, /* what it means depends on the image's */
        {"src",  "/abs",       "/abs"       },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *joined = cx_workdir_join(cases[i].base, cases[i].workdir);

        g_assert_cmpstr(joined, ==, cases[i].joined);
    }
}

/* Joining one by one or all at once to the image's must be the same. */
static void
test_workdir_late(void)
{
    g_autofree char *relative = cx_workdir_join("src", "../../x");
    g_autofree char *late = cx_workdir_join("/a/b", relative);
    g_autofree char *first = cx_workdir_join("/a/b", "src");
    g_autofree char *early = cx_workdir_join(first, "../../x");

    g_assert_cmpstr(late, ==, "/a/x");
    g_assert_cmpstr(early, ==, "/a/x");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/from", test_from);
    g_test_add_func("/recipe/copy", test_copy);
    g_test_add_func("/recipe/copy/stage", test_copy_stage);
    g_test_add_func("/recipe/workdir", test_workdir);
    g_test_add_func("/recipe/workdir/late", test_workdir_late);
    return g_test_run();
}
