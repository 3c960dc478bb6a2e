/* Values with parameters: Content-Type, Content-Disposition (RFC 2045 5.1, RFC 2183, RFC 2231).
 *
 * Lenient where mail in the wild is wrong and only one reading makes sense: a missing semicolon, spaces in an
 * unquoted value, encoded words (RFC 2047) inside a value. Continuations ("name*0", "name*1*") are joined in
 * the order of their numbers, gaps ignored, percent-encoding and charset resolved. Each name appears once in
 * the result: the RFC 2231 form wins over the plain one, then the first; so every reader sees the same file
 * name. */
#ifndef MIME_PARAM_H
#define MIME_PARAM_H

#include "base/arena.h"

enum { MIME_PARAMS_MAX = 256 }; /* segments of continuations included; the rest is dropped */

struct mime_param {
    struct span name;     /* as written, without the asterisks */
    struct span value;    /* decoded, UTF-8 with U+FFFD for what is not */
    struct span language; /* RFC 2231 language, or empty */
    bool extended;        /* it came in an RFC 2231 form */
};

struct mime_content {
    struct span type;    /* "text"; for a disposition "attachment"; as written, empty when there is none */
    struct span subtype; /* "plain"; empty when there is none */
    struct mime_param *params;
    size_t count;
    bool truncated; /* more than MIME_PARAMS_MAX */
};

/* Parses a raw (folded or unfolded) field value. Texts come from the arena or point into `raw`.
 * BRANT_ELIMIT: the arena is full. Anything else has some result. */
int mime_content_parse(struct arena *a, struct span raw, struct mime_content *ret);

/* The value of a parameter (name in any case), or an empty span with p NULL. */
struct span mime_content_param(const struct mime_content *c, const char *name);

#endif
