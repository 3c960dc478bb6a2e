/* A streaming parser for the structure of an Internet message (RFC 5322, RFC 2045, RFC 2046).
 *
 *     p = mime_parser_new(NULL);
 *     mime_parser_feed(p, bytes);      as they arrive, in any portions: the result does not depend on them
 *     mime_parser_finish(p);
 *     s = mime_parser_structure(p);    parts, kept header values
 *     mime_parser_fields(p, &n);       the fields of the root header, by offset
 *     mime_parser_problems(p, &n);     what was found wrong
 *     mime_parser_free(p);
 *
 * Lines end with CRLF; a lone LF also ends a line and is reported. Nothing is refused: whatever the bytes
 * are, there is a structure and a list of problems. Time is linear in the input, memory is bounded by the
 * limits: beyond them parts become leaves, parts and values are left out, and a problem says so. No
 * recursion. */
#ifndef MIME_PARSER_H
#define MIME_PARSER_H

#include "mime/structure.h"

/* A limit of 0 means the default. */
struct mime_limits {
    uint32_t depth_max;        /* default 100, at most 200: deeper composite parts are leaves */
    uint32_t parts_max;        /* default and at most MIME_STRUCTURE_PARTS_MAX */
    uint32_t fields_max;       /* default 2,000: root fields listed */
    size_t field_bytes_max;    /* default 65,536: bytes of one header field that are looked at */
    size_t memory_bytes_max;   /* default 524,288: kept header values and boundaries, together */
    size_t boundary_bytes_max; /* default 8,192; RFC 2046 allows 70 */
};

struct mime_field { /* one field of the root header; offsets are in the message */
    uint64_t start; /* of the name */
    uint64_t end;   /* after the last line end of the field */
    uint32_t name_len;
    uint32_t value; /* from start to the byte behind the colon */
};

enum mime_problem_code {
    MIME_PROBLEM_BARE_LF,             /* a line end without CR */
    MIME_PROBLEM_BARE_CR,             /* a CR without LF; it is data */
    MIME_PROBLEM_NUL,                 /* RFC 5322 4: not allowed any more */
    MIME_PROBLEM_LONG_LINE,           /* over 998 bytes (RFC 5322 2.1.1) */
    MIME_PROBLEM_HEADER_UTF8,         /* raw UTF-8 in a header: right only where RFC 6532 was agreed */
    MIME_PROBLEM_HEADER_8BIT,         /* other bytes above 0x7f in a header */
    MIME_PROBLEM_HEADER_BAD_LINE,     /* neither a field nor a continuation */
    MIME_PROBLEM_HEADER_UNTERMINATED, /* a boundary where the empty line was due */
    MIME_PROBLEM_FIELD_TRUNCATED,     /* longer than field_bytes_max */
    MIME_PROBLEM_TOO_MANY_FIELDS,
    MIME_PROBLEM_DUPLICATE_FIELD, /* RFC 5322 3.6 allows one */
    MIME_PROBLEM_MISSING_FROM,
    MIME_PROBLEM_MISSING_DATE,
    MIME_PROBLEM_BODY_8BIT,         /* bytes above 0x7f in a part that is 7bit */
    MIME_PROBLEM_BAD_CONTENT_TYPE,  /* unreadable; the default is used */
    MIME_PROBLEM_BAD_ENCODING,      /* unknown Content-Transfer-Encoding; the body is opaque */
    MIME_PROBLEM_ENCODED_COMPOSITE, /* RFC 2045 6.4: multipart or message, but quoted-printable or base64 */
    MIME_PROBLEM_MISSING_BOUNDARY,  /* multipart without a usable boundary parameter: a leaf */
    MIME_PROBLEM_LONG_BOUNDARY,     /* over 70 characters (RFC 2046 5.1.1) */
    MIME_PROBLEM_BOUNDARY_TRAILING, /* text behind a boundary on its line */
    MIME_PROBLEM_UNTERMINATED_MULTIPART,
    MIME_PROBLEM_EMPTY_MULTIPART,
    MIME_PROBLEM_TOO_DEEP,
    MIME_PROBLEM_TOO_MANY_PARTS,
    MIME_PROBLEM_VALUES_DROPPED, /* memory_bytes_max reached, or too many values in a part */
    MIME_PROBLEM_BAD_BASE64,     /* found by mime/explain.h when it decodes bodies, not by the parser */
    MIME_PROBLEM_BAD_QUOTED_PRINTABLE,
    MIME_PROBLEM_COUNT
};

struct mime_problem {
    enum mime_problem_code code;
    uint32_t part;   /* index of the part where it was found */
    uint64_t offset; /* in the message */
};

const char *mime_problem_name(enum mime_problem_code code); /* stable, e.g. "bare-lf" */
const char *mime_problem_text(enum mime_problem_code code); /* for people */

struct mime_parser;

struct mime_parser *mime_parser_new(const struct mime_limits *limits); /* NULL: the defaults */
void mime_parser_free(struct mime_parser *p);                          /* NULL is fine */

void mime_parser_feed(struct mime_parser *p, struct span bytes);
void mime_parser_finish(struct mime_parser *p); /* end of the message; no feed after it */

/* Everything the parser holds now. */
size_t mime_parser_memory_bytes(const struct mime_parser *p);

/* True once the root header is complete; ret_end is the offset of the body (or of the end, when there is
 * none). The fields are complete from then on, so a caller may collect raw header bytes until this is true.
 */
bool mime_parser_header_done(const struct mime_parser *p, uint64_t *ret_end);
/* Fields of the root header, in order. */
const struct mime_field *mime_parser_fields(const struct mime_parser *p, size_t *ret_count);

/* After finish; valid until the parser is freed. */
const struct mime_structure *mime_parser_structure(const struct mime_parser *p);
/* The first 8 of each code, in the order found. */
const struct mime_problem *mime_parser_problems(const struct mime_parser *p, size_t *ret_count);
/* How often a problem was seen, those not listed included. */
uint64_t mime_parser_problem_count(const struct mime_parser *p, enum mime_problem_code code);

#endif
