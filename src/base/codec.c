#include "base/codec.h"

#include "base/ascii.h"
#include "base/err.h"

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int codec_base64_encode(struct buf *out, struct span in)
{
    size_t groups = in.len / 3 + (in.len % 3 != 0);
    uint8_t *to = groups <= SIZE_MAX / 4 ? buf_reserve(out, groups * 4) : NULL;

    if (!to)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < in.len; i += 3, to += 4) {
        size_t left = in.len - i;
        uint32_t v = (uint32_t)in.p[i] << 16;

        if (left > 1)
            v |= (uint32_t)in.p[i + 1] << 8;
        if (left > 2)
            v |= in.p[i + 2];
        to[0] = (uint8_t)BASE64[v >> 18];
        to[1] = (uint8_t)BASE64[v >> 12 & 63];
        to[2] = left > 1 ? (uint8_t)BASE64[v >> 6 & 63] : '=';
        to[3] = left > 2 ? (uint8_t)BASE64[v & 63] : '=';
    }
    buf_commit(out, groups * 4);
    return BRANT_OK;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* Decodes one group of four; `pad` of them are '='. */
static int base64_group(const uint8_t *in, size_t pad, uint8_t out[3])
{
    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++) {
        int digit = i >= 4 - pad ? 0 : base64_value(in[i]);

        if (digit < 0)
            return BRANT_ESYNTAX;
        v = v << 6 | (uint32_t)digit;
    }
    if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
        return BRANT_ESYNTAX;
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    return BRANT_OK;
}

int codec_base64_decode(struct buf *out, struct span in)
{
    size_t start = out->len;

    if (in.len % 4)
        return BRANT_ESYNTAX;
    for (size_t i = 0; i < in.len; i += 4) {
        size_t pad = 0;
        uint8_t bytes[3];
        int rc;

        if (i + 4 == in.len && in.p[i + 3] == '=')
            pad = in.p[i + 2] == '=' ? 2 : 1;
        rc = base64_group(in.p + i, pad, bytes);
        if (!rc)
            rc = buf_append(out, span_make(bytes, 3 - pad));
        if (rc) {
            out->len = start;
            return rc;
        }
    }
    return BRANT_OK;
}

int codec_hex_encode(struct buf *out, struct span in)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *to = in.len <= SIZE_MAX / 2 ? buf_reserve(out, in.len * 2) : NULL;

    if (!to)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < in.len; i++) {
        *to++ = (uint8_t)digits[in.p[i] >> 4];
        *to++ = (uint8_t)digits[in.p[i] & 15];
    }
    buf_commit(out, in.len * 2);
    return BRANT_OK;
}

int codec_hex_decode(struct buf *out, struct span in)
{
    uint8_t *to;

    if (in.len % 2)
        return BRANT_ESYNTAX;
    for (size_t i = 0; i < in.len; i++)
        if (ascii_hex_value(in.p[i]) < 0)
            return BRANT_ESYNTAX;
    to = buf_reserve(out, in.len / 2);
    if (!to)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < in.len; i += 2)
        *to++ = (uint8_t)(ascii_hex_value(in.p[i]) << 4 | ascii_hex_value(in.p[i + 1]));
    buf_commit(out, in.len / 2);
    return BRANT_OK;
}

size_t codec_utf8_next(struct span s, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t v;
    size_t len;

    if (s.len == 0)
        return 0;
    v = s.p[0];
    if (v < 0x80) {
        *ret = v;
        return 1;
    }
    len = v >= 0xf0 ? 4 : v >= 0xe0 ? 3 : 2;
    if (v < 0xc2 || v > 0xf4 || s.len < len)
        return 0;
    v &= 0x7fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((s.p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s.p[i] & 0x3fu);
    }
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *ret = v;
    return len;
}

bool codec_utf8_valid(struct span s)
{
    uint32_t ignored;

    while (s.len) {
        size_t n = codec_utf8_next(s, &ignored);

        if (n == 0)
            return false;
        s = span_from(s, n);
    }
    return true;
}

int codec_utf8_put(struct buf *out, uint32_t c)
{
    uint8_t b[4];
    size_t len;

    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return BRANT_ESYNTAX;
    if (c < 0x80) {
        b[0] = (uint8_t)c;
        len = 1;
    } else if (c < 0x800) {
        b[0] = (uint8_t)(0xc0 | c >> 6);
        len = 2;
    } else if (c < 0x10000) {
        b[0] = (uint8_t)(0xe0 | c >> 12);
        len = 3;
    } else {
        b[0] = (uint8_t)(0xf0 | c >> 18);
        len = 4;
    }
    for (size_t i = len; i > 1; i--, c >>= 6)
        b[i - 1] = (uint8_t)(0x80 | (c & 0x3f));
    return buf_append(out, span_make(b, len));
}

static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029 || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

int codec_escape(struct buf *out, struct span in)
{
    static const char digits[] = "0123456789abcdef";
    int rc = BRANT_OK;

    while (in.len && !rc) {
        uint32_t c = 0;
        size_t n = codec_utf8_next(in, &c);

        if (n && c == '\\') {
            rc = buf_append_str(out, "\\\\");
        } else if (n && !is_unprintable(c)) {
            rc = buf_append(out, span_sub(in, 0, n));
        } else {
            n = n ? n : 1;
            for (size_t i = 0; i < n && !rc; i++) {
                char hex[4] = {'\\', 'x', digits[in.p[i] >> 4], digits[in.p[i] & 15]};

                rc = buf_append(out, span_make(hex, 4));
            }
        }
        in = span_from(in, n);
    }
    return rc;
}
