/* Message bodies on their way in: chunks from a role, against credit, into the store.
 *
 * A small body lies in memory and is handed to the store on the loop. One that outgrows the journal's records
 * is written to a staging file, on a thread. Credit is given back as bytes are consumed, so a disk that is
 * slow or memory that is full slows the sender down; only one that waits too long is told to try later. */
#ifndef ROLES_STORE_ARRIVING_H
#define ROLES_STORE_ARRIVING_H

#include "base/map.h"
#include "ipc/messages.h"
#include "net/loop.h"

struct server;
struct session;
struct work;
struct store_body;

enum {
    ARRIVING_CHANNEL_BYTES = 32 << 20, /* memory of one channel's bodies and commits */
    ARRIVING_WAITING_BYTES = 64 << 20, /* bytes received that wait for memory, in all */
    ARRIVING_WAIT_MS = 10000,          /* how long a body waits for memory */
    ARRIVING_PER_SESSION = 4           /* bodies of one session that have no COMMIT yet */
};

struct arriving_body;

struct arriving {
    struct map by_key;
    struct arriving_body *waiting; /* for memory or a thread; oldest first */
    bool retrying;                 /* they have their turn just now */
    struct net_timer *timer;
    size_t count, received_waiting;
    struct server *sv;
};

void arriving_init(struct arriving *b, struct server *sv, struct map_key key);
/* Before the store is closed, when the stagers have stopped and the sessions are closed. */
void arriving_close(struct arriving *b);
void arriving_done(struct arriving *b);

/* The session ends: its bodies without a COMMIT are dropped. */
void arriving_session_closed(struct server *sv, struct session *session);
/* One body is not wanted any more; none of that name is no error. */
void arriving_drop(struct server *sv, const struct session *session, uint64_t id);
/* Memory became free: bodies that wait may go on. */
void arriving_retry(struct server *sv);
/* A stager's work came back, or (dropped) was never done. */
void arriving_work_done(struct server *sv, struct work *work);
void arriving_work_drop(struct work *work);

/* Takes a body that a COMMIT names away from its session and calls `ready` once it is whole and durable
 * enough to be committed (IPC_OK, with the store's body, now the callee's) or will never be. `ready` may be
 * called before this returns. BRANT_ENOTFOUND: no such body (an empty one need not be sent); BRANT_ESYNTAX:
 * it has another length. */
typedef void body_ready(void *context, enum ipc_status status, struct store_body *body);
int arriving_claim(struct server *sv, struct session *session, uint64_t id, uint64_t bytes, body_ready *ready,
                   void *context);

#endif
