/* One IMAP connection of brant-imap: the glue between the engine (imap/server.h), the network (net/pump.h)
 * and the store (roles/common/store_client.h). */
#ifndef ROLES_IMAP_SESSION_H
#define ROLES_IMAP_SESSION_H

#include "imap/server.h"
#include "roles/common/edge.h"

struct imap_session;

/* Where one question or answer is translated; everything in it is over when that is done. */
struct imap_scratch {
    uint8_t bytes[IPC_RANGES_MAX * IPC_RANGE_BYTES];
    struct imap_range ranges[2][IPC_RANGES_MAX];
    struct imap_entry entries[IMAP_ENTRIES_MAX];
    struct imap_mailbox boxes[IPC_MAILBOX_ROWS_MAX];
};

/* What all sessions of the process share. */
struct imap_shared {
    struct edge_shared edge;
    struct imap_session *sessions; /* list */
    uint64_t session_count;
    uint64_t logins, login_failures, messages_fetched, messages_appended;
    struct imap_scratch scratch;
};

/* Takes over the connection. */
void imap_session_start(struct imap_shared *shared, enum ipc_service service, const struct net_accepted *a);
/* TLS can be had now, or no longer: what is offered from now on. */
/* The channel to the store has drained: what waited for that is asked. */
void imap_session_ask_all(struct imap_shared *shared);
void imap_session_offer_all(struct imap_shared *shared);
/* Asks every session to end behind the command it is carrying out. */
void imap_session_drain_all(struct imap_shared *shared);
/* Ends every session at once. */
void imap_session_abort_all(struct imap_shared *shared);
/* How many sessions wait in IDLE; what all engines hold. */
void imap_session_totals(const struct imap_shared *shared, uint64_t *ret_idling, uint64_t *ret_bytes);

#endif
