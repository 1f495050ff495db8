/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>

#include "base/database.h"
#include "base/error.h"
#include "meta/meta.h"

typedef struct {
    char *folder;
    char *path;
    CxMeta *meta;
} Fixture;

static void
set_up(Fixture *self, gconstpointer data)
{
    self->folder = g_dir_make_tmp("cx-meta-XXXXXX", NULL);
    self->path = g_build_filename(self->folder, "meta.db", NULL);
    self->meta = cx_meta_open(self->path, NULL);
    g_assert_nonnull(self->meta);
}

static void
tear_down(Fixture *self, gconstpointer data)
{
    g_autofree char *wal = g_strconcat(self->path, "-wal", NULL),
                    *shm = g_strconcat(self->path, "-shm", NULL);

    g_clear_pointer(&self->meta, cx_meta_close);
    (void)g_unlink(self->path);
    (void)g_unlink(wal);
    (void)g_unlink(shm);
    g_assert_cmpint(g_rmdir(self->folder), ==, 0);
    g_free(self->path);
    g_free(self->folder);
}

static CxDigest
key_of(const char *text)
{
    return cx_digest_of(text, strlen(text));
}

static void
put(Fixture *self, const char *name, const CxObject *objects, guint n, guint64 bytes)
{
    CxDigest key = key_of(name);
    g_autoptr(GError) error = NULL;

    g_assert_true(cx_meta_put_record(self->meta, &key, "test", name, objects, n, bytes, &error));
    g_assert_no_error(error);
}

static gboolean
is_known(Fixture *self, const char *name)
{
    CxDigest key = key_of(name);
    g_autoptr(GArray) objects = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *value = cx_meta_get_record(self->meta, &key, &objects, &error);

    g_assert_no_error(error);
    if (value != NULL)
        g_assert_cmpstr(value, ==, name);
    return value != NULL;
}

static void
test_record_survives_reopening(Fixture *self, gconstpointer data)
{
    CxDigest digest = key_of("layer"), key = key_of("a");
    CxObject objects[] = {cx_object_layer(&digest), cx_object_upper(0x1234)};
    g_autoptr(GArray) found = NULL;
    g_autofree char *value = NULL;

    put(self, "a", objects, 2, 10);
    g_clear_pointer(&self->meta, cx_meta_close);
    self->meta = cx_meta_open(self->path, NULL);

    value = cx_meta_get_record(self->meta, &key, &found, NULL);
    g_assert_cmpstr(value, ==, "a");
    g_assert_cmpuint(found->len, ==, 2);
    g_assert_true(cx_digest_equal(&g_array_index(found, CxObject, 0).digest, &digest));
    g_assert_cmpuint(g_array_index(found, CxObject, 1).upper, ==, 0x1234);
}

static void
test_trim_drops_least_recently_used(Fixture *self, gconstpointer data)
{
    guint dropped = 0;

    put(self, "old", NULL, 0, 40);
    put(self, "middle", NULL, 0, 40);
    put(self, "new", NULL, 0, 40);
    g_assert_true(is_known(self, "old")); /* used now: the middle one is the oldest */

    g_assert_true(cx_meta_trim_records(self->meta, 100, &dropped, NULL));
    g_assert_cmpuint(dropped, ==, 1);
    g_assert_true(is_known(self, "old"));
    g_assert_false(is_known(self, "middle"));
    g_assert_true(is_known(self, "new"));

    g_assert_true(cx_meta_trim_records(self->meta, 0, &dropped, NULL));
    g_assert_cmpuint(dropped, ==, 2);
}

static void
test_holds_go_with_their_owner(Fixture *self, gconstpointer data)
{
    CxDigest blob = key_of("blob");
    CxObject object = cx_object_blob(&blob);
    CxObjectText text = cx_object_text(&object);
    g_autoptr(GHashTable) held = NULL, after = NULL;
    gboolean found = FALSE;

    put(self, "a", &object, 1, 1);
    g_assert_true(
        cx_meta_put_image(self->meta, "acme/api:1", "linux/amd64", &blob, &object, 1, NULL));
    held = cx_meta_held_objects(self->meta, NULL);
    g_assert_true(g_hash_table_contains(held, text.text));
    g_assert_cmpuint(g_hash_table_size(held), ==, 1);

    g_assert_true(cx_meta_remove_image(self->meta, "acme/api:1", &found, NULL));
    g_assert_true(found);
    g_assert_true(is_known(self, "a"));
    g_assert_true(cx_meta_drop_holders(self->meta, &object, NULL));
    g_assert_false(is_known(self, "a"));
    after = cx_meta_held_objects(self->meta, NULL);
    g_assert_cmpuint(g_hash_table_size(after), ==, 0);
}

static void
test_objects_of_another_boot_are_suspects(Fixture *self, gconstpointer data)
{
    CxObject object = cx_object_upper(7);
    g_autoptr(GArray) none = NULL, suspects = NULL, synced = NULL;
    g_autoptr(CxDatabase) database = NULL;

    put(self, "a", &object, 1, 1);
    none = cx_meta_list_suspects(self->meta, NULL);
    g_assert_cmpuint(none->len, ==, 0);

    database = cx_database_open(self->path, NULL);
    g_assert_true(cx_database_exec(database, "UPDATE unsynced SET boot = 'before'", NULL));
    suspects = cx_meta_list_suspects(self->meta, NULL);
    g_assert_cmpuint(suspects->len, ==, 1);

    g_clear_pointer(&database, cx_database_close);
    g_assert_true(cx_meta_mark_synced(self->meta, NULL));
    g_assert_false(cx_meta_has_unsynced(self->meta));
    synced = cx_meta_list_suspects(self->meta, NULL);
    g_assert_cmpuint(synced->len, ==, 0);
}

static void
test_newer_schema_is_refused(Fixture *self, gconstpointer data)
{
    g_autoptr(CxDatabase) database = NULL;
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&self->meta, cx_meta_close);
    database = cx_database_open(self->path, NULL);
    g_assert_true(cx_database_exec(database, "PRAGMA user_version = 999", NULL));
    g_clear_pointer(&database, cx_database_close);

    g_assert_null(cx_meta_open(self->path, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_UNSUPPORTED);
}

static void
test_object_texts(void)
{
    CxDigest digest = key_of("x");
    CxObject objects[] = {cx_object_blob(&digest), cx_object_layer(&digest),
                          cx_object_upper(G_MAXUINT64)},
             parsed;
    static const char *const bad[] = {"", "blob:", "layer:00", "upper:12", "disk:1", "blob:sha256"};

    for (gsize i = 0; i < G_N_ELEMENTS(objects); i++) {
        CxObjectText text = cx_object_text(&objects[i]), again;

        g_assert_true(cx_object_parse(text.text, &parsed));
        again = cx_object_text(&parsed);
        g_assert_cmpstr(text.text, ==, again.text);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(cx_object_parse(bad[i], &parsed));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, Fixture, NULL, set_up, function, tear_down)
    ADD("/meta/record", test_record_survives_reopening);
    ADD("/meta/trim", test_trim_drops_least_recently_used);
    ADD("/meta/holds", test_holds_go_with_their_owner);
    ADD("/meta/suspects", test_objects_of_another_boot_are_suspects);
    ADD("/meta/schema", test_newer_schema_is_refused);
    g_test_add_func("/meta/object", test_object_texts);
    return g_test_run();
}
