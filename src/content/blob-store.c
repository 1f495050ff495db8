/* SPDX-License-Identifier: Apache-2.0 */
#include "content/blob-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/switch.h"
#include "base/tmp.h"

#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"
#define EMPTY_INDEX "{\"manifests\":[],\"schemaVersion\":2}"

/* Immutable once open, so any thread may use it. */
struct CxBlobStore {
    int content_fd; /* <root>/content */
    int blobs_fd;   /* <root>/content/blobs/sha256 */
    int tmp_fd;     /* <root>/tmp */
};

struct CxBlobIngest {
    CxBlobStore *store; /* borrowed */
    CxTmpfile file;
    CxHasher *hasher; /* (owned) */
};

/* The name of a blob in blobs_fd. */
typedef struct {
    char text[CX_DIGEST_HEX_SIZE + 1];
} BlobName;

static BlobName
blob_name(const CxDigest *digest)
{
    CxDigestText text = cx_digest_text(digest);
    BlobName name;

    g_strlcpy(name.text, cx_digest_text_hex(&text), sizeof name.text);
    return name;
}

/* ---- open and close ---- */

static gboolean
ensure_file(int dir_fd, const char *name, const char *text, GError **error)
{
    if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return TRUE;

    return cx_replace_file_at(dir_fd, name, text, strlen(text), 0644, error);
}

CxBlobStore *
cx_blob_store_open(int root_fd, GError **error)
{
    CX_ERROR_CONTEXT(error, "content");
    g_autoptr(CxBlobStore) self = g_new0(CxBlobStore, 1);
    const CxChaseFlags flags = CX_CHASE_BENEATH | CX_CHASE_NO_SYMLINKS;

    self->content_fd = self->blobs_fd = self->tmp_fd = -1;
    self->content_fd = cx_chase_mkdir_p(root_fd, "content", flags, 0700, error);
    if (self->content_fd < 0)
        return NULL;

    self->blobs_fd = cx_chase_mkdir_p(self->content_fd, "blobs/sha256", flags, 0755, error);
    if (self->blobs_fd < 0)
        return NULL;

    self->tmp_fd = cx_chase_mkdir_p(root_fd, "tmp", flags, 0700, error);
    if (self->tmp_fd < 0 || !ensure_file(self->content_fd, "oci-layout", LAYOUT_FILE, error) ||
        !ensure_file(self->content_fd, "index.json", EMPTY_INDEX, error))
        return NULL;

    return g_steal_pointer(&self);
}

void
cx_blob_store_close(CxBlobStore *self)
{
    if (self == NULL)
        return;

    cx_clear_fd(&self->content_fd);
    cx_clear_fd(&self->blobs_fd);
    cx_clear_fd(&self->tmp_fd);
    g_free(self);
}

/* ---- reading ---- */

