/* The store process: its parts, and what its message handlers share.
 *
 * One thread, the event loop's, owns everything here. Changes go to the store's writer as an op (ops.h) and
 * are answered when they are durable. Reads, checks and hashes run on worker threads and come back as
 * finished work. Whatever waits remembers its peer and session by serial number, because either may be gone
 * when the answer comes.
 *
 * A handler trusts no field of a message. What an honest role never sends ends the channel with server_fault;
 * what may happen to an honest one is answered with a status. */
#ifndef ROLES_STORE_SERVER_H
#define ROLES_STORE_SERVER_H

#include "conf/conf.h"
#include "net/channel.h"
#include "roles/store/appends.h"
#include "roles/store/arriving.h"
#include "roles/store/delays.h"
#include "roles/store/known.h"
#include "roles/store/ops.h"
#include "roles/store/passwords.h"
#include "roles/store/rates.h"
#include "roles/store/sessions.h"
#include "roles/store/throttle.h"
#include "roles/store/tokens.h"
#include "roles/store/watches.h"
#include "roles/store/workers.h"
#include "store/store.h"

enum {
    SERVER_READERS = 2,
    SERVER_READS_MAX = 4096,  /* reads under way */
    SERVER_PEER_READS = 48,   /* … of one channel, which then is asked to wait: their answers, however long,
                                 find room in its queue */
    SERVER_STAGERS = 1,       /* threads that write large bodies */
    SERVER_STAGES_MAX = 4096, /* bodies waiting for one of them */
    SERVER_LOGINS_MAX = 256,  /* passwords being checked or made */
    SERVER_DELAYS_MAX = 10000 /* refused logins that wait to be answered */
};

/* A channel to a role instance or to the command line. */
struct peer {
    struct server *server;
    struct net_channel *channel; /* NULL once it ended; the peer itself goes at the end of the round */
    enum ipc_role role;
    uint32_t instance;
    struct session_owner sessions; /* .channel is the peer's serial number */
    uint64_t body_bytes;           /* memory held for its bodies and commits */
    uint64_t append_bytes;         /* memory held for what is being appended */
    uint64_t request_bytes;        /* memory held for the questions of its IMAP sessions */
    size_t reads;                  /* under way */
    struct peer *next_dead;
};

struct care; /* the long task that runs, care.c */

/* Messages held open between two pieces: least recently read first (reading.c). */
struct reading {
    struct open_message *oldest, *newest;
    size_t count;
};

struct server {
    struct net_loop *loop;
    bool offline; /* started by the command line for itself */

    struct os_fs *fs;
    struct store_config store_config;
    struct store *store;
    struct store_opened opened;

    struct sessions sessions;
    struct throttle throttle;
    struct known known;
    struct rates rates;
    struct delays delays;
    struct net_timer *delay_timer, *known_timer;
    uint8_t secret[SCRAM_KEYS_SECRET_BYTES]; /* the file `secret` */
    uint64_t failure_delay_ms;
    char default_domain[254]; /* of logins without one; "": none */
    /* What EXTERNAL may rest on: only what the configuration knows, since a role's word is all there is. */
    bool local_submission, client_certificates;
    struct {
        uint64_t right, failed, throttled;
    } login_counts;
    struct tokens tokens;
    struct arriving arriving;
    struct appends appends;
    struct watches watches;
    struct reading reading;
    struct ops ops;
    struct map peers;      /* struct peer by serial */
    struct map by_channel; /* struct peer by its net_channel */
    struct peer *dead;
    struct net_timer *reaper, *space_timer, *reading_timer;
    bool accepting;     /* what was last logged */
    struct map commits; /* struct commit_op by commit id, under way */
    struct map logins;  /* struct password_task by request number */
    uint64_t last_serial;
    struct care *care;

    struct passwords *passwords;
    struct workers *readers, *stagers, *carers;
    struct store_reader *reader_states[SERVER_READERS], *care_reader;
    struct net_watch *passwords_watch, *readers_watch, *stagers_watch, *carers_watch;
    uint64_t started_ms;
};

/* Opens the data directory (the current directory) and starts the threads: after the sandbox was entered.
 * sv is zeroed, but for the tokens. Errors as store_open, all logged. */
int server_open(struct server *sv, struct net_loop *loop, const struct conf *conf, bool offline);
/* Not after a failed server_open. */
void server_close(struct server *sv);

