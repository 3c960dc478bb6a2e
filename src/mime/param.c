#include "mime/param.h"

#include "base/ascii.h"
#include "base/err.h"
#include "mime/charset.h"
#include "mime/encoded_word.h"
#include "mime/lex.h"

struct segment {       /* one "name*number*=value" as written */
    struct span name;  /* without asterisks */
    struct span value; /* unquoted, still percent-encoded when encoded */
    uint32_t number;   /* of the continuation; 0 for an unnumbered one too */
    bool numbered, encoded;
    bool taken;
};

struct params {
    struct arena *arena;
    struct mime_lex lex;
    struct segment segments[MIME_PARAMS_MAX];
    size_t count;
    bool truncated, full;
};

/* RFC 2231 3 and 4: name ["*" number] ["*"]. */
static void name_split(struct span raw, struct segment *seg)
{
    size_t star;
    uint64_t number;

    if (raw.len && raw.p[raw.len - 1] == '*') {
        seg->encoded = true;
        raw.len--;
    }
    star = span_rfind_byte(raw, '*');
    if (star != SPAN_NPOS && span_to_u64(span_from(raw, star + 1), 999999999, &number) == BRANT_OK) {
        seg->numbered = true;
        seg->number = (uint32_t)number;
        raw.len = star;
    }
    seg->name = raw;
}

/* Whether "name =" stands at the cursor: then a new parameter begins without its semicolon. */
static bool at_param(const struct mime_lex *at)
{
    struct mime_lex lex = *at;

    if (span_starts(span_from(lex.in, lex.pos), SPAN_LIT("=?")))
        return false;
    mime_lex_until(&lex, " \t\r\n=;\"(");
    mime_lex_space(&lex);
    return mime_lex_peek(&lex) == '=';
}

/* An unquoted value: words up to a semicolon or the next parameter. White space between them counts as one
 * space. */
static void token_value(struct mime_lex *lex, struct buf *out)
{
    for (;;) {
        struct span word = mime_lex_until(lex, " \t\r\n;(");

        buf_append(out, word);
        mime_lex_cfws(lex, NULL);
        if (mime_lex_end(lex) || mime_lex_peek(lex) == ';' || !word.len || at_param(lex))
            return;
        buf_append_byte(out, ' ');
    }
}

static void segment_read(struct params *p)
{
    struct segment seg = {0};
    struct span name = mime_lex_until(&p->lex, " \t\r\n=;(");
    _cleanup_buf_ struct buf value = {0};

    mime_lex_cfws(&p->lex, NULL);
    if (mime_lex_peek(&p->lex) != '=') {
        if (mime_lex_peek(&p->lex) != ';' && !name.len)
            p->lex.pos++; /* nothing that could begin a parameter */
        return;
    }
    p->lex.pos++;
    mime_lex_cfws(&p->lex, NULL);
    buf_init(&value, p->lex.in.len);
    if (mime_lex_peek(&p->lex) == '"')
        mime_lex_quoted(&p->lex, &value);
    else
        token_value(&p->lex, &value);
    name_split(name, &seg);
    if (!seg.name.len || !value.len)
        return;
    if (p->count == MIME_PARAMS_MAX) {
        p->truncated = true;
        return;
    }
    seg.value = arena_dup(p->arena, buf_span(&value));
    p->full = p->full || !seg.value.p;
    p->segments[p->count++] = seg;
}

