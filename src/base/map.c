#include "base/map.h"

#include <stdlib.h>

#include "base/mem.h"

enum { MAP_FIRST_BUCKETS = 16 };

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t key_len;
    uint8_t key[];
};

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t load_le(const uint8_t *p, size_t len)
{
    uint64_t x = 0;

    for (size_t i = len; i > 0; i--)
        x = x << 8 | p[i - 1];
    return x;
}

uint64_t map_siphash(struct map_key key, struct span data)
{
    uint64_t v[4] = {key.k0 ^ 0x736f6d6570736575u, key.k1 ^ 0x646f72616e646f6du, key.k0 ^ 0x6c7967656e657261u,
                     key.k1 ^ 0x7465646279746573u};
    size_t at = 0;
    uint64_t last;

    for (; data.len - at >= 8; at += 8) {
        uint64_t m = load_le(data.p + at, 8);

        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    last = (uint64_t)data.len << 56 | load_le(data.p + at, data.len - at);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m, struct map_key key)
{
    *m = (struct map){.key = key};
}

void map_done(struct map *m)
{
    for (size_t i = 0; i < m->bucket_count; i++) {
        struct map_entry *e = m->buckets[i];

        while (e) {
            struct map_entry *next = e->next;

            free(e);
            e = next;
        }
    }
    free(m->buckets);
    *m = (struct map){.key = m->key};
}

/* The link that points to the entry, or the empty link at the end of its chain. */
static struct map_entry **locate(const struct map *m, uint64_t hash, struct span key)
{
    struct map_entry **link = &m->buckets[hash & (m->bucket_count - 1)];

    while (*link && !((*link)->hash == hash && span_eq(span_make((*link)->key, (*link)->key_len), key)))
        link = &(*link)->next;
    return link;
}

void *map_get(const struct map *m, struct span key)
{
    struct map_entry *e = m->len ? *locate(m, map_siphash(m->key, key), key) : NULL;

    return e ? e->value : NULL;
}

static void rehash(struct map *m, size_t count)
{
    struct map_entry **buckets = mem_array(count, sizeof(struct map_entry *));

    for (size_t i = 0; i < m->bucket_count; i++) {
        struct map_entry *e = m->buckets[i];

        while (e) {
            struct map_entry *next = e->next;
            struct map_entry **link = &buckets[e->hash & (count - 1)];

            e->next = *link;
            *link = e;
            e = next;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->bucket_count = count;
}

void *map_put(struct map *m, struct span key, void *value)
{
    uint64_t hash = map_siphash(m->key, key);
    struct map_entry **link, *e;

    if (m->len >= m->bucket_count)
        rehash(m, m->bucket_count ? m->bucket_count * 2 : MAP_FIRST_BUCKETS);
    link = locate(m, hash, key);
    e = *link;
    if (e) {
        void *old = e->value;

        e->value = value;
        return old;
    }
    e = mem_alloc(sizeof *e + key.len);
    *e = (struct map_entry){.hash = hash, .value = value, .key_len = key.len};
    if (key.len)
        memcpy(e->key, key.p, key.len);
    *link = e;
    m->len++;
    return NULL;
}

void *map_remove(struct map *m, struct span key)
{
    struct map_entry **link, *e;
    void *value;

    if (!m->len)
        return NULL;
    link = locate(m, map_siphash(m->key, key), key);
    e = *link;
    if (!e)
        return NULL;
    value = e->value;
    *link = e->next;
    free(e);
    m->len--;
    return value;
}

struct map_iter map_iterate(const struct map *m)
{
    return (struct map_iter){.map = m};
}

void *map_next(struct map_iter *it, struct span *ret_key)
{
    struct map_entry *e = it->next;

    while (!e && it->bucket < it->map->bucket_count)
        e = it->map->buckets[it->bucket++];
    if (!e)
        return NULL;
    it->next = e->next;
    if (ret_key)
        *ret_key = span_make(e->key, e->key_len);
    return e->value;
}
