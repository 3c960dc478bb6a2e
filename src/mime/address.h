/* Address lists of From, To, Cc… (RFC 5322 3.4 with the obsolete forms of 4.4, RFC 6532) and lists of message
 * ids (3.6.4). Lenient: everything gives some list. Time is linear, nesting costs a counter. */
#ifndef MIME_ADDRESS_H
#define MIME_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"

enum mime_address_kind {
    MIME_ADDRESS_MAILBOX,
    MIME_ADDRESS_GROUP_START, /* only `name` is set; the group's mailboxes follow */
    MIME_ADDRESS_GROUP_END
};

/* Texts are unquoted and without folding, comments and surrounding white space; encoded words are *not*
 * decoded (IMAP hands them out as they are): mime_words_decode does that. */
struct mime_address {
    enum mime_address_kind kind;
    struct span name;    /* display name, or group name; empty when there is none */
    struct span comment; /* text of the comments, which old mail used for names */
    struct span route;   /* "@a,@b" of an obsolete source route, usually empty */
    struct span local;   /* local part without quotes; may hold any character */
    struct span domain;  /* empty when there is no "@" */
};

struct mime_address_list {
    struct mime_address *items; /* from the arena */
    size_t count;
    bool truncated; /* there was more than items_max, or more than the arena could hold */
};

void mime_addresses_parse(struct arena *a, struct span raw, size_t items_max, struct mime_address_list *ret);

/* Appends local "@" domain, the local part quoted when it has to be (RFC 5322 3.4.1). BRANT_ELIMIT. */
int mime_address_format(const struct mime_address *address, struct buf *out);

/* The next message id in *rest, without angle brackets, white space and comments removed; advances *rest.
 * Words without brackets count as ids too. False when there is none. `scratch` holds the result. */
bool mime_msgid_next(struct span *rest, struct buf *scratch, struct span *ret);

#endif
