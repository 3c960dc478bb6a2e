/* The SMTP and LMTP server engine: RFC 5321, 2033 (LMTP), 1870, 2034, 2920, 3030, 3207 (STARTTLS), 4954
 * (AUTH), 6152, 6409 (submission), 6531, 9422, and Postfix's XCLIENT.
 *
 * No socket, clock or I/O: bytes in, events out one at a time, answers in, bytes out. The caller's loop:
 *
 *     s = smtp_server_new(&config, now_ms);
 *     smtp_server_greet(s, now_ms);                    when the client may be greeted
 *     for (;;) {
 *         type = smtp_server_next(s, &input, now_ms, &event);
 *         SMTP_EVENT_MORE     read more bytes from the peer
 *         SMTP_EVENT_WAIT     an answer is missing (or the greeting, or TLS): give it, then go on
 *         SMTP_EVENT_BLOCKED  send some of smtp_server_output() first
 *         SMTP_EVENT_CLOSE    send what is left of smtp_server_output(), close
 *         others              see below
 *     }
 *
 * After any of the first four, send smtp_server_output() and call smtp_server_output_used() with what was
 * sent; replies gather until then, so pipelined commands get one write. Arm one timer with
 * smtp_server_timeout_ms().
 *
 * Input is taken from the front of the span the caller gives; what is left over must be offered again. The
 * engine keeps at most one unfinished command line (3 KiB). Message bytes are never copied: the span in
 * SMTP_EVENT_BODY points into the caller's input and is valid until that memory changes.
 *
 * What is refused on purpose, at every split of the bytes alike:
 *  - Bare CR, bare LF or NUL in a command: 501 and the connection is closed.
 *  - Bare CR or bare LF in a message (DATA or BDAT): everything up to the true end (CRLF.CRLF, or the end of
 * that chunk) is swallowed, one 550 is sent, the connection is closed. NUL in a message: the same with 554.
 *  - Bytes sent before the greeting (config): 554 and closed.
 *  - HTTP verbs, and lines that look like a header field: 554 and closed. So the body of a client that
 *    pipelines past a refused DATA is not taken for commands.
 *  - A command line over 512 octets (2,048 for MAIL and RCPT; for AUTH and its responses what carries 2,048
 *    octets in base64): 500; over 64 KiB: 500 and closed.
 *  - BDAT with a size that is no number, or that cannot be swallowed: 501 or 552 and closed, since the length
 * of what follows is unknown or too much. Every other refused chunk is swallowed exactly, then answered.
 *  - BODY=BINARYMIME. 8-bit bytes are stored as they are, declared or not. Lines of a message may have any
 * length.
 *  - MAIL, RCPT parameters after HELO: no extension was offered.
 * A message sent by BDAT that does not end with CRLF gets one, so that stored mail is always whole lines; an
 * empty message stays empty. A failed transaction is over: what follows starts with MAIL.
 *
 * TLS is the caller's. It says by smtp_server_offer what may be asked for, now and again after TLS has begun.
 * When SMTP_EVENT_STARTTLS was answered well, the engine takes no more input (SMTP_EVENT_WAIT, and
 * smtp_server_awaits_tls is true): the caller sends smtp_server_output() in clear, throws away every byte it
 * has read and not had taken, and all it reads in clear from then on but the handshake itself (RFC 3207 6:
 * what was sent behind STARTTLS must never be looked at), and calls smtp_server_tls_started when the
 * handshake is done, or smtp_server_end when it failed; nothing is said in between. The client then is a
 * stranger: its name, its login and its transaction are forgotten (RFC 3207 4.2); counts of errors stay.
 * Under implicit TLS (RFC 8314) smtp_server_tls_started comes before the greeting and changes nothing else.
 *
 * A SASL exchange (RFC 4954) passes through: the engine does the lines and the base64, the caller the
 * mechanism (sasl/server.h). Answer SMTP_EVENT_AUTH and each SMTP_EVENT_AUTH_RESPONSE with
 * smtp_server_auth_challenge, or end the exchange by smtp_server_answer: 2yz logs in; what a mechanism has to
 * say at its end goes as one more challenge before. Memory of the engine that held what the client sent is
 * overwritten when the exchange goes on or ends.
 *
 * An idle engine costs less than 2 KiB, any engine less than 64 KiB (LMTP: plus 512 octets per recipient for
 * the final replies); smtp_server_memory_bytes() tells. Reply text never repeats what the client sent. */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "base/buf.h"
