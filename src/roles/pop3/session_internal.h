/* What the files of the session share. session.c: life and network; greeting.c: what is offered, TLS, logging
 * in; maildrop.c: engine events and the store's answers. */
#ifndef ROLES_POP3_SESSION_INTERNAL_H
#define ROLES_POP3_SESSION_INTERNAL_H

#include "net/pump.h"
#include "pop3/server.h"
#include "roles/common/login.h"
#include "roles/pop3/session.h"

/* What the session waits for from the store. It is asked again when a new store process takes over. */
enum pop3_wait {
    POP3_WAIT_NONE,
    POP3_WAIT_VERDICT, /* SESSION_OPEN for a new connection: the greeting hangs on it */
    POP3_WAIT_LOGIN,
    POP3_WAIT_MAILDROP,
    POP3_WAIT_ROWS,
    POP3_WAIT_DATA,
    POP3_WAIT_EXPUNGE
};

struct pop3_session {
    struct edge edge;
    struct pop3_shared *shared;
    struct pop3_session *next, **link;
    struct pop3_server *engine;
    struct net_pump *pump;
    struct login login;
    char mechanisms[SASL_MECHANISMS_TEXT_MAX]; /* on offer */
    enum pop3_wait wait;
    struct pop3_event asked; /* the event that is being answered; the engine keeps its spans until then */
    uint64_t waiting_since_ms;
    bool maildrop_held;
    uint32_t last_uid; /* listed so far */
    uint32_t cursor;   /* of pop3_server_deleted_next: behind the uids already expunged */
    uint32_t cursor_next;
    bool greeted, finished;
};

/* session.c */
void pop3_session_wait_for(struct pop3_session *s, enum pop3_wait wait);
/* The engine was answered: nothing is waited for any more. */
void pop3_session_answered(struct pop3_session *s);
/* pop3_server_end, but in silence where nothing may be said yet. */
void pop3_session_end(struct pop3_session *s, enum pop3_close_reason reason);

/* greeting.c */
void pop3_greeting_offer(struct pop3_session *s);
void pop3_greeting_stls(struct pop3_session *s);
void pop3_greeting_secured(struct pop3_session *s, const struct net_tls_info *info, size_t discarded);
void pop3_greeting_admitted(struct pop3_session *s);
void pop3_greeting_login(struct pop3_session *s, const struct pop3_event *e);
void pop3_greeting_ask_login(struct pop3_session *s);
void pop3_greeting_answer_login(struct pop3_session *s, const struct ipc_message *m);
void pop3_greeting_give_up_login(struct pop3_session *s);

/* maildrop.c */
extern const struct store_peer_ops pop3_session_peer_ops;
/* Handles one event. False: nothing more can be done until something arrives. */
bool pop3_session_event(struct pop3_session *s, const struct pop3_event *e);
/* Asks the store what the session waits for, presenting the session first where that is due. */
void pop3_session_ask(struct pop3_session *s);
/* Ends the store's side of the session, with its login, its maildrop and the question under way. The next
 * question presents it as a new one. */
void pop3_session_leave(struct pop3_session *s);
/* Gives up on what is waited for: the store has not answered for too long, or has failed. */
void pop3_session_give_up(struct pop3_session *s);

void pop3_session_log_close(const struct pop3_session *s, enum pop3_close_reason reason);

#endif
