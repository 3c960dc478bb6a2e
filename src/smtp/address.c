#include "smtp/address.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/ip.h"

enum { LABEL_BYTES_MAX = 63, LITERAL_GROUPS_BESIDE_GAP_MAX = 6 };

/* RFC 5322 3.2.3 atext, without the non-ASCII of RFC 6531. */
static bool is_atext(uint8_t c)
{
    return ascii_is_alnum(c) || (c < 0x80 && c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* The length of a non-ASCII character that may stand in an address (RFC 6531 3.3 UTF8-non-ascii), or 0. */
static size_t utf8_char(struct span s, bool in_domain)
{
    uint32_t c = 0;
    size_t n = codec_utf8_next(s, &c);

    if (n < 2 || c < 0xa0 || c == 0x2028 || c == 0x2029)
        return 0;
    /* RFC 3490 3.1: these stand for a dot, so that a.b would be another name than it seems to be. */
    if (in_domain && (c == 0x3002 || c == 0xff0e || c == 0xff61))
        return 0;
    return n;
}

/* The length of one character of an atom at the front, or 0. */
static size_t atom_char(struct span s)
{
    if (s.len == 0)
        return 0;
    return s.p[0] < 0x80 ? is_atext(s.p[0]) : utf8_char(s, false);
}

/* RFC 5321 4.1.2: Dot-string. Its length, or 0. */
static size_t scan_dot_string(struct span s)
{
    size_t at = 0;

    for (;;) {
        size_t n = atom_char(span_from(s, at));

        if (n == 0)
            return 0;
        do {
            at += n;
            n = atom_char(span_from(s, at));
        } while (n);
        if (at >= s.len || s.p[at] != '.')
            return at;
        at++;
    }
}

/* RFC 5321 4.1.2: Quoted-string, from its first to its last quote. Its length, or 0. */
static size_t scan_quoted(struct span s)
{
    size_t at = 1;

    while (at < s.len && s.p[at] != '"') {
        if (s.p[at] == '\\') {
            if (at + 1 >= s.len || !ascii_is_print(s.p[at + 1]))
                return 0;
            at += 2;
        } else if (s.p[at] < 0x80) {
            if (!ascii_is_print(s.p[at]))
                return 0;
            at++;
        } else {
            size_t n = utf8_char(span_from(s, at), false);

            if (n == 0)
                return 0;
            at += n;
        }
    }
    return at < s.len ? at + 1 : 0;
}

static size_t scan_local(struct span s)
{
    if (s.len == 0)
        return 0;
    return s.p[0] == '"' ? scan_quoted(s) : scan_dot_string(s);
}

/* RFC 5321 4.1.2: sub-domain, RFC 6531 3.3: or U-label. Its length, or 0. */
static size_t scan_label(struct span s)
{
    size_t at = 0;

    while (at < s.len) {
        size_t n =
            s.p[at] < 0x80 ? (ascii_is_alnum(s.p[at]) || s.p[at] == '-') : utf8_char(span_from(s, at), true);

        if (n == 0)
            break;
        at += n;
    }
    return at > 0 && s.p[0] != '-' && s.p[at - 1] != '-' ? at : 0;
}

int smtp_domain_check(struct span domain)
{
    struct span s = domain;

    for (;;) {
        size_t n = scan_label(s);

        if (n == 0)
            return BRANT_ESYNTAX;
        if (n > LABEL_BYTES_MAX)
            return BRANT_ELIMIT;
        s = span_from(s, n);
        if (s.len == 0)
            break;
        if (s.p[0] != '.')
            return BRANT_ESYNTAX;
        s = span_from(s, 1);
    }
    return domain.len <= SMTP_DOMAIN_BYTES_MAX ? BRANT_OK : BRANT_ELIMIT;
}

/* RFC 5321 4.1.3: "::" stands for at least two groups; the text is known to be an IPv6 address. */
static bool gap_is_wide(struct span text)
{
    size_t gap = span_find(text, SPAN_LIT("::"));
    size_t groups = 0;
    bool inside = false;

    if (gap == SPAN_NPOS)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == ':') {
            inside = false;
        } else if (!inside) {
            inside = true;
            groups++;
        }
    }
    if (span_find_byte(text, '.') != SPAN_NPOS)
        groups++; /* the dotted quad is two groups */
    return groups <= LITERAL_GROUPS_BESIDE_GAP_MAX;
}

/* RFC 5321 4.1.3: Standardized-tag ":" 1*dcontent */
static bool is_general_literal(struct span s)
{
    size_t colon = span_find_byte(s, ':');

    if (colon == SPAN_NPOS || colon == 0 || colon + 1 == s.len || s.p[colon - 1] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (i < colon && !ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || (s.p[i] >= '[' && s.p[i] <= ']'))
            return false;
    }
    return true;
}

int smtp_literal_parse(struct span literal, struct ip_addr *ret)
{
    struct span inner;

    if (literal.len < 2 || literal.p[0] != '[' || literal.p[literal.len - 1] != ']')
        return BRANT_ESYNTAX;
    inner = span_sub(literal, 1, literal.len - 2);
    if (span_starts_nocase(inner, SPAN_LIT("IPv6:"))) {
        inner = span_from(inner, 5);
        if (span_find_byte(inner, ':') == SPAN_NPOS || !gap_is_wide(inner))
            return BRANT_ESYNTAX;
        return ip_parse(inner, ret);
    }
    if (span_find_byte(inner, ':') == SPAN_NPOS)
        return ip_parse(inner, ret);
    return is_general_literal(inner) ? BRANT_EUNSUPPORTED : BRANT_ESYNTAX;
}

static bool has_utf8(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return true;
    return false;
}

