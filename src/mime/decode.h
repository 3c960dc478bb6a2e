/* Content transfer encodings (RFC 2045 6) as streams: decoders that take any portions and any damage, and
 * encoders for mail made here. */
#ifndef MIME_DECODE_H
#define MIME_DECODE_H

#include "base/buf.h"
#include "mime/structure.h"

/* Room a feed or finish may need beyond the length of its input. */
enum { MIME_DECODE_SLACK = 264 };

struct mime_decoder {
    enum mime_encoding encoding;
    uint64_t pos;         /* bytes of input seen */
    uint64_t errors;      /* places that are against the encoding */
    uint64_t first_error; /* offset in the input of the first, when errors > 0 */
    uint8_t state;        /* base64: characters in the group; quoted-printable: what of "=XY" is held */
    uint8_t held_len;     /* quoted-printable: white space that may be the end of a line */
    bool padded;          /* base64: "=" was seen in this group */
    uint32_t bits;
    uint8_t held[256];
};

/* 7bit, 8bit, binary and unknown encodings pass bytes unchanged. */
void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding);

/* Appends what `in` decodes to. BRANT_ELIMIT when out has not room for in.len + MIME_DECODE_SLACK more bytes;
 * then nothing was taken.
 * base64: characters outside the alphabet are skipped, white space silently, others counted as errors.
 * Padding ends a group, not the data: concatenated encodings decode to the concatenation. Missing padding is
 * an error, but the whole bytes before it are given. quoted-printable: an "=" without two hexadecimal digits
 * stays as it is and is an error; white space before a line end goes (RFC 2045 6.7 rule 3); hexadecimal
 * digits may be lower case. */
int mime_decoder_feed(struct mime_decoder *d, struct span in, struct buf *out);
int mime_decoder_finish(struct mime_decoder *d, struct buf *out); /* the same for the end of the data */

/* base64 in lines of 76 characters, each ended by CRLF. BRANT_ELIMIT. */
int mime_base64_encode_lines(struct span in, struct buf *out);
/* Quoted-printable of text whose lines end with CRLF; no line over 76 characters; "From " at the start of a
 * line and lone dots are encoded too. BRANT_ELIMIT. */
int mime_qp_encode(struct span in, struct buf *out);
/* name="value" when the value is plain ASCII, else name*=utf-8''… (RFC 2231 4). Control characters become
 * spaces. BRANT_ELIMIT. */
int mime_param_encode(const char *name, struct span utf8, struct buf *out);

#endif
