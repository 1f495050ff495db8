/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/meta.h"

#include <fcntl.h>
#include <string.h>

#include "base/database.h"
#include "base/error.h"
#include "base/fd.h"

#define SCHEMA_VERSION 1
#define BOOT_ID_MAX 64

static const char schema_1[] = //
    "CREATE TABLE image (name TEXT NOT NULL, platform TEXT NOT NULL, manifest BLOB NOT NULL, "
    "created INTEGER NOT NULL,"
    " PRIMARY KEY (name, platform)) WITHOUT ROWID;"
    "CREATE TABLE record (key BLOB PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, bytes "
    "INTEGER NOT NULL,"
    " used INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX record_used ON record (used);"
    "CREATE TABLE hold (owner TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY (owner, object)) "
    "WITHOUT ROWID;"
    "CREATE INDEX hold_object ON hold (object);"
    "CREATE TABLE unsynced (object TEXT PRIMARY KEY, boot TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE place (place TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

struct CxMeta {
    GMutex lock;
    CxDatabase *database; /* (owned), under lock */
    char boot[BOOT_ID_MAX];
    gboolean unsynced;   /* under lock: rows in `unsynced` may exist */
    GHashTable *touched; /* (owned CxDigest): keys used since the last write, under lock */
};

/* ---- opening --------------------------------------------------------------------------------- */

static void
read_boot_id(char *out_boot)
{
    cx_autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    gssize n = fd < 0 ? 0 : cx_read_full(fd, out_boot, BOOT_ID_MAX - 1, NULL);

    out_boot[MAX(n, 0)] = '\0';
    g_strchomp(out_boot);
}

static gboolean
migrate(CxMeta *self, GError **error)
{
    gint64 version;

    {
        g_auto(CxQuery) query = cx_database_query(self->database, "PRAGMA user_version");

        if (!cx_query_step(&query, error))
            return FALSE;
        version = cx_query_get_int(&query, 0);
    }
    if (version > SCHEMA_VERSION)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "the store was written by a newer cruxd (schema %" G_GINT64_FORMAT
                        ", this one knows %d)",
                        version, SCHEMA_VERSION);
    if (version == 0) {
        g_autofree char *sql = g_strconcat("BEGIN IMMEDIATE;", schema_1, "COMMIT;", NULL);

        return cx_database_exec(self->database, sql, error);
    }
    return TRUE;
}

