#include "msa/shown.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "mime/decode.h"
#include "mime/encoded_word.h"

/* Without the quotes and quoted pairs of RFC 5322 3.2.4. */
static void unquote(struct span raw, struct buf *out)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.p[i] == '"')
            continue;
        if (raw.p[i] == '\\' && i + 1 < raw.len)
            i++;
        buf_append_byte(out, raw.p[i]);
    }
}

/* --- encoded words with something hidden in them --- */

struct word {
    struct span charset, text;
    bool base64;
};

/* An encoded word at the front of *rest as the most lenient reader sees it; advances *rest. */
static bool word_next(struct span *rest, struct word *ret)
{
    for (;;) {
        size_t start = span_find(*rest, SPAN_LIT("=?"));
        struct span s = span_from(*rest, start == SPAN_NPOS ? rest->len : start + 2);
        size_t mark = span_find_byte(span_sub(s, 0, 128), '?'), end;

        *rest = s;
        if (!s.len)
            return false;
        if (mark == SPAN_NPOS || s.len < mark + 3 || s.p[mark + 2] != '?')
            continue;
        ret->charset = span_sub(s, 0, mark);
        ret->base64 = ascii_lower(s.p[mark + 1]) == 'b';
        s = span_from(s, mark + 3);
        end = span_find(s, SPAN_LIT("?="));
        if (end == SPAN_NPOS) {
            *rest = SPAN_NONE;
            return false;
        }
        ret->text = span_sub(s, 0, end);
        *rest = span_from(s, end + 2);
        return true;
    }
}

static void word_bytes(const struct word *w, struct buf *out)
{
    struct mime_decoder d;

    if (w->base64) {
        mime_decoder_init(&d, MIME_ENCODING_BASE64);
        mime_decoder_feed(&d, w->text, out);
        mime_decoder_finish(&d, out);
        return;
    }
    for (size_t i = 0; i < w->text.len; i++) {
        struct span hex = span_sub(w->text, i + 1, 2);

        if (w->text.p[i] == '=' && hex.len == 2 && ascii_hex_value(hex.p[0]) >= 0 &&
            ascii_hex_value(hex.p[1]) >= 0) {
            buf_append_byte(out, (uint8_t)(ascii_hex_value(hex.p[0]) * 16 + ascii_hex_value(hex.p[1])));
            i += 2;
        } else {
            buf_append_byte(out, w->text.p[i]);
        }
    }
}

/* Charsets in which bytes do not show what characters they make. */
static bool charset_hides(struct span charset)
{
    static const char *const names[] = {"utf-7",  "utf7",  "unicode", "utf-16",    "utf16",
                                        "utf-32", "utf32", "ucs",     "iso-10646", "csunicode",
                                        "scsu",   "bocu",  "imap-",   "x-imap"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_starts_nocase(charset, span_str(names[i])))
            return true;
    return false;
}

static bool word_hides(const struct word *w, struct buf *scratch)
{
    /* ISO 2022 has its shifts: ESC, SO, SI. */
    bool shifts = span_starts_nocase(w->charset, SPAN_LIT("iso-2022"));

    buf_reset(scratch);
    word_bytes(w, scratch);
    for (size_t i = 0; i < scratch->len; i++) {
        uint8_t c = scratch->data[i];

        if (ascii_is_ctl(c) && c != '\t' && !(shifts && (c == 0x1b || c == 0x0e || c == 0x0f)))
            return true;
    }
    return charset_hides(w->charset);
}

static bool any_word_hides(struct span text)
{
    _cleanup_buf_ struct buf scratch = {0};
    struct span rest = text;
    struct word w;

    buf_init(&scratch, text.len + 2 * MIME_DECODE_SLACK);
    while (word_next(&rest, &w))
        if (word_hides(&w, &scratch))
            return true;
    return false;
}

/* --- the text --- */

static bool turns_direction(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static bool is_hidden(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

/* What a person takes for "@" or a dot. */
static uint32_t plain_form(uint32_t c)
{
    if (c == 0xff20 || c == 0xfe6b)
        return '@';
    return c == 0x3002 || c == 0xff0e || c == 0xff61 || c == 0xfe52 ? '.' : c;
}

static int append_shown(struct span text, struct buf *out, const char **ret_reason)
{
    uint32_t c = 0;

    for (size_t n; (n = codec_utf8_next(text, &c)) > 0; text = span_from(text, n)) {
        if (turns_direction(c) || is_hidden(c)) {
            *ret_reason = turns_direction(c)
                              ? "a display name with characters that turn the direction of text"
                              : "a display name with a control character";
            return BRANT_ESYNTAX;
        }
        codec_utf8_put(out, plain_form(c));
    }
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

int msa_shown_text(struct span raw, struct buf *out, const char **ret_reason)
{
    _cleanup_buf_ struct buf plain = {0}, text = {0};

    buf_init(&plain, raw.len + 1);
    buf_init(&text, 6 * raw.len + 64);
    unquote(raw, &plain);
    if (any_word_hides(buf_span(&plain))) {
        *ret_reason = "a display name with a hidden control character";
        return BRANT_ESYNTAX;
    }
    if (mime_words_decode(buf_span(&plain), &text))
        return BRANT_ELIMIT;
    if (span_find(buf_span(&text), SPAN_LIT("=?")) != SPAN_NPOS &&
        span_find(buf_span(&text), SPAN_LIT("?=")) != SPAN_NPOS) {
        *ret_reason = "a display name with an encoded word that cannot be decoded";
        return BRANT_ESYNTAX;
    }
    return append_shown(buf_span(&text), out, ret_reason);
}

/* --- addresses in it --- */

static bool in_local(uint8_t c)
{
    return ascii_is_alnum(c) || c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~.", c));
}

static bool in_domain(uint8_t c)
{
    return ascii_is_alnum(c) || c >= 0x80 || c == '-' || c == '_' || c == '.';
}

static struct span trim_left(struct span s)
{
    while (s.len && (s.p[0] == '.' || s.p[0] == '\''))
        s = span_from(s, 1);
    return s;
}

static struct span trim_right(struct span s)
{
    while (s.len && (s.p[s.len - 1] == '.' || s.p[s.len - 1] == '-'))
        s.len--;
    return s;
}

bool msa_shown_next(struct span *rest, struct buf *scratch, struct span *ret)
{
    for (;;) {
        size_t at = span_find_byte(*rest, '@'), start = at, end = at;
        struct span local, domain;

        if (at == SPAN_NPOS)
            return false;
        while (start > 0 && in_local(rest->p[start - 1]))
            start--;
        while (end + 1 < rest->len && in_domain(rest->p[end + 1]))
            end++;
        local = trim_left(span_sub(*rest, start, at - start));
        domain = trim_right(span_sub(*rest, at + 1, end - at));
        *rest = span_from(*rest, at + 1);
        if (!local.len || span_find_byte(trim_left(domain), '.') == SPAN_NPOS)
            continue;
        buf_reset(scratch);
        buf_append(scratch, local);
        buf_append_byte(scratch, '@');
        for (size_t i = 0; i < domain.len; i++)
            buf_append_byte(scratch, ascii_lower(domain.p[i]));
        *ret = buf_span(scratch);
        return true;
    }
}
