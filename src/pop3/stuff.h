/* A message on its way into a POP3 multi-line response: byte-stuffing, and the cut that TOP makes
 * (RFC 1939 sections 3 and 7), over a message given in pieces of any size.
 *
 * A line that begins with a dot gets a second one. Lines count as ended by LF with or without a CR in front:
 * a client that reads lines the lax way must not find the end of the response inside a message either. The
 * bytes are otherwise passed on as they are. */
#ifndef POP3_STUFF_H
#define POP3_STUFF_H

#include "base/buf.h"

#define POP3_STUFF_ALL UINT64_MAX

struct pop3_stuff {
    uint64_t lines_left; /* of the body; POP3_STUFF_ALL for the whole message */
    bool in_header;      /* before the empty line */
    bool at_line_start;  /* nothing of the present line was seen yet */
    bool line_empty;     /* nothing but perhaps one CR of it was seen yet */
    bool last_is_cr;     /* the last byte seen */
    bool ended_crlf;     /* what was sent ends with CRLF, or nothing was sent */
    bool complete;       /* TOP has everything it asked for: further bytes are ignored */
};

/* body_lines: how many lines of the body TOP wants, or POP3_STUFF_ALL. */
void pop3_stuff_init(struct pop3_stuff *s, uint64_t body_lines);

/* Adds the next piece to `out`, which needs room for pop3_stuff_bound(in.len) bytes. BRANT_ELIMIT when it
 * has not. Sets `complete` where TOP is to stop. */
int pop3_stuff_add(struct pop3_stuff *s, struct span in, struct buf *out);

/* Ends the response: CRLF where the message lacks one, and the closing dot; at most 5 bytes. */
int pop3_stuff_end(struct pop3_stuff *s, struct buf *out);

/* The most output that `in` bytes of input can make. */
static inline size_t pop3_stuff_bound(size_t in)
{
    return in + in / 2 + 1; /* the worst is a run of dots and bare LFs: two bytes become three */
}

#endif
