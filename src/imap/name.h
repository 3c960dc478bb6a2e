/* Mailbox names. Inside they are UTF-8 with "/" between the levels; clients say them in modified UTF-7
 * (RFC 3501 5.1.3), or in UTF-8 once they have enabled that (RFC 6855, RFC 9051 5.1). They are kept in NFC
 * (RFC 5198 2), whichever spelling the client has, so that one name is one mailbox; LIST tells the kept one.
 *
 * A name never becomes a path: it is looked up, so "..", "%2e" and the like are names as good as any. */
#ifndef IMAP_NAME_H
#define IMAP_NAME_H

#include "base/buf.h"

enum {
    IMAP_NAME_BYTES_MAX = 1000,
    IMAP_NAME_LEVELS_MAX = 32,
    /* of a name in a response, quotes and escapes included: an ASCII byte makes two at most, and k characters
     * in between make 4/3 * 2k + 2 of 2k bytes or more */
    IMAP_NAME_TEXT_MAX = 3 * IMAP_NAME_BYTES_MAX + 16
};

/* BRANT_ESYNTAX: no modified UTF-7 (8-bit or control bytes, a broken shift, half a character, what stands for
 * itself written in base64, two shifts in a row). BRANT_ELIMIT: out is full. On failure out may hold a part.
 */
int imap_utf7_to_utf8(struct span in, struct buf *out);
/* The other way, of valid UTF-8 (BRANT_ESYNTAX). Control characters are written in base64. BRANT_ELIMIT. */
int imap_utf8_to_utf7(struct span in, struct buf *out);

/* The name as the client said it, in UTF-8, checked and in NFC: 1 to IMAP_NAME_BYTES_MAX bytes, at most
 * IMAP_NAME_LEVELS_MAX levels, none of them empty, no control characters. INBOX in any case, alone or as the
 * first level, becomes "INBOX" (RFC 3501 5.1). BRANT_ESYNTAX, BRANT_ELIMIT; out is empty then. */
int imap_name_parse(struct span said, bool utf8, struct buf *out);
/* The same for CREATE: a "/" at the end only says what the client has in mind (RFC 3501 6.3.3), and "%" and
 * "*", which could not be listed alone, are refused. */
int imap_name_parse_new(struct span said, bool utf8, struct buf *out);

bool imap_name_is_inbox(struct span name);

/* Names in an order in which a mailbox's children follow it directly: bytes, "/" below all others. */
int imap_name_cmp(struct span a, struct span b);
/* `name` is `parent`, or lies beneath it. */
bool imap_name_within(struct span name, struct span parent);

/* Appends the name as an astring, in UTF-7 or UTF-8. */
void imap_name_put(struct buf *out, struct span name, bool utf8);

#endif
