/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/erofs/erofs-view.h"

#include <fcntl.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"

/* Two zero blocks: the tar of an empty layer. */
#define EMPTY_TAR_SIZE 1024

static gboolean
probe(CxViewPlace *place, GError **error)
{
    static const char empty_tar[EMPTY_TAR_SIZE];
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    g_auto(CxMount) mount = CX_MOUNT_INIT;
    cx_autofd int tar_fd = -1;
    cx_autofd int index_fd = -1;

    if (cx_switch_is_disabled("erofs"))
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "turned off by CX_DISABLE");
    if (!cx_tmpdir_make(&dir, place->tmp_fd, 0700, error))
        return FALSE;

    tar_fd = openat(dir.fd, "tar", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    index_fd = openat(dir.fd, "erofs", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (tar_fd < 0 || index_fd < 0)
        return cx_throw_errno(error, "index");

    return cx_write_all(tar_fd, empty_tar, sizeof empty_tar, error) &&
           cx_erofs_index_build(tar_fd, sizeof empty_tar, &cx_layer_limits_default, index_fd, NULL,
                                error) &&
           cx_mount_erofs(&place->mounter, dir.fd, "erofs", "tar", &mount, error);
}

static gboolean
show(CxViewPlace *place, const CxDigest *diff_id, CxMount *out_mount, GError **error)
{
    /* Makes the index if it is not there. */
    g_autoptr(CxErofsIndex) index = cx_layer_store_open_index(place->layers, diff_id, error);
    cx_autofd int folder_fd = -1;

    if (index == NULL)
        return FALSE;
    folder_fd = cx_layer_store_open_folder(place->layers, diff_id, error);
    if (folder_fd < 0)
        return FALSE;

    return cx_mount_erofs(&place->mounter, folder_fd, "erofs", "tar", out_mount, error);
}

static gboolean
collect_implied(
    CxErofsIndex *index, guint64 folder, GString *path, GPtrArray *paths, GError **error)
{
    g_auto(GStrv) names = cx_erofs_index_list(index, folder, error);
    gsize size = path->len;

    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        CxErofsNode node;

        if (!cx_erofs_index_lookup(index, folder, names[i], &node, error))
            return FALSE;
        if (!S_ISDIR(node.mode))
            continue;

        g_string_append_printf(path, "%s%s", size > 0 ? "/" : "", names[i]);
        if (node.implicit)
            g_ptr_array_add(paths, g_strdup(path->str));
        if (!collect_implied(index, node.nid, path, paths, error))
            return FALSE;
        g_string_truncate(path, size);
    }
    return names != NULL;
}

static gboolean
list_implied(CxViewPlace *place, const CxDigest *diff_id, GStrv *out_paths, GError **error)
{
    g_autoptr(CxErofsIndex) index = cx_layer_store_open_index(place->layers, diff_id, error);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) path = g_string_new(NULL);

    if (index == NULL ||
        !collect_implied(index, cx_erofs_index_get_root(index), path, paths, error))
        return FALSE;
    if (paths->len == 0) {
        *out_paths = NULL;
        return TRUE;
    }

    g_ptr_array_set_free_func(paths, NULL);
    g_ptr_array_add(paths, NULL);
    *out_paths = (GStrv)g_ptr_array_free(g_steal_pointer(&paths), FALSE);
    return TRUE;
}

const CxViewEngine cx_view_erofs = {
    .name = "erofs",
    .probe = probe,
    .show = show,
    .list_implied = list_implied,
};
