/* For tests: the server engine with a small world behind it that answers its events.
 *
 * Recipients of brant.test: alice, bob, carol (and user+detail of them) and postmaster exist. full@ is over
 * quota (452), huge@ will never fit (552), later@ fails for now (451), nodata@ makes DATA fail (451),
 * rejected@ makes the end of data fail (554), busy@ ends the session with 421. Every other local part is
 * unknown (550 5.1.1), every other domain is not ours (550 5.7.1). Reverse-path blocked@ is refused (550),
 * greylist@ fails for now (451). */
#ifndef SMTP_RIG_H
#define SMTP_RIG_H

#include "smtp/server.h"

enum { RIG_MESSAGES_MAX = 64 };

struct rig {
    struct smtp_server *s;
    struct buf out;  /* everything the engine said */
    struct buf body; /* the message being received */
    struct buf stored[RIG_MESSAGES_MAX];
    size_t stored_count, resets;
    struct buf log; /* one line per event that is no BODY */
    bool in_transaction, no_data, rejected, closed;
    enum smtp_close_reason reason;
    size_t memory_max; /* the most the engine has held at a pause */
    uint64_t now_ms;
};

void rig_init(struct rig *r, const struct smtp_server_config *c);
void rig_done(struct rig *r);
/* Feeds bytes, answers everything, collects the output. */
void rig_feed(struct rig *r, struct span in);
void rig_feed_str(struct rig *r, const char *text);
/* The replies since the last call, as text; valid until the next call. */
const char *rig_replies(struct rig *r);

#endif
