/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "layer/object.h"

/* Walks the source by descriptor, depth first, names sorted, and writes each object under the path
 * it gets in the image. The image is asked about a name only while the folder it would be in exists
 * there. */

#define DEPTH_MAX 255
#define SETTLE_SECONDS 2

typedef struct {
    const CxPack *pack; /* borrowed */
    CxTarWriter *writer;
    CxCancel *cancellable;
    CxLinkTable *links; /* (owned) */
    GHashTable
        *shared;     /* (owned) set of (owned char *): folders written that the image has as well */
    GString *source; /* (owned) where we are in the source, for messages */
    guint depth;
} Packer;

/* Where the objects of a folder go. */
typedef struct {
    GString *path;     /* in the image; clean and relative */
    gboolean is_there; /* the image has this folder */
} Target;

static void
packer_clear(Packer *self)
{
    g_clear_pointer(&self->links, cx_link_table_free);
    g_clear_pointer(&self->shared, g_hash_table_unref);
    if (self->source != NULL)
        g_string_free(self->source, TRUE);
    self->source = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Packer, packer_clear)

static gsize
push_part(GString *path, const char *name)
{
    gsize size = path->len;

    if (size > 0)
        g_string_append_c(path, '/');
    g_string_append(path, name);
    return size;
}

/* ---- folders of the image -------------------------------------------------------------------- */

static gboolean
write_folder(Packer *self, const char *path, const CxTreeNode *node, GError **error)
{
    CxEntry entry = {.type = CX_ENTRY_FOLDER,
                     .path = (char *)path,
                     .mode = node->mode == 0 ? 0755 : node->mode & 07777,
                     .uid = node->uid,
                     .gid = node->gid,
                     .mtime = self->pack->mtime,
                     .xattrs = node->xattrs};

    if (node->mode != 0)
        g_hash_table_add(self->shared, g_strdup(path));
    return cx_tar_writer_begin(self->writer, &entry, error);
}

/* Writes the parents of path as the image has them, so that the layer says what they are whatever
 * lies under it. */
