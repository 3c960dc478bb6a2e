/* Between the ops files, which decide operations. */
#ifndef STORE_OPS_H
#define STORE_OPS_H

#include "store/state.h"

/* Domains, accounts, aliases; never parks. */
int ops_directory(struct store *st, struct store_op *op, int64_t now_ms);
struct dir_account *ops_account_of(struct store *st, struct span address); /* NULL: nobody has that name */

int ops_grant(struct store *st, struct store_op *op, int64_t now_ms); /* ops_grants.c */

/* ops_mailbox.c */
/* A batch is not atomic: a name that was freed in this one is on disk as such before it is given again. */
int ops_name_free(struct store *st, uint64_t freed_seq);
int ops_mailbox(struct store *st, struct store_op *op, int64_t now_ms);
uint32_t ops_uidvalidity(struct store *st, int64_t now_ms); /* of a new mailbox */
/* Makes a mailbox of a living account: its record, then its head. */
int ops_mailbox_new(struct store *st, struct dir_account *a, struct span name, uint32_t uses, int64_t now_ms,
                    struct dir_mailbox **ret);
int ops_mailboxes_default(struct store *st, struct dir_account *a, const struct store_default_mailbox *list,
                          size_t count, int64_t now_ms);
/* Writes the keywords of a mailbox when they are others, and syncs them. */
int ops_keywords_grow(struct store *st, struct dir_mailbox *box, struct span table);

/* ops_change.c */
int ops_change(struct store *st, struct store_op *op, int64_t now_ms);
/* Bits of the keywords named. With `add` new ones get their place in the table. */
uint64_t ops_keyword_bits(struct buf *table, const struct store_keyword_list *list, bool add, bool *ret_full);

/* What a record does to the counters of a mailbox. */
struct box_tally {
    int64_t messages, bytes, unseen, deleted;
};
void ops_tally(struct box_tally *t, int64_t one, uint64_t size, uint64_t flags); /* one: 1 or -1 */
void ops_box_count(struct dir_mailbox *box, const struct box_tally *t);          /* under dir.lock */
void ops_box_changed(struct dir_mailbox *box, const struct record_box *after, uint64_t seq);

/* ops_commit.c */
int ops_commit(struct store *st, struct store_op *op, int64_t now_ms);

/* ops_append.c */
int ops_append(struct store *st, struct store_op *op, int64_t now_ms);

/* Shared by the two: new mail in a record. */
void ops_put_body(const struct store_body *body, struct record_message *rec);
/* The next message of a mailbox. Its counters change with the heads. */
struct record_entry *ops_put_entry(struct record_message *rec, const struct dir_mailbox *box);
int ops_put_message(struct store *st, union record *rec, const struct span *prefixes, size_t prefix_count,
                    const struct store_body *body, uint64_t *ret_seq);
void ops_entry_heads(struct store *st, const struct record_message *rec, uint64_t seq); /* under dir.lock */

/* ops_queue.c */
int ops_queue_remove(struct store *st, struct store_op *op, int64_t now_ms);
/* A row as the index has it, when that is how it is: BRANT_ENOTFOUND too when a change of it is under way.
 * Strings lie in the writer's arena. */
int ops_queue_row(struct store *st, uint64_t message, uint32_t recipient, struct index_queued *ret);
struct record_queue_row ops_queue_state(const struct index_queued *row);

#endif
