#include "mime/encoded_word.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "mime/charset.h"
#include "mime/decode.h"
#include "mime/lex.h"

int mime_unfold(struct span raw, struct buf *out)
{
    int err = BRANT_OK;

    raw = span_trim(raw);
    while (raw.len && mime_lex_is_space(raw.p[raw.len - 1]))
        raw.len--;
    while (raw.len && mime_lex_is_space(raw.p[0]))
        raw = span_from(raw, 1);
    for (size_t i = 0; i < raw.len && !err; i++)
        if (raw.p[i] != '\r' && raw.p[i] != '\n')
            err = buf_append_byte(out, raw.p[i]);
    return err;
}

struct word { /* =?charset*language?encoding?text?= */
    struct span charset, text;
    bool base64;
    size_t len; /* of the whole */
};

struct decoder {
    struct span in;
    size_t pos;
    bool no_more_ends;   /* there is no "?=" from here on */
    struct span charset; /* of the words collected in `bytes`, empty when none are */
    struct buf bytes;    /* decoded, not yet converted */
    size_t first;        /* where the first of the collected words begins */
    struct buf *out;
};

/* Whether an encoded word begins at pos. Every byte is looked at a bounded number of times: charsets are
 * short, and once no "?=" is found behind some place none is looked for again. */
static bool word_parse(struct decoder *d, struct word *ret)
{
    struct span rest = span_from(d->in, d->pos);
    struct word word = {0};
    size_t i = 2, star, end;

    if (d->no_more_ends || !span_starts(rest, SPAN_LIT("=?")))
        return false;
    while (i < rest.len && i < 66 && ascii_is_print(rest.p[i]) && rest.p[i] != ' ' && rest.p[i] != '?')
        i++;
    if (i + 2 >= rest.len || i == 2 || rest.p[i] != '?' || rest.p[i + 2] != '?')
        return false;
    word.charset = span_sub(rest, 2, i - 2);
    star = span_find_byte(word.charset, '*'); /* RFC 2231 5 */
    if (star != SPAN_NPOS)
        word.charset.len = star;
    if (!word.charset.len)
        return false;
    if (ascii_lower(rest.p[i + 1]) != 'b' && ascii_lower(rest.p[i + 1]) != 'q')
        return false;
    word.base64 = ascii_lower(rest.p[i + 1]) == 'b';
    end = span_find(span_from(rest, i + 3), SPAN_LIT("?="));
    if (end == SPAN_NPOS) {
        d->no_more_ends = true;
        return false;
    }
    word.text = span_sub(rest, i + 3, end);
    word.len = i + 3 + end + 2;
    *ret = word;
    return true;
}

static void text_decode(const struct word *w, struct buf *out)
{
    if (w->base64) {
        struct mime_decoder b64;

        mime_decoder_init(&b64, MIME_ENCODING_BASE64);
        mime_decoder_feed(&b64, w->text, out);
        mime_decoder_finish(&b64, out);
        return;
    }
    for (size_t i = 0; i < w->text.len; i++) { /* RFC 2047 4.2 */
        uint8_t c = w->text.p[i];
        int high, low;

        if (c == '\r' || c == '\n') { /* folded inside, as it must not be: the white space goes too */
            while (i + 1 < w->text.len && mime_lex_is_space(w->text.p[i + 1]))
                i++;
        } else if (c == '=' && i + 2 < w->text.len && (high = ascii_hex_value(w->text.p[i + 1])) >= 0 &&
                   (low = ascii_hex_value(w->text.p[i + 2])) >= 0) {
            buf_append_byte(out, (uint8_t)(high * 16 + low));
            i += 2;
        } else {
            buf_append_byte(out, c == '_' ? ' ' : c);
        }
    }
}

static int append_clean(struct span utf8, struct buf *out)
{
    int err = BRANT_OK;

    for (size_t i = 0; i < utf8.len && !err; i++)
        err = buf_append_byte(out, ascii_is_ctl(utf8.p[i]) && utf8.p[i] != '\t' ? ' ' : utf8.p[i]);
    return err;
}

/* Converts and appends the collected words. */
static int words_flush(struct decoder *d, size_t end)
{
    _cleanup_buf_ struct buf text = {0};
    int err;

    if (!d->charset.len)
        return BRANT_OK;
    buf_init(&text, 6 * d->bytes.len + 64);
    if (mime_charset_to_utf8(d->charset, buf_span(&d->bytes), &text) == BRANT_ENOTFOUND)
        err = mime_utf8_repair(span_sub(d->in, d->first, end - d->first), d->out);
    else
        err = append_clean(buf_span(&text), d->out);
    buf_reset(&d->bytes);
    d->charset = SPAN_NONE;
    return err;
}

