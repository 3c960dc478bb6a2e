/* Flags of messages and attributes of mailboxes.
 *
 * A message's flags are one number: the five system flags (RFC 3501 2.3.2), and from bit IMAP_KEYWORD_SHIFT
 * on the keywords, each the place of its name in the mailbox's table. Tables only grow at the end, so a
 * number once given to a name stays its own. \Recent is no flag of the message but of the session. */
#ifndef IMAP_FLAG_H
#define IMAP_FLAG_H

#include "imap/lex.h"

enum imap_flag {
    IMAP_FLAG_SEEN = 1,
    IMAP_FLAG_ANSWERED = 2,
    IMAP_FLAG_FLAGGED = 4,
    IMAP_FLAG_DELETED = 8,
    IMAP_FLAG_DRAFT = 16,
    IMAP_FLAGS_SYSTEM = 31
};

enum {
    IMAP_KEYWORD_SHIFT = 8,
    IMAP_KEYWORDS_MAX = 56,
    IMAP_KEYWORD_BYTES_MAX = 64,
    IMAP_FLAGS_TEXT_MAX = 64 + IMAP_KEYWORDS_MAX * (IMAP_KEYWORD_BYTES_MAX + 1)
};

/* The names of a mailbox's keywords, as they were first written; they compare without regard to case. */
struct imap_keywords {
    struct span names[IMAP_KEYWORDS_MAX]; /* borrowed */
    size_t count;
};

/* A list of flags as a client wrote it. */
struct imap_flag_list {
    uint64_t flags;        /* enum imap_flag */
    struct span *keywords; /* each once, in the arena */
    size_t keyword_count;
};

/* "(" flags ")" in parentheses; or, where RFC 3501 9 allows it (STORE), flags without them. \Recent, unknown
 * flags with a backslash and keywords that are too long are refused, and more than IMAP_KEYWORDS_MAX names.
 */
bool imap_flag_list_parse(struct imap_lex *lex, bool bare, struct imap_flag_list *ret);

/* The keyword's bit; 0: the table has no such name. */
uint64_t imap_keyword_bit(const struct imap_keywords *k, struct span name);

/* "(\Seen $Forwarded)". Bits without a name are left out. */
void imap_flags_put(struct buf *out, uint64_t flags, bool recent, const struct imap_keywords *k);

/* The special use of a mailbox (RFC 6154 2, RFC 8457), a sum. */
enum imap_special_use {
    IMAP_USE_ALL = 1,
    IMAP_USE_ARCHIVE = 2,
    IMAP_USE_DRAFTS = 4,
    IMAP_USE_FLAGGED = 8,
    IMAP_USE_JUNK = 16,
    IMAP_USE_SENT = 32,
    IMAP_USE_TRASH = 64,
    IMAP_USE_IMPORTANT = 128
};
enum { IMAP_USES_TEXT_MAX = 80 };
unsigned imap_special_use_parse(struct span name); /* with its backslash; 0: there is no such use */
/* Appends them with a space before each. */
void imap_special_uses_put(struct buf *out, unsigned uses);

#endif
