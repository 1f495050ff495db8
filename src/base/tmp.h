/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* A temporary folder that goes away with its scope unless it was renamed to its final place. */
typedef struct {
    int parent_fd; /* borrowed; must outlive this */
    int fd;        /* owned */
    char *name;    /* (owned); NULL: nothing to remove */
} CxTmpdir;

#define CX_TMPDIR_INIT                                                                             \
    {                                                                                              \
        .parent_fd = -1, .fd = -1, .name = NULL                                                    \
    }

gboolean cx_tmpdir_make(CxTmpdir *self, int parent_fd, mode_t mode, GError **error);
/* Publishes the folder as to_fd/name (same file system).  CX_ERROR_EXISTS leaves it to be removed.
 * The commit point. */
gboolean cx_tmpdir_publish(CxTmpdir *self, int to_fd, const char *name, GError **error);
void cx_tmpdir_clear(CxTmpdir *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxTmpdir, cx_tmpdir_clear)

/* A temporary file in the same manner. */
typedef struct {
    int parent_fd; /* borrowed; must outlive this */
    int fd;        /* owned, read-write */
    char *name;    /* (owned) */
} CxTmpfile;

#define CX_TMPFILE_INIT                                                                            \
    {                                                                                              \
        .parent_fd = -1, .fd = -1, .name = NULL                                                    \
    }

gboolean cx_tmpfile_make(CxTmpfile *self, int parent_fd, mode_t mode, GError **error);
gboolean cx_tmpfile_publish(
    CxTmpfile *self, int to_fd, const char *name, gboolean replace, GError **error);
void cx_tmpfile_clear(CxTmpfile *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxTmpfile, cx_tmpfile_clear)

/* Removes dir_fd/name and all below it, following nothing, crossing no mount.  A missing name is
 * success. */
gboolean cx_remove_tree_at(int dir_fd, const char *name, GError **error);

/* Bytes that dir_fd/name and all below it take on disk (st_blocks), each inode once; 0 when
 * missing. */
guint64 cx_tree_usage_at(int dir_fd, const char *name);

G_END_DECLS
