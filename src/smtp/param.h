/* ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2), and xtext (RFC 3461 4). */
#ifndef SMTP_PARAM_H
#define SMTP_PARAM_H

#include "base/buf.h"

struct smtp_param {
    struct span keyword; /* compare without case */
    struct span value;   /* empty when there is none */
    bool has_value;
};

/* Takes the next parameter from the front of *text, which starts with the space before it.
 * BRANT_OK; BRANT_ENOTFOUND at the end; BRANT_ESYNTAX (then *text is unchanged). */
int smtp_param_next(struct span *text, struct smtp_param *ret);

/* Every parameter of the text is well formed and no keyword comes twice; at most 32 of them.
 * BRANT_OK, BRANT_ESYNTAX (a repeated keyword too), BRANT_ELIMIT. */
int smtp_param_check(struct span text);

/* Appends the decoded text. BRANT_ESYNTAX: not xtext, or it decodes to something else than printable ASCII
 * (RFC 3461 4.4 wants that of ENVID, and nobody needs a hidden NUL). BRANT_ELIMIT: the buffer is full.
 * The buffer is unchanged on failure. */
int smtp_xtext_decode(struct span text, struct buf *out);

#endif
