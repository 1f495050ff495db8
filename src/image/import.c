/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing an image file into the stores.
 *
 * Each layer is read once.  Two workers, the caller being one, take layers from a list, largest
 * first:
 *
 *   archive ──► tap ──► decompressor ──► layer ingest (its own thread: hash, write) ──► erofs index
 *                └──► blob ingest (hash, write)
 *
 * The tap sees the bytes as they are stored, the layer ingest the tar.  Where a store has its part
 * already the same bytes go to a hash alone, so an image never becomes usable with a layer that its
 * file did not prove to have (unless the caller vouches for it, hooks.may_reuse).  The first fault
 * stops all workers. */
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "image/image-file.h"
#include "layer/codec.h"

#define WORKERS 2
#define PROGRESS_STEP (4 * 1024 * 1024) /* bytes between two reports */

/* ---- one layer ---- */

typedef struct {
    guint number;                   /* from 0 at the bottom */
    const CxDescriptor *descriptor; /* borrowed */
    CxDigest diff_id;
} Job;

typedef struct {
    CxImageFile *file;
    CxBlobStore *blobs;
    CxLayerStore *layers;
    const CxImportHooks *hooks;
    guint n_layers;
    CxCancel *cancellable; /* (owned) of the workers; ends with the caller's */

    GMutex lock;
    GArray *jobs;  /* guarded by lock: (owned) of Job, the next is last */
    GError *fault; /* guarded by lock: the first */
} Import;

/* A sink that only hashes, for bytes that are stored already. */
typedef struct {
    CxSink base;
    CxHasher *hasher; /* (owned) */
} HashSink;

static gboolean
hash_sink_write(CxSink *base, const void *data, gsize size, GError **error)
{
    cx_hasher_update(((HashSink *)base)->hasher, data, size);
    return TRUE;
}

/* Sees the bytes of a layer as they are stored: keeps or hashes them, and reports how far it is. */
typedef struct {
    CxSink base;
    const Import *import;
    const Job *job;
    CxBlobIngest *ingest; /* (owned); NULL: only hash */
    CxHasher *hasher; /* (owned) when there is no ingest; NULL for a layer that is not compressed:
                         its diff id will do */
    CxSink *next;     /* borrowed; where the bytes of such a layer go on to */
    guint64 seen;
    guint64 reported;
} Tap;

static void
report(Tap *self)
{
    const CxImportHooks *hooks = self->import->hooks;

    self->reported = self->seen;
    if (hooks->progress != NULL)
        hooks->progress(hooks->user, self->job->number, self->import->n_layers, self->seen,
                        self->job->descriptor->size);
}

static void
count(Tap *self, guint64 size)
{
    self->seen += size;
    if (self->seen - self->reported >= PROGRESS_STEP)
        report(self);
}

static gboolean
tap_write(CxSink *base, const void *data, gsize size, GError **error)
{
    Tap *self = (Tap *)base;

    count(self, size);
    if (self->next != NULL)
        return cx_sink_write(self->next, data, size, error);
    if (self->ingest != NULL)
        return cx_blob_ingest_write(self->ingest, data, size, error);
    if (self->hasher != NULL)
        cx_hasher_update(self->hasher, data, size);
    return TRUE;
}

static gboolean
tap_splice(CxSink *base, int fd, guint64 offset, guint64 size, GError **error)
{
    Tap *self = (Tap *)base;

    count(self, size);
    return cx_sink_splice(self->next, fd, offset, size, error);
}

/* The way of one layer into the stores. */
typedef struct {
    Tap tap;
    CxLayerIngest *ingest; /* (owned); NULL: only hash */
    HashSink hash;         /* used when ingest is NULL */
} Passage;

