/* The structure of a message: what is known about its parts without its bytes.
 *
 * The parser (mime/parser.h) makes it once, while the bytes stream in; mime_structure_encode turns it into a
 * compact versioned blob that is kept beside the message, and mime_structure_decode reads it back, so that
 * questions such as IMAP's ENVELOPE and BODYSTRUCTURE (RFC 3501 7.4.2) are answered without the message.
 *
 * Parts stand in pre-order: a part is followed by its descendants; `depth` tells the tree. The root is part
 * 0. A message/rfc822 (or message/global) part has one child, the root of the message inside it. Offsets are
 * bytes from the start of the message. Header values are raw: unfolded, undecoded; the parsers of address.h,
 * date.h, param.h and encoded_word.h read them when somebody asks. */
#ifndef MIME_STRUCTURE_H
#define MIME_STRUCTURE_H

#include "base/arena.h"
#include "base/buf.h"

/* The header fields whose values are kept. The numbers are on disk: never renumber. */
enum mime_field_id {
    MIME_FIELD_OTHER = 0,
    /* every part */
    MIME_FIELD_CONTENT_TYPE = 1,
    MIME_FIELD_CONTENT_ENCODING = 2, /* Content-Transfer-Encoding */
    MIME_FIELD_CONTENT_DISPOSITION = 3,
    MIME_FIELD_CONTENT_ID = 4,
    MIME_FIELD_CONTENT_DESCRIPTION = 5,
    MIME_FIELD_CONTENT_LANGUAGE = 6,
    MIME_FIELD_CONTENT_LOCATION = 7,
    MIME_FIELD_CONTENT_MD5 = 8,
    /* roots of messages only: the envelope */
    MIME_FIELD_DATE = 9,
    MIME_FIELD_SUBJECT = 10,
    MIME_FIELD_FROM = 11,
    MIME_FIELD_SENDER = 12,
    MIME_FIELD_REPLY_TO = 13,
    MIME_FIELD_TO = 14,
    MIME_FIELD_CC = 15,
    MIME_FIELD_BCC = 16,
    MIME_FIELD_IN_REPLY_TO = 17,
    MIME_FIELD_MESSAGE_ID = 18,
    MIME_FIELD_COUNT
};

/* Which of them a header field name means; MIME_FIELD_OTHER for the rest. */
enum mime_field_id mime_field_identify(struct span name);

enum mime_kind {
    MIME_KIND_LEAF = 0,      /* its body is bytes */
    MIME_KIND_MULTIPART = 1, /* its body is parts between boundaries */
    MIME_KIND_MESSAGE = 2    /* its body is one message, the only child */
};

enum mime_encoding {
    MIME_ENCODING_7BIT = 0, /* also when nothing is said (RFC 2045 6.1) */
    MIME_ENCODING_8BIT = 1,
    MIME_ENCODING_BINARY = 2,
    MIME_ENCODING_QUOTED_PRINTABLE = 3,
    MIME_ENCODING_BASE64 = 4,
    MIME_ENCODING_UNKNOWN = 5
};

/* The encoding a Content-Transfer-Encoding value names; comments are allowed, case does not matter. */
enum mime_encoding mime_encoding_parse(struct span value);
const char *mime_encoding_name(enum mime_encoding e);

enum mime_part_flags {
    MIME_PART_MESSAGE_ROOT =
        1, /* its header is that of a message: the root, or the child of a message part */
    MIME_PART_DIGEST_CHILD = 2, /* RFC 2046 5.1.5: without Content-Type it is message/rfc822 */
    MIME_PART_8BIT = 4,         /* the body (of a leaf) holds bytes above 0x7f */
    MIME_PART_NUL = 8,          /* the body (of a leaf) holds NUL bytes */
    MIME_PART_CLIPPED = 16      /* some values were cut short or dropped */
};

struct mime_value {
    enum mime_field_id id;
    struct span text; /* raw, unfolded, trimmed */
    struct mime_value *next;
};

struct mime_part {
    uint16_t depth; /* 0 for the root */
    uint8_t kind;   /* enum mime_kind */
    uint8_t encoding;
    uint8_t flags;
    uint32_t parent;       /* index; the root is its own parent */
    uint64_t header_start; /* first byte of the header */
    uint64_t body_start;   /* first byte after the empty line; header size = body_start - header_start */
    uint64_t body_end;     /* after the last byte of the body; the line end before a boundary is not body */
    uint32_t header_lines; /* line ends between header_start and body_start */
    uint32_t body_lines;   /* line ends between body_start and body_end */
    struct mime_value *values; /* in the order of the header; more than one To, Cc… may stand here */
};

struct mime_structure {
    uint64_t size;           /* bytes of the whole message */
    uint32_t lines;          /* line ends in it */
    uint32_t count;          /* parts listed */
    struct mime_part *parts; /* owned by whoever made the structure */
    bool truncated;          /* parts or values are missing: the blob had no room, or a limit was reached */
};

/* The first value of a kind in a part, or an empty span with p NULL. */
struct span mime_part_value(const struct mime_part *part, enum mime_field_id id);

/* Type and subtype, with the defaults of RFC 2045 5.2 and RFC 2046 5.1.5 when the part does not say or says
 * something unreadable. The spans point into the part's values or to constants. */
bool mime_part_type(const struct mime_part *part, struct span *ret_type, struct span *ret_subtype);

enum { MIME_STRUCTURE_VERSION = 1, MIME_STRUCTURE_MIN = 16384, MIME_STRUCTURE_PARTS_MAX = 10000 };

/* Appends the blob, at most `max` bytes (at least MIME_STRUCTURE_MIN). When the whole does not fit, values
 * are clipped and the last parts left out, and the blob says so. BRANT_ELIMIT only when `out` itself is full.
 */
int mime_structure_encode(const struct mime_structure *s, size_t max, struct buf *out);

/* Reads a blob; parts come from the arena, texts point into the blob. Everything is checked: offsets inside
 * the message and inside the parent, depths that make a tree.
 * BRANT_ESYNTAX: not a valid blob. BRANT_EUNSUPPORTED: another version. BRANT_ELIMIT: the arena is full. */
int mime_structure_decode(struct span blob, struct arena *a, struct mime_structure *ret);

#endif
