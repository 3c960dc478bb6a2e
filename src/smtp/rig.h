/* For tests: the server engine with a small world behind it that answers its events.
 *
 * Recipients of brant.test: alice, bob, carol (and user+detail of them) and postmaster exist. full@ is over
 * quota (452), huge@ will never fit (552), later@ fails for now (451), nodata@ makes DATA fail (451),
 * rejected@ makes the end of data fail (554), busy@ ends the session with 421. Every other local part is
 * unknown (550 5.1.1), every other domain is not ours (550 5.7.1). Reverse-path blocked@ is refused (550),
 * greylist@ fails for now (451).
 *
 * Logins: alice with the password "secret" is right by PLAIN and LOGIN (235), and so is user@testserver with
 * "secretpassword". later is not checked (454),
 * weak needs more (534), ended is over (535 5.7.8), gone ends the session (421), all others are wrong (535).
 * SCRAM-SHA-256 is played without sums: the client says "first", hears "server-first", says "final", hears
 * "server-final", says nothing, and is alice. Other mechanisms refuse at once (454).
 * XCLIENT with the name refused.example is refused (550). */
#ifndef SMTP_RIG_H
#define SMTP_RIG_H

#include "smtp/server.h"

enum { RIG_MESSAGES_MAX = 64 };

/* What is offered; set before the session is greeted (rig_offer). */
struct rig_offers {
    struct smtp_offer clear, tls; /* before and after TLS has begun */
    bool tls_refused;             /* STARTTLS is answered with 454 */
};

struct rig {
    struct smtp_server *s;
    struct buf out;  /* everything the engine said */
    struct buf body; /* the message being received */
    struct buf stored[RIG_MESSAGES_MAX];
    size_t stored_count, resets;
    struct buf log; /* one line per event that is no BODY */
    bool in_transaction, no_data, rejected, closed;
    struct rig_offers offers;
    struct span mechanism; /* of the exchange that is going on; empty: none */
    int auth_step;         /* responses taken in it */
    struct buf user;       /* LOGIN */
    enum smtp_close_reason reason;
    size_t memory_max; /* the most the engine has held at a pause */
    uint64_t now_ms;
};

void rig_init(struct rig *r, const struct smtp_server_config *c);
void rig_done(struct rig *r);
void rig_offer(struct rig *r, const struct rig_offers *offers);
/* The client does its handshake: nothing happens unless STARTTLS was answered with 220. */
void rig_tls(struct rig *r);
/* Feeds bytes, answers everything, collects the output. Bytes that the engine does not take are thrown away,
 * as a caller has to when TLS is about to begin. */
void rig_feed(struct rig *r, struct span in);
void rig_feed_str(struct rig *r, const char *text);
/* The replies since the last call, as text; valid until the next call. */
const char *rig_replies(struct rig *r);

#endif
