/* The server side of a SASL exchange (RFC 4422), the same for every protocol.
 *
 * The protocol engine carries messages, already decoded; this machine knows the order of each mechanism and
 * takes apart what the simple ones say; who is right is decided elsewhere. The loop of the glue:
 *
 *     sasl_server_begin(&x, mechanism, offered)        the client named a mechanism
 *     type = sasl_server_step(&x, has_response, response, &event)
 *         SASL_CHALLENGE    send event.challenge, then step with the client's response
 *         SASL_PASSWORD     check event.user and event.password, and whether user may act as authzid
 *         SASL_EXTERNAL     check whether who the connection proves may act as authzid
 *         SASL_SCRAM_FIRST  give event.message to who holds the verifiers; send its server-first as a
 * challenge, then step with the client's response SASL_SCRAM_FINAL  likewise; when it is right, send the
 * server-final as a challenge, then step SASL_FINISHED     the client has acknowledged the server-final: log
 * in SASL_MALFORMED    the client does not keep to the mechanism: the exchange has failed
 *
 * PASSWORD, EXTERNAL, FINISHED and MALFORMED are last events. An exchange may be dropped at any time by
 * sasl_server_end, which overwrites what is kept of it. */
#ifndef SASL_SERVER_H
#define SASL_SERVER_H

#include "base/buf.h"

/* In order of preference; a set is their sum. */
enum sasl_mechanism {
    SASL_MECHANISM_SCRAM_SHA_256_PLUS = 1, /* RFC 7677 with channel binding (RFC 5802 6) */
    SASL_MECHANISM_SCRAM_SHA_256 = 2,      /* RFC 7677 */
    SASL_MECHANISM_PLAIN = 4,              /* RFC 4616 */
    SASL_MECHANISM_LOGIN = 8,              /* never standardised; old programs know no other */
    SASL_MECHANISM_EXTERNAL = 16,          /* RFC 4422 appendix A */
    SASL_MECHANISM_ALL = 31
};

enum {
    SASL_MECHANISMS_TEXT_MAX = 64, /* the names of all of them, with spaces and NUL */
    SASL_NAME_BYTES_MAX = 320,     /* of a user name or authorization identity */
    SASL_PASSWORD_BYTES_MAX = 512,
    SASL_MESSAGE_BYTES_MAX = 2048 /* of any response */
};

const char *sasl_mechanism_name(enum sasl_mechanism mechanism);
/* The names of the set with one space between, for EHLO and CAPA; "" for none. Returns `text`. */
const char *sasl_mechanisms_text(unsigned set, char text[SASL_MECHANISMS_TEXT_MAX]);

enum sasl_event_type {
    SASL_CHALLENGE,
    SASL_PASSWORD,
    SASL_EXTERNAL,
    SASL_SCRAM_FIRST,
    SASL_SCRAM_FINAL,
    SASL_FINISHED,
    SASL_MALFORMED
};

/* Only the fields of the event's type are set. Spans point into the response that was given, or into the
 * machine, and are valid until either changes. */
struct sasl_event {
    enum sasl_event_type type;
    struct span challenge; /* CHALLENGE; may be empty */
    struct span authzid; /* PASSWORD, EXTERNAL: UTF-8 without NUL, at most SASL_NAME_BYTES_MAX; empty: none */
    struct span user;    /* PASSWORD: the same, never empty */
    struct span password; /* PASSWORD: UTF-8 without NUL, 1 to SASL_PASSWORD_BYTES_MAX bytes */
    struct span message;  /* SCRAM_FIRST, SCRAM_FINAL: not looked at */
};

/* One exchange; the caller's memory. {0} is none. */
struct sasl_server {
    enum sasl_mechanism mechanism; /* 0: no exchange */
    bool begun, over;              /* there was a first step, a last event */
    uint8_t step;                  /* how many responses were taken */
    size_t user_len;               /* LOGIN */
    uint8_t user[SASL_NAME_BYTES_MAX];
};

/* The name is compared without case. BRANT_ENOTFOUND: not in the offered set; there is no exchange then. */
int sasl_server_begin(struct sasl_server *x, struct span mechanism, unsigned offered);

/* The next response; without one (has_response false) only right after sasl_server_begin, when the client
 * gave no initial response. Returns ret->type. Without an exchange: SASL_MALFORMED. */
enum sasl_event_type sasl_server_step(struct sasl_server *x, bool has_response, struct span response,
                                      struct sasl_event *ret);

void sasl_server_end(struct sasl_server *x);

#endif
