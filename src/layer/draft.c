/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/draft.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/chase.h"
#include "layer/erofs-format.h"
#include "layer/overlay-form.h"

#define TEXT_MAX ((gsize)256 * 1024 * 1024)
#define LINKS_MAX 40 /* symlinks followed on the way to one name, as the kernel has it */
#define FIRST_BUCKETS 1024

CxDraft *
cx_draft_new(const CxLayerLimits *limits)
{
    CxDraft *self = g_new0(CxDraft, 1);
    gsize unused;

    self->n_max = MIN(limits->entries_max, G_MAXUINT32 / 8);
    self->depth_max = limits->depth_max;
    self->names.limit = G_MAXSIZE / 2;
    self->inodes.limit = G_MAXSIZE / 2;
    self->text.limit = TEXT_MAX;
    self->n_buckets = FIRST_BUCKETS;
    self->buckets = g_new0(guint32, self->n_buckets);
    self->last_path = g_string_new(NULL);
    self->last_folder = CX_DRAFT_ROOT;
    if (getrandom(self->hash_key, sizeof self->hash_key, GRND_NONBLOCK) < 0)
        self->hash_key[0] = ((guint64)g_random_int() << 32) | g_random_int();

    /* Id 0, and the root. */
    if (!cx_arena_alloc(&self->names, sizeof(CxDraftName), 8, &unused, NULL) ||
        !cx_arena_alloc(&self->inodes, 2 * sizeof(CxDraftInode), 8, &unused, NULL) ||
        !cx_arena_alloc(&self->text, 1, 1, &unused, NULL))
        g_error("out of memory");
    self->n_inodes = CX_DRAFT_ROOT;
    *cx_draft_inode(self, CX_DRAFT_ROOT) =
        (CxDraftInode){.mode = S_IFDIR | 0755, .flags = CX_DRAFT_IMPLICIT};
    return self;
}

void
cx_draft_free(CxDraft *self)
{
    if (self == NULL)
        return;

    cx_arena_clear(&self->names);
    cx_arena_clear(&self->inodes);
    cx_arena_clear(&self->text);
    g_free(self->buckets);
    g_string_free(self->last_path, TRUE);
    g_clear_pointer(&self->folders, g_array_unref);
    g_free(self);
}

/* ---- names by folder and text ---------------------------------------------------------------- */