static void percent_decode(struct span in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        int high = -1, low = -1;

        if (in.p[i] == '%' && i + 2 < in.len) {
            high = ascii_hex_value(in.p[i + 1]);
            low = ascii_hex_value(in.p[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            buf_append_byte(out, (uint8_t)(high * 16 + low));
            i += 2;
        } else if (in.p[i] != '%') {
            buf_append_byte(out, in.p[i]);
        }
    }
}

/* RFC 2231 4: charset'language'text. Without the quotes it is all text. */
static struct span charset_split(struct span value, struct span *ret_charset, struct span *ret_language)
{
    size_t first = span_find_byte(value, '\''), second;

    if (first == SPAN_NPOS)
        return value;
    second = span_find_byte(span_from(value, first + 1), '\'');
    if (second == SPAN_NPOS)
        return value;
    *ret_charset = span_sub(value, 0, first);
    *ret_language = span_sub(value, first + 1, second);
    return span_from(value, first + 1 + second + 1);
}

/* The segment of that name with the lowest number not below `from`, or NULL. */
static struct segment *segment_next(struct params *p, struct span name, uint32_t from)
{
    struct segment *best = NULL;

    for (size_t i = 0; i < p->count; i++) {
        struct segment *s = &p->segments[i];

        if (s->numbered && s->number >= from && span_eq_nocase(s->name, name) &&
            (!best || s->number < best->number))
            best = s;
    }
    return best;
}

static void continuations_join(struct params *p, struct span name, struct buf *out, struct span *ret_charset,
                               struct span *ret_language)
{
    struct segment *s;
    bool first = true;

    for (uint32_t from = 0; (s = segment_next(p, name, from)) != NULL; from = s->number + 1) {
        struct span text = s->value;

        if (s->encoded) {
            if (first)
                text = charset_split(text, ret_charset, ret_language);
            percent_decode(text, out);
        } else {
            buf_append(out, text);
        }
        first = false;
    }
}

/* The kinds of one name, best first: "name*", "name*0", "name". */
static int rank(const struct segment *s)
{
    return s->encoded && !s->numbered ? 0 : s->numbered ? 1 : 2;
}

/* The best segment with the name of segment `first`, which is the first of that name. */
static const struct segment *segment_best(const struct params *p, size_t first)
{
    const struct segment *best = &p->segments[first];

    for (size_t i = first + 1; i < p->count; i++)
        if (span_eq_nocase(p->segments[i].name, best->name) && rank(&p->segments[i]) < rank(best))
            best = &p->segments[i];
    return best;
}

static int param_make(struct params *p, const struct segment *s, struct mime_param *ret)
{
    _cleanup_buf_ struct buf raw = {0}, text = {0};
    struct span charset = SPAN_NONE, language = SPAN_NONE;

    buf_init(&raw, p->lex.in.len);
    buf_init(&text, 4 * p->lex.in.len + 64);
    if (rank(s) == 0)
        percent_decode(charset_split(s->value, &charset, &language), &raw);
    else if (rank(s) == 1)
        continuations_join(p, s->name, &raw, &charset, &language);
    if (rank(s) == 2)
        mime_words_decode_inside(s->value, &text);
    else if (mime_charset_to_utf8(charset, buf_span(&raw), &text) == BRANT_ENOTFOUND)
        mime_charset_to_utf8(SPAN_LIT("utf-8"), buf_span(&raw), &text);
    ret->name = s->name;
    ret->value = arena_dup(p->arena, buf_span(&text));
    ret->language = language;
    ret->extended = rank(s) != 2;
    return ret->value.p ? BRANT_OK : BRANT_ELIMIT;
}

static int params_make(struct params *p, struct mime_content *ret)
{
    ret->params = arena_array(p->arena, p->count ? p->count : 1, sizeof *ret->params);
    if (!ret->params || p->full)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < p->count; i++) {
        struct span name = p->segments[i].name;

        if (p->segments[i].taken)
            continue;
        for (size_t j = i; j < p->count; j++)
            if (span_eq_nocase(p->segments[j].name, name))
                p->segments[j].taken = true;
        if (param_make(p, segment_best(p, i), &ret->params[ret->count]))
            return BRANT_ELIMIT;
        ret->count++;
    }
    return BRANT_OK;
}

int mime_content_parse(struct arena *a, struct span raw, struct mime_content *ret)
{
    struct params p;
    struct mime_content content = {0};
    int err;

    p.arena = a;
    p.lex = mime_lex_start(raw);
    p.count = 0;
    p.truncated = p.full = false;
    mime_lex_type(&p.lex, &content.type, &content.subtype);
    for (;;) {
        mime_lex_cfws(&p.lex, NULL);
        if (mime_lex_end(&p.lex))
            break;
        if (mime_lex_peek(&p.lex) == ';')
            p.lex.pos++;
        else
            segment_read(&p);
    }
    content.truncated = p.truncated;
    err = params_make(&p, &content);
    if (!err)
        *ret = content;
    return err;
}

struct span mime_content_param(const struct mime_content *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (span_eq_str_nocase(c->params[i].name, name))
            return c->params[i].value;
    return SPAN_NONE;
}
