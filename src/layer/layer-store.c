/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"
#include "layer/layer-store-private.h"

typedef DIR Dir;
static void
close_dir(DIR *dir)
{
    (void)closedir(dir);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Dir, close_dir)

/* ---- opening --------------------------------------------------------------------------------- */

static int
ensure_folder(int root_fd, const char *name, GError **error)
{
    int fd;

    if (mkdirat(root_fd, name, 0700) < 0 && errno != EEXIST)
        return cx_throw_errno_fd(error, "\"%s\"", name);

    fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? fd : cx_throw_errno_fd(error, "\"%s\"", name);
}

CxLayerStore *
cx_layer_store_open(int root_fd, const CxLayerLimits *limits, GError **error)
{
    g_autoptr(CxLayerStore) self = g_new0(CxLayerStore, 1);

    g_return_val_if_fail(limits != NULL, NULL);

    self->limits = *limits;
    self->layers_fd = self->tmp_fd = -1;
    self->building = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, g_free, NULL);
    g_mutex_init(&self->lock);
    g_cond_init(&self->index_built);

    self->layers_fd = ensure_folder(root_fd, "layers", error);
    if (self->layers_fd < 0)
        return NULL;
    self->tmp_fd = ensure_folder(root_fd, "tmp", error);
    if (self->tmp_fd < 0)
        return NULL;

    return g_steal_pointer(&self);
}

void
cx_layer_store_close(CxLayerStore *self)
{
    if (self == NULL)
        return;

    cx_clear_fd(&self->layers_fd);
    cx_clear_fd(&self->tmp_fd);
    g_hash_table_unref(self->building);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->index_built);
    g_free(self);
}

const CxLayerLimits *
cx_layer_store_get_limits(const CxLayerStore *self)
{
    return &self->limits;
}

/* ---- what is there --------------------------------------------------------------------------- */

CxLayerPath
cx_layer_path(const CxDigest *diff_id, const char *member)
{
    CxDigestText text = cx_digest_text(diff_id);
    CxLayerPath result;

    (void)snprintf(result.path, sizeof result.path, "%s%s%s", cx_digest_text_hex(&text),
                   member == NULL ? "" : "/", member == NULL ? "" : member);
    return result;
}

