#include "roles/store/watches.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "roles/store/requests.h"

struct watched {
    uint64_t mailbox;
    struct session_watch *first;
    /* under the lock */
    bool queued;
    uint64_t modseq;
    struct watched *next;
};

/* ---- news ---- */

/* On the thread of apply. */
void watches_news(void *context, uint64_t mailbox, uint64_t modseq)
{
    struct watches *w = context;
    pthread_mutex_lock(&w->lock);
    struct watched *of = map_get(&w->by_mailbox, map_u64_key(&mailbox));
    bool wake = of && !of->queued;
    if (of && of->modseq < modseq)
        of->modseq = modseq;
    if (wake) {
        of->queued = true;
        of->next = NULL;
        *w->queue_end = of;
        w->queue_end = &of->next;
    }
    pthread_mutex_unlock(&w->lock);
    if (wake)
        net_wake_signal(w->wake);
}

/* Under the lock. */
static void unqueue(struct watches *w, struct watched *of)
{
    struct watched **at = &w->queue;
    if (!of->queued)
        return;
    while (*at != of)
        at = &(*at)->next;
    *at = of->next;
    if (w->queue_end == &of->next)
        w->queue_end = at;
    of->queued = false;
}

static struct watched *next_queued(struct watches *w, uint64_t *ret_modseq)
{
    pthread_mutex_lock(&w->lock);
    struct watched *of = w->queue;
    if (of) {
        unqueue(w, of);
        *ret_modseq = of->modseq;
    }
    pthread_mutex_unlock(&w->lock);
    return of;
}

static void tell(struct watches *w, struct session_watch *watch, uint64_t modseq)
{
    struct peer *p = server_peer(w->sv, watch->session->owner->channel);
    if (watch->told || modseq <= watch->seen || !p) {
        w->gathered++;
        return;
    }
    watch->told = true;
    watch->told_modseq = modseq;
    w->news++;
    server_send(p, &(struct ipc_message){.type = IPC_TYPE_MAILBOX_NEWS,
                                         .mailbox_news = {.session = watch->session->id,
                                                          .mailbox = watch->of->mailbox,
                                                          .modseq = modseq}});
}

static void deliver(void *context)
{
    struct watches *w = context;
    uint64_t modseq;
    for (struct watched *of; (of = next_queued(w, &modseq)) != NULL;)
        for (struct session_watch *watch = of->first; watch; watch = watch->next)
            tell(w, watch, modseq);
}

void watches_asked(struct session_watch *watch)
{
    watch->told = false;
}

void watches_answered(struct watches *w, struct session_watch *watch, uint64_t modseq, bool more)
{
    if (watch->slices > modseq)
        watch->slices = modseq;
    if (more)
        return;
    watch->seen = watch->slices;
    watch->slices = UINT64_MAX;
    if (watch->told && watch->told_modseq > watch->seen)
        return; /* it will ask */
    watch->told = false;
    pthread_mutex_lock(&w->lock);
    uint64_t newest = watch->of->modseq;
    pthread_mutex_unlock(&w->lock);
    tell(w, watch, newest);
}

void watches_init(struct watches *w, struct server *sv, struct map_key key)
{
    *w = (struct watches){.sv = sv};
    w->queue_end = &w->queue;
    pthread_mutex_init(&w->lock, NULL);
    map_init(&w->by_mailbox, key);
    w->wake = net_wake_new(sv->loop, deliver, w);
}

void watches_done(struct watches *w)
{
    assert(w->by_mailbox.len == 0);
    net_wake_free(w->wake);
    map_done(&w->by_mailbox);
    pthread_mutex_destroy(&w->lock);
}

/* ---- who watches ---- */

static struct watched *watched_get(struct watches *w, uint64_t mailbox)
{
    struct watched *of = map_get(&w->by_mailbox, map_u64_key(&mailbox));
    if (of)
        return of;
    of = mem_zalloc(sizeof *of);
    of->mailbox = mailbox;
    pthread_mutex_lock(&w->lock);
    map_put(&w->by_mailbox, map_u64_key(&mailbox), of);
    pthread_mutex_unlock(&w->lock);
    return of;
}

/* Forgets it, when no session watches it any more. */
static void watched_put(struct watches *w, struct watched *of)
{
    if (of->first)
        return;
    pthread_mutex_lock(&w->lock);
    unqueue(w, of);
    map_remove(&w->by_mailbox, map_u64_key(&of->mailbox));
    pthread_mutex_unlock(&w->lock);
    free(of);
}

void watches_clear(struct server *sv, struct session *session)
{
    struct session_watch *watch = session->watch;
    if (!watch)
        return;
    struct watched *of = watch->of;
    session->watch = NULL;
    sv->watches.sessions--;
    *(watch->prev ? &watch->prev->next : &of->first) = watch->next;
    if (watch->next)
        watch->next->prev = watch->prev;
    free(watch);
    store_unwatch(sv->store, of->mailbox); /* counted there */
    watched_put(&sv->watches, of);
}

int watches_set(struct server *sv, struct session *session, uint64_t mailbox, bool read_only)
{
    watches_clear(sv, session);
    /* It is there before the store begins to tell, so that nothing is told to nobody. */
    struct watched *of = watched_get(&sv->watches, mailbox);
    int rc = store_watch(sv->store, session->account, mailbox);
    if (rc != BRANT_OK) {
        watched_put(&sv->watches, of);
        return rc;
    }
    struct session_watch *watch = mem_zalloc(sizeof *watch);
    *watch = (struct session_watch){
        .of = of, .session = session, .read_only = read_only, .slices = UINT64_MAX, .next = of->first};
    if (of->first)
        of->first->prev = watch;
    of->first = watch;
    session->watch = watch;
    sv->watches.sessions++;
    return BRANT_OK;
}

struct session_watch *watches_of(const struct session *session, uint64_t mailbox)
{
    return session->watch && session->watch->of->mailbox == mailbox ? session->watch : NULL;
}

void on_mailbox_watch(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_mailbox_watch *q = &m->mailbox_watch;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    session->watch_turn++;
    if (q->mailbox == 0) {
        watches_clear(sv, session);
        return;
    }
    if (watches_set(sv, session, q->mailbox, q->read_only) == BRANT_OK)
        return;
    /* It went while there was no store to tell. */
    server_send(p,
                &(struct ipc_message){
                    .type = IPC_TYPE_MAILBOX_NEWS,
                    .mailbox_news = {.session = session->id, .mailbox = q->mailbox, .modseq = UINT64_MAX}});
}
