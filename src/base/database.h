/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sqlite3.h>

#include "base/digest.h"

G_BEGIN_DECLS

/* The adapter of SQLite: one connection, used under the caller's lock; statements are prepared once
 * and kept. Full disk is CX_ERROR_NO_SPACE, damage is CX_ERROR_MISMATCH. */
typedef struct CxDatabase CxDatabase;

CxDatabase *cx_database_open(const char *path, GError **error);
void cx_database_close(CxDatabase *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxDatabase, cx_database_close)

/* Runs statements without parameters and rows. */
gboolean cx_database_exec(CxDatabase *self, const char *sql, GError **error);

/* A running statement.  sql must be a literal: it is the key under which the prepared form is kept.
 *     g_auto(CxQuery) query = cx_database_query(db, "SELECT size FROM layer WHERE id = ?");
 *     cx_query_bind_text(&query, 1, id);
 *     while (cx_query_step(&query, error)) …
 * One query for one sql at a time. */
typedef struct {
    CxDatabase *database;
    sqlite3_stmt *statement; /* NULL: preparing failed; the first step says why */
    gboolean failed;
} CxQuery;

CxQuery cx_database_query(CxDatabase *self, const char *sql);
void cx_query_bind_text(CxQuery *self, int index, const char *text); /* NULL binds NULL */
void cx_query_bind_int(CxQuery *self, int index, gint64 value);
void cx_query_bind_digest(CxQuery *self,
                          int index,
                          const CxDigest *digest); /* as a 32-byte blob; NULL binds NULL */

/* TRUE: a row is there.  FALSE: no more rows, or error is set (then cx_query_is_failed). */
gboolean cx_query_step(CxQuery *self, GError **error);
gboolean cx_query_is_failed(const CxQuery *self);
/* For statements without rows: TRUE when done. */
gboolean cx_query_run(CxQuery *self, GError **error);

const char *cx_query_peek_text(CxQuery *self,
                               int column); /* valid until the next step; NULL for NULL */
gint64 cx_query_get_int(CxQuery *self, int column);
gboolean cx_query_get_digest(CxQuery *self,
                             int column,
                             CxDigest *out_digest); /* FALSE for NULL or another size */
void cx_query_clear(CxQuery *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxQuery, cx_query_clear)

G_END_DECLS
