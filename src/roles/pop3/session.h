/* One POP3 connection of brant-pop3: the glue between the engine (pop3/server.h), the network (net/pump.h)
 * and the store (roles/common/store_client.h). */
#ifndef ROLES_POP3_SESSION_H
#define ROLES_POP3_SESSION_H

#include "roles/common/edge.h"

struct pop3_session;

/* What all sessions of the process share. */
struct pop3_shared {
    struct edge_shared edge;
    struct pop3_session *sessions; /* list */
    uint64_t session_count;
    uint64_t logins, login_failures, messages_sent, messages_deleted;
};

/* Takes over the connection. */
void pop3_session_start(struct pop3_shared *shared, enum ipc_service service, const struct net_accepted *a);
/* TLS can be had now, or no longer: what is offered from now on. */
void pop3_session_offer_all(struct pop3_shared *shared);
/* Asks every session to end behind the command it is carrying out. */
void pop3_session_drain_all(struct pop3_shared *shared);
/* Ends every session at once. */
void pop3_session_abort_all(struct pop3_shared *shared);

#endif
