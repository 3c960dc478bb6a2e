/* The parts of a message that FETCH can name (RFC 3501 6.4.5, RFC 3516), and where their bytes are. */
#ifndef IMAP_SECTION_H
#define IMAP_SECTION_H

#include "imap/lex.h"
#include "mime/structure.h"

enum imap_section_kind {
    IMAP_SECTION_BODY, /* the whole message or part */
    IMAP_SECTION_HEADER,
    IMAP_SECTION_FIELDS,     /* HEADER.FIELDS */
    IMAP_SECTION_FIELDS_NOT, /* HEADER.FIELDS.NOT */
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME
};

enum { IMAP_SECTION_PATH_MAX = 200, IMAP_SECTION_FIELDS_MAX = 1000 };

struct imap_section {
    enum imap_section_kind kind;
    const uint32_t *path; /* part numbers, outermost first; none: the message itself */
    size_t path_len;
    const struct span *fields; /* names, for the two FIELDS */
    size_t field_count;
};

/* "[" … "]". With `binary` only part numbers (RFC 3516: section-binary). False: no such thing, or the arena
 * is full. */
bool imap_section_parse(struct imap_lex *lex, bool binary, struct imap_section *ret);
/* "[1.2.HEADER.FIELDS (A B)]" */
void imap_section_put(struct buf *out, const struct imap_section *section);
size_t imap_section_put_max(const struct imap_section *section);

struct imap_extent { /* bytes of the message: from start to before end */
    uint64_t start, end;
};

/* Where the section is; for the two FIELDS the header they are taken from. *ret_part is the part whose body
 * or MIME header it is (NULL for the message itself). False: the message has no such part. */
bool imap_section_find(const struct mime_structure *s, const struct imap_section *section,
                       struct imap_extent *ret, const struct mime_part **ret_part);

/* The structure is that of a message to which octets were added in front: makes it that of all `size` octets.
 * The header of the root begins with them. False when the structure is longer than that. */
bool imap_structure_shift(struct mime_structure *s, uint64_t size);

/* ---- header fields as a stream ---- */

/* Lets the fields pass whose names are listed (or are not), and the empty line at the end. */
struct imap_fields {
    const struct imap_section *section; /* borrowed; one of the two FIELDS */
    struct buf held;                    /* the beginning of a line whose name is not known yet */
    bool at_line_start, pass, decided;
};
void imap_fields_init(struct imap_fields *f, const struct imap_section *section);
void imap_fields_done(struct imap_fields *f);
/* Appends what passes: never more than was put in so far. BRANT_ELIMIT: out is full. */
int imap_fields_feed(struct imap_fields *f, struct span in, struct buf *out);
int imap_fields_finish(struct imap_fields *f, struct buf *out);

enum { IMAP_FIELD_NAME_MAX = 256 }; /* longer names are not asked for and not found */

#endif
