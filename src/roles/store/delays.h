/* Answers that wait for their time: refused logins, which are all answered equally late. Bounded. */
#ifndef ROLES_STORE_DELAYS_H
#define ROLES_STORE_DELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member of the caller's struct. */
struct delayed {
    struct delayed *prev, *next;
    uint64_t due_ms;
};

struct delays {
    struct delayed *first, *last; /* in order of due_ms */
    size_t count, max;
};

/* False: too many wait already. Cheap when the times come nearly in order. */
bool delays_add(struct delays *d, struct delayed *item, uint64_t due_ms);
void delays_remove(struct delays *d, struct delayed *item);
/* Takes the first one that is due; NULL: none. */
struct delayed *delays_due(struct delays *d, uint64_t now_ms);

/* The time to answer what was asked at asked_ms: the first one that is a whole number of delays later and not
 * over yet, so that what took longer than a delay tells little, too. */
uint64_t delays_due_ms(uint64_t asked_ms, uint64_t delay_ms, uint64_t now_ms);

#endif
