/* Message bodies on their way in: chunks from a role, against credit, into the store.
 *
 * A small body lies in memory and is handed to the store on the loop. One that outgrows the journal's records
 * is written to a staging file, on a thread. Credit is given back as bytes are consumed, so a disk that is
 * slow or memory that is full slows the sender down; only one that waits too long is told to try later. */
#ifndef ROLES_STORE_BODIES_H
#define ROLES_STORE_BODIES_H

#include "base/map.h"
#include "ipc/messages.h"
#include "net/loop.h"

struct server;
struct session;
struct work;
struct store_body;

enum {
    BODIES_CHANNEL_BYTES = 32 << 20, /* memory of one channel's bodies and commits */
    BODIES_WAITING_BYTES = 64 << 20, /* bytes received that wait for memory, in all */
    BODIES_WAIT_MS = 10000,          /* how long a body waits for memory */
    BODIES_PER_SESSION = 4           /* bodies of one session that have no COMMIT yet */
};

struct body;

struct bodies {
    struct map by_key;
    struct body *waiting; /* for memory or a thread; oldest first */
    struct net_timer *timer;
    size_t count, received_waiting;
    struct server *sv;
};

void bodies_init(struct bodies *b, struct server *sv, struct map_key key);
void bodies_done(struct bodies *b); /* before the store is closed; the stagers have stopped */

/* The session ends: its bodies without a COMMIT are dropped. */
void bodies_session_closed(struct server *sv, struct session *session);
/* One body is not wanted any more; none of that name is no error. */
void bodies_drop(struct server *sv, const struct session *session, uint64_t id);
/* Memory became free: bodies that wait may go on. */
void bodies_retry(struct server *sv);
/* A stager's work came back, or (dropped) was never done. */
void bodies_work_done(struct server *sv, struct work *work);
void bodies_work_drop(struct work *work);

/* Takes a body that a COMMIT names away from its session and calls `ready` once it is whole and durable
 * enough to be committed (IPC_OK, with the store's body, now the callee's) or will never be. `ready` may be
 * called before this returns. BRANT_ENOTFOUND: no such body (an empty one need not be sent); BRANT_ESYNTAX:
 * it has another length. */
typedef void body_ready(void *context, enum ipc_status status, struct store_body *body);
int bodies_claim(struct server *sv, struct session *session, uint64_t id, uint64_t bytes, body_ready *ready,
                 void *context);

#endif
