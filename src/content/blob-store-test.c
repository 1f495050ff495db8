/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "content/blob-store.h"

typedef struct {
    char *path; /* (owned) */
    int fd;
    CxBlobStore *store; /* (owned) */
} Fixture;

static void
set_up(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    self->path = g_dir_make_tmp("cx-content-XXXXXX", &error);
    g_assert_no_error(error);
    self->fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(self->fd, >=, 0);
    self->store = cx_blob_store_open(self->fd, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    cx_blob_store_close(self->store);
    cx_clear_fd(&self->fd);
    cx_remove_tree_at(AT_FDCWD, self->path, &error);
    g_assert_no_error(error);
    g_free(self->path);
}

static CxDigest
put(Fixture *self, const char *text)
{
    g_autoptr(GError) error = NULL;
    CxDigest digest;

    g_assert_true(cx_blob_store_put(self->store, text, strlen(text), &digest, &error));
    g_assert_no_error(error);
    return digest;
}

/* Counts the files in <root>/tmp. */
static guint
count_leftovers(Fixture *self)
{
    g_autofree char *path = g_build_filename(self->path, "tmp", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static char *
read_text(Fixture *self, const char *name)
{
    g_autofree char *path = g_build_filename(self->path, "content", name, NULL);
    char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void
test_round_trip(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    CxDigest digest = put(self, "hello"), expected = cx_digest_of("hello", 5);
    g_autoptr(GBytes) bytes = NULL;
    cx_autofd int fd = -1;
    guint64 size = 0;

    g_assert_true(cx_digest_equal(&digest, &expected));
    g_assert_true(cx_blob_store_has(self->store, &digest));
    fd = cx_blob_store_open_blob(self->store, &digest, &size, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(size, ==, 5);
    bytes = cx_blob_store_read(self->store, &digest, 5, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "hello", 5);
    g_assert_cmpuint(count_leftovers(self), ==, 0);
}

static void
test_pieces(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxBlobIngest) ingest = cx_blob_store_begin(self->store, &error);
    CxDigest expected = cx_digest_of("abcdef", 6), digest;

    g_assert_no_error(error);
    for (const char *c = "abcdef"; *c != '\0'; c++)
        g_assert_true(cx_blob_ingest_write(ingest, c, 1, &error));
    g_assert_false(cx_blob_store_has(self->store, &expected));
    g_assert_true(cx_blob_ingest_commit(ingest, &expected, &digest, &error));
    g_assert_no_error(error);
    g_assert_true(cx_digest_equal(&digest, &expected));
    g_assert_true(cx_blob_store_has(self->store, &expected));
}

static void
test_empty_blob(Fixture *self, gconstpointer data)
{
    CxDigest digest = put(self, "");
    g_autoptr(GBytes) bytes = cx_blob_store_read(self->store, &digest, 0, NULL);

    g_assert_nonnull(bytes);
    g_assert_cmpuint(g_bytes_get_size(bytes), ==, 0);
}

static void
test_mismatch(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    CxBlobIngest *ingest = cx_blob_store_begin(self->store, NULL);
    CxDigest expected = cx_digest_of("right", 5), actual = cx_digest_of("wrong", 5),
             digest = actual;

    g_assert_true(cx_blob_ingest_write(ingest, "wrong", 5, NULL));
    g_assert_false(cx_blob_ingest_commit(ingest, &expected, &digest, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_assert_nonnull(strstr(error->message, cx_digest_text(&expected).text));
    g_assert_nonnull(strstr(error->message, cx_digest_text(&actual).text));
    cx_blob_ingest_free(ingest);
    g_assert_false(cx_blob_store_has(self->store, &expected));
    g_assert_false(cx_blob_store_has(self->store, &actual));
    g_assert_cmpuint(count_leftovers(self), ==, 0);
}

static void
test_abandoned(Fixture *self, gconstpointer data)
{
    CxBlobIngest *ingest = cx_blob_store_begin(self->store, NULL);

    g_assert_true(cx_blob_ingest_write(ingest, "x", 1, NULL));
    g_assert_cmpuint(count_leftovers(self), ==, 1);
    cx_blob_ingest_free(ingest);
    g_assert_cmpuint(count_leftovers(self), ==, 0);
}

/* The bytes of a blob that is there are not touched by storing them again. */
static void
test_already_there(Fixture *self, gconstpointer data)
{
    CxDigest digest = put(self, "twice"), again;
    cx_autofd int before = cx_blob_store_open_blob(self->store, &digest, NULL, NULL);
    cx_autofd int after = -1;
    struct stat a, b;

    again = put(self, "twice");
    g_assert_true(cx_digest_equal(&digest, &again));
    after = cx_blob_store_open_blob(self->store, &digest, NULL, NULL);
    g_assert_true(fstat(before, &a) == 0 && fstat(after, &b) == 0);
    g_assert_cmpuint(a.st_ino, ==, b.st_ino);
    g_assert_cmpuint(count_leftovers(self), ==, 0);
}

static void
test_missing(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) open_error = NULL, read_error = NULL, remove_error = NULL;
    CxDigest digest = cx_digest_of("nothing", 7);
    guint64 freed = 1;

    g_assert_false(cx_blob_store_has(self->store, &digest));
    g_assert_cmpint(cx_blob_store_open_blob(self->store, &digest, NULL, &open_error), ==, -1);
    g_assert_error(open_error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_assert_null(cx_blob_store_read(self->store, &digest, 10, &read_error));
    g_assert_error(read_error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_assert_true(cx_blob_store_remove(self->store, &digest, &freed, &remove_error));
    g_assert_no_error(remove_error);
    g_assert_cmpuint(freed, ==, 0);
}

static void
test_damaged(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL, limit_error = NULL;
    CxDigest digest = put(self, "sound");
    CxDigestText text = cx_digest_text(&digest);
    g_autofree char *path =
        g_build_filename(self->path, "content/blobs/sha256", cx_digest_text_hex(&text), NULL);

    g_assert_true(g_file_set_contents(path, "rotten", -1, NULL));
    g_assert_null(cx_blob_store_read(self->store, &digest, 100, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_assert_null(cx_blob_store_read(self->store, &digest, 5, &limit_error));
    g_assert_error(limit_error, CX_ERROR, CX_ERROR_LIMIT);
}

/* A link that somebody put in the place of a blob is not followed. */
static void
test_link(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    CxDigest digest = cx_digest_of("link", 4);
    CxDigestText text = cx_digest_text(&digest);
    g_autofree char *path =
        g_build_filename(self->path, "content/blobs/sha256", cx_digest_text_hex(&text), NULL);

    g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
    g_assert_false(cx_blob_store_has(self->store, &digest));
    g_assert_cmpint(cx_blob_store_open_blob(self->store, &digest, NULL, &error), ==, -1);
    g_assert_nonnull(error);
}

static void
test_list_and_remove(Fixture *self, gconstpointer data)
{
    g_autofree char *junk = g_build_filename(self->path, "content/blobs/sha256/junk", NULL);
    g_autoptr(GArray) all = NULL, rest = NULL;
    CxDigest first = put(self, "a");
    guint64 freed = 0;

    put(self, "b");
    put(self, "c");
    g_assert_true(g_file_set_contents(junk, "x", -1, NULL));
    all = cx_blob_store_list(self->store, NULL);
    g_assert_cmpuint(all->len, ==, 3);
    for (guint i = 1; i < all->len; i++)
        g_assert_cmpint(cx_digest_compare(&g_array_index(all, CxDigest, i - 1),
                                          &g_array_index(all, CxDigest, i)),
                        <, 0);
    g_assert_cmpuint(cx_blob_store_usage(self->store, &first), >, 0);
    g_assert_true(cx_blob_store_remove(self->store, &first, &freed, NULL));
    g_assert_cmpuint(freed, >, 0);
    rest = cx_blob_store_list(self->store, NULL);
    g_assert_cmpuint(rest->len, ==, 2);
    g_assert_cmpuint(cx_blob_store_usage(self->store, &first), ==, 0);
}

/* Opening again keeps what is there. */
static void
test_layout(Fixture *self, gconstpointer data)
{
    g_autofree char *layout = read_text(self, "oci-layout"), *empty = read_text(self, "index.json");
    g_autofree char *index = NULL;
    g_autoptr(CxBlobStore) again = NULL;
    CxDigest digest = put(self, "kept");

    g_assert_cmpstr(layout, ==, "{\"imageLayoutVersion\":\"1.0.0\"}");
    g_assert_cmpstr(empty, ==, "{\"manifests\":[],\"schemaVersion\":2}");
    g_assert_true(cx_blob_store_write_index(self->store, "{\"new\":1}", NULL));
    again = cx_blob_store_open(self->fd, NULL);
    g_assert_nonnull(again);
    g_assert_true(cx_blob_store_has(again, &digest));
    index = read_text(self, "index.json");
    g_assert_cmpstr(index, ==, "{\"new\":1}");
}

static gpointer
put_many(gpointer store)
{
    for (guint i = 0; i < 200; i++) {
        guint value = i % 50;
        g_autoptr(GError) error = NULL;

        g_assert_true(cx_blob_store_put(store, &value, sizeof value, NULL, &error));
        g_assert_no_error(error);
    }
    return NULL;
}

static void
test_threads(Fixture *self, gconstpointer data)
{
    GThread *threads[4];
    g_autoptr(GArray) all = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("put", put_many, self->store);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    all = cx_blob_store_list(self->store, NULL);
    g_assert_cmpuint(all->len, ==, 50);
    g_assert_cmpuint(count_leftovers(self), ==, 0);
}

/* Whatever the failpoint stops leaves nothing.  The environment is read once, hence a process of
 * its own. */
static void
test_failpoint(Fixture *self, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    if (g_test_subprocess()) {
        g_assert_false(cx_blob_store_put(self->store, "x", 1, NULL, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
        g_assert_cmpuint(count_leftovers(self), ==, 0);
        g_assert_true(cx_blob_store_put(self->store, "x", 1, NULL, NULL));
        return;
    }
    g_assert_true(g_setenv("CX_FAIL", "content-commit", TRUE));
    g_test_trap_subprocess(NULL, 0, 0);
    g_unsetenv("CX_FAIL");
    g_test_trap_assert_passed();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function)                                                                        \
    g_test_add("/content/blob-store/" name, Fixture, NULL, set_up, function, tear_down)
    ADD("round-trip", test_round_trip);
    ADD("pieces", test_pieces);
    ADD("empty-blob", test_empty_blob);
    ADD("mismatch", test_mismatch);
    ADD("abandoned", test_abandoned);
    ADD("already-there", test_already_there);
    ADD("missing", test_missing);
    ADD("damaged", test_damaged);
    ADD("link", test_link);
    ADD("list-and-remove", test_list_and_remove);
    ADD("layout", test_layout);
    ADD("failpoint", test_failpoint); /* before there are threads: it sets the environment */
    ADD("threads", test_threads);
    return g_test_run();
}
