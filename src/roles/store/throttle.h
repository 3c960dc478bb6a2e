/* Slows down the guessing of passwords. Three rules, each with its own bounded table:
 *
 *   account  at most `account_failures` checks of passwords for one name within a minute, from all sources
 *            together that this name was not used from before; who it belongs to, at a source of old, is not
 * hit source   at most `source_failures` failures of one source within ten minutes, for whatever names pair
 * at most THROTTLE_PAIR_FAILURES failures of one source for one name within ten minutes
 *
 * A source is an IPv4 address or an IPv6 network of 64 bits; the Unix sockets are one source, to which the
 * source rule does not apply. Names are counted whether they exist or not, without regard to ASCII case.
 *
 * The account rule charges a check when it begins and gives it back when the password was right, so that
 * many guesses at one moment are counted, too. Time is monotonic milliseconds. */
#ifndef ROLES_STORE_THROTTLE_H
#define ROLES_STORE_THROTTLE_H

#include "base/ip.h"
#include "roles/store/lru.h"

enum {
    THROTTLE_ENTRIES_MAX = 50000, /* of each table */
    THROTTLE_PAIR_FAILURES = 10,
    THROTTLE_ACCOUNT_MS = 60 * 1000,
    THROTTLE_SOURCE_MS = 10 * 60 * 1000 /* and of a pair */
};

struct throttle_limits {
    uint64_t account_failures, source_failures;
};

struct throttle {
    struct throttle_limits limits;
    struct lru accounts, sources, pairs;
};

/* Who tries. */
struct throttle_try {
    struct ip_addr source;
    struct span user;
    bool known_good; /* this account was used from this source before */
    bool charged;    /* filled in by throttle_begin: the account's check was counted, at charged_ms */
    uint64_t charged_ms;
};

enum throttle_verdict { THROTTLE_GO, THROTTLE_ACCOUNT, THROTTLE_SOURCE, THROTTLE_PAIR };

void throttle_init(struct throttle *t, size_t entries_max, struct map_key key);
void throttle_done(struct throttle *t);
void throttle_set_limits(struct throttle *t, const struct throttle_limits *limits);

/* May a password be checked? THROTTLE_GO is to be followed by one of the three below. */
enum throttle_verdict throttle_begin(struct throttle *t, struct throttle_try *try, uint64_t now_ms);
void throttle_failed(struct throttle *t, const struct throttle_try *try, uint64_t now_ms);
void throttle_passed(struct throttle *t, const struct throttle_try *try,
                     uint64_t now_ms); /* clears the pair */
void throttle_unchecked(struct throttle *t, const struct throttle_try *try, uint64_t now_ms);

const char *throttle_text(enum throttle_verdict verdict); /* for the log */

#endif