CxMeta *
cx_meta_open(const char *path, GError **error)
{
    g_autoptr(CxMeta) self = g_new0(CxMeta, 1);

    g_mutex_init(&self->lock);
    self->touched = g_hash_table_new_full(cx_digest_hash, cx_digest_equal_keys, g_free, NULL);
    read_boot_id(self->boot);
    self->database = cx_database_open(path, error);
    if (self->database == NULL)
        return NULL;

    /* NORMAL: a commit is durable against our own death at once, against power loss at the next
     * checkpoint; which objects may be trusted after power loss is what `unsynced` is for. */
    if (!cx_database_exec(
            self->database,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1024;"
            "PRAGMA journal_size_limit = 4194304; PRAGMA temp_store = MEMORY;",
            error) ||
        !migrate(self, error))
        return NULL;

    self->unsynced = TRUE;
    return g_steal_pointer(&self);
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* Scope of one change: holds the lock, begins, and rolls back unless committed. */
typedef struct {
    CxMeta *meta;
    gboolean open;
} Change;

static gboolean
change_begin(Change *self, CxMeta *meta, GError **error)
{
    g_mutex_lock(&meta->lock);
    self->meta = meta;
    self->open = cx_database_exec(meta->database, "BEGIN IMMEDIATE", error);
    return self->open;
}

static gboolean
change_commit(Change *self, GError **error)
{
    if (!cx_database_exec(self->meta->database, "COMMIT", error))
        return FALSE;

    self->open = FALSE;
    return TRUE;
}

static void
change_clear(Change *self)
{
    if (self->meta == NULL)
        return;

    if (self->open)
        (void)cx_database_exec(self->meta->database, "ROLLBACK", NULL);
    g_mutex_unlock(&self->meta->lock);
    self->meta = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Change, change_clear)

/* A statement with one text parameter and no rows. */
static gboolean
run_with_text(CxMeta *self, const char *sql, const char *text, GError **error)
{
    g_auto(CxQuery) query = cx_database_query(self->database, sql);

    cx_query_bind_text(&query, 1, text);
    return cx_query_run(&query, error);
}

/* ---- holds ----------------------------------------------------------------------------------- */

static char *
record_owner(const CxDigest *key)
{
    CxDigestText text = cx_digest_text(key);

    return g_strconcat("record:", cx_digest_text_hex(&text), NULL);
}

static gboolean
add_hold(CxMeta *self, const char *owner, const CxObject *object, GError **error)
{
    CxObjectText text = cx_object_text(object);
    g_auto(CxQuery) hold =
        cx_database_query(self->database, "INSERT OR IGNORE INTO hold VALUES (?, ?)");
    g_auto(CxQuery) unsynced =
        cx_database_query(self->database, "INSERT OR IGNORE INTO unsynced VALUES (?, ?)");

    cx_query_bind_text(&hold, 1, owner);
    cx_query_bind_text(&hold, 2, text.text);
    cx_query_bind_text(&unsynced, 1, text.text);
    cx_query_bind_text(&unsynced, 2, self->boot);
    return cx_query_run(&hold, error) && cx_query_run(&unsynced, error);
}

static gboolean
set_holds(CxMeta *self, const char *owner, const CxObject *objects, guint n_objects, GError **error)
{
    if (!run_with_text(self, "DELETE FROM hold WHERE owner = ?", owner, error))
        return FALSE;

    for (guint i = 0; i < n_objects; i++)
        if (!add_hold(self, owner, &objects[i], error))
            return FALSE;

    self->unsynced = self->unsynced || n_objects > 0;
    return TRUE;
}

GHashTable *
cx_meta_held_objects(CxMeta *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_autoptr(GHashTable) held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(CxQuery) query = cx_database_query(self->database, "SELECT DISTINCT object FROM hold");

    while (cx_query_step(&query, error))
        g_hash_table_add(held, g_strdup(cx_query_peek_text(&query, 0)));
    return cx_query_is_failed(&query) ? NULL : g_steal_pointer(&held);
}

/* ---- records --------------------------------------------------------------------------------- */

static GArray *
objects_of(CxMeta *self, const char *owner, GError **error)
{
    g_autoptr(GArray) objects = g_array_new(FALSE, FALSE, sizeof(CxObject));
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT object FROM hold WHERE owner = ?");

    cx_query_bind_text(&query, 1, owner);
    while (cx_query_step(&query, error)) {
        CxObject object;

        if (cx_object_parse(cx_query_peek_text(&query, 0), &object))
            g_array_append_val(objects, object);
    }
    return cx_query_is_failed(&query) ? NULL : g_steal_pointer(&objects);
}

char *
cx_meta_get_record(CxMeta *self, const CxDigest *key, GArray **out_objects, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT value FROM record WHERE key = ?");
    g_autofree char *owner = record_owner(key), *value = NULL;
    g_autoptr(GArray) objects = NULL;

    cx_query_bind_digest(&query, 1, key);
    if (!cx_query_step(&query, error))
        return NULL;

    value = g_strdup(cx_query_peek_text(&query, 0));
    objects = objects_of(self, owner, error);
    if (objects == NULL)
        return NULL;

    g_hash_table_add(self->touched, cx_digest_dup(key));
    *out_objects = g_steal_pointer(&objects);
    return g_steal_pointer(&value);
}

/* Uses are noted in memory and written with the next change: a cache hit writes nothing. */
static gboolean
flush_touched(CxMeta *self, GError **error)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, self->touched);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        g_auto(CxQuery) query =
            cx_database_query(self->database, "UPDATE record SET used = ? WHERE key = ?");

        cx_query_bind_int(&query, 1, g_get_real_time());
        cx_query_bind_digest(&query, 2, key);
        if (!cx_query_run(&query, error))
            return FALSE;
        g_hash_table_iter_remove(&iter);
    }
    return TRUE;
}

gboolean
cx_meta_put_record(CxMeta *self,
                   const CxDigest *key,
                   const char *kind,
                   const char *value,
                   const CxObject *objects,
                   guint n_objects,
                   guint64 bytes,
                   GError **error)
{
    g_auto(Change) change = {NULL, FALSE};
    g_autofree char *owner = record_owner(key);

    if (!change_begin(&change, self, error))
        return FALSE;
    {
        g_auto(CxQuery) query = cx_database_query(
            self->database, "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?)");

        cx_query_bind_digest(&query, 1, key);
        cx_query_bind_text(&query, 2, kind);
        cx_query_bind_text(&query, 3, value);
        cx_query_bind_int(&query, 4, (gint64)bytes);
        cx_query_bind_int(&query, 5, g_get_real_time());
        if (!cx_query_run(&query, error))
            return FALSE;
    }
    return set_holds(self, owner, objects, n_objects, error) && change_commit(&change, error);
}

