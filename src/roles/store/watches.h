/* Which sessions watch which mailboxes, and news of these on their way to them.
 *
 * The store tells of changes on the thread of apply. What it says is noted with the mailbox, under a lock,
 * and the loop is woken: however much happens in between, a mailbox waits at most once. A session is told
 * once and then not again before it has asked what is new. What it knows from its answers is not told: it
 * would not ask then, and never be told again. */
#ifndef ROLES_STORE_WATCHES_H
#define ROLES_STORE_WATCHES_H

#include <pthread.h>

#include "base/map.h"
#include "net/loop.h"

struct server;
struct session;
struct watched;

/* The mailbox that a session has selected. */
struct session_watch {
    struct watched *of;
    struct session *session;
    struct session_watch *prev, *next; /* of the same mailbox */
    bool read_only;
    bool told; /* it has news to ask for, up to told_modseq */
    uint64_t told_modseq;
    uint64_t seen;        /* MODSEQ up to which its answers are complete */
    uint64_t slices;      /* the lowest of an answer in slices so far; UINT64_MAX: there is none under way */
    uint32_t recent_from; /* claimed for it, while an answer to CHANGES_READ is not complete; else 0 */
};

struct watches {
    struct server *sv;
    struct net_wake *wake;
    size_t sessions;   /* that watch something */
    uint64_t news;     /* told since the start */
    uint64_t gathered; /* not told: it was told already and has not asked yet */

    pthread_mutex_t lock;
    struct map by_mailbox; /* struct watched; changed by the loop alone */
    struct watched *queue, **queue_end;
};

void watches_init(struct watches *w, struct server *sv, struct map_key key);
void watches_done(struct watches *w); /* every session must have been closed */

/* In place of what the session watched. BRANT_ENOTFOUND: there is no such mailbox (any more). */
int watches_set(struct server *sv, struct session *session, uint64_t mailbox, bool read_only);
void watches_clear(struct server *sv, struct session *session);
/* The session's watch of this mailbox, or NULL. */
struct session_watch *watches_of(const struct session *session, uint64_t mailbox);

/* The session asks what is new: all that happens from here on is news again. */
void watches_asked(struct session_watch *watch);
/* It is answered, up to this MODSEQ; with `more` it will ask on, and the lowest of all counts. Tells what has
 * come meanwhile: after the answer. */
void watches_answered(struct watches *w, struct session_watch *watch, uint64_t modseq, bool more);

/* For store_on_news. */
void watches_news(void *watches, uint64_t mailbox, uint64_t modseq);

#endif
