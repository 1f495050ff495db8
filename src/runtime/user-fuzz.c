/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/tmp.h"
#include "runtime/user.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
put(int root_fd, const char *path, const guint8 *data, gsize size)
{
    cx_autofd int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    (void)cx_write_all(fd, data, size, NULL);
}

/* Input: the user text, a NUL, /etc/passwd, a NUL, /etc/group. */
int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const guint8 *end = data + size, *passwd = memchr(data, '\0', size), *group = NULL;
    g_autofree char *folder = NULL, *text = NULL;
    g_auto(CxUser) user = {0};
    cx_autofd int root_fd = -1;

    if (passwd != NULL)
        group = memchr(passwd + 1, '\0', (gsize)(end - passwd - 1));
    if (group == NULL)
        return 0;

    folder = g_dir_make_tmp("cx-user-XXXXXX", NULL);
    root_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    text = g_strndup((const char *)data, size);
    (void)mkdirat(root_fd, "etc", 0755);
    put(root_fd, "etc/passwd", passwd + 1, (gsize)(group - passwd - 1));
    put(root_fd, "etc/group", group + 1, (gsize)(end - group - 1));
    if (cx_user_lookup(root_fd, text, &user, NULL))
        g_assert_cmpuint(user.uid, <, G_MAXUINT32);
    (void)cx_remove_tree_at(AT_FDCWD, folder, NULL);
    return 0;
}
