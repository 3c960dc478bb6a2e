#include "roles/store/passwords.h"

#include <argon2.h>
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/random.h"
#include "roles/store/workers.h"

enum { SALT_BYTES = 16, HASH_BYTES = 32, MAC_BYTES = 32, NICE = 10 };

struct job {
    struct work work;
    const struct passwords_config *config;
    struct passwords_result result;
    bool verify;
    bool always_wrong; /* checked against the dummy, for the time it takes */
    bool cacheable;
    uint8_t mac[MAC_BYTES];
    uint8_t password[PASSWORDS_BYTES_MAX];
    size_t password_len;
    char verifier[PASSWORDS_VERIFIER_MAX];
};

/* A right password that is remembered; the oldest is first in the list. */
struct known {
    struct known *prev, *next;
    uint8_t mac[MAC_BYTES];
    uint64_t until_ms;
};

struct passwords {
    struct passwords_config config;
    struct workers *workers;
    uint8_t cache_key[MAC_BYTES];
    char dummy[PASSWORDS_VERIFIER_MAX];
    struct map cache;
    struct known *oldest, *newest;
};

static void job_free(struct work *work)
{
    mem_wipe(work, sizeof(struct job)); /* work is its first member */
    free(work);
}

/* ---- the threads ---- */

static void job_verify(struct job *job)
{
    int rc = argon2id_verify(job->verifier, job->password, job->password_len);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        job->result.outcome = PASSWORDS_FAILED;
    else
        job->result.outcome = rc == ARGON2_OK && !job->always_wrong ? PASSWORDS_RIGHT : PASSWORDS_WRONG;
}

static void job_hash(const struct passwords_config *config, struct job *job)
{
    uint8_t salt[SALT_BYTES];
    os_random_fill(salt, sizeof salt);
    int rc =
        argon2id_hash_encoded(config->passes, config->memory_kib, 1, job->password, job->password_len, salt,
                              sizeof salt, HASH_BYTES, job->result.verifier, sizeof job->result.verifier);
    job->result.outcome = rc == ARGON2_OK ? PASSWORDS_HASHED : PASSWORDS_FAILED;
}

static void job_run(struct work *work, void *state)
{
    (void)state;
    struct job *job = (struct job *)work;
    if (job->verify)
        job_verify(job);
    else
        job_hash(job->config, job);
    mem_wipe(job->password, sizeof job->password);
}

/* ---- set-up ---- */

/* A verifier that no password matches, with the same cost as a real one. */
static void dummy_make(struct passwords *p)
{
    uint8_t salt[SALT_BYTES], hash[HASH_BYTES];
    os_random_fill(salt, sizeof salt);
    os_random_fill(hash, sizeof hash);
    struct buf _cleanup_buf_ text;
    buf_init(&text, PASSWORDS_VERIFIER_MAX - 1);
    buf_printf(&text, "$argon2id$v=19$m=%u,t=%u,p=1$", p->config.memory_kib, p->config.passes);
    codec_base64_encode(&text, span_make(salt, sizeof salt));
    while (text.data[text.len - 1] == '=') /* PHC strings carry no padding */
        text.len--;
    buf_append_byte(&text, '$');
    codec_base64_encode(&text, span_make(hash, sizeof hash));
    while (text.data[text.len - 1] == '=')
        text.len--;
    assert(!text.overflowed);
    memcpy(p->dummy, buf_cstr(&text), text.len + 1);
}

struct passwords *passwords_new(const struct passwords_config *config)
{
    struct passwords *p = mem_zalloc(sizeof *p);
    p->config = *config;
    os_random_fill(p->cache_key, sizeof p->cache_key);
    struct map_key key;
    os_random_fill(&key, sizeof key);
    map_init(&p->cache, key);
    dummy_make(p);
    p->workers = workers_new(
        &(struct workers_config){.threads = config->threads, .nice = NICE, .queue_max = config->queue_max});
    if (!p->workers) {
        passwords_free(p);
        return NULL;
    }
    return p;
}

static void known_drop(struct passwords *p, struct known *k)
{
    *(k->prev ? &k->prev->next : &p->oldest) = k->next;
    *(k->next ? &k->next->prev : &p->newest) = k->prev;
    map_remove(&p->cache, span_make(k->mac, sizeof k->mac));
    free(k);
}

void passwords_free(struct passwords *p)
{
    if (!p)
        return;
    workers_free(p->workers, job_free);
    while (p->oldest)
        known_drop(p, p->oldest);
    map_done(&p->cache);
    mem_wipe(p, sizeof *p);
    free(p);
}

int passwords_fd(const struct passwords *p)
{
    return workers_fd(p->workers);
}

