/* SPDX-License-Identifier: Apache-2.0 */
/* The base image of a stage.  A file that was imported before is known by what fstat says of it, so
 * a warm build never reads it. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "build/operation.h"
#include "image/import.h"

/* Time stamps closer to now than this may still hide a change (their granularity is a clock tick or
 * two). */
#define SETTLED_AFTER_NS (50 * G_GINT64_CONSTANT(1000000))

static void
mix(const CxJob *job, CxHasher *hasher)
{
    cx_hasher_field_number(hasher, job->vertex->source_kind);
    cx_hasher_field_string(hasher, job->vertex->source);
    cx_hasher_field_digest(hasher, &job->plan->root_key);
}

/* ---- what is known of the file --------------------------------------------------------------- */

static gboolean
is_settled(const struct stat *st)
{
    gint64 changed = (gint64)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;

    return g_get_real_time() * 1000 - changed > SETTLED_AFTER_NS;
}

static void
mix_stat(CxHasher *hasher, const struct stat *st)
{
    cx_hasher_field_number(hasher, st->st_dev);
    cx_hasher_field_number(hasher, st->st_ino);
    cx_hasher_field_number(hasher, (guint64)st->st_size);
    cx_hasher_field_number(hasher, (guint64)st->st_mtim.tv_sec);
    cx_hasher_field_number(hasher, (guint64)st->st_mtim.tv_nsec);
    cx_hasher_field_number(hasher, (guint64)st->st_ctim.tv_sec);
    cx_hasher_field_number(hasher, (guint64)st->st_ctim.tv_nsec);
}

/* A layout folder is known by its index, which names everything else by digest. */
static gboolean
file_key(const CxJob *job, int fd, CxDigest *out_key, gboolean *out_settled, GError **error)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    CxPlatformText platform = cx_platform_text(&job->plan->graph->platform);
    struct stat st, index;

    if (fstat(fd, &st) < 0)
        return cx_throw_errno(error, "stat");

    cx_hasher_field_string(hasher, "cruxd image file 1");
    cx_hasher_field_string(hasher, platform.text);
    *out_settled = TRUE;
    if (S_ISDIR(st.st_mode)) {
        cx_hasher_field_number(hasher, st.st_ino);
        if (fstatat(fd, "index.json", &index, AT_SYMLINK_NOFOLLOW) == 0)
            st = index;
    }
    mix_stat(hasher, &st);
    *out_settled = is_settled(&st);
    *out_key = cx_hasher_finish(hasher);
    return TRUE;
}

/* ---- manifest and config in the store -------------------------------------------------------- */

static CxState *
state_from_store(CxStore *store, CxLease *lease, const CxDigest *digest, GError **error)
{
    g_autoptr(GBytes) manifest_bytes =
        cx_blob_store_read(cx_store_get_blobs(store), digest, CX_DOCUMENT_MAX, error);
    g_autoptr(GBytes) config_bytes = NULL;
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;

    if (manifest_bytes == NULL)
        return NULL;
    manifest = cx_manifest_parse(g_bytes_get_data(manifest_bytes, NULL),
                                 g_bytes_get_size(manifest_bytes), error);
    if (manifest == NULL)
        return NULL;

    config_bytes = cx_blob_store_read(cx_store_get_blobs(store), &manifest->config->digest,
                                      CX_DOCUMENT_MAX, error);
    if (config_bytes == NULL)
        return NULL;
    config = cx_image_config_parse(g_bytes_get_data(config_bytes, NULL),
                                   g_bytes_get_size(config_bytes), error);
    if (config == NULL)
        return NULL;

    return cx_state_new_from_image(store, lease, digest, g_steal_pointer(&manifest),
                                   g_steal_pointer(&config));
}

/* Everything an imported image is made of. */
static GArray *
objects_of_image(CxStore *store,
                 const CxDigest *digest,
                 const CxManifest *manifest,
                 const CxImageConfig *config)
{
    GArray *objects = g_array_new(FALSE, FALSE, sizeof(CxObject));
    CxObject object = cx_object_blob(digest);

    g_array_append_val(objects, object);
    object = cx_object_blob(&manifest->config->digest);
    g_array_append_val(objects, object);
    for (guint i = 0; i < manifest->layers->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(manifest->layers, i);

        object = cx_object_blob(&layer->digest);
        if (cx_blob_store_has(cx_store_get_blobs(store), &layer->digest))
            g_array_append_val(objects, object);
        object = cx_object_layer(&g_array_index(config->diff_ids, CxDigest, i));
        g_array_append_val(objects, object);
    }
    return objects;
}

