/* What the files of the server engine share; nobody else includes it. */
#ifndef SMTP_SERVER_INTERNAL_H
#define SMTP_SERVER_INTERNAL_H

#include "smtp/server.h"

enum {
    COMMAND_BYTES_MAX = 512,        /* RFC 5321 4.5.3.1.4, CRLF included */
    MAIL_COMMAND_BYTES_MAX = 2048,  /* the same with room for the extensions' parameters and UTF-8 */
    LINE_KEPT_BYTES_MAX = 2800,     /* what is kept of any line: SMTP_AUTH_BYTES_MAX in base64 behind AUTH */
    LINE_SWALLOW_BYTES_MAX = 65536, /* an over-long line is read on to here for its end */
    HELO_BYTES_MAX = 255,
    OUTPUT_HIGH_WATER = 4096, /* no input is taken while this much output waits */
    OUTPUT_BYTES_MAX = 16384,
    IDLE_BUFFER_BYTES = 512,         /* a buffer that grew beyond this is given back when it is empty */
    BODY_SWALLOW_EXTRA = 1024 * 1024 /* beside twice message_bytes_max, the most read of a refused message */
};

/* What the input is. */
enum phase {
    PHASE_CONNECTED, /* not greeted yet */
    PHASE_COMMAND,
    PHASE_DATA,      /* up to CRLF.CRLF */
    PHASE_CHUNK,     /* chunk_left bytes of BDAT */
    PHASE_AUTH,      /* the response to a challenge */
    PHASE_HANDSHAKE, /* STARTTLS was answered with 220: nothing is ours until TLS has begun */
    PHASE_CLOSED
};

enum hello { HELLO_NONE, HELLO_HELO, HELLO_EHLO };

/* Where the scanner of message bytes stands. */
enum scan { SCAN_LINE_START, SCAN_TEXT, SCAN_CR, SCAN_DOT, SCAN_DOT_CR };

/* Why the message being received will be refused; a later value outranks an earlier one. */
enum fault {
    FAULT_NONE,
    FAULT_STATE,   /* a chunk that no transaction asked for */
    FAULT_NO_RCPT, /* the same, all recipients having been refused */
    FAULT_ANSWER,  /* the caller refused at SMTP_EVENT_DATA; its reply waits in scratch */
    FAULT_SIZE,    /* over message_bytes_max */
    FAULT_HEADER,  /* over header_bytes_max */
    FAULT_LOOP,    /* over received_max */
    FAULT_NUL,
    FAULT_BARE_LINE /* bare CR or LF */
};

/* Where in a header line the message is; see header_scan. */
enum header {
    HEADER_LINE_START,
    HEADER_NAME,
    HEADER_NAME_WSP, /* spaces before the colon */
    HEADER_VALUE,
    HEADER_EMPTY_CR, /* the CR of what may be the empty line */
    HEADER_OVER
};

/* Events that are due before more input is looked at, in this order. */
enum owed {
    OWED_RESET = 1,
    OWED_HELO = 2,
    OWED_FINAL_CRLF = 4,
    OWED_END = 8,
    OWED_AUTH_CANCEL = 16,
};

struct transaction {
    bool open; /* MAIL was accepted */
    bool smtputf8;
    bool eight_bit;
    uint64_t size_bytes;  /* declared */
    uint32_t recipients;  /* accepted */
    bool recipient_tried; /* there was a RCPT, whatever became of it */
    bool data_accepted;   /* the answer to SMTP_EVENT_DATA was 354 */
};

struct message {
    enum scan scan;
    enum fault fault;
    enum header header;
    uint8_t name_matched; /* how much of "received" the field name has matched; 0xff: it is another */
    bool chunk_last;      /* BDAT … LAST */
    uint64_t bytes;       /* handed out, or that would have been */
    uint64_t taken;       /* read, dots and refused bytes included */
    uint32_t replies;     /* due at the end of data: one, in LMTP one per accepted recipient */
    uint64_t header_bytes;
    uint32_t received_count;
    uint64_t chunk_left;  /* PHASE_CHUNK: bytes of the chunk still to come */
    uint64_t chunk_bytes; /* its size */
};

struct smtp_server {
    struct smtp_server_config config;
    struct smtp_offer offer;
    bool tls, authenticated;
    enum phase phase;
    enum hello hello;
    enum smtp_event_type pending;     /* the event whose answer is due, or SMTP_EVENT_MORE for none */
    unsigned owed;                    /* enum owed */
    bool pending_given;               /* the pending event was handed out */
    enum smtp_close_reason reason;    /* PHASE_CLOSED */
    enum smtp_close_reason end_after; /* smtp_server_end came while an END waits */
    struct transaction tx;
    struct message msg;

    struct buf line;    /* the unfinished command line, without its CRLF */
    struct buf scratch; /* what the spans of the pending event point to, or the reply held back until a chunk
                           ends */
    struct buf helo;    /* the name given */
    struct buf out;
    bool line_cr;            /* a CR was seen behind the line */
    bool line_overlong;      /* not all of it was kept */
    size_t line_bytes;       /* of the line so far, swallowed ones included */
    struct smtp_event event; /* the pending one */

    uint32_t errors, refusals, idle_commands, messages, auth_failures;
    bool rcpt_ever; /* a recipient was accepted in this session */
    uint64_t born_ms, active_ms;
    uint64_t rate_start_ms, rate_bytes; /* the current minute of message bytes */
};

/* server.c */
void server_reply(struct smtp_server *s, uint16_t code, uint8_t subject, uint16_t detail, const char *text);
/* A reply that counts as a bad command; ends the session when there were too many. */
void server_error(struct smtp_server *s, uint16_t code, uint8_t subject, uint16_t detail, const char *text);
void server_phase(struct smtp_server *s, enum phase next); /* the one place where the phase changes */
/* The one end of a session, except that the reply is the caller's affair. */
void server_close(struct smtp_server *s, enum smtp_close_reason reason);
void server_await(struct smtp_server *s, enum smtp_event_type type); /* an event that wants an answer */
/* Forgets the transaction; `tell`: the caller must hear of it by SMTP_EVENT_RESET. */
void server_drop_transaction(struct smtp_server *s, bool tell);

void server_line_done(struct smtp_server *s); /* forgets the command line */
void server_greeting(struct smtp_server *s);  /* 220 */

/* auth.c */
bool auth_on_offer(const struct smtp_server *s);
void perform_auth(struct smtp_server *s, struct span args);
void auth_command_too_long(struct smtp_server *s);
void auth_line(struct smtp_server *s); /* the line in s->line is a response */
void auth_answered(struct smtp_server *s, const struct smtp_reply *r);

/* starttls.c */
void perform_starttls(struct smtp_server *s, struct span args);
void starttls_answered(struct smtp_server *s, const struct smtp_reply *r);
/* Forgets who the client is, as after connecting; the counts stay. */
void server_stranger(struct smtp_server *s);

/* xclient.c */
void perform_xclient(struct smtp_server *s, struct span args);
void xclient_answered(struct smtp_server *s, const struct smtp_reply *r);

/* command.c: runs the command line in s->line (no CRLF). */
void command_run(struct smtp_server *s);

/* data.c */
void message_begin(struct smtp_server *s);
/* Takes message bytes from *in. True: ret has a BODY event. False: the input is used up, or the phase
 * changed, or something is owed or pending. */
bool message_take(struct smtp_server *s, struct span *in, struct smtp_event *ret);
void message_fault(struct smtp_server *s, enum fault fault);
/* The chunk announced by BDAT has come to its end. */
void chunk_end(struct smtp_server *s);

#endif
