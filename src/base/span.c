#include "base/span.h"

#include "base/ascii.h"
#include "base/err.h"

bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

bool span_eq_str(struct span a, const char *text)
{
    return span_eq(a, span_str(text));
}

bool span_eq_str_nocase(struct span a, const char *text)
{
    return span_eq_nocase(a, span_str(text));
}

bool span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_eq(span_sub(s, 0, prefix.len), prefix);
}

bool span_starts_nocase(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_eq_nocase(span_sub(s, 0, prefix.len), prefix);
}

bool span_ends(struct span s, struct span suffix)
{
    return s.len >= suffix.len && span_eq(span_from(s, s.len - suffix.len), suffix);
}

size_t span_find_byte(struct span s, uint8_t byte)
{
    const uint8_t *hit = s.len ? memchr(s.p, byte, s.len) : NULL;

    return hit ? (size_t)(hit - s.p) : SPAN_NPOS;
}

size_t span_rfind_byte(struct span s, uint8_t byte)
{
    for (size_t i = s.len; i > 0; i--)
        if (s.p[i - 1] == byte)
            return i - 1;
    return SPAN_NPOS;
}

size_t span_find(struct span s, struct span needle)
{
    if (needle.len == 0)
        return 0;
    for (size_t at = 0; at + needle.len <= s.len; at++) {
        size_t hop = span_find_byte(span_from(s, at), needle.p[0]);

        if (hop == SPAN_NPOS || (at += hop) + needle.len > s.len)
            return SPAN_NPOS;
        if (memcmp(s.p + at, needle.p, needle.len) == 0)
            return at;
    }
    return SPAN_NPOS;
}

int span_cmp(struct span a, struct span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.p, b.p, common) : 0;

    if (order)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

struct span span_trim(struct span s)
{
    while (s.len && ascii_is_wsp(s.p[0]))
        s = span_from(s, 1);
    while (s.len && ascii_is_wsp(s.p[s.len - 1]))
        s.len--;
    return s;
}

int span_to_u64(struct span s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (s.len == 0)
        return BRANT_ESYNTAX;
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_digit(s.p[i]))
            return BRANT_ESYNTAX;
    for (size_t i = 0; i < s.len; i++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value) || value > max)
            return BRANT_ELIMIT;
    }
    *ret = value;
    return BRANT_OK;
}
