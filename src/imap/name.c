#include "imap/name.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "imap/put.h"
#include "mime/normal.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int value_of(uint8_t c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -1;
}

/* ---- modified UTF-7 ---- */

struct utf16 {
    uint32_t bits; /* not yet whole units */
    unsigned held; /* how many bits */
    uint32_t high; /* the first half of a pair, or 0 */
    bool any;
};

static int unit_take(struct utf16 *u, uint32_t unit, struct buf *out)
{
    u->any = true;
    if (u->high) {
        uint32_t code = 0x10000 + ((u->high - 0xd800) << 10) + (unit - 0xdc00);

        if (unit < 0xdc00 || unit > 0xdfff)
            return BRANT_ESYNTAX;
        u->high = 0;
        return codec_utf8_put(out, code);
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        u->high = unit;
        return BRANT_OK;
    }
    if (unit >= 0x20 && unit < 0x7f) /* RFC 3501 5.1.3: what can represent itself has to */
        return BRANT_ESYNTAX;
    return codec_utf8_put(out, unit);
}

/* Behind "&": base64 and "-". *at moves behind it. */
static int shifted(struct span in, size_t *at, struct buf *out)
{
    struct utf16 u = {0};
    int err;

    for (; *at < in.len && in.p[*at] != '-'; ++*at) {
        int value = value_of(in.p[*at]);

        if (value < 0)
            return BRANT_ESYNTAX;
        u.bits = u.bits << 6 | (uint32_t)value;
        u.held += 6;
        if (u.held < 16)
            continue;
        u.held -= 16;
        err = unit_take(&u, u.bits >> u.held & 0xffff, out);
        if (err)
            return err;
        u.bits &= (1U << u.held) - 1;
    }
    if (*at == in.len || u.high || u.held >= 6 || u.bits || !u.any)
        return BRANT_ESYNTAX;
    ++*at;
    if (*at < in.len && in.p[*at] == '&' && !(*at + 1 < in.len && in.p[*at + 1] == '-'))
        return BRANT_ESYNTAX; /* it could have gone on */
    return BRANT_OK;
}

int imap_utf7_to_utf8(struct span in, struct buf *out)
{
    size_t at = 0;
    int err = BRANT_OK;

    while (at < in.len && !err) {
        uint8_t c = in.p[at++];

        if (!ascii_is_print(c)) {
            err = BRANT_ESYNTAX;
        } else if (c != '&') {
            err = buf_append_byte(out, c);
        } else if (at < in.len && in.p[at] == '-') {
            at++;
            err = buf_append_byte(out, '&');
        } else {
            err = shifted(in, &at, out);
        }
    }
    return err;
}

static int bits_put(struct utf16 *u, uint32_t unit, struct buf *out)
{
    int err = BRANT_OK;

    u->bits = u->bits << 16 | unit;
    u->held += 16;
    while (u->held >= 6 && !err) {
        u->held -= 6;
        err = buf_append_byte(out, (uint8_t)alphabet[u->bits >> u->held & 63]);
    }
    u->bits &= (1U << u->held) - 1;
    return err;
}

static int shift_out(struct utf16 *u, struct buf *out)
{
    if (u->held && buf_append_byte(out, (uint8_t)alphabet[u->bits << (6 - u->held) & 63]) != BRANT_OK)
        return BRANT_ELIMIT;
    *u = (struct utf16){0};
    return buf_append_byte(out, '-');
}

static int code_put(struct utf16 *u, uint32_t code, struct buf *out)
{
    int err = u->any ? BRANT_OK : buf_append_byte(out, '&');

    u->any = true;
    if (err)
        return err;
    if (code < 0x10000)
        return bits_put(u, code, out);
    code -= 0x10000;
    err = bits_put(u, 0xd800 + (code >> 10), out);
    return err ? err : bits_put(u, 0xdc00 + (code & 0x3ff), out);
}

