/* A session's view of the selected mailbox: which UIDs it has been told of, and so which message sequence
 * number each has (RFC 3501 2.3.1.2). Nothing else about messages is kept; flags are fetched when needed.
 *
 * A run of consecutive UIDs costs eight bytes, however long: a mailbox of a million messages of which few
 * were expunged costs next to nothing. Looking up goes by bisection in both directions. */
#ifndef IMAP_VIEW_H
#define IMAP_VIEW_H

#include "imap/lex.h"

struct imap_run { /* consecutive UIDs with consecutive sequence numbers; it ends where the next one's
                     sequence numbers begin */
    uint32_t uid, seq;
};

struct imap_view {
    struct imap_run *runs; /* owned */
    size_t len, cap, max;
    uint32_t count; /* messages: the highest sequence number */
};

void imap_view_init(struct imap_view *v, size_t runs_max);
void imap_view_done(struct imap_view *v);

/* Messages at the end: UIDs over all that are there. BRANT_ELIMIT: too many runs, or 2^32 messages;
 * BRANT_ESYNTAX: not ascending. The view is unchanged then. */
int imap_view_append(struct imap_view *v, uint32_t first, uint32_t last);

uint32_t imap_view_last_uid(const struct imap_view *v);          /* 0: the view is empty */
uint32_t imap_view_uid(const struct imap_view *v, uint32_t seq); /* 0: there is no such number */
uint32_t imap_view_seq(const struct imap_view *v, uint32_t uid); /* 0: it is not in the view */
/* The first UID at or over this one, or 0. */
uint32_t imap_view_next(const struct imap_view *v, uint32_t uid);
/* How many messages have UIDs from first to last. */
uint32_t imap_view_between(const struct imap_view *v, uint32_t first, uint32_t last);

/* What a client's sequence set means in this view, as UIDs, put into *ret (initialised by the caller). "*" is
 * the last message; UIDs need not be there. `saved` stands for "$".
 * BRANT_ESYNTAX: a sequence number that there is not (RFC 9051 6.4.4 forbids it but for UID commands); with
 * `lenient` such numbers are passed over. BRANT_ELIMIT: ret has not the room. */
int imap_view_resolve(const struct imap_view *v, const struct imap_seq_set *set, bool uid, bool lenient,
                      const struct imap_set *saved, struct imap_set *ret);

/* Adds to *ret those of the ranges (ascending) that are in the view. BRANT_ELIMIT: ret has not the room. */
int imap_view_select(const struct imap_view *v, const struct imap_range *ranges, size_t count,
                     struct imap_set *ret);

/* The messages in the set are gone; the numbers of those behind them go down. One pass over both.
 * BRANT_ELIMIT: the holes make too many runs; the view is unchanged. */
int imap_view_remove(struct imap_view *v, const struct imap_set *gone);

#endif
