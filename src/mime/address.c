#include "mime/address.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/mem.h"
#include "mime/lex.h"

/* One address being collected. What the words mean is known only at the character behind them, so they are
 * kept both ways: as a phrase, with spaces between them, and run together as an addr-spec. */
struct state {
    struct mime_lex lex;
    struct arena *arena;
    struct buf phrase, spec, comment, route;
    size_t at;     /* in spec, of the last "@" outside quotes; SPAN_NPOS when there is none */
    bool has_spec; /* an angle address was read: spec is final, words go to the phrase */
    bool in_group;
    size_t cap, max;
    struct mime_address_list list;
};

static const char specials[] = " \t\r\n()<>[]:;@,\"";

static void item_add(struct state *st, struct mime_address item)
{
    struct mime_address_list *list = &st->list;

    if (list->truncated || list->count == st->max) {
        list->truncated = true;
        return;
    }
    if (list->count == st->cap) {
        st->cap = st->cap ? st->cap * 2 : 8;
        list->items = mem_regrow(list->items, st->cap, sizeof *list->items);
    }
    list->items[list->count++] = item;
}

static struct span keep(struct state *st, struct span text)
{
    struct span copy = arena_dup(st->arena, span_trim(text));

    if (!copy.p)
        st->list.truncated = true;
    return copy;
}

static void reset(struct state *st)
{
    buf_reset(&st->phrase);
    buf_reset(&st->spec);
    buf_reset(&st->comment);
    buf_reset(&st->route);
    st->at = SPAN_NPOS;
    st->has_spec = false;
}

/* A separator: what was collected is an address, or nothing. */
static void mailbox_end(struct state *st)
{
    struct mime_address item = {.kind = MIME_ADDRESS_MAILBOX};
    struct span spec = buf_span(&st->spec);

    if (spec.len || st->has_spec) {
        item.local = keep(st, span_sub(spec, 0, st->at == SPAN_NPOS ? spec.len : st->at));
        if (st->at != SPAN_NPOS)
            item.domain = keep(st, span_from(spec, st->at + 1));
        if (st->has_spec)
            item.name = keep(st, buf_span(&st->phrase));
        item.comment = keep(st, buf_span(&st->comment));
        item.route = keep(st, buf_span(&st->route));
        item_add(st, item);
    }
    reset(st);
}

static void group_start(struct state *st)
{
    item_add(
        st, (struct mime_address){.kind = MIME_ADDRESS_GROUP_START, .name = keep(st, buf_span(&st->phrase))});
    st->in_group = true;
    reset(st);
}

static void group_end(struct state *st)
{
    mailbox_end(st);
    if (st->in_group)
        item_add(st, (struct mime_address){.kind = MIME_ADDRESS_GROUP_END});
    st->in_group = false;
}

static void spec_append(struct state *st, struct span text)
{
    if (!st->has_spec)
        buf_append(&st->spec, text);
}

/* Reads an atom, quoted string or domain literal at the cursor into both forms; `spaced` tells that white
 * space came before it. */
static void word(struct state *st, bool spaced)
{
    uint8_t c = mime_lex_peek(&st->lex);
    size_t before;

    if (spaced && st->phrase.len)
        buf_append_byte(&st->phrase, ' ');
    before = st->phrase.len;
    if (c == '"') {
        mime_lex_quoted(&st->lex, &st->phrase);
    } else if (c == '[') { /* RFC 5322 3.4.1: domain-literal */
        struct span text = mime_lex_until(&st->lex, "]");

        buf_append(&st->phrase, text);
        if (!mime_lex_end(&st->lex)) {
            buf_append_byte(&st->phrase, ']');
            st->lex.pos++;
        }
    } else {
        struct span atom = mime_lex_until(&st->lex, specials);

        if (!atom.len) { /* a stray ")", "]" or ">" */
            atom = span_sub(st->lex.in, st->lex.pos, 1);
            st->lex.pos++;
        }
        buf_append(&st->phrase, atom);
    }
    spec_append(st, span_from(buf_span(&st->phrase), before));
}

static void at_sign(struct state *st)
{
    st->lex.pos++;
    buf_append_byte(&st->phrase, '@');
    if (!st->has_spec) {
        st->at = st->spec.len;
        buf_append_byte(&st->spec, '@');
    }
}

/* RFC 5322 4.4: "@a,@b:" before the address proper. Only at the start of an angle address. */
static void route_read(struct state *st)
{
    struct mime_lex lex = st->lex;
    size_t start;

    mime_lex_cfws(&lex, NULL);
    if (mime_lex_peek(&lex) != '@')
        return;
    start = lex.pos;
    mime_lex_until(&lex, ":<>\";");
    if (mime_lex_peek(&lex) != ':')
        return;
    for (size_t i = start; i < lex.pos; i++)
        if (!mime_lex_is_space(lex.in.p[i]))
            buf_append_byte(&st->route, lex.in.p[i]);
    lex.pos++;
    st->lex = lex;
}