/* ---- importing ------------------------------------------------------------------------------- */

static void
hold_blob(gpointer user, const CxDigest *digest)
{
    CxObject object = cx_object_blob(digest);

    cx_lease_hold(user, &object);
}

static void
hold_layer(gpointer user, const CxDigest *diff_id)
{
    CxObject object = cx_object_layer(diff_id);

    cx_lease_hold(user, &object);
}

/* A layer that is in the store already: root may have it for its name, others must show its bytes.
 */
static gboolean
must_show_bytes(gpointer user, const CxDigest *blob, const CxDigest *diff_id)
{
    return FALSE;
}

static gboolean
import_file(CxJob *job,
            int take_fd,
            CxLease *lease,
            CxDigest *out_manifest,
            GArray **out_objects,
            CxCancel *cancellable,
            GError **error)
{
    CxStore *store = job->engine->options.store;
    CxImportHooks hooks = {.hold_blob = hold_blob, .hold_layer = hold_layer, .user = lease};
    g_autoptr(CxImageFile) file =
        cx_image_file_open(take_fd, job->vertex->source, job->plan->identity, error);
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    g_autofree char *json = NULL;
    CxDigest digest;

    if (cx_identity_get_uid(job->plan->identity) != 0)
        hooks.may_reuse = must_show_bytes;
    if (file == NULL ||
        !cx_image_file_select(file, &job->plan->graph->platform, &manifest, &config, error) ||
        !cx_image_file_import(file, manifest, config, cx_store_get_blobs(store),
                              cx_store_get_layers(store), &hooks, cancellable, error))
        return FALSE;

    json = cx_manifest_to_json(manifest);
    digest = cx_digest_of(json, strlen(json));
    hold_blob(lease, &digest);
    if (!cx_blob_store_put(cx_store_get_blobs(store), json, strlen(json), &digest, error))
        return FALSE;

    *out_objects = objects_of_image(store, &digest, manifest, config);
    *out_manifest = digest;
    return TRUE;
}

static gboolean
load(CxJob *job, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    CxStore *store = job->engine->options.store;
    g_autoptr(CxLease) lease = cx_lease_new(store);
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
    g_autoptr(GArray) objects = NULL;
    g_autoptr(GError) local = NULL;
    g_autofree char *known = NULL;
    cx_autofd int fd = -1;
    gboolean settled = FALSE;
    CxDigest key, manifest;

    if (!cx_acting_as_begin(&as, job->plan->identity, error))
        return FALSE;
    fd = cx_plan_open(job->plan, job->vertex->source, O_RDONLY | O_NONBLOCK | O_NOCTTY, error);
    if (fd < 0 || !file_key(job, fd, &key, &settled, error))
        return FALSE;
    cx_acting_as_end(&as);

    known = cx_store_recall(store, &key, lease, &local);
    if (known != NULL && cx_digest_parse(known, &manifest, NULL)) {
        out_outcome->state = state_from_store(store, lease, &manifest, error);
        out_outcome->cached = TRUE;
        return out_outcome->state != NULL;
    }
    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }

    if (!import_file(job, cx_steal_fd(&fd), lease, &manifest, &objects, cancellable, error))
        return FALSE;
    if (settled &&
        !cx_store_remember(store, &key, "image-file", cx_digest_text(&manifest).text,
                           (const CxObject *)(const void *)objects->data, objects->len, error))
        return FALSE;

    out_outcome->state = state_from_store(store, lease, &manifest, error);
    return out_outcome->state != NULL;
}

static gboolean
run(CxJob *job, CxFlight *flight, CxOutcome *out_outcome, CxCancel *cancellable, GError **error)
{
    CX_ERROR_CONTEXT(error, "%s", job->vertex->title);

    switch (job->vertex->source_kind) {
    case CX_FROM_FILE:
        return load(job, out_outcome, cancellable, error);
    case CX_FROM_OCI:
        return cx_throw(
            error, CX_ERROR_UNSUPPORTED,
            "registry images cannot be pulled yet (save it to a file and use \"file ARCHIVE\")");
    case CX_FROM_REF:
        return cx_throw(error, CX_ERROR_INVALID, "unresolved source");
    }
    g_return_val_if_reached(FALSE);
}

const CxOperation cx_operation_source = {.name = "source", .mix = mix, .run = run};
