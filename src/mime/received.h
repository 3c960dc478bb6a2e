/* The trace field Received (RFC 5321 4.4), read as loosely as it is written. */
#ifndef MIME_RECEIVED_H
#define MIME_RECEIVED_H

#include "base/ip.h"
#include "mime/date.h"

/* Spans point into the value given; empty when a clause is missing. */
struct mime_received {
    struct span from, by, id, for_; /* the first word of each clause, angle brackets and brackets removed */
    struct span via, with;          /* all words of the clause */
    struct span from_comment;       /* from the first comment of the from clause to the clause's end */
    struct ip_addr from_ip;         /* the first address in from_comment; family IP_NONE when there is none */
    bool has_date;
    struct mime_date date;
};

void mime_received_parse(struct span raw, struct mime_received *ret);

#endif
