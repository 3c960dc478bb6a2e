#include "roles/store/throttle.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "roles/store/sessions.h"

enum { KEY_MAX = SESSIONS_SOURCE_KEY_MAX + IPC_ADDRESS_MAX };

struct throttle_pair {
    struct throttle_pair *prev, *next;
    uint64_t since_ms; /* of the first failure counted */
    unsigned failures;
    size_t key_len;
    uint8_t key[];
};

void throttle_init(struct throttle *t, size_t pairs_max, struct map_key key)
{
    *t = (struct throttle){.pairs_max = pairs_max};
    map_init(&t->pairs, key);
}

static void pair_drop(struct throttle *t, struct throttle_pair *p)
{
    *(p->prev ? &p->prev->next : &t->oldest) = p->next;
    *(p->next ? &p->next->prev : &t->newest) = p->prev;
    map_remove(&t->pairs, span_make(p->key, p->key_len));
    free(p);
}

void throttle_done(struct throttle *t)
{
    while (t->oldest)
        pair_drop(t, t->oldest);
    map_done(&t->pairs);
}

static struct span pair_key(const struct ip_addr *source, struct span user, uint8_t out[KEY_MAX])
{
    size_t len = sessions_source_key(source, out);
    user = span_sub(user, 0, IPC_ADDRESS_MAX);
    for (size_t i = 0; i < user.len; i++)
        out[len++] = ascii_lower(user.p[i]);
    return span_make(out, len);
}

/* Forgets what is over; every pair waits equally long, so the oldest are over first. */
static void expire(struct throttle *t, uint64_t now_ms)
{
    while (t->oldest && now_ms - t->oldest->since_ms >= THROTTLE_WINDOW_MS)
        pair_drop(t, t->oldest);
}

bool throttle_waits(struct throttle *t, const struct ip_addr *source, struct span user, uint64_t now_ms)
{
    uint8_t key[KEY_MAX];
    expire(t, now_ms);
    struct throttle_pair *p = map_get(&t->pairs, pair_key(source, user, key));
    return p && p->failures >= THROTTLE_FAILURES_MAX;
}

void throttle_failed(struct throttle *t, const struct ip_addr *source, struct span user, uint64_t now_ms)
{
    uint8_t bytes[KEY_MAX];
    struct span key = pair_key(source, user, bytes);
    expire(t, now_ms);
    struct throttle_pair *p = map_get(&t->pairs, key);
    if (!p) {
        if (t->pairs.len >= t->pairs_max)
            pair_drop(t, t->oldest);
        p = mem_zalloc(sizeof *p + key.len);
        p->since_ms = now_ms;
        p->key_len = key.len;
        memcpy(p->key, key.p, key.len);
        p->prev = t->newest;
        *(t->newest ? &t->newest->next : &t->oldest) = p;
        t->newest = p;
        map_put(&t->pairs, key, p);
    }
    if (p->failures < THROTTLE_FAILURES_MAX)
        p->failures++;
}

void throttle_succeeded(struct throttle *t, const struct ip_addr *source, struct span user)
{
    uint8_t key[KEY_MAX];
    struct throttle_pair *p = map_get(&t->pairs, pair_key(source, user, key));
    if (p)
        pair_drop(t, p);
}
