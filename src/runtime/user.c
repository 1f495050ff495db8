/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"

/* The files belong to the image, so to whoever made it. */
#define DATABASE_MAX (1024 * 1024)
#define NUMBER_DIGITS_MAX 10
#define GIDS_MAX 1024
#define FIELDS_MAX 7

/* ---- passwd and group, line by line ---------------------------------------------------------- */

typedef struct {
    char *text; /* (owned) NULL: no such file */
    char *next;
} Database;

static void
database_clear(Database *self)
{
    g_free(self->text);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Database, database_clear)

/* A missing file is an empty one. */
static gboolean
database_open(Database *self, int root_fd, const char *path, GError **error)
{
    g_autoptr(GError) why = NULL;
    cx_autofd int fd =
        cx_chase_open(root_fd, path, CX_CHASE_IN_ROOT, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &why);
    struct stat st;
    gssize n;

    if (fd < 0 && cx_error_is(why, CX_ERROR_NOT_FOUND))
        return TRUE;
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (fstat(fd, &st) < 0)
        return cx_throw_errno(error, "\"/%s\"", path);
    if (!S_ISREG(st.st_mode))
        return cx_throw(error, CX_ERROR_INVALID, "\"/%s\": not a regular file", path);
    if (st.st_size > DATABASE_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "\"/%s\": larger than %d bytes", path, DATABASE_MAX);

    self->text = self->next = g_malloc((gsize)st.st_size + 1);
    n = cx_pread_full(fd, self->text, (gsize)st.st_size, 0, error);
    if (n < 0)
        return FALSE;

    self->text[n] = '\0';
    return TRUE;
}

