/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that look at the store or clean it. */
#include <string.h>

#include "base/error.h"
#include "daemon/commands.h"
#include "oci/image.h"

static gboolean
read_image(CxHost *host,
           const CxImageRow *row,
           CxManifest **out_manifest,
           json_t **out_config,
           GError **error)
{
    CxBlobStore *blobs = cx_store_get_blobs(host->store);
    g_autoptr(GBytes) manifest_bytes =
        cx_blob_store_read(blobs, &row->manifest, CX_DOCUMENT_MAX, error);
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(GBytes) config_bytes = NULL;
    json_t *config;

    if (manifest_bytes == NULL)
        return FALSE;
    manifest = cx_manifest_parse(g_bytes_get_data(manifest_bytes, NULL),
                                 g_bytes_get_size(manifest_bytes), error);
    if (manifest == NULL)
        return FALSE;
    config_bytes = cx_blob_store_read(blobs, &manifest->config->digest, CX_DOCUMENT_MAX, error);
    if (config_bytes == NULL)
        return FALSE;
    config =
        cx_json_parse(g_bytes_get_data(config_bytes, NULL), g_bytes_get_size(config_bytes), error);
    if (config == NULL)
        return FALSE;

    *out_manifest = g_steal_pointer(&manifest);
    *out_config = config;
    return TRUE;
}

static json_t *
describe_row(const CxImageRow *row, const CxManifest *manifest)
{
    json_t *item = json_object();
    guint64 bytes = manifest->config->size;

    for (guint i = 0; i < manifest->layers->len; i++)
        bytes += ((const CxDescriptor *)g_ptr_array_index(manifest->layers, i))->size;
    json_object_set_new(item, "name", json_string(row->name));
    json_object_set_new(item, "platform", json_string(row->platform));
    json_object_set_new(item, "digest", json_string(cx_digest_text(&row->manifest).text));
    json_object_set_new(item, "created", json_integer(row->created));
    json_object_set_new(item, "layers", json_integer(manifest->layers->len));
    json_object_set_new(item, "bytes", json_integer((json_int_t)bytes));
    return item;
}

gboolean
cx_command_images(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    g_autoptr(GPtrArray) rows =
        cx_meta_list_images(cx_store_get_meta(self->host->store), NULL, error);
    g_autoptr(json_t) list = json_array();

    if (rows == NULL)
        return FALSE;

    for (guint i = 0; i < rows->len; i++) {
        const CxImageRow *row = g_ptr_array_index(rows, i);
        g_autoptr(CxManifest) manifest = NULL;
        g_autoptr(json_t) config = NULL;

        if (!read_image(self->host, row, &manifest, &config, error)) {
            g_prefix_error(error, "image \"%s\": ", row->name);
            return FALSE;
        }
        json_array_append_new(list, describe_row(row, manifest));
    }
    *out_result = json_object();
    json_object_set(*out_result, "images", list);
    return TRUE;
}

gboolean
cx_command_inspect(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    const char *name = cx_command_require(connection, "name", "missing image name", error);
    g_autoptr(GPtrArray) rows = NULL;
    g_autoptr(json_t) list = json_array();

    if (name == NULL)
        return FALSE;
    rows = cx_meta_list_images(cx_store_get_meta(self->host->store), name, error);
    if (rows == NULL)
        return FALSE;
    if (rows->len == 0)
        return cx_throw(error, CX_ERROR_NOT_FOUND, "no image \"%s\" [see: cruxd images]", name);

    for (guint i = 0; i < rows->len; i++) {
        const CxImageRow *row = g_ptr_array_index(rows, i);
        g_autoptr(CxManifest) manifest = NULL;
        g_autofree char *text = NULL;
        json_t *config = NULL, *item;

        if (!read_image(self->host, row, &manifest, &config, error))
            return FALSE;
        item = describe_row(row, manifest);
        text = cx_manifest_to_json(manifest);
        json_object_set_new(item, "manifest", cx_json_parse(text, strlen(text), NULL));
        json_object_set_new(item, "config", config);
        json_array_append_new(list, item);
    }
    *out_result = json_object();
    json_object_set(*out_result, "images", list);
    return TRUE;
}

gboolean
cx_command_df(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    CxStoreUsage usage;

    if (!cx_store_usage(self->host->store, &usage, error))
        return FALSE;

    {
        const struct {
            const char *name;
            guint64 value;
        } numbers[] = {
            {"images",        usage.meta.images      },
            {"records",       usage.meta.records     },
            {"cacheBytes",    usage.meta.record_bytes},
            {"cacheBudget",   usage.cache_budget     },
            {"blobs",         usage.blobs            },
            {"blobBytes",     usage.blob_bytes       },
            {"layers",        usage.layers           },
            {"layerBytes",    usage.layer_bytes      },
            {"snapshots",     usage.uppers           },
            {"snapshotBytes", usage.upper_bytes      },
            {"logBytes",      usage.log_bytes        },
        };

        *out_result = json_object();
        for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
            json_object_set_new(*out_result, numbers[i].name,
                                json_integer((json_int_t)numbers[i].value));
    }
    return TRUE;
}

gboolean
cx_command_gc(CxCommands *self, CxConnection *connection, json_t **out_result, GError **error)
{
    const json_t *payload = cx_connection_get_request(connection)->payload;
    gboolean all = FALSE, dry_run = FALSE;
    CxGcReport report;

    if (payload != NULL && (!cx_json_get_bool(payload, "all", &all, error) ||
                            !cx_json_get_bool(payload, "dryRun", &dry_run, error)))
        return FALSE;
    if (!cx_store_gc(self->host->store, (all ? CX_GC_ALL : 0) | (dry_run ? CX_GC_DRY_RUN : 0),
                     &report, cx_connection_get_cancellable(connection), error))
        return FALSE;

    *out_result = json_object();
    json_object_set_new(*out_result, "records", json_integer(report.records));
    json_object_set_new(*out_result, "objects", json_integer(report.objects));
    json_object_set_new(*out_result, "bytes", json_integer((json_int_t)report.bytes));
    return TRUE;
}
