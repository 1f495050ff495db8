/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/layer-store.h"
#include "layer/test-layer.h"

#define MIB (1024 * 1024)

/* ---- tools ----------------------------------------------------------------------------------- */

typedef struct {
    CxTestFolder folder;
    CxLayerStore *store; /* (owned) */
} Fixture;

static void
set_up(Fixture *self, gconstpointer data)
{
    GError *error = NULL;

    cx_test_folder_init(&self->folder);
    self->store = cx_layer_store_open(self->folder.fd, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *self, gconstpointer data)
{
    cx_layer_store_close(self->store);
    cx_test_folder_clear(&self->folder);
}

static guint
count_names(int dir_fd, const char *name)
{
    DIR *dir = fdopendir(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *entry;
    guint n = 0;

    g_assert_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void
assert_counts(int dir_fd, guint n_layers, guint n_temporary)
{
    g_assert_cmpuint(count_names(dir_fd, "layers"), ==, n_layers);
    g_assert_cmpuint(count_names(dir_fd, "tmp"), ==, n_temporary);
}

/* Takes in data in writes of step bytes.  FALSE with error set on failure. */
static gboolean
take_in(
    CxLayerStore *store, const void *data, gsize size, gsize step, CxDigest *out, GError **error)
{
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(store, error);
    guint64 stored;

    if (ingest == NULL)
        return FALSE;
    for (gsize i = 0; i < size; i += step)
        if (!cx_sink_write(cx_layer_ingest_get_sink(ingest), (const char *)data + i,
                           MIN(step, size - i), error))
            return FALSE;
    if (!cx_layer_ingest_commit(ingest, NULL, out, &stored, error))
        return FALSE;

    g_assert_cmpuint(stored, ==, size);
    return TRUE;
}

static CxDigest
must_take_in(CxLayerStore *store, const void *data, gsize size)
{
    CxDigest digest;
    GError *error = NULL;

    take_in(store, data, size, MAX(size, 1), &digest, &error);
    g_assert_no_error(error);
    return digest;
}

/* A small tar as bytes. */
static GBytes *
make_tar(const CxTestFolder *folder, const CxTestEntry *entries)
{
    cx_autofd int fd = cx_test_create(folder, "made");
    guint64 size = cx_test_write_tar(fd, entries);
    g_autofree char *data = g_malloc(size);

    g_assert_cmpint(cx_pread_full(fd, data, size, 0, NULL), ==, (gssize)size);
    g_assert_cmpint(unlinkat(folder->fd, "made", 0), ==, 0);
    return g_bytes_new_take(g_steal_pointer(&data), size);
}

static CxDigest
take_in_tar(Fixture *self, const CxTestEntry *entries)
{
    g_autoptr(GBytes) tar = make_tar(&self->folder, entries);

    return must_take_in(self->store, g_bytes_get_data(tar, NULL), g_bytes_get_size(tar));
}

static const CxTestEntry small_tree[] = {
    {.path = "etc",          .type = CX_ENTRY_FOLDER},
    {.path = "etc/name",                      .type = CX_ENTRY_FILE, .text = "value"},
    {.path = NULL},
};

static void
assert_tar_is(CxLayerStore *store, const CxDigest *digest, const void *data, gsize size)
{
    guint64 stored;
    GError *error = NULL;
    cx_autofd int fd = cx_layer_store_open_tar(store, digest, &stored, &error);
    g_autofree char *bytes = g_malloc(size + 1);

    g_assert_no_error(error);
    g_assert_cmpuint(stored, ==, size);
    g_assert_cmpint(cx_pread_full(fd, bytes, size + 1, 0, NULL), ==, (gssize)size);
    g_assert_cmpmem(bytes, size, data, size);
}

/* ---- in and out ------------------------------------------------------------------------------ */

static void
test_life(Fixture *self, gconstpointer data)
{
    const char text[] = "not even a tar";
    CxDigest digest = must_take_in(self->store, text, sizeof text),
             expected = cx_digest_of(text, sizeof text);
    g_autoptr(GArray) list = cx_layer_store_list(self->store, NULL);
    g_autoptr(GError) error = NULL;
    guint64 freed = 0;

    g_assert_true(cx_digest_equal(&digest, &expected));
    g_assert_true(cx_layer_store_has(self->store, &digest));
    g_assert_cmpuint(list->len, ==, 1);
    g_assert_true(cx_digest_equal(&g_array_index(list, CxDigest, 0), &digest));
    assert_tar_is(self->store, &digest, text, sizeof text);
    g_assert_cmpuint(cx_layer_store_usage(self->store, &digest), >, 0);
    assert_counts(self->folder.fd, 1, 0);

    g_assert_true(cx_layer_store_remove(self->store, &digest, &freed, &error));
    g_assert_cmpuint(freed, >, 0);
    assert_counts(self->folder.fd, 0, 0);
    g_assert_false(cx_layer_store_has(self->store, &digest));
    g_assert_cmpint(cx_layer_store_open_tar(self->store, &digest, NULL, &error), ==, -1);
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(cx_layer_store_remove(self->store, &digest, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
}

static void
test_list(Fixture *self, gconstpointer data)
{
    g_autoptr(GArray) list = NULL;

    for (const char *text = "abcdefghij"; *text != '\0'; text++)
        (void)must_take_in(self->store, text, 1);
    g_assert_cmpint(mkdirat(self->folder.fd, "layers/lost+found", 0700), ==, 0);

    list = cx_layer_store_list(self->store, NULL);
    g_assert_cmpuint(list->len, ==, 10);
    for (guint i = 1; i < list->len; i++)
        g_assert_cmpint(cx_digest_compare(&g_array_index(list, CxDigest, i - 1),
                                          &g_array_index(list, CxDigest, i)),
                        <, 0);
}

/* Where bytes are and where zeros, in blocks of 4 KiB; the last two are not whole. */
static const struct {
    const char *blocks; /* 'x': bytes, '0': zeros, 'h': half of each */
    gsize tail;         /* zeros behind them */
} hole_cases[] = {
    {"",            0   },
    {"",            100 },
    {"0",           0   },
    {"x0x",         0   },
    {"0x0",         4095},
    {"xh0000hx",    0   },
    {"h0h0h0",      4096},
    {"x00000000xx", 1   },
};

static void
test_holes(Fixture *self, gconstpointer data)
{
    const gsize block = 4096, repeats[] = {1, 300};

    for (gsize i = 0; i < G_N_ELEMENTS(hole_cases); i++) {
        for (gsize r = 0; r < G_N_ELEMENTS(repeats); r++) {
            gsize n_blocks = strlen(hole_cases[i].blocks), n = n_blocks * repeats[r];
            gsize size = n * block + hole_cases[i].tail;
            g_autofree char *bytes = g_malloc0(size + 1);
            CxDigest digest;

            for (gsize b = 0; b < n; b++)
                if (hole_cases[i].blocks[b % n_blocks] != '0')
                    memset(bytes + b * block, 'x',
                           hole_cases[i].blocks[b % n_blocks] == 'h' ? block / 2 : block);
            digest = must_take_in(self->store, bytes, size);
            assert_tar_is(self->store, &digest, bytes, size);
        }
    }
}

static void
test_holes_take_no_space(Fixture *self, gconstpointer data)
{
    g_autofree char *zeros = g_malloc0(8 * MIB);
    CxDigest digest;

    zeros[4 * MIB] = 1;
    digest = must_take_in(self->store, zeros, 8 * MIB);
    assert_tar_is(self->store, &digest, zeros, 8 * MIB);
    g_assert_cmpuint(cx_layer_store_usage(self->store, &digest), <, 64 * 1024);
}

static char *
make_noise(gsize size)
{
    char *bytes = g_malloc(size);
    guint32 random = 1;

    for (gsize i = 0; i < size; i++)
        bytes[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
    return bytes;
}

static void
test_cuts(Fixture *self, gconstpointer data)
{
    const gsize size = 5 * MIB + 4097, steps[] = {size, MIB + 1, 100003, 256 * 1024, 511};
    g_autofree char *bytes = make_noise(size);
    CxDigest expected = cx_digest_of(bytes, size), digest;

    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_assert_true(take_in(self->store, bytes, size, steps[i], &digest, NULL));
        g_assert_true(cx_digest_equal(&digest, &expected));
    }
    assert_tar_is(self->store, &digest, bytes, size);
    assert_counts(self->folder.fd, 1, 0);
}

static void
test_splice(Fixture *self, gconstpointer data)
{
    const gsize size = 3 * MIB + 77;
    g_autofree char *bytes = make_noise(size);
    cx_autofd int fd = cx_test_create(&self->folder, "in");
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(self->store, NULL);
    CxDigest digest, expected = cx_digest_of(bytes, size);
    g_autoptr(GError) error = NULL;
    CxSink *sink = cx_layer_ingest_get_sink(ingest);

    g_assert_true(cx_pwrite_all(fd, bytes, size, 0, NULL));
    g_assert_true(cx_sink_splice(sink, fd, 0, 10, NULL));
    g_assert_true(cx_sink_write(sink, bytes + 10, 20, NULL));
    g_assert_true(cx_sink_splice(sink, fd, 30, size - 30, NULL));
    g_assert_false(cx_sink_splice(sink, fd, size - 5, 6, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);

    g_assert_true(cx_layer_ingest_commit(ingest, &expected, &digest, NULL, NULL));
    assert_tar_is(self->store, &digest, bytes, size);
}

static void
test_mismatch(Fixture *self, gconstpointer data)
{
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(self->store, NULL);
    CxDigest expected = cx_digest_of("b", 1);
    g_autoptr(GError) error = NULL;

    g_assert_true(cx_sink_write(cx_layer_ingest_get_sink(ingest), "a", 1, NULL));
    g_assert_false(cx_layer_ingest_commit(ingest, &expected, NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
    g_clear_pointer(&ingest, cx_layer_ingest_free);
    assert_counts(self->folder.fd, 0, 0);
}

static void
test_abandoned(Fixture *self, gconstpointer data)
{
    for (gsize size = 1; size <= 8 * MIB; size *= 8) {
        g_autofree char *bytes = g_strnfill(size, 'x');
        g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(self->store, NULL);

        g_assert_true(cx_sink_write(cx_layer_ingest_get_sink(ingest), bytes, size, NULL));
    }
    assert_counts(self->folder.fd, 0, 0);
}

/* ---- many at once ---------------------------------------------------------------------------- */

#define N_THREADS 8

static gpointer
run_take_in(gpointer data)
{
    g_autofree char *bytes = make_noise(MIB);
    CxDigest digest = must_take_in(data, bytes, MIB);

    return cx_digest_dup(&digest);
}

static void
test_same_at_once(Fixture *self, gconstpointer data)
{
    GThread *threads[N_THREADS];
    g_autofree char *bytes = make_noise(MIB);
    CxDigest expected = cx_digest_of(bytes, MIB);

    for (guint i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("take-in", run_take_in, self->store);
    for (guint i = 0; i < N_THREADS; i++) {
        g_autofree CxDigest *digest = g_thread_join(threads[i]);

        g_assert_true(cx_digest_equal(digest, &expected));
    }
    assert_counts(self->folder.fd, 1, 0);
}

/* ---- the index ------------------------------------------------------------------------------- */

static void
assert_has_small_tree(CxErofsIndex *index)
{
    CxErofsNode etc, name;
    GError *error = NULL;

    cx_erofs_index_lookup(index, cx_erofs_index_get_root(index), "etc", &etc, &error);
    g_assert_no_error(error);
    cx_erofs_index_lookup(index, etc.nid, "name", &name, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(name.size, ==, strlen("value"));
}

static void
test_index(Fixture *self, gconstpointer data)
{
    CxDigest digest = take_in_tar(self, small_tree), missing = cx_digest_of("", 0);
    g_autoptr(CxErofsIndex) index = NULL;
    g_autoptr(GError) error = NULL;
    cx_autofd int fd = cx_layer_store_open_folder(self->store, &digest, &error);

    g_assert_no_error(error);
    g_assert_cmpint(faccessat(fd, "erofs", F_OK, 0), ==, -1);
    index = cx_layer_store_open_index(self->store, &digest, &error);
    g_assert_no_error(error);
    assert_has_small_tree(index);
    g_assert_cmpint(faccessat(fd, "erofs", F_OK, 0), ==, 0);
    assert_counts(self->folder.fd, 1, 0);

    g_assert_null(cx_layer_store_open_index(self->store, &missing, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NOT_FOUND);
}

typedef struct {
    CxLayerStore *store;
    CxDigest digest;
} IndexJob;

static gpointer
run_open_index(gpointer data)
{
    IndexJob *job = data;
    GError *error = NULL;
    CxErofsIndex *index = cx_layer_store_open_index(job->store, &job->digest, &error);

    g_assert_no_error(error);
    return index;
}

static void
test_index_at_once(Fixture *self, gconstpointer data)
{
    IndexJob job = {self->store, take_in_tar(self, small_tree)};
    GThread *threads[N_THREADS];

    for (guint i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("open-index", run_open_index, &job);
    for (guint i = 0; i < N_THREADS; i++) {
        g_autoptr(CxErofsIndex) index = g_thread_join(threads[i]);

        assert_has_small_tree(index);
    }
    assert_counts(self->folder.fd, 1, 0);
}

/* An index that a power failure left empty is built again. */
static void
test_index_damaged(Fixture *self, gconstpointer data)
{
    CxDigest digest = take_in_tar(self, small_tree);
    cx_autofd int folder = cx_layer_store_open_folder(self->store, &digest, NULL);
    cx_autofd int fd = openat(folder, "erofs", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_autoptr(CxErofsIndex) index = NULL;
    GError *error = NULL;

    g_assert_cmpint(fd, >=, 0);
    index = cx_layer_store_open_index(self->store, &digest, &error);
    g_assert_no_error(error);
    assert_has_small_tree(index);
}

static void
test_index_of_rubbish(Fixture *self, gconstpointer data)
{
    g_autofree char *noise = make_noise(2000);
    CxDigest digest = must_take_in(self->store, noise, 2000);
    g_autofree char *prefix = g_strdup_printf("layer %s: ", cx_digest_text(&digest).text);
    g_autoptr(GError) error = NULL;

    g_assert_null(cx_layer_store_open_index(self->store, &digest, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, prefix));
    g_assert_cmpuint(count_names(self->folder.fd, "tmp"), ==, 0);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

typedef struct {
    int fd;     /* of a file system of its own, of 1 MiB */
    char *path; /* (owned) */
} TinyDisk;

static gboolean
tiny_disk_mount(TinyDisk *self, const CxTestFolder *folder)
{
    self->fd = -1;
    self->path = g_build_filename(folder->path, "tiny", NULL);
    g_assert_cmpint(mkdir(self->path, 0700), ==, 0);
    if (!folder->may_mount || mount("tmpfs", self->path, "tmpfs", 0, "size=1m") < 0)
        return FALSE;

    self->fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return TRUE;
}

static void
tiny_disk_clear(TinyDisk *self)
{
    cx_clear_fd(&self->fd);
    (void)umount2(self->path, MNT_DETACH);
    g_free(self->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TinyDisk, tiny_disk_clear)

static void
test_full_disk(Fixture *self, gconstpointer data)
{
    const gsize sizes[] = {MIB + 4096, 2 * MIB, 20 * MIB};
    g_auto(TinyDisk) disk = {0};
    g_autoptr(CxLayerStore) store = NULL;
    g_autofree char *noise = make_noise(20 * MIB);

    if (!tiny_disk_mount(&disk, &self->folder)) {
        g_test_skip("no right to mount a tmpfs");
        return;
    }
    store = cx_layer_store_open(disk.fd, &cx_layer_limits_default, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        CxDigest digest;

        g_assert_false(take_in(store, noise, sizes[i], 100000, &digest, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_NO_SPACE);
        assert_counts(disk.fd, 0, 0);
    }
    (void)must_take_in(store, noise, MIB / 2);
    assert_counts(disk.fd, 1, 0);
}

/* The producer hears of a fault again and again, until it gives up. */
static void
test_fault_stays(Fixture *self, gconstpointer data)
{
    g_auto(TinyDisk) disk = {0};
    g_autoptr(CxLayerStore) store = NULL;
    g_autoptr(CxLayerIngest) ingest = NULL;
    g_autofree char *noise = make_noise(8 * MIB);
    GError *error = NULL;

    if (!tiny_disk_mount(&disk, &self->folder)) {
        g_test_skip("no right to mount a tmpfs");
        return;
    }
    store = cx_layer_store_open(disk.fd, &cx_layer_limits_default, NULL);
    ingest = cx_layer_store_begin(store, NULL);
    for (int i = 0; i < 3; i++) {
        g_assert_false(cx_sink_write(cx_layer_ingest_get_sink(ingest), noise, 8 * MIB, &error));
        g_assert_error(error, CX_ERROR, CX_ERROR_NO_SPACE);
        g_clear_error(&error);
    }
    g_assert_false(cx_layer_ingest_commit(ingest, NULL, NULL, NULL, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_NO_SPACE);
    g_clear_error(&error);
}

/* ---- dying on the way ------------------------------------------------------------------------ */

#define ROOT_VARIABLE "LAYER_STORE_TEST_ROOT"

/* Takes in a tree and opens its index in a process of its own, where CX_FAIL says what happens. */
static void
run_in_child(Fixture *self, const char *failpoint)
{
    setenv("CX_FAIL", failpoint, 1);
    setenv(ROOT_VARIABLE, self->folder.path, 1);
    g_test_trap_subprocess("/layer/store/subprocess/take-in", 0, 0);
    unsetenv("CX_FAIL");
    unsetenv(ROOT_VARIABLE);
}

static void
test_child(void)
{
    cx_autofd int root_fd = open(g_getenv(ROOT_VARIABLE), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(CxErofsIndex) index = NULL;
    Fixture self = {0};
    GError *error = NULL;
    CxDigest digest;
    g_autoptr(GBytes) tar = NULL;

    self.folder.fd = root_fd;
    self.store = cx_layer_store_open(root_fd, &cx_layer_limits_default, &error);
    g_assert_no_error(error);
    tar = make_tar(&self.folder, small_tree);
    if (take_in(self.store, g_bytes_get_data(tar, NULL), g_bytes_get_size(tar), 100, &digest,
                &error))
        index = cx_layer_store_open_index(self.store, &digest, &error);
    if (index == NULL)
        g_printerr("error: %s\n", error->message);
    g_clear_error(&error);
    cx_layer_store_close(self.store);
}

static const struct {
    const char *failpoint;
    gboolean dies;
    guint n_layers, n_temporary; /* afterwards */
} failures[] = {
    {"layer-commit",     FALSE, 0, 0},
    {"layer-commit:die", TRUE,  0, 1},
    {"layer-index",      FALSE, 1, 0},
    {"layer-index:die",  TRUE,  1, 1},
};

static void
test_failures(Fixture *self, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(failures); i++) {
        g_autoptr(CxErofsIndex) index = NULL;
        GError *error = NULL;
        CxDigest digest;

        run_in_child(self, failures[i].failpoint);
        g_assert_true(g_test_trap_has_passed() == !failures[i].dies);
        if (!failures[i].dies)
            g_test_trap_assert_stderr("*error: *failpoint layer-*");
        assert_counts(self->folder.fd, failures[i].n_layers, failures[i].n_temporary);

        /* the next one finds everything in order */
        digest = take_in_tar(self, small_tree);
        index = cx_layer_store_open_index(self->store, &digest, &error);
        g_assert_no_error(error);
        assert_has_small_tree(index);
        g_assert_true(cx_layer_store_remove(self->store, &digest, NULL, NULL));
        tear_down(self, NULL);
        set_up(self, NULL);
    }
}

/* ---- */

static void
set_up_without_thread(Fixture *self, gconstpointer data)
{
    setenv("CX_DISABLE", "ingest-thread", 1);
    set_up(self, data);
}

static void
tear_down_without_thread(Fixture *self, gconstpointer data)
{
    tear_down(self, data);
    unsetenv("CX_DISABLE");
}

static const struct {
    const char *name;
    void (*test)(Fixture *self, gconstpointer data);
} tests[] = {
    {"life",                test_life               },
    {"list",                test_list               },
    {"holes",               test_holes              },
    {"holes-take-no-space", test_holes_take_no_space},
    {"cuts",                test_cuts               },
    {"splice",              test_splice             },
    {"mismatch",            test_mismatch           },
    {"abandoned",           test_abandoned          },
    {"same-at-once",        test_same_at_once       },
    {"full-disk",           test_full_disk          },
    {"fault-stays",         test_fault_stays        },
    {"index",               test_index              },
    {"index-at-once",       test_index_at_once      },
    {"index-damaged",       test_index_damaged      },
    {"index-of-rubbish",    test_index_of_rubbish   },
    {"failures",            test_failures           },
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/layer/store/%s", tests[i].name);
        g_autofree char *inline_path = g_strdup_printf("/layer/store/no-thread/%s", tests[i].name);

        g_test_add(path, Fixture, NULL, set_up, tests[i].test, tear_down);
        g_test_add(inline_path, Fixture, NULL, set_up_without_thread, tests[i].test,
                   tear_down_without_thread);
    }
    g_test_add_func("/layer/store/subprocess/take-in", test_child);
    return g_test_run();
}
