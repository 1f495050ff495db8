/* SPDX-License-Identifier: Apache-2.0 */
/* Theory.  A copy is packed straight into a layer: each file is read once, and the layer's diff id
 * is the content key, since a tar of ours holds path, type, mode, xattrs and content but never the
 * source's times or inode.  Two keys lead to a diff id without packing: what lstat says of every
 * object of a host source (so an unchanged tree is not read), and for a stage source the identity
 * of that stage.  Both take in the image below, because the destination is resolved in it.  When
 * they miss but the packed layer is one that is there already (files touched, a fresh clone), what
 * follows is still cached. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "build/explain.h"
#include "build/operation.h"
#include "layer/pack.h"

#define LINKS_MAX 40

static void
mix(const CxJob *job, CxHasher *hasher)
{
    cx_hasher_field_string(hasher, job->vertex->source);
    cx_hasher_field_string(hasher, job->vertex->dest);
    cx_hasher_field_string(hasher, job->vertex->workdir);
    cx_hasher_field_number(hasher, (guint64)job->plan->epoch);
    cx_hasher_field_digest(hasher, job->from != NULL ? cx_state_get_identity(job->from)
                                                     : &job->plan->root_key);
}

/* ---- where the source is --------------------------------------------------------------------- */

/* The folder that holds the source and its name there; the last link is followed, inside the root.
 */
typedef struct {
    int parent_fd; /* owned */
    char *name;    /* (owned) */
} Source;

static void
source_clear(Source *self)
{
    cx_clear_fd(&self->parent_fd);
    g_clear_pointer(&self->name, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Source, source_clear)

typedef int (*OpenFolder)(gpointer root, const char *path, GError **error);

static int
open_in_context(gpointer root, const char *path, GError **error)
{
    return cx_plan_open(root, path, O_RDONLY | O_DIRECTORY, error);
}

static int
open_in_view(gpointer root, const char *path, GError **error)
{
    return cx_chase_open(cx_merged_view_get_fd(root), path, CX_CHASE_IN_ROOT,
                         O_RDONLY | O_DIRECTORY, 0, error);
}

/* "a/b/" -> "a/b", "." */
static char *
trim_path(const char *path)
{
    g_autofree char *trimmed = g_strdup(path);
    gsize n = strlen(trimmed);

    while (n > 1 && trimmed[n - 1] == '/')
        trimmed[--n] = '\0';
    return g_strdup(*trimmed == '\0' ? "." : trimmed);
}

static gboolean
is_whole_folder(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "/") == 0;
}

