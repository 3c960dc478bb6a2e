/* Unicode normalisation form C (UAX 15): the composed spelling, so that names typed on different systems are
 * the same bytes. */
#ifndef MIME_NORMAL_H
#define MIME_NORMAL_H

#include "base/buf.h"

enum {
    MIME_NFC_BYTES_MAX = 8192, /* of the text */
    MIME_NFC_EXPANSION = 3     /* at most so many times as many bytes come of it */
};

/* Appends the text in NFC. BRANT_ESYNTAX: it is no UTF-8. BRANT_ELIMIT: it is too long, or the buffer is
 * full. On failure the buffer is as it was. */
int mime_nfc(struct span utf8, struct buf *out);

#endif
