#include "roles/store/rates.h"

#include "base/err.h"
#include "roles/store/window.h"

static const uint64_t HOUR_SLICE_MS = 3600 * 1000 / WINDOW_SLICES;
static const uint64_t DAY_SLICE_MS = 24 * 3600 * 1000 / WINDOW_SLICES;

struct sent {
    struct lru_item item;
    struct window messages, recipients;
};

void rates_init(struct rates *r, size_t accounts_max, struct map_key key)
{
    *r = (struct rates){.limits = {0, 0}};
    lru_init(&r->accounts, accounts_max, sizeof(struct sent), key);
}

void rates_done(struct rates *r)
{
    lru_done(&r->accounts);
}

void rates_set_limits(struct rates *r, const struct rates_limits *limits)
{
    r->limits = *limits;
}

static void key_of(uint64_t account, uint8_t ret[LRU_KEY_BYTES])
{
    memset(ret, 0, LRU_KEY_BYTES);
    memcpy(ret, &account, sizeof account);
}

/* "in 12 minutes", rounded up. */
static void append_when(struct buf *text, uint64_t ms)
{
    uint64_t minutes = ms / 60000 + 1;
    if (minutes > 120)
        buf_printf(text, "again in %llu hours", (unsigned long long)(minutes / 60 + 1));
    else
        buf_printf(text, "again in %llu minute%s", (unsigned long long)minutes, minutes == 1 ? "" : "s");
}

/* Is there room for `more` beneath the limit? If not, `text` says so. */
static bool has_room(struct window *w, uint64_t slice_ms, uint64_t limit, uint32_t more, uint64_t now_ms,
                     const char *what, struct buf *text)
{
    if (limit == 0 || window_total(w, slice_ms, now_ms) + more <= limit)
        return true;
    if (!text)
        return false;
    buf_printf(text, "the limit of %llu %s is reached; ", (unsigned long long)limit, what);
    if (more <= limit)
        append_when(text, window_free_at(w, slice_ms, now_ms, limit - more) - now_ms);
    else
        buf_append_str(text, "one message has more than that");
    return false;
}

int rates_ask(struct rates *r, uint64_t account, uint32_t recipients, uint64_t now_ms, struct buf *ret_text)
{
    uint8_t key[LRU_KEY_BYTES];
    struct sent none = {.messages = {0}}, *s;
    key_of(account, key);
    s = lru_find(&r->accounts, key);
    if (!s)
        s = &none;
    bool room = has_room(&s->messages, HOUR_SLICE_MS, r->limits.messages_per_hour, 1, now_ms,
                         "messages in an hour", ret_text) &&
                has_room(&s->recipients, DAY_SLICE_MS, r->limits.recipients_per_day, recipients, now_ms,
                         "recipients in a day", ret_text);
    return room ? BRANT_OK : BRANT_ELIMIT;
}

void rates_count(struct rates *r, uint64_t account, uint32_t recipients, uint64_t now_ms)
{
    uint8_t key[LRU_KEY_BYTES];
    key_of(account, key);
    lru_expire(&r->accounts, now_ms, (WINDOW_SLICES + 1) * DAY_SLICE_MS);
    struct sent *s = lru_touch(&r->accounts, key, now_ms);
    window_add(&s->messages, HOUR_SLICE_MS, now_ms, 1);
    window_add(&s->recipients, DAY_SLICE_MS, now_ms, recipients);
}

void rates_take_back(struct rates *r, uint64_t account, uint32_t recipients, uint64_t at_ms, uint64_t now_ms)
{
    uint8_t key[LRU_KEY_BYTES];
    key_of(account, key);
    struct sent *s = lru_find(&r->accounts, key);
    if (!s)
        return;
    window_take_back(&s->messages, HOUR_SLICE_MS, at_ms, now_ms, 1);
    window_take_back(&s->recipients, DAY_SLICE_MS, at_ms, now_ms, recipients);
}
