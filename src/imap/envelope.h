/* ENVELOPE (RFC 3501 7.4.2) from the values that were kept of a message's header. */
#ifndef IMAP_ENVELOPE_H
#define IMAP_ENVELOPE_H

#include "base/buf.h"
#include "mime/structure.h"

/* `part` is the root of a message. Texts are handed out as they stand in the header, encoded words and all;
 * an address without a domain has an empty one, since NIL would make it the start of a group. */
void imap_envelope_put(struct buf *out, const struct mime_part *part, bool utf8);

#endif
