/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an image file: table of contents, index.json or manifest.json, and the documents
 * they lead to. */
#include <stdint.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fd.h"
#include "image/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A manifest that is given out fits its config. */
static void
check_selection(CxImageFile *file, const char *platform)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CxManifest) manifest = NULL;
    g_autoptr(CxImageConfig) config = NULL;
    CxPlatform want;

    g_assert(cx_platform_parse(platform, &want, NULL));
    if (!cx_image_file_select(file, &want, &manifest, &config, &error)) {
        g_assert(error != NULL && error->domain == CX_ERROR);
        g_assert(manifest == NULL && config == NULL);
        return;
    }
    g_assert_no_error(error);
    g_assert(cx_manifest_check(manifest, config, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cx_autofd int fd = memfd_create("fuzz", MFD_CLOEXEC);
    g_autoptr(GError) error = NULL;
    g_autoptr(CxImageFile) file = NULL;

    g_assert(cx_write_all(fd, data, size, NULL));
    file = cx_image_file_open(cx_steal_fd(&fd), "fuzz", NULL, &error);
    g_assert((file == NULL) == (error != NULL));
    if (file == NULL)
        return 0;

    check_selection(file, "linux/amd64");
    check_selection(file, "linux/arm64");
    return 0;
}
