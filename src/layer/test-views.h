/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "layer/test-layer.h"

/* What layers mean, for every way to show one: as an index, unpacked, behind a snapshotter. */

#define F CX_ENTRY_FILE
#define D CX_ENTRY_FOLDER
#define L CX_ENTRY_SYMLINK
#define H CX_ENTRY_HARDLINK
#define C CX_ENTRY_CHAR
#define IMPLICIT " [trusted.overlay.implicit=y]"
#define OPAQUE " [trusted.overlay.opaque=y]"

/* What is seen of a layer. */
static const struct {
    const char *name;
    CxTestEntry entries[12];
    const char *expected;
} cx_test_views[] = {
    {"/empty",                 {{NULL}},                                                          ""                  },
    {"/plain",
     {{"etc", D, .mode = 0700, .uid = 3, .gid = 4},
      {"etc/a", F, "hello", .uid = 70000, .gid = 80000},
      {"etc/b", L, "a"},
      {"etc/c", H, "etc/a"},
      {"etc/null", C, .major = 1, .minor = 3},
      {"etc/big", C, .major = 200, .minor = 70000},
      {"etc/-", F, ""},
      {"etc/pipe", CX_ENTRY_FIFO}},
     "d 0700 3:4 etc\n"
     "f 0644 0:0 etc/- = \n"
     "f 0644 70000:80000 etc/a = hello\n"
     "l etc/b -> a\n"
     "c 200:70000 etc/big\n"
     "h etc/c = etc/a\n"
     "c 1:3 etc/null\n"
     "p 0644 0:0 etc/pipe\n"                                                                                          },
    {"/implicit",
     {{"a/b/c", F, "x"}, {"a", D, .mode = 0711}},
     "d 0711 0:0 a\nd 0755 0:0 a/b" IMPLICIT "\nf 0644 0:0 a/b/c = x\n"                                               },
    {"/xattrs",
     {{"f", F, "x", .xattr = "user.color", .value = "blue"},
      {"e", F, "x", .xattr = "user.overlay.opaque", .value = "y"},
      {"d", D, .xattr = "trusted.overlay.opaque", .value = "y"},
      {"g", D, .xattr = "trusted.overlay.redirect", .value = "/f"}},
     "d 0755 0:0 d\nf 0644 0:0 e = x\nf 0644 0:0 f = x [user.color=blue]\nd 0755 0:0 g\n"                             },
    {"/whiteouts",
     {{"d", D},
      {"d/.wh.a", F, ""},
      {"d/.wh..wh.plnk", F, ""},
      {".wh..wh.orph/x", F, "1"},
      {"e/.wh..wh..opq", F, ""}},
     "d 0755 0:0 d\nc 0:0 d/a\nd 0755 0:0 e" IMPLICIT OPAQUE "\n"                                                     },
    {"/whiteout-and-folder",
     {{".wh.a", F, ""}, {"a", D}, {"b", D}, {".wh.b", F, ""}, {".wh.c", F, ""}, {"c/x", F, "1"}},
     "d 0755 0:0 a" OPAQUE "\nd 0755 0:0 b" OPAQUE "\nd 0755 0:0 c" IMPLICIT OPAQUE
     "\nf 0644 0:0 c/x = 1\n"                                                                                         },
    {"/whiteout-and-file",
     {{".wh.a", F, ""}, {"a", F, "1"}, {"b", F, "2"}, {".wh.b", F, ""}},
     "f 0644 0:0 a = 1\nf 0644 0:0 b = 2\n"                                                                           },
    {"/false-whiteout",        {{"a", C}, {"b", F, "1"}},                                         "f 0644 0:0 b = 1\n"},
    {"/last-wins",
     {{"a", F, "1"},
      {"a", F, "22", .mode = 0600},
      {"b", D},
      {"b/x", F, "1"},
      {"b", F, "3"},
      {"c", F, "4"},
      {"c", D}},
     "f 0600 0:0 a = 22\nf 0644 0:0 b = 3\nd 0755 0:0 c" OPAQUE "\n"                                                  },
    {"/folder-after-children",
     {{"a/x", F, "1"}, {"a", D, .mode = 01777}, {"a", D, .mode = 0710}},
     "d 0710 0:0 a\nf 0644 0:0 a/x = 1\n"                                                                             },
    {"/link-outlives-name",
     {{"a", F, "old"}, {"b", H, "a"}, {"a", F, "new"}},
     "f 0644 0:0 a = new\nf 0644 0:0 b = old\n"                                                                       },
    {"/link-to-symlink",
     {{"a", L, "nowhere"}, {"b", H, "a"}, {"c", H, "b"}},
     "l a -> nowhere\nh b = a\nh c = a\n"                                                                             },
    {"/through-symlink",
     {{"usr/lib", D},
      {"lib", L, "usr/lib"},
      {"lib/x", F, "1"},
      {"up", L, "/../usr/./lib"},
      {"up/y", F, "2"},
      {"z", H, "up/x"}},
     "l lib -> usr/lib\nl up -> /../usr/./lib\nd 0755 0:0 usr" IMPLICIT "\nd 0755 0:0 usr/lib\n"
     "f 0644 0:0 usr/lib/x = 1\nf 0644 0:0 usr/lib/y = 2\nh z = usr/lib/x\n"                                          },
};

#define DEEP_50                                                                                    \
    "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/"                                           \
    "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/"
#define DEEP DEEP_50 DEEP_50 DEEP_50

/* What no way may show. */
static const struct {
    const char *name;
    CxTestEntry entries[4];
    CxError code;
    const char *message;
} cx_test_refusals[] = {
    {"/link-to-nothing",
     {{"b", H, "a"}},
     CX_ERROR_INVALID,                                                                          "\"b\": hard link to \"a\", which is not in the layer"},
    {"/link-to-later",       {{"b", H, "a"}, {"a", F, "1"}},                  CX_ERROR_INVALID, NULL                                                  },
    {"/link-to-whiteout",    {{".wh.a", F, ""}, {"b", H, "a"}},               CX_ERROR_INVALID, NULL                                                  },
    {"/link-to-folder",
     {{"a", D}, {"b", H, "a"}},
     CX_ERROR_INVALID,                                                                          "\"b\": hard link to the folder \"a\""                },
    {"/below-file",
     {{"a", F, "1"}, {"a/b", F, "1"}},
     CX_ERROR_INVALID,                                                                          "\"a/b\": \"a\" is not a folder"                      },
    {"/link-circle",         {{"a", L, "b"}, {"b", L, "a"}, {"a/x", F, "1"}}, CX_ERROR_INVALID, NULL                                                  },
    {"/deeper-by-link",      {{"a", L, DEEP "x"}, {"a/" DEEP "y", F, "1"}},   CX_ERROR_LIMIT,   NULL                                                  },
    {"/whiteout-of-nothing",
     {{".wh.", F, ""}},
     CX_ERROR_INVALID,                                                                          "\".wh.\": not a whiteout that can be"                },
    {"/whiteout-of-dot",     {{"a/.wh..", F, ""}},                            CX_ERROR_INVALID, NULL                                                  },
    {"/whiteout-of-dotdot",  {{".wh...", F, ""}},                             CX_ERROR_INVALID, NULL                                                  },
    {"/whiteout-as-folder",  {{".wh.a/b", F, ""}},                            CX_ERROR_INVALID, NULL                                                  },
    {"/opaque-as-folder",    {{".wh..wh..opq/b", F, ""}},                     CX_ERROR_INVALID, NULL                                                  },
};
