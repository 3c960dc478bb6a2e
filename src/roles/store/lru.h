/* A bounded table of counters by a 16-byte key: who was touched least recently makes room for the next.
 *
 * Items are the caller's structs with a struct lru_item first; zeroed when they are made, freed when they are
 * dropped. */
#ifndef ROLES_STORE_LRU_H
#define ROLES_STORE_LRU_H

#include "base/map.h"

enum { LRU_KEY_BYTES = 16 };

struct lru_item {
    struct lru_item *prev, *next;
    uint64_t touched_ms;
    uint8_t key[LRU_KEY_BYTES];
};

struct lru {
    struct map map;
    struct lru_item *oldest, *newest;
    size_t max, item_size;
};

void lru_init(struct lru *l, size_t max, size_t item_size, struct map_key key);
void lru_done(struct lru *l);

void *lru_find(const struct lru *l, const uint8_t key[LRU_KEY_BYTES]); /* NULL: there is none */
/* The item of that key, made when there is none, and the newest from now on. */
void *lru_touch(struct lru *l, const uint8_t key[LRU_KEY_BYTES], uint64_t now_ms);
void lru_drop(struct lru *l, void *item);
/* Drops what was not touched for age_ms. */
void lru_expire(struct lru *l, uint64_t now_ms, uint64_t age_ms);

/* A key for any bytes: two keyed hashes. */
void lru_key(const struct lru *l, struct span bytes, uint8_t ret[LRU_KEY_BYTES]);

#endif
