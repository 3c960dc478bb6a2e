/* SEARCH (RFC 3501 6.4.4, RFC 9051 6.4.4, with ESEARCH, SEARCHRES, WITHIN, CONDSTORE, OBJECTID, SAVEDATE):
 * the command made into a small program, and its evaluation in stages.
 *
 * The program is a list of keys in postfix order with a value each: yes, no, or not known yet. A message is
 * looked at in the cheapest way first:
 *   1. imap_search_entry      flags, dates, sizes, numbers
 *   2. imap_search_structure  the values kept of its header: From, To, Subject, Date …
 *   3. imap_search_field      the fields of its headers, one at a time
 *   4. imap_search_text       the texts of its parts, as a stream
 * and it ends as soon as imap_search_value knows. Nothing is recursive; the number of keys, of nested lists
 * and of texts to look for is bounded. Texts compare folded (mime/fold.h). */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include "imap/lex.h"
#include "imap/match.h"
#include "imap/server.h"
#include "imap/view.h"
#include "mime/structure.h"

enum imap_search_op {
    IMAP_SEARCH_ALL,
    IMAP_SEARCH_NONE,
    IMAP_SEARCH_SET,  /* UIDs in set */
    IMAP_SEARCH_FLAG, /* number is set */
    IMAP_SEARCH_NO_FLAG,
    IMAP_SEARCH_KEYWORD, /* name */
    IMAP_SEARCH_NO_KEYWORD,
    IMAP_SEARCH_RECENT,
    IMAP_SEARCH_OLD,
    IMAP_SEARCH_NEW,
    IMAP_SEARCH_BEFORE, /* INTERNALDATE, day < number */
    IMAP_SEARCH_ON,
    IMAP_SEARCH_SINCE,
    IMAP_SEARCH_SENTBEFORE,
    IMAP_SEARCH_SENTON,
    IMAP_SEARCH_SENTSINCE,
    IMAP_SEARCH_SAVEDBEFORE,
    IMAP_SEARCH_SAVEDON,
    IMAP_SEARCH_SAVEDSINCE,
    IMAP_SEARCH_LARGER,
    IMAP_SEARCH_SMALLER,
    IMAP_SEARCH_OLDER, /* seconds */
    IMAP_SEARCH_YOUNGER,
    IMAP_SEARCH_MODSEQ,
    IMAP_SEARCH_EMAILID, /* number */
    IMAP_SEARCH_THREADID,
    IMAP_SEARCH_HEADER,  /* name, needle */
    IMAP_SEARCH_SUBJECT, /* the last three look at the envelope: name is the field's */
    IMAP_SEARCH_ADDRESS,
    IMAP_SEARCH_BODY,
    IMAP_SEARCH_TEXT,
    IMAP_SEARCH_NOT,
    IMAP_SEARCH_OR,
    IMAP_SEARCH_AND
};

struct imap_search_key {
    enum imap_search_op op;
    bool always; /* no message can be found for which this is not true: not beneath OR or NOT */
    uint64_t number;
    int64_t day;
    struct span name;
    enum mime_field_id field; /* HEADER, SUBJECT, ADDRESS: which kept value this is, or OTHER */
    struct imap_needle needle;
    struct imap_seq_set said; /* SET: as it was written … */
    bool said_uid;
    struct imap_set set; /* … and as UIDs, by imap_search_resolve */
};

enum imap_search_return {
    IMAP_RETURN_MIN = 1,
    IMAP_RETURN_MAX = 2,
    IMAP_RETURN_ALL = 4,
    IMAP_RETURN_COUNT = 8,
    IMAP_RETURN_SAVE = 16
};

struct imap_search {
    struct imap_search_key *keys; /* postfix; in the arena */
    size_t count;
    unsigned returns;     /* enum imap_search_return; 0: the old response */
    bool modseq;          /* MODSEQ was asked about: the answer tells the highest (RFC 7162 3.1.5) */
    unsigned fields;      /* enum imap_entry_field: what stage 1 needs */
    bool structure, body; /* stages 2 and 3, 4 may be needed */
    uint64_t flags_all, flags_none; /* of every message that can be found (system flags) */
};

enum { IMAP_SEARCH_DEPTH_MAX = 100, IMAP_SEARCH_TEXTS_MAX = 64, IMAP_SEARCH_STRING_MAX = 8192 };

enum imap_search_error {
    IMAP_SEARCH_OK,
    IMAP_SEARCH_SYNTAX,
    IMAP_SEARCH_LIMIT,   /* too many keys, lists in lists, or strings */
    IMAP_SEARCH_CHARSET, /* nobody knows it: NO [BADCHARSET] */
};

/* What stands behind "SEARCH ". With `utf8` (ENABLE UTF8=ACCEPT) a charset must not be named (RFC 6855 3).
 * The result lives in the cursor's arena and must be freed with imap_search_done. */
enum imap_search_error imap_search_parse(struct imap_lex *lex, size_t keys_max, bool utf8,
                                         struct imap_search *ret);
void imap_search_done(struct imap_search *search);

/* Turns sequence sets into UIDs (`saved`: what "$" stands for), and puts into *candidates (initialised by the
 * caller) UIDs outside of which no message can be found. BRANT_ELIMIT: the candidates have no room. */
int imap_search_resolve(struct imap_search *search, const struct imap_view *view,
                        const struct imap_set *saved, struct imap_set *candidates);

enum imap_truth { IMAP_UNKNOWN, IMAP_NO, IMAP_YES };

struct imap_search_context {
    const struct imap_keywords *keywords;
    const struct imap_set *recent; /* UIDs */
    int64_t now_ms;
};

/* truths: one per key, the caller's. Each stage fills in what it can tell. */
void imap_search_entry(const struct imap_search *search, const struct imap_search_context *context,
                       const struct imap_entry *entry, uint8_t *truths);
/* root: of the message. Keys about the envelope are decided, unless the values were clipped. */
void imap_search_structure(const struct imap_search *search, const struct mime_part *root, uint8_t *truths);
enum imap_truth imap_search_value(const struct imap_search *search, const uint8_t *truths, uint8_t *scratch);

/* A field of a header, its value raw. envelope: it is the message's own; else of one inside it or of a part,
 * where only TEXT (and BODY, inside) look. */
enum imap_search_where { IMAP_WHERE_MESSAGE, IMAP_WHERE_INSIDE, IMAP_WHERE_PART };
void imap_search_field(const struct imap_search *search, enum imap_search_where where, struct span name,
                       struct span value, uint8_t *truths);
/* The message's own header is through: what was not found in it is not there. */
void imap_search_header_end(const struct imap_search *search, uint8_t *truths);
/* Whether a key that looks at texts is still undecided. */
bool imap_search_wants_text(const struct imap_search *search, const uint8_t *truths);

/* The text of a part. matches: one per key; zeroed where a text begins. folded: the next piece. */
void imap_search_text(const struct imap_search *search, struct span folded, struct imap_match *matches,
                      uint8_t *truths);
/* Everything was looked at. */
void imap_search_end(const struct imap_search *search, uint8_t *truths);

#endif
