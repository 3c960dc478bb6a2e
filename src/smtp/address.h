/* The address grammar of SMTP commands: RFC 5321 4.1.2 and 4.1.3, with RFC 6531 for UTF-8.
 *
 * Parsing validates the whole text and gives spans into it; it changes nothing. Normalising is a second step
 * on what was validated. The canonical form of a mailbox parses, and its canonical form is itself.
 *
 * What a mailbox may be:
 *  - local part: a dot-string, or a quoted string of printable characters. No comments, no folding, no
 *    controls, no mixture of quoted and plain words.
 *  - domain: letters, digits and inner hyphens in labels of 1 to 63 octets; one label is enough; no dot at
 *    the end. Or an address literal: dotted quad, or "IPv6:" in the forms of RFC 5321 4.1.3, where "::"
 * stands for at least two groups. Other literal tags have no meaning to us (BRANT_EUNSUPPORTED).
 *  - non-ASCII: valid UTF-8 without controls (U+0080–U+009F) and line or paragraph separators; in a domain
 *    also none of the full stops that IDNA mapping would turn into a dot. Nothing is mapped or composed here.
 *  - at most 64 octets of local part, 255 of domain, 256 of path with its brackets (RFC 5321 4.5.3.1), so
 *    254 of mailbox. */
#ifndef SMTP_ADDRESS_H
#define SMTP_ADDRESS_H

#include "base/buf.h"

enum {
    SMTP_LOCAL_BYTES_MAX = 64,
    SMTP_DOMAIN_BYTES_MAX = 255,
    SMTP_PATH_BYTES_MAX = 256,
    SMTP_MAILBOX_BYTES_MAX = SMTP_PATH_BYTES_MAX - 2
};

struct smtp_mailbox {
    struct span local;  /* as written, quotes included */
    struct span domain; /* as written, brackets of a literal included */
    bool quoted;        /* local is a quoted string */
    bool literal;       /* domain is an address literal */
    bool utf8;          /* there are non-ASCII characters: needs SMTPUTF8 */
};

enum smtp_path_kind {
    SMTP_PATH_NULL,       /* <> */
    SMTP_PATH_POSTMASTER, /* <postmaster> without a domain */
    SMTP_PATH_MAILBOX
};

enum smtp_path_use { SMTP_PATH_REVERSE, SMTP_PATH_FORWARD };

struct smtp_path {
    enum smtp_path_kind kind;
    struct smtp_mailbox mailbox; /* when SMTP_PATH_MAILBOX */
};

/* The whole text is one Mailbox: "local@domain".
 * BRANT_ESYNTAX, BRANT_ELIMIT (one of the lengths), BRANT_EUNSUPPORTED (literal with an unknown tag). */
int smtp_mailbox_parse(struct span text, struct smtp_mailbox *ret);

/* Is this a mailbox that could stand in an envelope? For addresses from elsewhere: headers, the command line.
 */
bool smtp_mailbox_valid(struct span text, bool allow_utf8);

/* Appends the canonical form: ASCII letters of the domain in lower case, literals as RFC 5952 writes them,
 * the local part unquoted where it can be, else quoted with the fewest backslashes. Never longer than 254
 * octets. BRANT_ELIMIT when the buffer is full. */
int smtp_mailbox_normalise(const struct smtp_mailbox *m, struct buf *out);

/* The path at the front of a MAIL or RCPT argument, up to the space before the parameters; what follows is in
 * *ret_rest. A source route (RFC 5321 4.1.2 A-d-l) is checked and ignored. A mailbox without angle brackets
 * is taken too, because senders do that. <> is only a reverse-path, <postmaster> only a forward-path. Errors
 * as smtp_mailbox_parse. */
int smtp_path_parse(struct span text, enum smtp_path_use use, struct smtp_path *ret, struct span *ret_rest);

/* A domain name in the grammar above; not a literal. BRANT_ESYNTAX, BRANT_ELIMIT. */
int smtp_domain_check(struct span domain);
/* "[…]" with an IPv4 or IPv6 address. BRANT_ESYNTAX, BRANT_EUNSUPPORTED. */
struct ip_addr;
int smtp_literal_parse(struct span literal, struct ip_addr *ret);

#endif