/* What is stored under a digest; FALSE with errno when nothing is. */
static gboolean
stat_blob(CxBlobStore *self, const CxDigest *digest, struct stat *out_stat)
{
    return fstatat(self->blobs_fd, blob_name(digest).text, out_stat, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(out_stat->st_mode);
}

int
cx_blob_store_open_blob(CxBlobStore *self,
                        const CxDigest *digest,
                        guint64 *out_size,
                        GError **error)
{
    cx_autofd int fd = openat(self->blobs_fd, blob_name(digest).text,
                              O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return cx_throw_errno_fd(error, "blob %s", cx_digest_text(digest).text);
    if (!S_ISREG(st.st_mode))
        return cx_throw_fd(error, CX_ERROR_MISMATCH, "blob %s: not a file",
                           cx_digest_text(digest).text);

    if (out_size != NULL)
        *out_size = (guint64)st.st_size;
    return cx_steal_fd(&fd);
}

GBytes *
cx_blob_store_read(CxBlobStore *self, const CxDigest *digest, gsize limit, GError **error)
{
    CX_ERROR_CONTEXT(error, "blob %s", cx_digest_text(digest).text);
    g_autoptr(GBytes) bytes = cx_read_file_at(self->blobs_fd, blob_name(digest).text, limit, error);
    CxDigest actual;

    if (bytes == NULL)
        return NULL;

    actual = cx_digest_of_bytes(bytes);
    if (!cx_digest_equal(&actual, digest))
        return cx_throw_null(error, CX_ERROR_MISMATCH, "the stored bytes are damaged (read %s)",
                             cx_digest_text(&actual).text);

    return g_steal_pointer(&bytes);
}

gboolean
cx_blob_store_has(CxBlobStore *self, const CxDigest *digest)
{
    struct stat st;

    return stat_blob(self, digest, &st);
}

guint64
cx_blob_store_usage(CxBlobStore *self, const CxDigest *digest)
{
    struct stat st;

    return stat_blob(self, digest, &st) ? (guint64)st.st_blocks * 512 : 0;
}

static gint
compare_digests(gconstpointer a, gconstpointer b)
{
    return cx_digest_compare(a, b);
}

GArray *
cx_blob_store_list(CxBlobStore *self, GError **error)
{
    g_autoptr(GArray) digests = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    int fd = openat(self->blobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (dir == NULL) {
        cx_throw_errno(error, "content");
        cx_clear_fd(&fd);
        return NULL;
    }
    while ((entry = readdir(dir)) != NULL) {
        CxDigest digest;

        if (cx_digest_parse_hex(entry->d_name, &digest))
            g_array_append_val(digests, digest);
    }
    (void)closedir(dir);
    g_array_sort(digests, compare_digests);
    return g_steal_pointer(&digests);
}

/* ---- writing ---- */

CxBlobIngest *
cx_blob_store_begin(CxBlobStore *self, GError **error)
{
    g_autoptr(CxBlobIngest) ingest = g_new0(CxBlobIngest, 1);

    ingest->store = self;
    ingest->file = (CxTmpfile)CX_TMPFILE_INIT;
    ingest->hasher = cx_hasher_new();
    if (!cx_tmpfile_make(&ingest->file, self->tmp_fd, 0644, error))
        return NULL;

    return g_steal_pointer(&ingest);
}

gboolean
cx_blob_ingest_write(CxBlobIngest *self, const void *data, gsize size, GError **error)
{
    cx_hasher_update(self->hasher, data, size);
    return cx_write_all(self->file.fd, data, size, error);
}

gboolean
cx_blob_ingest_commit(CxBlobIngest *self,
                      const CxDigest *expected,
                      CxDigest *out_digest,
                      GError **error)
{
    CxDigest actual = cx_hasher_finish(self->hasher);
    CX_ERROR_CONTEXT(error, "blob %s", cx_digest_text(expected != NULL ? expected : &actual).text);
    g_autoptr(GError) publish_error = NULL;

    if (expected != NULL && !cx_digest_equal(&actual, expected))
        return cx_throw(error, CX_ERROR_MISMATCH, "digest mismatch (read %s)",
                        cx_digest_text(&actual).text);
    if (!cx_failpoint("content-commit", error))
        return FALSE;

    if (!cx_tmpfile_publish(&self->file, self->store->blobs_fd, blob_name(&actual).text, FALSE,
                            &publish_error) &&
        !cx_error_is(publish_error, CX_ERROR_EXISTS)) {
        g_propagate_error(error, g_steal_pointer(&publish_error));
        return FALSE;
    }
    if (out_digest != NULL)
        *out_digest = actual;
    return TRUE;
}

void
cx_blob_ingest_free(CxBlobIngest *self)
{
    if (self == NULL)
        return;

    cx_tmpfile_clear(&self->file);
    cx_hasher_free(self->hasher);
    g_free(self);
}

gboolean
cx_blob_store_put(
    CxBlobStore *self, const void *data, gsize size, CxDigest *out_digest, GError **error)
{
    g_autoptr(CxBlobIngest) ingest = cx_blob_store_begin(self, error);

    return ingest != NULL && cx_blob_ingest_write(ingest, data, size, error) &&
           cx_blob_ingest_commit(ingest, NULL, out_digest, error);
}

gboolean
cx_blob_store_remove(CxBlobStore *self, const CxDigest *digest, guint64 *out_freed, GError **error)
{
    guint64 freed = cx_blob_store_usage(self, digest);

    if (unlinkat(self->blobs_fd, blob_name(digest).text, 0) < 0 && errno != ENOENT)
        return cx_throw_errno(error, "blob %s", cx_digest_text(digest).text);

    if (out_freed != NULL)
        *out_freed = freed;
    return TRUE;
}

gboolean
cx_blob_store_write_index(CxBlobStore *self, const char *index_json, GError **error)
{
    return cx_replace_file_at(self->content_fd, "index.json", index_json, strlen(index_json), 0644,
                              error);
}
