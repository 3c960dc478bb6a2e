/* Between ops.c, which decides operations on mail, and ops_directory.c, which decides those on the directory.
 */
#ifndef STORE_OPS_H
#define STORE_OPS_H

#include "store/state.h"

/* Domains, accounts, aliases, mailboxes; never parks. */
int ops_directory(struct store *st, struct store_op *op, int64_t now_ms);
struct dir_account *ops_account_of(struct store *st, struct span address); /* NULL: nobody has that name */

int ops_grant(struct store *st, struct store_op *op, int64_t now_ms); /* ops_grants.c */

/* Makes a mailbox of a living account: its record, then its head. */
int ops_mailbox_new(struct store *st, struct dir_account *a, struct span name, int64_t now_ms,
                    struct dir_mailbox **ret);
struct dir_mailbox *ops_mailbox_named(const struct dir_account *a, struct span name); /* or NULL */

/* ops_commit.c */
int ops_commit(struct store *st, struct store_op *op, int64_t now_ms);
int ops_append(struct store *st, struct store_op *op, int64_t now_ms);

/* ops_queue.c */
int ops_queue_remove(struct store *st, struct store_op *op, int64_t now_ms);
/* A row as the index has it, when that is how it is: BRANT_ENOTFOUND too when a change of it is under way.
 * Strings lie in the writer's arena. */
int ops_queue_row(struct store *st, uint64_t message, uint32_t recipient, struct index_queued *ret);
struct record_queue_row ops_queue_state(const struct index_queued *row);

#endif
