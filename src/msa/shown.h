/* What a display name or comment shows. Some readers show nothing else of a mailbox, so an address in it is
 * as good as an address in From; and some old ones stop at a hidden NUL. */
#ifndef MSA_SHOWN_H
#define MSA_SHOWN_H

#include "base/buf.h"

/* Appends the text of a raw phrase or comment as UTF-8: quotes and folding removed, encoded words decoded,
 * the wide and small forms of "@" and the dots of IDNA made plain. BRANT_ESYNTAX, with a phrase that tells
 * why in *ret_reason: an encoded word with a control character in it, or of a charset that can hide one
 * (UTF-7, UTF-16, UTF-32); an encoded word inside an encoded word; a character that changes the direction of
 * the text (U+202A–U+202E, U+2066–U+2069), C1 controls, line and paragraph separators. BRANT_ELIMIT. */
int msa_shown_text(struct span raw, struct buf *out, const char **ret_reason);

/* The next thing in a shown text that looks like local@domain.tld, advancing *rest; the domain in lower case.
 * `scratch` holds the result. It need not be a valid address. False when there is none. */
bool msa_shown_next(struct span *rest, struct buf *scratch, struct span *ret);

#endif
