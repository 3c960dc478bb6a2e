/* A cursor over one complete command: the tokens of RFC 3501 9 and RFC 9051 9.
 *
 * The text is what imap/frame.h hands out: lines without their last CRLF, literals in place ("{5}" CRLF and
 * then the bytes). Every function returns true and moves behind what it took, or returns false and leaves the
 * cursor where it was; so a parser tries what may stand here and gives up with one BAD when nothing fits.
 * Results point into the text, or into the arena where quoting had to be undone.
 *
 * 8-bit bytes may stand in quoted strings (when they are UTF-8) and in literals, never in atoms. NUL stands
 * nowhere but in literal8. */
#ifndef IMAP_LEX_H
#define IMAP_LEX_H

#include "base/arena.h"
#include "imap/set.h"

struct imap_lex {
    struct span in;
    size_t pos;
    struct arena *arena; /* borrowed */
};

static inline struct imap_lex imap_lex_start(struct span text, struct arena *arena)
{
    return (struct imap_lex){text, 0, arena};
}

/* Nothing is left; spaces at the end of a command are forgiven. */
bool imap_lex_end(const struct imap_lex *lex);
/* The byte at the cursor, or 0 at the end. */
uint8_t imap_lex_peek(const struct imap_lex *lex);
bool imap_lex_byte(struct imap_lex *lex, char c);
bool imap_lex_space(struct imap_lex *lex);                  /* exactly one SP */
bool imap_lex_word(struct imap_lex *lex, const char *word); /* this atom, in any case, and no longer one */

bool imap_lex_atom(struct imap_lex *lex, struct span *ret);
bool imap_lex_tag(struct imap_lex *lex, struct span *ret);
bool imap_lex_string(struct imap_lex *lex, struct span *ret);       /* quoted / literal */
bool imap_lex_astring(struct imap_lex *lex, struct span *ret);      /* 1*ASTRING-CHAR / string */
bool imap_lex_nstring(struct imap_lex *lex, struct span *ret);      /* string / NIL: p is NULL then */
bool imap_lex_list_mailbox(struct imap_lex *lex, struct span *ret); /* 1*list-char / string */
bool imap_lex_literal8(struct imap_lex *lex, struct span *ret);     /* "~{" … */
bool imap_lex_number(struct imap_lex *lex, uint64_t max, uint64_t *ret);
/* A flag, with its backslash if it has one; flag keywords are atoms. */
bool imap_lex_flag(struct imap_lex *lex, struct span *ret);

/* A sequence set as it was written (RFC 3501 9: sequence-set; RFC 5182: "$"). */
struct imap_seq_set {
    struct imap_range *ranges; /* in the order given; 0 stands for "*" */
    size_t count;
    bool saved; /* "$": the result that SEARCH saved; no ranges then */
};
/* False also when the arena is full. */
bool imap_lex_seq_set(struct imap_lex *lex, struct imap_seq_set *ret);
/* The known-uids of RFC 7162 and what else may not hold "*". */
bool imap_lex_uid_set(struct imap_lex *lex, struct imap_seq_set *ret);

bool imap_is_atom_char(uint8_t c);

#endif
