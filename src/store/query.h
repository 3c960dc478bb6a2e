/* Inside the store: what the files that read mailboxes share (query*.c). */
#ifndef STORE_QUERY_H
#define STORE_QUERY_H

#include "store/state.h"

/* Bounds of one call: how many rows it looks at before it ends its slice, and how many changes it is willing
 * to sort. 16,384 rows are about 3 ms, UIDs alone half of that. */
enum { QUERY_ROWS_MAX = 16384, QUERY_UIDS_MAX = 65536, QUERY_SORTED_MAX = 4096, QUERY_BLOCK_UIDS = 4096 };

/* The mailbox, if it is that account's; and everything acknowledged for the account is applied. What it says
 * comes from the heads, and may be ahead of what the index shows a moment later, never behind it. */
int query_box(struct store_reader *r, uint64_t account, uint64_t mailbox, struct store_mailbox_info *ret);
void query_box_info(const struct dir_mailbox *box, struct store_mailbox_info *ret); /* under dir.lock */

/* A look at one mailbox as it was at one moment: a read transaction of the index. Short; query_end ends it,
 * also when one of the calls in between failed. BRANT_ENOTFOUND: the mailbox is gone by now. */
struct query_view {
    uint64_t mailbox, modseq, messages;
    uint64_t gone_floor; /* what was expunged at a MODSEQ up to this may be forgotten */
    uint32_t uidnext;
};
int query_begin(struct store_reader *r, uint64_t account, uint64_t mailbox, struct query_view *ret);
void query_end(struct store_reader *r);

/* Lowest and highest UID; BRANT_ENOTFOUND: it is empty. */
int query_ends(struct store_reader *r, const struct query_view *v, uint32_t *ret_low, uint32_t *ret_high);

struct store_entry query_entry(const struct index_entry *row);

/* BRANT_ESYNTAX: not ascending and apart. */
int query_check_ranges(const struct store_range *ranges, size_t count);
/* One more UID, over all that are there. false: no room. */
bool query_ranges_add(struct store_range_list *list, uint32_t first, uint32_t last);

/* The UIDs behind a statement that gives one in its first column, in order: the first QUERY_SORTED_MAX.
 * BRANT_ELIMIT: there are more. */
struct query_sorted {
    size_t count;
    uint32_t uids[QUERY_SORTED_MAX];
};
int query_sorted(struct store_reader *r, enum index_statement s, uint64_t mailbox, uint64_t modseq,
                 struct query_sorted *ret);
size_t query_sorted_find(const struct query_sorted *sorted, uint32_t uid); /* the first from uid on */

#endif
