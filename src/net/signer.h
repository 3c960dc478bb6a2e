/* The asker's end of a channel for calls to the signer: one question, one answer, waited for.
 *
 * OpenSSL asks for a private-key operation in the middle of a handshake and wants the answer then, so this is
 * the one place where a role's loop waits for another process. The wait has a deadline; a signer that is
 * away, late, or answers anything but the question makes the call fail, and the channel is closed, so that a
 * late answer can never be taken for the answer to another question. Calls then fail at once until a new
 * channel is given. */
#ifndef NET_SIGNER_H
#define NET_SIGNER_H

#include "ipc/messages.h"

enum { NET_SIGNER_TIMEOUT_MS = 2000 };

struct net_signer;

/* Without a channel. `lost` (may be NULL) is called from within a call that found the channel useless; text
 * says why: for the log, and for the supervisor unless the signer is merely gone. */
struct net_signer *net_signer_new(void (*lost)(void *context, bool at_fault, const char *text),
                                  void *context);
void net_signer_free(struct net_signer *s); /* closes the channel; NULL is allowed */

/* Takes over a stream socket to a signer, in place of what was there. */
void net_signer_channel(struct net_signer *s, int fd);
bool net_signer_is_up(const struct net_signer *s);
/* For tests: another deadline than NET_SIGNER_TIMEOUT_MS. */
void net_signer_set_timeout(struct net_signer *s, uint32_t timeout_ms);

/* Asks and waits. *ret_len is the room at `ret` and becomes the length of the signature.
 * BRANT_ESTATE: there is no channel, or it was found useless. BRANT_ENOTFOUND: the signer does not have the
 * key. BRANT_EREFUSED: it refuses. BRANT_ELIMIT: the data or the signature is too long. */
int net_signer_call(struct net_signer *s, struct span key_id, enum ipc_sign_kind kind, struct span data,
                    uint8_t *ret, size_t *ret_len);

struct net_signer_stats {
    uint64_t calls, failures;
};
struct net_signer_stats net_signer_stats(const struct net_signer *s);

#endif
