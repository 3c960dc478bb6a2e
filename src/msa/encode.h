/* UTF-8 in header fields made into encoded words (RFC 2047), for messages whose client did not declare
 * SMTPUTF8. */
#ifndef MSA_ENCODE_H
#define MSA_ENCODE_H

#include "base/buf.h"

/* Appends "name:" and the value of an unstructured field (valid UTF-8, folded as it may be) with CRLF.
 * BRANT_ELIMIT. */
int msa_encode_text(struct span name, struct span value, struct buf *out);

/* The same for an address list: phrases and comments that are not ASCII are encoded, all else stays.
 * BRANT_EUNSUPPORTED: there is a character beyond ASCII where no encoded word may stand, in an address or
 * nobody knows where (RFC 2047 5). BRANT_ELIMIT. */
int msa_encode_addresses(struct span name, struct span value, struct buf *out);

#endif