static void
clear_passage(Passage *self)
{
    g_clear_pointer(&self->tap.ingest, cx_blob_ingest_free);
    g_clear_pointer(&self->tap.hasher, cx_hasher_free);
    g_clear_pointer(&self->ingest, cx_layer_ingest_free);
    g_clear_pointer(&self->hash.hasher, cx_hasher_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Passage, clear_passage)

static CxCompression
compression_of(const CxDescriptor *descriptor)
{
    switch (cx_media_kind(descriptor->media_type)) {
    case CX_MEDIA_LAYER_GZIP:
        return CX_COMPRESSION_GZIP;
    case CX_MEDIA_LAYER_ZSTD:
        return CX_COMPRESSION_ZSTD;
    case CX_MEDIA_UNKNOWN:
    case CX_MEDIA_INDEX:
    case CX_MEDIA_MANIFEST:
    case CX_MEDIA_CONFIG:
    case CX_MEDIA_LAYER_TAR:
        break;
    }
    return CX_COMPRESSION_NONE;
}

/* Opens the ends of the passage: a store where its part is missing, a hash where it is there. */
static gboolean
open_passage(
    Passage *self, const Import *import, gboolean need_blob, gboolean need_layer, GError **error)
{
    if (need_blob) {
        self->tap.ingest = cx_blob_store_begin(import->blobs, error);
        if (self->tap.ingest == NULL)
            return FALSE;
    } else if (compression_of(self->tap.job->descriptor) != CX_COMPRESSION_NONE) {
        self->tap.hasher = cx_hasher_new();
    }
    if (need_layer) {
        self->ingest = cx_layer_store_begin(import->layers, error);
        return self->ingest != NULL;
    }
    self->hash = (HashSink){.base = {.write = hash_sink_write}, .hasher = cx_hasher_new()};
    return TRUE;
}

/* Strict: bytes that are not what the media type says would be read otherwise by somebody else. */
static gboolean
check_media(const CxPart *part, CxCompression compression, GError **error)
{
    guint8 magic[8];
    gssize n =
        cx_pread_full(part->fd, magic, (gsize)MIN(sizeof magic, part->size), part->offset, error);
    CxCompression actual;

    if (n < 0)
        return FALSE;

    actual = cx_compression_detect(magic, (gsize)n);
    if (actual != compression)
        return cx_throw(error, CX_ERROR_INVALID,
                        "its media type says compression %s, its bytes say %s",
                        cx_compression_name(compression), cx_compression_name(actual));

    return TRUE;
}

static gboolean
stream(Passage *self, const Import *import, GError **error)
{
    const CxDescriptor *descriptor = self->tap.job->descriptor;
    CxCompression compression = compression_of(descriptor);
    CxSink *tar = self->ingest != NULL ? cx_layer_ingest_get_sink(self->ingest) : &self->hash.base;
    guint64 limit = cx_layer_store_get_limits(import->layers)->bytes_max;
    g_auto(CxPart) part = CX_PART_INIT;

    if (!cx_image_file_open_blob(import->file, descriptor, &part, error) ||
        !check_media(&part, compression, error))
        return FALSE;

    if (compression == CX_COMPRESSION_NONE) {
        self->tap.next = tar;
        self->tap.base.splice = tap_splice;
    }
    if (!cx_decompress(part.fd, part.offset, part.size, compression, limit,
                       self->tap.next != NULL ? &self->tap.base : tar,
                       self->tap.next != NULL ? NULL : &self->tap.base, import->cancellable, error))
        return FALSE;

    report(&self->tap);
    return TRUE;
}

static gboolean
check_hash(CxHasher *hasher, const CxDigest *expected, GError **error)
{
    CxDigest actual = cx_hasher_finish(hasher);

    return cx_digest_equal(&actual, expected) ||
           cx_throw(error, CX_ERROR_MISMATCH, "digest mismatch (read %s)",
                    cx_digest_text(&actual).text);
}

static gboolean
settle_blob(Passage *self, GError **error)
{
    const CxDigest *expected = &self->tap.job->descriptor->digest;

    if (self->tap.ingest != NULL)
        return cx_blob_ingest_commit(self->tap.ingest, expected, NULL, error);
    if (self->tap.hasher == NULL)
        return TRUE;

    CX_ERROR_CONTEXT(error, "blob %s", cx_digest_text(expected).text);
    return check_hash(self->tap.hasher, expected, error);
}

static gboolean
settle_layer(Passage *self, GError **error)
{
    const CxDigest *expected = &self->tap.job->diff_id;
    CX_ERROR_CONTEXT(error, "diff id %s", cx_digest_text(expected).text);

    return self->ingest != NULL ? cx_layer_ingest_commit(self->ingest, expected, NULL, NULL, error)
                                : check_hash(self->hash.hasher, expected, error);
}

static gboolean
bring_in(
    const Import *import, const Job *job, gboolean need_blob, gboolean need_layer, GError **error)
{
    g_auto(Passage) passage = {
        .tap = {.base = {.write = tap_write}, .import = import, .job = job}
    };

    return open_passage(&passage, import, need_blob, need_layer, error) &&
           stream(&passage, import, error) && settle_blob(&passage, error) &&
           settle_layer(&passage, error);
}

static gboolean
is_unfit(const GError *fault)
{
    return cx_error_is(fault, CX_ERROR_INVALID) || cx_error_is(fault, CX_ERROR_LIMIT) ||
           cx_error_is(fault, CX_ERROR_MISMATCH) || cx_error_is(fault, CX_ERROR_UNSUPPORTED);
}

/* Building the index checks the tar; one that is unfit does not stay. */
static gboolean
check_tar(const Import *import, const Job *job, gboolean is_new, GError **error)
{
    g_autoptr(GError) fault = NULL;
    g_autoptr(CxErofsIndex) index =
        cx_layer_store_open_index(import->layers, &job->diff_id, &fault);

    if (index != NULL)
        return TRUE;
    if (is_new && is_unfit(fault))
        (void)cx_layer_store_remove(import->layers, &job->diff_id, NULL, NULL);
    g_propagate_error(error, g_steal_pointer(&fault));
    return FALSE;
}

static gboolean
may_reuse(const CxImportHooks *hooks, const Job *job)
{
    return hooks->may_reuse == NULL ||
           hooks->may_reuse(hooks->user, &job->descriptor->digest, &job->diff_id);
}

static gboolean
import_layer(const Import *import, const Job *job, GError **error)
{
    CX_ERROR_CONTEXT(error, "layer %u of %u", job->number + 1, import->n_layers);
    const CxImportHooks *hooks = import->hooks;
    const CxDigest *digest = &job->descriptor->digest;
    gboolean compressed = compression_of(job->descriptor) != CX_COMPRESSION_NONE;
    gboolean need_blob, need_layer;

    if (!compressed && !cx_digest_equal(digest, &job->diff_id))
        return cx_throw(error, CX_ERROR_MISMATCH,
                        "it is not compressed, but its digest %s is not its diff id",
                        cx_digest_text(digest).text);

    /* Held first, looked for then: what is there now will not be collected. */
    if (compressed && hooks->hold_blob != NULL)
        hooks->hold_blob(hooks->user, digest);
    if (hooks->hold_layer != NULL)
        hooks->hold_layer(hooks->user, &job->diff_id);

    need_blob = compressed && !cx_blob_store_has(import->blobs, digest);
    need_layer = !cx_layer_store_has(import->layers, &job->diff_id);
    if ((need_blob || need_layer || !may_reuse(hooks, job)) &&
        !bring_in(import, job, need_blob, need_layer, error))
        return FALSE;

    return check_tar(import, job, need_layer, error);
}

/* ---- all layers ---- */

static gboolean
take_job(Import *self, Job *out_job)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    if (self->fault != NULL || self->jobs->len == 0)
        return FALSE;

    *out_job = g_array_index(self->jobs, Job, self->jobs->len - 1);
    g_array_set_size(self->jobs, self->jobs->len - 1);
    return TRUE;
}

