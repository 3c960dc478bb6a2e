/* What the files of the session share. session.c: life and network; greeting.c: what is offered, TLS, logging
 * in, XCLIENT; transaction.c: a message's way from MAIL to the reply behind its data; submission.c: who may
 * be the sender, and the header of a submitted message. */
#ifndef ROLES_SMTP_SESSION_INTERNAL_H
#define ROLES_SMTP_SESSION_INTERNAL_H

#include "msa/header.h"
#include "net/pump.h"
#include "roles/common/login.h"
#include "roles/smtp/message.h"
#include "roles/smtp/session.h"
#include "smtp/server.h"

/* What the session waits for from the store. It is asked again when a new store process takes over. */
enum smtp_wait {
    SMTP_WAIT_NONE,
    SMTP_WAIT_VERDICT, /* SESSION_OPEN for a new connection, or behind XCLIENT: the greeting hangs on it */
    SMTP_WAIT_LOGIN,
    SMTP_WAIT_SENDER, /* may the account use the reverse-path? */
    SMTP_WAIT_RCPT,
    SMTP_WAIT_FROM,   /* may it use an address of the header? */
    SMTP_WAIT_CREDIT, /* the end of the data is here, the last chunk can't be sent yet */
    SMTP_WAIT_COMMIT, /* COMMIT was not sent yet, or COMMIT_RESULT is awaited */
};

struct smtp_session {
    struct edge edge;
    struct smtp_shared *shared;
    struct smtp_session *next, **link;
    struct smtp_server *engine;
    struct net_pump *pump; /* NULL: aborted, the session is being released */
    struct login login;
    char mechanisms[SASL_MECHANISMS_TEXT_MAX]; /* on offer */
    struct ip_addr proxy;                      /* who is connected: may it use XCLIENT? */
    struct buf client_name;                    /* that a proxy gave; not verified by us */
    struct smtp_message message;
    struct submission *submission; /* of the message under way; NULL: not submitted, or no data yet */
    struct buf question;           /* SENDER, RCPT, FROM: the address asked for */
    struct buf trace_prefix;       /* Return-Path and Received of the message being committed */
    uint64_t declared_bytes;       /* SIZE= of this transaction */
    uint64_t last_body;
    uint64_t waiting_since_ms;
    uint64_t
        blocked_since_ms; /* no more of the body is taken: the store gives no credit, or is asked; 0: it is */
    size_t pool_bytes;    /* our share of shared->pool_bytes */
    struct ipc_id commit;
    enum smtp_wait wait;
    bool commit_sent; /* the store may have it: after a restart ask, never send again */
    bool greeted, finished;
    uint64_t messages, recipients, refused; /* for the log */
};

/* session.c */
void smtp_session_wait_for(struct smtp_session *s, enum smtp_wait wait);
/* Answers the engine; nothing is waited for any more. */
void smtp_session_reply(struct smtp_session *s, const struct smtp_reply *r);
/* The session is over: whatever the store was asked, nobody waits for the answer. */
void smtp_session_ask_no_more(struct smtp_session *s);
/* smtp_server_end, but in silence where nothing may be said yet. */
void smtp_session_end(struct smtp_session *s, enum smtp_close_reason reason);
/* Counts what the message holds against the pool. */
void smtp_session_account(struct smtp_session *s);
void smtp_session_log_close(const struct smtp_session *s, enum smtp_close_reason reason);
bool smtp_session_submits(const struct smtp_session *s); /* one of the services of submission */
bool smtp_session_lmtp(const struct smtp_session *s);

/* greeting.c */
void smtp_greeting_offer(struct smtp_session *s);
void smtp_greeting_starttls(struct smtp_session *s);
void smtp_greeting_auth(struct smtp_session *s, const struct smtp_event *e);
void smtp_greeting_auth_cancel(struct smtp_session *s);
void smtp_greeting_xclient(struct smtp_session *s, const struct smtp_event *e);
void smtp_greeting_secured(struct smtp_session *s, const struct net_tls_info *info, size_t discarded);
void smtp_greeting_ask_login(struct smtp_session *s);
void smtp_greeting_answer_login(struct smtp_session *s, const struct ipc_message *m);
void smtp_greeting_give_up_login(struct smtp_session *s);
/* The verdict on the connection, or on who XCLIENT says it is. */
void smtp_greeting_answer_verdict(struct smtp_session *s, uint8_t status);

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
/* The body under way won't be committed: the store is told, what still arrives is dropped, and the reply
 * behind the data will be that of the status; at once, where the end of the data waits for a check. */
void smtp_session_drop_body(struct smtp_session *s, uint8_t status);
/* The message is whole: hand over what is left of it, then commit. */
void smtp_session_end_of_data(struct smtp_session *s);
/* What a refused recipient, or a message refused as a whole, is told. */
struct smtp_reply smtp_session_refusal(const struct smtp_session *s, uint8_t status);

/* submission.c */
struct submission *submission_new(const struct smtp_session *s);
void submission_free(struct submission *sub); /* NULL is allowed */
size_t submission_memory(const struct submission *sub);
void submission_ask_sender(struct smtp_session *s);
void submission_answer_sender(struct smtp_session *s, const struct ipc_sender_verdict *v);
/* The next bytes of the message: those of the header are kept until it is whole, checked and repaired. */
void submission_add(struct smtp_session *s, struct span bytes);
/* Bytes wait here, for an answer of the store or for room: no more of the message can be taken. */
bool submission_blocked(const struct smtp_session *s);
/* Moves what waits into the message, as far as there is room. */
void submission_move(struct smtp_session *s);
/* The data is at its end. False: the store has to be asked first; smtp_session_end_of_data comes again. */
bool submission_end(struct smtp_session *s);
void submission_ask_from(struct smtp_session *s);
void submission_answer_from(struct smtp_session *s, const struct ipc_sender_verdict *v);
bool submission_has_ended(const struct submission *sub); /* submission_end was called */
/* Why the message is refused, or NULL. */
const struct smtp_reply *submission_refusal(const struct submission *sub);
/* Of the body behind the header (XXH3, 128 bits). */
void submission_content_sum(const struct submission *sub, uint8_t ret[IPC_SUM_BYTES]);

#endif
