/* Sets of numbers as ranges: UIDs, message sequence numbers.
 *
 * A set is sorted, its ranges neither overlap nor touch, and it is born with the most ranges it may ever hold
 * (eight bytes each). Numbers are 1 to 2^32-1 (RFC 3501 9: nz-number). */
#ifndef IMAP_SET_H
#define IMAP_SET_H

#include "base/buf.h"

struct imap_range {
    uint32_t first, last; /* both belong to it */
};

struct imap_set {
    struct imap_range *r; /* owned */
    size_t len, cap, max; /* in ranges */
};

void imap_set_init(struct imap_set *s, size_t ranges_max);
void imap_set_done(struct imap_set *s);  /* frees; the maximum stays */
void imap_set_reset(struct imap_set *s); /* empties, keeps the memory */

/* Adds first to last (the smaller one first, not 0). Ascending order costs nothing, any other a search and a
 * move. BRANT_ELIMIT: too many ranges; the set is unchanged. */
int imap_set_add(struct imap_set *s, uint32_t first, uint32_t last);
/* Makes the set of ranges in any order, which may overlap: n log n. BRANT_ELIMIT: unchanged. */
int imap_set_assign(struct imap_set *s, const struct imap_range *ranges, size_t count);

bool imap_set_contains(const struct imap_set *s, uint32_t number);
/* The index of the first range that ends at or behind the number; s->len when there is none. */
size_t imap_set_find(const struct imap_set *s, uint32_t number);
uint64_t imap_set_count(const struct imap_set *s); /* numbers in it */

/* Removes what is in `gone`: one pass. BRANT_ELIMIT: holes would make too many ranges; the set is then
 * unchanged. */
int imap_set_subtract(struct imap_set *s, const struct imap_set *gone);

/* Leaves what is in both: one pass. BRANT_ELIMIT: unchanged. */
int imap_set_intersect(struct imap_set *s, const struct imap_set *with);

/* Appends "1:3,5" from the range with index *at on, as many ranges as fit into `room` bytes of out, and moves
 * *at; true when the set is through. Start with *at 0. */
bool imap_set_write(const struct imap_set *s, size_t *at, size_t room, struct buf *out);

enum { IMAP_RANGE_TEXT_MAX = 22 }; /* ",4294967295:4294967295" */

#endif
