/* One spelling for each address and domain, so that the directory can compare bytes.
 *
 * Domains: lower case; names in other scripts as U-labels, whichever form was given (RFC 5890, IDNA 2008 by
 * libidn2). Local parts: SMTP's canonical form (smtp/address.h), non-ASCII in NFC (RFC 6532 3.1). Upper and
 * lower case of local parts is the directory's affair. Needs no file: works in an empty chroot. */
#ifndef ROLES_CANONICAL_H
#define ROLES_CANONICAL_H

#include "base/buf.h"

/* Appends the canonical form of "local@domain", "@domain" or "postmaster".
 * BRANT_ESYNTAX: no address, or a domain that IDNA refuses. BRANT_ELIMIT: over a maximum. */
int canonical_address(struct span address, struct buf *out);

/* The same for a domain name. An address literal "[…]" is taken as it is. */
int canonical_domain(struct span domain, struct buf *out);

#endif
