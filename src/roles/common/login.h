/* One login of one connection, the same for every protocol: joins the SASL exchange (sasl/server.h) with what
 * the store is asked. The protocol's glue moves the bytes:
 *
 *     next = login_begin(&l, e, mechanism, has_response, response)     or login_password, for USER and PASS
 *     LOGIN_CHALLENGE   send login_challenge(&l); the client's response goes to login_step
 *     LOGIN_ASK         wait for the store: login_ask now and whenever a new store process is there; its
 *                       answer goes to login_answer
 *     LOGIN_DONE        login_outcome(&l) says how it went; the edge knows who it is when it is LOGIN_OK
 *
 * A client that gives up: login_cancel. What it sent is overwritten when the exchange ends. */
#ifndef ROLES_LOGIN_H
#define ROLES_LOGIN_H

#include "roles/common/edge.h"
#include "sasl/server.h"

enum login_next { LOGIN_CHALLENGE, LOGIN_ASK, LOGIN_DONE };

enum login_outcome {
    LOGIN_OK,
    LOGIN_REFUSED,   /* wrong, whatever is wrong */
    LOGIN_EXPIRED,   /* the right password of its own, and over */
    LOGIN_WEAK,      /* not by this mechanism */
    LOGIN_MALFORMED, /* what the client sent is no message of the mechanism */
    LOGIN_TRY_LATER
};

struct login {
    struct sasl_server sasl;
    struct sasl_event
        event; /* that the store is asked about; its spans are the protocol engine's until the answer */
    enum ipc_mechanism mechanism;
    enum login_outcome outcome;
    bool plus_offered; /* SCRAM-SHA-256-PLUS was among what was offered */
    bool scram_begun;  /* the store keeps an exchange for us */
    bool succeeded;    /* the store said yes; the client has still to take note */
    struct buf out;    /* the challenge, where the store made it */
};

void login_init(struct login *l);
void login_done(struct login *l);

/* The mechanisms that may be offered now, in order of preference, apart by spaces; "" when logging in is not
 * possible on this connection as it is. Returns `text`. */
const char *login_mechanisms(const struct edge *e, char text[SASL_MECHANISMS_TEXT_MAX]);

enum login_next login_begin(struct login *l, struct edge *e, struct span mechanism, bool has_response,
                            struct span response);
enum login_next login_step(struct login *l, struct edge *e, struct span response);
enum login_next login_password(struct login *l, struct span user, struct span password);

struct span login_challenge(const struct login *l); /* valid until the next call */
/* BRANT_ENOTFOUND: the store that kept the exchange is gone; give up. BRANT_ELIMIT: what the client sent is
 * over a maximum; give up. BRANT_ESTATE: not now. */
int login_ask(struct login *l, struct edge *e, struct net_pump *pump);
/* m: LOGIN_RESULT or SCRAM_STEP. */
enum login_next login_answer(struct login *l, struct edge *e, const struct ipc_message *m);
/* The store is gone: an exchange it kept can't go on, and ends with LOGIN_TRY_LATER at its next step. */
void login_store_lost(struct login *l);
/* The store has not answered for too long: LOGIN_DONE with LOGIN_TRY_LATER, and a new session to begin with.
 */
void login_give_up(struct login *l, struct edge *e);
/* The client has given up. A login that had succeeded already is undone. */
void login_cancel(struct login *l, struct edge *e);

enum login_outcome login_outcome(const struct login *l);

#endif
