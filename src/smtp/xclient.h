/* The XCLIENT command of Postfix (XCLIENT_README): a proxy or filter in front says who its client is. */
#ifndef SMTP_XCLIENT_H
#define SMTP_XCLIENT_H

#include "base/buf.h"
#include "base/ip.h"

/* Whether an attribute was given, and as what. */
enum smtp_xclient_value {
    SMTP_XCLIENT_ABSENT,      /* nothing was said */
    SMTP_XCLIENT_UNAVAILABLE, /* [UNAVAILABLE]: there is none */
    SMTP_XCLIENT_TEMPUNAVAIL, /* [TEMPUNAVAIL]: it could not be found out just now */
    SMTP_XCLIENT_GIVEN
};

struct smtp_xclient {
    enum smtp_xclient_value name_value, addr_value, port_value, proto_value, helo_value, destaddr_value,
        destport_value;
    struct span name;           /* NAME: the client's host name, a valid domain */
    struct span helo;           /* HELO: printable ASCII, 1 to 255 bytes */
    struct ip_addr client;      /* ADDR and PORT; family IP_NONE without ADDR, port 0 without PORT */
    struct ip_addr destination; /* DESTADDR and DESTPORT, likewise */
    bool extended;              /* PROTO: ESMTP, not SMTP */
};

/* What EHLO says of it. */
#define SMTP_XCLIENT_ATTRIBUTES "NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"

/* Reads "NAME=value ADDR=value …" (the text behind the verb and its space). Decoded text goes into `texts`,
 * which must be empty and have room for 600 bytes; the spans point there.
 * BRANT_ESYNTAX: malformed, an attribute that is unknown or comes twice, or none at all. */
int smtp_xclient_parse(struct span text, struct buf *texts, struct smtp_xclient *ret);

#endif
