/* Text in header fields: unfolding, encoded words (RFC 2047, RFC 2231 5) and making them. */
#ifndef MIME_ENCODED_WORD_H
#define MIME_ENCODED_WORD_H

#include "base/buf.h"

/* Removes the line ends of folding (RFC 5322 2.2.3) and the white space around the value. Bytes are kept as
 * they are otherwise. BRANT_ELIMIT. */
int mime_unfold(struct span raw, struct buf *out);

/* Decodes a raw (folded or unfolded) unstructured value for showing: UTF-8 is appended to out.
 * - A fold with the white space around it counts as one space.
 * - Encoded words are decoded once: what comes out is never looked at again. White space between two of them
 *   goes; the bytes of neighbours in the same charset are joined first, so a character may be split over
 * them.
 * - Encoded words are taken anywhere, also inside other words and quoted strings, as programs write them, and
 *   may contain spaces. One of an unknown charset or a broken one stays as written.
 * - Control characters that were encoded (CR, LF and NUL foremost) become spaces; raw bytes that are no UTF-8
 *   become U+FFFD.
 * BRANT_ELIMIT: out is full, part of the text was appended. */
int mime_words_decode(struct span raw, struct buf *out);
/* The same for a text whose white space at both ends counts, such as a quoted file name. */
int mime_words_decode_inside(struct span text, struct buf *out);

/* Appends UTF-8 text as encoded words "=?utf-8?…?=" of at most 75 characters, never splitting a character,
 * separated by CRLF and a space (RFC 2047 2). Printable ASCII without "=?" is appended as it is. Control
 * characters become spaces. `column` is where the text starts on its line. BRANT_ELIMIT. */
int mime_words_encode(struct span utf8, size_t column, struct buf *out);

#endif
