/* SPDX-License-Identifier: Apache-2.0 */
#include "build/state.h"

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "layer/diff.h"

/* A stack this long is merged: mounting costs per lower, and overlayfs takes no more than 500. */
#define COMPACT_AT 96

struct CxState {
    gatomicrefcount refs;
    CxStore *store;
    CxState *parent;       /* (owned) or NULL: keeps its lease */
    CxLease *lease;        /* (owned) */
    CxManifest *manifest;  /* (owned) by the first of the chain, else borrowed from it */
    CxImageConfig *config; /* likewise */
    CxDigest manifest_digest;
    GArray *lowers;   /* (owned) of CxLower */
    GArray *contents; /* (owned) of CxDigest, in step with lowers */
    guint n_base;
    CxDigest identity;
};

static CxState *
state_new(CxStore *store, CxLease *lease)
{
    CxState *self = g_new0(CxState, 1);

    g_atomic_ref_count_init(&self->refs);
    self->store = store;
    self->lease = cx_lease_ref(lease);
    self->lowers = g_array_new(FALSE, FALSE, sizeof(CxLower));
    self->contents = g_array_new(FALSE, FALSE, sizeof(CxDigest));
    return self;
}

CxState *
cx_state_new_from_image(CxStore *store,
                        CxLease *lease,
                        const CxDigest *manifest_digest,
                        CxManifest *take_manifest,
                        CxImageConfig *take_config)
{
    CxState *self = state_new(store, lease);
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    self->manifest = take_manifest;
    self->config = take_config;
    self->manifest_digest = *manifest_digest;
    for (guint i = 0; i < take_config->diff_ids->len; i++) {
        CxLower lower = {.kind = CX_LOWER_LAYER,
                         .diff_id = g_array_index(take_config->diff_ids, CxDigest, i)};

        g_array_append_val(self->lowers, lower);
        g_array_append_val(self->contents, lower.diff_id);
    }
    self->n_base = self->lowers->len;

    cx_hasher_field_string(hasher, "cruxd state image 1");
    cx_hasher_field_digest(hasher, manifest_digest);
    self->identity = cx_hasher_finish(hasher);
    return self;
}

/* A state of the same image as input. */
static CxState *
state_new_child(CxState *input, CxLease *lease)
{
    CxState *self = state_new(input->store, lease);

    self->parent = cx_state_ref(input);
    self->manifest = input->manifest;
    self->config = input->config;
    self->manifest_digest = input->manifest_digest;
    self->n_base = input->n_base;
    return self;
}

CxState *
cx_state_new_with_lower(CxState *input,
                        CxLease *lease,
                        const CxLower *lower,
                        const CxDigest *content)
{
    CxState *self = state_new_child(input, lease);
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    g_array_append_vals(self->lowers, input->lowers->data, input->lowers->len);
    g_array_append_vals(self->contents, input->contents->data, input->contents->len);
    g_array_append_val(self->lowers, *lower);
    g_array_append_val(self->contents, *content);

    cx_hasher_field_string(hasher, "cruxd state lower 1");
    cx_hasher_field_digest(hasher, &input->identity);
    cx_hasher_field_digest(hasher, content);
    self->identity = cx_hasher_finish(hasher);
    return self;
}

CxState *
cx_state_ref(CxState *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
cx_state_unref(CxState *self)
{
    /* A loop, not recursion: a chain is as long as a stage has steps. */
    while (self != NULL && g_atomic_ref_count_dec(&self->refs)) {
        CxState *parent = self->parent;

        if (parent == NULL) {
            cx_manifest_free(self->manifest);
            cx_image_config_free(self->config);
        }
        cx_lease_unref(self->lease);
        g_array_unref(self->lowers);
        g_array_unref(self->contents);
        g_free(self);
        self = parent;
    }
}

const CxDigest *
cx_state_get_identity(const CxState *self)
{
    return &self->identity;
}

const CxImageConfig *
cx_state_get_config(const CxState *self)
{
    return self->config;
}

const CxManifest *
cx_state_get_manifest(const CxState *self)
{
    return self->manifest;
}

const CxDigest *
cx_state_get_manifest_digest(const CxState *self)
{
    return &self->manifest_digest;
}

const CxLower *
cx_state_get_lowers(const CxState *self, guint *out_n)
{
    *out_n = self->lowers->len;
    return (const CxLower *)(const void *)self->lowers->data;
}

guint
cx_state_get_n_base(const CxState *self)
{
    return self->n_base;
}

CxDigest
cx_state_changes_key(const CxState *self, guint first_lower)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    /* What lies below takes part: it decides which whiteouts and folders say something. */
    cx_hasher_field_string(hasher, "cruxd changes 1");
    cx_hasher_field_number(hasher, first_lower);
    for (guint i = 0; i < self->contents->len; i++)
        cx_hasher_field_digest(hasher, &g_array_index(self->contents, CxDigest, i));
    return cx_hasher_finish(hasher);
}

CxTree *
cx_state_make_tree(const CxState *self, guint n, GError **error)
{
    g_autoptr(CxTree) tree = cx_tree_new();
    CxSnapshotter *snapshotter = cx_store_get_snapshotter(self->store);

    for (guint i = 0; i < n; i++) {
        const CxLower *lower = &g_array_index(self->lowers, CxLower, i);

        if (lower->kind == CX_LOWER_LAYER) {
            g_autoptr(CxErofsIndex) index =
                cx_layer_store_open_index(cx_store_get_layers(self->store), &lower->diff_id, error);

            if (index == NULL)
                return NULL;
            cx_tree_add_index(tree, index);
        } else {
            int fd = cx_snapshotter_open_lower(snapshotter, lower, error);

            if (fd < 0)
                return NULL;
            cx_tree_take_folder(tree, fd);
        }
    }
    return g_steal_pointer(&tree);
}

