/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "oci/document.h"

void
cx_manifest_free(CxManifest *self)
{
    if (self == NULL)
        return;

    cx_descriptor_free(self->config);
    g_clear_pointer(&self->layers, g_ptr_array_unref);
    json_decref(self->annotations);
    g_free(self);
}

CxManifest *
cx_manifest_new(CxDescriptor *take_config)
{
    CxManifest *self = g_new0(CxManifest, 1);

    self->config = take_config;
    self->layers = g_ptr_array_new_with_free_func((GDestroyNotify)cx_descriptor_free);
    return self;
}

CxManifest *
cx_manifest_parse(const char *text, gsize size, GError **error)
{
    CX_ERROR_CONTEXT(error, "manifest");
    g_autoptr(json_t) document = cx_document_parse(text, size, error);
    g_autoptr(CxManifest) self = g_new0(CxManifest, 1);
    json_t *config = NULL;
    const json_t *list;

    if (document == NULL || !cx_document_check_kind(document, CX_MEDIA_MANIFEST, error) ||
        !cx_document_get_object(document, "config", &config, error) ||
        !cx_document_get_list(document, "layers", CX_LAYERS_MAX, &list, error))
        return NULL;
    if (config == NULL)
        return cx_throw_null(error, CX_ERROR_INVALID, "member \"config\" is missing");

    self->config = cx_descriptor_from_json(config, error);
    if (self->config == NULL) {
        g_prefix_error(error, "config: ");
        return NULL;
    }
    self->layers = cx_descriptors_from_json(list, "layers", error);
    if (self->layers == NULL || !cx_document_dup_annotations(document, &self->annotations, error))
        return NULL;

    return g_steal_pointer(&self);
}

gboolean
cx_manifest_check(const CxManifest *self, const CxImageConfig *config, GError **error)
{
    CX_ERROR_CONTEXT(error, "manifest");

    if (cx_media_kind(self->config->media_type) != CX_MEDIA_CONFIG)
        return cx_throw(error, CX_ERROR_UNSUPPORTED,
                        "not a container image: its config is a \"%s\"", self->config->media_type);
    for (guint i = 0; i < self->layers->len; i++) {
        const CxDescriptor *layer = g_ptr_array_index(self->layers, i);

        if (!cx_media_kind_is_layer(cx_media_kind(layer->media_type)))
            return cx_throw(error, CX_ERROR_UNSUPPORTED,
                            "layer %u of %u has the unknown media type \"%s\"", i + 1,
                            self->layers->len, layer->media_type);
    }
    if (self->layers->len != config->diff_ids->len)
        return cx_throw(error, CX_ERROR_INVALID, "%u layers, but the config has %u diff ids",
                        self->layers->len, config->diff_ids->len);

    return TRUE;
}

/* Only one family of media types may stand in a document, so Docker's names become those of OCI. */
static json_t *
descriptor_to_oci(const CxDescriptor *descriptor)
{
    json_t *json = cx_descriptor_to_json(descriptor);

    json_object_set_new(json, "mediaType",
                        json_string(cx_media_type_to_oci(descriptor->media_type)));
    return json;
}

char *
cx_manifest_to_json(const CxManifest *self)
{
    json_t *layers = json_array();
    g_autoptr(json_t) document = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType",
                                           CX_MEDIA_TYPE_OCI_MANIFEST, "config",
                                           descriptor_to_oci(self->config), "layers", layers);

    for (guint i = 0; i < self->layers->len; i++)
        json_array_append_new(layers, descriptor_to_oci(g_ptr_array_index(self->layers, i)));
    if (json_object_size(self->annotations) > 0)
        json_object_set(document, "annotations", self->annotations);
    return cx_json_canonical(document);
}
