/* SPDX-License-Identifier: Apache-2.0 */
#include "build/finish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/chase.h"
#include "base/error.h"
#include "base/fd.h"
#include "image/export.h"
#include "runtime/spec.h"

/* Version of the compressors' pinned parameters, part of the key of a compressed layer (codec.h).
 */
#define CODEC_VERSION 1

/* A file that has no name until it is whole, so nothing is left behind whatever happens; a named
 * one where the file system cannot do that. */
typedef struct {
    int folder_fd; /* owned */
    int fd;        /* owned; -1: image.tar is up to date */
    char name[48]; /* "" while it has none */
} Output;

struct CxFinish {
    CxEngine *engine;
    CxPlan *plan; /* (owned) */
    const CxBuildRequest *request;
    CxState *state; /* (owned): the output stage's */
    const CxGraphStage *stage;
    CxLease *lease;  /* (owned): all of the image until it has its name */
    GArray *objects; /* (owned) of CxObject: the same */
    char created[32];
    CxManifest *manifest;  /* (owned) */
    CxImageConfig *config; /* (owned) */
    char *manifest_json;   /* (owned) */
    char *config_json;     /* (owned) */
    CxDigest manifest_digest;
    char *folder; /* (owned) of image.tar, or NULL */
    Output output;
    guint steps, cached;
};

static void
hold(CxFinish *self, CxObject object)
{
    cx_lease_hold(self->lease, &object);
    g_array_append_val(self->objects, object);
}

static gboolean
put_document(CxFinish *self, const char *json, CxDigest *out_digest, GError **error)
{
    CxDigest digest = cx_digest_of(json, strlen(json));

    hold(self, cx_object_blob(&digest));
    return cx_blob_store_put(cx_store_get_blobs(self->engine->options.store), json, strlen(json),
                             out_digest, error);
}

/* ---- the new layer --------------------------------------------------------------------------- */

/* A stage that only did one copy has its layer already: the copy's own. */
static gboolean
find_layer(CxFinish *self,
           CxDigest *out_diff_id,
           gboolean *out_empty,
           CxCancel *cancellable,
           GError **error)
{
    guint n, n_base = cx_state_get_n_base(self->state);
    const CxLower *lowers = cx_state_get_lowers(self->state, &n);

    *out_empty = n == n_base;
    if (n == n_base + 1 && lowers[n_base].kind == CX_LOWER_LAYER) {
        *out_diff_id = lowers[n_base].diff_id;
        return TRUE;
    }
    return *out_empty || cx_state_flatten(self->state, n_base, self->plan->epoch, self->lease,
                                          out_diff_id, out_empty, cancellable, error);
}

/* A sink into a blob ingest. */
typedef struct {
    CxSink base;
    CxBlobIngest *ingest; /* borrowed */
    guint64 written;
} BlobSink;

static gboolean
blob_sink_write(CxSink *sink, const void *data, gsize size, GError **error)
{
    BlobSink *self = (BlobSink *)sink;

    self->written += size;
    return cx_blob_ingest_write(self->ingest, data, size, error);
}

static gboolean
compress(CxFinish *self,
         const CxDigest *diff_id,
         CxDigest *out_digest,
         guint64 *out_size,
         GError **error)
{
    CxStore *store = self->engine->options.store;
    g_autoptr(CxBlobIngest) ingest = cx_blob_store_begin(cx_store_get_blobs(store), error);
    g_autoptr(CxEncoder) encoder = NULL;
    BlobSink sink = {
        {blob_sink_write, NULL},
        ingest, 0
    };
    cx_autofd int fd = -1;
    guint64 size;
    gboolean ok;

    if (ingest == NULL)
        return FALSE;
    encoder = cx_encoder_new(self->request->compression, &sink.base, error);
    fd = cx_layer_store_open_tar(cx_store_get_layers(store), diff_id, &size, error);
    if (encoder == NULL || fd < 0 ||
        !cx_sink_splice(cx_encoder_get_sink(encoder), fd, 0, size, error) ||
        !cx_encoder_finish(encoder, error))
        return FALSE;

    cx_store_publish_begin(store);
    ok = cx_blob_ingest_commit(ingest, NULL, out_digest, error);
    if (ok)
        hold(self, cx_object_blob(out_digest));
    cx_store_publish_end(store);
    *out_size = sink.written;
    return ok;
}

