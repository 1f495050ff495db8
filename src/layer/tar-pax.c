/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-pax.h"

#include <string.h>

#include "base/error.h"

#define NSEC_DIGITS 9
#define ID_MAX (G_MAXUINT32 - 1) /* the last one means "leave it" to chown */

#define SCHILY_XATTR "SCHILY.xattr."
#define LIBARCHIVE_XATTR "LIBARCHIVE.xattr."
#define XATTR_NAME_MAX 255 /* linux/limits.h */

/* A piece of the header's text. */
typedef struct {
    const char *data;
    gsize size;
} Text;

void
cx_pax_init(CxPax *self)
{
    *self = (CxPax){
        .path = g_string_new(NULL),
        .sparse_name = g_string_new(NULL),
        .link = g_string_new(NULL),
        .extents = g_array_new(FALSE, FALSE, sizeof(CxExtent)),
        .xattrs = g_ptr_array_new_with_free_func((GDestroyNotify)cx_xattr_free),
    };
}

void
cx_pax_reset(CxPax *self)
{
    self->fields = 0;
    self->sparse_major = self->sparse_minor = 0;
    self->sparse_half = FALSE;
    self->xattr_bytes = 0;
    g_array_set_size(self->extents, 0);
    g_ptr_array_set_size(self->xattrs, 0);
}

void
cx_pax_clear(CxPax *self)
{
    g_string_free(self->path, TRUE);
    g_string_free(self->sparse_name, TRUE);
    g_string_free(self->link, TRUE);
    g_array_unref(self->extents);
    g_ptr_array_unref(self->xattrs);
}

gboolean
cx_pax_parse_decimal(const char *text, gsize size, guint64 max, guint64 *out_number)
{
    guint64 number = 0;

    if (size == 0)
        return FALSE;

    for (gsize i = 0; i < size; i++) {
        guint digit = (guint)(guchar)text[i] - '0';

        if (digit > MIN(9, max) || number > (max - digit) / 10)
            return FALSE;
        number = number * 10 + digit;
    }
    *out_number = number;
    return TRUE;
}

/* ---- the keys we know --------------------------------------------------------------------------
 *
 * A setter takes one value, which is not empty: an empty value takes the record back. */

typedef gboolean (*Setter)(CxPax *self, Text value, GError **error);

static gboolean
set_text(GString *field, Text value, GError **error)
{
    if (memchr(value.data, '\0', value.size) != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "path holds a zero byte");

    g_string_truncate(field, 0);
    g_string_append_len(field, value.data, (gssize)value.size);
    return TRUE;
}

static gboolean
set_path(CxPax *self, Text value, GError **error)
{
    return set_text(self->path, value, error);
}

static gboolean
set_link(CxPax *self, Text value, GError **error)
{
    return set_text(self->link, value, error);
}

static gboolean
set_sparse_name(CxPax *self, Text value, GError **error)
{
    return set_text(self->sparse_name, value, error);
}

static gboolean
set_number(guint64 *field, Text value, guint64 max, GError **error)
{
    if (!cx_pax_parse_decimal(value.data, value.size, max, field))
        return cx_throw(error, CX_ERROR_INVALID, "not a number from 0 to %" G_GUINT64_FORMAT, max);

    return TRUE;
}

static gboolean
set_size(CxPax *self, Text value, GError **error)
{
    return set_number(&self->size, value, G_MAXINT64, error);
}

static gboolean
set_sparse_size(CxPax *self, Text value, GError **error)
{
    return set_number(&self->sparse_size, value, G_MAXINT64, error);
}

static gboolean
set_id(guint32 *field, Text value, GError **error)
{
    guint64 number = 0;

    if (!set_number(&number, value, ID_MAX, error))
        return FALSE;

    *field = (guint32)number;
    return TRUE;
}

static gboolean
set_uid(CxPax *self, Text value, GError **error)
{
    return set_id(&self->uid, value, error);
}

static gboolean
set_gid(CxPax *self, Text value, GError **error)
{
    return set_id(&self->gid, value, error);
}

/* The digits after the point, to nanoseconds; finer ones are dropped. */
static gboolean
parse_fraction(Text digits, guint32 *out_nsec)
{
    guint32 nsec = 0;

    for (gsize i = 0; i < MAX(digits.size, NSEC_DIGITS); i++) {
        char digit = i < digits.size ? digits.data[i] : '0';

        if (!g_ascii_isdigit(digit))
            return FALSE;
        if (i < NSEC_DIGITS)
            nsec = nsec * 10 + (guint32)(digit - '0');
    }
    *out_nsec = nsec;
    return TRUE;
}

