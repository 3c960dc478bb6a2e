/* The mailboxes that every account begins with, beside INBOX: those with a special use (RFC 6154). */
#ifndef ROLES_STORE_DEFAULTS_H
#define ROLES_STORE_DEFAULTS_H

#include "roles/store/server.h"

extern const struct store_default_mailbox defaults_mailboxes[];
extern const size_t defaults_count;

/* Has this account what it begins with? One from before there was IMAP has not. */
bool defaults_due(const struct store_account_info *info);
/* Makes what is missing, subscribes to all of them, and notes that it was done, so that what its owner
 * removes stays away; then the answer is sent, which is copied. Nothing that fails here keeps anybody from
 * his mail.
 */
void defaults_make(struct peer *p, const struct session *session, const struct store_account_info *info,
                   const struct ipc_message *login_result);

#endif
