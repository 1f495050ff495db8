/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/tmp.h"
#include "runtime/cgroup.h"

#define NAME_MAX_BYTES 48

gboolean
cx_instance_name_check(const char *name, GError **error)
{
    gsize n = strlen(name);
    gboolean ok = n >= 1 && n <= NAME_MAX_BYTES && g_ascii_isalnum(name[0]);

    for (gsize i = 0; ok && i < n; i++)
        ok = g_ascii_isalnum(name[i]) || strchr("_.-", name[i]) != NULL;
    if (!ok)
        return cx_throw(error, CX_ERROR_INVALID,
                        "instance name \"%s\" is not letters, digits, \"_\", \".\" and \"-\"",
                        name);

    return TRUE;
}

char *
cx_instance_folder(const char *name)
{
    return g_build_filename(CX_INSTANCES_FOLDER, name, NULL);
}

char *
cx_instance_socket(const char *name)
{
    return g_build_filename(CX_INSTANCES_FOLDER, name, "cruxd.sock", NULL);
}

char *
cx_instance_pid_file(const char *name)
{
    return g_build_filename(CX_INSTANCES_FOLDER, name, "cruxd.pid", NULL);
}

void
cx_instance_sweep(void)
{
    cx_autofd int folder_fd = open(CX_INSTANCES_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GDir) dir = folder_fd < 0 ? NULL : g_dir_open(CX_INSTANCES_FOLDER, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        int pid = g_str_has_prefix(name, "private-") ? atoi(name + strlen("private-")) : 0;

        if (pid > 0 && kill(pid, 0) < 0 && errno == ESRCH) {
            /* Opening the group of a name kills and takes over what is in it, closing removes it.
             */
            cx_cgroups_close(cx_cgroups_open(name));
            (void)cx_remove_tree_at(folder_fd, name, NULL);
        }
    }
}
