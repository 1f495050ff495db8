/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/unpacked/unpacked-view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "layer/apply.h"

/* Nothing here is forced to disk: the file "boot" beside fs names the boot that unpacked it, and
 * after a reboot, which may have been a power failure, the layer is unpacked anew. */

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE 36

typedef struct {
    char path[CX_DIGEST_HEX_SIZE + sizeof "/boot"];
} Name;

static Name
name_of(const CxDigest *diff_id, const char *member)
{
    CxDigestText text = cx_digest_text(diff_id);
    Name name;

    (void)snprintf(name.path, sizeof name.path, "%s%s", cx_digest_text_hex(&text), member);
    return name;
}

static gboolean
read_boot_id(char out[BOOT_ID_SIZE], GError **error)
{
    cx_autofd int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return cx_throw_errno(error, BOOT_ID);
    return cx_read_full(fd, out, BOOT_ID_SIZE, error) == BOOT_ID_SIZE ||
           (error != NULL && *error != NULL
                ? FALSE
                : cx_throw(error, CX_ERROR_INTERNAL, BOOT_ID " is short"));
}

static gboolean
is_of_this_boot(CxViewPlace *place, const CxDigest *diff_id, const char boot_id[BOOT_ID_SIZE])
{
    g_autoptr(GBytes) then =
        cx_read_file_at(place->snapshots_fd, name_of(diff_id, "/boot").path, 64, NULL);

    return then != NULL && g_bytes_get_size(then) == BOOT_ID_SIZE &&
           memcmp(g_bytes_get_data(then, NULL), boot_id, BOOT_ID_SIZE) == 0;
}

static gboolean
probe(CxViewPlace *place, GError **error)
{
    return TRUE; /* what overlay needs is checked by the snapshotter */
}

/* Renamed away first, so that no half of it is seen under its name. */
static gboolean
discard(CxViewPlace *place, const CxDigest *diff_id, GError **error)
{
    Name name = name_of(diff_id, "");
    g_autofree char *gone = g_strdup_printf("%s.%08x.gone", name.path, g_random_int());

    if (renameat(place->snapshots_fd, name.path, place->tmp_fd, gone) < 0)
        return errno == ENOENT || cx_throw_errno(error, "snapshot");

    return cx_remove_tree_at(place->tmp_fd, gone, error);
}

static gboolean
unpack(CxViewPlace *place,
       const CxDigest *diff_id,
       const char boot_id[BOOT_ID_SIZE],
       GError **error)
{
    g_auto(CxTmpdir) dir = CX_TMPDIR_INIT;
    cx_autofd int tar_fd = -1;
    cx_autofd int fs_fd = -1;
    guint64 size;

    tar_fd = cx_layer_store_open_tar(place->layers, diff_id, &size, error);
    if (tar_fd < 0 || !cx_tmpdir_make(&dir, place->tmp_fd, 0700, error))
        return FALSE;
    if (mkdirat(dir.fd, "fs", 0755) < 0)
        return cx_throw_errno(error, "snapshot");
    fs_fd = openat(dir.fd, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fs_fd < 0)
        return cx_throw_errno(error, "snapshot");

    return cx_layer_apply(tar_fd, size, cx_layer_store_get_limits(place->layers), fs_fd, NULL,
                          error) &&
           cx_replace_file_at(dir.fd, "boot", boot_id, BOOT_ID_SIZE, 0600, error) &&
           cx_tmpdir_publish(&dir, place->snapshots_fd, name_of(diff_id, "").path, error);
}

static gboolean
show(CxViewPlace *place, const CxDigest *diff_id, CxMount *out_mount, GError **error)
{
    CX_ERROR_CONTEXT(error, "layer %s", cx_digest_text(diff_id).text);
    g_auto(CxMount) folder = CX_MOUNT_INIT;
    char boot_id[BOOT_ID_SIZE];

    if (!read_boot_id(boot_id, error))
        return FALSE;
    if (!is_of_this_boot(place, diff_id, boot_id) &&
        (!discard(place, diff_id, error) || !unpack(place, diff_id, boot_id, error)))
        return FALSE;

    folder.fd = openat(place->snapshots_fd, name_of(diff_id, "/fs").path,
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder.fd < 0)
        return cx_throw_errno(error, "snapshot");

    *out_mount = folder;
    folder = (CxMount)CX_MOUNT_INIT;
    return TRUE;
}

const CxViewEngine cx_view_unpacked = {
    .name = "unpacked",
    .probe = probe,
    .show = show,
    .discard = discard,
};
