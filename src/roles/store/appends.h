/* APPEND: messages gathered one by one, their bodies ahead of them, and stored together.
 *
 * A message's body is claimed from arriving.c as soon as it is named; a small one lies in memory until the
 * APPEND_COMMIT, and so do the fields of all of them. What one session and one channel may hold that way is
 * bounded: beyond it the APPEND as a whole is refused. One whose session ends without a commit is dropped. */
#ifndef ROLES_STORE_APPENDS_H
#define ROLES_STORE_APPENDS_H

#include "base/map.h"
#include "ipc/messages.h"

enum {
    APPENDS_SESSION_BYTES = 16 << 20, /* memory of one APPEND */
    APPENDS_CHANNEL_BYTES = 32 << 20  /* … of all of one channel */
};

struct server;
struct session;
struct append;

struct appends {
    struct append *first; /* those the store has not been given yet */
    struct map by_id;     /* under way: struct append by its id */
    size_t count;         /* of all of them */
};

void appends_init(struct appends *a, struct map_key key);
/* When the sessions are closed and nothing reads any more, before the store is closed. */
void appends_close(struct appends *a);
void appends_done(struct appends *a); /* when no operation is under way any more */

/* The session ends, or gives its APPEND up. */
void appends_session_closed(struct server *sv, struct session *session);

#endif
