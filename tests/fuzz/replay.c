/* SPDX-License-Identifier: Apache-2.0 */
/* Replays a corpus folder through a fuzz target, for builds without a fuzzing engine. */
#include <glib.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = NULL;
    const char *name;
    guint n = 0;

    g_assert(argc == 2);
    dir = g_dir_open(argv[1], 0, &error);
    g_assert_no_error(error);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(argv[1], name, NULL), *data = NULL;
        gsize size;

        g_assert(g_file_get_contents(path, &data, &size, &error));
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        n++;
    }
    g_print("%u inputs replayed\n", n);
    return n > 0 ? 0 : 1;
}
