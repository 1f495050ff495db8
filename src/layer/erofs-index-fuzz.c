/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "layer/erofs-index-private.h"

/* Reads an index of any bytes through every call, as deep as it goes. */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define VISITS_MAX 2000

static void visit(CxErofsIndex *index, const CxErofsNode *node, guint *budget);

static void
visit_folder(CxErofsIndex *index, const CxErofsNode *node, guint *budget)
{
    g_auto(GStrv) names = cx_erofs_index_list(index, node->nid, NULL);

    for (guint i = 0; names != NULL && names[i] != NULL; i++) {
        CxErofsNode child;

        if (cx_erofs_index_lookup(index, node->nid, names[i], &child, NULL))
            visit(index, &child, budget);
    }
}

static void
visit(CxErofsIndex *index, const CxErofsNode *node, guint *budget)
{
    g_autoptr(GPtrArray) xattrs = NULL;
    g_autofree char *target = NULL;
    CxExtent extent;

    if (*budget == 0)
        return;

    --*budget;
    xattrs = cx_erofs_index_xattrs(index, node->nid, NULL);
    target = cx_erofs_index_read_link(index, node->nid, NULL);
    (void)cx_erofs_index_map(index, node->nid, node->size / 2, &extent, NULL);
    visit_folder(index, node, budget);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    cx_autofd int fd = memfd_create("index", MFD_CLOEXEC);
    g_autoptr(CxErofsIndex) index = NULL;
    guint budget = VISITS_MAX;
    CxErofsNode root;

    if (fd < 0 || !cx_write_all(fd, data, size, NULL))
        return 0;

    index = cx_erofs_index_open_unchecked(fd, NULL);
    if (index != NULL && cx_erofs_index_stat(index, cx_erofs_index_get_root(index), &root, NULL))
        visit(index, &root, &budget);
    return 0;
}
