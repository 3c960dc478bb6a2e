/* Session tokens: what a role shows to a new store process to go on with a session that logged in before.
 *
 * token = HMAC-SHA256(key, purpose, account, role instance, session). The supervisor makes the key and gives
 * it to every store of one run, so a token outlives the store but not the server; and a token taken out of
 * one instance is worth nothing in another. */
#ifndef ROLES_STORE_TOKENS_H
#define ROLES_STORE_TOKENS_H

#include "ipc/messages.h"

enum { TOKENS_KEY_BYTES = 32, TOKENS_BYTES = 32 };

struct tokens {
    bool ready;
    uint8_t key[TOKENS_KEY_BYTES];
};

/* BRANT_ESYNTAX: the key has the wrong length. */
int tokens_init(struct tokens *t, struct span key);
void tokens_done(struct tokens *t); /* wipes the key */

struct tokens_subject {
    uint64_t account;
    uint8_t role;      /* enum ipc_role of the channel */
    uint32_t instance; /* of the channel, as the supervisor named it */
    struct ipc_id session;
};

/* BRANT_ESTATE: there is no key yet. */
int tokens_make(const struct tokens *t, const struct tokens_subject *subject, uint8_t ret[TOKENS_BYTES]);
/* In constant time. False too when there is no key. */
bool tokens_verify(const struct tokens *t, const struct tokens_subject *subject, struct span token);

#endif