static gboolean
drop_record(CxMeta *self, const CxDigest *key, GError **error)
{
    g_autofree char *owner = record_owner(key);
    g_auto(CxQuery) query = cx_database_query(self->database, "DELETE FROM record WHERE key = ?");

    cx_query_bind_digest(&query, 1, key);
    return cx_query_run(&query, error) &&
           run_with_text(self, "DELETE FROM hold WHERE owner = ?", owner, error);
}

gboolean
cx_meta_drop_record(CxMeta *self, const CxDigest *key, GError **error)
{
    g_auto(Change) change = {NULL, FALSE};

    return change_begin(&change, self, error) && drop_record(self, key, error) &&
           change_commit(&change, error);
}

/* Keys to drop, oldest use first, until what stays is below budget. */
static GArray *
choose_oldest(CxMeta *self, guint64 budget, GError **error)
{
    g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT key, bytes FROM record ORDER BY used DESC");
    guint64 kept = 0;

    while (cx_query_step(&query, error)) {
        CxDigest key;

        kept += (guint64)cx_query_get_int(&query, 1);
        if ((budget == 0 || kept > budget) && cx_query_get_digest(&query, 0, &key))
            g_array_append_val(keys, key);
    }
    return cx_query_is_failed(&query) ? NULL : g_steal_pointer(&keys);
}

gboolean
cx_meta_trim_records(CxMeta *self, guint64 budget, guint *out_dropped, GError **error)
{
    g_auto(Change) change = {NULL, FALSE};
    g_autoptr(GArray) keys = NULL;

    if (!change_begin(&change, self, error) || !flush_touched(self, error))
        return FALSE;

    keys = choose_oldest(self, budget, error);
    if (keys == NULL)
        return FALSE;

    for (guint i = 0; i < keys->len; i++)
        if (!drop_record(self, &g_array_index(keys, CxDigest, i), error))
            return FALSE;
    if (!change_commit(&change, error))
        return FALSE;

    *out_dropped = keys->len;
    return TRUE;
}

static gboolean
read_number(CxMeta *self, const char *sql, guint64 *out_number, GError **error)
{
    g_auto(CxQuery) query = cx_database_query(self->database, sql);

    if (!cx_query_step(&query, error))
        return FALSE;

    *out_number = (guint64)cx_query_get_int(&query, 0);
    return TRUE;
}

gboolean
cx_meta_count(CxMeta *self, CxMetaTotals *out_totals, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return read_number(self, "SELECT count(*) FROM record", &out_totals->records, error) &&
           read_number(self, "SELECT coalesce(sum(bytes), 0) FROM record",
                       &out_totals->record_bytes, error) &&
           read_number(self, "SELECT count(DISTINCT name) FROM image", &out_totals->images, error);
}

/* ---- images ---------------------------------------------------------------------------------- */

void
cx_image_row_free(CxImageRow *self)
{
    if (self == NULL)
        return;

    g_free(self->name);
    g_free(self->platform);
    g_free(self);
}

gboolean
cx_meta_put_image(CxMeta *self,
                  const char *name,
                  const char *platform,
                  const CxDigest *manifest,
                  const CxObject *objects,
                  guint n_objects,
                  GError **error)
{
    g_auto(Change) change = {NULL, FALSE};
    g_autofree char *owner = g_strdup_printf("image:%s %s", name, platform);

    if (!change_begin(&change, self, error))
        return FALSE;
    {
        g_auto(CxQuery) query =
            cx_database_query(self->database, "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?)");

        cx_query_bind_text(&query, 1, name);
        cx_query_bind_text(&query, 2, platform);
        cx_query_bind_digest(&query, 3, manifest);
        cx_query_bind_int(&query, 4, g_get_real_time() / G_USEC_PER_SEC);
        if (!cx_query_run(&query, error))
            return FALSE;
    }
    return set_holds(self, owner, objects, n_objects, error) && change_commit(&change, error);
}

GPtrArray *
cx_meta_list_images(CxMeta *self, const char *name_or_null, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)cx_image_row_free);
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT name, platform, manifest, created FROM image "
                                          "WHERE ?1 IS NULL OR name = ?1 ORDER BY name, platform");

    cx_query_bind_text(&query, 1, name_or_null);
    while (cx_query_step(&query, error)) {
        CxImageRow *row = g_new0(CxImageRow, 1);

        row->name = g_strdup(cx_query_peek_text(&query, 0));
        row->platform = g_strdup(cx_query_peek_text(&query, 1));
        (void)cx_query_get_digest(&query, 2, &row->manifest);
        row->created = cx_query_get_int(&query, 3);
        g_ptr_array_add(rows, row);
    }
    return cx_query_is_failed(&query) ? NULL : g_steal_pointer(&rows);
}