size_t passwords_pending(const struct passwords *p)
{
    return workers_pending(p->workers);
}

size_t passwords_cached(const struct passwords *p)
{
    return p->cache.len;
}

/* ---- what is remembered ---- */

static void known_mac(const struct passwords *p, uint64_t account, struct span password, struct span verifier,
                      uint8_t out[MAC_BYTES])
{
    /* Lengths first, so that no two triples make the same bytes. */
    uint8_t bytes[24 + PASSWORDS_BYTES_MAX + PASSWORDS_VERIFIER_MAX];
    uint64_t head[3] = {account, password.len, verifier.len};
    size_t len = 0;
    memcpy(bytes, head, sizeof head);
    len += sizeof head;
    memcpy(bytes + len, password.p, password.len);
    len += password.len;
    memcpy(bytes + len, verifier.p, verifier.len);
    len += verifier.len;
    unsigned out_len = MAC_BYTES;
    unsigned char *done = HMAC(EVP_sha256(), p->cache_key, sizeof p->cache_key, bytes, len, out, &out_len);
    assert(done);
    mem_wipe(bytes, sizeof bytes);
}

static bool known_right(struct passwords *p, const uint8_t mac[MAC_BYTES], uint64_t now_ms)
{
    struct known *k = map_get(&p->cache, span_make(mac, MAC_BYTES));
    if (!k)
        return false;
    if (now_ms < k->until_ms)
        return true;
    known_drop(p, k);
    return false;
}

static void known_add(struct passwords *p, const uint8_t mac[MAC_BYTES], uint64_t now_ms)
{
    if (p->config.cache_max == 0 || map_get(&p->cache, span_make(mac, MAC_BYTES)))
        return;
    while (p->cache.len >= p->config.cache_max)
        known_drop(p, p->oldest);
    struct known *k = mem_zalloc(sizeof *k);
    memcpy(k->mac, mac, MAC_BYTES);
    k->until_ms = now_ms + PASSWORDS_CACHE_MS;
    k->prev = p->newest;
    *(p->newest ? &p->newest->next : &p->oldest) = k;
    p->newest = k;
    map_put(&p->cache, span_make(mac, MAC_BYTES), k);
}

/* ---- requests ---- */

static bool acceptable(struct span password)
{
    return password.len > 0 && password.len <= PASSWORDS_BYTES_MAX &&
           span_find_byte(password, 0) == SPAN_NPOS;
}

static struct job *job_new(const struct passwords *p, uint64_t id, struct span password)
{
    struct job *job = mem_zalloc(sizeof *job);
    job->work.run = job_run;
    job->config = &p->config;
    job->result.id = id;
    job->password_len = password.len;
    if (password.len > 0)
        memcpy(job->password, password.p, password.len);
    return job;
}

static enum passwords_outcome enqueue(struct passwords *p, struct job *job)
{
    if (workers_submit(p->workers, &job->work) == BRANT_OK)
        return PASSWORDS_PENDING;
    job_free(&job->work);
    return PASSWORDS_BUSY;
}

enum passwords_outcome passwords_verify(struct passwords *p, uint64_t id, uint64_t account,
                                        struct span password, struct span verifier, uint64_t now_ms)
{
    bool usable = acceptable(password) && verifier.len > 0 && verifier.len < PASSWORDS_VERIFIER_MAX;
    uint8_t mac[MAC_BYTES] = {0};
    if (usable) {
        known_mac(p, account, password, verifier, mac);
        if (known_right(p, mac, now_ms))
            return PASSWORDS_RIGHT;
    }
    struct job *job = job_new(p, id, span_sub(password, 0, PASSWORDS_BYTES_MAX));
    job->verify = true;
    job->always_wrong = !usable;
    job->cacheable = usable;
    memcpy(job->mac, mac, sizeof mac);
    if (usable)
        memcpy(job->verifier, verifier.p, verifier.len);
    else
        memcpy(job->verifier, p->dummy, sizeof p->dummy);
    return enqueue(p, job);
}

enum passwords_outcome passwords_hash(struct passwords *p, uint64_t id, struct span password)
{
    if (!acceptable(password))
        return PASSWORDS_FAILED;
    return enqueue(p, job_new(p, id, password));
}

int passwords_next(struct passwords *p, uint64_t now_ms, struct passwords_result *ret)
{
    struct job *job = (struct job *)workers_next(p->workers);
    if (!job)
        return BRANT_ETRYLATER;
    *ret = job->result;
    if (job->cacheable && job->result.outcome == PASSWORDS_RIGHT)
        known_add(p, job->mac, now_ms);
    job_free(&job->work);
    return BRANT_OK;
}