char *
cx_state_join_workdir(const CxState *self, const char *workdir)
{
    const char *base = self->config->working_dir;
    g_autofree char *joined =
        workdir[0] == '/' ? g_strdup(workdir) : g_strconcat(base, "/", workdir, NULL);
    g_autofree char *clean = cx_path_clean(joined);

    return g_strconcat("/", clean, NULL);
}

/* ---- flattening ------------------------------------------------------------------------------ */

static void
close_fds(GArray *fds)
{
    for (guint i = 0; i < fds->len; i++)
        cx_clear_fd(&g_array_index(fds, int, i));
    g_array_unref(fds);
}
typedef GArray CxFdArray;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CxFdArray, close_fds)

static gboolean
write_merged(CxState *self,
             guint first_lower,
             gint64 mtime,
             CxTarWriter *writer,
             CxCancel *cancellable,
             GError **error)
{
    g_autoptr(CxFdArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(CxTree) below = cx_state_make_tree(self, first_lower, error);

    if (below == NULL)
        return FALSE;

    for (guint i = first_lower; i < self->lowers->len; i++) {
        const CxLower *lower = &g_array_index(self->lowers, CxLower, i);
        int fd = cx_snapshotter_open_lower(cx_store_get_snapshotter(self->store), lower, error);

        if (fd < 0)
            return FALSE;
        g_array_append_val(fds, fd);
    }
    return cx_layer_diff((const int *)(const void *)fds->data, fds->len, below, mtime, writer,
                         cancellable, error) &&
           cx_tar_writer_finish(writer, error);
}

static gboolean
commit_layer(
    CxState *self, CxLayerIngest *ingest, CxLease *lease, CxDigest *out_diff_id, GError **error)
{
    gboolean ok;

    cx_store_publish_begin(self->store);
    ok = cx_layer_ingest_commit(ingest, NULL, out_diff_id, NULL, error);
    if (ok) {
        CxObject object = cx_object_layer(out_diff_id);

        cx_lease_hold(lease, &object);
    }
    cx_store_publish_end(self->store);
    return ok;
}

static gboolean
make_flat_layer(CxState *self,
                guint first_lower,
                gint64 mtime,
                CxLease *lease,
                CxDigest *out_diff_id,
                gboolean *out_empty,
                CxCancel *cancellable,
                GError **error)
{
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(cx_store_get_layers(self->store), error);
    g_autoptr(CxTarWriter) writer = NULL;

    if (ingest == NULL)
        return FALSE;

    writer = cx_tar_writer_new(cx_layer_ingest_get_sink(ingest));
    if (!write_merged(self, first_lower, mtime, writer, cancellable, error))
        return FALSE;

    *out_empty = cx_tar_writer_get_count(writer) == 0;
    return *out_empty || commit_layer(self, ingest, lease, out_diff_id, error);
}

gboolean
cx_state_flatten(CxState *self,
                 guint first_lower,
                 gint64 mtime,
                 CxLease *lease,
                 CxDigest *out_diff_id,
                 gboolean *out_empty,
                 CxCancel *cancellable,
                 GError **error)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    CxDigest changes = cx_state_changes_key(self, first_lower), key;
    g_autofree char *known = NULL;
    g_autoptr(GError) local = NULL;
    CxObject object;

    *out_empty = first_lower == self->lowers->len;
    if (*out_empty)
        return TRUE;

    cx_hasher_field_string(hasher, "cruxd flatten 1");
    cx_hasher_field_digest(hasher, &changes);
    cx_hasher_field_number(hasher, (guint64)mtime);
    key = cx_hasher_finish(hasher);
    known = cx_store_recall(self->store, &key, lease, &local);
    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (known != NULL) {
        *out_empty = known[0] == '\0';
        return *out_empty || cx_digest_parse(known, out_diff_id, error);
    }

    if (!make_flat_layer(self, first_lower, mtime, lease, out_diff_id, out_empty, cancellable,
                         error))
        return FALSE;
    if (*out_empty)
        return cx_store_remember(self->store, &key, "flatten", "", NULL, 0, error);

    object = cx_object_layer(out_diff_id);
    return cx_store_remember(self->store, &key, "flatten", cx_digest_text(out_diff_id).text,
                             &object, 1, error);
}

CxState *
cx_state_compact(CxState *self, CxCancel *cancellable, GError **error)
{
    g_autoptr(CxState) result = NULL;
    g_autoptr(CxLease) lease = NULL;
    guint first = self->lowers->len;
    CxLower merged = {.kind = CX_LOWER_LAYER};
    gboolean empty = FALSE;

    while (first > self->n_base &&
           g_array_index(self->lowers, CxLower, first - 1).kind == CX_LOWER_UPPER)
        first--;
    if (self->lowers->len - first < COMPACT_AT)
        return cx_state_ref(self);

    /* Times are kept as fixed as in a finished layer: nothing that runs later may depend on when
     * its base ran. */
    lease = cx_lease_new(self->store);
    if (!cx_state_flatten(self, first, 0, lease, &merged.diff_id, &empty, cancellable, error))
        return NULL;

    result = state_new_child(self, lease);
    g_array_append_vals(result->lowers, self->lowers->data, first);
    g_array_append_vals(result->contents, self->contents->data, first);
    if (!empty) {
        g_array_append_val(result->lowers, merged);
        g_array_append_val(result->contents, merged.diff_id);
    }
    result->identity = self->identity;
    return g_steal_pointer(&result);
}
