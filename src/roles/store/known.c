#include "roles/store/known.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "roles/store/sessions.h"
#include "roles/store/window.h"

enum { VERSION = 1, MAC_BYTES = 32, ENTRY_BYTES = LRU_KEY_BYTES + 4 };
#define MAGIC SPAN_LIT("BRNTSRCS")
static const int64_t DAY_MS = 24 * 3600 * INT64_C(1000);

struct source {
    struct lru_item item;
    uint32_t day; /* of the last login, since 1970 */
};

struct adder {
    struct lru_item item;
    struct window added;
};

static const uint64_t ADDED_SLICE_MS = 24 * 3600 * 1000 / WINDOW_SLICES;

void known_init(struct known *k, size_t max, const uint8_t secret[KNOWN_SECRET_BYTES], struct map_key key)
{
    *k = (struct known){.changed = false};
    lru_init(&k->sources, max, sizeof(struct source), key);
    lru_init(&k->adders, max, sizeof(struct adder), key);
    memcpy(k->secret, secret, sizeof k->secret);
}

void known_done(struct known *k)
{
    lru_done(&k->sources);
    lru_done(&k->adders);
    mem_wipe(k->secret, sizeof k->secret);
}

static void mac(const struct known *k, const char *purpose, struct span text, uint8_t ret[MAC_BYTES])
{
    struct buf _cleanup_buf_ bytes;
    unsigned len = MAC_BYTES;
    buf_init(&bytes, 64 + KNOWN_FILE_MAX);
    buf_append(&bytes, span_make(purpose, strlen(purpose) + 1));
    buf_append(&bytes, text);
    assert(!bytes.overflowed);
    const unsigned char *done =
        HMAC(EVP_sha256(), k->secret, sizeof k->secret, bytes.data, bytes.len, ret, &len);
    assert(done && len == MAC_BYTES);
}

static void key_of(const struct known *k, uint64_t account, const struct ip_addr *source,
                   uint8_t ret[LRU_KEY_BYTES])
{
    uint8_t text[8 + SESSIONS_SOURCE_KEY_MAX], hash[MAC_BYTES];
    memcpy(text, &account, 8);
    size_t len = 8 + sessions_source_key(source, text + 8);
    mac(k, "brant known source 1", span_make(text, len), hash);
    memcpy(ret, hash, LRU_KEY_BYTES);
}

static uint32_t day_of(int64_t now_ms)
{
    return now_ms > 0 ? (uint32_t)(now_ms / DAY_MS) : 0;
}

/* A clock that was set back makes no day too old. */
static bool is_recent(uint32_t day, uint32_t today)
{
    return day + KNOWN_DAYS >= today;
}

bool known_is(const struct known *k, uint64_t account, const struct ip_addr *source, int64_t now_ms)
{
    uint8_t key[LRU_KEY_BYTES];
    key_of(k, account, source, key);
    const struct source *s = lru_find(&k->sources, key);
    return s && is_recent(s->day, day_of(now_ms));
}

static void put(struct known *k, const uint8_t key[LRU_KEY_BYTES], uint32_t day)
{
    struct source *s = lru_touch(&k->sources, key, 0);
    if (s->day < day) {
        s->day = day;
        k->changed = true;
    }
}

/* May the account add one more? Counts it. */
static bool may_add(struct known *k, uint64_t account, int64_t now_ms)
{
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 0;
    uint8_t key[LRU_KEY_BYTES];
    lru_key(&k->adders, map_u64_key(&account), key);
    struct adder *a = lru_touch(&k->adders, key, now);
    if (window_total(&a->added, ADDED_SLICE_MS, now) >= KNOWN_NEW_PER_DAY)
        return false;
    window_add(&a->added, ADDED_SLICE_MS, now, 1);
    return true;
}

void known_add(struct known *k, uint64_t account, const struct ip_addr *source, int64_t now_ms)
{
    uint8_t key[LRU_KEY_BYTES];
    key_of(k, account, source, key);
    if (lru_find(&k->sources, key) || may_add(k, account, now_ms))
        put(k, key, day_of(now_ms));
}

void known_save(struct known *k, struct buf *out, int64_t now_ms)
{
    struct wire_writer w = wire_write(out);
    uint8_t sum[MAC_BYTES];
    uint32_t count = 0;
    size_t start = out->len;
    wire_put_bytes(&w, MAGIC);
    wire_put_u32(&w, VERSION);
    size_t count_at = out->len;
    wire_put_u32(&w, 0);
    for (const struct lru_item *i = k->sources.oldest; i; i = i->next) {
        const struct source *s = (const struct source *)i;
        if (!is_recent(s->day, day_of(now_ms)))
            continue;
        wire_put_bytes(&w, span_make(i->key, sizeof i->key));
        wire_put_u32(&w, s->day);
        count++;
    }
    wire_patch_u32(&w, count_at, count);
    mac(k, "brant sources file 1", span_from(buf_span(out), start), sum);
    wire_put_bytes(&w, span_make(sum, sizeof sum));
    assert(w.err == BRANT_OK);
    k->changed = false;
}

int known_load(struct known *k, struct span file, int64_t now_ms)
{
    uint8_t sum[MAC_BYTES];
    if (file.len < 16 + MAC_BYTES || file.len > KNOWN_FILE_MAX)
        return BRANT_ECORRUPT;
    struct span body = span_sub(file, 0, file.len - MAC_BYTES);
    mac(k, "brant sources file 1", body, sum);
    if (CRYPTO_memcmp(sum, file.p + body.len, MAC_BYTES) != 0 || !span_starts(body, MAGIC))
        return BRANT_ECORRUPT;
    struct wire_reader r = wire_read(span_from(body, MAGIC.len));
    uint32_t version = wire_get_u32(&r), count = wire_get_u32(&r);
    if (version != VERSION || r.in.len != (size_t)count * ENTRY_BYTES)
        return BRANT_ECORRUPT;
    while (count-- > 0) {
        struct span key = wire_get_bytes(&r, LRU_KEY_BYTES);
        uint32_t day = wire_get_u32(&r);
        if (is_recent(day, day_of(now_ms)))
            put(k, key.p, day);
    }
    k->changed = false;
    return BRANT_OK;
}
