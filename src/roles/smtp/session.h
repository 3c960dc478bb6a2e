/* One SMTP connection of brant-smtp: the glue between the engine (smtp/server.h), the MIME parser, the
 * network (net/pump.h) and the store (roles/common/store_client.h). */
#ifndef ROLES_SMTP_SESSION_H
#define ROLES_SMTP_SESSION_H

#include "roles/common/edge.h"

struct smtp_session;

/* What all sessions of the process share. */
struct smtp_shared {
    struct edge_shared edge;
    struct smtp_session *sessions; /* list */
    uint64_t session_count;
    uint64_t pool_bytes; /* memory held by messages that are arriving */
    uint64_t accepted_messages, accepted_recipients, refused_recipients;
};

/* Takes over the connection. */
void smtp_session_start(struct smtp_shared *shared, enum ipc_service service, const struct net_accepted *a);
/* TLS can be had now, or no longer: what is offered from now on. */
void smtp_session_offer_all(struct smtp_shared *shared);
/* Asks every session to end when its transaction is over. */
void smtp_session_drain_all(struct smtp_shared *shared);
/* Ends every session at once. */
void smtp_session_abort_all(struct smtp_shared *shared);

#endif
