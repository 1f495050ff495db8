/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/entry.h"

#include <string.h>

const CxLayerLimits cx_layer_limits_default = {
    .entries_max = 2000000,
    .bytes_max = G_GUINT64_CONSTANT(128) << 30,
    .path_max = 4096,
    .depth_max = 255,
    .pax_max = 1 << 20,
    .xattrs_max = 128 << 10,
};

void
cx_entry_clear(CxEntry *self)
{
    g_free(self->path);
    g_free(self->link);
    g_clear_pointer(&self->xattrs, g_ptr_array_unref);
    g_clear_pointer(&self->extents, g_array_unref);
    memset(self, 0, sizeof *self);
}

CxXattr *
cx_xattr_new(const char *name, const void *value, gsize size)
{
    CxXattr *self = g_new(CxXattr, 1);

    self->name = g_strdup(name);
    self->value = g_bytes_new(value, size);
    return self;
}

void
cx_xattr_free(CxXattr *self)
{
    if (self == NULL)
        return;

    g_free(self->name);
    g_bytes_unref(self->value);
    g_free(self);
}
