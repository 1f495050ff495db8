/* SPDX-License-Identifier: Apache-2.0 */
/* A layer coming in.
 *
 *   producer ──write, splice──► [buffer][buffer]…[buffer] ──► thread: SHA-256, holes, pwrite
 *
 * The buffers form a ring.  The producer owns buffers[fill]; the n_full ones before it are the
 * thread's.  A buffer changes hands under the lock, so its bytes need none.  Nothing is copied but
 * into a buffer; a splice reads the file straight into it.  Memory is N_BUFFERS * BUFFER_SIZE,
 * whatever the layer's size.
 *
 * The thread starts with the first buffer that is full: a layer of a few files is stored by its
 * commit alone.
 *
 * A fault of the thread stays in `failure`; the thread goes on to take buffers, and throws them
 * away, so the producer never waits in vain and hears of it at its next buffer or at the commit.
 * Where no thread can be had (RLIMIT_NPROC), or CX_DISABLE=ingest-thread, the producer does the
 * thread's work itself. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"
#include "layer/layer-store-private.h"
#include "layer/layer-store.h"

#define BUFFER_SIZE (256 * 1024)
#define N_BUFFERS 6
#define HOLE_BLOCK 4096 /* zeros of this size and place become a hole */
G_STATIC_ASSERT(BUFFER_SIZE % HOLE_BLOCK == 0);

typedef struct {
    gsize size;
    guint8 *data; /* (owned) BUFFER_SIZE bytes */
} Buffer;

struct CxLayerIngest {
    CxSink sink;
    CxLayerStore *store; /* borrowed */
    CxTmpdir dir;
    int fd;          /* the tar in it */
    GThread *thread; /* NULL: not started, or joined */
    gboolean threadless;

    Buffer buffers[N_BUFFERS];
    guint fill; /* the producer's buffer */

    GMutex lock;
    GCond changed;
    guint n_full;    /* guarded by lock */
    gboolean closed; /* guarded by lock: no buffer comes after these */
    GError *failure; /* guarded by lock */

    CxHasher *hasher; /* from here on the thread's, once it runs */
    guint64 offset;
};

/* ---- what the thread does with a buffer ------------------------------------------------------ */

static gboolean
is_zero(const guint8 *block, gsize size)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

/* How far the bytes at data go on as they begin: as a hole or as content.  Holes are whole blocks.
 */
static gsize
measure_run(const guint8 *data, gsize size, gboolean *out_hole)
{
    gsize n = 0;

    *out_hole = size >= HOLE_BLOCK && is_zero(data, HOLE_BLOCK);
    while (size - n >= HOLE_BLOCK && is_zero(data + n, HOLE_BLOCK) == *out_hole)
        n += HOLE_BLOCK;

    return *out_hole || size - n >= HOLE_BLOCK ? n : size;
}

static gboolean
store_buffer(CxLayerIngest *self, const Buffer *buffer, GError **error)
{
    gsize done = 0;

    cx_hasher_update(self->hasher, buffer->data, buffer->size);
    while (done < buffer->size) {
        gboolean hole;
        gsize n = measure_run(buffer->data + done, buffer->size - done, &hole);

        if (!hole && !cx_pwrite_all(self->fd, buffer->data + done, n, self->offset + done, error))
            return FALSE;
        done += n;
    }
    self->offset += buffer->size;
    return TRUE;
}

/* Waits for a full buffer.  FALSE: there is none left and none will come. */
static gboolean
await_full(CxLayerIngest *self, gboolean *out_failed)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    while (self->n_full == 0 && !self->closed)
        g_cond_wait(&self->changed, &self->lock);

    *out_failed = self->failure != NULL;
    return self->n_full > 0;
}

static void
give_back(CxLayerIngest *self, GError *take_failure)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->n_full--;
    if (take_failure != NULL)
        self->failure = take_failure;
    g_cond_signal(&self->changed);
}

static gpointer
run_thread(gpointer data)
{
    CxLayerIngest *self = data;
    gboolean failed;

    for (guint take = 0; await_full(self, &failed); take = (take + 1) % N_BUFFERS) {
        GError *failure = NULL;

        if (!failed)
            (void)store_buffer(self, &self->buffers[take], &failure);
        give_back(self, failure);
    }
    return NULL;
}

/* ---- the producer's side --------------------------------------------------------------------- */

/* Raises what happened to the thread, if anything did.  The lock is held, or there is no thread. */
static gboolean
check_failure(CxLayerIngest *self, GError **error)
{
    if (self->failure == NULL)
        return TRUE;

    g_propagate_error(error, g_error_copy(self->failure));
    return FALSE;
}

static void
ensure_thread(CxLayerIngest *self)
{
    if (self->thread == NULL && !self->threadless)
        self->thread = g_thread_try_new("layer-ingest", run_thread, self, NULL);

    self->threadless = self->thread == NULL;
}

static gboolean
store_here(CxLayerIngest *self, GError **error)
{
    if (check_failure(self, NULL))
        (void)store_buffer(self, &self->buffers[self->fill], &self->failure);

    self->buffers[self->fill].size = 0;
    return check_failure(self, error);
}

/* Gives the filled buffer to the thread and waits for a free one. */
static gboolean
pass_on(CxLayerIngest *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    self->n_full++;
    g_cond_signal(&self->changed);
    while (self->n_full == N_BUFFERS)
        g_cond_wait(&self->changed, &self->lock);

    self->fill = (self->fill + 1) % N_BUFFERS;
    self->buffers[self->fill].size = 0;
    return check_failure(self, error);
}

static gboolean
hand_over(CxLayerIngest *self, GError **error)
{
    ensure_thread(self);
    return self->threadless ? store_here(self, error) : pass_on(self, error);
}