/* "[-]SECONDS[.FRACTION]"; -1.25 is 0.75 s after -2. */
static gboolean
set_mtime(CxPax *self, Text value, GError **error)
{
    gboolean negative = value.data[0] == '-';
    const char *start = value.data + negative, *end = value.data + value.size;
    const char *point = memchr(start, '.', (gsize)(end - start));
    Text fraction = {point == NULL ? end : point + 1, point == NULL ? 0 : (gsize)(end - point - 1)};
    guint64 seconds;
    guint32 nsec;

    if (!cx_pax_parse_decimal(start, (gsize)((point == NULL ? end : point) - start), G_MAXINT64 - 1,
                              &seconds) ||
        !parse_fraction(fraction, &nsec))
        return cx_throw(error, CX_ERROR_INVALID, "not a time");

    self->mtime = negative ? -(gint64)seconds : (gint64)seconds;
    self->mtime_nsec = nsec;
    if (negative && nsec > 0) {
        self->mtime--;
        self->mtime_nsec = 1000000000 - nsec;
    }
    return TRUE;
}

/* ---- sparse files (GNU tar manual, "Storing Sparse Files") ----------------------------------- */

/* Formats 0.x say nothing or 0; 1.0 is the one with the map in front of the data. */
static gboolean
set_sparse_version(gint64 *field, Text value, GError **error)
{
    if (value.size != 1 || (value.data[0] != '0' && value.data[0] != '1'))
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "unknown sparse format");

    *field = value.data[0] - '0';
    return TRUE;
}

static gboolean
set_sparse_major(CxPax *self, Text value, GError **error)
{
    return set_sparse_version(&self->sparse_major, value, error);
}

static gboolean
set_sparse_minor(CxPax *self, Text value, GError **error)
{
    return set_sparse_version(&self->sparse_minor, value, error);
}

/* Format 0.0: pairs of records, in order. */
static gboolean
set_sparse_offset(CxPax *self, Text value, GError **error)
{
    CxExtent extent = {0};

    if (self->sparse_half)
        return cx_throw(error, CX_ERROR_INVALID, "two offsets in a row");
    if (!set_number(&extent.offset, value, G_MAXINT64, error))
        return FALSE;

    g_array_append_val(self->extents, extent);
    self->sparse_half = TRUE;
    return TRUE;
}

static gboolean
set_sparse_numbytes(CxPax *self, Text value, GError **error)
{
    if (!self->sparse_half)
        return cx_throw(error, CX_ERROR_INVALID, "no offset before it");
    if (!set_number(&g_array_index(self->extents, CxExtent, self->extents->len - 1).size, value,
                    G_MAXINT64, error))
        return FALSE;

    self->sparse_half = FALSE;
    return TRUE;
}

/* Format 0.1: "offset,size,offset,size". */
static gboolean
set_sparse_map(CxPax *self, Text value, GError **error)
{
    const char *next = value.data, *end = value.data + value.size;
    guint64 pair[2];

    g_array_set_size(self->extents, 0);
    while (next < end) {
        for (int i = 0; i < 2; i++) {
            const char *comma = next < end ? memchr(next, ',', (gsize)(end - next)) : NULL;
            const char *stop = comma == NULL ? end : comma;

            if (next > end ||
                !cx_pax_parse_decimal(next, (gsize)(stop - next), G_MAXINT64, &pair[i]))
                return cx_throw(error, CX_ERROR_INVALID, "not pairs of numbers");
            next = stop + 1;
        }
        g_array_append_val(self->extents, ((CxExtent){.offset = pair[0], .size = pair[1]}));
    }
    return TRUE;
}

/* ---- extended attributes --------------------------------------------------------------------- */

/* What one costs against the limit: its bytes, and something for keeping it at all. */
#define XATTR_OVERHEAD 32

static gsize
xattr_cost(const CxXattr *xattr)
{
    return XATTR_OVERHEAD + strlen(xattr->name) + g_bytes_get_size(xattr->value);
}

