#include "roles/store/throttle.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "roles/store/sessions.h"
#include "roles/store/window.h"

enum {
    KEY_MAX = SESSIONS_SOURCE_KEY_MAX + IPC_ADDRESS_MAX,
    ACCOUNT_SLICE_MS = THROTTLE_ACCOUNT_MS / WINDOW_SLICES,
    SOURCE_SLICE_MS = THROTTLE_SOURCE_MS / WINDOW_SLICES
};

struct counter {
    struct lru_item item;
    struct window window;
};

void throttle_init(struct throttle *t, size_t entries_max, struct map_key key)
{
    *t = (struct throttle){.limits = {.account_failures = UINT64_MAX, .source_failures = UINT64_MAX}};
    lru_init(&t->accounts, entries_max, sizeof(struct counter), key);
    lru_init(&t->sources, entries_max, sizeof(struct counter), key);
    lru_init(&t->pairs, entries_max, sizeof(struct counter), key);
}

void throttle_done(struct throttle *t)
{
    lru_done(&t->accounts);
    lru_done(&t->sources);
    lru_done(&t->pairs);
}

void throttle_set_limits(struct throttle *t, const struct throttle_limits *limits)
{
    t->limits = *limits;
}

/* ---- keys ---- */

struct keys {
    uint8_t account[LRU_KEY_BYTES], source[LRU_KEY_BYTES], pair[LRU_KEY_BYTES];
};

static struct keys keys_of(const struct throttle *t, const struct throttle_try *try)
{
    struct keys k;
    uint8_t bytes[KEY_MAX];
    size_t source_len = sessions_source_key(&try->source, bytes), len = source_len;
    struct span user = span_sub(try->user, 0, IPC_ADDRESS_MAX);
    for (size_t i = 0; i < user.len; i++)
        bytes[len++] = ascii_lower(user.p[i]);
    lru_key(&t->sources, span_make(bytes, source_len), k.source);
    lru_key(&t->accounts, span_make(bytes + source_len, len - source_len), k.account);
    lru_key(&t->pairs, span_make(bytes, len), k.pair);
    return k;
}

static uint64_t total(const struct lru *l, const uint8_t key[LRU_KEY_BYTES], uint64_t slice_ms,
                      uint64_t now_ms)
{
    struct counter *c = lru_find(l, key);
    return c ? window_total(&c->window, slice_ms, now_ms) : 0;
}

static void count(struct lru *l, const uint8_t key[LRU_KEY_BYTES], uint64_t slice_ms, uint64_t now_ms)
{
    struct counter *c = lru_touch(l, key, now_ms);
    window_add(&c->window, slice_ms, now_ms, 1);
}

/* ---- the rules ---- */

static bool has_prefix(const struct throttle_try *try)
{
    return try->source.family != IP_NONE;
}

static enum throttle_verdict look(struct throttle *t, const struct throttle_try *try, const struct keys *k,
                                  uint64_t now_ms)
{
    lru_expire(&t->accounts, now_ms, THROTTLE_ACCOUNT_MS + ACCOUNT_SLICE_MS);
    lru_expire(&t->sources, now_ms, THROTTLE_SOURCE_MS + SOURCE_SLICE_MS);
    lru_expire(&t->pairs, now_ms, THROTTLE_SOURCE_MS + SOURCE_SLICE_MS);
    if (has_prefix(try) &&
        total(&t->sources, k->source, SOURCE_SLICE_MS, now_ms) >= t->limits.source_failures)
        return THROTTLE_SOURCE;
    if (total(&t->pairs, k->pair, SOURCE_SLICE_MS, now_ms) >= THROTTLE_PAIR_FAILURES)
        return THROTTLE_PAIR;
    if (!try->known_good &&
        total(&t->accounts, k->account, ACCOUNT_SLICE_MS, now_ms) >= t->limits.account_failures)
        return THROTTLE_ACCOUNT;
    return THROTTLE_GO;
}

enum throttle_verdict throttle_begin(struct throttle *t, struct throttle_try *try, uint64_t now_ms)
{
    struct keys k = keys_of(t, try);
    enum throttle_verdict verdict = look(t, try, &k, now_ms);
    if (verdict != THROTTLE_GO)
        return verdict;
    try->charged = !try->known_good;
    try->charged_ms = now_ms;
    if (try->charged)
        count(&t->accounts, k.account, ACCOUNT_SLICE_MS, now_ms);
    return THROTTLE_GO;
}

void throttle_failed(struct throttle *t, const struct throttle_try *try, uint64_t now_ms)
{
    struct keys k = keys_of(t, try);
    if (has_prefix(try))
        count(&t->sources, k.source, SOURCE_SLICE_MS, now_ms);
    count(&t->pairs, k.pair, SOURCE_SLICE_MS, now_ms);
}

void throttle_unchecked(struct throttle *t, const struct throttle_try *try, uint64_t now_ms)
{
    struct keys k = keys_of(t, try);
    struct counter *c = try->charged ? lru_find(&t->accounts, k.account) : NULL;
    if (c)
        window_take_back(&c->window, ACCOUNT_SLICE_MS, try->charged_ms, now_ms, 1);
}

void throttle_passed(struct throttle *t, const struct throttle_try *try, uint64_t now_ms)
{
    struct keys k = keys_of(t, try);
    struct counter *pair = lru_find(&t->pairs, k.pair);
    if (pair)
        lru_drop(&t->pairs, pair);
    throttle_unchecked(t, try, now_ms);
}

const char *throttle_text(enum throttle_verdict verdict)
{
    static const char *const texts[] = {
        [THROTTLE_GO] = "",
        [THROTTLE_ACCOUNT] = "too many wrong passwords for this name",
        [THROTTLE_SOURCE] = "too many wrong passwords from this source",
        [THROTTLE_PAIR] = "too many wrong passwords from this source for this name",
    };
    return texts[verdict];
}
