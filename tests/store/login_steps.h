/* Logging in as the roles do it, and what an administrator gives accounts for that. */
#ifndef TESTS_LOGIN_STEPS_H
#define TESTS_LOGIN_STEPS_H

#include "scram_client.h"
#include "steps.h"
#include "world.h"

/* How somebody tries to log in; what is zero has its usual value. */
struct attempt {
    const char *from;  /* NULL: 127.0.0.1; "": a Unix socket */
    uint8_t service;   /* 0: POP3 */
    uint8_t mechanism; /* 0: PLAIN */
    const char *user, *password, *authzid;
    /* SCRAM */
    const char *gs2;   /* NULL: "n,," */
    struct span bound; /* what the client binds to */
    bool plus_offered;
    struct span end_point, exporter; /* what the connection has */
};

/* Settings with which refused logins are answered at once, and nobody is throttled. */
#define OPEN                                                                               \
    "auth.failure_delay = 0\nauth.account_failures = 1000\nauth.source_failures = 10000\n" \
    "max_connections_per_source = 5000"

/* By POP3, from another source each time: failures of one source for one name have a limit of their own. */
struct attempt attempt_as(const char *user, const char *password);
/* The same on a connection that can be bound to, by SCRAM with this header and binding. */
struct attempt attempt_bound(struct attempt a, const char *gs2, struct span bound);
/* Every one of the texts must be in what the store logged since it was last read; the list ends with NULL. */
void expect_log(struct world *w, const char *const *texts);

/* A new session in which it is tried: the status, and the answer. */
uint8_t attempt_password(struct peer *p, const struct attempt *a, struct ipc_message *ret);
/* The same by SCRAM; what the server proves at the end is checked. */
uint8_t attempt_scram(struct peer *p, const struct attempt *a, struct ipc_message *ret);
uint8_t attempt_external(struct peer *p, const struct attempt *a, bool trusted, struct span fingerprint,
                         struct ipc_message *ret);

/* Their parts. */
struct ipc_id attempt_session(struct peer *p, const struct attempt *a);
struct ipc_message attempt_message(const struct attempt *a, struct ipc_id session);
struct ipc_message scram_begin_message(const struct attempt *a, struct ipc_id session, struct span first);
struct ipc_message scram_finish_message(struct ipc_id session, struct span final);

/* The command line. */
struct ipc_message account_hash(const char *name, const char *hash);
struct ipc_message account_password(const char *name, const char *password);
struct ipc_message account_enabled(const char *name, bool enabled);
/* Makes a grant, expecting this status; the new app password, valid until the next call. */
const char *grant_add(struct peer *cli, const char *account, uint8_t kind, const char *name,
                      uint32_t protocols, uint64_t expires_at_s, struct span fingerprint, uint8_t status);
struct ipc_message grant_remove(const char *account, uint8_t kind, const char *name);
/* How many of the kind there are. */
uint32_t grant_count(struct peer *cli, const char *account, uint8_t kind);
/* The account's row in the list. */
struct ipc_account_row account_row(struct peer *cli, const char *account);

#endif
