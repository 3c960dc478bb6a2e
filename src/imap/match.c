#include "imap/match.h"

bool imap_needle_make(struct arena *a, struct span text, struct imap_needle *ret)
{
    uint32_t *fall = arena_array(a, text.len + 1, sizeof *fall);
    size_t k = 0;

    if (!fall || text.len > UINT32_MAX)
        return false;
    for (size_t i = 1; i < text.len; i++) {
        while (k && text.p[k] != text.p[i])
            k = fall[k];
        k += text.p[k] == text.p[i];
        fall[i + 1] = (uint32_t)k;
    }
    *ret = (struct imap_needle){text, fall};
    return true;
}

bool imap_match_feed(struct imap_match *m, const struct imap_needle *needle, struct span piece)
{
    const uint8_t *at = piece.p, *end = piece.p + piece.len, *text = needle->text.p;
    size_t k = m->at;

    if (!needle->text.len)
        return true;
    while (at < end) {
        if (k == 0) { /* the common case: nothing fits yet */
            at = memchr(at, text[0], (size_t)(end - at));
            if (!at)
                break;
        }
        while (k && text[k] != *at)
            k = needle->fall[k];
        k += text[k] == *at++;
        if (k == needle->text.len)
            return true;
    }
    m->at = k;
    return false;
}
