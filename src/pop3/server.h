/* The POP3 server engine: RFC 1939, with RFC 2449 (CAPA, response codes, pipelining), RFC 2595 (STLS), RFC
 * 3206 (SYS and AUTH response codes), RFC 5034 (AUTH) and RFC 6856 (UTF8). One object is one session. It owns
 * no socket and no clock: bytes in, events out one at a time, answers in, bytes out. It is used as
 * smtp/server.h is:
 *
 *     s = pop3_server_new(&config, now_ms);
 *     pop3_server_greet(s, now_ms);                    when the client may be greeted
 *     for (;;) {
 *         type = pop3_server_next(s, &input, now_ms, &event);
 *         POP3_EVENT_MORE     read more bytes from the peer; at the end of its stream: pop3_server_end
 *         POP3_EVENT_WAIT     an answer is missing (or the greeting, or TLS): give it, then go on
 *         POP3_EVENT_BLOCKED  send some of pop3_server_output() first
 *         POP3_EVENT_CLOSE    send what is left of pop3_server_output(), close
 *         others              see below
 *     }
 *
 * After any of the first four, send pop3_server_output() and call pop3_server_output_used() with what was
 * sent; replies gather until then, so pipelined commands get one write. Arm one timer with
 * pop3_server_timeout_ms().
 *
 * Input is taken from the front of the span the caller gives; what is left over must be offered again.
 * Commands are carried out strictly in order, and while an answer is outstanding nothing behind it is taken.
 * Lines end with CRLF: a CR or LF of its own closes the session, at every split of the bytes alike.
 *
 * TLS is the caller's. It says by pop3_server_offer what may be asked for, now and again after TLS has begun.
 * When POP3_EVENT_STLS was answered with true, the engine takes no more input (POP3_EVENT_WAIT, and
 * pop3_server_awaits_tls is true): the caller sends pop3_server_output() in clear, throws away every byte it
 * has read and not had taken, and all it reads in clear from then on but the handshake itself (what was sent
 * behind STLS must never be looked at), and calls pop3_server_tls_started when the handshake is done, or
 * pop3_server_end when it failed; nothing is said in between. A user name given before is forgotten (RFC 2595
 * 4); counts of errors stay. Under implicit TLS (RFC 8314) pop3_server_tls_started comes before the greeting.
 *
 * A SASL exchange passes through: the engine does the lines and the base64, the caller the mechanism
 * (sasl/server.h). Answer POP3_EVENT_AUTH and each POP3_EVENT_AUTH_RESPONSE with pop3_server_auth_challenge,
 * or end the exchange by pop3_server_login_done; what a mechanism has to say at its end goes as one more
 * challenge before. Memory of the engine that held what the client sent is overwritten when a login goes on
 * or ends.
 *
 * Nothing is deleted by DELE. QUIT hands the marked messages to the caller (UPDATE), and a session that ends
 * in any other way deletes nothing. The exclusive lock on the maildrop is the store's: OPEN answered with
 * POP3_OPEN_IN_USE is how the client hears of it.
 *
 * Messages are sent as they are stored, byte-stuffed; headers in UTF-8 go out unchanged also to a client
 * that has not said UTF8 (RFC 6856 would have them downgraded or withheld: a withheld message is worse).
 *
 * A message never is in memory: READ asks for as much as the output has room for, and the next READ comes
 * when some of that was sent. A session costs about 1 KiB, then 8 bytes per message and the output in
 * waiting, at most output_bytes_max. Functions that answer an event return BRANT_ESTATE when that answer is
 * not awaited (the session may have ended meanwhile), and then change nothing. */
#ifndef POP3_SERVER_H
#define POP3_SERVER_H

#include "base/span.h"

struct pop3_server;

struct pop3_server_config {
    const char *hostname;        /* borrowed; in the greeting */
    uint32_t login_timeout_ms;   /* from the start to a successful login, whatever is sent */
    uint32_t idle_timeout_ms;    /* RFC 1939 3: at least ten minutes between commands */
    uint32_t write_timeout_ms;   /* output waits and the peer takes none of it */
    uint32_t login_errors_max;   /* refused commands before login: that many, then the end */
    uint32_t errors_max;         /* refused commands after login */
    uint32_t login_failures_max; /* wrong passwords */
    uint32_t messages_max;       /* a larger maildrop shows its oldest messages only */
    size_t output_bytes_max;     /* at least 4 KiB */
    uint32_t read_bytes_max;     /* the most that one READ asks for */
};

