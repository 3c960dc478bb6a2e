/* SMTP replies (RFC 5321 4.2) with enhanced status codes (RFC 3463, RFC 2034). */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base/buf.h"

struct smtp_reply {
    uint16_t code;    /* 200 to 599 */
    uint8_t subject;  /* the middle and … */
    uint16_t detail;  /* … last number of the enhanced code; its class is the first digit of `code` */
    const char *text; /* lines apart by '\n'; borrowed; bytes that are not printable ASCII are sent as '?' */
};

enum {
    SMTP_REPLY_LINE_MAX = 512,   /* RFC 5321 4.5.3.1.5, CRLF included */
    SMTP_REPLY_TEXT_MAX = 496,   /* of text in one line beside codes and CRLF; longer text is broken */
    SMTP_REPLY_BYTES_MAX = 2048, /* of text in one reply; the rest is cut */
    SMTP_REPLY_LINES_MAX = 32    /* in one reply; the rest is cut */
};

/* Appends the whole reply. A 3yz reply never carries an enhanced code. BRANT_ELIMIT: nothing was appended. */
int smtp_reply_append(struct buf *out, const struct smtp_reply *reply, bool enhanced);

#endif