int imap_utf8_to_utf7(struct span in, struct buf *out)
{
    struct utf16 u = {0};
    int err = BRANT_OK;

    while (in.len && !err) {
        uint32_t code;
        size_t len = codec_utf8_next(in, &code);

        if (!len)
            return BRANT_ESYNTAX;
        in = span_from(in, len);
        if (code < 0x20 || code >= 0x7f) {
            err = code_put(&u, code, out);
            continue;
        }
        if (u.any)
            err = shift_out(&u, out);
        if (!err)
            err = code == '&' ? buf_append_str(out, "&-") : buf_append_byte(out, (uint8_t)code);
    }
    return err || !u.any ? err : shift_out(&u, out);
}

/* ---- names ---- */

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* Validation; nothing is changed. */
static int check(struct span name)
{
    struct span rest = name;
    unsigned levels = 1;
    uint8_t before = '/';

    if (!name.len || name.len > IMAP_NAME_BYTES_MAX)
        return name.len ? BRANT_ELIMIT : BRANT_ESYNTAX;
    while (rest.len) {
        uint32_t code;
        size_t len = codec_utf8_next(rest, &code);

        if (!len || is_control(code) || (code == '/' && before == '/'))
            return BRANT_ESYNTAX;
        levels += code == '/';
        before = rest.p[0];
        rest = span_from(rest, len);
    }
    if (before == '/')
        return BRANT_ESYNTAX;
    return levels > IMAP_NAME_LEVELS_MAX ? BRANT_ELIMIT : BRANT_OK;
}

/* Normalisation, of a valid name. */
static void inbox_rule(struct buf *name)
{
    struct span first = span_sub(buf_span(name), 0, span_find_byte(buf_span(name), '/'));

    if (span_eq_str_nocase(first, "INBOX"))
        memcpy(name->data, "INBOX", 5);
}

static int parse(struct span said, bool utf8, bool fresh, struct buf *out)
{
    _cleanup_buf_ struct buf composed = {0};
    int err;

    buf_init(&composed, IMAP_NAME_BYTES_MAX);
    buf_reset(out);
    if (said.len > 4 * IMAP_NAME_BYTES_MAX)
        return BRANT_ELIMIT;
    err = utf8 ? buf_append(out, said) : imap_utf7_to_utf8(said, out);
    if (!err && fresh && out->len > 1 && out->data[out->len - 1] == '/')
        out->len--;
    if (!err)
        err = check(buf_span(out));
    if (!err && fresh &&
        (span_find_byte(buf_span(out), '%') != SPAN_NPOS || span_find_byte(buf_span(out), '*') != SPAN_NPOS))
        err = BRANT_ESYNTAX;
    if (!err)
        err = mime_nfc(buf_span(out), &composed);
    buf_reset(out);
    if (!err)
        err = buf_append(out, buf_span(&composed));
    if (!err)
        inbox_rule(out);
    return err;
}

int imap_name_parse(struct span said, bool utf8, struct buf *out)
{
    return parse(said, utf8, false, out);
}

int imap_name_parse_new(struct span said, bool utf8, struct buf *out)
{
    return parse(said, utf8, true, out);
}

bool imap_name_is_inbox(struct span name)
{
    return span_eq_str(name, "INBOX");
}

int imap_name_cmp(struct span a, struct span b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int x = a.p[i] == '/' ? 0 : a.p[i], y = b.p[i] == '/' ? 0 : b.p[i];

        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

bool imap_name_within(struct span name, struct span parent)
{
    return span_starts(name, parent) && (name.len == parent.len || name.p[parent.len] == '/');
}

void imap_name_put(struct buf *out, struct span name, bool utf8)
{
    _cleanup_buf_ struct buf said = {0};

    if (utf8) {
        imap_put_astring(out, name, true);
        return;
    }
    buf_init(&said, 4 * name.len + 8);
    imap_utf8_to_utf7(name, &said);
    imap_put_astring(out, buf_span(&said), false);
}
