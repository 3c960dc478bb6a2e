#include "msa/mailbox.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

enum { LOCAL_BYTES_MAX = 64, DOMAIN_BYTES_MAX = 255, LABEL_BYTES_MAX = 63, ADDRESS_BYTES_MAX = 254 };

struct reader {
    struct span in;
    size_t pos;
    const char *reason; /* set with the first failure */
};

static int fail(struct reader *r, const char *reason)
{
    r->reason = reason;
    return BRANT_ESYNTAX;
}

/* 0 at the end; NUL is refused before. */
static uint8_t peek(const struct reader *r)
{
    return r->pos < r->in.len ? r->in.p[r->pos] : 0;
}

static void skip_space(struct reader *r)
{
    while (ascii_is_wsp(peek(r)) || peek(r) == '\r' || peek(r) == '\n')
        r->pos++;
}

/* RFC 5322 3.2.3 */
static bool is_atext(uint8_t c)
{
    return ascii_is_alnum(c) || (c && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* RFC 6532 3.1, without controls, separators and, in domains, the other full stops of IDNA (RFC 3490 3.1):
 * the length of a non-ASCII character that may stand in an address, or 0. */
static size_t utf8_char(struct span s, bool in_domain)
{
    uint32_t c = 0;
    size_t n = codec_utf8_next(s, &c);

    if (n < 2 || c < 0xa1 || c == 0xad || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
        (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff || (c >= 0xfff0 && c <= 0xffff))
        return 0;
    if (c == 0xff20 || c == 0xfe6b) /* commercial at, in other clothes */
        return 0;
    return in_domain && (c == 0x3002 || c == 0xff0e || c == 0xff61) ? 0 : n;
}

static size_t atom_char(struct span s)
{
    if (!s.len)
        return 0;
    return s.p[0] < 0x80 ? is_atext(s.p[0]) : utf8_char(s, false);
}

/* The length of the dot-atom at the front, or 0. */
static size_t scan_dot_atom(struct span s)
{
    size_t at = 0;

    for (;;) {
        size_t n = atom_char(span_from(s, at));

        if (!n)
            return 0;
        for (; n; n = atom_char(span_from(s, at)))
            at += n;
        if (at >= s.len || s.p[at] != '.')
            return at;
        at++;
    }
}

/* The length of the quoted string at the front when only atom characters and dots are in it, or 0. */
static size_t scan_plain_quoted(struct span s)
{
    size_t at = 1;

    for (;;) {
        size_t n = atom_char(span_from(s, at));

        if (!n && at < s.len && s.p[at] == '.')
            n = 1;
        if (!n)
            break;
        at += n;
    }
    return at > 1 && at < s.len && s.p[at] == '"' ? at + 1 : 0;
}

static size_t scan_local(struct span s)
{
    size_t n = s.len && s.p[0] == '"' ? scan_plain_quoted(s) : scan_dot_atom(s);

    return span_find(span_sub(s, 0, n), SPAN_LIT("=?")) == SPAN_NPOS ? n : 0;
}

/* The length of one label at the front, or 0. */
static size_t scan_label(struct span s)
{
    size_t at = 0;

    while (at < s.len) {
        uint8_t c = s.p[at];
        size_t n = c < 0x80 ? (ascii_is_alnum(c) || c == '-') : utf8_char(span_from(s, at), true);

        if (!n)
            break;
        at += n;
    }
    return at && at <= LABEL_BYTES_MAX && s.p[0] != '-' && s.p[at - 1] != '-' ? at : 0;
}

static size_t scan_domain(struct span s)
{
    size_t at = 0;

    for (;;) {
        size_t n = scan_label(span_from(s, at));

        if (!n)
            return 0;
        at += n;
        if (at >= s.len || s.p[at] != '.')
            return at;
        at++;
    }
}

/* Whether an address could begin here: something up to "@" without a space. Then it must be one. */
static bool address_ahead(const struct reader *r)
{
    struct span s = span_from(r->in, r->pos);
    size_t n = s.len && s.p[0] == '"' ? scan_plain_quoted(s) : scan_dot_atom(s);

    return n && n < s.len && s.p[n] == '@';
}

static int read_address(struct reader *r, struct msa_mailbox *ret)
{
    struct span s = span_from(r->in, r->pos);
    size_t local = scan_local(s), domain;

    if (!local)
        return fail(r, peek(r) == '>'   ? "an empty address"
                       : peek(r) == '@' ? "a route or an address without a local part"
                                        : "an address whose local part is not plain");
    if (local >= s.len || s.p[local] != '@')
        return fail(r, "an address without a plain local part and a domain");
    domain = scan_domain(span_from(s, local + 1));
    if (!domain)
        return fail(r, "an address whose domain is no domain name");
    if (local > LOCAL_BYTES_MAX || domain > DOMAIN_BYTES_MAX || local + 1 + domain > ADDRESS_BYTES_MAX)
        return fail(r, "an address that is too long");
    ret->local = span_sub(s, 0, local);
    ret->domain = span_sub(s, local + 1, domain);
    r->pos += local + 1 + domain;
    return BRANT_OK;
}

/* At a quote: moves behind the closing one. */
static int skip_quoted(struct reader *r)
{
    for (r->pos++; r->pos < r->in.len; r->pos++) {
        if (peek(r) == '"') {
            r->pos++;
            return BRANT_OK;
        }
        if (peek(r) == '\\' && (++r->pos >= r->in.len || !ascii_is_print(peek(r))))
            break;
    }
    return fail(r, "a quoted string that does not end");
}

/* Words up to "<". RFC 5322 3.2.5; dots outside quotes (4.1 obs-phrase) are what "John Q. Public" has. */
static int read_phrase(struct reader *r, struct msa_mailbox *ret)
{
    size_t start = r->pos, end = start;

    for (;;) {
        uint8_t c;

        skip_space(r);
        c = peek(r);
        if (c == '<')
            break;
        if (c == '"') {
            if (skip_quoted(r))
                return BRANT_ESYNTAX;
        } else if (is_atext(c) || c >= 0x80 || c == '.') {
            r->pos++;
        } else if (r->pos >= r->in.len || c == ',') {
            return fail(r, end == start ? "an empty place where a mailbox should be"
                                        : "a name without an address");
        } else if (c == ':' || c == ';') {
            return fail(r, "a group");
        } else if (c == '(') {
            return fail(r, "a comment before the address");
        } else {
            return fail(r, c == '@' ? "a stray @" : "a special character outside quotes");
        }
        end = r->pos;
    }
    ret->name = span_sub(r->in, start, end - start);
    return BRANT_OK;
}

static int read_comment(struct reader *r, struct msa_mailbox *ret)
{
    size_t start = ++r->pos;

    while (r->pos < r->in.len && !strchr("()<>@,:;\"\\", peek(r)))
        r->pos++;
    if (peek(r) != ')')
        return fail(r, "a comment with special characters");
    ret->comment = span_sub(r->in, start, r->pos - start);
    r->pos++;
    return BRANT_OK;
}

static int read_mailbox(struct reader *r, struct msa_mailbox *ret)
{
    skip_space(r);
    if (address_ahead(r)) {
        if (read_address(r, ret))
            return BRANT_ESYNTAX;
    } else {
        if (read_phrase(r, ret))
            return BRANT_ESYNTAX;
        r->pos++;
        if (read_address(r, ret))
            return BRANT_ESYNTAX;
        if (peek(r) != '>')
            return fail(r, "an address with something else between its brackets");
        r->pos++;
    }
    skip_space(r);
    if (peek(r) == '(' && read_comment(r, ret))
        return BRANT_ESYNTAX;
    skip_space(r);
    if (r->pos < r->in.len && peek(r) != ',')
        return fail(r,
                    peek(r) == ';' || peek(r) == ':' ? "a group or a semicolon" : "text behind the address");
    return BRANT_OK;
}

/* What a charset of two bytes per character could take for half a character. */
static bool half_characters(struct span raw)
{
    for (size_t i = 0; i + 1 < raw.len; i++) {
        uint8_t next = raw.p[i + 1];

        if (raw.p[i] >= 0x80 && next >= 0x40 && next < 0x7f && !ascii_is_alpha(next))
            return true;
    }
    return false;
}

static bool has_controls(struct span raw)
{
    for (size_t i = 0; i < raw.len; i++)
        if (ascii_is_ctl(raw.p[i]) && raw.p[i] != '\t' && raw.p[i] != '\r' && raw.p[i] != '\n')
            return true;
    return false;
}

static bool has_utf8(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return true;
    return false;
}

int msa_mailboxes_parse(struct span raw, struct msa_mailboxes *ret, const char **ret_reason)
{
    struct reader r = {.in = raw};
    int rc = BRANT_OK;

    ret->count = 0;
    ret->utf8 = false;
    if (has_controls(raw))
        rc = fail(&r, "a control character");
    if (!rc && !codec_utf8_valid(raw) && half_characters(raw))
        rc = fail(&r, "special characters behind bytes that are not UTF-8");
    while (!rc) {
        struct msa_mailbox m = {0};

        if (ret->count == MSA_MAILBOXES_MAX) {
            r.reason = "too many mailboxes";
            rc = BRANT_ELIMIT;
            break;
        }
        rc = read_mailbox(&r, &m);
        if (rc)
            break;
        ret->utf8 = ret->utf8 || has_utf8(m.local) || has_utf8(m.domain);
        ret->items[ret->count++] = m;
        if (r.pos >= raw.len)
            break;
        r.pos++; /* the comma */
    }
    *ret_reason = r.reason;
    return rc;
}

int msa_mailbox_address(const struct msa_mailbox *m, struct buf *out)
{
    size_t before = out->len;
    struct span plain = m->local;

    if (plain.len >= 2 && plain.p[0] == '"') {
        plain = span_sub(plain, 1, plain.len - 2);
        if (scan_dot_atom(plain) != plain.len)
            plain = m->local;
    }
    buf_append(out, plain);
    buf_append_byte(out, '@');
    for (size_t i = 0; i < m->domain.len; i++)
        buf_append_byte(out, ascii_lower(m->domain.p[i]));
    if (!out->overflowed)
        return BRANT_OK;
    out->len = before;
    return BRANT_ELIMIT;
}
