#include "imap/lex.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

bool imap_is_atom_char(uint8_t c)
{
    return c > ' ' && c < 0x7f && !strchr("(){%*\"\\]", c);
}

static bool is_astring_char(uint8_t c)
{
    return c == ']' || imap_is_atom_char(c);
}

static bool is_list_char(uint8_t c)
{
    return c == '%' || c == '*' || is_astring_char(c);
}

static bool is_tag_char(uint8_t c)
{
    return c != '+' && is_astring_char(c);
}

bool imap_lex_end(const struct imap_lex *lex)
{
    for (size_t i = lex->pos; i < lex->in.len; i++)
        if (lex->in.p[i] != ' ')
            return false;
    return true;
}

uint8_t imap_lex_peek(const struct imap_lex *lex)
{
    return lex->pos < lex->in.len ? lex->in.p[lex->pos] : 0;
}

bool imap_lex_byte(struct imap_lex *lex, char c)
{
    if (lex->pos == lex->in.len || lex->in.p[lex->pos] != (uint8_t)c)
        return false;
    lex->pos++;
    return true;
}

bool imap_lex_space(struct imap_lex *lex)
{
    return imap_lex_byte(lex, ' ');
}

/* At least one byte that belongs to the class. */
static bool run(struct imap_lex *lex, bool (*is)(uint8_t c), struct span *ret)
{
    size_t start = lex->pos;

    while (lex->pos < lex->in.len && is(lex->in.p[lex->pos]))
        lex->pos++;
    *ret = span_sub(lex->in, start, lex->pos - start);
    return ret->len > 0;
}

bool imap_lex_atom(struct imap_lex *lex, struct span *ret)
{
    return run(lex, imap_is_atom_char, ret);
}

bool imap_lex_tag(struct imap_lex *lex, struct span *ret)
{
    return run(lex, is_tag_char, ret);
}

bool imap_lex_word(struct imap_lex *lex, const char *word)
{
    struct imap_lex at = *lex;
    struct span atom;

    if (!imap_lex_atom(&at, &atom) || !span_eq_str_nocase(atom, word))
        return false;
    *lex = at;
    return true;
}

/* Behind the opening quote. The closing one has to come, CR, LF and NUL must not. */
static bool quoted(struct imap_lex *lex, struct span *ret)
{
    size_t start = lex->pos + 1, at = start, escapes = 0;
    struct span text;
    uint8_t *copy;

    while (at < lex->in.len && lex->in.p[at] != '"') {
        uint8_t c = lex->in.p[at];

        if (c == '\\') { /* RFC 3501 9: only these two may be quoted */
            if (++at == lex->in.len || (lex->in.p[at] != '"' && lex->in.p[at] != '\\'))
                return false;
            escapes++;
        } else if (c == '\r' || c == '\n' || c == '\0') {
            return false;
        }
        at++;
    }
    text = span_sub(lex->in, start, at - start);
    if (at == lex->in.len || !codec_utf8_valid(text))
        return false;
    if (escapes) {
        size_t len = 0;

        if (!(copy = arena_alloc(lex->arena, text.len)))
            return false;
        for (size_t i = 0; i < text.len; i++) {
            if (text.p[i] == '\\')
                i++;
            copy[len++] = text.p[i];
        }
        text = span_make(copy, len);
    }
    *ret = text;
    lex->pos = at + 1;
    return true;
}

/* At "{": the bytes behind "{n}" or "{n+}" and CRLF. */
static bool literal(struct imap_lex *lex, struct span *ret)
{
    struct span rest = span_from(lex->in, lex->pos + 1);
    size_t close = span_find_byte(rest, '}');
    struct span digits = span_sub(rest, 0, close);
    uint64_t len;

    if (close == SPAN_NPOS)
        return false;
    if (digits.len && digits.p[digits.len - 1] == '+')
        digits.len--;
    rest = span_from(rest, close + 1);
    if (span_to_u64(digits, SIZE_MAX, &len) != BRANT_OK || !span_starts(rest, SPAN_LIT("\r\n")) ||
        len > rest.len - 2)
        return false;
    *ret = span_sub(rest, 2, (size_t)len);
    lex->pos = (size_t)(ret->p - lex->in.p) + ret->len;
    return true;
}

