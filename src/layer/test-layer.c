/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/test-layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/tmp.h"
#include "layer/tar-reader.h"
#include "layer/tar-writer.h"

static void
to_entry(const CxTestEntry *test, CxEntry *out)
{
    *out = (CxEntry){.type = test->type,
                     .path = g_strdup(test->path),
                     .mode = test->mode != 0                 ? test->mode
                             : test->type == CX_ENTRY_FOLDER ? 0755
                                                             : 0644,
                     .uid = test->uid,
                     .gid = test->gid,
                     .mtime = test->mtime,
                     .major = test->major,
                     .minor = test->minor};

    if (test->type == CX_ENTRY_SYMLINK || test->type == CX_ENTRY_HARDLINK)
        out->link = g_strdup(test->text);
    if (test->type == CX_ENTRY_FILE && test->text != NULL)
        out->size = strlen(test->text);
    if (test->xattr != NULL) {
        out->xattrs = g_ptr_array_new_with_free_func((GDestroyNotify)cx_xattr_free);
        g_ptr_array_add(out->xattrs, cx_xattr_new(test->xattr, test->value, strlen(test->value)));
    }
}

guint64
cx_test_write_tar(int fd, const CxTestEntry *entries)
{
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    GError *error = NULL;

    for (; entries->path != NULL; entries++) {
        g_auto(CxEntry) entry = {0};

        to_entry(entries, &entry);
        cx_tar_writer_add_bytes(writer, &entry, entry.size > 0 ? entries->text : "", &error);
        g_assert_no_error(error);
    }
    cx_tar_writer_finish(writer, &error);
    g_assert_no_error(error);
    return sink.written;
}

static void
list_entry(GString *out, int fd, const CxEntry *entry)
{
    static const char letters[] = {'f', 'd', 'l', 'h', 'c', 'b', 'p'};
    g_autofree char *text = g_malloc0(entry->size + 1);

    g_string_append_printf(out, "%c ", letters[entry->type]);
    if (entry->type == CX_ENTRY_CHAR || entry->type == CX_ENTRY_BLOCK)
        g_string_append_printf(out, "%u:%u ", entry->major, entry->minor);
    else if (entry->type != CX_ENTRY_SYMLINK && entry->type != CX_ENTRY_HARDLINK)
        g_string_append_printf(out, "%04o %u:%u ", entry->mode, entry->uid, entry->gid);
    g_string_append(out, entry->path);

    if (entry->type == CX_ENTRY_SYMLINK)
        g_string_append_printf(out, " -> %s", entry->link);
    else if (entry->type == CX_ENTRY_HARDLINK)
        g_string_append_printf(out, " = %s", entry->link);
    else if (entry->type == CX_ENTRY_FILE) {
        g_assert_cmpint(cx_pread_full(fd, text, entry->size, entry->data_offset, NULL), ==,
                        entry->size);
        g_string_append_printf(out, " = %s", text);
    }
    for (guint i = 0; entry->xattrs != NULL && i < entry->xattrs->len; i++) {
        const CxXattr *xattr = g_ptr_array_index(entry->xattrs, i);

        g_string_append_printf(out, " [%s=%.*s]", xattr->name, (int)g_bytes_get_size(xattr->value),
                               (const char *)g_bytes_get_data(xattr->value, NULL));
    }
    g_string_append_c(out, '\n');
}

char *
cx_test_list_tar(int fd, guint64 size)
{
    g_autoptr(CxTarReader) reader = cx_tar_reader_new(fd, 0, size, &cx_layer_limits_default);
    GString *out = g_string_new(NULL);
    const CxEntry *entry;
    GError *error = NULL;

    while ((entry = cx_tar_reader_next(reader, &error)) != NULL)
        list_entry(out, fd, entry);
    g_assert_no_error(error);
    return g_string_free(out, FALSE);
}