static inline guint64
rotate(guint64 x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void
sip_round(guint64 v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 with a key of our own, so nobody can make a layer whose names all fall into one
 * bucket. */
static guint32
hash_name(const CxDraft *self, guint32 folder, const char *text, gsize size)
{
    guint64 v[4] = {self->hash_key[0] ^ 0x736f6d6570736575, self->hash_key[1] ^ 0x646f72616e646f6d,
                    self->hash_key[0] ^ 0x6c7967656e657261, self->hash_key[1] ^ 0x7465646279746573};
    guint64 word = folder;

    for (;;) {
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
        if (size < 8)
            break;
        memcpy(&word, text, 8);
        text += 8;
        size -= 8;
    }
    word = (guint64)size << 56;
    memcpy(&word, text, size);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return (guint32)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static guint32 *
bucket_of(CxDraft *self, guint32 folder, const char *text, gsize size)
{
    return &self->buckets[hash_name(self, folder, text, size) & (self->n_buckets - 1)];
}

static void
double_buckets(CxDraft *self)
{
    g_free(self->buckets);
    self->n_buckets *= 2;
    self->buckets = g_new0(guint32, self->n_buckets);

    for (guint32 i = 1; i <= self->n_names; i++) {
        CxDraftName *name = cx_draft_name(self, i);
        gsize size;
        const char *text = cx_draft_text(self, name, &size);
        guint32 *bucket = bucket_of(self, name->folder, text, size);

        name->next_in_hash = *bucket;
        *bucket = i;
    }
}

static guint32
find_name(CxDraft *self, guint32 folder, const char *text, gsize size)
{
    guint32 id = *bucket_of(self, folder, text, size);

    while (id != 0) {
        const CxDraftName *name = cx_draft_name(self, id);
        gsize name_size;
        const char *name_text = cx_draft_text(self, name, &name_size);

        if (name->folder == folder && name_size == size && memcmp(name_text, text, size) == 0)
            return id;
        id = name->next_in_hash;
    }
    return 0;
}

static gboolean
store_text(CxDraft *self, const char *text, gsize size, guint32 *out_offset, GError **error)
{
    gsize offset;

    if (size == 0 || size > CX_EROFS_NAME_MAX)
        return cx_throw(error, CX_ERROR_LIMIT, "a name of %" G_GSIZE_FORMAT " bytes (255 at most)",
                        size);
    if (!cx_arena_alloc(&self->text, size + 1, 1, &offset, error))
        return FALSE;

    self->text.base[offset] = (char)size;
    memcpy(self->text.base + offset + 1, text, size);
    *out_offset = (guint32)offset;
    return TRUE;
}

/* A name that no lookup finds yet. */
static gboolean
new_name(
    CxDraft *self, guint32 folder, guint32 text, guint32 inode, guint32 *out_name, GError **error)
{
    gsize unused;

    if (!cx_arena_alloc(&self->names, sizeof(CxDraftName), 1, &unused, error))
        return FALSE;

    *out_name = ++self->n_names;
    *cx_draft_name(self, *out_name) = (CxDraftName){.folder = folder, .text = text, .inode = inode};
    return TRUE;
}

static gboolean
add_name(CxDraft *self, guint32 folder, const char *text, gsize size, guint32 inode, GError **error)
{
    guint32 *bucket;
    guint32 stored;
    guint32 name;

    if (self->n_names >= self->n_max)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %" G_GUINT64_FORMAT " names in one layer",
                        self->n_max);
    if (!store_text(self, text, size, &stored, error) ||
        !new_name(self, folder, stored, inode, &name, error))
        return FALSE;

    bucket = bucket_of(self, folder, text, size);
    cx_draft_name(self, name)->next_in_hash = *bucket;
    *bucket = name;
    cx_draft_name(self, name)->next = cx_draft_inode(self, folder)->data;
    cx_draft_inode(self, folder)->data = name;
    if (self->n_names > self->n_buckets)
        double_buckets(self);
    return TRUE;
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static gboolean
new_inode(CxDraft *self, guint16 mode, guint32 *out_inode, GError **error)
{
    gsize unused;

    if (self->n_inodes >= self->n_max)
        return cx_throw(error, CX_ERROR_LIMIT,
                        "more than %" G_GUINT64_FORMAT " objects in one layer", self->n_max);
    if (!cx_arena_alloc(&self->inodes, sizeof(CxDraftInode), 1, &unused, error))
        return FALSE;

    *out_inode = ++self->n_inodes;
    *cx_draft_inode(self, *out_inode) = (CxDraftInode){.mode = mode};
    return TRUE;
}

static gboolean
is_folder(const CxDraft *self, guint32 inode)
{
    return S_ISDIR(cx_draft_inode(self, inode)->mode);
}

static gboolean
is_whiteout(const CxDraft *self, guint32 inode)
{
    const CxDraftInode *node = cx_draft_inode(self, inode);

    return S_ISCHR(node->mode) && node->data == 0;
}

static void
forget_last(CxDraft *self)
{
    g_string_truncate(self->last_path, 0);
    self->last_folder = CX_DRAFT_ROOT;
}

/* Gives folder/text the inode, whatever it was before.  A folder in the place of something else
 * hides the layers below: that something would have replaced what they have there. */
static gboolean
set_name(CxDraft *self, guint32 folder, const char *text, gsize size, guint32 inode, GError **error)
{
    guint32 name = find_name(self, folder, text, size);

    if (name == 0)
        return add_name(self, folder, text, size, inode, error);

    if (is_folder(self, inode))
        cx_draft_inode(self, inode)->flags |= CX_DRAFT_OPAQUE;
    cx_draft_name(self, name)->inode = inode;
    forget_last(self);
    return TRUE;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static gboolean
make_folder(
    CxDraft *self, guint32 parent, const char *text, gsize size, guint32 *out_inode, GError **error)
{
    guint32 inode;

    if (!new_inode(self, S_IFDIR | 0755, &inode, error))
        return FALSE;

    cx_draft_inode(self, inode)->flags = CX_DRAFT_IMPLICIT;
    *out_inode = inode;
    return set_name(self, parent, text, size, inode, error);
}

/* Where "head/LINK/rest" leads when LINK's target is put in its place. */
static char *
splice_link(const CxDraft *self,
            guint32 link,
            const char *path,
            gsize head,
            const char *rest,
            gsize rest_size)
{
    const CxDraftInode *node = cx_draft_inode(self, link);
    const char *target = self->text.base + node->data;
    g_autofree char *joined = g_strdup_printf("%.*s/%.*s/%.*s", target[0] == '/' ? 0 : (int)head,
                                              path, (int)node->size, target, (int)rest_size, rest);

    return cx_path_clean(joined);
}

/* Finds the folder path[0..size), following symlinks of this layer.  What is missing is made, or
 * with create FALSE *out_folder is 0. */
static gboolean
enter(CxDraft *self,
      const char *path,
      gsize size,
      gboolean create,
      guint n_links,
      guint32 *out_folder,
      GError **error)
{
    guint32 folder = CX_DRAFT_ROOT;
    gsize last = self->last_path->len;
    gsize at = 0;

    if (last > 0 && size >= last && memcmp(path, self->last_path->str, last) == 0 &&
        (size == last || path[last] == '/')) {
        folder = self->last_folder;
        at = size == last ? size : last + 1;
    }

    while (at < size) {
        const char *slash = memchr(path + at, '/', size - at);
        gsize end = slash == NULL ? size : (gsize)(slash - path);
        guint32 name = find_name(self, folder, path + at, end - at);
        guint32 inode = name == 0 ? 0 : cx_draft_name(self, name)->inode;

        if (inode == 0 || is_whiteout(self, inode)) {
            if (!create) {
                *out_folder = 0;
                return TRUE;
            }
            if (!make_folder(self, folder, path + at, end - at, &inode, error))
                return FALSE;
        } else if (S_ISLNK(cx_draft_inode(self, inode)->mode)) {
            g_autofree char *there = splice_link(self, inode, path, at, path + end, size - end);

            if (n_links >= LINKS_MAX)
                return cx_throw(error, CX_ERROR_INVALID, "more than %d symlinks on the way",
                                LINKS_MAX);
            if (cx_overlay_count_parts(there) > self->depth_max)
                return cx_throw(error, CX_ERROR_LIMIT, "folders more than %u deep",
                                self->depth_max);
            return enter(self, there, strlen(there), create, n_links + 1, out_folder, error);
        } else if (!is_folder(self, inode)) {
            return cx_throw(error, CX_ERROR_INVALID, "\"%.*s\" is not a folder", (int)end, path);
        }
        folder = inode;
        at = MIN(end + 1, size);
    }

    g_string_truncate(self->last_path, 0);
    g_string_append_len(self->last_path, path, (gssize)size);
    self->last_folder = folder;
    *out_folder = folder;
    return TRUE;
}

static gsize
parent_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (gsize)(slash - path);
}

static const char *
last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* ---- taking entries in ----------------------------------------------------------------------- */

/* A folder that is there keeps what lies in it. */
static gboolean
update_folder(CxDraft *self, guint32 folder, const CxEntry *entry, GError **error)
{
    CxDraftInode inode;

    if (!cx_draft_describe(self, entry, &inode, error))
        return FALSE;

    inode.data = cx_draft_inode(self, folder)->data;
    inode.flags = cx_draft_inode(self, folder)->flags & (CX_DRAFT_OPAQUE | CX_DRAFT_WHITEOUTS);
    *cx_draft_inode(self, folder) = inode;
    return TRUE;
}

static gboolean
find_link_target(CxDraft *self, const char *path, guint32 *out_inode, GError **error)
{
    const char *text = last_part(path);
    guint32 folder;
    guint32 name;

    if (!enter(self, path, parent_size(path), FALSE, 0, &folder, error))
        return FALSE;

    name = folder == 0 ? 0 : find_name(self, folder, text, strlen(text));
    *out_inode = name == 0 ? 0 : cx_draft_name(self, name)->inode;
    if (*out_inode == 0 || is_whiteout(self, *out_inode))
        return cx_throw(error, CX_ERROR_INVALID, "hard link to \"%s\", which is not in the layer",
                        path);
    if (is_folder(self, *out_inode))
        return cx_throw(error, CX_ERROR_INVALID, "hard link to the folder \"%s\"", path);
    return TRUE;
}

static gboolean
add_object(CxDraft *self, guint32 folder, const char *text, const CxEntry *entry, GError **error)
{
    guint32 name = find_name(self, folder, text, strlen(text));
    CxDraftInode described;
    guint32 inode;

    if (entry->type == CX_ENTRY_FOLDER && name != 0 &&
        is_folder(self, cx_draft_name(self, name)->inode))
        return update_folder(self, cx_draft_name(self, name)->inode, entry, error);

    if (entry->type == CX_ENTRY_HARDLINK) {
        if (!find_link_target(self, entry->link, &inode, error))
            return FALSE;
    } else {
        if (!cx_draft_describe(self, entry, &described, error) ||
            !new_inode(self, described.mode, &inode, error))
            return FALSE;
        *cx_draft_inode(self, inode) = described;
    }
    return set_name(self, folder, text, strlen(text), inode, error);
}

/* A whiteout speaks of the layers below only: what this layer has there stays. */
static gboolean
add_whiteout(CxDraft *self, guint32 folder, const char *text, GError **error)
{
    guint32 name = find_name(self, folder, text, strlen(text));
    guint32 inode;

    if (name != 0) {
        inode = cx_draft_name(self, name)->inode;
        if (is_folder(self, inode))
            cx_draft_inode(self, inode)->flags |= CX_DRAFT_OPAQUE;
        return TRUE;
    }
    cx_draft_inode(self, folder)->flags |= CX_DRAFT_WHITEOUTS;
    return new_inode(self, S_IFCHR, &inode, error) &&
           add_name(self, folder, text, strlen(text), inode, error);
}

static gboolean
add_named(
    CxDraft *self, const CxEntry *entry, CxNameKind kind, const char *whiteout, GError **error)
{
    guint32 folder;

    if (!enter(self, entry->path, parent_size(entry->path), TRUE, 0, &folder, error))
        return FALSE;

    if (kind == CX_NAME_WHITEOUT)
        return add_whiteout(self, folder, whiteout, error);
    if (kind == CX_NAME_PLAIN)
        return add_object(self, folder, last_part(entry->path), entry, error);

    cx_draft_inode(self, folder)->flags |= CX_DRAFT_OPAQUE;
    return TRUE;
}

gboolean
cx_draft_add(CxDraft *self, const CxEntry *entry, GError **error)
{
    const char *whiteout = NULL;
    CxNameKind kind = cx_overlay_classify(entry->path, &whiteout);
    gboolean ok = TRUE;

    g_return_val_if_fail(self->folders == NULL, FALSE);

    if (kind == CX_NAME_BAD)
        ok = cx_throw(error, CX_ERROR_INVALID, "not a whiteout that can be");
    else if (kind == CX_NAME_LEFTOVER ||
             (kind == CX_NAME_PLAIN && cx_overlay_is_false_whiteout(entry)))
        ok = TRUE;
    else if (entry->path[0] != '\0')
        ok = add_named(self, entry, kind, whiteout, error);
    else if (entry->type == CX_ENTRY_FOLDER)
        ok = update_folder(self, CX_DRAFT_ROOT, entry, error);
    else
        ok = cx_throw(error, CX_ERROR_INVALID, "the root is not a folder");

    if (!ok)
        g_prefix_error(error, "\"%s\": ", entry->path);
    return ok;
}

/* ---- finishing ------------------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b, void *data)
{
    const CxDraft *self = data;
    gsize a_size;
    gsize b_size;
    const char *a_text = cx_draft_text(self, cx_draft_name(self, *(const guint32 *)a), &a_size);
    const char *b_text = cx_draft_text(self, cx_draft_name(self, *(const guint32 *)b), &b_size);
    int order = memcmp(a_text, b_text, MIN(a_size, b_size));

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* The names of a folder, with "." and "..", sorted, as a chain again.  names is room to work in. */
static gboolean
sort_folder(CxDraft *self,
            guint32 folder,
            guint32 parent,
            const guint32 dots[2],
            GArray *names,
            GError **error)
{
    guint32 self_and_parent[2] = {folder, parent};
    guint32 *next;

    g_array_set_size(names, 0);
    for (guint32 id = cx_draft_inode(self, folder)->data; id != 0;
         id = cx_draft_name(self, id)->next)
        g_array_append_val(names, id);
    for (int i = 0; i < 2; i++) {
        guint32 id;

        if (!new_name(self, folder, dots[i], self_and_parent[i], &id, error))
            return FALSE;
        g_array_append_val(names, id);
    }
    qsort_r(names->data, names->len, sizeof(guint32), compare_names, self);

    next = &cx_draft_inode(self, folder)->data;
    for (guint i = 0; i < names->len; i++) {
        *next = g_array_index(names, guint32, i);
        next = &cx_draft_name(self, *next)->next;
    }
    *next = 0;
    return TRUE;
}

/* Counts links and records of a sorted folder, and queues the folders in it. */
static void
measure_folder(CxDraft *self, guint32 folder, GArray *parents)
{
    guint64 full = 0;
    gsize used = 0;

    for (guint32 id = cx_draft_inode(self, folder)->data; id != 0;
         id = cx_draft_name(self, id)->next) {
        const CxDraftName *name = cx_draft_name(self, id);
        gsize size;
        const char *text = cx_draft_text(self, name, &size);
        gboolean is_dot = text[0] == '.' && (size == 1 || (size == 2 && text[1] == '.'));

        cx_draft_inode(self, name->inode)->n_links++;
        if (used + sizeof(CxErofsRecord) + size > CX_EROFS_BLOCK) {
            full += CX_EROFS_BLOCK;
            used = 0;
        }
        used += sizeof(CxErofsRecord) + size;
        if (!is_dot && is_folder(self, name->inode)) {
            g_array_append_val(self->folders, name->inode);
            g_array_append_val(parents, folder);
        }
    }
    cx_draft_inode(self, folder)->size = full + used;
}

gboolean
cx_draft_finish(CxDraft *self, GError **error)
{
    g_autoptr(GArray) names = g_array_new(FALSE, FALSE, sizeof(guint32));
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint32 root = CX_DRAFT_ROOT;
    guint32 dots[2];

    if (!store_text(self, ".", 1, &dots[0], error) || !store_text(self, "..", 2, &dots[1], error))
        return FALSE;

    self->folders = g_array_new(FALSE, FALSE, sizeof(guint32));
    g_array_append_val(self->folders, root);
    g_array_append_val(parents, root);
    for (guint i = 0; i < self->folders->len; i++) {
        guint32 folder = g_array_index(self->folders, guint32, i);

        if (!sort_folder(self, folder, g_array_index(parents, guint32, i), dots, names, error))
            return FALSE;
        measure_folder(self, folder, parents);
    }
    return TRUE;
}