/* Where name is among the sorted attributes, or belongs. */
static guint
find_xattr(CxPax *self, const char *name, gboolean *out_found)
{
    guint low = 0, high = self->xattrs->len;

    *out_found = FALSE;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        int order = strcmp(((CxXattr *)g_ptr_array_index(self->xattrs, middle))->name, name);

        if (order == 0)
            *out_found = TRUE;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts xattr into its place by name, over one of the same name. */
static gboolean
put_xattr(CxPax *self, CxXattr *take_xattr, const CxLayerLimits *limits, GError **error)
{
    gboolean found;
    guint i = find_xattr(self, take_xattr->name, &found);

    if (found) {
        self->xattr_bytes -= xattr_cost(g_ptr_array_index(self->xattrs, i));
        g_ptr_array_remove_index(self->xattrs, i);
    }
    self->xattr_bytes += xattr_cost(take_xattr);
    g_ptr_array_insert(self->xattrs, (gint)i, take_xattr);

    if (self->xattr_bytes > limits->xattrs_max)
        return cx_throw(error, CX_ERROR_LIMIT, "more than %u bytes of extended attributes",
                        limits->xattrs_max);

    return TRUE;
}

/* "%41" stands for "A". */
static gboolean
decode_percent(GString *name)
{
    gsize kept = 0;

    for (gsize i = 0; i < name->len; i++) {
        char c = name->str[i];

        if (c == '%') {
            if (i + 2 >= name->len || !g_ascii_isxdigit(name->str[i + 1]) ||
                !g_ascii_isxdigit(name->str[i + 2]))
                return FALSE;
            c = (char)(g_ascii_xdigit_value(name->str[i + 1]) << 4 |
                       g_ascii_xdigit_value(name->str[i + 2]));
            i += 2;
        }
        name->str[kept++] = c;
    }
    g_string_truncate(name, kept);
    return TRUE;
}

static gboolean
set_xattr(CxPax *self,
          Text name,
          Text value,
          gboolean encoded,
          const CxLayerLimits *limits,
          GError **error)
{
    g_autoptr(GString) plain = g_string_new_len(name.data, (gssize)name.size);
    g_autofree guchar *bytes = g_malloc(value.size + 3);
    gsize n_bytes = value.size;
    gint state = 0;
    guint save = 0;

    if (encoded) {
        if (!decode_percent(plain))
            return cx_throw(error, CX_ERROR_INVALID, "bad escape in an attribute's name");
        n_bytes = g_base64_decode_step(value.data, value.size, bytes, &state, &save);
        if (state >= 2) /* libarchive leaves the padding out */
            n_bytes +=
                g_base64_decode_step("==", (gsize)(4 - state), bytes + n_bytes, &state, &save);
    } else {
        memcpy(bytes, value.data, value.size);
    }
    if (plain->len == 0 || plain->len > XATTR_NAME_MAX || strlen(plain->str) != plain->len)
        return cx_throw(error, CX_ERROR_INVALID,
                        "an attribute's name is empty, too long or holds a zero byte");

    return put_xattr(self, cx_xattr_new(plain->str, bytes, n_bytes), limits, error);
}

/* ---- records --------------------------------------------------------------------------------- */

static const struct {
    const char *key;
    Setter set; /* NULL: we would misread the entry */
    CxPaxFields field;
} known[] = {
    {"path",                set_path,            CX_PAX_PATH       },
    {"linkpath",            set_link,            CX_PAX_LINK       },
    {"size",                set_size,            CX_PAX_SIZE       },
    {"uid",                 set_uid,             CX_PAX_UID        },
    {"gid",                 set_gid,             CX_PAX_GID        },
    {"mtime",               set_mtime,           CX_PAX_MTIME      },
    {"GNU.sparse.name",     set_sparse_name,     CX_PAX_SPARSE_NAME},
    {"GNU.sparse.size",     set_sparse_size,     CX_PAX_SPARSE_SIZE},
    {"GNU.sparse.realsize", set_sparse_size,     CX_PAX_SPARSE_SIZE},
    {"GNU.sparse.major",    set_sparse_major,    0                 },
    {"GNU.sparse.minor",    set_sparse_minor,    0                 },
    {"GNU.sparse.offset",   set_sparse_offset,   CX_PAX_SPARSE_MAP },
    {"GNU.sparse.numbytes", set_sparse_numbytes, CX_PAX_SPARSE_MAP },
    {"GNU.sparse.map",      set_sparse_map,      CX_PAX_SPARSE_MAP },
    {"SCHILY.realsize",     NULL,                0                 },
    {"SUN.holesdata",       NULL,                0                 },
};

static gboolean
text_has_prefix(Text text, const char *prefix)
{
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

static Text
text_skip(Text text, gsize n)
{
    return (Text){text.data + n, text.size - n};
}

static gint
find_known(Text key)
{
    for (guint i = 0; i < G_N_ELEMENTS(known); i++)
        if (strlen(known[i].key) == key.size && memcmp(known[i].key, key.data, key.size) == 0)
            return (gint)i;

    return -1;
}

static gboolean
apply_known(CxPax *self, guint which, Text value, GError **error)
{
    if (known[which].set == NULL)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "holes stored by \"%s\"", known[which].key);
    if (value.size == 0) {
        self->fields &= ~(guint)known[which].field;
        return TRUE;
    }
    if (!known[which].set(self, value, error)) {
        g_prefix_error(error, "pax record \"%s\": ", known[which].key);
        return FALSE;
    }
    self->fields |= known[which].field;
    return TRUE;
}

static gboolean
apply_record(CxPax *self, Text key, Text value, const CxLayerLimits *limits, GError **error)
{
    gint which;

    if (text_has_prefix(key, SCHILY_XATTR))
        return set_xattr(self, text_skip(key, strlen(SCHILY_XATTR)), value, FALSE, limits, error);
    if (text_has_prefix(key, LIBARCHIVE_XATTR))
        return set_xattr(self, text_skip(key, strlen(LIBARCHIVE_XATTR)), value, TRUE, limits,
                         error);

    which = find_known(key);
    return which < 0 || apply_known(self, (guint)which, value, error);
}

/* Cuts the first record off rest.  Its length counts everything, its own digits and the newline
 * too. */
static gboolean
next_record(Text *rest, Text *out_key, Text *out_value, GError **error)
{
    const char *space = memchr(rest->data, ' ', MIN(rest->size, 20));
    const char *equals, *end;
    guint64 length;

    if (space == NULL ||
        !cx_pax_parse_decimal(rest->data, (gsize)(space - rest->data), rest->size, &length) ||
        length < (guint64)(space - rest->data) + sizeof "a=")
        return cx_throw(error, CX_ERROR_INVALID, "pax record with a wrong length");

    end = rest->data + length - 1;
    equals = memchr(space + 1, '=', (gsize)(end - space - 1));
    if (*end != '\n' || equals == NULL || equals == space + 1 ||
        memchr(space + 1, '\0', (gsize)(equals - space - 1)) != NULL)
        return cx_throw(error, CX_ERROR_INVALID, "pax record is not \"length key=value\"");

    *out_key = (Text){space + 1, (gsize)(equals - space - 1)};
    *out_value = (Text){equals + 1, (gsize)(end - equals - 1)};
    *rest = text_skip(*rest, length);
    return TRUE;
}

gboolean
cx_pax_parse(
    CxPax *self, const char *records, gsize size, const CxLayerLimits *limits, GError **error)
{
    Text rest = {records, size}, key = {"", 0}, value = key;

    while (rest.size > 0) {
        if (!next_record(&rest, &key, &value, error) ||
            !apply_record(self, key, value, limits, error))
            return FALSE;
    }
    if (self->sparse_half)
        return cx_throw(error, CX_ERROR_INVALID,
                        "pax record \"GNU.sparse.offset\" without its numbytes");
    if (self->sparse_major == 1 && self->sparse_minor != 0)
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "unknown sparse format");
    if (self->sparse_major == 1)
        self->fields |= CX_PAX_SPARSE_1_0;

    return TRUE;
}

gboolean
cx_pax_check_global(const char *records, gsize size, GError **error)
{
    Text rest = {records, size}, key = {"", 0}, value = key;

    while (rest.size > 0) {
        if (!next_record(&rest, &key, &value, error))
            return FALSE;
        if ((find_known(key) >= 0 && !text_has_prefix(key, "mtime")) ||
            text_has_prefix(key, SCHILY_XATTR) || text_has_prefix(key, LIBARCHIVE_XATTR))
            return cx_throw(
                error, CX_ERROR_UNSUPPORTED,
                "global pax record \"%.*s\" changes every entry, which not every reader does",
                (int)key.size, key.data);
    }
    return TRUE;
}