/* The compressed form of a layer, made once. */
static gboolean
find_compressed(CxFinish *self,
                const CxDigest *diff_id,
                CxDigest *out_digest,
                guint64 *out_size,
                GError **error)
{
    CxStore *store = self->engine->options.store;
    g_autoptr(CxHasher) hasher = cx_hasher_new();
    g_autofree char *known = NULL, *value = NULL;
    CxObject object;
    CxDigest key;

    cx_hasher_field_string(hasher, "cruxd compress 1");
    cx_hasher_field_digest(hasher, diff_id);
    cx_hasher_field_string(hasher, cx_compression_name(self->request->compression));
    cx_hasher_field_number(hasher, CODEC_VERSION);
    key = cx_hasher_finish(hasher);

    known = cx_store_recall(store, &key, self->lease, NULL);
    if (known != NULL) {
        char *space = strchr(known, ' ');

        *space = '\0';
        *out_size = g_ascii_strtoull(space + 1, NULL, 10);
        if (!cx_digest_parse(known, out_digest, error))
            return FALSE;
        hold(self, cx_object_blob(out_digest));
        return TRUE;
    }
    if (!compress(self, diff_id, out_digest, out_size, error))
        return FALSE;

    object = cx_object_blob(out_digest);
    value = g_strdup_printf("%s %" G_GUINT64_FORMAT, cx_digest_text(out_digest).text, *out_size);
    return cx_store_remember(store, &key, "compressed", value, &object, 1, error);
}

static gboolean
add_layer(CxFinish *self, const CxDigest *diff_id, GError **error)
{
    static const char *const media_types[] = {
        [CX_COMPRESSION_NONE] = CX_MEDIA_TYPE_OCI_LAYER,
        [CX_COMPRESSION_GZIP] = CX_MEDIA_TYPE_OCI_LAYER_GZIP,
        [CX_COMPRESSION_ZSTD] = CX_MEDIA_TYPE_OCI_LAYER_ZSTD,
    };
    CxDigest digest = *diff_id;
    guint64 size = 0;

    hold(self, cx_object_layer(diff_id));
    if (self->request->compression != CX_COMPRESSION_NONE) {
        if (!find_compressed(self, diff_id, &digest, &size, error))
            return FALSE;
    } else {
        cx_autofd int fd = cx_layer_store_open_tar(cx_store_get_layers(self->engine->options.store),
                                                   diff_id, &size, error);

        if (fd < 0)
            return FALSE;
    }
    g_ptr_array_add(self->manifest->layers,
                    cx_descriptor_new(media_types[self->request->compression], &digest, size));
    return TRUE;
}

/* ---- config and manifest --------------------------------------------------------------------- */

/* What a vertex of the output stage is called in the image's history. */
static void
add_history(CxFinish *self, const CxDigest *diff_id)
{
    const GPtrArray *vertices = self->plan->graph->vertices;
    const CxVertex *last = NULL;

    for (guint i = 0; i < vertices->len; i++) {
        const CxVertex *vertex = g_ptr_array_index(vertices, i);

        if (g_ptr_array_index(self->plan->graph->stages, vertex->stage) == self->stage &&
            vertex->step > 0) {
            if (last != NULL)
                cx_image_config_add_history(self->config, self->created, last->title, NULL);
            last = vertex;
        }
    }
    if (last != NULL)
        cx_image_config_add_history(self->config, self->created, last->title, diff_id);
    else if (diff_id != NULL)
        cx_image_config_add_history(self->config, self->created, "layer", diff_id);
}

static void
set_config(CxFinish *self)
{
    CxImageConfig *config = self->config;
    GStrv env =
        cx_env_merge((const char *const *)config->env, (const char *const *)self->stage->env);

    g_strfreev(config->env);
    config->env = env;
    if (self->stage->workdir[0] != '\0') {
        char *workdir = cx_state_join_workdir(self->state, self->stage->workdir);

        g_free(config->working_dir);
        config->working_dir = workdir;
    }
    if (self->request->entrypoint != NULL) {
        g_strfreev(config->entrypoint);
        config->entrypoint = g_strdupv((char **)self->request->entrypoint);
        g_clear_pointer(&config->cmd, g_strfreev);
    }
}

/* Base layers keep the bytes they came with. */
static void
take_base_layers(CxFinish *self)
{
    const CxManifest *base = cx_state_get_manifest(self->state);
    const CxImageConfig *config = cx_state_get_config(self->state);
    CxBlobStore *blobs = cx_store_get_blobs(self->engine->options.store);

    for (guint i = 0; i < base->layers->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(base->layers, i);

        g_ptr_array_add(self->manifest->layers, cx_descriptor_dup(layer));
        if (cx_blob_store_has(blobs, &layer->digest))
            hold(self, cx_object_blob(&layer->digest));
        hold(self, cx_object_layer(&g_array_index(config->diff_ids, CxDigest, i)));
    }
}

