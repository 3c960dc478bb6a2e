/* A cursor over the value of one structured header field (RFC 5322 3.2): white space, comments, words.
 * For the parsers of this folder. Folded values are fine: CR and LF count as white space. Every function
 * moves forward only, so a parser built on it is linear; nesting costs a counter, not stack. */
#ifndef MIME_LEX_H
#define MIME_LEX_H

#include "base/buf.h"

struct mime_lex {
    struct span in;
    size_t pos;
};

static inline struct mime_lex mime_lex_start(struct span value)
{
    return (struct mime_lex){value, 0};
}

static inline bool mime_lex_end(const struct mime_lex *lex)
{
    return lex->pos >= lex->in.len;
}

/* The byte at the cursor; 0 at the end (a NUL in the value looks the same: test mime_lex_end). */
static inline uint8_t mime_lex_peek(const struct mime_lex *lex)
{
    return lex->pos < lex->in.len ? lex->in.p[lex->pos] : 0;
}

static inline bool mime_lex_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skips white space and comments. When `comment` is not NULL the comments' text is appended to it, separated
 * by one space, without the outer parentheses, quoted pairs resolved. True when anything was skipped. */
bool mime_lex_cfws(struct mime_lex *lex, struct buf *comment);
bool mime_lex_space(struct mime_lex *lex); /* white space only */

/* Bytes up to, not including, one of the stop characters or the end. */
struct span mime_lex_until(struct mime_lex *lex, const char *stops);

/* At a double quote: appends the content of the quoted string to out (quoted pairs resolved, line ends
 * removed) and moves behind it. An unclosed one runs to the end. False when it was unclosed. */
bool mime_lex_quoted(struct mime_lex *lex, struct buf *out);

/* type "/" subtype at the start of Content-Type, or one word (Content-Disposition); what is missing is empty.
 */
void mime_lex_type(struct mime_lex *lex, struct span *ret_type, struct span *ret_subtype);

#endif