/* The first fault is the one to tell; the others follow from stopping. */
static void
stop_workers(Import *self, GError *take_fault)
{
    g_mutex_lock(&self->lock);
    if (self->fault == NULL)
        self->fault = g_steal_pointer(&take_fault);
    g_mutex_unlock(&self->lock);
    g_clear_error(&take_fault);
    cx_cancel_trigger(self->cancellable);
}

static gpointer
work(gpointer data)
{
    Import *self = data;
    Job job;

    while (take_job(self, &job)) {
        GError *fault = NULL;

        if (!import_layer(self, &job, &fault))
            stop_workers(self, fault);
    }
    return NULL;
}

static gint
compare_jobs(gconstpointer a, gconstpointer b)
{
    const Job *left = a, *right = b;

    if (left->descriptor->size != right->descriptor->size)
        return left->descriptor->size < right->descriptor->size ? -1 : 1;
    return (gint)right->number - (gint)left->number;
}

/* One job for each layer; of layers with the same bytes one will do. */
static GArray *
list_jobs(const CxManifest *manifest, const CxImageConfig *config)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(cx_digest_hash, cx_digest_equal_keys);
    GArray *jobs = g_array_new(FALSE, FALSE, sizeof(Job));

    for (guint i = 0; i < manifest->layers->len; i++) {
        const CxDescriptor *descriptor = g_ptr_array_index(manifest->layers, i);
        CxDigest *diff_id = &g_array_index(config->diff_ids, CxDigest, i);
        const CxDigest *same_as = g_hash_table_lookup(seen, &descriptor->digest);
        Job job = {.number = i, .descriptor = descriptor, .diff_id = *diff_id};

        if (same_as != NULL && cx_digest_equal(same_as, diff_id))
            continue;
        g_hash_table_insert(seen, (gpointer)&descriptor->digest, diff_id);
        g_array_append_val(jobs, job);
    }
    g_array_sort(jobs, compare_jobs);
    return jobs;
}

