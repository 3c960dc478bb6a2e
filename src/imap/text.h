/* The text of a part as UTF-8: transfer encoding and charset undone, as a stream. */
#ifndef IMAP_TEXT_H
#define IMAP_TEXT_H

#include "mime/charset.h"
#include "mime/decode.h"
#include "mime/structure.h"

enum { IMAP_TEXT_PIECE = 4096 };

struct imap_text {
    struct mime_decoder decoder;
    struct mime_charset *charset; /* owned; NULL: there is no text */
    struct buf raw;
};

/* Whether the part is text to be read: text or message in one piece. */
bool imap_is_text(const struct mime_part *part);

/* A charset nobody knows counts as UTF-8. */
void imap_text_init(struct imap_text *t, const struct mime_part *part);
void imap_text_done(struct imap_text *t);
/* Appends the text of at most IMAP_TEXT_PIECE bytes, cut between characters; out needs room for
 * IMAP_TEXT_OUT_MAX bytes. */
void imap_text_feed(struct imap_text *t, struct span piece, struct buf *out);
void imap_text_finish(struct imap_text *t, struct buf *out);

enum { IMAP_TEXT_OUT_MAX = 6 * (IMAP_TEXT_PIECE + MIME_DECODE_SLACK + 16) };

#endif
