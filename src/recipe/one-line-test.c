/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe/one-line.h"

static void
test_one_line(void)
{
    static const struct {
        const char *text;
        gsize max;
        const char *line;
    } cases[] = {
        {"run gcc -o app main.c", 80, "run gcc -o app main.c"},
        {"  a\n\tb\r\n  c  \n",   80, "a b c"                },
        {"",                      80, ""                     },
        {" \n ",                  80, ""                     },
        {"a\x1b[31mred\x07",      80, "a\\x1b[31mred\\x07"   },
        {"\xe2\x80\xae"
         "cod.exe",      80, "\\u202ecod.exe"       }, /* right-to-left override */
        {"a\xc2\xa0"
         "b\xc2\x85"
         "c",            80, "a b c"                }, /* no-break space, next line */
        {"bad \xff byte",         80, "bad \xef\xbf\xbd byte"},
        {"12345678",              8,  "12345678"             },
        {"123456789",             8,  "1234567…"           },
        {"äöüäöüäöü",    4,  "äöü…"            },
        {"1234567\x1b",           8,  "1234567…"           },
        {"日本語 テスト",   80, "日本語 テスト"  },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *line = cx_one_line(cases[i].text, cases[i].max);

        g_assert_cmpstr(line, ==, cases[i].line);
    }
}

static void
test_quote(void)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        {"",                  "\"\""                       },
        {"a b c",             "\"a b c\""                  },
        {"say \"hi\" \\ now", "\"say \\\"hi\\\" \\\\ now\""},
        {"a\nb\tc\rd\x1b",    "\"a\\nb\\tc\\rd\\x1b\""     },
        {"ä\xe2\x80\xa8z",   "\"ä\\u2028z\""             },
        {"\xf3\xa0\x80\x81",  "\"\\U000e0001\""            }, /* language tag */
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *quoted = cx_quote(cases[i].text);

        g_assert_cmpstr(quoted, ==, cases[i].quoted);
    }
}

static void
test_quote_cuts(void)
{
    g_autofree char *longest = g_strnfill(CX_QUOTE_MAX, 'x'),
                    *longer = g_strnfill(CX_QUOTE_MAX + 1, 'x');
    g_autofree char *whole = cx_quote(longest), *cut = cx_quote(longer);
    g_autofree char *expected = g_strdup_printf("\"%s…\"", longest);

    g_assert_cmpuint(strlen(whole), ==, CX_QUOTE_MAX + 2);
    g_assert_cmpstr(cut, ==, expected);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/one-line", test_one_line);
    g_test_add_func("/recipe/quote", test_quote);
    g_test_add_func("/recipe/quote/cuts", test_quote_cuts);
    return g_test_run();
}