/* The defaults of every field: 120 s to log in, 10 min idle, 2 min stalled, 3 and 20 errors, 3 wrong
 * passwords, 1,000,000 messages, 64 KiB of output, 32 KiB per READ. */
void pop3_server_config_init(struct pop3_server_config *c, const char *hostname);

enum pop3_event_type {
    POP3_EVENT_MORE,    /* the input is used up */
    POP3_EVENT_WAIT,    /* an answer, or pop3_server_greet, is due first; no input was taken */
    POP3_EVENT_BLOCKED, /* too much output is waiting; no input was taken */
    POP3_EVENT_LOGIN,   /* check user and password; answer: pop3_server_login_done */
    POP3_EVENT_OPEN,    /* lock and list the maildrop of who logged in; answer: maildrop_begin, _add…, _done
                           or open_failed */
    POP3_EVENT_READ,    /* bytes of message uid; answer: pop3_server_read_done or read_failed */
    POP3_EVENT_UPDATE,  /* delete what pop3_server_deleted_next names; answer: update_done */
    POP3_EVENT_STLS,    /* answer: pop3_server_stls_done */
    POP3_EVENT_AUTH,    /* an exchange begins; answer: pop3_server_auth_challenge or _login_done */
    POP3_EVENT_AUTH_RESPONSE, /* the client's response to a challenge; answer: as for AUTH */
    POP3_EVENT_AUTH_CANCEL, /* the exchange was given up, or its lines made no sense: forget it. No answer. */
    POP3_EVENT_CLOSE        /* the session is over; comes again if asked again */
};

enum pop3_close_reason {
    POP3_CLOSE_NONE,
    POP3_CLOSE_QUIT,     /* the client said QUIT */
    POP3_CLOSE_LOST,     /* pop3_server_end: the peer went away without QUIT */
    POP3_CLOSE_TIMEOUT,  /* pop3_server_end: close at once, without sending what is left (RFC 1939 3) */
    POP3_CLOSE_SHUTDOWN, /* pop3_server_end: comes behind the command that is being carried out */
    POP3_CLOSE_OVERLOAD, /* pop3_server_end: -ERR [SYS/TEMP] in place of the greeting, or just the end */
    POP3_CLOSE_ERRORS,   /* errors_max, login_errors_max */
    POP3_CLOSE_FAILURES, /* login_failures_max */
    POP3_CLOSE_LINE,     /* a command line over 512 octets, or more than a SASL response may have */
    POP3_CLOSE_BARE,     /* a CR or LF that is not part of a CRLF */
    POP3_CLOSE_PROTOCOL, /* the peer speaks HTTP or TLS */
    POP3_CLOSE_READ      /* reading failed in the middle of a message */
};

/* A word for the log, such as "login-failures"; never NULL. */
const char *pop3_close_reason_text(enum pop3_close_reason reason);

/* Only the fields of the event's type are set. */
struct pop3_event {
    enum pop3_event_type type;
    struct span user;      /* LOGIN: valid UTF-8, 1 to 255 bytes; valid until the answer */
    struct span password;  /* LOGIN: as user; wiped at the answer */
    struct span mechanism; /* AUTH: as it was offered */
    bool has_response;     /* AUTH: there was an initial response; AUTH_RESPONSE: true */
    struct span response;  /* AUTH, AUTH_RESPONSE: decoded: any bytes, 0 to POP3_AUTH_BYTES_MAX of them;
                              valid until the answer, then wiped */
    uint32_t uid;          /* READ */
    uint32_t offset;       /* READ: from here on; 0 is a message's beginning */
    uint32_t size_bytes;   /* READ: at most so many */
    enum pop3_close_reason reason; /* CLOSE */
};

enum { POP3_AUTH_BYTES_MAX = 2048 }; /* of a challenge or response, decoded */

/* The configuration is copied, its string is borrowed until pop3_server_free. now_ms is any clock that does
 * not go backwards. */
struct pop3_server *pop3_server_new(const struct pop3_server_config *c, uint64_t now_ms);
void pop3_server_free(struct pop3_server *s); /* NULL is fine; wipes what the client sent */

/* What CAPA announces, and what is allowed, from now on; nothing of it at first. */
struct pop3_offer {
    bool stls;        /* not announced any more once TLS has begun */
    bool password;    /* USER and PASS may be used on this connection: loopback, or under TLS */
    const char *sasl; /* "PLAIN LOGIN": names apart by one space, in capitals; borrowed until the next offer
                         or the end of the engine. NULL or "": AUTH is refused. */
};
void pop3_server_offer(struct pop3_server *s, const struct pop3_offer *offer);

