/* Dates of header fields (RFC 5322 3.3, obsolete forms of 4.3, and what programs really write). */
#ifndef MIME_DATE_H
#define MIME_DATE_H

#include "base/buf.h"

struct mime_date {
    int64_t unix_s;     /* seconds since 1970-01-01 00:00:00 UTC */
    int16_t offset_min; /* of the sender's clock from UTC */
    bool zone_known;    /* false for "-0000", missing and unknown zones: offset_min is then 0 */
};

/* Reads a date. Comments, folding, a missing day name or seconds, years of two or three digits, zones by name
 * (the North American ones; others count as unknown, as RFC 5322 4.3 says), asctime's order and text before a
 * semicolon (Received) are accepted. BRANT_ESYNTAX: no day, month, year and time of day, or one out of range.
 */
int mime_date_parse(struct span raw, struct mime_date *ret);

enum { MIME_DATE_TEXT_MAX = 32 };

/* "Mon, 23 Nov 2026 09:12:16 +0000", NUL-terminated. Years 1 to 9999, |offset_min| < 6,000; what lies outside
 * is clamped. */
void mime_date_format(int64_t unix_s, int offset_min, char out[MIME_DATE_TEXT_MAX]);

#endif
