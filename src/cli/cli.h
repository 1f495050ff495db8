/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/json.h"
#include "cli/client.h"

G_BEGIN_DECLS

/* One verb of the command line. */
typedef struct {
    const char *name;
    const char *arguments; /* of the usage line: "DIR" */
    const char *summary;
    const GOptionEntry *options; /* NULL: none */
    /* arguments: positional ones after the verb, NULL-terminated.  Returns FALSE with error set for
     * an `error:` line and exit 1; CX_CLI_USAGE for wrong usage (exit 2). */
    gboolean (*run)(const CxCliGlobals *globals, char **arguments, GError **error);
} CxVerb;

/* Raised for wrong usage: the text, then the usage, exit 2. */
#define CX_CLI_USAGE (cx_cli_usage_quark())
GQuark cx_cli_usage_quark(void);

extern const CxVerb cx_verb_start;
extern const CxVerb cx_verb_version;
extern const CxVerb cx_verb_status;
extern const CxVerb cx_verb_shutdown;
extern const CxVerb cx_verb_doctor;
extern const CxVerb cx_verb_build;
extern const CxVerb cx_verb_images;
extern const CxVerb cx_verb_inspect;
extern const CxVerb cx_verb_df;
extern const CxVerb cx_verb_gc;

/* No positional arguments were expected: CX_CLI_USAGE if there are some. */
gboolean cx_cli_expect_none(char **arguments, GError **error);

/* "512", "64k", "1.5M", "2GiB" -> bytes (powers of 1024). */
gboolean cx_cli_parse_size(const char *size, guint64 *out_bytes, GError **error);
/* "1.2 GiB".  (transfer full) */
char *cx_cli_format_size(guint64 bytes);

G_END_DECLS
