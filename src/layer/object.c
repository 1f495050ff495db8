/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/object.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

#define RECORDS_SIZE (32 * 1024)

/* ---- names ----------------------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static guint
collect(GByteArray *bytes, const char *records, gsize size)
{
    guint n = 0;

    for (gsize at = 0; at < size;) {
        const struct dirent64 *record = (const struct dirent64 *)(records + at);
        const char *name = record->d_name;

        at += record->d_reclen;
        if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
            continue;
        g_byte_array_append(bytes, &record->d_type, 1);
        g_byte_array_append(bytes, (const guint8 *)name, (guint)strlen(name) + 1);
        n++;
    }
    return n;
}

gboolean
cx_names_read(CxNames *self, int dir_fd, GError **error)
{
    g_autofree char *records = g_malloc(RECORDS_SIZE);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint n = 0;
    const char *at;

    for (;;) {
        ssize_t size = getdents64(dir_fd, records, RECORDS_SIZE);

        if (size < 0)
            return cx_throw_errno(error, "folder");
        if (size == 0)
            break;
        n += collect(bytes, records, (gsize)size);
    }

    self->n = n;
    self->names = g_new(const char *, n + 1);
    self->bytes = (char *)g_byte_array_free(g_steal_pointer(&bytes), FALSE);
    at = self->bytes;
    for (guint i = 0; i < n; i++) {
        self->names[i] = at + 1;
        at += strlen(at + 1) + 2;
    }
    qsort(self->names, n, sizeof *self->names, compare_names);
    return TRUE;
}

void
cx_names_clear(CxNames *self)
{
    g_clear_pointer(&self->names, g_free);
    g_clear_pointer(&self->bytes, g_free);
    self->n = 0;
}

/* ---- objects --------------------------------------------------------------------------------- */

gboolean
cx_object_describe(const struct stat *st, CxEntry *out_entry)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
        out_entry->type = CX_ENTRY_FILE;
        break;
    case S_IFDIR:
        out_entry->type = CX_ENTRY_FOLDER;
        break;
    case S_IFLNK:
        out_entry->type = CX_ENTRY_SYMLINK;
        break;
    case S_IFCHR:
        out_entry->type = CX_ENTRY_CHAR;
        break;
    case S_IFBLK:
        out_entry->type = CX_ENTRY_BLOCK;
        break;
    case S_IFIFO:
        out_entry->type = CX_ENTRY_FIFO;
        break;
    default:
        return FALSE;
    }
    out_entry->mode = st->st_mode & 07777;
    out_entry->uid = st->st_uid;
    out_entry->gid = st->st_gid;
    out_entry->size = S_ISREG(st->st_mode) ? (guint64)st->st_size : 0;
    out_entry->major = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? major(st->st_rdev) : 0;
    out_entry->minor = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? minor(st->st_rdev) : 0;
    return TRUE;
}

int
cx_object_open(int dir_fd, const char *name, mode_t type, struct stat *out_stat, GError **error)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
                (S_ISDIR(type) ? O_DIRECTORY : 0);
    cx_autofd int fd = openat(dir_fd, name, flags);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return cx_throw_errno_fd(error, "open");
    if ((st.st_mode & S_IFMT) != type)
        return cx_throw_fd(error, CX_ERROR_MISMATCH, "changed while it was read");

    *out_stat = st;
    return cx_steal_fd(&fd);
}

char *
cx_object_read_link(int dir_fd, const char *name, GError **error)
{
    char target[PATH_MAX];
    ssize_t size = readlinkat(dir_fd, name, target, sizeof target);

    if (size < 0)
        return cx_throw_errno_null(error, "read link");
    if (size == sizeof target)
        return cx_throw_null(error, CX_ERROR_LIMIT, "link of more than %d bytes", PATH_MAX - 1);

    return g_strndup(target, (gsize)size);
}

/* ---- xattrs ---------------------------------------------------------------------------------- */

CxXattrVerdict
cx_xattr_judge_portable(const char *name)
{
    if (strcmp(name, "security.capability") == 0)
        return CX_XATTR_KEEP;

    return g_str_has_prefix(name, "user.") && !g_str_has_prefix(name, "user.overlay.")
               ? CX_XATTR_KEEP
               : CX_XATTR_SKIP;
}