static gboolean
locate(OpenFolder open_folder, gpointer root, const char *path, Source *out_source, GError **error)
{
    g_autofree char *current = trim_path(path);

    for (int i = 0; i < LINKS_MAX; i++) {
        g_auto(Source) source = {-1, NULL};
        g_autofree char *folder = g_path_get_dirname(current);
        char target[PATH_MAX];
        ssize_t n;

        source.name = g_path_get_basename(current);
        if (is_whole_folder(source.name)) {
            source.parent_fd = open_folder(root, current, error);
            g_free(source.name);
            source.name = g_strdup(".");
        } else {
            source.parent_fd = open_folder(root, folder, error);
        }
        if (source.parent_fd < 0) {
            g_prefix_error(error, "\"%s\": ", path);
            return FALSE;
        }

        n = readlinkat(source.parent_fd, source.name, target, sizeof target - 1);
        if (n < 0) {
            struct stat st;

            if (fstatat(source.parent_fd, source.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return cx_throw_errno(error, "\"%s\"", path);
            *out_source = source;
            source = (Source){-1, NULL};
            return TRUE;
        }
        target[n] = '\0';
        g_free(current);
        current = target[0] == '/' ? g_strdup(target) : g_build_filename(folder, target, NULL);
    }
    return cx_throw(error, CX_ERROR_INVALID, "\"%s\": more than %d symbolic links", path,
                    LINKS_MAX);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void
mix_common(const CxJob *job, const char *dest, CxHasher *hasher)
{
    cx_hasher_field_string(hasher, dest);
    cx_hasher_field_digest(hasher, cx_state_get_identity(job->input));
    cx_hasher_field_number(hasher, (guint64)job->plan->epoch);
}

static gboolean
host_key(const CxJob *job,
         const CxPack *pack,
         CxDigest *out_key,
         gboolean *out_settled,
         CxCancel *cancellable,
         GError **error)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    CxDigest objects;

    if (!cx_layer_pack_key(pack, &objects, out_settled, cancellable, error))
        return FALSE;

    cx_hasher_field_string(hasher, "cruxd copy host 1");
    mix_common(job, pack->dest, hasher);
    cx_hasher_field_digest(hasher, &objects);
    cx_hasher_field_string(hasher, cx_identity_peek_key(job->plan->identity));
    *out_key = cx_hasher_finish(hasher);
    return TRUE;
}

static CxDigest
stage_key(const CxJob *job, const char *dest)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    cx_hasher_field_string(hasher, "cruxd copy stage 1");
    mix_common(job, dest, hasher);
    cx_hasher_field_digest(hasher, cx_state_get_identity(job->from));
    cx_hasher_field_string(hasher, job->vertex->source);
    return cx_hasher_finish(hasher);
}

/* ---- packing --------------------------------------------------------------------------------- */

static gboolean
pack_layer(CxJob *job,
           const CxPack *pack,
           CxLease *lease,
           CxDigest *out_diff_id,
           CxCancel *cancellable,
           GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxLayerIngest) ingest = cx_layer_store_begin(cx_store_get_layers(store), error);
    g_autoptr(CxTarWriter) writer = NULL;
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
    gboolean ok;

    if (ingest == NULL)
        return FALSE;

    /* From here to the end of packing this thread opens nothing but the source. */
    writer = cx_tar_writer_new(cx_layer_ingest_get_sink(ingest));
    if ((job->from == NULL && !cx_acting_as_begin(&as, job->plan->identity, error)) ||
        !cx_layer_pack(pack, writer, cancellable, error) || !cx_tar_writer_finish(writer, error))
        return FALSE;
    cx_acting_as_end(&as);

    cx_store_publish_begin(store);
    ok = cx_layer_ingest_commit(ingest, NULL, out_diff_id, NULL, error);
    if (ok) {
        CxObject object = cx_object_layer(out_diff_id);

        cx_lease_hold(lease, &object);
    }
    cx_store_publish_end(store);
    return ok;
}

/* Whether a copy onto this input gave this very layer before: the content key. */
static gboolean
is_known_content(
    CxJob *job, const CxDigest *diff_id, CxLease *lease, gboolean *out_known, GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    g_autoptr(GError) local = NULL;
    g_autofree char *known = NULL;
    CxDigest key;

    cx_hasher_field_string(hasher, "cruxd copy content 1");
    cx_hasher_field_digest(hasher, cx_state_get_identity(job->input));
    cx_hasher_field_digest(hasher, diff_id);
    key = cx_hasher_finish(hasher);

    known = cx_store_recall(store, &key, lease, &local);
    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    *out_known = known != NULL;
    return known != NULL || cx_store_remember(store, &key, "content", "", NULL, 0, error);
}

static void
finish(CxJob *job, CxLease *lease, const CxDigest *diff_id, gboolean cached, CxOutcome *out_outcome)
{
    CxLower lower = {.kind = CX_LOWER_LAYER, .diff_id = *diff_id};

    out_outcome->state = cx_state_new_with_lower(job->input, lease, &lower, diff_id);
    out_outcome->cached = cached;
}

