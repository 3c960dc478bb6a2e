#include "mime/boundary.h"

bool mime_boundary_find(const struct mime_open *open, size_t count, struct span line,
                        struct mime_boundary_match *ret)
{
    struct span text = span_from(line, 2);
    size_t best = 0;

    for (size_t i = count; i-- > 0;) {
        struct span boundary = open[i].boundary, rest;
        struct mime_boundary_match match = {.open = i};

        if (!boundary.len || boundary.len <= best || !span_starts(text, boundary))
            continue;
        rest = span_from(text, boundary.len);
        match.end = span_starts(rest, SPAN_LIT("--"));
        match.trailing = span_trim(span_from(rest, match.end ? 2 : 0)).len > 0;
        best = boundary.len;
        *ret = match;
        if (!match.trailing)
            return true;
    }
    return best > 0;
}
