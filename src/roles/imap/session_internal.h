/* What the files of the session share. session.c: life and network; greeting.c: what is offered, TLS, logging
 * in; asking.c: what the store is asked, its restarts; mailboxes.c, messages.c, append.c: the questions of
 * the engine, each as what is asked and what is made of the answer. */
#ifndef ROLES_IMAP_SESSION_INTERNAL_H
#define ROLES_IMAP_SESSION_INTERNAL_H

#include "net/pump.h"
#include "roles/common/body.h"
#include "roles/common/login.h"
#include "roles/imap/session.h"

enum {
    IMAP_INPUT_STRANGER_BYTES = 4096, /* read ahead */
    IMAP_INPUT_KNOWN_BYTES = 16384,
    IMAP_INPUT_APPEND_BYTES = 65536
};

/* What the session waits for from the store. It is asked again when a new store process takes over. */
enum imap_wait {
    IMAP_WAIT_NONE,
    IMAP_WAIT_VERDICT, /* SESSION_OPEN for a new connection: the greeting hangs on it */
    IMAP_WAIT_LOGIN,
    IMAP_WAIT_ANSWER /* to the event in `asked` */
};

struct imap_appending; /* append.c */

/* SELECT: the answer that is complete when the UIDs are. */
struct imap_opening {
    struct imap_opened opened;
    struct buf keywords; /* that opened.keywords points into */
    uint32_t next;       /* UIDs from here on are due */
};

struct imap_session {
    struct edge edge;
    struct imap_shared *shared;
    struct imap_session *next, **link;
    struct imap_server *engine;
    struct net_pump *pump;
    struct login login;
    char mechanisms[SASL_MECHANISMS_TEXT_MAX]; /* on offer */

    enum imap_wait wait;
    struct imap_event asked; /* the engine keeps its spans until the answer */
    bool sent;               /* a store process has the question … */
    bool again;              /* … or one had it that died before it answered: it may have been done */
    uint64_t waiting_since_ms;
    uint64_t look_at_ms; /* CHANGES could not be had: try again then; 0: no */

    uint64_t mailbox; /* the selected one, or the one being selected; 0: none */
    bool read_only;
    uint32_t keywords_known;
    struct buf mailbox_name;
    struct imap_opening *opening;
    bool news_missed; /* there was news before the engine had the mailbox: it is to look once it has */

    struct imap_appending *append; /* NULL: none is under way */
    uint64_t last_body;
    uint64_t blocked_since_ms; /* no more of a message is taken: the store gives no credit; 0: it is */
    uint64_t expunges, copies; /* commands, for the log */
    bool greeted, finished;
};

/* session.c */
void imap_session_wait_for(struct imap_session *s, enum imap_wait wait);
/* The engine was answered: nothing is waited for any more. */
void imap_session_answered(struct imap_session *s);
/* imap_server_end, but in silence where nothing may be said yet. */
void imap_session_end(struct imap_session *s, enum imap_close_reason reason);
void imap_session_log_close(const struct imap_session *s, enum imap_close_reason reason);

/* greeting.c */
void imap_greeting_offer(struct imap_session *s);
void imap_greeting_starttls(struct imap_session *s);
void imap_greeting_secured(struct imap_session *s, const struct net_tls_info *info, size_t discarded);
void imap_greeting_admitted(struct imap_session *s);
void imap_greeting_login(struct imap_session *s, const struct imap_event *e);
void imap_greeting_ask_login(struct imap_session *s);
void imap_greeting_answer_login(struct imap_session *s, const struct ipc_message *m);
void imap_greeting_give_up_login(struct imap_session *s);

/* asking.c */
extern const struct store_peer_ops imap_session_peer_ops;
/* Handles one event. False: nothing more can be done until something arrives. */
bool imap_session_event(struct imap_session *s, const struct imap_event *e);
/* Asks the store what the session waits for, presenting the session first where that is due. */
void imap_session_ask(struct imap_session *s);
/* The store has not answered for too long. */
void imap_session_give_up(struct imap_session *s);
/* For the questions: sends it; what can't be sent is answered as failed. */
void imap_session_question(struct imap_session *s, struct ipc_message *m);
/* The answer to the engine: what its function returned, or a failure. */
void imap_session_given(struct imap_session *s, int rc);
void imap_session_failed(struct imap_session *s, enum imap_failure failure);
enum imap_failure imap_session_failure(uint8_t status);
/* Says it where the store knows the session. */
void imap_session_tell(struct imap_session *s, const struct ipc_message *m);

/* UIDs between the engine and the messages. A request holds as many of the event's ranges as fit; _last: the
 * UID up to which it then goes, UINT32_MAX when it has all of them. */
struct span imap_ranges_put(struct imap_session *s);
uint32_t imap_ranges_last(const struct imap_event *e);
/* n: which of the two places. */
size_t imap_ranges_get(struct imap_session *s, struct span bytes, unsigned n);
/* Names with a space between two. */
void imap_keywords_put(struct buf *out, const struct span *names, size_t count);
void imap_keywords_get(struct span text, struct imap_keywords *ret);
/* The engine learns them, when there are any. */
void imap_keywords_tell(struct imap_session *s, struct span text, bool full);

/* mailboxes.c */
void imap_ask_list(struct imap_session *s);
void imap_answer_list(struct imap_session *s, const struct ipc_message *m);
void imap_ask_status(struct imap_session *s);
void imap_answer_status(struct imap_session *s, const struct ipc_message *m);
void imap_ask_mailbox(struct imap_session *s);
void imap_answer_mailbox(struct imap_session *s, const struct ipc_message *m);
void imap_ask_open(struct imap_session *s);
void imap_answer_open(struct imap_session *s, const struct ipc_message *m);
void imap_mailbox_left(struct imap_session *s);
void imap_mailbox_watch(struct imap_session *s); /* tells the store */
void imap_opening_free(struct imap_session *s);

/* messages.c */
void imap_ask_entries(struct imap_session *s);
void imap_answer_entries(struct imap_session *s, const struct ipc_message *m);
void imap_ask_read(struct imap_session *s);
void imap_answer_read(struct imap_session *s, const struct ipc_message *m);
void imap_ask_change(struct imap_session *s);
void imap_answer_change(struct imap_session *s, const struct ipc_message *m);
void imap_ask_changes(struct imap_session *s);
void imap_answer_changes(struct imap_session *s, const struct ipc_message *m);
void imap_ask_vanished(struct imap_session *s);
void imap_answer_vanished(struct imap_session *s, const struct ipc_message *m);

/* append.c */
void imap_ask_append(struct imap_session *s);
void imap_answer_append(struct imap_session *s, const struct ipc_message *m);
void imap_ask_commit(struct imap_session *s);
void imap_answer_commit(struct imap_session *s, const struct ipc_message *m);
void imap_appending_body(struct imap_session *s, struct span bytes);
void imap_appending_message(struct imap_session *s); /* it is whole */
/* Forgets it, and tells the store to. */
void imap_appending_abort(struct imap_session *s);
void imap_appending_free(struct imap_session *s);
void imap_appending_credit(struct imap_session *s, const struct ipc_body_credit *m);
/* Nothing will come of it; what still arrives is dropped. */
void imap_appending_fail(struct imap_session *s, uint8_t status);
/* No more of the message can be taken. */
bool imap_appending_blocked(const struct imap_session *s);

#endif
