/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/error.h"

#define PREFIX "sha256:"

struct CxHasher {
    EVP_MD_CTX *context; /* (owned) */
};

/* Fetched once: a fetch for each use costs more than hashing a small file.  Never freed. */
static const EVP_MD *
sha256(void)
{
    static gsize fetched = 0;

    if (g_once_init_enter(&fetched)) {
        EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);

        g_assert(md != NULL);
        g_once_init_leave(&fetched, (gsize)md);
    }
    return (const EVP_MD *)fetched;
}

gboolean
cx_digest_parse_hex(const char *hex, CxDigest *out_digest)
{
    CxDigest digest;

    if (strnlen(hex, CX_DIGEST_HEX_SIZE + 1) != CX_DIGEST_HEX_SIZE)
        return FALSE;

    for (gsize i = 0; i < CX_DIGEST_SIZE; i++) {
        char high = hex[2 * i], low = hex[2 * i + 1];

        if (!g_ascii_isxdigit(high) || !g_ascii_isxdigit(low) || g_ascii_isupper(high) ||
            g_ascii_isupper(low))
            return FALSE;
        digest.bytes[i] = (guint8)(g_ascii_xdigit_value(high) << 4 | g_ascii_xdigit_value(low));
    }
    *out_digest = digest;
    return TRUE;
}

gboolean
cx_digest_parse(const char *text, CxDigest *out_digest, GError **error)
{
    if (g_str_has_prefix(text, "sha512:") || g_str_has_prefix(text, "blake3:"))
        return cx_throw(error, CX_ERROR_UNSUPPORTED, "digest \"%.80s\": only sha256 is supported",
                        text);
    if (!g_str_has_prefix(text, PREFIX) || !cx_digest_parse_hex(text + strlen(PREFIX), out_digest))
        return cx_throw(error, CX_ERROR_INVALID,
                        "digest \"%.80s\" is not sha256: and 64 lower-case hex digits", text);

    return TRUE;
}

CxDigestText
cx_digest_text(const CxDigest *digest)
{
    static const char digits[] = "0123456789abcdef";
    CxDigestText text = {PREFIX};
    char *next = text.text + strlen(PREFIX);

    for (gsize i = 0; i < CX_DIGEST_SIZE; i++) {
        *next++ = digits[digest->bytes[i] >> 4];
        *next++ = digits[digest->bytes[i] & 15];
    }
    *next = '\0';
    return text;
}

const char *
cx_digest_text_hex(const CxDigestText *text)
{
    return text->text + strlen(PREFIX);
}

gboolean
cx_digest_equal(const CxDigest *a, const CxDigest *b)
{
    return memcmp(a->bytes, b->bytes, CX_DIGEST_SIZE) == 0;
}

int
cx_digest_compare(const CxDigest *a, const CxDigest *b)
{
    return memcmp(a->bytes, b->bytes, CX_DIGEST_SIZE);
}

guint
cx_digest_hash(gconstpointer digest)
{
    guint hash;

    memcpy(&hash, ((const CxDigest *)digest)->bytes, sizeof hash);
    return hash;
}

gboolean
cx_digest_equal_keys(gconstpointer a, gconstpointer b)
{
    return cx_digest_equal(a, b);
}

CxDigest *
cx_digest_dup(const CxDigest *digest)
{
    return g_memdup2(digest, sizeof *digest);
}

CxHasher *
cx_hasher_new(void)
{
    CxHasher *self = g_new0(CxHasher, 1);

    self->context = EVP_MD_CTX_new();
    g_assert(self->context != NULL);
    g_assert(EVP_DigestInit_ex2(self->context, sha256(), NULL) == 1);
    return self;
}

void
cx_hasher_free(CxHasher *self)
{
    if (self == NULL)
        return;

    EVP_MD_CTX_free(self->context);
    g_free(self);
}

void
cx_hasher_update(CxHasher *self, const void *data, gsize size)
{
    g_assert(EVP_DigestUpdate(self->context, data, size) == 1);
}

CxDigest
cx_hasher_finish(CxHasher *self)
{
    CxDigest digest;

    g_assert(EVP_DigestFinal_ex(self->context, digest.bytes, NULL) == 1);
    g_assert(EVP_DigestInit_ex2(self->context, sha256(), NULL) == 1);
    return digest;
}

CxDigest
cx_digest_of(const void *data, gsize size)
{
    g_autoptr(CxHasher) hasher = cx_hasher_new();

    cx_hasher_update(hasher, data, size);
    return cx_hasher_finish(hasher);
}

CxDigest
cx_digest_of_bytes(GBytes *bytes)
{
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);

    return cx_digest_of(data, size);
}

void
cx_hasher_field_number(CxHasher *self, guint64 number)
{
    guint64 big_endian = GUINT64_TO_BE(number);

    cx_hasher_update(self, &big_endian, sizeof big_endian);
}

void
cx_hasher_field(CxHasher *self, const void *data, gsize size)
{
    cx_hasher_field_number(self, size);
    cx_hasher_update(self, data, size);
}

void
cx_hasher_field_string(CxHasher *self, const char *text)
{
    if (text == NULL)
        cx_hasher_field_number(self, G_MAXUINT64);
    else
        cx_hasher_field(self, text, strlen(text));
}

void
cx_hasher_field_digest(CxHasher *self, const CxDigest *digest)
{
    cx_hasher_field(self, digest->bytes, CX_DIGEST_SIZE);
}
