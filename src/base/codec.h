/* Small text codecs: base64 (RFC 4648 4), hexadecimal, UTF-8 (RFC 3629). Whole inputs only; streaming
 * transfer decoders live in mime. */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include "base/buf.h"

/* BRANT_ELIMIT when the buffer is full. */
int codec_base64_encode(struct buf *out, struct span in);
/* Strict: whole groups, padding where due, zero spare bits, no white space.
 * BRANT_ESYNTAX or BRANT_ELIMIT; the buffer is unchanged on failure. */
int codec_base64_decode(struct buf *out, struct span in);

int codec_hex_encode(struct buf *out, struct span in); /* lower case */
int codec_hex_decode(struct buf *out, struct span in); /* either case; BRANT_ESYNTAX, BRANT_ELIMIT */

/* One code point from the front: its length in bytes (1 to 4) and value, or 0 when the bytes are not valid
 * UTF-8 (overlong, surrogate, above U+10FFFF, truncated) or the span is empty. */
size_t codec_utf8_next(struct span s, uint32_t *ret);
bool codec_utf8_valid(struct span s);
int codec_utf8_put(struct buf *out, uint32_t code_point); /* BRANT_ESYNTAX for what is no scalar value */

/* Makes bytes safe for one line of a log or terminal: valid UTF-8 stays, everything else that does not print
 * (controls, invalid bytes, U+0080–U+009F, U+2028, U+2029, bidi controls) becomes \xHH per byte; a backslash
 * doubles. */
int codec_escape(struct buf *out, struct span in);

#endif