static gboolean
make_documents(CxFinish *self, CxCancel *cancellable, GError **error)
{
    gboolean empty = FALSE;
    CxDigest diff_id, config_digest;

    if (!find_layer(self, &diff_id, &empty, cancellable, error))
        return FALSE;

    self->config = cx_image_config_dup(cx_state_get_config(self->state));
    self->manifest = cx_manifest_new(NULL);
    take_base_layers(self);
    if (!empty && !add_layer(self, &diff_id, error))
        return FALSE;

    set_config(self);
    add_history(self, empty ? NULL : &diff_id);
    self->config_json = cx_image_config_to_json(self->config, self->created);
    if (!put_document(self, self->config_json, &config_digest, error))
        return FALSE;

    self->manifest->config =
        cx_descriptor_new(CX_MEDIA_TYPE_OCI_CONFIG, &config_digest, strlen(self->config_json));
    self->manifest_json = cx_manifest_to_json(self->manifest);
    return put_document(self, self->manifest_json, &self->manifest_digest, error);
}

static const char *
image_name(const CxFinish *self)
{
    return self->request->image != NULL ? self->request->image : self->request->resource;
}

gboolean
cx_finish_name(CxFinish *self, GError **error)
{
    return cx_store_name_image(
        self->engine->options.store, image_name(self),
        cx_platform_text(&self->plan->graph->platform).text, &self->manifest_digest,
        (const CxObject *)(const void *)self->objects->data, self->objects->len, error);
}

/* ---- image.tar ------------------------------------------------------------------------------- */

/* What tells a file that we wrote from any other: nobody can change it without changing this. */
static CxDigest
output_key(const struct stat *st)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    cx_hasher_field_string(hasher, "cruxd output 1");
    cx_hasher_field_number(hasher, st->st_dev);
    cx_hasher_field_number(hasher, st->st_ino);
    cx_hasher_field_number(hasher, (guint64)st->st_size);
    cx_hasher_field_number(hasher, (guint64)st->st_mtim.tv_sec);
    cx_hasher_field_number(hasher, (guint64)st->st_mtim.tv_nsec);
    cx_hasher_field_number(hasher, (guint64)st->st_ctim.tv_sec);
    cx_hasher_field_number(hasher, (guint64)st->st_ctim.tv_nsec);
    return cx_hasher_finish(hasher);
}

/* What image.tar says beside the manifest takes part: its name and platform. */
static char *
output_value(const CxFinish *self)
{
    return g_strdup_printf("%s %s", cx_digest_text(&self->manifest_digest).text, image_name(self));
}

