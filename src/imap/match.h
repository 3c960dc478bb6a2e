/* Looking for strings in text that comes in pieces, in linear time (Knuth, Morris, Pratt): a string is found
 * across the borders of pieces, and hostile strings cost no more than others. Bytes are compared; both sides
 * are folded before (mime/fold.h). */
#ifndef IMAP_MATCH_H
#define IMAP_MATCH_H

#include "base/arena.h"

struct imap_needle {
    struct span text;
    uint32_t *fall; /* where to go on when the byte behind the first i does not fit */
};

/* In the arena; the text is borrowed. False: the arena is full. */
bool imap_needle_make(struct arena *a, struct span text, struct imap_needle *ret);

struct imap_match { /* {0} at the start of a text */
    size_t at;      /* so many bytes of the needle fit at the end of what was read */
};

/* Whether the needle ends in this piece or is empty. Once it was found, what follows means nothing. */
bool imap_match_feed(struct imap_match *m, const struct imap_needle *needle, struct span piece);

#endif
