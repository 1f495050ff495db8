/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"
#include "store/store-private.h"

#define LOCK_POLL_US (20 * 1000)
/* The mark of an owner that has not closed the store.  One that is there at opening belongs to an
 * owner that was killed, and what it had published without a name is garbage. */
#define OPEN_MARK "open"

/* ---- opening --------------------------------------------------------------------------------- */

static gboolean
open_root(CxStore *self, const char *path, GError **error)
{
    self->path = g_strdup(path);
    if (g_mkdir_with_parents(path, 0700) < 0)
        return cx_throw_errno(error, "\"%s\"", path);

    self->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->root_fd < 0)
        return cx_throw_errno(error, "\"%s\"", path);

    return TRUE;
}

/* One process owns a root.  The lock goes with the process, so a killed owner leaves none behind.
 */
static gboolean
lock_root(CxStore *self, gboolean wait, CxCancel *cancellable, GError **error)
{
    self->lock_fd = openat(self->root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->lock_fd < 0)
        return cx_throw_errno(error, "lock");

    while (flock(self->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return cx_throw_errno(error, "lock");
        if (!wait)
            return cx_throw(error, CX_ERROR_BUSY,
                            "\"%s\" is in use by another cruxd (choose another --root)",
                            self->path);
        if (cx_check_cancelled(cancellable, error))
            return FALSE;
        g_usleep(LOCK_POLL_US);
    }
    return TRUE;
}

static int
open_folder(CxStore *self, const char *name, GError **error)
{
    int fd;

    if (mkdirat(self->root_fd, name, 0700) < 0 && errno != EEXIST)
        return cx_throw_errno_fd(error, "\"%s\"", name);

    fd = openat(self->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? cx_throw_errno_fd(error, "\"%s\"", name) : fd;
}

/* Whatever an earlier process had not finished. */
static gboolean
clear_unfinished(CxStore *self, GError **error)
{
    if (!cx_remove_tree_at(self->root_fd, "tmp", error))
        return FALSE;

    self->tmp_fd = open_folder(self, "tmp", error);
    return self->tmp_fd >= 0;
}

static gboolean
open_rooms(CxStore *self, const CxStoreOptions *options, GError **error)
{
    const CxLayerLimits *limits =
        options->limits != NULL ? options->limits : &cx_layer_limits_default;
    g_autofree char *database = g_build_filename(self->path, "meta.db", NULL);

    self->meta = cx_meta_open(database, error);
    if (self->meta == NULL)
        return FALSE;

    self->blobs = cx_blob_store_open(self->root_fd, error);
    self->layers = self->blobs == NULL ? NULL : cx_layer_store_open(self->root_fd, limits, error);
    if (self->layers == NULL)
        return FALSE;

    self->snapshotter =
        cx_snapshotter_open(self->root_fd, self->layers, options->snapshotter, error);
    return self->snapshotter != NULL;
}

static guint64
default_budget(CxStore *self)
{
    struct statvfs fs;

    if (fstatvfs(self->root_fd, &fs) < 0)
        return CX_STORE_CACHE_MAX;

    return MIN(CX_STORE_CACHE_MAX, (guint64)fs.f_blocks * fs.f_frsize / 4);
}

static gboolean
remove_object(CxStore *self, const CxObject *object, guint64 *out_freed, GError **error)
{
    switch (object->kind) {
    case CX_OBJECT_BLOB:
        return cx_blob_store_remove(self->blobs, &object->digest, out_freed, error);
    case CX_OBJECT_LAYER:
        return cx_snapshotter_forget_layer(self->snapshotter, &object->digest, error) &&
               cx_layer_store_remove(self->layers, &object->digest, out_freed, error);
    case CX_OBJECT_UPPER:
        *out_freed = cx_snapshotter_usage(self->snapshotter, object->upper);
        return cx_snapshotter_remove_upper(self->snapshotter, object->upper, error);
    case CX_N_OBJECT_KINDS:
        break;
    }
    g_return_val_if_reached(FALSE);
}

/* After a crash of the machine (not merely of ours) objects that were not forced to disk may hold
 * anything. */
static gboolean
drop_suspects(CxStore *self, GError **error)
{
    g_autoptr(GArray) suspects = cx_meta_list_suspects(self->meta, error);

    if (suspects == NULL)
        return FALSE;

    for (guint i = 0; i < suspects->len; i++) {
        const CxObject *object = &g_array_index(suspects, CxObject, i);
        g_autoptr(GError) local = NULL;
        guint64 freed;

        if (!cx_meta_drop_holders(self->meta, object, error))
            return FALSE;
        if (!remove_object(self, object, &freed, &local) &&
            !cx_error_is(local, CX_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
collect_after_crash(CxStore *self, CxCancel *cancellable, GError **error)
{
    cx_autofd int fd =
        openat(self->root_fd, OPEN_MARK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CxGcReport report;

    if (fd >= 0)
        return TRUE;
    if (errno != EEXIST)
        return cx_throw_errno(error, OPEN_MARK);

    return cx_store_gc(self, 0, &report, cancellable, error);
}

CxStore *
cx_store_open(const CxStoreOptions *options, CxCancel *cancellable, GError **error)
{
    CX_ERROR_CONTEXT(error, "store \"%s\"", options->path);
    CxStore *self = g_new0(CxStore, 1);

    self->root_fd = self->lock_fd = self->tmp_fd = self->logs_fd = -1;
    g_rw_lock_init(&self->publication);
    g_mutex_init(&self->lease_lock);
    self->leases = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!open_root(self, options->path, error) ||
        !lock_root(self, options->wait_for_lock, cancellable, error) ||
        !clear_unfinished(self, error) || (self->logs_fd = open_folder(self, "logs", error)) < 0 ||
        !open_rooms(self, options, error) || !drop_suspects(self, error)) {
        cx_store_close(self, FALSE);
        return NULL;
    }
    self->cache_bytes = options->cache_bytes != 0 ? options->cache_bytes : default_budget(self);
    if (!collect_after_crash(self, cancellable, error)) {
        cx_store_close(self, FALSE);
        return NULL;
    }
    return self;
}

void
cx_store_close(CxStore *self, gboolean sync)
{
    if (self == NULL)
        return;

    if (sync && self->meta != NULL)
        (void)cx_store_sync(self, NULL);
    g_clear_pointer(&self->snapshotter, cx_snapshotter_close);
    g_clear_pointer(&self->layers, cx_layer_store_close);
    g_clear_pointer(&self->blobs, cx_blob_store_close);
    g_clear_pointer(&self->meta, cx_meta_close);
    g_clear_pointer(&self->leases, g_hash_table_unref);
    g_mutex_clear(&self->lease_lock);
    g_rw_lock_clear(&self->publication);
    if (self->lock_fd >= 0 && self->logs_fd >= 0)
        (void)unlinkat(self->root_fd, OPEN_MARK, 0);
    cx_clear_fd(&self->logs_fd);
    cx_clear_fd(&self->tmp_fd);
    cx_clear_fd(&self->lock_fd);
    cx_clear_fd(&self->root_fd);
    g_free(self->path);
    g_free(self);
}

/* ---- parts ----------------------------------------------------------------------------------- */

CxBlobStore *
cx_store_get_blobs(CxStore *self)
{
    return self->blobs;
}

CxLayerStore *
cx_store_get_layers(CxStore *self)
{
    return self->layers;
}

CxSnapshotter *
cx_store_get_snapshotter(CxStore *self)
{
    return self->snapshotter;
}

CxMeta *
cx_store_get_meta(CxStore *self)
{
    return self->meta;
}

const char *
cx_store_get_path(CxStore *self)
{
    return self->path;
}

int
cx_store_get_tmp_fd(CxStore *self)
{
    return self->tmp_fd;
}

int
cx_store_get_logs_fd(CxStore *self)
{
    return self->logs_fd;
}

gboolean
cx_store_has_object(CxStore *self, const CxObject *object)
{
    switch (object->kind) {
    case CX_OBJECT_BLOB:
        return cx_blob_store_has(self->blobs, &object->digest);
    case CX_OBJECT_LAYER:
        return cx_layer_store_has(self->layers, &object->digest);
    case CX_OBJECT_UPPER: {
        CxLower lower = {.kind = CX_LOWER_UPPER, .upper = object->upper};
        cx_autofd int fd = cx_snapshotter_open_lower(self->snapshotter, &lower, NULL);

        return fd >= 0;
    }
    case CX_N_OBJECT_KINDS:
        break;
    }
    g_return_val_if_reached(FALSE);
}

/* ---- the cache ------------------------------------------------------------------------------- */

void
cx_store_publish_begin(CxStore *self)
{
    g_rw_lock_reader_lock(&self->publication);
}

void
cx_store_publish_end(CxStore *self)
{
    g_rw_lock_reader_unlock(&self->publication);
}

char *
cx_store_recall(CxStore *self, const CxDigest *key, CxLease *lease, GError **error)
{
    g_autofree char *value = NULL;
    g_autoptr(GArray) objects = NULL;
    gboolean whole = TRUE;

    cx_store_publish_begin(self);
    value = cx_meta_get_record(self->meta, key, &objects, error);
    for (guint i = 0; value != NULL && i < objects->len; i++) {
        const CxObject *object = &g_array_index(objects, CxObject, i);

        cx_lease_hold(lease, object);
        whole = whole && cx_store_has_object(self, object);
    }
    cx_store_publish_end(self);

    if (value != NULL && !whole) {
        (void)cx_meta_drop_record(self->meta, key, error);
        return NULL;
    }
    return g_steal_pointer(&value);
}

static guint64
object_usage(CxStore *self, const CxObject *object)
{
    switch (object->kind) {
    case CX_OBJECT_BLOB:
        return cx_blob_store_usage(self->blobs, &object->digest);
    case CX_OBJECT_LAYER:
        return cx_layer_store_usage(self->layers, &object->digest);
    case CX_OBJECT_UPPER:
        return cx_snapshotter_usage(self->snapshotter, object->upper);
    case CX_N_OBJECT_KINDS:
        break;
    }
    g_return_val_if_reached(0);
}

gboolean
cx_store_remember(CxStore *self,
                  const CxDigest *key,
                  const char *kind,
                  const char *value,
                  const CxObject *objects,
                  guint n_objects,
                  GError **error)
{
    guint64 bytes = 0;

    for (guint i = 0; i < n_objects; i++)
        bytes += object_usage(self, &objects[i]);

    return cx_failpoint("store-remember", error) &&
           cx_meta_put_record(self->meta, key, kind, value, objects, n_objects, bytes, error);
}

gboolean
cx_store_sync(CxStore *self, GError **error)
{
    if (!cx_meta_has_unsynced(self->meta))
        return TRUE;
    if (syncfs(self->root_fd) < 0)
        return cx_throw_errno(error, "sync");

    return cx_meta_mark_synced(self->meta, error);
}

/* ---- garbage --------------------------------------------------------------------------------- */

/* Removes the object unless somebody holds it now.  The writer side of the publication lock makes
 * that one step. */
static gboolean
collect(CxStore *self,
        GHashTable *held,
        const CxObject *object,
        CxGcFlags flags,
        CxGcReport *report,
        GError **error)
{
    CxObjectText text = cx_object_text(object);
    guint64 freed = 0;
    gboolean ok = TRUE;

    if (g_hash_table_contains(held, text.text))
        return TRUE;
    if (flags & CX_GC_DRY_RUN) {
        report->objects++;
        report->bytes += object_usage(self, object);
        return TRUE;
    }

    g_rw_lock_writer_lock(&self->publication);
    if (!cx_store_is_leased(self, object)) {
        g_autoptr(GError) local = NULL;

        ok = remove_object(self, object, &freed, &local);
        if (ok) {
            report->objects++;
            report->bytes += freed;
        } else if (cx_error_is(local, CX_ERROR_BUSY) || cx_error_is(local, CX_ERROR_NOT_FOUND)) {
            ok = TRUE;
        } else {
            g_propagate_error(error, g_steal_pointer(&local));
        }
    }
    g_rw_lock_writer_unlock(&self->publication);
    return ok;
}

/* All objects of one kind that are on disk. */
static GArray *
list_objects(CxStore *self, CxObjectKind kind, GError **error)
{
    g_autoptr(GArray) ids = kind == CX_OBJECT_BLOB ? cx_blob_store_list(self->blobs, error)
                            : kind == CX_OBJECT_LAYER
                                ? cx_layer_store_list(self->layers, error)
                                : cx_snapshotter_list_uppers(self->snapshotter, error);
    GArray *objects;

    if (ids == NULL)
        return NULL;

    objects = g_array_sized_new(FALSE, FALSE, sizeof(CxObject), ids->len);
    for (guint i = 0; i < ids->len; i++) {
        CxObject object = {.kind = kind};

        if (kind == CX_OBJECT_UPPER)
            object.upper = g_array_index(ids, guint64, i);
        else
            object.digest = g_array_index(ids, CxDigest, i);
        g_array_append_val(objects, object);
    }
    return objects;
}

gboolean
cx_store_gc(
    CxStore *self, CxGcFlags flags, CxGcReport *out_report, CxCancel *cancellable, GError **error)
{
    CxGcReport report = {0, 0, 0};
    g_autoptr(GHashTable) held = NULL;

    /* What is on disk is listed before the holds are read: an object published in between is not on
     * the list, one held in between is in the set, and one only leased is seen by collect. */
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);

    if (!(flags & CX_GC_DRY_RUN) &&
        !cx_meta_trim_records(self->meta, (flags & CX_GC_ALL) ? 0 : self->cache_bytes,
                              &report.records, error))
        return FALSE;

    for (CxObjectKind kind = 0; kind < CX_N_OBJECT_KINDS; kind++) {
        GArray *objects = list_objects(self, kind, error);

        if (objects == NULL)
            return FALSE;
        g_ptr_array_add(lists, objects);
    }
    held = cx_meta_held_objects(self->meta, error);
    if (held == NULL)
        return FALSE;

    for (guint l = 0; l < lists->len; l++) {
        GArray *objects = g_ptr_array_index(lists, l);

        for (guint i = 0; i < objects->len; i++)
            if (cx_check_cancelled(cancellable, error) ||
                !collect(self, held, &g_array_index(objects, CxObject, i), flags, &report, error))
                return FALSE;
    }
    *out_report = report;
    return TRUE;
}

gboolean
cx_store_usage(CxStore *self, CxStoreUsage *out_usage, GError **error)
{
    CxStoreUsage usage = {.cache_budget = self->cache_bytes};
    guint64 *counts[] = {&usage.blobs, &usage.layers, &usage.uppers};
    guint64 *bytes[] = {&usage.blob_bytes, &usage.layer_bytes, &usage.upper_bytes};

    if (!cx_meta_count(self->meta, &usage.meta, error))
        return FALSE;

    for (CxObjectKind kind = 0; kind < CX_N_OBJECT_KINDS; kind++) {
        g_autoptr(GArray) objects = list_objects(self, kind, error);

        if (objects == NULL)
            return FALSE;
        *counts[kind] = objects->len;
        for (guint i = 0; i < objects->len; i++)
            *bytes[kind] += object_usage(self, &g_array_index(objects, CxObject, i));
    }
    usage.log_bytes = cx_tree_usage_at(self->root_fd, "logs");
    *out_usage = usage;
    return TRUE;
}

/* ---- the budget ------------------------------------------------------------------------------ */

typedef struct {
    char *name; /* (owned) */
    gint64 changed;
    guint64 bytes;
} LogFile;

static void
log_file_free(gpointer data)
{
    g_free(((LogFile *)data)->name);
    g_free(data);
}

static gint
newest_first(gconstpointer a, gconstpointer b)
{
    const LogFile *x = *(const LogFile *const *)a, *y = *(const LogFile *const *)b;

    return x->changed < y->changed ? 1 : x->changed > y->changed ? -1 : strcmp(x->name, y->name);
}

static void
trim_logs(CxStore *self)
{
    g_autofree char *path = g_build_filename(self->path, "logs", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(log_file_free);
    guint64 kept = 0;
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        struct stat st;

        if (fstatat(self->logs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            LogFile *file = g_new(LogFile, 1);

            *file = (LogFile){g_strdup(name), st.st_mtim.tv_sec, (guint64)st.st_blocks * 512};
            g_ptr_array_add(files, file);
        }
    }
    g_ptr_array_sort(files, newest_first);
    for (guint i = 0; i < files->len; i++) {
        const LogFile *file = g_ptr_array_index(files, i);

        kept += file->bytes;
        if (kept > CX_STORE_LOGS_MAX && i > 0)
            (void)unlinkat(self->logs_fd, file->name, 0);
    }
}

gboolean
cx_store_keep_budget(CxStore *self, CxCancel *cancellable, GError **error)
{
    CxMetaTotals totals;
    CxGcReport report;

    trim_logs(self);
    if (!cx_meta_count(self->meta, &totals, error))
        return FALSE;

    return totals.record_bytes <= self->cache_bytes ||
           cx_store_gc(self, 0, &report, cancellable, error);
}
