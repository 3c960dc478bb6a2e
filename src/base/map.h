/* A hash map from bytes to pointers, with a keyed hash (SipHash-1-3), so that nobody outside can choose
 * colliding names. Keys are copied; values are borrowed. Not safe to change while iterating, except that
 * map_remove of the entry just returned is allowed. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/span.h"

struct map_entry;

struct map_key { /* 128 random bits, made once per process by the caller (os_random) */
    uint64_t k0, k1;
};

struct map {
    struct map_entry **buckets; /* owned */
    size_t bucket_count, len;
    struct map_key key;
};

void map_init(struct map *m, struct map_key key);
void map_done(struct map *m); /* frees keys and table; values are the caller's */

void *map_get(const struct map *m, struct span key);        /* the value, or NULL */
void *map_put(struct map *m, struct span key, void *value); /* replaces; the old value, or NULL */
void *map_remove(struct map *m, struct span key);           /* the removed value, or NULL */

static inline struct span map_u64_key(const uint64_t *id)
{
    return span_make(id, sizeof *id);
}

struct map_iter {
    const struct map *map;
    size_t bucket;
    struct map_entry *next;
};

struct map_iter map_iterate(const struct map *m);
/* The next value and, when ret_key is not NULL, its key (valid while the entry lives); NULL at the end. */
void *map_next(struct map_iter *it, struct span *ret_key);

uint64_t map_siphash(struct map_key key, struct span data);

#endif