/* Recalls the layer under key, or packs it and remembers it there if `settled`. */
static gboolean
recall_or_pack(CxJob *job,
               const CxPack *pack,
               const CxDigest *key,
               gboolean settled,
               CxOutcome *out_outcome,
               CxCancel *cancellable,
               GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxLease) lease = cx_lease_new(store);
    g_autoptr(GError) local = NULL;
    g_autofree char *known = NULL;
    gboolean no_cache = (job->plan->flags & CX_BUILD_NO_CACHE) != 0, same = FALSE;
    CxDigest diff_id;
    CxObject object;

    known = no_cache ? NULL : cx_store_recall(store, key, lease, &local);
    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (known != NULL && cx_digest_parse(known, &diff_id, NULL)) {
        finish(job, lease, &diff_id, TRUE, out_outcome);
        return TRUE;
    }

    if (!pack_layer(job, pack, lease, &diff_id, cancellable, error) ||
        !is_known_content(job, &diff_id, lease, &same, error))
        return FALSE;
    object = cx_object_layer(&diff_id);
    if (settled &&
        !cx_store_remember(store, key, "copy", cx_digest_text(&diff_id).text, &object, 1, error))
        return FALSE;

    out_outcome->why = cx_explain_copy(job, &diff_id);
    finish(job, lease, &diff_id, same && !no_cache, out_outcome);
    return TRUE;
}

static gboolean
copy_from_host(
    CxJob *job, CxPack *pack, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    g_auto(Source) source = {-1, NULL};
    gboolean settled = FALSE;
    CxDigest key;

    {
        g_auto(CxActingAs) as = CX_ACTING_AS_INIT;

        if (!cx_acting_as_begin(&as, job->plan->identity, error) ||
            !locate(open_in_context, job->plan, job->vertex->source, &source, error))
            return FALSE;
        pack->parent_fd = source.parent_fd;
        pack->name = source.name;
        if (!host_key(job, pack, &key, &settled, cancellable, error))
            return FALSE;
    }
    return recall_or_pack(job, pack, &key, settled, out_outcome, cancellable, error);
}

static gboolean
copy_from_stage(
    CxJob *job, CxPack *pack, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    CxStore *store = job->engine->options.store;
    CxDigest key = stage_key(job, pack->dest);
    g_autoptr(CxState) compact = NULL;
    g_autoptr(CxMergedView) view = NULL;
    g_auto(Source) source = {-1, NULL};
    const CxLower *lowers;
    guint n;

    /* A known result needs no look into the stage. */
    if (!(job->plan->flags & CX_BUILD_NO_CACHE)) {
        g_autoptr(CxLease) lease = cx_lease_new(store);
        g_autofree char *known = cx_store_recall(store, &key, lease, NULL);
        CxDigest diff_id;

        if (known != NULL && cx_digest_parse(known, &diff_id, NULL)) {
            finish(job, lease, &diff_id, TRUE, out_outcome);
            return TRUE;
        }
    }

    compact = cx_state_compact(job->from, cancellable, error);
    if (compact == NULL)
        return FALSE;
    lowers = cx_state_get_lowers(compact, &n);
    view = cx_snapshotter_mount_view(cx_store_get_snapshotter(store), lowers, n, error);
    if (view == NULL || !locate(open_in_view, view, job->vertex->source, &source, error))
        return FALSE;

    pack->parent_fd = source.parent_fd;
    pack->name = source.name;
    return recall_or_pack(job, pack, &key, TRUE, out_outcome, cancellable, error);
}

static gboolean
run(CxJob *job, CxFlight *flight, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    const CxVertex *vertex = job->vertex;
    g_autofree char *workdir = NULL, *dest = NULL;
    g_autoptr(CxTree) below = NULL;
    CxPack pack = {.parent_fd = -1, .mtime = job->plan->epoch};
    guint n;

    CX_ERROR_CONTEXT(error, "copy");
    workdir = vertex->workdir[0] == '\0' && cx_state_get_config(job->input)->working_dir[0] == '\0'
                  ? g_strdup("")
                  : cx_state_join_workdir(job->input, vertex->workdir);
    dest = cx_copy_dest(vertex->dest, workdir, error);
    if (dest == NULL)
        return FALSE;

    (void)cx_state_get_lowers(job->input, &n);
    below = cx_state_make_tree(job->input, n, error);
    if (below == NULL)
        return FALSE;

    pack.dest = dest;
    pack.below = below;
    return job->from != NULL ? copy_from_stage(job, &pack, out_outcome, cancellable, error)
                             : copy_from_host(job, &pack, out_outcome, cancellable, error);
}

const CxOperation cx_operation_copy = {.name = "copy", .mix = mix, .run = run};
