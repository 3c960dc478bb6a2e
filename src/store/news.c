/* News: who watches which mailbox, and what a transaction of apply has changed. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

/* A mailbox that somebody watches. */
struct news_watch {
    uint64_t mailbox;
    uint64_t modseq; /* to be told; 0: nothing */
    size_t watchers;
};

void news_init(struct news *n, struct map_key key)
{
    memset(n, 0, sizeof *n);
    pthread_mutex_init(&n->lock, NULL);
    map_init(&n->watched, key);
}

void news_done(struct news *n)
{
    struct map_iter it = map_iterate(&n->watched);
    void *value;

    while ((value = map_next(&it, NULL)))
        free(value);
    map_done(&n->watched);
    free(n->told);
    pthread_mutex_destroy(&n->lock);
}

/* Under dir.lock: a mailbox that has a head now cannot have been told gone. */
int store_watch(struct store *st, uint64_t account, uint64_t mailbox)
{
    struct dir_account *a;
    struct dir_mailbox *box = NULL;
    struct news_watch *w;

    pthread_mutex_lock(&st->dir.lock);
    a = dir_account(&st->dir, account);
    if (a && a->state == RECORD_STATE_LIVE)
        box = dir_mailbox(&st->dir, mailbox ? mailbox : a->inbox);
    if (box && box->account == a && box->state == RECORD_STATE_LIVE) {
        uint64_t id = box->id;

        pthread_mutex_lock(&st->news.lock);
        w = map_get(&st->news.watched, map_u64_key(&id));
        if (!w) {
            w = mem_zalloc(sizeof *w);
            w->mailbox = id;
            map_put(&st->news.watched, map_u64_key(&w->mailbox), w);
        }
        w->watchers++;
        pthread_mutex_unlock(&st->news.lock);
    } else {
        box = NULL;
    }
    pthread_mutex_unlock(&st->dir.lock);
    return box ? BRANT_OK : BRANT_ENOTFOUND;
}

static void drop(struct news *n, struct news_watch *w)
{
    map_remove(&n->watched, map_u64_key(&w->mailbox));
    free(w);
}

void store_unwatch(struct store *st, uint64_t mailbox)
{
    struct news *n = &st->news;
    struct news_watch *w;

    pthread_mutex_lock(&n->lock);
    w = map_get(&n->watched, map_u64_key(&mailbox));
    if (w && --w->watchers == 0)
        drop(n, w);
    pthread_mutex_unlock(&n->lock);
}

void store_on_news(struct store *st, void (*news)(void *ctx, uint64_t mailbox, uint64_t modseq), void *ctx)
{
    pthread_mutex_lock(&st->news.lock);
    st->news.tell = news;
    st->news.ctx = ctx;
    pthread_mutex_unlock(&st->news.lock);
}

void news_add(struct news_list *list, uint64_t mailbox, uint64_t modseq)
{
    if (!modseq)
        return;
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->items = mem_regrow(list->items, list->cap, sizeof *list->items);
    }
    list->items[list->count++] = (struct news_item){mailbox, modseq};
}

/* Under lock: those that are watched, each once, into n->told. What is gone is watched no longer. */
static size_t gather(struct news *n, const struct news_list *list)
{
    size_t count = 0;

    if (n->told_cap < list->count) {
        n->told_cap = list->count;
        n->told = mem_regrow(n->told, n->told_cap, sizeof *n->told);
    }
    for (size_t i = 0; i < list->count && n->watched.len; i++) {
        struct news_watch *w = map_get(&n->watched, map_u64_key(&list->items[i].mailbox));

        if (!w)
            continue;
        if (!w->modseq)
            n->told[count++].mailbox = w->mailbox;
        if (w->modseq < list->items[i].modseq)
            w->modseq = list->items[i].modseq;
    }
    for (size_t i = 0; i < count; i++) {
        struct news_watch *w = map_get(&n->watched, map_u64_key(&n->told[i].mailbox));

        n->told[i].modseq = w->modseq;
        w->modseq = 0;
        if (n->told[i].modseq == UINT64_MAX)
            drop(n, w);
    }
    return count;
}

void news_tell(struct news *n, struct news_list *list)
{
    void (*tell)(void *ctx, uint64_t mailbox, uint64_t modseq);
    void *ctx;
    size_t count;

    if (!list->count)
        return;
    pthread_mutex_lock(&n->lock);
    count = gather(n, list);
    tell = n->tell;
    ctx = n->ctx;
    pthread_mutex_unlock(&n->lock);
    list->count = 0;
    for (size_t i = 0; tell && i < count; i++)
        tell(ctx, n->told[i].mailbox, n->told[i].modseq);
}
