/* Text made comparable for search, in the spirit of i;unicode-casemap (RFC 5051): letters without regard to
 * case, compatibility forms (full width, ligatures) as what they stand for, accents apart from their letters,
 * so that composed and decomposed spellings are equal and "cafe" is found in "café". Hangul syllables and
 * kana are left whole: there a mark makes another letter. */
#ifndef MIME_FOLD_H
#define MIME_FOLD_H

#include "base/buf.h"

/* No character becomes more than so many times as many bytes. */
enum { MIME_FOLD_EXPANSION = 18 };

/* Appends the folded form of valid UTF-8, character by character: a text folded in pieces (cut between
 * characters) is the text folded whole. Bytes that are no UTF-8 are kept. BRANT_ELIMIT. */
int mime_fold(struct span utf8, struct buf *out);

#endif
