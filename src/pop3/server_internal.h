/* What the files of the server engine share; nobody else includes it. */
#ifndef POP3_SERVER_INTERNAL_H
#define POP3_SERVER_INTERNAL_H

#include "base/buf.h"
#include "pop3/maildrop.h"
#include "pop3/server.h"
#include "pop3/stuff.h"

enum {
    LINE_BYTES_MAX = 512,       /* with its CRLF; RFC 2449 4 allows 255 */
    AUTH_LINE_BYTES_MAX = 2800, /* the same of AUTH and a response: POP3_AUTH_BYTES_MAX in base64 */
    NAME_BYTES_MAX = 255,
    REPLY_BYTES_MAX = 512, /* the longest reply of one command, but for challenges and what is streamed */
    CHALLENGE_BYTES_MAX = 2 + (POP3_AUTH_BYTES_MAX + 2) / 3 * 4 + 2,
    LIST_LINE_MAX = 40, /* of LIST and UIDL */
};

enum phase {
    AUTHORIZATION = 1, /* RFC 1939 4 */
    TRANSACTION = 2,   /* RFC 1939 5 */
    ENDED = 4,
};

enum awaited {
    NOTHING,
    GREETING,
    STLS_ANSWER,
    TLS_START, /* pop3_server_tls_started */
    LOGIN_ANSWER,
    AUTH_ANSWER,    /* login_done or auth_challenge */
    OPEN_ANSWER,    /* maildrop_begin or open_failed */
    LISTING_ANSWER, /* maildrop_add, _done or open_failed */
    READ_ANSWER,
    UPDATE_ANSWER,
};

enum streaming { NO_STREAM, LIST_STREAM, UIDL_STREAM, MESSAGE_STREAM };

struct pop3_server {
    struct pop3_server_config config;
    struct pop3_offer offer;
    enum phase phase;
    enum awaited awaited;
    enum streaming streaming;
    enum pop3_close_reason reason; /* once ENDED */
    bool tls;
    bool exchange;   /* the next line is the response to a challenge */
    bool cancel_due; /* AUTH_CANCEL was not handed out yet */
    bool open_due;   /* logged in, but OPEN was not handed out yet */
    bool shutdown;
    bool user_given;
    uint32_t errors, login_failures;
    uint64_t now_ms, started_ms, active_ms, progress_ms;

    struct pop3_maildrop maildrop;
    uint32_t cursor;             /* LIST_STREAM, UIDL_STREAM: last number listed */
    struct pop3_message message; /* MESSAGE_STREAM */
    uint32_t offset;             /* how much of it was read */
    struct pop3_stuff stuff;
    struct pop3_server_stats stats;

    struct buf out;
    struct buf line;     /* the command being received or carried out, with its CRLF */
    struct buf user;     /* what USER said */
    struct buf response; /* AUTH_ANSWER: decoded */
    struct span mechanism;
    bool has_response;
};

/* server.c */
/* Room for every reply is made sure of before a command is looked at, so these cannot fail. */
void pop3_put(struct pop3_server *s, const char *text);
void pop3_reply(struct pop3_server *s, const char *text);
/* A command that was refused for its form, its place or its number of arguments. */
void pop3_refuse(struct pop3_server *s, const char *text);
/* The one way a session ends. */
void pop3_end(struct pop3_server *s, enum pop3_close_reason reason);
/* The command is done with; it may have held a password. */
void pop3_drop_line(struct pop3_server *s);

/* auth.c */
void pop3_run_user(struct pop3_server *s, struct span argument);
void pop3_run_pass(struct pop3_server *s, struct span argument);
void pop3_run_auth(struct pop3_server *s, struct span argument);
void pop3_run_stls(struct pop3_server *s, struct span argument);
bool pop3_sasl_offered(const struct pop3_server *s);
/* The line, without its CRLF, is the response to a challenge. */
void pop3_auth_line(struct pop3_server *s, struct span line);

#endif
