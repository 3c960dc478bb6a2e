#include "msa/encode.h"

#include "base/ascii.h"
#include "base/err.h"
#include "mime/encoded_word.h"

enum { FOLD_COLUMN = 60 };

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* How far the line that is being written has come. */
static size_t column(const struct buf *out)
{
    size_t lf = span_rfind_byte(buf_span(out), '\n');

    return lf == SPAN_NPOS ? out->len : out->len - lf - 1;
}

/* Encoded words that are there already are taken up into the new ones: next to each other the space between
 * them would go (RFC 2047 6.2). */
static int encode(struct span text, struct buf *out)
{
    _cleanup_buf_ struct buf decoded = {0};

    buf_init(&decoded, 6 * text.len + 64);
    if (mime_words_decode(text, &decoded))
        return BRANT_ELIMIT;
    return mime_words_encode(buf_span(&decoded), column(out), out);
}

int msa_encode_text(struct span name, struct span value, struct buf *out)
{
    _cleanup_buf_ struct buf line = {0};

    buf_init(&line, out->max);
    buf_append(&line, name);
    buf_append_str(&line, ": ");
    if (encode(value, &line))
        return BRANT_ELIMIT;
    buf_append_str(&line, "\r\n");
    return line.overflowed ? BRANT_ELIMIT : buf_append(out, buf_span(&line));
}

/* --- address lists --- */

struct walk {
    struct span in;
    size_t pos;
    bool behind_at; /* the last thing was "@" */
    struct buf line;
};

static uint8_t peek(const struct walk *w)
{
    return w->pos < w->in.len ? w->in.p[w->pos] : 0;
}

static size_t space_len(const struct walk *w, size_t at)
{
    size_t n = 0;

    while (at + n < w->in.len && is_space(w->in.p[at + n]))
        n++;
    return n;
}

/* From a quote to behind the one that closes it, or to the end. */
static size_t quoted_len(struct span s)
{
    size_t n = 1;

    while (n < s.len && s.p[n] != '"')
        n += s.p[n] == '\\' ? 2 : 1;
    return n < s.len ? n + 1 : s.len;
}

/* From "(" to behind its ")", or to the end. */
static size_t comment_len(struct span s)
{
    size_t n = 0, depth = 0;

    for (; n < s.len; n++) {
        if (s.p[n] == '\\')
            n++;
        else if (s.p[n] == '(')
            depth++;
        else if (s.p[n] == ')' && --depth == 0)
            return n + 1;
    }
    return s.len;
}

/* From "<" to behind its ">", or to the end. */
static size_t angle_len(struct span s)
{
    size_t n = 1;

    while (n < s.len && s.p[n] != '>')
        n += s.p[n] == '"' ? quoted_len(span_from(s, n)) : 1;
    return n < s.len ? n + 1 : s.len;
}

/* The length of the words at the cursor, without the space behind them. */
static size_t phrase_len(const struct walk *w)
{
    size_t at = w->pos, end = at;

    while (at < w->in.len) {
        uint8_t c = w->in.p[at];

        if (c == '"')
            at += quoted_len(span_from(w->in, at));
        else if (!strchr("()<>[]:;@\\,", c))
            at++;
        else
            break;
        end = at;
        at += space_len(w, at);
    }
    return end - w->pos;
}

static void append_unquoted(struct span raw, struct buf *out)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.p[i] == '"')
            continue;
        if (raw.p[i] == '\\' && i + 1 < raw.len)
            i++;
        buf_append_byte(out, raw.p[i]);
    }
}

/* White space behind what was written, in place of what is there; a new line when this one is long. */
static void separate(struct walk *w)
{
    while (w->line.len && is_space(w->line.data[w->line.len - 1]))
        w->line.len--;
    buf_append_str(&w->line, column(&w->line) > FOLD_COLUMN ? "\r\n " : " ");
}

static int put_encoded(struct walk *w, struct span raw)
{
    _cleanup_buf_ struct buf text = {0};

    buf_init(&text, raw.len);
    append_unquoted(raw, &text);
    return encode(buf_span(&text), &w->line);
}

/* RFC 2047 5 (3): in a phrase encoded words stand between white space. */
static int phrase(struct walk *w)
{
    size_t len = phrase_len(w), next = w->pos + len;
    struct span words = span_sub(w->in, w->pos, len);

    next += space_len(w, next);
    w->pos += len;
    if (is_ascii(words)) {
        buf_append(&w->line, words);
        w->behind_at = false;
        return BRANT_OK;
    }
    if (w->behind_at || (next < w->in.len && strchr("@[]>)\\", w->in.p[next])))
        return BRANT_EUNSUPPORTED;
    separate(w);
    if (put_encoded(w, words))
        return BRANT_ELIMIT;
    return w->pos < w->in.len && !is_space(peek(w)) ? buf_append_byte(&w->line, ' ') : BRANT_OK;
}

static int comment(struct walk *w)
{
    size_t len = comment_len(span_from(w->in, w->pos));
    struct span all = span_sub(w->in, w->pos, len);

    w->pos += len;
    if (is_ascii(all))
        return buf_append(&w->line, all);
    if (all.p[len - 1] != ')' || len < 2)
        return BRANT_EUNSUPPORTED;
    separate(w);
    buf_append_byte(&w->line, '(');
    if (put_encoded(w, span_sub(all, 1, len - 2)))
        return BRANT_ELIMIT;
    return buf_append_byte(&w->line, ')');
}

static int step(struct walk *w)
{
    uint8_t c = peek(w);
    struct span part;

    if (c == '(')
        return comment(w);
    if (c == '<') {
        part = span_sub(w->in, w->pos, angle_len(span_from(w->in, w->pos)));
    } else if (is_space(c) || strchr(")>[]:;@\\,", c)) {
        part = span_sub(w->in, w->pos, 1);
        w->behind_at = c == '@' || (w->behind_at && is_space(c));
    } else {
        return phrase(w);
    }
    if (!is_ascii(part))
        return BRANT_EUNSUPPORTED;
    w->pos += part.len;
    return buf_append(&w->line, part);
}

int msa_encode_addresses(struct span name, struct span value, struct buf *out)
{
    struct walk w = {.in = value};
    int rc = BRANT_OK;

    buf_init(&w.line, out->max);
    buf_append(&w.line, name);
    buf_append_byte(&w.line, ':');
    while (w.pos < w.in.len && !rc)
        rc = step(&w);
    buf_append_str(&w.line, "\r\n");
    if (!rc)
        rc = w.line.overflowed ? BRANT_ELIMIT : buf_append(out, buf_span(&w.line));
    buf_done(&w.line);
    return rc;
}
