/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as index, manifest and config.  What is accepted must come back the same when it is
 * written and read again. */
#include <stdint.h>
#include <string.h>

#include "oci/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_manifest(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifest) manifest = cx_manifest_parse(text, size, &error), again = NULL;
    g_autofree char *first = NULL, *second = NULL;

    g_assert((manifest == NULL) == (error != NULL));
    if (manifest == NULL)
        return;

    first = cx_manifest_to_json(manifest);
    again = cx_manifest_parse(first, strlen(first), &error);
    g_assert_no_error(error);
    second = cx_manifest_to_json(again);
    g_assert_cmpstr(first, ==, second);
}

static void
check_config(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxImageConfig) config = cx_image_config_parse(text, size, &error), again = NULL;
    g_autofree char *first = NULL, *second = NULL;
    CxDigest digest = cx_digest_of(text, size);

    g_assert((config == NULL) == (error != NULL));
    if (config == NULL)
        return;

    cx_image_config_add_history(config, "1980-01-01T00:00:00Z", "fuzz", &digest);
    first = cx_image_config_to_json(config, NULL);
    again = cx_image_config_parse(first, strlen(first), &error);
    if (config->diff_ids->len > CX_LAYERS_MAX)
        return;
    g_assert_no_error(error);
    g_assert_cmpuint(again->diff_ids->len, ==, config->diff_ids->len);
    second = cx_image_config_to_json(again, NULL);
    g_assert_cmpstr(first, ==, second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxIndex) index = cx_index_parse((const char *)data, size, &error);

    g_assert((index == NULL) == (error != NULL));
    check_manifest((const char *)data, size);
    check_config((const char *)data, size);
    return 0;
}
