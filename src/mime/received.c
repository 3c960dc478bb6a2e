#include "mime/received.h"

#include "base/ascii.h"
#include "base/err.h"
#include "mime/lex.h"

enum clause { FROM, BY, VIA, WITH, ID, FOR, CLAUSES };

static int clause_of(struct span word)
{
    static const char *const names[CLAUSES] = {"from", "by", "via", "with", "id", "for"};

    for (int i = 0; i < CLAUSES; i++)
        if (span_eq_str_nocase(word, names[i]))
            return i;
    return -1;
}

static struct span strip_brackets(struct span s)
{
    size_t close = s.len && s.p[0] == '[' ? span_find_byte(s, ']') : SPAN_NPOS;

    if (close != SPAN_NPOS) /* a port may follow */
        s.len = close;
    while (s.len && s.p[s.len - 1] == ',')
        s.len--;
    while (s.len && (s.p[0] == '<' || s.p[0] == '['))
        s = span_from(s, 1);
    while (s.len && (s.p[s.len - 1] == '>' || s.p[s.len - 1] == ']'))
        s.len--;
    return s;
}

static bool is_address_byte(uint8_t c)
{
    return ascii_hex_value(c) >= 0 || c == '.' || c == ':';
}

/* An address, perhaps with "IPv6:" before or ":port" behind it. */
static bool address_parse(struct span text, struct ip_addr *ret)
{
    size_t colon = span_rfind_byte(text, ':');

    if (span_starts_nocase(text, SPAN_LIT("IPv6:")))
        text = span_from(text, 5);
    if (ip_parse(text, ret) == BRANT_OK)
        return true;
    return colon != SPAN_NPOS && span_find_byte(text, '.') != SPAN_NPOS &&
           ip_parse(span_sub(text, 0, colon), ret) == BRANT_OK;
}

/* The first stretch of address characters, between anything else, that is an address. */
static void address_find(struct span text, struct ip_addr *ret)
{
    size_t i = 0;

    while (i < text.len) {
        size_t start = i, skip = span_starts_nocase(span_from(text, i), SPAN_LIT("IPv6:")) ? 5 : 0;
        bool boundary = i == 0 || !(ascii_is_alnum(text.p[i - 1]) || text.p[i - 1] == '-');

        i += skip;
        while (i < text.len && is_address_byte(text.p[i]))
            i++;
        if (boundary && i - start > 2 && !(i < text.len && (ascii_is_alnum(text.p[i]) || text.p[i] == '-')) &&
            address_parse(span_sub(text, start, i - start), ret))
            return;
        if (i == start || i == start + skip)
            i = start + 1;
    }
}

/* The next word, brackets and quotes kept together; comments are skipped and the first one noted. */
static struct span word_next(struct mime_lex *lex, size_t *comment)
{
    size_t start;

    mime_lex_space(lex);
    while (mime_lex_peek(lex) == '(' && !mime_lex_end(lex)) {
        if (*comment == SPAN_NPOS)
            *comment = lex->pos;
        mime_lex_cfws(lex, NULL);
    }
    start = lex->pos;
    if (mime_lex_peek(lex) == '[') {
        mime_lex_until(lex, "]");
        lex->pos += !mime_lex_end(lex);
    }
    mime_lex_until(lex, " \t\r\n(");
    return span_sub(lex->in, start, lex->pos - start);
}

static void clause_store(struct mime_received *r, int clause, struct span word, bool first)
{
    struct span *const places[CLAUSES] = {&r->from, &r->by, &r->via, &r->with, &r->id, &r->for_};
    struct span *place = places[clause];

    if (first)
        *place = strip_brackets(word);
    else if (clause == VIA || clause == WITH)
        place->len = (size_t)(word.p + word.len - place->p);
}

/* "(from user@host)" in the place of a from clause, as sendmail writes for mail submitted on the machine. */
static void from_in_comment(struct mime_received *r, struct span in, size_t comment)
{
    struct span text = comment == SPAN_NPOS ? SPAN_NONE : span_from(in, comment);
    struct mime_lex lex = mime_lex_start(text);

    if (!span_starts_nocase(text, SPAN_LIT("(from ")))
        return;
    mime_lex_cfws(&lex, NULL);
    r->from_comment = span_sub(text, 0, lex.pos);
    lex = mime_lex_start(span_from(text, 6));
    r->from = mime_lex_until(&lex, " \t\r\n)");
    address_find(r->from_comment, &r->from_ip);
}

void mime_received_parse(struct span raw, struct mime_received *ret)
{
    size_t semicolon = span_rfind_byte(raw, ';'), comment = SPAN_NPOS, from_end = SPAN_NPOS;
    struct mime_lex lex = mime_lex_start(span_sub(raw, 0, semicolon == SPAN_NPOS ? raw.len : semicolon));
    struct mime_received r = {0};
    uint32_t seen = 0;
    int clause = -1;
    bool first = true;

    for (;;) {
        struct span word = word_next(&lex, &comment);
        int next = clause_of(word);

        if (!word.len)
            break;
        if (next >= 0 && !(seen & (1U << next))) {
            if (clause == FROM && from_end == SPAN_NPOS)
                from_end = (size_t)(word.p - lex.in.p);
            if (next == FROM)
                comment = SPAN_NPOS;
            clause = next;
            seen |= 1U << next;
            first = true;
            continue;
        }
        if (next >= 0) { /* a clause that came before: the first counts */
            clause = -1;
            continue;
        }
        /* An address literal behind the first word belongs with the comments: "from host [192.0.2.1]". */
        if (clause == FROM && !first && word.p[0] == '[' && comment == SPAN_NPOS)
            comment = (size_t)(word.p - lex.in.p);
        if (clause >= 0)
            clause_store(&r, clause, word, first);
        first = false;
    }
    if (clause == FROM && from_end == SPAN_NPOS)
        from_end = lex.in.len;
    if (!(seen & (1U << FROM)))
        from_in_comment(&r, lex.in, comment);
    else if (comment != SPAN_NPOS && comment < from_end) {
        r.from_comment = span_trim(span_sub(lex.in, comment, from_end - comment));
        address_find(r.from_comment, &r.from_ip);
    }
    r.has_date =
        semicolon != SPAN_NPOS && mime_date_parse(span_from(raw, semicolon + 1), &r.date) == BRANT_OK;
    *ret = r;
}
