#include "smtp/param.h"

#include "base/ascii.h"
#include "base/err.h"

enum { PARAMS_MAX = 32 };

static bool is_value_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '=';
}

int smtp_param_next(struct span *text, struct smtp_param *ret)
{
    struct span s = *text;
    struct smtp_param p = {0};
    size_t n = 0;

    while (s.len && s.p[0] == ' ')
        s = span_from(s, 1);
    if (s.len == 0)
        return BRANT_ENOTFOUND;
    if (s.len == text->len || !ascii_is_alnum(s.p[0]))
        return BRANT_ESYNTAX;
    while (n < s.len && (ascii_is_alnum(s.p[n]) || s.p[n] == '-'))
        n++;
    p.keyword = span_sub(s, 0, n);
    s = span_from(s, n);
    if (s.len && s.p[0] == '=') {
        for (n = 1; n < s.len && is_value_char(s.p[n]); n++)
            ;
        if (n == 1)
            return BRANT_ESYNTAX;
        p.value = span_sub(s, 1, n - 1);
        p.has_value = true;
        s = span_from(s, n);
    }
    if (s.len && s.p[0] != ' ')
        return BRANT_ESYNTAX;
    *text = s;
    *ret = p;
    return BRANT_OK;
}

int smtp_param_check(struct span text)
{
    struct span seen[PARAMS_MAX];
    struct smtp_param p;
    size_t count = 0;
    int rc;

    while ((rc = smtp_param_next(&text, &p)) == BRANT_OK) {
        for (size_t i = 0; i < count; i++)
            if (span_eq_nocase(seen[i], p.keyword))
                return BRANT_ESYNTAX; /* RFC 5321 4.1.1.11: each keyword at most once */
        if (count == PARAMS_MAX)
            return BRANT_ELIMIT;
        seen[count++] = p.keyword;
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* An upper-case hexadecimal digit (RFC 3461 4), or -1. */
static int hex_upper(uint8_t c)
{
    return ascii_is_digit(c) || (c >= 'A' && c <= 'F') ? ascii_hex_value(c) : -1;
}

int smtp_xtext_decode(struct span text, struct buf *out)
{
    size_t start = out->len;
    int rc = BRANT_OK;

    for (size_t i = 0; i < text.len && !rc; i++) {
        int c = text.p[i];

        if (c == '+') {
            int high = i + 2 < text.len ? hex_upper(text.p[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_upper(text.p[i + 2]) : -1;

            c = high < 0 || low < 0 ? -1 : high << 4 | low;
            i += 2;
        } else if (c == '=' || c == ' ') {
            c = -1;
        }
        if (c < 0x20 || c >= 0x7f)
            rc = BRANT_ESYNTAX;
        else
            rc = buf_append_byte(out, (uint8_t)c);
    }
    if (rc)
        out->len = start;
    return rc;
}
