/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "layer/entry.h"
#include "layer/tar-format.h"

G_BEGIN_DECLS

/* Archives made by hand, block for block, such as no program writes them, and what they read as. */

/* A header of a plain entry, mode 0644, with its checksum missing: change it, then add it sealed.
 */
CxTarHeader cx_test_tar_header(char type, const char *name, guint64 size);
void cx_test_tar_add_sealed(GByteArray *tar, CxTarHeader header);

/* Bytes and zeros up to the end of the block. */
void cx_test_tar_add_bytes(GByteArray *tar, const void *data, gsize size);

void cx_test_tar_add_entry(GByteArray *tar, char type, const char *name, const char *content);
void cx_test_tar_add_file(GByteArray *tar, const char *name); /* an empty one */
void cx_test_tar_add_link(GByteArray *tar, char type, const char *name, const char *link);

/* An extended header with text as it is; a zero byte in it is written "\1". */
void cx_test_tar_add_extended(GByteArray *tar, char type, const char *text);

/* A pax header of records: key, value, key, value, …, NULL. */
void cx_test_tar_add_pax(GByteArray *tar, ...) G_GNUC_NULL_TERMINATED;
void cx_test_tar_append_record(GString *text, const char *key, const char *value);

/* The two zero blocks. */
void cx_test_tar_add_end(GByteArray *tar);

/* What an archive reads as, up to its end or the first fault: a line an entry, such as
 * "f 0644 0:0 12.000000000 path "content"".  (transfer full) */
char *cx_test_tar_describe(const guint8 *data,
                           gsize size,
                           const CxLayerLimits *limits,
                           GError **error);

G_END_DECLS