static int
compare_xattrs(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const CxXattr *const *)a)->name, (*(const CxXattr *const *)b)->name);
}

static gboolean
add_xattr(GPtrArray *xattrs, int fd, const char *name, GError **error)
{
    g_autofree char *value = g_malloc(XATTR_SIZE_MAX);
    ssize_t size = fgetxattr(fd, name, value, XATTR_SIZE_MAX);

    if (size < 0)
        return cx_throw_errno(error, "attribute \"%s\"", name);

    g_ptr_array_add(xattrs, cx_xattr_new(name, value, (gsize)size));
    return TRUE;
}

static gboolean
read_listed(int fd,
            const char *list,
            gsize size,
            CxXattrJudge judge,
            GPtrArray **out_xattrs,
            GError **error)
{
    g_autoptr(GPtrArray) xattrs = NULL;

    for (const char *name = list; name < list + size; name += strlen(name) + 1) {
        CxXattrVerdict verdict = judge(name);

        if (verdict == CX_XATTR_REFUSE)
            return cx_throw(error, CX_ERROR_UNSUPPORTED,
                            "attribute \"%s\" of another kind of mount", name);
        if (verdict == CX_XATTR_SKIP)
            continue;
        if (xattrs == NULL)
            xattrs = g_ptr_array_new_with_free_func((GDestroyNotify)cx_xattr_free);
        if (!add_xattr(xattrs, fd, name, error))
            return FALSE;
    }
    if (xattrs != NULL)
        g_ptr_array_sort(xattrs, compare_xattrs);
    *out_xattrs = g_steal_pointer(&xattrs);
    return TRUE;
}

gboolean
cx_object_read_xattrs(int fd, CxXattrJudge judge, GPtrArray **out_xattrs, GError **error)
{
    char few[256];
    g_autofree char *many = NULL;
    ssize_t size = flistxattr(fd, few, sizeof few);

    if (size == 0 || (size < 0 && errno == EOPNOTSUPP)) {
        *out_xattrs = NULL;
        return TRUE;
    }
    if (size < 0 && errno == ERANGE) {
        many = g_malloc(XATTR_LIST_MAX);
        size = flistxattr(fd, many, XATTR_LIST_MAX);
    }
    if (size < 0)
        return cx_throw_errno(error, "attributes");

    return read_listed(fd, many != NULL ? many : few, (gsize)size, judge, out_xattrs, error);
}

/* ---- hard links ------------------------------------------------------------------------------ */

typedef struct {
    dev_t dev;
    ino_t ino;
    char path[];
} Seen;

struct CxLinkTable {
    GHashTable *seen; /* set of (owned Seen) by dev and ino */
};

static guint
hash_seen(gconstpointer key)
{
    const Seen *seen = key;
    guint64 mixed = (seen->ino ^ (guint64)seen->dev << 40) * 0x9e3779b97f4a7c15;

    return (guint)(mixed >> 32);
}

static gboolean
equal_seen(gconstpointer a, gconstpointer b)
{
    const Seen *one = a;
    const Seen *two = b;

    return one->dev == two->dev && one->ino == two->ino;
}

CxLinkTable *
cx_link_table_new(void)
{
    CxLinkTable *self = g_new0(CxLinkTable, 1);

    self->seen = g_hash_table_new_full(hash_seen, equal_seen, g_free, NULL);
    return self;
}

void
cx_link_table_free(CxLinkTable *self)
{
    if (self == NULL)
        return;

    g_hash_table_unref(self->seen);
    g_free(self);
}

const char *
cx_link_table_visit(CxLinkTable *self, const struct stat *st, const char *path)
{
    Seen wanted = {.dev = st->st_dev, .ino = st->st_ino};
    Seen *seen = g_hash_table_lookup(self->seen, &wanted);

    if (seen != NULL)
        return seen->path;

    seen = g_malloc(sizeof *seen + strlen(path) + 1);
    seen->dev = st->st_dev;
    seen->ino = st->st_ino;
    memcpy(seen->path, path, strlen(path) + 1);
    g_hash_table_add(self->seen, seen);
    return NULL;
}
