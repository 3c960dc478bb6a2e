/* What the files of the session share. session.c: life and network; transaction.c: engine events and the
 * store's answers. */
#ifndef ROLES_SMTP_SESSION_INTERNAL_H
#define ROLES_SMTP_SESSION_INTERNAL_H

#include "net/pump.h"
#include "roles/smtp/message.h"
#include "roles/smtp/session.h"
#include "smtp/server.h"

/* What the session waits for from the store. It is asked again when a new store process takes over. */
enum smtp_wait {
    SMTP_WAIT_NONE,
    SMTP_WAIT_VERDICT, /* SESSION_OPEN for a new connection: the greeting hangs on it */
    SMTP_WAIT_RCPT,
    SMTP_WAIT_CREDIT, /* the end of the data is here, the last chunk can't be sent yet */
    SMTP_WAIT_COMMIT, /* COMMIT was not sent yet, or COMMIT_RESULT is awaited */
};

struct smtp_session {
    struct smtp_shared *shared;
    struct smtp_session *next, **link;
    struct role_conf *conf; /* referenced */
    struct smtp_server *engine;
    struct net_pump *pump; /* NULL: aborted, the session is being released */
    struct store_peer peer;
    struct ip_addr source;
    struct smtp_message message;
    struct buf question;     /* RCPT: the address asked for */
    struct buf trace_prefix; /* Return-Path and Received of the message being committed */
    uint64_t declared_bytes; /* SIZE= of this transaction */
    uint64_t last_body;
    uint64_t waiting_since_ms;
    uint64_t blocked_since_ms; /* the store gives no credit for more of the body; 0: it does */
    size_t pool_bytes;         /* our share of shared->pool_bytes */
    struct ipc_id commit;
    enum smtp_wait wait;
    bool commit_sent; /* the store may have it: after a restart ask, never send again */
    bool presented;   /* the store process that is there now knows this session */
    bool greeted, finished;
    uint64_t messages, recipients, refused; /* for the log */
    uint64_t started_ms;
};

/* transaction.c */
extern const struct store_peer_ops smtp_session_peer_ops;
/* Handles one event. False: nothing more can be done until something arrives. */
bool smtp_session_event(struct smtp_session *s, const struct smtp_event *e);
/* Asks the store what the session waits for, presenting the session first where that is due. */
void smtp_session_ask(struct smtp_session *s);
/* The store has not answered for too long. */
void smtp_session_store_timeout(struct smtp_session *s);
/* The store has not taken any more of the body for too long. */
void smtp_session_credit_timeout(struct smtp_session *s);
/* Counts what the message holds against the pool. */
void smtp_session_account(struct smtp_session *s);

void smtp_session_log_close(const struct smtp_session *s, enum smtp_close_reason reason);

#endif