static gboolean
import_config(const Import *import, const CxManifest *manifest, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;

    if (import->hooks->hold_blob != NULL)
        import->hooks->hold_blob(import->hooks->user, &manifest->config->digest);

    import->file->budget = CX_DOCUMENT_MAX;
    bytes = cx_image_file_read_document(import->file, manifest->config, error);
    return bytes != NULL && cx_blob_store_put(import->blobs, g_bytes_get_data(bytes, NULL),
                                              g_bytes_get_size(bytes), NULL, error);
}

static void
forward_cancel(gpointer to)
{
    cx_cancel_trigger(to);
}

/* Works through the jobs with as many threads as there is work for, the calling one among them. */
static void
run_workers(Import *self, CxCancel *cancellable)
{
    GThread *threads[WORKERS - 1] = {NULL};
    guint n_threads = MIN(WORKERS, self->jobs->len);
    guint handler = 0;

    if (cancellable != NULL)
        handler = cx_cancel_connect(cancellable, forward_cancel, self->cancellable);
    for (guint i = 0; i + 1 < n_threads; i++)
        threads[i] = g_thread_try_new("import", work, self, NULL);
    work(self);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        if (threads[i] != NULL)
            g_thread_join(threads[i]);
    cx_cancel_disconnect(cancellable, handler);
}

gboolean
cx_image_file_import(CxImageFile *self,
                     const CxManifest *manifest,
                     const CxImageConfig *config,
                     CxBlobStore *blobs,
                     CxLayerStore *layers,
                     const CxImportHooks *hooks,
                     CxCancel *cancellable,
                     GError **error)
{
    CX_ERROR_CONTEXT(error, "\"%s\"", self->name);
    static const CxImportHooks no_hooks = {NULL};
    Import import = {
        .file = self,
        .blobs = blobs,
        .layers = layers,
        .hooks = hooks == NULL ? &no_hooks : hooks,
        .n_layers = manifest->layers->len,
    };

    if (!cx_manifest_check(manifest, config, error) || cx_check_cancelled(cancellable, error) ||
        !import_config(&import, manifest, error))
        return FALSE;

    g_mutex_init(&import.lock);
    import.cancellable = cx_cancel_new();
    import.jobs = list_jobs(manifest, config);
    run_workers(&import, cancellable);

    g_mutex_clear(&import.lock);
    cx_cancel_unref(import.cancellable);
    g_array_unref(import.jobs);
    if (import.fault == NULL)
        return TRUE;

    g_propagate_error(error, import.fault);
    return FALSE;
}