bool imap_lex_string(struct imap_lex *lex, struct span *ret)
{
    struct imap_lex at = *lex;
    struct span text;

    switch (imap_lex_peek(lex)) {
    case '"':
        return quoted(lex, ret);
    case '{':
        if (!literal(&at, &text) || span_find_byte(text, 0) != SPAN_NPOS) /* CHAR8: no NUL */
            return false;
        *lex = at;
        *ret = text;
        return true;
    default:
        return false;
    }
}

bool imap_lex_literal8(struct imap_lex *lex, struct span *ret)
{
    struct imap_lex at = *lex;

    if (!imap_lex_byte(&at, '~') || imap_lex_peek(&at) != '{' || !literal(&at, ret))
        return false;
    *lex = at;
    return true;
}

bool imap_lex_astring(struct imap_lex *lex, struct span *ret)
{
    return run(lex, is_astring_char, ret) || imap_lex_string(lex, ret);
}

bool imap_lex_nstring(struct imap_lex *lex, struct span *ret)
{
    if (!imap_lex_word(lex, "NIL"))
        return imap_lex_string(lex, ret);
    *ret = SPAN_NONE;
    return true;
}

bool imap_lex_list_mailbox(struct imap_lex *lex, struct span *ret)
{
    return run(lex, is_list_char, ret) || imap_lex_string(lex, ret);
}

bool imap_lex_number(struct imap_lex *lex, uint64_t max, uint64_t *ret)
{
    size_t end = lex->pos;

    while (end < lex->in.len && ascii_is_digit(lex->in.p[end]))
        end++;
    if (span_to_u64(span_sub(lex->in, lex->pos, end - lex->pos), max, ret) != BRANT_OK)
        return false;
    lex->pos = end;
    return true;
}

bool imap_lex_flag(struct imap_lex *lex, struct span *ret)
{
    struct imap_lex at = *lex;
    struct span atom;
    size_t start = lex->pos;

    imap_lex_byte(&at, '\\');
    if (!imap_lex_atom(&at, &atom))
        return false;
    *ret = span_sub(lex->in, start, at.pos - start);
    *lex = at;
    return true;
}

/* ---- sequence sets ---- */

/* nz-number, or "*" where it may stand. */
static bool seq_number(struct imap_lex *lex, bool star, uint32_t *ret)
{
    uint64_t number;

    if (star && imap_lex_byte(lex, '*')) {
        *ret = 0;
        return true;
    }
    if (!imap_lex_number(lex, UINT32_MAX, &number) || number == 0)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static bool seq_set(struct imap_lex *lex, bool star, struct imap_seq_set *ret)
{
    struct imap_lex at = *lex;
    struct span text;
    size_t max = 1;

    *ret = (struct imap_seq_set){0};
    /* Each range is behind a comma: that is how many there can be. */
    for (size_t i = at.pos; i < at.in.len && (ascii_is_digit(at.in.p[i]) || strchr(":,*", at.in.p[i])); i++)
        max += at.in.p[i] == ',';
    if (!(ret->ranges = arena_array(at.arena, max, sizeof *ret->ranges)))
        return false;
    do {
        struct imap_range *r = &ret->ranges[ret->count++];

        if (!seq_number(&at, star, &r->first))
            return false;
        r->last = r->first;
        if (imap_lex_byte(&at, ':') && !seq_number(&at, star, &r->last))
            return false;
    } while (imap_lex_byte(&at, ','));
    if (run(&(struct imap_lex){at.in, at.pos, NULL}, imap_is_atom_char, &text)) /* "1x" */
        return false;
    *lex = at;
    return true;
}

bool imap_lex_seq_set(struct imap_lex *lex, struct imap_seq_set *ret)
{
    struct imap_lex at = *lex;
    struct span atom;

    if (imap_lex_atom(&at, &atom) && span_eq_str(atom, "$")) { /* RFC 5182 2.1 */
        *ret = (struct imap_seq_set){.saved = true};
        *lex = at;
        return true;
    }
    return seq_set(lex, true, ret);
}

bool imap_lex_uid_set(struct imap_lex *lex, struct imap_seq_set *ret)
{
    return seq_set(lex, false, ret);
}
