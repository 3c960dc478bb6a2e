/* The questions of IMAP sessions: how they are admitted, copied, run and answered.
 *
 * A session has few under way at a time, and a channel may hold only so much memory for all of its own: who
 * is over that is told to try later. What a question says of UIDs, keywords and names is checked here; what
 * an honest role never says is for the caller to fault. */
#ifndef ROLES_STORE_REQUESTS_H
#define ROLES_STORE_REQUESTS_H

#include "roles/store/fields.h"
#include "roles/store/server.h"

enum {
    REQUESTS_SESSION_MAX = 4,         /* under way at a time, of one session */
    REQUESTS_CHANNEL_BYTES = 64 << 20 /* memory of one channel's questions */
};

/* The session of a question, where somebody is logged in to IMAP; or NULL, after its sender was told off. */
struct session *request_session(struct server *sv, struct peer *p, const struct ipc_id *id);

/* A question that counts. */
struct request {
    uint64_t peer, session; /* serials */
    uint64_t bytes;
};
/* False: too much is under way. */
bool request_begin(struct request *r, struct peer *p, struct session *session, uint64_t bytes);
void request_end(struct server *sv, struct request *r); /* one that did not begin: nothing */

/* A question that is answered by reading. The first member of the handlers' own structs. */
struct request_read {
    struct read_work read;
    struct request request;
    uint64_t session; /* serial */
    uint64_t account;
    struct arena arena; /* what was copied of the question, and what is answered */
    int rc;             /* filled in by `run` */
    /* On the loop, and only while peer and session are there: sends the answer. It may start the work again,
     * with request_read_go. */
    void (*answer)(struct peer *p, struct session *session, struct request_read *r);
    void (*drop)(struct request_read *r); /* where it is not answered; may be NULL */
    bool going;
};

/* size: of the handler's own struct. arena_max: bytes of copies and answer. */
void *request_read_new(struct peer *p, const struct session *session, uint32_t tag, size_t size,
                       size_t arena_max, void (*run)(struct work *work, void *reader),
                       void (*answer)(struct peer *p, struct session *session, struct request_read *r));
/* Starts it, or answers at once with BRANT_ETRYLATER; it is not the caller's any more. */
void request_read_start(struct peer *p, struct session *session, struct request_read *r);
/* From `answer`: runs once more, with another `run` and `answer`. False: it is still the caller's, to answer.
 */
bool request_read_go(struct request_read *r, void (*run)(struct work *work, void *reader),
                     void (*answer)(struct peer *p, struct session *session, struct request_read *r));
/* Ends one that was never started. */
void request_read_free(struct request_read *r);

/* The mailbox's keywords for an answer, when there are more than `known` of them; else an empty span. */
struct span request_keywords_read(struct store_reader *reader, struct arena *a, uint64_t account,
                                  uint64_t mailbox, size_t known);

#endif
