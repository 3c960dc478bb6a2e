/* MIME parameters as BODYSTRUCTURE shows them: as they were written, not decoded (compare mime/param.h). */
#ifndef IMAP_PARAMETER_H
#define IMAP_PARAMETER_H

#include "base/arena.h"
#include "mime/lex.h"

struct imap_parameter {
    struct span name; /* with a "*" at the end when the value is percent-encoded (RFC 2231 4) */
    struct span value;
};

struct imap_parameters {
    struct imap_parameter *items; /* in the arena; plain ones first, in the order they were written */
    size_t count;
};

enum { IMAP_PARAMETERS_MAX = 256 };

/* Reads ";" name "=" value … at the cursor. Segments of one value ("name*0", "name*1*") are joined when none
 * is missing, and then all percent-encoded if one was; else each is shown by itself. What makes no sense is
 * passed over; what the arena has no room for is left out. */
void imap_parameters_parse(struct mime_lex *lex, struct arena *a, struct imap_parameters *ret);

#endif