/* Sends the greeting. BRANT_ESTATE when it was sent before or the session is over. */
int pop3_server_greet(struct pop3_server *s, uint64_t now_ms);

/* Takes bytes from the front of *in until there is something to say; returns ret->type. */
enum pop3_event_type pop3_server_next(struct pop3_server *s, struct span *in, uint64_t now_ms,
                                      struct pop3_event *ret);

/* ready: "+OK", and TLS begins (see above); else "-ERR [SYS/TEMP]". */
int pop3_server_stls_done(struct pop3_server *s, bool ready);
/* The handshake is done. Before the greeting, or after STLS was answered with true and that reply was sent
 * (pop3_server_output is empty); else BRANT_ESTATE. */
int pop3_server_tls_started(struct pop3_server *s, uint64_t now_ms);
bool pop3_server_awaits_tls(const struct pop3_server *s);
bool pop3_server_tls(const struct pop3_server *s); /* TLS has begun */

/* Sends the challenge (it may be empty) and reads the client's response. BRANT_ELIMIT: over
 * POP3_AUTH_BYTES_MAX; nothing was sent, the event still waits. */
int pop3_server_auth_challenge(struct pop3_server *s, struct span challenge);

enum pop3_login {
    POP3_LOGIN_OK,
    POP3_LOGIN_REFUSED,   /* [AUTH] wrong user name or password */
    POP3_LOGIN_EXPIRED,   /* [AUTH] the password was right and is over */
    POP3_LOGIN_WEAK,      /* [AUTH] another mechanism, or a password of its own, is needed */
    POP3_LOGIN_MALFORMED, /* the exchange made no sense; counts as a refused command, not as a wrong password
                           */
    POP3_LOGIN_TRY_LATER  /* [SYS/TEMP] */
};
/* Answers LOGIN, AUTH and AUTH_RESPONSE. */
int pop3_server_login_done(struct pop3_server *s, enum pop3_login answer);

enum pop3_open_failure { POP3_OPEN_IN_USE, POP3_OPEN_TRY_LATER };
int pop3_server_open_failed(struct pop3_server *s, enum pop3_open_failure failure);
/* The list: begin with its length, add in ascending UID order, done. maildrop_add answers BRANT_ELIMIT for
 * messages behind messages_max or the announced count (they are left out), BRANT_ESYNTAX for UIDs out of
 * order; the glue then gives open_failed, which is possible until _done. */
int pop3_server_maildrop_begin(struct pop3_server *s, uint32_t uidvalidity, uint32_t count);
int pop3_server_maildrop_add(struct pop3_server *s, uint32_t uid, uint32_t size_bytes);
int pop3_server_maildrop_done(struct pop3_server *s);

/* The bytes of the message from `offset` on: at least one, at most size_bytes (else BRANT_ELIMIT); what is
 * missing will be asked for again. */
int pop3_server_read_done(struct pop3_server *s, struct span bytes);
enum pop3_read_failure { POP3_READ_GONE, POP3_READ_TRY_LATER };
int pop3_server_read_failed(struct pop3_server *s, enum pop3_read_failure failure);

/* The marked messages: the next after *cursor (start with 0). False at the end. */
bool pop3_server_deleted_next(const struct pop3_server *s, uint32_t *cursor, uint32_t *ret_uid);
uint32_t pop3_server_deleted_count(const struct pop3_server *s);
int pop3_server_update_done(struct pop3_server *s, bool deleted);

/* Ends the session from outside, for one of the reasons marked so above. The next event is CLOSE, for
 * SHUTDOWN as soon as no command is being carried out. When the peer ends its stream, let the engine take
 * what was received first: a QUIT in it counts. */
void pop3_server_end(struct pop3_server *s, enum pop3_close_reason reason);

/* What is to be sent. The span is valid until the next call with this engine. */
struct span pop3_server_output(const struct pop3_server *s);
void pop3_server_output_used(struct pop3_server *s, size_t len, uint64_t now_ms);

/* How long from now until the caller should call pop3_server_end(s, POP3_CLOSE_TIMEOUT): 0 means at once.
 * POP3_NO_TIMEOUT while an answer is waited for (the delay is ours) and after the end. */
#define POP3_NO_TIMEOUT UINT64_MAX
uint64_t pop3_server_timeout_ms(const struct pop3_server *s, uint64_t now_ms);

struct pop3_server_stats {
    uint32_t retrieved, topped; /* complete RETR and TOP responses */
    uint64_t bytes_sent;
};
struct pop3_server_stats pop3_server_stats(const struct pop3_server *s);

size_t pop3_server_memory_bytes(const struct pop3_server *s); /* everything this engine holds now */

#endif
