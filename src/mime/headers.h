/* Making header fields. Whatever the texts are, exactly one field comes out, or none: header injection is not
 * possible through these functions (RFC 5322 2.2). Lines end with CRLF. */
#ifndef MIME_HEADERS_H
#define MIME_HEADERS_H

#include "base/buf.h"

/* Appends "Name: value" CRLF with the value as it is. For trace and authentication fields, whose value is
 * built here; it may be folded already. BRANT_ESYNTAX: the name is no field name; or the value holds a CR or
 * LF that is no fold (CRLF and then white space and something that prints), a NUL, or another control
 * character except TAB. BRANT_ELIMIT. Nothing is appended on failure. */
int mime_header_put(struct buf *out, const char *name, struct span value);

/* Appends a field with any UTF-8 text: controls become spaces, what is not ASCII becomes encoded words, long
 * lines are folded at spaces. BRANT_ESYNTAX (the name) or BRANT_ELIMIT. */
int mime_header_put_text(struct buf *out, const char *name, struct span utf8);

/* Appends "Name: display <address>", the display name quoted or encoded as needed; without one, only the
 * address in angle brackets. The address must hold no controls, spaces outside quotes or angle brackets
 * (BRANT_ESYNTAX). */
int mime_header_put_mailbox(struct buf *out, const char *name, struct span display_utf8, struct span address);

/* A walk over the raw fields of a header block, which ends at the empty line or the end of the bytes. */
struct mime_raw_field {
    struct span name;  /* without white space before the colon; empty for a line that is no field */
    struct span value; /* raw: from behind the colon to before the last line end, folds included */
    struct span all;   /* the field with its line end, as DKIM wants it */
};
/* The next field of *rest, which is advanced; false at the end (then *rest is the body or empty). */
bool mime_raw_field_next(struct span *rest, struct mime_raw_field *ret);

#endif