#include "smtp/address.h"
#include "smtp/reply.h"
#include "smtp/xclient.h"

struct smtp_server;

enum smtp_server_role {
    SMTP_ROLE_MX,
    SMTP_ROLE_SUBMISSION, /* RFC 6409 */
    SMTP_ROLE_LMTP        /* RFC 2033: LHLO, and a reply per accepted recipient at the end of data */
};

struct smtp_server_config {
    enum smtp_server_role role;
    const char *hostname;        /* borrowed; in the greeting and the EHLO reply */
    uint64_t message_bytes_max;  /* announced by SIZE */
    uint64_t header_bytes_max;   /* of the header section of one message */
    uint32_t recipients_max;     /* accepted in one transaction; announced by LIMITS; then 452 */
    uint32_t messages_max;       /* MAIL commands in one session; announced by LIMITS; then 421 */
    uint32_t received_max;       /* Received fields in a message; more is a loop: 554 */
    uint32_t errors_max;         /* bad commands in a session; then 421 */
    uint32_t refusals_max;       /* recipients refused for good (other than 552) in a session; then 421 */
    uint32_t idle_commands_max;  /* commands since the last accepted message, without MAIL, RCPT, DATA, BDAT;
                                    then 421 */
    uint32_t auth_failures_max;  /* logins answered with 5yz in a session: the last one is followed by 421 */
    bool auth_required;          /* MAIL needs a login first: 530 (RFC 6409 4.3) */
    bool early_talk_refused;     /* else bytes before the greeting wait for it */
    uint32_t command_timeout_ms; /* RFC 5321 4.5.3.2.7: at least 5 minutes between commands */
    uint32_t auth_timeout_ms;    /* between a challenge and its response */
    uint32_t data_timeout_ms;    /* RFC 5321 4.5.3.2.5: at least 3 minutes between pieces of data */
    uint32_t first_rcpt_ms;      /* the session must have its first accepted RCPT by then; 0: no such limit */
    uint32_t session_ms;         /* no session is longer than this; 0: no such limit */
    uint32_t data_rate_min;      /* bytes per second, averaged over a minute of receiving a message; 0: any */
};

/* The defaults of every field (role MX; 50 MiB messages, 1,000 recipients, …). */
void smtp_server_config_init(struct smtp_server_config *c, const char *hostname);

/* The configuration is copied, its strings are borrowed until smtp_server_free. now_ms is any clock that
 * does not go backwards; the session's age counts from here. */
struct smtp_server *smtp_server_new(const struct smtp_server_config *c, uint64_t now_ms);
void smtp_server_free(struct smtp_server *s); /* NULL is fine */

/* What EHLO announces, and what is allowed, from now on; nothing of it at first. */
struct smtp_offer {
    bool starttls;    /* not announced any more once TLS has begun */
    const char *auth; /* "PLAIN LOGIN": names apart by one space, in capitals; borrowed until the next offer
                         or the end of the engine. NULL or "": AUTH is refused, with 538 while STARTTLS is on
                         offer, else 502. */
    bool xclient;     /* the peer is a proxy that may say who its client is */
};
void smtp_server_offer(struct smtp_server *s, const struct smtp_offer *offer);

