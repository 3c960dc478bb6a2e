#include "roles/store/lru.h"

#include <stdlib.h>

#include "base/mem.h"

void lru_init(struct lru *l, size_t max, size_t item_size, struct map_key key)
{
    *l = (struct lru){.max = max, .item_size = item_size};
    map_init(&l->map, key);
}

static struct span key_span(const uint8_t key[LRU_KEY_BYTES])
{
    return span_make(key, LRU_KEY_BYTES);
}

static void detach(struct lru *l, struct lru_item *i)
{
    *(i->prev ? &i->prev->next : &l->oldest) = i->next;
    *(i->next ? &i->next->prev : &l->newest) = i->prev;
}

static void attach_newest(struct lru *l, struct lru_item *i)
{
    i->prev = l->newest;
    i->next = NULL;
    *(l->newest ? &l->newest->next : &l->oldest) = i;
    l->newest = i;
}

void lru_drop(struct lru *l, void *item)
{
    struct lru_item *i = item;
    detach(l, i);
    map_remove(&l->map, key_span(i->key));
    free(i);
}

void lru_done(struct lru *l)
{
    while (l->oldest)
        lru_drop(l, l->oldest);
    map_done(&l->map);
}

void *lru_find(const struct lru *l, const uint8_t key[LRU_KEY_BYTES])
{
    return map_get(&l->map, key_span(key));
}

void *lru_touch(struct lru *l, const uint8_t key[LRU_KEY_BYTES], uint64_t now_ms)
{
    struct lru_item *i = lru_find(l, key);
    if (i) {
        detach(l, i);
    } else {
        while (l->oldest && l->map.len >= l->max)
            lru_drop(l, l->oldest);
        i = mem_zalloc(l->item_size);
        memcpy(i->key, key, LRU_KEY_BYTES);
        map_put(&l->map, key_span(i->key), i);
    }
    i->touched_ms = now_ms;
    attach_newest(l, i);
    return i;
}

void lru_expire(struct lru *l, uint64_t now_ms, uint64_t age_ms)
{
    while (l->oldest && now_ms - l->oldest->touched_ms >= age_ms)
        lru_drop(l, l->oldest);
}

void lru_key(const struct lru *l, struct span bytes, uint8_t ret[LRU_KEY_BYTES])
{
    uint64_t halves[2];
    struct map_key other = {l->map.key.k1 ^ UINT64_C(0x9e3779b97f4a7c15), ~l->map.key.k0};
    halves[0] = map_siphash(l->map.key, bytes);
    halves[1] = map_siphash(other, bytes);
    memcpy(ret, halves, LRU_KEY_BYTES);
}
