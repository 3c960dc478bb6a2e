/* The patterns of LIST and LSUB (RFC 3501 6.3.8): "*" is any run of characters, "%" any without "/".
 *
 * A pattern is compiled into sets of places and then tried on names with a few words of arithmetic per byte,
 * however many wildcards it has: time is bounded by length of name times length of pattern / 64. */
#ifndef IMAP_PATTERN_H
#define IMAP_PATTERN_H

#include "base/arena.h"

struct imap_pattern {
    size_t len;         /* tokens: bytes and wildcards */
    size_t words;       /* of each set: len / 64 + 1 */
    uint8_t index[256]; /* which of the sets below is a byte's; 0: it does not occur */
    uint64_t *sets;     /* bytes' sets, index * words each; index 0 is empty */
    uint64_t *star, *percent;
    bool inbox; /* the first level is said so that INBOX fits in any case */
};

/* reference and pattern as the client said them, run together. The pattern lives in the arena.
 * BRANT_ESYNTAX: no modified UTF-7 (or UTF-8): it matches nothing. BRANT_ELIMIT: too long. */
int imap_pattern_compile(struct span reference, struct span said, bool utf8, struct arena *a,
                         struct imap_pattern *ret);
bool imap_pattern_match(const struct imap_pattern *p, struct span name);

enum { IMAP_PATTERN_BYTES_MAX = 1000 };

#endif
