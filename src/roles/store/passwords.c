#include "roles/store/passwords.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "os/random.h"
#include "roles/store/workers.h"

enum { MAC_BYTES = 32, NICE = 10 };

enum job_kind { JOB_VERIFY, JOB_HASH, JOB_KEYS };

struct job {
    struct work work;
    const struct passwords_config *config;
    struct passwords_result result;
    enum job_kind kind;
    bool always_wrong; /* checked against the dummy, for the time it takes */
    bool cacheable;
    uint8_t mac[MAC_BYTES];
    uint8_t password[PASSWORDS_BYTES_MAX];
    size_t password_len;
    char verifier[VERIFIER_TEXT_MAX];
    const char *dummy; /* of the passwords, which outlive their jobs */
    uint8_t salt[SCRAM_KEYS_SALT_BYTES];
    uint32_t iterations;
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
    char dummy[VERIFIER_TEXT_MAX];
    struct map cache;
    struct known *oldest, *newest;
};

static void job_free(struct work *work)
{
    mem_wipe(work, sizeof(struct job)); /* work is its first member */
    free(work);
}

/* ---- the threads ---- */

static struct span job_password(const struct job *job)
{
    return span_make(job->password, job->password_len);
}

static void job_verify(struct job *job)
{
    int rc = verifier_check(job->verifier, job_password(job));
    /* A hash from elsewhere takes no less time than one of ours: who is faster under load can be told. */
    if (!verifier_is_argon2id(span_str(job->verifier)) &&
        verifier_check(job->dummy, job_password(job)) == BRANT_ETRYLATER)
        rc = BRANT_ETRYLATER;
    if (rc == BRANT_ETRYLATER)
        job->result.outcome = PASSWORDS_FAILED;
    else
        job->result.outcome = rc == BRANT_OK && !job->always_wrong ? PASSWORDS_RIGHT : PASSWORDS_WRONG;
}

static void job_make(struct job *job)
{
    scram_keys_make(job_password(job), span_make(job->salt, sizeof job->salt), job->iterations,
                    &job->result.keys);
    int rc = job->kind == JOB_HASH
                 ? verifier_make(&job->config->cost, job_password(job), job->result.verifier)
                 : BRANT_OK;
    job->result.outcome = rc == BRANT_OK ? PASSWORDS_HASHED : PASSWORDS_FAILED;
}

static void job_run(struct work *work, void *state)
{
    (void)state;
    struct job *job = (struct job *)work;
    if (job->kind == JOB_VERIFY)
        job_verify(job);
    else
        job_make(job);
    mem_wipe(job->password, sizeof job->password);
}

/* ---- set-up ---- */

struct passwords *passwords_new(const struct passwords_config *config)
{
    struct passwords *p = mem_zalloc(sizeof *p);
    p->config = *config;
    os_random_fill(p->cache_key, sizeof p->cache_key);
    struct map_key key;
    os_random_fill(&key, sizeof key);
    map_init(&p->cache, key);
    verifier_make_dummy(&config->cost, p->dummy);
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
    uint8_t bytes[24 + PASSWORDS_BYTES_MAX + VERIFIER_TEXT_MAX];
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
    job->dummy = p->dummy;
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

static bool checkable(struct span password, struct span verifier)
{
    return acceptable(password) && verifier.len > 0 && verifier.len < VERIFIER_TEXT_MAX;
}

enum passwords_outcome passwords_verify(struct passwords *p, uint64_t id, uint64_t account,
                                        struct span password, struct span verifier, uint64_t now_ms)
{
    bool usable = checkable(password, verifier);
    uint8_t mac[MAC_BYTES] = {0};
    if (usable) {
        known_mac(p, account, password, verifier, mac);
        if (known_right(p, mac, now_ms))
            return PASSWORDS_RIGHT;
    }
    struct job *job = job_new(p, id, span_sub(password, 0, PASSWORDS_BYTES_MAX));
    job->kind = JOB_VERIFY;
    job->always_wrong = !usable;
    job->cacheable = usable;
    memcpy(job->mac, mac, sizeof mac);
    if (usable)
        memcpy(job->verifier, verifier.p, verifier.len);
    else
        memcpy(job->verifier, p->dummy, sizeof p->dummy);
    return enqueue(p, job);
}

static enum passwords_outcome make(struct passwords *p, uint64_t id, struct span password,
                                   const uint8_t salt[SCRAM_KEYS_SALT_BYTES], enum job_kind kind,
                                   uint32_t iterations)
{
    if (!acceptable(password))
        return PASSWORDS_FAILED;
    struct job *job = job_new(p, id, password);
    job->kind = kind;
    job->iterations = iterations;
    memcpy(job->salt, salt, sizeof job->salt);
    return enqueue(p, job);
}

enum passwords_outcome passwords_hash(struct passwords *p, uint64_t id, struct span password,
                                      const uint8_t salt[SCRAM_KEYS_SALT_BYTES])
{
    return make(p, id, password, salt, JOB_HASH, p->config.iterations);
}

enum passwords_outcome passwords_keys(struct passwords *p, uint64_t id, struct span password,
                                      const uint8_t salt[SCRAM_KEYS_SALT_BYTES], uint32_t iterations)
{
    return make(p, id, password, salt, JOB_KEYS, iterations);
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
