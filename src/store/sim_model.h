/* The model that test_sim compares the store with. */
#ifndef STORE_SIM_MODEL_H
#define STORE_SIM_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "store/testing.h"

enum { USERS = 5, ALIASES = 3, MESSAGES = 2000, UIDS = 2000, ROUNDS = 50, FLIGHT = 6, RCPTS = 2, GRANTS = 4 };
enum box { INBOX, SENT, BOXES };

struct copy {
    uint64_t account;
    enum box box;
    uint32_t uid; /* 0: not seen yet */
    uint64_t flags, new_flags;
    bool flags_doubt, gone, gone_doubt, seen;
};

struct row { /* of the queue */
    uint32_t recipient;
    bool gone, gone_doubt, seen;
};

struct message {
    uint32_t size;
    bool stored, doubt, appended;
    int64_t born_ms, stored_ms; /* its time is in between */
    uint64_t id;                /* once known */
    size_t copy_count, row_count;
    struct copy copies[USERS + 1];
    struct row rows[RCPTS];
};

struct traits {                             /* what administrators change */
    uint64_t quota, scram, options, grants; /* grants: bit by bit */
};

struct user {
    uint64_t account; /* 0: there is none */
    struct traits traits;
    uint32_t owner[BOXES][UIDS]; /* number of the message that has this UID */
};

struct flight { /* one operation under way */
    struct store_op op;
    bool answered;
    int64_t answered_ms, *clock;
    uint32_t number;              /* COMMIT, APPEND: of the message */
    uint32_t filed;               /* APPEND: the message of which it is a copy */
    size_t user;                  /* account and change operations */
    enum box box;                 /* change operations */
    struct store_range ranges[8]; /* change operations */
    struct store_appended appended[2];
    uint64_t flags;
    char text[2][64];
    struct store_rcpt rcpts[RCPTS];
    int want[RCPTS]; /* their results */
    struct span prefix;
    char prefix_text[32], message_id[32];
    uint8_t *body, cert[32];
};

struct sim {
    struct bench b;
    uint64_t seed, random;
    bool log;
    struct user users[USERS];
    unsigned alias_users[ALIASES]; /* bit by bit: the users it leads to, whether they exist now or not */
    struct message *messages;      /* by number, from 1 */
    uint32_t count;
    struct flight flights[FLIGHT];
    size_t flying;
    const char *failure;
    unsigned crashes, rebuilds;
    bool torn; /* records of a torn batch are reported as lost from then on */
};

static inline uint64_t rnd(struct sim *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (s->random >> 33) % below;
}

static inline bool failed(struct sim *s, const char *why)
{
    if (!s->failure)
        s->failure = why;
    return false;
}

static inline uint8_t body_byte(uint32_t number, uint32_t i)
{
    return (uint8_t)(number * 31 + i * 7 + i / 253);
}

static inline void user_address(char out[64], size_t user)
{
    (void)snprintf(out, 64, "u%zu@sim.test", user);
}

/* ---- sim_fly.c: operations, drawn by lot and put among the flights */

void sim_fly_commit(struct sim *s);
void sim_fly_append(struct sim *s);
void sim_fly_queue(struct sim *s);
void sim_fly_change(struct sim *s, size_t user);
void sim_fly_admin(struct sim *s);
uint64_t sim_sent_of(const struct sim *s, size_t user); /* 0: the account has no mailbox of that name */

/* ---- sim_land.c: what their answers, or none, do to the model */

bool sim_landed(struct sim *s, struct flight *f);
/* After a crash: the account or alias is one of the two that the operation allows. */
bool sim_adopt_admin(struct sim *s, struct flight *f);
struct copy *sim_copy_of(struct sim *s, size_t user, enum box box, uint32_t number);        /* NULL: none */
bool sim_traits_now(struct sim *s, size_t user, uint64_t *ret_account, struct traits *ret); /* false: none */
bool sim_same_traits(const struct traits *a, const struct traits *b);

#endif
