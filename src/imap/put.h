/* Writing the tokens of responses. Overflow is the buffer's affair (it is remembered there). */
#ifndef IMAP_PUT_H
#define IMAP_PUT_H

#include "base/buf.h"

/* A string (RFC 3501 4.3): quoted when it may be, else a literal. 8-bit bytes may stand in quotes only when
 * the client agreed to UTF-8 and they are UTF-8 (RFC 6855 3, RFC 9051 4.3). NUL, which can stand nowhere,
 * becomes 0x80, so that lengths stay true. */
void imap_put_string(struct buf *out, struct span text, bool utf8);
void imap_put_nstring(struct buf *out, struct span text, bool utf8); /* p NULL: NIL */
/* An atom when it can be one, else a string. */
void imap_put_astring(struct buf *out, struct span text, bool utf8);

/* What imap_put_string needs for a text, at most. */
static inline size_t imap_put_string_max(size_t len)
{
    return 2 * len + 16;
}

#endif
