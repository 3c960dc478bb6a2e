/* The sources from which accounts were used: where somebody logged in within the last 30 days, the failures
 * of others don't keep him out (throttle.h).
 *
 * Bounded; the longest unused makes room. One account adds no more than KNOWN_NEW_PER_DAY in a day, so that
 * nobody can crowd out the others with logins of his own from everywhere. Kept in the file `sources` of the
 * data directory, as keyed hashes and days, so that it says nothing to who reads it; it is written now and
 * then, and losing it costs no more than some waiting under attack. Times are milliseconds since 1970 UTC. */
#ifndef ROLES_STORE_KNOWN_H
#define ROLES_STORE_KNOWN_H

#include "base/buf.h"
#include "base/ip.h"
#include "roles/store/lru.h"

enum { KNOWN_MAX = 100000, KNOWN_DAYS = 30, KNOWN_NEW_PER_DAY = 100, KNOWN_SECRET_BYTES = 32 };
enum { KNOWN_FILE_MAX = 64 + KNOWN_MAX * 20 };

struct known {
    struct lru sources;
    struct lru adders; /* accounts that added some lately */
    uint8_t secret[KNOWN_SECRET_BYTES];
    bool changed; /* since the last known_save */
};

void known_init(struct known *k, size_t max, const uint8_t secret[KNOWN_SECRET_BYTES], struct map_key key);
void known_done(struct known *k);

bool known_is(const struct known *k, uint64_t account, const struct ip_addr *source, int64_t now_ms);
void known_add(struct known *k, uint64_t account, const struct ip_addr *source, int64_t now_ms);

/* The file's contents; `out` must take KNOWN_FILE_MAX. */
void known_save(struct known *k, struct buf *out, int64_t now_ms);
/* BRANT_ECORRUPT: not written by known_save with this secret; k is unchanged. */
int known_load(struct known *k, struct span file, int64_t now_ms);

#endif
