/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/compare.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"

#define CHUNK_BYTES (64 * 1024)

typedef struct {
    const CxComparedLayer *before;
    const CxComparedLayer *now;
    guint max;
    GPtrArray *lines; /* (owned) of owned char * */
} Compare;

static void G_GNUC_PRINTF(2, 3) add_line(Compare *self, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (self->lines->len < self->max)
        g_ptr_array_add(self->lines, g_strdup_vprintf(format, args));
    va_end(args);
}

static gboolean
same_content(const Compare *self,
             const CxErofsNode *before,
             const CxErofsNode *now,
             gboolean *out_same,
             GError **error)
{
    g_autofree char *a = g_malloc(CHUNK_BYTES), *b = g_malloc(CHUNK_BYTES);

    *out_same = before->size == now->size;
    for (guint64 at = 0; *out_same && at < now->size; at += CHUNK_BYTES) {
        gsize want = (gsize)MIN(CHUNK_BYTES, now->size - at);
        gssize n = cx_pread_full(self->before->tar_fd, a, want, before->data_offset + at, error);
        gssize m = cx_pread_full(self->now->tar_fd, b, want, now->data_offset + at, error);

        if (n < 0 || m < 0)
            return FALSE;
        *out_same = n == m && memcmp(a, b, (gsize)n) == 0;
    }
    return TRUE;
}

static gboolean
same_target(const Compare *self,
            const CxErofsNode *before,
            const CxErofsNode *now,
            gboolean *out_same,
            GError **error)
{
    g_autofree char *a = cx_erofs_index_read_link(self->before->index, before->nid, error);
    g_autofree char *b =
        a == NULL ? NULL : cx_erofs_index_read_link(self->now->index, now->nid, error);

    *out_same = b != NULL && strcmp(a, b) == 0;
    return b != NULL;
}

static gboolean compare_folders(
    Compare *self, const char *path, guint64 before, guint64 now, GError **error);

/* Two nodes of one name. */
static gboolean
compare_nodes(Compare *self,
              const char *path,
              const CxErofsNode *before,
              const CxErofsNode *now,
              GError **error)
{
    gboolean same = TRUE;

    if ((before->mode & S_IFMT) != (now->mode & S_IFMT)) {
        add_line(self, "%s: another type of file", path);
        return TRUE;
    }
    if (before->mode != now->mode)
        add_line(self, "%s: mode %04o -> %04o", path, before->mode & 07777, now->mode & 07777);
    if (S_ISDIR(now->mode))
        return compare_folders(self, path, before->nid, now->nid, error);
    if (S_ISREG(now->mode) && !same_content(self, before, now, &same, error))
        return FALSE;
    if (S_ISLNK(now->mode) && !same_target(self, before, now, &same, error))
        return FALSE;
    if (!same)
        add_line(self, "%s: %s", path, S_ISLNK(now->mode) ? "target" : "content");
    return TRUE;
}

static gboolean
compare_folders(Compare *self, const char *path, guint64 before, guint64 now, GError **error)
{
    g_auto(GStrv) a = cx_erofs_index_list(self->before->index, before, error);
    g_auto(GStrv) b = a == NULL ? NULL : cx_erofs_index_list(self->now->index, now, error);
    guint i = 0, k = 0;

    if (b == NULL)
        return FALSE;

    while (self->lines->len < self->max && (a[i] != NULL || b[k] != NULL)) {
        int order = a[i] == NULL ? 1 : b[k] == NULL ? -1 : strcmp(a[i], b[k]);
        const char *name = order < 0 ? a[i] : b[k];
        g_autofree char *child =
            *path == '\0' ? g_strdup(name) : g_strconcat(path, "/", name, NULL);
        CxErofsNode x, y;

        if (order != 0)
            add_line(self, "%s: %s", child, order < 0 ? "gone" : "new");
        else if (!cx_erofs_index_lookup(self->before->index, before, name, &x, error) ||
                 !cx_erofs_index_lookup(self->now->index, now, name, &y, error) ||
                 !compare_nodes(self, child, &x, &y, error))
            return FALSE;
        i += order <= 0 ? 1 : 0;
        k += order >= 0 ? 1 : 0;
    }
    return TRUE;
}

GStrv
cx_layer_compare(const CxComparedLayer *before,
                 const CxComparedLayer *now,
                 guint max,
                 GError **error)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    Compare compare = {before, now, max, lines};

    if (!compare_folders(&compare, "", cx_erofs_index_get_root(before->index),
                         cx_erofs_index_get_root(now->index), error))
        return NULL;

    g_ptr_array_set_free_func(lines, NULL);
    g_ptr_array_add(lines, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}
