/* How much each account sends: messages within an hour, recipients within a day, as sliding windows in
 * memory. They begin anew when the store does; an account among more than RATES_ACCOUNTS_MAX that was quiet
 * longest does, too. Time is monotonic milliseconds. */
#ifndef ROLES_STORE_RATES_H
#define ROLES_STORE_RATES_H

#include "base/buf.h"
#include "roles/store/lru.h"

enum { RATES_ACCOUNTS_MAX = 50000 };

struct rates_limits {
    uint64_t messages_per_hour, recipients_per_day; /* 0: no limit */
};

struct rates {
    struct rates_limits limits;
    struct lru accounts;
};

void rates_init(struct rates *r, size_t accounts_max, struct map_key key);
void rates_done(struct rates *r);
void rates_set_limits(struct rates *r, const struct rates_limits *limits);

/* May the account send one more message, to that many recipients? BRANT_OK, or BRANT_ELIMIT with a text for
 * people (may be NULL): what, how many, when again. Nothing is counted. */
int rates_ask(struct rates *r, uint64_t account, uint32_t recipients, uint64_t now_ms, struct buf *ret_text);
/* It does; and it did not, after all: counted at at_ms. */
void rates_count(struct rates *r, uint64_t account, uint32_t recipients, uint64_t now_ms);
void rates_take_back(struct rates *r, uint64_t account, uint32_t recipients, uint64_t at_ms, uint64_t now_ms);

#endif