/* A stretch that is no encoded word: white space at a fold becomes one space. */
static int literal_append(struct decoder *d, size_t start, size_t end)
{
    int err = BRANT_OK;

    for (size_t i = start; i < end && !err;) {
        size_t from = i;
        bool fold = false;

        while (i < end && mime_lex_is_space(d->in.p[i])) {
            fold = fold || d->in.p[i] == '\n';
            i++;
        }
        if (fold) {
            err = buf_append_byte(d->out, ' ');
        } else {
            while (i < end && !mime_lex_is_space(d->in.p[i]))
                i++;
            err = mime_utf8_repair(span_sub(d->in, from, i - from), d->out);
        }
    }
    return err;
}

static int decode(struct decoder *d)
{
    size_t literal = 0; /* where the bytes not yet handled begin */
    int err = BRANT_OK;

    while (d->pos < d->in.len && !err) {
        struct word word;
        struct span between;

        if (d->in.p[d->pos] != '=' || !word_parse(d, &word)) {
            d->pos++;
            continue;
        }
        between = span_sub(d->in, literal, d->pos - literal);
        while (between.len && mime_lex_is_space(between.p[0]))
            between = span_from(between, 1);
        if (between.len || !d->charset.len || !span_eq_nocase(d->charset, word.charset)) {
            bool joined = d->charset.len && !between.len; /* RFC 2047 6.2: no space between neighbours */

            err = words_flush(d, literal);
            if (!err && !joined)
                err = literal_append(d, literal, d->pos);
            d->first = d->pos;
        }
        d->charset = word.charset;
        text_decode(&word, &d->bytes);
        d->pos += word.len;
        literal = d->pos;
    }
    if (!err)
        err = words_flush(d, literal);
    return err ? err : literal_append(d, literal, d->in.len);
}

int mime_words_decode_inside(struct span text, struct buf *out)
{
    struct decoder d = {.in = text, .out = out};
    int err;

    buf_init(&d.bytes, text.len + MIME_DECODE_SLACK);
    err = decode(&d);
    buf_done(&d.bytes);
    return err;
}

int mime_words_decode(struct span raw, struct buf *out)
{
    while (raw.len && mime_lex_is_space(raw.p[raw.len - 1]))
        raw.len--;
    while (raw.len && mime_lex_is_space(raw.p[0]))
        raw = span_from(raw, 1);
    return mime_words_decode_inside(raw, out);
}

/* ---- encoding ---- */

static bool needs_encoding(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!ascii_is_print(text.p[i]))
            return true;
    return span_find(text, SPAN_LIT("=?")) != SPAN_NPOS;
}

/* 45 bytes make 60 characters of base64; with "=?utf-8?B?" and "?=" that is 72. */
enum { WORD_BYTES_MAX = 45, WORD_OVERHEAD = 12, LINE_MAX_CHARS = 76 };

int mime_words_encode(struct span utf8, size_t column, struct buf *out)
{
    _cleanup_buf_ struct buf clean = {0};
    struct span rest;
    int err = BRANT_OK;

    buf_init(&clean, 3 * utf8.len + 4);
    mime_utf8_repair(utf8, &clean);
    for (size_t i = 0; i < clean.len; i++)
        if (ascii_is_ctl(clean.data[i]))
            clean.data[i] = ' ';
    rest = buf_span(&clean);
    if (!needs_encoding(rest))
        return buf_append(out, rest);
    for (bool first = true; rest.len && !err; first = false) {
        size_t room = WORD_BYTES_MAX, take = 0;
        uint32_t code;

        if (first) /* what is left of the first line */
            room = column + WORD_OVERHEAD + 8 > LINE_MAX_CHARS
                       ? 6
                       : (LINE_MAX_CHARS - column - WORD_OVERHEAD) / 4 * 3;
        room = room > WORD_BYTES_MAX ? WORD_BYTES_MAX : room;
        while (take < rest.len) {
            size_t len = codec_utf8_next(span_from(rest, take), &code);

            if (take + len > room)
                break;
            take += len;
        }
        err = buf_append_str(out, first ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
        if (!err)
            err = codec_base64_encode(out, span_sub(rest, 0, take));
        if (!err)
            err = buf_append_str(out, "?=");
        rest = span_from(rest, take);
    }
    return err;
}