static gboolean
is_up_to_date(const CxFinish *self, int folder_fd)
{
    CxStore *store = self->engine->options.store;
    g_autofree char *known = NULL, *value = output_value(self);
    struct stat st;
    CxDigest key;

    if (fstatat(folder_fd, "image.tar", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return FALSE;

    key = output_key(&st);
    known = cx_store_recall(store, &key, self->lease, NULL);
    return g_strcmp0(known, value) == 0;
}

static void
output_clear(Output *self)
{
    if (self->name[0] != '\0')
        (void)unlinkat(self->folder_fd, self->name, 0);
    cx_clear_fd(&self->fd);
    cx_clear_fd(&self->folder_fd);
}

static gboolean
output_open(Output *self, GError **error)
{
    self->fd = openat(self->folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    if (self->fd >= 0)
        return TRUE;

    (void)snprintf(self->name, sizeof self->name, ".image.tar.%08x%08x", g_random_int(),
                   g_random_int());
    self->fd = openat(self->folder_fd, self->name,
                      O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (self->fd < 0) {
        self->name[0] = '\0';
        return cx_throw_errno(error, "image.tar");
    }
    return TRUE;
}

static gboolean
output_publish(Output *self, struct stat *out_stat, GError **error)
{
    if (self->name[0] == '\0') {
        char name[sizeof self->name];

        (void)snprintf(name, sizeof name, ".image.tar.%08x%08x", g_random_int(), g_random_int());
        if (linkat(AT_FDCWD, cx_fd_path(self->fd).path, self->folder_fd, name, AT_SYMLINK_FOLLOW) <
            0)
            return cx_throw_errno(error, "image.tar");
        memcpy(self->name, name, sizeof name);
    }
    if (renameat(self->folder_fd, self->name, self->folder_fd, "image.tar") < 0)
        return cx_throw_errno(error, "image.tar");

    self->name[0] = '\0';
    if (fstat(self->fd, out_stat) < 0)
        return cx_throw_errno(error, "image.tar");
    return TRUE;
}

static char *
output_folder(const CxFinish *self)
{
    /* Several platforms: a folder for each. */
    if (self->request->n_platforms == 1)
        return g_strdup(self->request->output);

    return g_build_filename(self->request->output,
                            cx_platform_slug(&self->plan->graph->platform).text, NULL);
}

static gboolean
open_output(CxFinish *self, GError **error)
{
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;

    self->folder = output_folder(self);
    if (!cx_acting_as_begin(&as, self->request->identity, error))
        return FALSE;
    if (g_mkdir_with_parents(self->folder, 0755) < 0)
        return cx_throw_errno(error, "output folder \"%s\"", self->folder);

    self->output.folder_fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->output.folder_fd < 0)
        return cx_throw_errno(error, "output folder \"%s\"", self->folder);

    return TRUE;
}

static gboolean
write_archive(CxFinish *self, CxCancel *cancellable, GError **error)
{
    CX_ERROR_CONTEXT(error, "write \"%s/image.tar\"", self->folder);
    CxStore *store = self->engine->options.store;
    CxExportImage image = {.name = image_name(self),
                           .manifest = self->manifest,
                           .manifest_json = self->manifest_json,
                           .config_json = self->config_json,
                           .platform = &self->plan->graph->platform};
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;

    if (!cx_acting_as_begin(&as, self->request->identity, error) ||
        !output_open(&self->output, error))
        return FALSE;
    cx_acting_as_end(&as);

    return cx_image_export(&image, cx_store_get_blobs(store), cx_store_get_layers(store),
                           self->output.fd, cancellable, error);
}

static gboolean
publish_archive(CxFinish *self, GError **error)
{
    CX_ERROR_CONTEXT(error, "write \"%s/image.tar\"", self->folder);
    g_auto(CxActingAs) as = CX_ACTING_AS_INIT;
    g_autofree char *value = output_value(self);
    struct stat st;
    CxDigest key;

    if (!cx_acting_as_begin(&as, self->request->identity, error) ||
        !output_publish(&self->output, &st, error))
        return FALSE;
    cx_acting_as_end(&as);

    key = output_key(&st);
    return cx_store_remember(self->engine->options.store, &key, "output", value, NULL, 0, error);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void
cx_finish_free(CxFinish *self)
{
    if (self == NULL)
        return;

    output_clear(&self->output);
    cx_lease_unref(self->lease);
    cx_state_unref(self->state);
    g_clear_pointer(&self->objects, g_array_unref);
    cx_manifest_free(self->manifest);
    cx_image_config_free(self->config);
    g_free(self->manifest_json);
    g_free(self->config_json);
    g_free(self->folder);
    cx_plan_unref(self->plan);
    g_free(self);
}

static CxFinish *
finish_new(CxEngine *engine,
           CxPlan *plan,
           const CxBuildRequest *request,
           const CxSolution *solution)
{
    g_autoptr(GDateTime) created = g_date_time_new_from_unix_utc(plan->epoch);
    g_autofree char *text = g_date_time_format(created, "%Y-%m-%dT%H:%M:%SZ");
    CxFinish *self = g_new0(CxFinish, 1);

    self->engine = engine;
    self->plan = cx_plan_ref(plan);
    self->request = request;
    self->state = cx_state_ref(solution->output);
    self->stage = g_ptr_array_index(plan->graph->stages, plan->graph->output);
    self->lease = cx_lease_new(engine->options.store);
    self->objects = g_array_new(FALSE, FALSE, sizeof(CxObject));
    self->output.fd = self->output.folder_fd = -1;
    self->steps = solution->steps;
    self->cached = solution->cached;
    g_strlcpy(self->created, text, sizeof self->created);
    return self;
}

CxFinish *
cx_finish_prepare(CxEngine *engine,
                  CxPlan *plan,
                  const CxBuildRequest *request,
                  const CxSolution *solution,
                  CxCancel *cancellable,
                  GError **error)
{
    g_autoptr(CxFinish) self = finish_new(engine, plan, request, solution);

    if (!make_documents(self, cancellable, error))
        return NULL;
    if (request->output != NULL && !open_output(self, error))
        return NULL;
    if (request->output != NULL && !is_up_to_date(self, self->output.folder_fd) &&
        !write_archive(self, cancellable, error))
        return NULL;

    return g_steal_pointer(&self);
}

static CxBuiltImage *
describe(const CxFinish *self)
{
    CxBuiltImage *image = g_new0(CxBuiltImage, 1);

    image->platform = self->plan->graph->platform;
    image->manifest = self->manifest_digest;
    image->layers = self->manifest->layers->len;
    image->bytes = strlen(self->manifest_json) + strlen(self->config_json);
    for (guint i = 0; i < self->manifest->layers->len; i++)
        image->bytes += ((const CxDescriptor *)g_ptr_array_index(self->manifest->layers, i))->size;
    image->path = self->folder == NULL ? NULL : g_build_filename(self->folder, "image.tar", NULL);
    image->steps = self->steps;
    image->cached = self->cached;
    return image;
}

CxBuiltImage *
cx_finish_publish(CxFinish *self, GError **error)
{
    if (self->output.fd >= 0 && !publish_archive(self, error))
        return NULL;

    return describe(self);
}
