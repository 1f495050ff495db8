/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "layer/tar-reader.h"
#include "layer/tar-writer.h"
#include "layer/test-layer.h"
#include "layer/test-tar.h"

/* The digest of golden_entries as an archive.  Layer digests all over the world depend on these
 * bytes: if this test fails, the writer is wrong, not the test. */
#define GOLDEN_DIGEST "sha256:f7138611d731492b4e5d7a8f12b2d3327dd686a6e912cb7b8b8d11e5ff2479b4"

/* ---- tools --------------------------------------------------------------------------------------- */

#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X100 X50 X50

#define F CX_ENTRY_FILE
#define D CX_ENTRY_FOLDER
#define L CX_ENTRY_SYMLINK
#define H CX_ENTRY_HARDLINK

typedef struct {
    CxEntryType type;
    const char *path;
    const char *text; /* a file's content, a link's target */
    mode_t mode;
    guint32 uid, gid;
    gint64 mtime;
    guint32 mtime_nsec;
    guint32 major, minor;
    gboolean xattrs; /* has golden_xattrs */
} Sample;

static const Sample golden_entries[] = {
    {D,           "",                            NULL,                            0755},
    {  D,      "bin",                          NULL,                           01777,0, 0, 1600000000},
    { F,           "bin/sh",                                        "#!",                                                     04755,1000, 100, 1},
    {F,        "empty",                                    "",                                                                   0644},
    {                                                                                                     H,       "bin/ash",                                    "bin/sh", 04755},
    {L,           "etc",                                        "../../etc/",                                                        0777,0, 0, -1},
    {                                                                                                                                                                    CX_ENTRY_CHAR,          "null",                                     NULL,                                                                    0666,0, 0, 0, 0, 1, 3},
    {CX_ENTRY_BLOCK,       "disk",                                   NULL,0,0, 0, 0, 0, 259, 1048575},
    {CX_ENTRY_FIFO,          "pipe",                                       NULL,                                                         0600},
    {                                                                                                                                  F,          X100,                                      "100",                                                                    0644                                      },
    {                                     F,           X100 "x",                            "101 without a slash",                                            0644},
    {F,           "a/" X100,                           "prefix",                0644},
    {F,X100 X50 X10 "/name","prefix of 160",0644},
    {                                            F,   X100 X50 "/xxx/" X50,  "cut at the last slash that fits",                  0644                                                                         },
    {                                                                                                                                                                                                                                                                                                                                                                                    D,       X50 "/" X50 X10,                                    NULL,                                                                                                              0755                                            },
    {L,           "link-100",                                        X100,                                                  0777},
    {L,           "link-101",                    X100 "x",        0777},
    {                                                   H,"hard-101",X100 "x",             0644                                                          },
    {         F,   "\303\274n\303\257code",                                    "UTF-8",                                                       0644},
    {F,       "latin\374",                                    "no UTF-8",             0644},
    {                                                                               L,           "to-\374",                                        "\374",                                                    0777},
    {F,           "numbers",                     "1",                             0644,2097151, 2097152, 8589934591},
    {                                                                                                                                                                                                               F, "large",                              "2",                                                             0644,4294967294, 4294967294, 8589934592},
    {F, "fraction",                    "3",                                         0644,0, 0, 5, 120000000},
    {                                                                                                                                                                                                                                                                    F,        "before",              "4",    0644,0, 0, -2, 250000000},
    {F,           "just-before",                                        "5",                                                        0644,0, 0, -1, 1},
    {F,          "xattrs",                                     "6",                                                           0644,.xattrs = TRUE},
};

static const struct {
    const char *name, *value;
} golden_xattrs[] = {
    {"security.capability", "\1\2=\n"},
    {"user.empty",          ""       },
    {"user.note",           "a"      },
};

static void
to_entry(const Sample *sample, CxEntry *out)
{
    gboolean is_link = sample->type == L || sample->type == H;

    *out = (CxEntry){
        .type = sample->type,
        .path = g_strdup(sample->path),
        .link = is_link ? g_strdup(sample->text) : NULL,
        .mode = sample->mode,
        .uid = sample->uid,
        .gid = sample->gid,
        .mtime = sample->mtime,
        .mtime_nsec = sample->mtime_nsec,
        .size = sample->type == F ? strlen(sample->text) : 0,
        .major = sample->major,
        .minor = sample->minor,
    };
    if (!sample->xattrs)
        return;

    out->xattrs = g_ptr_array_new_with_free_func((GDestroyNotify)cx_xattr_free);
    for (gsize i = 0; i < G_N_ELEMENTS(golden_xattrs); i++)
        g_ptr_array_add(out->xattrs, cx_xattr_new(golden_xattrs[i].name, golden_xattrs[i].value,
                                                  strlen(golden_xattrs[i].value)));
}

