/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where an instance lives: /run/cruxd/instances/<name>/ holds its socket, PID file, runtime state
 * and the bundles of running steps. Several run side by side, each with its own name and store
 * root. */
#define CX_INSTANCE_DEFAULT "default"
#define CX_INSTANCES_FOLDER "/run/cruxd/instances"

/* [A-Za-z0-9][A-Za-z0-9_.-]*, 1 to 48 bytes. */
gboolean cx_instance_name_check(const char *name, GError **error);

char *cx_instance_folder(const char *name);
char *cx_instance_socket(const char *name);
char *cx_instance_pid_file(const char *name);

/* Removes what killed private daemons left: folders "private-<pid>" whose process is gone. */
void cx_instance_sweep(void);

G_END_DECLS
