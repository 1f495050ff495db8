/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest file: YAML -> recipe, checked; what is refused is refused in one line with its place.
 */
#include <stdint.h>
#include <string.h>

#include "recipe/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text =
        g_strndup((const char *)data, size); /* its end is an end for address sanitizers as well */
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifestFile) manifest =
        cx_manifest_file_parse("f", text, strnlen(text, size), &error);

    g_assert_true((manifest == NULL) == (error != NULL));
    if (manifest == NULL) {
        g_assert_true(g_str_has_prefix(error->message, "f:"));
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_assert_null(strpbrk(error->message, "\n\r\x1b"));
        return 0;
    }

    g_assert_true(cx_recipe_check(manifest->recipe, NULL, &error));
    g_assert_no_error(error);
    return 0;
}