/* The parts of a new configuration that a running store takes up. */
void server_configure(struct server *sv, const struct conf *conf);
/* The channels: as role_ops and net_channel_ops say it. */
void server_channel_up(struct server *sv, struct net_channel *c);
void server_channel_down(struct server *sv, struct net_channel *c);
void server_message(struct server *sv, struct net_channel *c, const struct ipc_message *m);
void server_drained(struct server *sv, struct net_channel *c);
/* What `brant status` shows of the store; put is called for each. */
typedef void server_put_status(void *context, const char *key, uint64_t value);
void server_status(struct server *sv, server_put_status *put, void *context);
/* Makes the index anew: closes the store, and opens it again. For --offline; nothing may be under way
 * (BRANT_ETRYLATER). Other errors as store_rebuild. */
int server_rebuild(struct server *sv, struct store_opened *ret);
/* Nothing is under way. */
bool server_idle(const struct server *sv);

/* ---- for handlers ---- */

struct peer *server_peer(const struct server *sv, uint64_t serial); /* NULL: gone */
/* Sends, and stops reading from a peer that does not read. */
void server_send(struct peer *p, const struct ipc_message *m);
/* Closes the channel because of what it sent. The peer stays until the end of the round. */
void server_fault(struct peer *p, const char *text);
/* Ends a session with all that hangs on it. */
void server_session_close(struct server *sv, struct session *session);
/* May a process of this kind have sessions of this service? */
bool server_serves(enum ipc_role role, uint8_t service);
/* RESULT with a text for people (NULL: none). */
void server_result(struct peer *p, uint32_t tag, enum ipc_status status, const char *text);
/* The status that stands for a store's code. */
enum ipc_status server_status_of(int rc);
uint64_t server_now_ms(const struct server *sv); /* monotonic */
uint64_t server_serial(struct server *sv);       /* a number never used before in this process */

/* Reads: work of the readers' pool. The first member of the handlers' own structs; freed after `finish`. */
struct read_work {
    struct work work;
    struct server *sv;
    uint64_t peer; /* serial */
    uint32_t tag;
    void (*finish)(struct read_work *r); /* on the loop; frees it */
};
/* False: too many reads are under way; the work stays the caller's. */
bool server_read(struct server *sv, struct read_work *r);

typedef void server_handler(struct server *sv, struct peer *p, const struct ipc_message *m);

/* receiving.c */
server_handler on_session_open, on_session_close, on_rcpt_check, on_commit, on_commit_ask;
/* arriving.c */
server_handler on_body_chunk, on_body_abort;
/* logins.c, login_password.c, login_scram.c, login_external.c */
server_handler on_login, on_scram_begin, on_scram_finish, on_login_external, on_resume;
/* submission.c */
server_handler on_sender_check;
/* reading.c */
server_handler on_maildrop_open, on_maildrop_list, on_message_read, on_maildrop_expunge;
/* mailboxes.c */
server_handler on_mailbox_list, on_mailbox_status, on_mailbox_change, on_mailbox_open;
/* messages.c */
server_handler on_uids_read, on_vanished_read, on_changes_read, on_message_list, on_message_change;
/* appends.c */
server_handler on_append_message, on_append_abort, on_append_commit, on_append_ask;
/* watches.c */
server_handler on_mailbox_watch;
/* admin.c */
server_handler on_domain_add, on_domain_remove, on_alias_add, on_alias_remove, on_address_resolve,
    on_queue_remove;
/* accounts.c */
server_handler on_account_add, on_account_remove, on_account_set;
/* grants.c */
server_handler on_grant_add, on_grant_remove, on_grant_list;
/* lists.c */
server_handler on_domain_list, on_account_list, on_alias_list, on_trace, on_queue_list;
/* care.c */
server_handler on_status_ask, on_store_check, on_store_rebuild, on_store_compact;

/* A password request came back (login_password.c, accounts.c, grants.c). */
struct password_task {
    uint64_t peer; /* serial */
    uint32_t tag;
    void (*finish)(struct server *sv, struct password_task *t, const struct passwords_result *r); /* frees */
    void (*drop)(struct password_task *t);
};

/* Forgets the login a session has begun, or whose refusal waits; and sends what is due (logins.c). */
void logins_session_closed(struct server *sv, struct session *session);
void logins_tick(void *server);
/* Frees what a session holds open for reading; lets go what nobody has read for a while (reading.c). */
void reading_session_closed(struct server *sv, struct session *session);
void reading_tick(void *server);
/* Frees the long task that runs, if any (care.c). */
void care_close(struct server *sv);
/* A long task came back (care.c). */
void care_work_done(struct server *sv, struct work *work);

#endif
