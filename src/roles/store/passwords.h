/* Passwords: hashed and checked on threads of their own, so that the event loop never waits for one.
 *
 * What a password is checked against is a verifier (verifier.h); SCRAM needs keys of its own (scram_keys.h),
 * which are made beside it. Passwords come prepared (prepare.h), or are at least bytes without NUL.
 * Requests go into a bounded queue, answers come back through passwords_next when passwords_fd is readable.
 * A right password is remembered for an hour as an HMAC under a key made at start, so that a client that
 * connects every minute costs one hash an hour. The verifier is part of what is remembered: a changed
 * password is never answered from memory.
 *
 * All calls are made by one thread, the event loop's. Passwords are copied and wiped after use. */
#ifndef ROLES_STORE_PASSWORDS_H
#define ROLES_STORE_PASSWORDS_H

#include "roles/store/scram_keys.h"
#include "roles/store/verifier.h"

enum {
    PASSWORDS_BYTES_MAX = VERIFIER_PASSWORD_MAX,
    PASSWORDS_CACHE_MS = 3600 * 1000 /* how long a right password is remembered */
};

struct passwords_config {
    unsigned threads; /* 1 to 8 */
    size_t queue_max; /* requests under way, queued, running or not fetched yet */
    size_t cache_max; /* right passwords remembered */
    struct verifier_cost cost;
    uint32_t iterations; /* of SCRAM keys */
};

enum passwords_outcome {
    PASSWORDS_RIGHT,
    PASSWORDS_WRONG,
    PASSWORDS_HASHED, /* verifier and keys are in the result */
    PASSWORDS_FAILED, /* no memory */
    PASSWORDS_PENDING,
    PASSWORDS_BUSY /* the queue is full */
};

struct passwords_result {
    uint64_t id; /* as given with the request */
    enum passwords_outcome outcome;
    char verifier[VERIFIER_TEXT_MAX]; /* for PASSWORDS_HASHED: text with a NUL; "" if only keys were asked for
                                       */
    struct scram_keys keys;
};

struct passwords;

/* Creates the threads, at low priority. NULL when they cannot be created. */
struct passwords *passwords_new(const struct passwords_config *config);
void passwords_free(struct passwords *p); /* waits for the hash that runs; drops the queue */

/* Readable (an eventfd) when results wait. */
int passwords_fd(const struct passwords *p);

/* Checks a password. PASSWORDS_RIGHT: remembered, no result follows. PASSWORDS_PENDING: the result comes with
 * this id. PASSWORDS_BUSY: nothing was done. An empty verifier (an unknown or disabled account, one without a
 * password) is always wrong, and so is a password with a NUL or of no or too many bytes; they cost the same
 * time as a real check. */
enum passwords_outcome passwords_verify(struct passwords *p, uint64_t id, uint64_t account,
                                        struct span password, struct span verifier, uint64_t now_ms);

/* Makes an Argon2id verifier and SCRAM keys with this salt. PASSWORDS_PENDING, PASSWORDS_BUSY;
 * PASSWORDS_FAILED when the password is empty, too long or holds a NUL. */
enum passwords_outcome passwords_hash(struct passwords *p, uint64_t id, struct span password,
                                      const uint8_t salt[SCRAM_KEYS_SALT_BYTES]);
/* Makes keys only, with this many iterations. As passwords_hash. */
enum passwords_outcome passwords_keys(struct passwords *p, uint64_t id, struct span password,
                                      const uint8_t salt[SCRAM_KEYS_SALT_BYTES], uint32_t iterations);

/* The next result; BRANT_ETRYLATER when there is none. */
int passwords_next(struct passwords *p, uint64_t now_ms, struct passwords_result *ret);

size_t passwords_pending(const struct passwords *p); /* requests under way */
size_t passwords_cached(const struct passwords *p);

#endif
