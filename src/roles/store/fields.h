/* Fields of the IMAP role's questions, checked and copied: ranges of UIDs, keywords, mailboxes' names. What
 * an honest role never says is refused; the arena must have room for what a frame can hold. */
#ifndef ROLES_STORE_FIELDS_H
#define ROLES_STORE_FIELDS_H

#include "base/arena.h"
#include "store/store.h"

enum { FIELDS_KEYWORDS_ARENA = 8192 /* what fields_keywords takes at most */ };

/* Ranges of UIDs, copied into the arena. False: they are no ranges, not ascending, or overlap. */
bool fields_ranges(struct arena *a, struct span bytes, const struct store_range **ret, size_t *ret_count);
/* The other way; of an empty list an empty span. */
struct span fields_ranges_put(struct arena *a, const struct store_range_list *list);
/* Room for an answer of at most max ranges; its r is NULL when the arena is full. */
struct store_range_list fields_ranges_room(struct arena *a, size_t max);
/* Names apart by one space, copied. False: they are no keywords, or too many. */
bool fields_keywords(struct arena *a, struct span text, struct store_keyword_list *ret);
/* A mailbox's name as the IMAP role checks it. */
bool fields_name(struct span name);

#endif
