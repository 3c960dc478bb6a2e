/* The dates of the protocol (RFC 3501 9: date, date-time). */
#ifndef IMAP_DATE_H
#define IMAP_DATE_H

#include "base/buf.h"

enum { IMAP_DATE_TIME_LEN = 26 }; /* "17-Jul-1996 02:44:25 -0700" */

/* date-time without its quotes: seconds since 1970 UTC. BRANT_ESYNTAX. */
int imap_date_time_parse(struct span text, int64_t *ret_unix_s);
/* date, without quotes if it had any ("1-Feb-1994"): days since 1970. BRANT_ESYNTAX. */
int imap_date_parse(struct span text, int64_t *ret_day);

/* Appends the date-time in UTC, with its quotes. Years 1 to 9999; what lies outside is clamped. */
void imap_date_time_put(struct buf *out, int64_t unix_s);

/* The day on which a moment falls, in a zone so many minutes ahead of UTC. */
int64_t imap_day(int64_t unix_s, int offset_min);

#endif
