/* A role's side of its channel to the store, shared by all sessions of the process.
 *
 * Each session embeds a store_peer and has at most one question under way. The store may go away at any time:
 * then `lost` is called for every peer, its question is void, and questions can't be asked until `up`, when a
 * new store process is there. A session then first presents itself again (SESSION_OPEN or RESUME), then asks
 * again what it was waiting for: see roles/common/store_session.h. */
#ifndef ROLES_STORE_CLIENT_H
#define ROLES_STORE_CLIENT_H

#include "base/map.h"
#include "ipc/messages.h"
#include "net/channel.h"

struct store_client;
struct store_peer;

struct store_peer_ops {
    /* The answer to the question under way; always of the type that answers it. The peer may be detached. */
    void (*answer)(struct store_peer *p, const struct ipc_message *m);
    /* BODY_CREDIT for this session. May be NULL. */
    void (*credit)(struct store_peer *p, const struct ipc_body_credit *m);
    /* MAILBOX_NEWS for this session. May be NULL. */
    void (*news)(struct store_peer *p, const struct ipc_mailbox_news *m);
    void (*lost)(struct store_peer *p);
    void (*up)(struct store_peer *p);
};

struct store_peer {
    const struct store_peer_ops *ops;
    struct store_client *client;
    struct store_peer *next, **link; /* list of the client's peers */
    struct ipc_id session;
    uint32_t tag;         /* of the question under way; 0: none */
    uint16_t answer_type; /* that is awaited */
};

struct store_client *store_client_new(struct map_key key);
void store_client_free(struct store_client *c); /* peers are detached before; NULL is allowed */

/* From the role's channel ops: the channel is there, is gone, has a message. The channel stays the role's. */
void store_client_up(struct store_client *c, struct net_channel *channel);
void store_client_down(struct store_client *c);
void store_client_message(struct store_client *c, const struct ipc_message *m);
bool store_client_is_up(const struct store_client *c);
/* So much waits to be sent that long questions had better wait until the channel has drained. */
bool store_client_congested(const struct store_client *c);

/* Joins; session ids are unique in the process. Leaves, which voids the question under way. */
void store_peer_attach(struct store_peer *p, struct store_client *c, const struct ipc_id *session,
                       const struct store_peer_ops *ops);
void store_peer_detach(struct store_peer *p);

/* Voids the question under way: its answer is dropped, another may be asked. */
void store_peer_forget(struct store_peer *p);
/* Asks; the tag is filled in. BRANT_ESTATE: the store is away (wait for `up`) or a question is under way.
 * BRANT_ELIMIT: a field is over its maximum. */
int store_peer_ask(struct store_peer *p, struct ipc_message *m);
/* Says something that has no answer; same errors. */
int store_peer_tell(struct store_peer *p, const struct ipc_message *m);

#endif
