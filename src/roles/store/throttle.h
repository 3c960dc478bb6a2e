/* Slows down password guessing: after a number of failures of one source against one account within a while,
 * that pair waits until the while is over. Others are not touched: neither the account's owner elsewhere nor
 * the source's other accounts. The table is bounded; the oldest pair makes room for a new one. */
#ifndef ROLES_STORE_THROTTLE_H
#define ROLES_STORE_THROTTLE_H

#include "base/ip.h"
#include "base/map.h"

enum { THROTTLE_FAILURES_MAX = 10, THROTTLE_WINDOW_MS = 10 * 60 * 1000, THROTTLE_PAIRS_MAX = 50000 };

struct throttle_pair;

struct throttle {
    struct map pairs;
    struct throttle_pair *oldest, *newest; /* in order of their first failure */
    size_t pairs_max;
};

void throttle_init(struct throttle *t, size_t pairs_max, struct map_key key);
void throttle_done(struct throttle *t);

/* Must this pair wait? Names are compared without regard to ASCII case. */
bool throttle_waits(struct throttle *t, const struct ip_addr *source, struct span user, uint64_t now_ms);
void throttle_failed(struct throttle *t, const struct ip_addr *source, struct span user, uint64_t now_ms);
/* A right password clears the pair. */
void throttle_succeeded(struct throttle *t, const struct ip_addr *source, struct span user);

#endif
