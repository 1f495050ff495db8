/* SPDX-License-Identifier: Apache-2.0 */
#include "base/switch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

gboolean
cx_switch_is_disabled(const char *fast_path)
{
    const char *list = getenv("CX_DISABLE");
    gsize length = strlen(fast_path);

    for (const char *item = list; item != NULL && *item != '\0'; item += strspn(item, ",")) {
        gsize n = strcspn(item, ",");

        if (n == length && strncmp(item, fast_path, n) == 0)
            return TRUE;
        item += n;
    }
    return FALSE;
}

/* One failpoint as named in CX_FAIL. */
typedef struct {
    gint passes; /* atomic: passes left before it acts */
    gboolean die;
} Failpoint;

static GHashTable *
parse_failpoints(const char *list)
{
    g_autoptr(GHashTable) table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) items = g_strsplit(list == NULL ? "" : list, ",", -1);

    for (guint i = 0; items[i] != NULL; i++) {
        char *colon = strchr(items[i], ':');
        Failpoint *point = g_new0(Failpoint, 1);
        const char *count = colon == NULL ? "" : colon + 1;

        if (colon != NULL)
            *colon = '\0';
        point->die = g_str_has_prefix(count, "die");
        point->passes = MAX(1, atoi(count + (point->die ? 3 : 0)));
        g_hash_table_insert(table, g_strdup(items[i]), point);
    }
    return g_steal_pointer(&table);
}

gboolean
cx_failpoint(const char *name, GError **error)
{
    static gsize once = 0;
    static GHashTable *points =
        NULL; /* (owned char *) -> (owned Failpoint *); read-only once made */
    Failpoint *point;

    if (g_once_init_enter(&once)) {
        if (getenv("CX_FAIL") != NULL)
            points = parse_failpoints(getenv("CX_FAIL"));
        g_once_init_leave(&once, 1);
    }
    if (points == NULL)
        return TRUE;

    point = g_hash_table_lookup(points, name);
    if (point == NULL || !g_atomic_int_dec_and_test(&point->passes))
        return TRUE;
    if (point->die)
        (void)kill(getpid(), SIGKILL);

    return cx_throw(error, CX_ERROR_INTERNAL, "failpoint %s", name);
}