static void
write_golden(int fd, guint64 *out_size)
{
    CxFdSink sink = cx_fd_sink(fd);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    GError *error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(golden_entries); i++) {
        g_auto(CxEntry) entry = {0};

        to_entry(&golden_entries[i], &entry);
        cx_tar_writer_add_bytes(writer, &entry, golden_entries[i].text, &error);
        g_assert_no_error(error);
    }
    g_assert_cmpuint(cx_tar_writer_get_count(writer), ==, G_N_ELEMENTS(golden_entries));
    cx_tar_writer_finish(writer, &error);
    g_assert_no_error(error);
    *out_size = sink.written;
}

/* ---- the promise --------------------------------------------------------------------------------- */

static void
test_golden(void)
{
    cx_autofd int fd = memfd_create("golden", MFD_CLOEXEC);
    g_autofree char *bytes = NULL;
    CxDigest digest;
    guint64 size;

    write_golden(fd, &size);
    bytes = g_malloc(size);
    g_assert_cmpint(cx_pread_full(fd, bytes, size, 0, NULL), ==, (gssize)size);
    digest = cx_digest_of(bytes, size);
    g_assert_cmpstr(cx_digest_text(&digest).text, ==, GOLDEN_DIGEST);
}

/* ---- read again ---------------------------------------------------------------------------------- */

static void
assert_same_xattrs(GPtrArray *a, GPtrArray *b)
{
    g_assert_cmpuint(a == NULL ? 0 : a->len, ==, b == NULL ? 0 : b->len);
    for (guint i = 0; a != NULL && i < a->len; i++) {
        const CxXattr *x = g_ptr_array_index(a, i), *y = g_ptr_array_index(b, i);

        g_assert_cmpstr(x->name, ==, y->name);
        g_assert_true(g_bytes_equal(x->value, y->value));
    }
}

static void
assert_same(const CxEntry *read, const CxEntry *written)
{
    g_assert_cmpint(read->type, ==, written->type);
    g_assert_cmpstr(read->path, ==, written->path);
    g_assert_cmpstr(read->link, ==, written->link);
    g_assert_cmpuint(read->mode, ==, written->mode);
    g_assert_cmpuint(read->uid, ==, written->uid);
    g_assert_cmpuint(read->gid, ==, written->gid);
    g_assert_cmpuint(read->size, ==, written->size);
    g_assert_cmpint(read->mtime, ==, written->mtime);
    g_assert_cmpuint(read->mtime_nsec, ==, written->mtime_nsec);
    g_assert_cmpuint(read->major, ==, written->major);
    g_assert_cmpuint(read->minor, ==, written->minor);
    assert_same_xattrs(read->xattrs, written->xattrs);
}

static void
test_our_reader(void)
{
    cx_autofd int fd = memfd_create("golden", MFD_CLOEXEC);
    g_autoptr(CxTarReader) reader = NULL;
    GError *error = NULL;
    guint64 size;

    write_golden(fd, &size);
    reader = cx_tar_reader_new(fd, 0, size, &cx_layer_limits_default);
    for (gsize i = 0; i < G_N_ELEMENTS(golden_entries); i++) {
        const CxEntry *read = cx_tar_reader_next(reader, &error);
        char content[64] = "";
        g_auto(CxEntry) written = {0};

        g_assert_no_error(error);
        to_entry(&golden_entries[i], &written);
        assert_same(read, &written);
        if (read->type == CX_ENTRY_FILE) {
            g_assert_cmpint(pread(fd, content, read->size, (off_t)read->data_offset), ==,
                            read->size);
            g_assert_cmpstr(content, ==, golden_entries[i].text);
        }
    }
    g_assert_null(cx_tar_reader_next(reader, &error));
    g_assert_no_error(error);
}

