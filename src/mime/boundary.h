/* Which open multipart a line of dashes belongs to (RFC 2046 5.1.1). For the parser. */
#ifndef MIME_BOUNDARY_H
#define MIME_BOUNDARY_H

#include "base/span.h"

struct mime_open {         /* a part whose end has not been seen; the parser's stack, root first */
    struct span boundary;  /* empty when it has none, or when its end boundary was seen */
    uint32_t part;         /* index */
    uint64_t header_lines; /* lines of the message before its header */
    uint64_t body_lines;   /* … before its body */
    bool terminated;       /* the end boundary was seen */
};

struct mime_boundary_match {
    size_t open;   /* index in the stack */
    bool end;      /* "--" follows: the last boundary of that multipart */
    bool trailing; /* other text follows */
};

/* `line` without its line end, beginning with "--". False when it is no boundary of any open multipart.
 * RFC 2046 5.1.1: the line only has to begin with the boundary. A line that is exactly a boundary (with white
 * space behind it) wins, innermost first; otherwise the longest boundary the line begins with. */
bool mime_boundary_find(const struct mime_open *open, size_t count, struct span line,
                        struct mime_boundary_match *ret);

#endif