gboolean
cx_meta_remove_image(CxMeta *self, const char *name, gboolean *out_found, GError **error)
{
    g_autoptr(GPtrArray) rows = cx_meta_list_images(self, name, error);
    g_auto(Change) change = {NULL, FALSE};

    if (rows == NULL || !change_begin(&change, self, error))
        return FALSE;

    for (guint i = 0; i < rows->len; i++) {
        const CxImageRow *row = g_ptr_array_index(rows, i);
        g_autofree char *owner = g_strdup_printf("image:%s %s", row->name, row->platform);

        if (!run_with_text(self, "DELETE FROM hold WHERE owner = ?", owner, error))
            return FALSE;
    }
    if (!run_with_text(self, "DELETE FROM image WHERE name = ?", name, error) ||
        !change_commit(&change, error))
        return FALSE;

    *out_found = rows->len > 0;
    return TRUE;
}

/* ---- durability ------------------------------------------------------------------------------ */

GArray *
cx_meta_list_suspects(CxMeta *self, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_autoptr(GArray) objects = g_array_new(FALSE, FALSE, sizeof(CxObject));
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT object FROM unsynced WHERE boot <> ?");

    cx_query_bind_text(&query, 1, self->boot);
    while (cx_query_step(&query, error)) {
        CxObject object;

        if (cx_object_parse(cx_query_peek_text(&query, 0), &object))
            g_array_append_val(objects, object);
    }
    return cx_query_is_failed(&query) ? NULL : g_steal_pointer(&objects);
}

gboolean
cx_meta_drop_holders(CxMeta *self, const CxObject *object, GError **error)
{
    g_auto(Change) change = {NULL, FALSE};
    CxObjectText text = cx_object_text(object);

    /* An owner is "record:<hex key>" or "image:NAME PLATFORM": the rows go by the same text. */
    return change_begin(&change, self, error) &&
           run_with_text(self,
                         "DELETE FROM record WHERE 'record:' || lower(hex(key)) IN (SELECT owner "
                         "FROM hold WHERE object = ?)",
                         text.text, error) &&
           run_with_text(self,
                         "DELETE FROM image WHERE 'image:' || name || ' ' || platform IN "
                         "(SELECT owner FROM hold WHERE object = ?)",
                         text.text, error) &&
           run_with_text(
               self, "DELETE FROM hold WHERE owner IN (SELECT owner FROM hold WHERE object = ?)",
               text.text, error) &&
           run_with_text(self, "DELETE FROM unsynced WHERE object = ?", text.text, error) &&
           change_commit(&change, error);
}

gboolean
cx_meta_mark_synced(CxMeta *self, GError **error)
{
    g_auto(Change) change = {NULL, FALSE};

    if (!change_begin(&change, self, error) || !flush_touched(self, error) ||
        !cx_database_exec(self->database, "DELETE FROM unsynced", error) ||
        !change_commit(&change, error))
        return FALSE;

    self->unsynced = FALSE;
    return cx_database_exec(self->database, "PRAGMA wal_checkpoint(TRUNCATE)", error);
}

gboolean
cx_meta_has_unsynced(CxMeta *self)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);

    return self->unsynced;
}

/* ---- explain --------------------------------------------------------------------------------- */

char *
cx_meta_get_place(CxMeta *self, const char *place, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_auto(CxQuery) query =
        cx_database_query(self->database, "SELECT value FROM place WHERE place = ?");

    cx_query_bind_text(&query, 1, place);
    return cx_query_step(&query, error) ? g_strdup(cx_query_peek_text(&query, 0)) : NULL;
}

gboolean
cx_meta_put_place(CxMeta *self, const char *place, const char *value, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&self->lock);
    g_auto(CxQuery) query =
        cx_database_query(self->database, "INSERT OR REPLACE INTO place VALUES (?, ?)");

    cx_query_bind_text(&query, 1, place);
    cx_query_bind_text(&query, 2, value);
    return cx_query_run(&query, error);
}

void
cx_meta_close(CxMeta *self)
{
    if (self == NULL)
        return;

    if (self->database != NULL) {
        g_auto(Change) change = {NULL, FALSE};

        if (change_begin(&change, self, NULL) && flush_touched(self, NULL))
            (void)change_commit(&change, NULL);
    }
    g_clear_pointer(&self->database, cx_database_close);
    g_clear_pointer(&self->touched, g_hash_table_unref);
    g_mutex_clear(&self->lock);
    g_free(self);
}
