/* Logging in: what the ways to do it have in common.
 *
 * A login is begun when it is asked for, and ends in login_right or login_wrong, each once: they count it,
 * log it and answer it. A refused one is answered auth.failure_delay after it was asked for, whatever the
 * reason. */
#ifndef ROLES_STORE_LOGINS_H
#define ROLES_STORE_LOGINS_H

#include "roles/store/app_password.h"
#include "roles/store/server.h"

struct login {
    struct password_task task; /* while a password is being checked */
    uint64_t session;          /* serial */
    uint16_t answer;           /* type of the message that answers */
    uint64_t asked_ms;
    uint64_t account;        /* that the name belongs to; 0: to none */
    struct throttle_try try; /* its user is `name` */
    bool counted;            /* throttle_begin said go */
    const char *doomed;      /* why it can't succeed whatever the password is, for the log; or NULL */
    struct span credential;  /* the name of the app password or certificate that was used */
    struct buf secret;       /* the password, when the account shall gain verifiers by it */

    /* for the log, the session may be gone by then */
    struct ipc_id id;
    uint8_t service, mechanism;
    bool tls;
    struct buf asked; /* the name as it was asked for */
    struct buf name;  /* in the directory's spelling, or as asked where it has none */
    char credential_name[STORE_GRANT_NAME_MAX + 1];
};

/* `asked` is completed with auth.default_domain and brought into the directory's spelling. */
void login_init(struct server *sv, struct login *l, struct peer *p, struct session *session, uint32_t tag,
                uint16_t answer, uint8_t mechanism, bool tls, struct span asked);
void login_done(struct login *l);

/* Finds the account of the name: l->account and l->doomed. *ret is always filled (empty when there is none)
 * and must be wiped. */
void login_find(struct server *sv, struct login *l, struct store_account_info *ret);
/* Does an authorization identity name the same account? An empty one does. */
bool login_same(struct server *sv, const struct login *l, struct span authzid);
/* The name in the directory's spelling, auth.default_domain added; BRANT_ESYNTAX, BRANT_ELIMIT. */
int login_name(const struct server *sv, struct span asked, struct buf *out);
/* False: throttled, and answered. */
bool login_begin_check(struct server *sv, struct login *l, struct span final);

/* Logs the session in, as this account; it may have gone or been disabled meanwhile. */
void login_right(struct server *sv, struct login *l, const char *credential, struct span final);
/* `final`: what the mechanism has to say; at most LOGIN_FINAL_MAX bytes. */
enum { LOGIN_FINAL_MAX = 128 };
void login_wrong(struct server *sv, struct login *l, enum ipc_status status, const char *reason,
                 struct span final);

/* Looks through the account's app passwords for one that `matches`. */
enum login_app { LOGIN_APP_NONE, LOGIN_APP_RIGHT, LOGIN_APP_EXPIRED, LOGIN_APP_ELSEWHERE };
typedef bool login_app_matches(void *context, const struct app_password *app);
enum login_app login_app_find(struct server *sv, struct login *l, login_app_matches *matches, void *context);
/* Ends a login by what was found, which is not LOGIN_APP_NONE. */
void login_app_end(struct server *sv, struct login *l, enum login_app found, struct span right_final,
                   struct span wrong_final);

/* Keeps the name of what was used, for the log. */
void login_take_credential(struct login *l, struct span name);
uint32_t login_protocol(uint8_t service); /* the bit of enum ipc_protocol */

/* The session is open, nobody is logged in or under way, and the service is its own; otherwise the peer is at
 * fault, and this is NULL. */
struct session *login_session(struct server *sv, struct peer *p, const struct ipc_id *id, uint8_t service);

void scram_exchange_free(struct scram_exchange *x); /* NULL is allowed */

#endif