/* The buffer to fill, with at least a byte of room. */
static Buffer *
get_room(CxLayerIngest *self, GError **error)
{
    Buffer *buffer = &self->buffers[self->fill];

    if (buffer->size == BUFFER_SIZE) {
        if (!hand_over(self, error))
            return NULL;
        buffer = &self->buffers[self->fill];
    }
    if (buffer->data == NULL)
        buffer->data = g_malloc(BUFFER_SIZE);
    return buffer;
}

static gboolean
ingest_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    CxLayerIngest *self = (CxLayerIngest *)sink;
    const guint8 *next = data;

    while (size > 0) {
        Buffer *buffer = get_room(self, error);
        gsize part;

        if (buffer == NULL)
            return FALSE;

        part = MIN(size, BUFFER_SIZE - buffer->size);
        memcpy(buffer->data + buffer->size, next, part);
        buffer->size += part;
        next += part;
        size -= part;
    }
    return TRUE;
}

static gboolean
ingest_splice(CxSink *sink, int fd, guint64 offset, guint64 size, GError **error)
{
    CxLayerIngest *self = (CxLayerIngest *)sink;

    while (size > 0) {
        Buffer *buffer = get_room(self, error);
        gsize part;
        gssize n;

        if (buffer == NULL)
            return FALSE;

        part = (gsize)MIN(size, BUFFER_SIZE - buffer->size);
        n = cx_pread_full(fd, buffer->data + buffer->size, part, offset, error);
        if (n < 0)
            return FALSE;
        if ((gsize)n < part)
            return cx_throw(error, CX_ERROR_MISMATCH, "file shrank while it was read");
        buffer->size += part;
        offset += part;
        size -= part;
    }
    return TRUE;
}

/* ---- life ------------------------------------------------------------------------------------ */

CxLayerIngest *
cx_layer_store_begin(CxLayerStore *self, GError **error)
{
    g_autoptr(CxLayerIngest) ingest = g_new0(CxLayerIngest, 1);

    ingest->sink = (CxSink){.write = ingest_write, .splice = ingest_splice};
    ingest->store = self;
    ingest->dir = (CxTmpdir)CX_TMPDIR_INIT;
    ingest->fd = -1;
    ingest->threadless = cx_switch_is_disabled("ingest-thread");
    ingest->hasher = cx_hasher_new();
    g_mutex_init(&ingest->lock);
    g_cond_init(&ingest->changed);

    if (!cx_tmpdir_make(&ingest->dir, self->tmp_fd, 0700, error))
        return NULL;

    ingest->fd =
        openat(ingest->dir.fd, CX_LAYER_TAR, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (ingest->fd < 0)
        return cx_throw_errno_null(error, "layer");

    return g_steal_pointer(&ingest);
}

CxSink *
cx_layer_ingest_get_sink(CxLayerIngest *self)
{
    return &self->sink;
}

/* Ends the thread once it is through with its buffers. */
static void
join_thread(CxLayerIngest *self)
{
    if (self->thread == NULL)
        return;

    g_mutex_lock(&self->lock);
    self->closed = TRUE;
    g_cond_signal(&self->changed);
    g_mutex_unlock(&self->lock);
    g_thread_join(g_steal_pointer(&self->thread));
}

/* Waits until all bytes are hashed and written.  A buffer that is not full needs no thread. */
static gboolean
settle(CxLayerIngest *self, GError **error)
{
    join_thread(self);
    self->threadless = TRUE;
    if (!store_here(self, error))
        return FALSE;
    if (ftruncate(self->fd, (off_t)self->offset) < 0) /* the last bytes may be a hole */
        return cx_throw_errno(error, "write");

    return TRUE;
}

static gboolean
check_digest(const CxDigest *digest, const CxDigest *expected, GError **error)
{
    if (expected == NULL || cx_digest_equal(digest, expected))
        return TRUE;

    return cx_throw(error, CX_ERROR_MISMATCH, "digest mismatch (read %s)",
                    cx_digest_text(digest).text);
}

/* The commit point.  Whoever published the same bytes before us did it for us. */
static gboolean
publish(CxLayerIngest *self, const CxDigest *digest, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (!cx_failpoint("layer-commit", error))
        return FALSE;
    if (cx_tmpdir_publish(&self->dir, self->store->layers_fd, cx_layer_path(digest, NULL).path,
                          &failure) ||
        cx_error_is(failure, CX_ERROR_EXISTS))
        return TRUE;

    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
cx_layer_ingest_commit(CxLayerIngest *self,
                       const CxDigest *expected,
                       CxDigest *out_diff_id,
                       guint64 *out_size,
                       GError **error)
{
    CxDigest digest;

    if (!settle(self, error))
        return FALSE;

    digest = cx_hasher_finish(self->hasher);
    if (!check_digest(&digest, expected, error) || !publish(self, &digest, error))
        return FALSE;

    if (out_diff_id != NULL)
        *out_diff_id = digest;
    if (out_size != NULL)
        *out_size = self->offset;
    return TRUE;
}

/* Lets the thread throw away what it has not stored yet. */
static void
abandon(CxLayerIngest *self)
{
    g_mutex_lock(&self->lock);
    if (self->failure == NULL)
        self->failure = g_error_new_literal(CX_ERROR, CX_ERROR_CANCELLED, "cancelled");
    g_mutex_unlock(&self->lock);
}

void
cx_layer_ingest_free(CxLayerIngest *self)
{
    if (self == NULL)
        return;

    abandon(self);
    join_thread(self);
    g_clear_error(&self->failure);
    for (guint i = 0; i < N_BUFFERS; i++)
        g_free(self->buffers[i].data);
    cx_hasher_free(self->hasher);
    cx_clear_fd(&self->fd);
    cx_tmpdir_clear(&self->dir);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}
