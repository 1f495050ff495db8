/* SPDX-License-Identifier: Apache-2.0 */
#include "base/database.h"

#include <string.h>

#include "base/error.h"

struct CxDatabase {
    sqlite3 *handle;        /* (owned) */
    GHashTable *statements; /* (const char *) literal -> (owned sqlite3_stmt) */
};

static gboolean
database_throw(CxDatabase *self, GError **error)
{
    int code = sqlite3_extended_errcode(self->handle);

    switch (code & 0xff) {
    case SQLITE_FULL:
        return cx_throw(error, CX_ERROR_NO_SPACE, "database: no space left on device");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return cx_throw(error, CX_ERROR_MISMATCH, "database: %s", sqlite3_errmsg(self->handle));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cx_throw(error, CX_ERROR_BUSY, "database: %s", sqlite3_errmsg(self->handle));
    default:
        return cx_throw(error, CX_ERROR_INTERNAL, "database: %s", sqlite3_errmsg(self->handle));
    }
}

static void
finalize_statement(gpointer statement)
{
    (void)sqlite3_finalize(statement);
}

CxDatabase *
cx_database_open(const char *path, GError **error)
{
    g_autoptr(CxDatabase) self = g_new0(CxDatabase, 1);

    self->statements =
        g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, finalize_statement);
    if (sqlite3_open_v2(path, &self->handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        (void)database_throw(self, error);
        return NULL;
    }
    (void)sqlite3_busy_timeout(self->handle, 5000);
    return g_steal_pointer(&self);
}

void
cx_database_close(CxDatabase *self)
{
    if (self == NULL)
        return;

    g_clear_pointer(&self->statements, g_hash_table_unref);
    (void)sqlite3_close_v2(self->handle);
    g_free(self);
}

gboolean
cx_database_exec(CxDatabase *self, const char *sql, GError **error)
{
    if (sqlite3_exec(self->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return database_throw(self, error);

    return TRUE;
}

CxQuery
cx_database_query(CxDatabase *self, const char *sql)
{
    CxQuery query = {.database = self, .statement = g_hash_table_lookup(self->statements, sql)};

    if (query.statement != NULL)
        return query;
    if (sqlite3_prepare_v3(self->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &query.statement,
                           NULL) == SQLITE_OK)
        g_hash_table_insert(self->statements, (gpointer)sql, query.statement);
    else
        query.statement = NULL;
    return query;
}

void
cx_query_bind_text(CxQuery *self, int index, const char *text)
{
    if (self->statement != NULL)
        (void)sqlite3_bind_text(self->statement, index, text, -1, SQLITE_TRANSIENT);
}

void
cx_query_bind_int(CxQuery *self, int index, gint64 value)
{
    if (self->statement != NULL)
        (void)sqlite3_bind_int64(self->statement, index, value);
}

void
cx_query_bind_digest(CxQuery *self, int index, const CxDigest *digest)
{
    if (self->statement != NULL)
        (void)sqlite3_bind_blob(self->statement, index, digest == NULL ? NULL : digest->bytes,
                                CX_DIGEST_SIZE, SQLITE_TRANSIENT);
}

gboolean
cx_query_step(CxQuery *self, GError **error)
{
    int code = self->statement == NULL ? SQLITE_ERROR : sqlite3_step(self->statement);

    if (code == SQLITE_ROW)
        return TRUE;
    if (code != SQLITE_DONE) {
        self->failed = TRUE;
        return database_throw(self->database, error);
    }
    return FALSE;
}

gboolean
cx_query_is_failed(const CxQuery *self)
{
    return self->failed;
}

gboolean
cx_query_run(CxQuery *self, GError **error)
{
    while (cx_query_step(self, error))
        continue;
    return !self->failed;
}

const char *
cx_query_peek_text(CxQuery *self, int column)
{
    return (const char *)sqlite3_column_text(self->statement, column);
}

gint64
cx_query_get_int(CxQuery *self, int column)
{
    return sqlite3_column_int64(self->statement, column);
}

gboolean
cx_query_get_digest(CxQuery *self, int column, CxDigest *out_digest)
{
    const void *blob = sqlite3_column_blob(self->statement, column);

    if (blob == NULL || sqlite3_column_bytes(self->statement, column) != CX_DIGEST_SIZE)
        return FALSE;

    memcpy(out_digest->bytes, blob, CX_DIGEST_SIZE);
    return TRUE;
}

void
cx_query_clear(CxQuery *self)
{
    if (self->statement == NULL)
        return;

    (void)sqlite3_reset(self->statement);
    (void)sqlite3_clear_bindings(self->statement);
    self->statement = NULL;
}
