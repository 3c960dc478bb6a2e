#include "imap/parameter.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/err.h"

struct segment {
    struct span name, value;
    uint32_t number;
    uint32_t order; /* in which they were written */
    bool encoded;
};

struct reader {
    struct mime_lex *lex;
    struct arena *arena;
    struct segment segments[IMAP_PARAMETERS_MAX]; /* those of RFC 2231 */
    size_t segment_count;
    struct imap_parameters params;
};

static void add(struct reader *r, struct span name, struct span value)
{
    if (name.p && value.p && r->params.count < IMAP_PARAMETERS_MAX)
        r->params.items[r->params.count++] = (struct imap_parameter){name, value};
}

/* "name*", "name*0", "name*0*". False: an ordinary name, even if there are asterisks in it. */
static bool name_split(struct span raw, struct segment *seg)
{
    size_t star = span_find_byte(raw, '*');
    struct span rest;
    size_t digits = 0;
    uint64_t number = 0;

    if (star == SPAN_NPOS || star == 0)
        return false;
    rest = span_from(raw, star + 1);
    while (digits < rest.len && ascii_is_digit(rest.p[digits]))
        digits++;
    if (digits && span_to_u64(span_sub(rest, 0, digits), 99999, &number) != BRANT_OK)
        return false;
    seg->name = span_sub(raw, 0, star);
    seg->number = (uint32_t)number;
    rest = span_from(rest, digits);
    seg->encoded = digits == 0 || span_eq_str(rest, "*");
    return rest.len == 0 || (digits && seg->encoded);
}

/* Whether "name =" stands at the cursor: then a parameter begins without its semicolon. */
static bool at_parameter(const struct mime_lex *at)
{
    struct mime_lex lex = *at;

    if (span_starts(span_from(lex.in, lex.pos), SPAN_LIT("=?")))
        return false;
    mime_lex_until(&lex, " \t\r\n=;\"(");
    mime_lex_space(&lex);
    return mime_lex_peek(&lex) == '=';
}

/* A token, or words that should have been quoted: up to a semicolon or the next parameter, as mime/param.h
 * reads them, so that both see the same file name. */
static void bare_value(struct reader *r, struct buf *out)
{
    for (;;) {
        struct span word = mime_lex_until(r->lex, " \t\r\n;(");

        buf_append(out, word);
        mime_lex_cfws(r->lex, NULL);
        if (mime_lex_end(r->lex) || mime_lex_peek(r->lex) == ';' || !word.len || at_parameter(r->lex))
            return;
        buf_append_byte(out, ' ');
    }
}

static void parameter(struct reader *r)
{
    struct span name = mime_lex_until(r->lex, " \t\r\n=;("), value;
    struct segment seg = {0};
    struct buf text;

    mime_lex_cfws(r->lex, NULL);
    if (mime_lex_peek(r->lex) != '=') {
        if (!name.len && mime_lex_peek(r->lex) != ';')
            r->lex->pos++;
        return;
    }
    r->lex->pos++;
    mime_lex_cfws(r->lex, NULL);
    buf_init(&text, r->lex->in.len + 1);
    if (mime_lex_peek(r->lex) == '"')
        mime_lex_quoted(r->lex, &text);
    else
        bare_value(r, &text);
    value = arena_dup(r->arena, buf_span(&text));
    buf_done(&text);
    if (!name.len)
        return;
    if (!name_split(name, &seg)) {
        add(r, name, value);
    } else if (r->segment_count < IMAP_PARAMETERS_MAX && value.p) {
        seg.value = value;
        seg.order = (uint32_t)r->segment_count;
        r->segments[r->segment_count++] = seg;
    }
}

/* By name, number, order. */
static int compare(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    for (size_t i = 0; i < x->name.len && i < y->name.len; i++) {
        int d = ascii_lower(x->name.p[i]) - ascii_lower(y->name.p[i]);

        if (d)
            return d;
    }
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* RFC 2231 4: attribute-char stands for itself. */
static void put_encoded(struct buf *out, struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.p[i];

        if (c > ' ' && c < 0x7f && !strchr("*'%()<>@,;:\\\"/[]?=", c))
            buf_append_byte(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* Segments from..to-1 are one value. */
static void join(struct reader *r, size_t from, size_t to)
{
    struct buf text;
    struct span copy;
    bool encoded = false;
    size_t len = 0;

    for (size_t i = from; i < to; i++) {
        encoded = encoded || r->segments[i].encoded;
        len += 3 * r->segments[i].value.len;
    }
    buf_init(&text, len + r->segments[from].name.len + 1);
    for (size_t i = from; i < to; i++) {
        if (encoded && !r->segments[i].encoded)
            put_encoded(&text, r->segments[i].value);
        else
            buf_append(&text, r->segments[i].value);
    }
    len = text.len;
    buf_append(&text, r->segments[from].name);
    if (encoded)
        buf_append_byte(&text, '*');
    copy = arena_dup(r->arena, buf_span(&text));
    if (copy.p)
        add(r, span_from(copy, len), span_sub(copy, 0, len));
    buf_done(&text);
}

static void show_apart(struct reader *r, const struct segment *seg)
{
    struct buf name;

    buf_init(&name, seg->name.len + 16);
    buf_append(&name, seg->name);
    buf_printf(&name, "*%u%s", seg->number, seg->encoded ? "*" : "");
    add(r, arena_dup(r->arena, buf_span(&name)), seg->value);
    buf_done(&name);
}

static void segments_show(struct reader *r)
{
    size_t to;

    qsort(r->segments, r->segment_count, sizeof r->segments[0], compare);
    for (size_t from = 0; from < r->segment_count; from = to) {
        bool whole = true;

        for (to = from; to < r->segment_count && span_eq_nocase(r->segments[to].name, r->segments[from].name);
             to++)
            whole = whole && r->segments[to].number == to - from;
        if (whole) {
            join(r, from, to);
            continue;
        }
        for (size_t i = from; i < to; i++)
            show_apart(r, &r->segments[i]);
    }
}

void imap_parameters_parse(struct mime_lex *lex, struct arena *a, struct imap_parameters *ret)
{
    struct reader r = {.lex = lex, .arena = a};

    r.params.items = arena_array(a, IMAP_PARAMETERS_MAX, sizeof *r.params.items);
    if (r.params.items) {
        for (;;) {
            mime_lex_cfws(lex, NULL);
            if (mime_lex_end(lex))
                break;
            if (mime_lex_peek(lex) == ';')
                lex->pos++;
            else
                parameter(&r);
        }
        segments_show(&r);
    }
    *ret = r.params;
}
