/* The sessions of all roles: who is connected from where, who is logged in, who holds a maildrop.
 *
 * A session is known by the channel it came by and the id its role chose, so that one role instance can
 * never name a session of another. Sessions are counted per source (IPv4 address, IPv6 /64), per service and
 * in all. The lock on a maildrop is exclusive; it goes with its session, and a session goes with
 * its channel. */
#ifndef ROLES_STORE_SESSIONS_H
#define ROLES_STORE_SESSIONS_H

#include "base/map.h"
#include "ipc/messages.h"

struct sessions_limits {
    uint64_t per_source;                 /* all services together; not of the Unix sockets */
    uint64_t total;                      /* all services together */
    uint64_t service[IPC_SERVICE_COUNT]; /* of one service; POP3S counts as POP3, IMAPS as IMAP */
};

struct arriving_body;
struct open_message;
struct scram_exchange;
struct login_answer;
struct session_watch;
struct append;

struct session {
    struct ipc_id id;
    struct session_owner *owner;
    uint8_t service; /* enum ipc_service */
    struct ip_addr source;
    uint64_t account;             /* 0: nobody is logged in */
    bool login_pending;           /* a login is being checked, or its refusal waits for its time */
    bool maildrop_held;           /* this session has the lock of its account's maildrop */
    uint64_t serial;              /* never used twice: finds the session again when a slow answer comes */
    struct session *prev, *next;  /* of the same channel */
    struct arriving_body *bodies; /* without a COMMIT yet (arriving.c) */
    unsigned body_count;
    struct open_message *reading; /* the message being read (reading.c) */
    struct scram_exchange *scram; /* begun, and not finished (login_scram.c) */
    struct login_answer *answer;  /* that waits for its time (logins.c) */
    uint32_t recipients;          /* accepted since the last SENDER_CHECK or COMMIT (submission.c) */
    unsigned requests;            /* of IMAP, under way (requests.c) */
    struct session_watch *watch;  /* of the selected mailbox (watches.c) */
    uint64_t watch_turn;   /* counts what was said about it: a late OPEN is not to replace a newer one */
    struct append *append; /* whose messages are being gathered, or stored (appends.c) */
};

/* The part of a channel that its sessions hang on; zeroed at start, emptied by sessions_close_all. */
struct session_owner {
    uint64_t channel; /* number of the channel, never used twice */
    struct session *first;
    size_t count;
};

struct sessions {
    struct sessions_limits limits;
    struct map by_id, by_serial, by_account; /* struct session; by_account: who holds the maildrop */
    struct map sources;                      /* struct source_count */
    uint64_t total, service[IPC_SERVICE_COUNT];
    uint64_t last_serial;
};

void sessions_init(struct sessions *s, const struct sessions_limits *limits, struct map_key key);
void sessions_done(struct sessions *s); /* every session must have been closed */

/* New limits hold for sessions opened from now on. */
void sessions_set_limits(struct sessions *s, const struct sessions_limits *limits);

/* BRANT_ELIMIT: too many of this source, or in all. BRANT_EEXISTS: the channel has a session of that id.
 * BRANT_ESYNTAX: no such service. `limited` false admits it over the limits: it was admitted by the store
 * before this one. */
int sessions_open(struct sessions *s, struct session_owner *owner, const struct ipc_id *id, uint8_t service,
                  const struct ip_addr *source, bool limited, struct session **ret);
struct session *sessions_find(const struct sessions *s, const struct session_owner *owner,
                              const struct ipc_id *id);
struct session *sessions_find_serial(const struct sessions *s, uint64_t serial);
void sessions_close(struct sessions *s, struct session *session);
void sessions_close_all(struct sessions *s, struct session_owner *owner);

/* Takes the lock of the maildrop of session->account. BRANT_ESTATE: another session holds it. */
int sessions_maildrop_lock(struct sessions *s, struct session *session);

/* The bytes that stand for a source: family, then the IPv4 address or the IPv6 /64. */
enum { SESSIONS_SOURCE_KEY_MAX = 9 };
size_t sessions_source_key(const struct ip_addr *source, uint8_t ret[SESSIONS_SOURCE_KEY_MAX]);

#endif