int smtp_mailbox_parse(struct span text, struct smtp_mailbox *ret)
{
    size_t n = scan_local(text);
    struct smtp_mailbox m;
    int rc;

    if (n == 0 || n >= text.len || text.p[n] != '@')
        return BRANT_ESYNTAX;
    m.local = span_sub(text, 0, n);
    m.domain = span_from(text, n + 1);
    m.quoted = text.p[0] == '"';
    m.literal = m.domain.len > 0 && m.domain.p[0] == '[';
    m.utf8 = has_utf8(text);
    if (m.literal) {
        struct ip_addr ignored;

        rc = smtp_literal_parse(m.domain, &ignored);
    } else {
        rc = smtp_domain_check(m.domain);
    }
    if (rc)
        return rc;
    if (m.local.len > SMTP_LOCAL_BYTES_MAX || text.len > SMTP_MAILBOX_BYTES_MAX)
        return BRANT_ELIMIT;
    *ret = m;
    return BRANT_OK;
}

bool smtp_mailbox_valid(struct span text, bool allow_utf8)
{
    struct smtp_mailbox m;

    return smtp_mailbox_parse(text, &m) == BRANT_OK && (allow_utf8 || !m.utf8);
}

static void normalise_local(const struct smtp_mailbox *m, struct buf *out)
{
    uint8_t plain[SMTP_LOCAL_BYTES_MAX];
    size_t len = 0;

    if (!m->quoted) {
        buf_append(out, m->local);
        return;
    }
    for (size_t i = 1; i + 1 < m->local.len && len < sizeof plain; i++) {
        if (m->local.p[i] == '\\')
            i++;
        plain[len++] = m->local.p[i];
    }
    if (len && scan_dot_string(span_make(plain, len)) == len) {
        buf_append(out, span_make(plain, len));
        return;
    }
    buf_append_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (plain[i] == '"' || plain[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, plain[i]);
    }
    buf_append_byte(out, '"');
}

static void normalise_domain(const struct smtp_mailbox *m, struct buf *out)
{
    struct ip_addr ip;
    char text[IP_TEXT_MAX];

    if (m->literal) {
        if (smtp_literal_parse(m->domain, &ip) == BRANT_OK && ip_format(&ip, text) == BRANT_OK)
            buf_printf(out, "[%s%s]", ip.family == IP_V6 ? "IPv6:" : "", text);
        return;
    }
    for (size_t i = 0; i < m->domain.len; i++)
        buf_append_byte(out, ascii_lower(m->domain.p[i]));
}

int smtp_mailbox_normalise(const struct smtp_mailbox *m, struct buf *out)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    normalise_local(m, out);
    buf_append_byte(out, '@');
    normalise_domain(m, out);
    if (out->overflowed) {
        out->len = start;
        return BRANT_ELIMIT;
    }
    out->overflowed = before;
    return BRANT_OK;
}

/* RFC 5321 4.1.2: A-d-l ":" at the front of *text is taken off. */
static int skip_route(struct span *text)
{
    struct span s = *text;

    if (s.len == 0 || s.p[0] != '@')
        return BRANT_OK;
    for (;;) {
        size_t end = 1;

        while (end < s.len && s.p[end] != ',' && s.p[end] != ':')
            end++;
        if (s.p[0] != '@' || end >= s.len || smtp_domain_check(span_sub(s, 1, end - 1)))
            return BRANT_ESYNTAX;
        *text = span_from(s, end + 1);
        if (s.p[end] == ':')
            return BRANT_OK;
        s = *text;
        if (s.len == 0)
            return BRANT_ESYNTAX;
    }
}

/* What stands between the brackets. */
static int parse_inner(struct span inner, enum smtp_path_use use, struct smtp_path *ret)
{
    struct smtp_path path = {0};
    int rc;

    if (inner.len == 0) {
        if (use != SMTP_PATH_REVERSE)
            return BRANT_ESYNTAX;
        path.kind = SMTP_PATH_NULL;
    } else if (use == SMTP_PATH_FORWARD && span_eq_str_nocase(inner, "postmaster")) {
        path.kind = SMTP_PATH_POSTMASTER; /* RFC 5321 4.5.1 */
    } else {
        path.kind = SMTP_PATH_MAILBOX;
        rc = skip_route(&inner);
        if (!rc)
            rc = smtp_mailbox_parse(inner, &path.mailbox);
        if (rc)
            return rc;
    }
    *ret = path;
    return BRANT_OK;
}

/* The length of the path at the front: to the bracket that closes it, or to the space that ends a bare
 * mailbox; quoted strings are stepped over. 0 when it does not end. */
static size_t path_length(struct span text)
{
    bool bracket = text.len > 0 && text.p[0] == '<';
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && bracket && c == '>')
            return i + 1;
        else if (!quoted && !bracket && c == ' ')
            return i;
    }
    return bracket ? 0 : text.len;
}

int smtp_path_parse(struct span text, enum smtp_path_use use, struct smtp_path *ret, struct span *ret_rest)
{
    size_t len = path_length(text);
    struct span path = span_sub(text, 0, len);
    struct span rest = span_from(text, len);
    int rc;

    if (len == 0 || (rest.len && rest.p[0] != ' '))
        return BRANT_ESYNTAX;
    if (path.p[0] == '<')
        path = span_sub(path, 1, len - 2);
    else if (span_find_byte(path, '@') == SPAN_NPOS)
        return BRANT_ESYNTAX; /* <> and <postmaster> need their brackets */
    if (path.len > SMTP_MAILBOX_BYTES_MAX)
        return BRANT_ELIMIT;
    rc = parse_inner(path, use, ret);
    if (!rc)
        *ret_rest = rest;
    return rc;
}