static gboolean
write_parents(Packer *self, const char *path, GError **error)
{
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        g_autofree char *parent = g_strndup(path, (gsize)(slash - path));
        g_auto(CxTreeNode) node = {0};

        if (g_hash_table_contains(self->shared, parent))
            continue;
        if (!cx_tree_lookup(self->pack->below, parent, &node, error))
            return FALSE;
        if (node.mode != 0 && !S_ISDIR(node.mode))
            return cx_throw(error, CX_ERROR_INVALID, "\"/%s\" is not a folder in the image",
                            parent);
        if (!write_folder(self, parent, &node, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- objects of the source ------------------------------------------------------------------- */

static void
finish_entry(const Packer *self, CxEntry *entry, const char *path)
{
    entry->path = (char *)path;
    entry->mtime = self->pack->mtime;
    if (!self->pack->keep_owner)
        entry->uid = entry->gid = 0;
}

/* Fills in entry, and if the object was written before under another name, makes it a link to that.
 */
static void
describe_object(Packer *self, const struct stat *st, const char *path, CxEntry *entry)
{
    const char *earlier = st->st_nlink > 1 ? cx_link_table_visit(self->links, st, path) : NULL;

    (void)cx_object_describe(st, entry);
    finish_entry(self, entry, path);
    if (earlier != NULL) {
        entry->type = CX_ENTRY_HARDLINK;
        entry->link = (char *)earlier;
        entry->size = 0;
    }
}

static gboolean
write_file(Packer *self, int dir_fd, const char *name, const char *path, GError **error)
{
    g_autoptr(GPtrArray) xattrs = NULL;
    cx_autofd int fd = -1;
    CxEntry entry = {0};
    struct stat st;

    fd = cx_object_open(dir_fd, name, S_IFREG, &st, error);
    if (fd < 0)
        return FALSE;

    describe_object(self, &st, path, &entry);
    if (entry.type == CX_ENTRY_HARDLINK)
        return cx_tar_writer_begin(self->writer, &entry, error);
    if (!cx_object_read_xattrs(fd, cx_xattr_judge_portable, &xattrs, error))
        return FALSE;

    entry.xattrs = xattrs;
    return cx_tar_writer_begin(self->writer, &entry, error) &&
           (entry.size == 0 || cx_tar_writer_splice(self->writer, fd, 0, entry.size, error));
}

static gboolean
write_link(Packer *self, int dir_fd, const char *name, const char *path, GError **error)
{
    g_autofree char *target = cx_object_read_link(dir_fd, name, error);
    CxEntry entry = {0};
    struct stat st;

    if (target == NULL)
        return FALSE;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "stat");
    if (!S_ISLNK(st.st_mode))
        return cx_throw(error, CX_ERROR_MISMATCH, "changed while it was read");

    describe_object(self, &st, path, &entry);
    entry.mode = 0777;
    if (entry.type == CX_ENTRY_SYMLINK)
        entry.link = target;
    return cx_tar_writer_begin(self->writer, &entry, error);
}

static gboolean
write_special(Packer *self, const struct stat *st, const char *path, GError **error)
{
    CxEntry entry = {0};

    if (!S_ISFIFO(st->st_mode))
        return cx_throw(error, CX_ERROR_INVALID, "a %s cannot be copied",
                        S_ISSOCK(st->st_mode) ? "socket" : "device");

    describe_object(self, st, path, &entry);
    return cx_tar_writer_begin(self->writer, &entry, error);
}

static gboolean
write_source_folder(
    Packer *self, int fd, const struct stat *st, const Target *target, GError **error)
{
    g_autoptr(GPtrArray) xattrs = NULL;
    CxEntry entry = {0};

    if (!cx_object_read_xattrs(fd, cx_xattr_judge_portable, &xattrs, error))
        return FALSE;

    (void)cx_object_describe(st, &entry);
    finish_entry(self, &entry, target->path->str);
    entry.xattrs = xattrs;
    if (target->is_there)
        g_hash_table_add(self->shared, g_strdup(target->path->str));
    return cx_tar_writer_begin(self->writer, &entry, error);
}

/* ---- walking --------------------------------------------------------------------------------- */

static gboolean pack_names(Packer *self, int dir_fd, Target *target, GError **error);

static guint8
type_of(int dir_fd, const char *name, struct stat *out_stat)
{
    if (fstatat(dir_fd, name, out_stat, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;

    return (guint8)IFTODT(out_stat->st_mode);
}

/* Which folder of the image a folder of the source is merged into: the one of its path, or where a
 * link there leads. *out_is_kept: that folder keeps its metadata. */
static gboolean
aim_folder(Packer *self,
           const char *path,
           const CxTreeNode *there,
           Target *out,
           gboolean *out_is_kept,
           GError **error)
{
    g_auto(CxTreeNode) meant = {0};
    g_autofree char *resolved = NULL;

    *out_is_kept = FALSE;
    out->is_there = S_ISDIR(there->mode);
    if (there->mode == 0 || S_ISDIR(there->mode)) {
        out->path = g_string_new(path);
        return TRUE;
    }

    if (S_ISLNK(there->mode)) {
        resolved = cx_tree_resolve(self->pack->below, path, TRUE, error);
        if (resolved == NULL || !cx_tree_lookup(self->pack->below, resolved, &meant, error))
            return FALSE;
    }
    if (!S_ISDIR(meant.mode))
        return cx_throw(error, CX_ERROR_INVALID, "a folder cannot replace \"/%s\", which is none",
                        path);
    if (!write_parents(self, resolved, error))
        return FALSE;
    if (!g_hash_table_contains(self->shared, resolved) &&
        !write_folder(self, resolved, &meant, error))
        return FALSE;

    *out_is_kept = TRUE;
    out->is_there = TRUE;
    out->path = g_string_new(resolved);
    return TRUE;
}

static gboolean
pack_folder(Packer *self,
            int dir_fd,
            const char *name,
            const char *path,
            const CxTreeNode *there,
            GError **error)
{
    cx_autofd int fd = -1;
    Target target = {0};
    gboolean is_kept;
    struct stat st;
    gboolean ok;

    if (self->depth >= DEPTH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "folders more than %d deep", DEPTH_MAX);
    fd = cx_object_open(dir_fd, name, S_IFDIR, &st, error);
    if (fd < 0 || !aim_folder(self, path, there, &target, &is_kept, error))
        return FALSE;

    ok = is_kept || write_source_folder(self, fd, &st, &target, error);
    self->depth++;
    ok = ok && pack_names(self, fd, &target, error);
    self->depth--;
    g_string_free(target.path, TRUE);
    return ok;
}

static gboolean
pack_object(Packer *self,
            int dir_fd,
            const char *name,
            guint8 type,
            const char *path,
            const CxTreeNode *there,
            GError **error)
{
    struct stat st = {0};

    if (type != DT_REG && type != DT_LNK && type != DT_DIR) {
        type = type_of(dir_fd, name, &st);
        if (type == 0)
            return cx_throw_errno(error, "stat");
    }
    if (type != DT_DIR && S_ISDIR(there->mode))
        return cx_throw(error, CX_ERROR_INVALID,
                        "what is no folder cannot replace the folder \"/%s\"", path);

    switch (type) {
    case DT_REG:
        return write_file(self, dir_fd, name, path, error);
    case DT_LNK:
        return write_link(self, dir_fd, name, path, error);
    case DT_DIR:
        return pack_folder(self, dir_fd, name, path, there, error);
    default:
        return write_special(self, &st, path, error);
    }
}

/* Names the object in an error that names none yet; one that came up from below stays as it is. */
static gboolean
blame(const Packer *self, gboolean ok, GError *found, GError **error)
{
    if (ok)
        return TRUE;

    if (found->message[0] != '"' && !cx_error_is(found, CX_ERROR_CANCELLED))
        g_prefix_error(&found, "\"%s\": ", self->source->str);
    g_propagate_error(error, found);
    return FALSE;
}

static gboolean
pack_name(Packer *self, int dir_fd, const char *name, const Target *target, GError **error)
{
    g_auto(CxTreeNode) there = {0};
    GError *found = NULL;
    gboolean ok;

    if (cx_check_cancelled(self->cancellable, error))
        return FALSE;

    if (g_str_has_prefix(name, CX_WHITEOUT_PREFIX))
        ok = cx_throw(&found, CX_ERROR_INVALID, "a name that means a removal in image layers");
    else
        ok =
            (!target->is_there ||
             cx_tree_lookup(self->pack->below, target->path->str, &there, &found)) &&
            pack_object(self, dir_fd, name, cx_names_type(name), target->path->str, &there, &found);

    return blame(self, ok, found, error);
}

static gboolean
pack_names(Packer *self, int dir_fd, Target *target, GError **error)
{
    g_auto(CxNames) names = CX_NAMES_INIT;

    if (!cx_names_read(&names, dir_fd, error))
        return FALSE;

    for (guint i = 0; i < names.n; i++) {
        gsize source_size = push_part(self->source, names.names[i]);
        gsize target_size = push_part(target->path, names.names[i]);

        if (!pack_name(self, dir_fd, names.names[i], target, error))
            return FALSE;
        g_string_truncate(self->source, source_size);
        g_string_truncate(target->path, target_size);
    }
    return TRUE;
}

/* A folder at the destination itself is what its contents are merged into; it stays as it is. */
static gboolean
pack_top_folder(Packer *self, const char *path, const CxTreeNode *there, GError **error)
{
    const CxPack *pack = self->pack;
    Target target = {.is_there = S_ISDIR(there->mode)};
    cx_autofd int fd = -1;
    struct stat st;
    gboolean ok;

    if (there->mode != 0 && !S_ISDIR(there->mode))
        return cx_throw(error, CX_ERROR_INVALID, "a folder cannot replace \"/%s\", which is none",
                        path);
    fd = cx_object_open(pack->parent_fd, pack->name, S_IFDIR, &st, error);
    if (fd < 0)
        return FALSE;

    target.path = g_string_new(path);
    if (path[0] == '\0')
        ok = TRUE;
    else if (target.is_there)
        ok = write_folder(self, path, there, error);
    else
        ok = write_source_folder(self, fd, &st, &target, error);
    ok = ok && pack_names(self, fd, &target, error);
    g_string_free(target.path, TRUE);
    return ok;
}

gboolean
cx_layer_pack(const CxPack *pack, CxTarWriter *writer, CxCancel *cancellable, GError **error)
{
    g_auto(Packer)
        self = {.pack = pack,
                .writer = writer,
                .cancellable = cancellable,
                .links = cx_link_table_new(),
                .shared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .source = g_string_new(strcmp(pack->name, ".") == 0 ? NULL : pack->name)};
    g_autofree char *path = cx_tree_resolve(pack->below, pack->dest, TRUE, error);
    g_auto(CxTreeNode) there = {0};
    GError *found = NULL;
    struct stat st;
    guint8 type;
    gboolean ok;

    if (path == NULL || !cx_tree_lookup(pack->below, path, &there, error) ||
        !write_parents(&self, path, error))
        return FALSE;

    type = type_of(pack->parent_fd, pack->name, &st);
    if (type == 0)
        ok = cx_throw_errno(&found, "stat");
    else if (type == DT_DIR)
        ok = pack_top_folder(&self, path, &there, &found);
    else
        ok = pack_object(&self, pack->parent_fd, pack->name, type, path, &there, &found);
    return blame(&self, ok, found, error);
}

/* ---- the key --------------------------------------------------------------------------------- */

typedef struct {
    CxHasher *hasher; /* (owned) */
    CxCancel *cancellable;
    gint64 settled_before; /* seconds */
    gboolean settled;
    guint32 depth;
} Keyer;

static void
key_object(Keyer *self, const char *name, const struct stat *st)
{
    /* Everything in 64 bits, so no padding gets into the hash. */
    const guint64 facts[] = {
        self->depth,
        st->st_mode,
        (guint64)st->st_size,
        st->st_uid,
        st->st_gid,
        st->st_nlink,
        st->st_rdev,
        st->st_dev,
        st->st_ino,
        (guint64)st->st_mtim.tv_sec,
        (guint64)st->st_mtim.tv_nsec,
        (guint64)st->st_ctim.tv_sec,
        (guint64)st->st_ctim.tv_nsec,
    };

    cx_hasher_field(self->hasher, facts, sizeof facts);
    cx_hasher_field_string(self->hasher, name);
    if (st->st_ctim.tv_sec >= self->settled_before)
        self->settled = FALSE;
}

static gboolean
key_name(Keyer *self, int dir_fd, const char *name, GError **error)
{
    g_auto(CxNames) names = CX_NAMES_INIT;
    cx_autofd int fd = -1;
    struct stat st;

    if (cx_check_cancelled(self->cancellable, error))
        return FALSE;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cx_throw_errno(error, "\"%s\"", name);
    key_object(self, name, &st);
    if (!S_ISDIR(st.st_mode))
        return TRUE;

    if (self->depth >= DEPTH_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "\"%s\": folders more than %d deep", name,
                        DEPTH_MAX);
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cx_throw_errno(error, "\"%s\"", name);
    if (!cx_names_read(&names, fd, error))
        return FALSE;

    self->depth++;
    for (guint i = 0; i < names.n; i++)
        if (!key_name(self, fd, names.names[i], error))
            return FALSE;
    self->depth--;
    return TRUE;
}

gboolean
cx_layer_pack_key(const CxPack *pack,
                  CxDigest *out_key,
                  gboolean *out_settled,
                  CxCancel *cancellable,
                  GError **error)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    Keyer self = {.hasher = hasher, .cancellable = cancellable, .settled = TRUE};
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    self.settled_before = now.tv_sec - SETTLE_SECONDS;
    cx_hasher_field_string(hasher, "cx-pack-key-1");
    if (!key_name(&self, pack->parent_fd, pack->name, error))
        return FALSE;

    *out_key = cx_hasher_finish(hasher);
    *out_settled = self.settled;
    return TRUE;
}
