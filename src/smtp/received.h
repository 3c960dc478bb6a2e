/* The trace fields a server puts in front of a message (RFC 5321 4.4). Everything that came from the peer is
 * checked or replaced first: no byte of it can begin a field, a comment or a line. */
#ifndef SMTP_RECEIVED_H
#define SMTP_RECEIVED_H

#include "base/ip.h"
#include "smtp/server.h"

enum { SMTP_RECEIVED_BYTES_MAX = 2048 }; /* no Received or Return-Path field is longer */

struct smtp_received {
    struct span helo;      /* as the client said it; empty for mail made on this host */
    struct span rdns;      /* the client's verified name; empty when there is none */
    struct ip_addr client; /* IP_NONE: a local socket */
    const char *hostname;  /* ours */
    bool lmtp, extended, tls, authenticated, smtputf8; /* make the "with" word (RFC 3848, RFC 6531 4.3) */
    struct span tls_text;  /* "TLSv1.3 TLS_AES_256_GCM_SHA384", for a comment behind it; empty: none */
    struct span id;        /* our name for the message: letters, digits, '.', '-', '_' */
    struct span recipient; /* canonical mailbox, only when there is a single recipient; else empty */
    int64_t unix_time_s;   /* written in UTC */
};

/* Appends the field with its CRLF; lines are folded before "by", "for" and the date, and
 * before "id" behind tls_text.
 * BRANT_ELIMIT: the buffer is full (it is unchanged then). */
int smtp_received_compose(const struct smtp_received *r, struct buf *out);

/* Appends the word behind "with": "ESMTPSA". BRANT_ELIMIT. */
int smtp_received_protocol(const struct smtp_received *r, struct buf *out);

/* Appends "Return-Path: <mailbox>" with CRLF; an empty mailbox is the null reverse-path.
 * BRANT_ESYNTAX: not a mailbox. BRANT_ELIMIT. */
int smtp_return_path_compose(struct span mailbox, struct buf *out);

/* Appends "Mon, 23 Nov 2026 09:12:16 +0000" (RFC 5322 3.3). BRANT_ELIMIT. */
int smtp_date_compose(int64_t unix_time_s, struct buf *out);

#endif
