/* A span: bytes that somebody else owns. It is valid as long as the memory behind it.
 * No function here allocates; spans may hold any byte, NUL included, and are never NUL-terminated. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *p; /* may be NULL when len is 0 */
    size_t len;
};

#define SPAN_NONE ((struct span){NULL, 0})
/* A span of a string literal, without its NUL. */
#define SPAN_LIT(text) ((struct span){(const uint8_t *)("" text), sizeof(text) - 1})
/* For printf's "%.*s"; bytes are shown as they are, so only for text already checked. */
#define SPAN_ARG(s) (int)(s).len, (const char *)(s).p

static inline struct span span_make(const void *p, size_t len)
{
    return (struct span){p, len};
}

static inline struct span span_str(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* The part from offset on, of at most len bytes; both are clamped to the span. */
static inline struct span span_sub(struct span s, size_t offset, size_t len)
{
    if (offset > s.len)
        offset = s.len;
    if (len > s.len - offset)
        len = s.len - offset;
    return (struct span){s.p ? s.p + offset : NULL, len};
}

static inline struct span span_from(struct span s, size_t offset)
{
    return span_sub(s, offset, s.len);
}

bool span_eq(struct span a, struct span b);
bool span_eq_nocase(struct span a, struct span b); /* ASCII letters only */
bool span_eq_str(struct span a, const char *text);
bool span_eq_str_nocase(struct span a, const char *text);
bool span_starts(struct span s, struct span prefix);
bool span_starts_nocase(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);

#define SPAN_NPOS ((size_t)-1)
size_t span_find_byte(struct span s, uint8_t byte);  /* first place, or SPAN_NPOS */
size_t span_rfind_byte(struct span s, uint8_t byte); /* last place, or SPAN_NPOS */
size_t span_find(struct span s, struct span needle); /* first place, or SPAN_NPOS */

/* memcmp order, shorter first when one is a prefix of the other: <0, 0, >0. */
int span_cmp(struct span a, struct span b);

/* Without the leading and trailing spaces and tabs. */
struct span span_trim(struct span s);

/* Unsigned decimal, digits only, whole span, at most max.
 * BRANT_ESYNTAX: empty or not digits. BRANT_ELIMIT: larger than max. */
int span_to_u64(struct span s, uint64_t max, uint64_t *ret);

#endif
