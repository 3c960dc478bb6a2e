#include "imap/pattern.h"

#include "base/ascii.h"
#include "base/err.h"
#include "imap/name.h"
#include "mime/normal.h"

enum { WORDS_MAX = IMAP_PATTERN_BYTES_MAX / 64 + 1 };

static void bit_set(uint64_t *set, size_t i)
{
    set[i / 64] |= (uint64_t)1 << i % 64;
}

/* In UTF-8 and NFC, wildcards in a row made one; INBOX as the names have it. */
static int prepare(struct span reference, struct span said, bool utf8, struct buf *out)
{
    _cleanup_buf_ struct buf text = {0}, whole = {0}, plain = {0};
    int err;

    buf_init(&plain, 4 * IMAP_PATTERN_BYTES_MAX);
    buf_init(&whole, 4 * IMAP_PATTERN_BYTES_MAX);
    buf_init(&text, 4 * IMAP_PATTERN_BYTES_MAX);
    if (buf_append(&whole, reference) != BRANT_OK || buf_append(&whole, said) != BRANT_OK)
        return BRANT_ELIMIT;
    err = utf8 ? buf_append(&plain, buf_span(&whole)) : imap_utf7_to_utf8(buf_span(&whole), &plain);
    if (!err)
        err = mime_nfc(buf_span(&plain), &text);
    if (err)
        return err;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        while ((c == '*' || c == '%') && i + 1 < text.len &&
               (text.data[i + 1] == '*' || text.data[i + 1] == '%')) {
            if (text.data[++i] == '*')
                c = '*';
        }
        if (buf_append_byte(out, c) != BRANT_OK)
            return BRANT_ELIMIT;
    }
    return BRANT_OK;
}

/* The byte's set; made when there is none. */
static uint64_t *set_of(struct imap_pattern *p, uint8_t c, uint8_t *made)
{
    if (!p->index[c])
        p->index[c] = ++*made;
    return p->sets + p->index[c] * p->words;
}

int imap_pattern_compile(struct span reference, struct span said, bool utf8, struct arena *a,
                         struct imap_pattern *ret)
{
    struct imap_pattern p = {0};
    _cleanup_buf_ struct buf text = {0};
    struct span first;
    uint8_t made = 0;
    int err;

    buf_init(&text, IMAP_PATTERN_BYTES_MAX);
    err = prepare(reference, said, utf8, &text);
    if (err)
        return err;
    first = span_sub(buf_span(&text), 0, span_find_byte(buf_span(&text), '/'));
    if (span_eq_str_nocase(first, "INBOX"))
        memcpy(text.data, "INBOX", 5);
    p.inbox = first.len && (first.p[0] == 'i' || first.p[0] == 'I' || first.p[0] == '*' || first.p[0] == '%');
    p.len = text.len;
    p.words = text.len / 64 + 1;
    p.star = arena_array(a, p.words, sizeof *p.star);
    p.percent = arena_array(a, p.words, sizeof *p.percent);
    /* UTF-8 has at most 243 different bytes, so the number of sets fits into a byte */
    p.sets = arena_array(a, (text.len < 255 ? text.len : 255) + 1, p.words * sizeof *p.sets);
    if (!p.star || !p.percent || !p.sets)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        bit_set(c == '*' ? p.star : c == '%' ? p.percent : set_of(&p, c, &made), i);
    }
    *ret = p;
    return BRANT_OK;
}

/* Adds the places behind wildcards, which may stand for nothing. Wildcards never stand side by side. */
static void pass_wildcards(const struct imap_pattern *p, uint64_t *at)
{
    uint64_t carry = 0;

    for (size_t w = 0; w < p->words; w++) {
        uint64_t wild = at[w] & (p->star[w] | p->percent[w]);

        at[w] |= wild << 1 | carry;
        carry = wild >> 63;
    }
}

/* at: the set of places where the pattern may be after what was read; place len is its end. */
static bool match(const struct imap_pattern *p, struct span name)
{
    uint64_t at[WORDS_MAX] = {1};

    pass_wildcards(p, at);
    for (size_t i = 0; i < name.len; i++) {
        const uint64_t *set = p->sets + p->index[name.p[i]] * p->words;
        uint64_t carry = 0, any = 0;

        for (size_t w = 0; w < p->words; w++) {
            uint64_t step = at[w] & set[w];
            uint64_t stay = at[w] & (p->star[w] | (name.p[i] == '/' ? 0 : p->percent[w]));

            at[w] = step << 1 | carry | stay;
            carry = step >> 63;
            any |= at[w];
        }
        if (!any)
            return false;
        pass_wildcards(p, at);
    }
    return at[p->len / 64] >> p->len % 64 & 1;
}

bool imap_pattern_match(const struct imap_pattern *p, struct span name)
{
    uint8_t lower[IMAP_NAME_BYTES_MAX];

    if (match(p, name))
        return true;
    if (!p->inbox || !span_starts(name, SPAN_LIT("INBOX")) || name.len > sizeof lower)
        return false;
    memcpy(lower, name.p, name.len); /* RFC 3501 5.1: "i%" finds INBOX as well */
    memcpy(lower, "inbox", 5);
    return match(p, span_make(lower, name.len));
}
