/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"

G_BEGIN_DECLS

/* What tests of layers are made of: small tars from tables, and a folder of their own to work in.
 */

typedef struct {
    const char *path; /* NULL ends a table */
    CxEntryType type;
    const char *text; /* a file's content, a link's target */
    mode_t mode;      /* 0: 0644 for a file, 0755 for a folder */
    guint32 uid, gid;
    gint64 mtime;
    const char *xattr, *value; /* one extended attribute */
    guint32 major, minor;
} CxTestEntry;

/* Writes them as a tar to fd; returns its size. */
guint64 cx_test_write_tar(int fd, const CxTestEntry *entries);

/* The entries of a tar in its order, one line each in the manner of cx_test_describe.  (transfer
 * full) */
char *cx_test_list_tar(int fd, guint64 size);

/* Makes the tree of a table beneath dir_fd as real files. */
void cx_test_make_tree(int dir_fd, const CxTestEntry *entries);

/* The same from lines as cx_test_describe writes them; mode and owner may be left out. */
void cx_test_make_tree_of(int dir_fd, const char *lines);

/* A temporary folder, in a mount namespace of our own if we may have one. */
typedef struct {
    char *path; /* (owned) */
    int fd;     /* owned */
    gboolean may_mount;
} CxTestFolder;

void cx_test_folder_init(CxTestFolder *self);
void cx_test_folder_clear(CxTestFolder *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxTestFolder, cx_test_folder_clear)

/* A new empty file in it.  Returns an fd. */
int cx_test_create(const CxTestFolder *folder, const char *name);

/* One line an object, sorted, of the tree beneath dir_fd: "d 0755 0:0 etc", "f 0644 1:2 etc/a =
 * text", "l etc/b -> a", "c 0:0 gone"; hard links to an earlier name "h etc/c = etc/a".  Overlay's
 * and security's xattrs as " [name=value]". (transfer full) */
char *cx_test_describe(int dir_fd);

G_END_DECLS