/* What another program reads: its output, or NULL after a skip if it is not installed. */
static char *
run_on_golden(const char *const *program)
{
    g_auto(CxTestFolder) folder = {0};
    cx_autofd int fd = -1;
    g_autofree char *path = NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    char *output;
    guint64 size;

    cx_test_folder_init(&folder);
    path = g_build_filename(folder.path, "golden.tar", NULL);
    fd = cx_test_create(&folder, "golden.tar");
    write_golden(fd, &size);
    for (; *program != NULL; program++)
        g_ptr_array_add(argv, (gpointer)*program);
    g_ptr_array_add(argv, path);
    g_ptr_array_add(argv, NULL);

    output = cx_process_read((const char *const *)argv->pdata, 1 << 20, 60000, NULL, &error);
    if (cx_error_is(error, CX_ERROR_NOT_FOUND))
        g_test_skip(error->message);
    else
        g_assert_no_error(error);
    return output;
}

/* The path with the slash that the archive has behind a folder. */
static char *
archived_path(const Sample *sample)
{
    return g_strconcat(sample->path[0] == '\0' ? "." : sample->path, sample->type == D ? "/" : "",
                       NULL);
}

static void
test_gnu_tar(void)
{
    const char *const program[] = {"tar", "--quoting-style=literal", "--warning=no-unknown-keyword",
                                   "-tPf", NULL};
    g_autofree char *output = run_on_golden(program);
    g_autoptr(GString) expected = g_string_new(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(golden_entries); i++) {
        g_autofree char *path = archived_path(&golden_entries[i]);

        g_string_append_printf(expected, "%s\n", path);
    }
    if (output != NULL)
        g_assert_cmpstr(output, ==, expected->str);
}

static const char python_lister[] =
    "import sys, tarfile\n"
    "for m in tarfile.open(sys.argv[1], 'r:'):\n"
    "    xattrs = [k + '=' + v for k, v in m.pax_headers.items() if k.startswith('SCHILY')]\n"
    "    line = '%s %o %d:%d %d %.9f %d:%d %s > %s %s\\n' % (m.type.decode(), m.mode, m.uid, "
    "m.gid,\n"
    "        m.size, m.mtime, m.devmajor, m.devminor, m.name, m.linkname, ' '.join(xattrs))\n"
    "    sys.stdout.buffer.write(line.encode('utf-8', 'surrogateescape'))\n";

static void
describe_for_python(GString *out, const Sample *sample)
{
    static const char flags[] = "0521346"; /* in the order of CxEntryType */
    g_auto(CxEntry) entry = {0};

    to_entry(sample, &entry);
    g_string_append_printf(out, "%c %o %u:%u %" G_GUINT64_FORMAT " %.9f %u:%u %s > %s ",
                           flags[entry.type], entry.mode, entry.uid, entry.gid, entry.size,
                           (double)entry.mtime + entry.mtime_nsec / 1e9, entry.major, entry.minor,
                           entry.path[0] == '\0' ? "." : entry.path,
                           entry.link == NULL ? "" : entry.link);
    for (gsize i = 0; sample->xattrs && i < G_N_ELEMENTS(golden_xattrs); i++)
        g_string_append_printf(out, "%sSCHILY.xattr.%s=%s", i > 0 ? " " : "", golden_xattrs[i].name,
                               golden_xattrs[i].value);
    g_string_append_c(out, '\n');
}

static void
test_python(void)
{
    const char *const program[] = {"python3", "-c", python_lister, NULL};
    g_autofree char *output = run_on_golden(program);
    g_autoptr(GString) expected = g_string_new(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(golden_entries); i++)
        describe_for_python(expected, &golden_entries[i]);
    if (output != NULL)
        g_assert_cmpstr(output, ==, expected->str);
}

/* ---- content ------------------------------------------------------------------------------------- */

/* A file beyond what octal digits say, all of it a hole. */
static void
test_large_file(void)
{
    const guint64 sizes[] = {G_GUINT64_CONSTANT(077777777777), G_GUINT64_CONSTANT(0100000000000)};

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        cx_autofd int fd = memfd_create("large", MFD_CLOEXEC);
        CxFdSink sink = cx_fd_sink(fd);
        g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
        g_autoptr(CxTarReader) reader = NULL;
        CxEntry entry = {.type = CX_ENTRY_FILE, .path = (char *)"large", .size = sizes[i]};
        guint64 total;

        g_assert_true(cx_tar_writer_begin(writer, &entry, NULL));
        g_assert_cmpuint(sink.written, ==, i == 0 ? 512 : 3 * 512);
        total = sink.written + sizes[i];
        g_assert_cmpint(ftruncate(fd, (off_t)total), ==, 0);
        reader = cx_tar_reader_new(fd, 0, total, &cx_layer_limits_default);
        assert_same(cx_tar_reader_next(reader, NULL), &entry);
    }
}