static int
open_member(CxLayerStore *self, const CxDigest *diff_id, const char *member, GError **error)
{
    int fd = openat(self->layers_fd, cx_layer_path(diff_id, member).path,
                    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 ? fd : cx_throw_errno_fd(error, "layer %s", cx_digest_text(diff_id).text);
}

gboolean
cx_layer_store_has(CxLayerStore *self, const CxDigest *diff_id)
{
    return faccessat(self->layers_fd, cx_layer_path(diff_id, CX_LAYER_TAR).path, F_OK,
                     AT_SYMLINK_NOFOLLOW) == 0;
}

int
cx_layer_store_open_tar(CxLayerStore *self,
                        const CxDigest *diff_id,
                        guint64 *out_size,
                        GError **error)
{
    cx_autofd int fd = open_member(self, diff_id, CX_LAYER_TAR, error);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return cx_throw_errno_fd(error, "layer %s", cx_digest_text(diff_id).text);

    if (out_size != NULL)
        *out_size = (guint64)st.st_size;
    return cx_steal_fd(&fd);
}

int
cx_layer_store_open_folder(CxLayerStore *self, const CxDigest *diff_id, GError **error)
{
    int fd = openat(self->layers_fd, cx_layer_path(diff_id, NULL).path,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 ? fd : cx_throw_errno_fd(error, "layer %s", cx_digest_text(diff_id).text);
}

guint64
cx_layer_store_usage(CxLayerStore *self, const CxDigest *diff_id)
{
    return cx_tree_usage_at(self->layers_fd, cx_layer_path(diff_id, NULL).path);
}

static int
compare_digests(gconstpointer a, gconstpointer b)
{
    return cx_digest_compare(a, b);
}

GArray *
cx_layer_store_list(CxLayerStore *self, GError **error)
{
    g_autoptr(GArray) digests = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    g_autoptr(Dir) dir = NULL;
    struct dirent *entry;
    int fd = openat(self->layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return cx_throw_errno_null(error, "\"layers\"");
    dir = fdopendir(fd);
    if (dir == NULL) {
        cx_throw_errno(error, "\"layers\"");
        (void)close(fd);
        return NULL;
    }
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
        CxDigest digest;

        if (cx_digest_parse_hex(entry->d_name, &digest))
            g_array_append_val(digests, digest);
    }
    if (errno != 0)
        return cx_throw_errno_null(error, "\"layers\"");

    g_array_sort(digests, compare_digests);
    return g_steal_pointer(&digests);
}

/* ---- the index ------------------------------------------------------------------------------- */

static CxErofsIndex *
open_index(CxLayerStore *self, const CxDigest *diff_id, GError **error)
{
    cx_autofd int fd = open_member(self, diff_id, CX_LAYER_INDEX, error);

    return fd < 0 ? NULL : cx_erofs_index_open(fd, error);
}

/* Builds the index in tmp/ and puts it beside the tar, over a damaged one if need be. */
static gboolean
build_index(CxLayerStore *self, const CxDigest *diff_id, GError **error)
{
    CX_ERROR_CONTEXT(error, "layer %s", cx_digest_text(diff_id).text);
    cx_autofd int folder_fd = -1;
    cx_autofd int tar_fd = -1;
    g_auto(CxTmpfile) index = CX_TMPFILE_INIT;
    guint64 tar_size = 0;

    folder_fd = cx_layer_store_open_folder(self, diff_id, error);
    if (folder_fd < 0)
        return FALSE;
    tar_fd = cx_layer_store_open_tar(self, diff_id, &tar_size, error);
    if (tar_fd < 0)
        return FALSE;

    return cx_tmpfile_make(&index, self->tmp_fd, 0600, error) &&
           cx_erofs_index_build(tar_fd, tar_size, &self->limits, index.fd, NULL, error) &&
           cx_failpoint("layer-index", error) &&
           cx_tmpfile_publish(&index, folder_fd, CX_LAYER_INDEX, TRUE, error);
}

/* One thread at a time works on the index of a layer; the others wait for it. */
static void
claim_building(CxLayerStore *self, const CxDigest *diff_id)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (g_hash_table_contains(self->building, diff_id))
        g_cond_wait(&self->index_built, &self->lock);

    (void)g_hash_table_add(self->building, cx_digest_dup(diff_id));
}

static void
release_building(CxLayerStore *self, const CxDigest *diff_id)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    (void)g_hash_table_remove(self->building, diff_id);
    g_cond_broadcast(&self->index_built);
}

/* Whether an index that could not be opened for this reason is to be built (again). */
static gboolean
is_worth_building(const GError *failure)
{
    return cx_error_is(failure, CX_ERROR_NOT_FOUND) || cx_error_is(failure, CX_ERROR_MISMATCH);
}

static CxErofsIndex *
open_or_build_index(CxLayerStore *self, const CxDigest *diff_id, GError **error)
{
    g_autoptr(GError) failure = NULL;
    CxErofsIndex *index = open_index(self, diff_id, &failure);

    if (index != NULL)
        return index;
    if (!is_worth_building(failure)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    return build_index(self, diff_id, error) ? open_index(self, diff_id, error) : NULL;
}

CxErofsIndex *
cx_layer_store_open_index(CxLayerStore *self, const CxDigest *diff_id, GError **error)
{
    CxErofsIndex *index = open_index(self, diff_id, NULL);

    if (index != NULL)
        return index;

    claim_building(self, diff_id);
    index = open_or_build_index(self, diff_id, error);
    release_building(self, diff_id);
    return index;
}

/* ---- going away ------------------------------------------------------------------------------ */

/* The folder leaves layers/ in one step, so that no half of it is ever seen there. */
gboolean
cx_layer_store_remove(CxLayerStore *self,
                      const CxDigest *diff_id,
                      guint64 *out_freed,
                      GError **error)
{
    g_autofree char *gone =
        g_strdup_printf("%s.%08x.gone", cx_layer_path(diff_id, NULL).path, g_random_int());
    guint64 freed = cx_layer_store_usage(self, diff_id);

    if (renameat(self->layers_fd, cx_layer_path(diff_id, NULL).path, self->tmp_fd, gone) < 0)
        return cx_throw_errno(error, "layer %s", cx_digest_text(diff_id).text);
    if (!cx_remove_tree_at(self->tmp_fd, gone, error))
        return FALSE;

    if (out_freed != NULL)
        *out_freed = freed;
    return TRUE;
}