static void
make_object(int dir_fd, const CxTestEntry *entry, mode_t mode)
{
    switch (entry->type) {
    case CX_ENTRY_FOLDER:
        g_assert_true(mkdirat(dir_fd, entry->path, 0700) == 0 || errno == EEXIST);
        break;
    case CX_ENTRY_FILE: {
        cx_autofd int fd =
            openat(dir_fd, entry->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_true(cx_write_all(fd, entry->text, strlen(entry->text), NULL));
        break;
    }
    case CX_ENTRY_SYMLINK:
        g_assert_cmpint(symlinkat(entry->text, dir_fd, entry->path), ==, 0);
        return;
    case CX_ENTRY_HARDLINK:
        g_assert_cmpint(linkat(dir_fd, entry->text, dir_fd, entry->path, 0), ==, 0);
        return;
    case CX_ENTRY_CHAR:
        g_assert_cmpint(
            mknodat(dir_fd, entry->path, S_IFCHR | 0600, makedev(entry->major, entry->minor)), ==,
            0);
        break;
    case CX_ENTRY_FIFO:
        g_assert_cmpint(mkfifoat(dir_fd, entry->path, 0600), ==, 0);
        break;
    case CX_ENTRY_BLOCK:
    default:
        g_assert_not_reached();
    }
    g_assert_cmpint(fchownat(dir_fd, entry->path, entry->uid, entry->gid, 0), ==, 0);
    g_assert_cmpint(fchmodat(dir_fd, entry->path, mode, 0), ==, 0);
}

void
cx_test_make_tree(int dir_fd, const CxTestEntry *entries)
{
    for (; entries->path != NULL; entries++) {
        mode_t standard = entries->type == CX_ENTRY_FOLDER ? 0755 : 0644;
        g_autofree char *path = g_strdup_printf("%s/%s", cx_fd_path(dir_fd).path, entries->path);

        make_object(dir_fd, entries, entries->mode != 0 ? entries->mode : standard);
        if (entries->xattr != NULL)
            g_assert_cmpint(
                lsetxattr(path, entries->xattr, entries->value, strlen(entries->value), 0), ==, 0);
    }
}

/* "f 0600 1:2 path = text [name=value]" -> entry, which borrows from words. */
static void
parse_line(char **words, CxTestEntry *out)
{
    static const char letters[] = "fdlhcbp";

    *out = (CxTestEntry){.type = (CxEntryType)(strchr(letters, words[0][0]) - letters), .text = ""};
    for (guint i = 1; words[i] != NULL; i++) {
        char *word = words[i];
        char *colon = strchr(word, ':');

        if (strcmp(word, "=") == 0 || strcmp(word, "->") == 0) {
            out->text = words[i + 1] == NULL ? "" : words[++i];
        } else if (word[0] == '[') {
            word[strlen(word) - 1] = '\0';
            out->value = strchr(word, '=') + 1;
            *strchr(word, '=') = '\0';
            out->xattr = word + 1;
        } else if (g_ascii_isdigit(word[0]) && colon != NULL) {
            out->uid = out->major = (guint32)atoi(word);
            out->gid = out->minor = (guint32)atoi(colon + 1);
        } else if (word[0] == '0') {
            out->mode = (mode_t)strtoul(word, NULL, 8);
        } else {
            out->path = word;
        }
    }
    if (out->type == CX_ENTRY_CHAR || out->type == CX_ENTRY_BLOCK)
        out->uid = out->gid = 0;
}

void
cx_test_make_tree_of(int dir_fd, const char *lines)
{
    g_auto(GStrv) each = g_strsplit(lines, "\n", -1);

    for (guint i = 0; each[i] != NULL && each[i][0] != '\0'; i++) {
        g_auto(GStrv) words = g_strsplit(each[i], " ", -1);
        CxTestEntry entries[2] = {0};

        parse_line(words, &entries[0]);
        cx_test_make_tree(dir_fd, entries);
    }
}

void
cx_test_folder_init(CxTestFolder *self)
{
    GError *error = NULL;

    self->may_mount =
        unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    self->path = g_dir_make_tmp("cruxd-test-XXXXXX", &error);
    g_assert_no_error(error);
    self->fd = open(self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(self->fd, >=, 0);
}

void
cx_test_folder_clear(CxTestFolder *self)
{
    GError *error = NULL;

    cx_remove_tree_at(AT_FDCWD, self->path, &error);
    g_assert_no_error(error);
    cx_clear_fd(&self->fd);
    g_clear_pointer(&self->path, g_free);
}

int
cx_test_create(const CxTestFolder *folder, const char *name)
{
    int fd = openat(folder->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* ---- describing ------------------------------------------------------------------------------ */

typedef struct {
    GString *out;
    GHashTable *seen; /* (owned "dev:ino") -> (owned path) */
} Describe;

static int
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
describe_xattrs(GString *out, int dir_fd, const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/%s", cx_fd_path(dir_fd).path, name);
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    char names[1024];
    ssize_t size = llistxattr(path, names, sizeof names);

    for (char *at = names; size > 0 && at < names + size; at += strlen(at) + 1)
        if (!g_str_has_prefix(at, "trusted.overlay.origin") &&
            !g_str_has_prefix(at, "trusted.overlay.impure") &&
            !g_str_has_prefix(at, "trusted.overlay.uuid"))
            g_ptr_array_add(sorted, at);
    g_ptr_array_sort(sorted, compare_strings);

    for (guint i = 0; i < sorted->len; i++) {
        const char *xattr = g_ptr_array_index(sorted, i);
        char value[256];
        ssize_t n = lgetxattr(path, xattr, value, sizeof value);

        g_string_append_printf(out, " [%s=%.*s]", xattr, (int)MAX(n, 0), value);
    }
}

static void
describe_content(GString *out, int dir_fd, const char *name, const struct stat *st)
{
    char text[128] = "";

    if (S_ISLNK(st->st_mode)) {
        g_assert_cmpint(readlinkat(dir_fd, name, text, sizeof text - 1), >=, 0);
        g_string_append_printf(out, " -> %s", text);
    } else if (S_ISREG(st->st_mode)) {
        cx_autofd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(cx_read_full(fd, text, sizeof text - 1, NULL), >=, 0);
        g_string_append_printf(out, " = %s", text);
    }
}

static GPtrArray *
list_names(int dir_fd)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    DIR *dir = fdopendir(dup(dir_fd));
    struct dirent *record;

    g_assert_nonnull(dir);
    rewinddir(dir);
    while ((record = readdir(dir)) != NULL)
        if (strcmp(record->d_name, ".") != 0 && strcmp(record->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(record->d_name));
    closedir(dir);
    g_ptr_array_sort(names, compare_strings);
    return names;
}

static void describe_folder(Describe *self, int dir_fd, const char *path);

static void
describe_object(Describe *self, int dir_fd, const char *name, const char *path)
{
    g_autofree char *key = NULL;
    const char *earlier;
    struct stat st;

    g_assert_cmpint(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
    key = g_strdup_printf("%lu:%lu", (gulong)st.st_dev, (gulong)st.st_ino);
    earlier = g_hash_table_lookup(self->seen, key);
    if (earlier != NULL && !S_ISDIR(st.st_mode)) {
        g_string_append_printf(self->out, "h %s = %s\n", path, earlier);
        return;
    }
    if (st.st_nlink > 1)
        g_hash_table_insert(self->seen, g_steal_pointer(&key), g_strdup(path));

    if (S_ISLNK(st.st_mode))
        g_string_append_printf(self->out, "l %s", path);
    else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        g_string_append_printf(self->out, "%c %u:%u %s", S_ISCHR(st.st_mode) ? 'c' : 'b',
                               major(st.st_rdev), minor(st.st_rdev), path);
    else
        g_string_append_printf(self->out, "%c %04o %u:%u %s",
                               S_ISDIR(st.st_mode)    ? 'd'
                               : S_ISFIFO(st.st_mode) ? 'p'
                                                      : 'f',
                               st.st_mode & 07777, st.st_uid, st.st_gid, path);
    describe_content(self->out, dir_fd, name, &st);
    describe_xattrs(self->out, dir_fd, name);
    g_string_append_c(self->out, '\n');

    if (S_ISDIR(st.st_mode)) {
        cx_autofd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        describe_folder(self, fd, path);
    }
}

static void
describe_folder(Describe *self, int dir_fd, const char *path)
{
    g_autoptr(GPtrArray) names = list_names(dir_fd);

    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *child =
            path[0] == '\0' ? g_strdup(name) : g_strdup_printf("%s/%s", path, name);

        describe_object(self, dir_fd, name, child);
    }
}

char *
cx_test_describe(int dir_fd)
{
    Describe self = {.out = g_string_new(NULL),
                     .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};

    describe_folder(&self, dir_fd, "");
    g_hash_table_unref(self.seen);
    return g_string_free(self.out, FALSE);
}