enum smtp_event_type {
    SMTP_EVENT_MORE,     /* the input is used up */
    SMTP_EVENT_WAIT,     /* an answer, or smtp_server_greet, is due first; no input was taken */
    SMTP_EVENT_BLOCKED,  /* too much output is waiting; no input was taken */
    SMTP_EVENT_HELO,     /* HELO, EHLO or LHLO was answered; smtp_server_helo() has the name. No answer. */
    SMTP_EVENT_MAIL,     /* answer: 2yz begins a transaction */
    SMTP_EVENT_RCPT,     /* answer: 2yz adds the recipient */
    SMTP_EVENT_DATA,     /* DATA or the first BDAT, with at least one recipient. Answer: 354, or 4yz or 5yz */
    SMTP_EVENT_BODY,     /* the next bytes of the message, dots unstuffed. No answer. */
    SMTP_EVENT_END,      /* the message is whole. Answer: 2yz takes responsibility. Either way the transaction
                            ends. */
    SMTP_EVENT_RESET,    /* the transaction is over without an END: forget it. No answer. */
    SMTP_EVENT_STARTTLS, /* answer: NULL (220, then TLS begins; see above), or 4yz or 5yz */
    SMTP_EVENT_AUTH,     /* an exchange begins. Answer: smtp_server_auth_challenge, or 2yz, 4yz, 5yz */
    SMTP_EVENT_AUTH_RESPONSE, /* the client's response to a challenge. Answer: as for AUTH */
    SMTP_EVENT_AUTH_CANCEL, /* the exchange was given up, or its lines made no sense: forget it. No answer. */
    SMTP_EVENT_XCLIENT,     /* answer: NULL (220; the session then is as after connecting), or 4yz or 5yz */
    SMTP_EVENT_CLOSE        /* the session is over, and with it any transaction; comes again if asked again */
};

enum smtp_close_reason {
    SMTP_CLOSE_NONE,
    SMTP_CLOSE_QUIT,
    SMTP_CLOSE_LOST,         /* smtp_server_end: the peer went away */
    SMTP_CLOSE_TIMEOUT,      /* smtp_server_end: 421 4.4.2 */
    SMTP_CLOSE_SHUTDOWN,     /* smtp_server_end: 421 4.3.2 */
    SMTP_CLOSE_OVERLOAD,     /* smtp_server_end: 421 4.3.2 */
    SMTP_CLOSE_RATE,         /* smtp_server_end: 421 4.7.0, too much from this source */
    SMTP_CLOSE_ANSWER,       /* an answer was 421 or 521 */
    SMTP_CLOSE_EARLY_TALK,   /* bytes before the greeting */
    SMTP_CLOSE_PROTOCOL,     /* HTTP, or a body where commands belong */
    SMTP_CLOSE_BAD_BYTES,    /* bare CR, bare LF or NUL in a command */
    SMTP_CLOSE_BAD_DATA,     /* bare CR, bare LF or NUL in a message */
    SMTP_CLOSE_ENDLESS,      /* a line, chunk or refused message without end */
    SMTP_CLOSE_ERRORS,       /* errors_max */
    SMTP_CLOSE_REFUSALS,     /* refusals_max */
    SMTP_CLOSE_COMMANDS,     /* idle_commands_max, messages_max */
    SMTP_CLOSE_AUTH_FAILURES /* auth_failures_max */
};

/* A word for the log, such as "early-talk"; never NULL. */
const char *smtp_close_reason_text(enum smtp_close_reason reason);

/* Only the fields of the event's type are set. Spans are valid until the answer, but for BODY. */
struct smtp_event {
    enum smtp_event_type type;
    /* MAIL, RCPT */
    enum smtp_path_kind kind; /* MAIL: NULL or MAILBOX; RCPT: POSTMASTER or MAILBOX */
    struct span mailbox;      /* canonical "local@domain" (smtp/address.h); empty for the other two kinds */
    struct span local;        /* of mailbox, quotes included */
    struct span domain;       /* of mailbox */
    /* MAIL */
    uint64_t size_bytes; /* SIZE=, or 0 */
    bool smtputf8;       /* SMTPUTF8 was given: the message may have UTF-8 headers */
    bool eight_bit;      /* BODY=8BITMIME was given */
    /* BODY; with END the whole */
    struct span bytes;
    uint64_t message_bytes; /* END: what all BODY events carried */
    /* AUTH, AUTH_RESPONSE */
    struct span mechanism; /* AUTH: as it was offered */
    bool has_response;     /* AUTH: there was an initial response; AUTH_RESPONSE: true */
    struct span response;  /* decoded: any bytes, 0 to SMTP_AUTH_BYTES_MAX of them */
    /* XCLIENT */
    struct smtp_xclient xclient;
    /* CLOSE */
    enum smtp_close_reason reason;
};

