/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The mounts that views are made of.  Two ways, chosen once by trying:
 *
 * - modern: fsopen(2), layers named by descriptor, mounts that hang nowhere.  A mount that nobody
 * has to find by path costs nothing to a process that copies our mount namespace, and goes away
 * with its descriptor.
 * - classic: mount(2), every mount at a folder of its own under <root>/mnt.
 *
 * Any thread may call. */
typedef struct {
    int mnt_fd;     /* owned: <root>/mnt */
    char *mnt_path; /* (owned) absolute */
    gboolean is_modern;
    GMutex lock;
    GPtrArray *free_points; /* (owned) of owned names in mnt to use again; guarded by lock */
    guint n_points;         /* named so far; guarded by lock */
} CxMounter;

/* A mount that lasts as long as this. */
typedef struct {
    int fd;             /* owned: its root folder.  It may be an O_PATH one: open "." beneath it */
    CxMounter *mounter; /* borrowed; with point */
    char *point;        /* (owned) where it hangs in mnt; NULL: nowhere */
} CxMount;

#define CX_MOUNT_INIT                                                                              \
    {                                                                                              \
        .fd = -1, .mounter = NULL, .point = NULL                                                   \
    }

/* Unmounts.  What is still busy is taken out of sight and goes when the last user does. */
void cx_mount_clear(CxMount *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxMount, cx_mount_clear)

gboolean cx_mounter_init(CxMounter *self, int root_fd, GError **error);
void cx_mounter_clear(CxMounter *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CxMounter, cx_mounter_clear)

/* Chooses the way by mounting an overlay of the two empty folders lower_fds over dir_fd's "fs" and
 * "work". CX_ERROR_UNSUPPORTED: overlayfs does not work here. */
gboolean cx_mounter_probe(CxMounter *self, int dir_fd, const int lower_fds[2], GError **error);

/* Mounts the index and the tar that lie in folder_fd. */
gboolean cx_mount_erofs(CxMounter *mounter,
                        int folder_fd,
                        const char *index,
                        const char *tar,
                        CxMount *out_mount,
                        GError **error);

typedef struct {
    const int *lower_fds; /* borrowed; from the bottom up */
    guint n_lowers;       /* at least one, or two without an upper */
    int upper_fd;         /* borrowed; -1: read-only */
    int work_fd;          /* borrowed */
    gboolean has_path;    /* it must be found by path: mounter->mnt_path and the mount's point */
} CxOverlay;

gboolean cx_mount_overlay(CxMounter *mounter,
                          const CxOverlay *overlay,
                          CxMount *out_mount,
                          GError **error);

G_END_DECLS
