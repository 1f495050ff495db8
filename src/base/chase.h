/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* The one resolver of paths that somebody else wrote: names in an image, a build context, our own
 * state. Nothing it opens lies outside root_fd, whatever symlinks or ".." the path holds.  openat2
 * does the work; where the kernel or a filter refuses it (or CX_DISABLE=openat2 is set) a walk with
 * one openat per component does, under the same rules. */
typedef enum {
    CX_CHASE_BENEATH =
        1 << 1, /* leaving root_fd is an error: "..", an absolute path or link that leads out */
    CX_CHASE_IN_ROOT = 1 << 2, /* root_fd is "/": absolute links start there and ".." stops there */
    CX_CHASE_NO_SYMLINKS = 1 << 3, /* any symlink on the way is an error (CX_ERROR_INVALID) */
} CxChaseFlags;

/* Opens root_fd/path; open_flags and mode as for openat (O_CLOEXEC is added, O_CREAT allowed).
 * Returns an fd or -1. Exactly one of BENEATH and IN_ROOT must be given.  Codes: as errno says;
 * leaving the root is CX_ERROR_DENIED. */
int cx_chase_open(int root_fd,
                  const char *path,
                  CxChaseFlags flags,
                  int open_flags,
                  mode_t mode,
                  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makes the folder root_fd/path and its missing parents with mode, resolving as above.  Returns an
 * fd of it. */
int cx_chase_mkdir_p(int root_fd, const char *path, CxChaseFlags flags, mode_t mode, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

/* "/a//./b/../c/" -> "a/c": relative, no empty, "." or ".." parts, ".." stopped at the root.  ""
 * for the root. */
char *cx_path_clean(const char *path);

/* Whether a path has a ".." component. */
gboolean cx_path_has_dotdot(const char *path);

G_END_DECLS