enum { SMTP_AUTH_BYTES_MAX = 2048 }; /* of a challenge or response, decoded */

/* Sends the greeting. BRANT_ESTATE when it was sent before or the session is over. */
int smtp_server_greet(struct smtp_server *s, uint64_t now_ms);

/* Takes bytes from the front of *in until there is something to say; returns ret->type. */
enum smtp_event_type smtp_server_next(struct smtp_server *s, struct span *in, uint64_t now_ms,
                                      struct smtp_event *ret);

/* Answers the event that waits. NULL is the ordinary positive reply. A code that is not positive refuses, the
 * code must fit the event (2yz, or 354 for DATA; 4yz; 5yz); 421 and 521 also end the session. In LMTP the
 * answer to END goes to every recipient. BRANT_ESTATE: nothing waits (the session may have ended meanwhile).
 */
int smtp_server_answer(struct smtp_server *s, const struct smtp_reply *reply, uint64_t now_ms);

/* Answers AUTH or AUTH_RESPONSE: sends the challenge (it may be empty) and reads the client's response.
 * BRANT_ESTATE: neither waits. BRANT_ELIMIT: over SMTP_AUTH_BYTES_MAX; nothing was sent, the event still
 * waits.
 */
int smtp_server_auth_challenge(struct smtp_server *s, struct span challenge, uint64_t now_ms);

/* The handshake is done: from here on input and output are what TLS carries. Before the greeting, or after a
 * STARTTLS that was answered with 220 and whose reply was sent (smtp_server_output is empty); else
 * BRANT_ESTATE. */
int smtp_server_tls_started(struct smtp_server *s, uint64_t now_ms);
bool smtp_server_awaits_tls(const struct smtp_server *s); /* 220 was the answer to STARTTLS; see above */

/* LMTP, END: one reply per accepted recipient, in the order of their RCPT.
 * BRANT_ESTATE: no END waits, this is not LMTP, or the number is not smtp_server_recipients(). */
int smtp_server_answer_each(struct smtp_server *s, const struct smtp_reply *replies, size_t count,
                            uint64_t now_ms);

/* Ends the session from outside, for one of the reasons marked so above; before the greeting it takes its
 * place. While an END waits for its answer the end comes after that answer, except for SMTP_CLOSE_LOST.
 * Any other waiting answer is not wanted any more. The next event is CLOSE. */
void smtp_server_end(struct smtp_server *s, enum smtp_close_reason reason);

/* What is to be sent. The span is valid until the next call with this engine. */
struct span smtp_server_output(const struct smtp_server *s);
void smtp_server_output_used(struct smtp_server *s, size_t len, uint64_t now_ms);

/* How long from now until the caller should call smtp_server_end(s, SMTP_CLOSE_TIMEOUT): 0 means at once.
 * SMTP_NO_TIMEOUT while an answer is waited for (the delay is ours) and after the end. */
#define SMTP_NO_TIMEOUT UINT64_MAX
uint64_t smtp_server_timeout_ms(const struct smtp_server *s, uint64_t now_ms);
/* The caller had stopped reading on its own account (back-pressure): that time is not the peer's fault. */
void smtp_server_resumed(struct smtp_server *s, uint64_t now_ms);

struct span smtp_server_helo(const struct smtp_server *s);    /* the name given; empty before HELO */
bool smtp_server_extended(const struct smtp_server *s);       /* EHLO or LHLO was used */
bool smtp_server_tls(const struct smtp_server *s);            /* TLS has begun */
bool smtp_server_authenticated(const struct smtp_server *s);  /* a login was answered with 2yz */
uint32_t smtp_server_recipients(const struct smtp_server *s); /* accepted in this transaction */
/* A transaction is open, or an answer of one is waited for: a polite shutdown lets it end first. */
bool smtp_server_busy(const struct smtp_server *s);
size_t smtp_server_memory_bytes(const struct smtp_server *s); /* everything this engine holds now */

#endif