/* The next line cut at its colons; the last field keeps what is left.  0 at the end. */
static guint
database_next(Database *self, char *fields[FIELDS_MAX], guint max)
{
    char *line = self->next, *end;
    guint n = 0;

    if (line == NULL || *line == '\0')
        return 0;

    end = strchrnul(line, '\n');
    self->next = *end == '\n' ? end + 1 : end;
    *end = '\0';
    for (;;) {
        char *colon = n + 1 < max ? strchr(line, ':') : NULL;

        fields[n++] = line;
        if (colon == NULL)
            return n;
        *colon = '\0';
        line = colon + 1;
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

static gboolean
is_digits(const char *text)
{
    return *text != '\0' && text[strspn(text, G_CSET_DIGITS)] == '\0';
}

/* 0 to 4294967294 in decimal: the last number means "none" to the kernel. */
static gboolean
parse_id(const char *text, guint32 *out_id)
{
    guint64 number;

    if (!is_digits(text) || strlen(text) > NUMBER_DIGITS_MAX)
        return FALSE;

    number = g_ascii_strtoull(text, NULL, 10);
    if (number >= G_MAXUINT32)
        return FALSE;

    *out_id = (guint32)number;
    return TRUE;
}

static gboolean
throw_bad_number(const char *text, GError **error)
{
    return cx_throw(error, CX_ERROR_INVALID, "\"%.64s\" is not a number from 0 to 4294967294",
                    text);
}

/* ---- lookups --------------------------------------------------------------------------------- */

/* Fills in uid, gid, home and *out_name of a user that /etc/passwd knows. */
static gboolean
find_user(Database *passwd, const char *text, gboolean by_number, CxUser *user, char **out_name)
{
    char *fields[FIELDS_MAX];
    guint n;

    while ((n = database_next(passwd, fields, FIELDS_MAX)) > 0) {
        guint32 uid, gid;

        if (n < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid))
            continue;
        if (by_number ? uid != user->uid : strcmp(fields[0], text) != 0)
            continue;

        user->uid = uid;
        user->gid = gid;
        if (fields[5][0] == '/' && g_utf8_validate(fields[5], -1, NULL)) {
            g_free(user->home);
            user->home = g_strdup(fields[5]);
        }
        *out_name = g_strdup(fields[0]);
        return TRUE;
    }
    return FALSE;
}

static gboolean
resolve_user(int root_fd, const char *text, CxUser *user, char **out_name, GError **error)
{
    g_auto(Database) passwd = {0};
    gboolean by_number = *text == '\0' || is_digits(text);

    if (by_number && *text != '\0' && !parse_id(text, &user->uid))
        return throw_bad_number(text, error);
    if (!database_open(&passwd, root_fd, "etc/passwd", error))
        return FALSE;
    if (!find_user(&passwd, text, by_number, user, out_name) && !by_number)
        return cx_throw(error, CX_ERROR_NOT_FOUND, "no such user in the image's /etc/passwd");

    return TRUE;
}

static gboolean
resolve_group(int root_fd, const char *text, guint32 *out_gid, GError **error)
{
    g_auto(Database) group = {0};
    char *fields[FIELDS_MAX];
    guint n;

    if (is_digits(text))
        return parse_id(text, out_gid) || throw_bad_number(text, error);
    if (!database_open(&group, root_fd, "etc/group", error))
        return FALSE;

    while ((n = database_next(&group, fields, 4)) > 0)
        if (n >= 3 && strcmp(fields[0], text) == 0 && parse_id(fields[2], out_gid))
            return TRUE;

    return cx_throw(error, CX_ERROR_NOT_FOUND, "no group \"%.64s\" in the image's /etc/group",
                    text);
}

/* "a,b,c" */
static gboolean
is_member(const char *members, const char *name)
{
    gsize length = strlen(name);

    for (const char *m = members; m != NULL; m = strchr(m, ','), m = m == NULL ? NULL : m + 1)
        if (strncmp(m, name, length) == 0 && (m[length] == ',' || m[length] == '\0'))
            return TRUE;

    return FALSE;
}

static gint
compare_gids(gconstpointer a, gconstpointer b)
{
    guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;

    return (x > y) - (x < y);
}

static gboolean
has_gid(const CxUser *user, guint32 gid)
{
    for (guint i = 0; i < user->additional_gids->len; i++)
        if (g_array_index(user->additional_gids, guint32, i) == gid)
            return TRUE;

    return gid == user->gid;
}

static gboolean
add_memberships(int root_fd, const char *name, CxUser *user, GError **error)
{
    g_auto(Database) group = {0};
    char *fields[FIELDS_MAX];
    guint32 gid;
    guint n;

    if (!database_open(&group, root_fd, "etc/group", error))
        return FALSE;

    while ((n = database_next(&group, fields, 4)) > 0) {
        if (n < 4 || !parse_id(fields[2], &gid) || !is_member(fields[3], name) ||
            has_gid(user, gid))
            continue;
        if (user->additional_gids->len == GIDS_MAX)
            return cx_throw(error, CX_ERROR_LIMIT, "a member of more than %d groups", GIDS_MAX);
        g_array_append_val(user->additional_gids, gid);
    }
    g_array_sort(user->additional_gids, compare_gids);
    return TRUE;
}

/* ---- public ---------------------------------------------------------------------------------- */

void
cx_user_clear(CxUser *self)
{
    g_clear_pointer(&self->additional_gids, g_array_unref);
    g_clear_pointer(&self->home, g_free);
}

gboolean
cx_user_lookup(int root_fd, const char *text, CxUser *out_user, GError **error)
{
    CX_ERROR_CONTEXT(error, "user \"%.64s\"", text);
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    const char *user_text = parts[0] != NULL ? parts[0] : "",
               *group_text = parts[0] != NULL ? parts[1] : NULL;
    g_auto(CxUser) user = {.home = g_strdup("/"),
                           .additional_gids = g_array_new(FALSE, FALSE, sizeof(guint32))};
    g_autofree char *name = NULL;

    if (group_text != NULL &&
        (*user_text == '\0' || *group_text == '\0' || strchr(group_text, ':') != NULL))
        return cx_throw(error, CX_ERROR_INVALID, "expected USER or USER:GROUP");
    if (!resolve_user(root_fd, user_text, &user, &name, error))
        return FALSE;
    if (group_text != NULL && !resolve_group(root_fd, group_text, &user.gid, error))
        return FALSE;
    if (group_text == NULL && name != NULL && !add_memberships(root_fd, name, &user, error))
        return FALSE;

    *out_user = user;
    user = (CxUser){0};
    return TRUE;
}
