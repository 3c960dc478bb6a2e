/* Between ops.c, which decides operations on mail, and ops_directory.c, which decides those on the directory.
 */
#ifndef STORE_OPS_H
#define STORE_OPS_H

#include "store/state.h"

/* Domains, accounts, aliases, mailboxes; never parks. */
int ops_directory(struct store *st, struct store_op *op, int64_t now_ms);
struct dir_account *ops_account_of(struct store *st, struct span address); /* NULL: nobody has that name */

int ops_grant(struct store *st, struct store_op *op, int64_t now_ms); /* ops_grants.c */

#endif