/* "<" route addr-spec ">". Without its ">" it ends at a comma or at the end. */
static void angle(struct state *st)
{
    size_t phrase_len = st->phrase.len;

    st->lex.pos++;
    buf_reset(&st->spec);
    buf_reset(&st->route);
    st->at = SPAN_NPOS;
    st->has_spec = false;
    route_read(st);
    for (;;) {
        uint8_t c;

        mime_lex_cfws(&st->lex, &st->comment);
        c = mime_lex_peek(&st->lex);
        if (mime_lex_end(&st->lex) || c == '>' || c == ',' || c == '<')
            break;
        if (c == '@') {
            at_sign(st);
        } else if (c == ':' || c == ';') { /* a URL in a List- field, or nonsense */
            spec_append(st, span_sub(st->lex.in, st->lex.pos, 1));
            st->lex.pos++;
        } else {
            word(st, false);
        }
    }
    if (mime_lex_peek(&st->lex) == '>')
        st->lex.pos++;
    st->phrase.len = phrase_len; /* the words of the address are no part of the name */
    st->has_spec = true;
}

static void parse(struct state *st)
{
    for (;;) {
        bool spaced = mime_lex_cfws(&st->lex, &st->comment);

        if (mime_lex_end(&st->lex))
            break;
        switch (mime_lex_peek(&st->lex)) {
        case ',':
            mailbox_end(st);
            st->lex.pos++;
            break;
        case ';':
            group_end(st);
            st->lex.pos++;
            break;
        case ':':
            if (st->in_group || st->has_spec)
                spec_append(st, SPAN_LIT(":"));
            else
                group_start(st);
            st->lex.pos++;
            break;
        case '<':
            angle(st);
            break;
        case '@':
            at_sign(st);
            break;
        default:
            word(st, spaced);
        }
    }
    group_end(st);
}

void mime_addresses_parse(struct arena *a, struct span raw, size_t items_max, struct mime_address_list *ret)
{
    struct state st = {.lex = mime_lex_start(raw), .arena = a, .at = SPAN_NPOS, .max = items_max};
    struct mime_address *items;

    buf_init(&st.phrase, 2 * raw.len + 16);
    buf_init(&st.spec, 2 * raw.len + 16);
    buf_init(&st.comment, 2 * raw.len + 16);
    buf_init(&st.route, raw.len + 16);
    parse(&st);
    buf_done(&st.phrase);
    buf_done(&st.spec);
    buf_done(&st.comment);
    buf_done(&st.route);
    *ret = st.list;
    items = arena_array(a, st.list.count ? st.list.count : 1, sizeof *items);
    if (items && st.list.count)
        memcpy(items, st.list.items, st.list.count * sizeof *items);
    if (!items) {
        ret->count = 0;
        ret->truncated = true;
    }
    ret->items = items;
    free(st.list.items);
}

/* RFC 5322 3.2.3 atext, with RFC 6532's bytes above ASCII. */
static bool is_atext(uint8_t c)
{
    return ascii_is_alnum(c) || c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_dot_atom(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool dot = s.p[i] == '.';

        if (dot ? i == 0 || i + 1 == s.len || s.p[i - 1] == '.' : !is_atext(s.p[i]))
            return false;
    }
    return s.len > 0;
}

int mime_address_format(const struct mime_address *address, struct buf *out)
{
    bool quote = address->domain.len && !is_dot_atom(address->local);
    size_t before = out->len;

    if (quote)
        buf_append_byte(out, '"');
    for (size_t i = 0; i < address->local.len; i++) {
        uint8_t c = address->local.p[i];

        if (quote && (c == '"' || c == '\\'))
            buf_append_byte(out, '\\');
        buf_append_byte(out, c);
    }
    if (quote)
        buf_append_byte(out, '"');
    if (address->domain.len) {
        buf_append_byte(out, '@');
        buf_append(out, address->domain);
    }
    if (!out->overflowed)
        return BRANT_OK;
    out->len = before;
    return BRANT_ELIMIT;
}

/* The inside of <…>: words run together, white space and comments gone (RFC 5322 4.5.4). */
static void msgid_angle(struct mime_lex *lex, struct buf *out)
{
    lex->pos++;
    for (;;) {
        mime_lex_cfws(lex, NULL);
        if (mime_lex_end(lex) || mime_lex_peek(lex) == '<')
            return;
        if (mime_lex_peek(lex) == '>') {
            lex->pos++;
            return;
        }
        buf_append(out, mime_lex_until(lex, " \t\r\n(<>"));
    }
}

bool mime_msgid_next(struct span *rest, struct buf *scratch, struct span *ret)
{
    struct mime_lex lex = mime_lex_start(*rest);

    buf_reset(scratch);
    while (!scratch->len) {
        mime_lex_cfws(&lex, NULL);
        if (mime_lex_end(&lex))
            break;
        if (mime_lex_peek(&lex) == '<') {
            msgid_angle(&lex, scratch);
        } else {
            buf_append(scratch, mime_lex_until(&lex, " \t\r\n(<,"));
            if (mime_lex_peek(&lex) == ',')
                lex.pos++;
        }
    }
    *rest = span_from(*rest, lex.pos);
    *ret = buf_span(scratch);
    return scratch->len > 0;
}
