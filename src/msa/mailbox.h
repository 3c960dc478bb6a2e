/* The strict reading of fields that say who a message is from.
 *
 * mime/address.h makes some list of everything; here only what every reader takes for the same mailboxes is a
 * list (RFC 5322 3.4 without what a newcomer, a regular expression or an old program reads otherwise):
 *
 *     list    = mailbox *("," mailbox)
 *     mailbox = [phrase] "<" address ">" [comment]  /  address [comment]
 *     phrase  = words: atoms with dots, quoted strings; non-ASCII characters anywhere in them
 *     address = local "@" domain, without white space or comments
 *     local   = dot-atom, or a quoted string of atom characters and dots; no "=?"
 *     domain  = labels of letters, digits, inner hyphens and non-ASCII characters; no literal
 *     comment = one, at the end; no nesting, quoting, or any of < > @ , : ; "
 *
 * So there are no groups, routes, empty list elements, text behind the ">", comments inside, quoted pairs
 * outside quoted strings. White space and folding may stand between these parts. Bytes that are no UTF-8 may
 * stand in names unless one of @ [ \ ] ^ _ ` { | } ~ follows directly, which in the charsets of East Asia
 * could be the second half of a character. */
#ifndef MSA_MAILBOX_H
#define MSA_MAILBOX_H

#include "base/buf.h"

enum { MSA_MAILBOXES_MAX = 50 };

struct msa_mailbox {
    struct span name;    /* the phrase as it stands, with quotes and folding; empty: none */
    struct span comment; /* the comment's inside; empty: none */
    struct span local;   /* as it stands, with quotes */
    struct span domain;
};

struct msa_mailboxes {
    struct msa_mailbox items[MSA_MAILBOXES_MAX]; /* spans into what was parsed */
    size_t count;                                /* at least 1 */
    bool utf8;                                   /* an address has non-ASCII characters */
};

/* BRANT_ESYNTAX or BRANT_ELIMIT, with a phrase that tells why in *ret_reason. */
int msa_mailboxes_parse(struct span raw, struct msa_mailboxes *ret, const char **ret_reason);

/* Appends local@domain as struct msa_sender has it. BRANT_ELIMIT. */
int msa_mailbox_address(const struct msa_mailbox *m, struct buf *out);

#endif
