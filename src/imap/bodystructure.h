/* BODY and BODYSTRUCTURE (RFC 3501 7.4.2) from a recorded structure. No recursion, time and text are linear
 * in what was recorded. */
#ifndef IMAP_BODYSTRUCTURE_H
#define IMAP_BODYSTRUCTURE_H

#include "base/buf.h"
#include "mime/structure.h"

/* extended: BODYSTRUCTURE, else BODY.
 * - Parameters are handed out as they were written; the segments of RFC 2231 are joined under one name, with
 *   its asterisk and still percent-encoded when one of them was.
 * - Text without a charset has charset us-ascii (RFC 2046 4.1.2).
 * - A multipart or message that is not taken apart, because it is encoded, broken or too deep, is shown as
 *   application/octet-stream, since the grammar has no multipart without parts and no message without its
 *   envelope. A multipart in which no part was found is shown with an empty text. */
void imap_bodystructure_put(struct buf *out, const struct mime_structure *s, bool extended, bool utf8);

#endif