/* In whatever pieces the content comes, the archive is the same. */
static void
test_pieces(void)
{
    CxEntry entry = {.type = CX_ENTRY_FILE, .path = (char *)"file", .size = 1000};
    g_autofree char *content = g_strnfill(1000, 'x');
    cx_autofd int in = memfd_create("in", MFD_CLOEXEC);
    char archives[2][4096] = {{0}};

    g_assert_true(cx_write_all(in, content, 1000, NULL));
    for (int i = 0; i < 2; i++) {
        cx_autofd int out = memfd_create("out", MFD_CLOEXEC);
        CxFdSink sink = cx_fd_sink(out);
        g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);

        g_assert_true(cx_tar_writer_begin(writer, &entry, NULL));
        g_assert_true(cx_tar_writer_write(writer, content, i == 0 ? 1000 : 1, NULL));
        g_assert_true(i == 0 || cx_tar_writer_splice(writer, in, 1, 700, NULL));
        g_assert_true(i == 0 || cx_tar_writer_write(writer, content, 0, NULL));
        g_assert_true(i == 0 || cx_tar_writer_write(writer, content, 299, NULL));
        g_assert_true(cx_tar_writer_finish(writer, NULL));
        g_assert_cmpuint(sink.written, ==, 512 + 1024 + 1024);
        g_assert_cmpint(pread(out, archives[i], 4096, 0), ==, sink.written);
    }
    g_assert_cmpmem(archives[0], 4096, archives[1], 4096);
}

static void
test_wrong_content(void)
{
    cx_autofd int out = memfd_create("out", MFD_CLOEXEC);
    CxFdSink sink = cx_fd_sink(out);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    CxEntry entry = {.type = CX_ENTRY_FILE, .path = (char *)"file", .size = 4};
    g_autoptr(GError) error = NULL;

    g_assert_true(cx_tar_writer_begin(writer, &entry, &error));
    g_assert_false(cx_tar_writer_write(writer, "12345", 5, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
    g_clear_error(&error);

    g_assert_true(cx_tar_writer_write(writer, "123", 3, &error));
    g_assert_false(cx_tar_writer_begin(writer, &entry, &error));
    g_assert_cmpstr(error->message, ==, "\"file\": 1 bytes of its content are missing");
    g_clear_error(&error);
    g_assert_false(cx_tar_writer_finish(writer, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_INTERNAL);
}

/* A file that became shorter since its size was taken. */
static void
test_shrunk_file(void)
{
    cx_autofd int in = memfd_create("in", MFD_CLOEXEC);
    cx_autofd int out = memfd_create("out", MFD_CLOEXEC);
    CxFdSink sink = cx_fd_sink(out);
    g_autoptr(CxTarWriter) writer = cx_tar_writer_new(&sink.base);
    CxEntry entry = {.type = CX_ENTRY_FILE, .path = (char *)"file", .size = 4};
    g_autoptr(GError) error = NULL;

    g_assert_true(cx_write_all(in, "123", 3, NULL));
    g_assert_true(cx_tar_writer_begin(writer, &entry, NULL));
    g_assert_false(cx_tar_writer_splice(writer, in, 0, 4, &error));
    g_assert_error(error, CX_ERROR, CX_ERROR_MISMATCH);
}

/* ---- */

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/layer/tar-writer/golden", test_golden);
    g_test_add_func("/layer/tar-writer/our-reader", test_our_reader);
    g_test_add_func("/layer/tar-writer/gnu-tar", test_gnu_tar);
    g_test_add_func("/layer/tar-writer/python", test_python);
    g_test_add_func("/layer/tar-writer/large-file", test_large_file);
    g_test_add_func("/layer/tar-writer/pieces", test_pieces);
    g_test_add_func("/layer/tar-writer/wrong-content", test_wrong_content);
    g_test_add_func("/layer/tar-writer/shrunk-file", test_shrunk_file);
    return g_test_run();
}
