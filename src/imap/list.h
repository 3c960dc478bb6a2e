/* LIST and LSUB (RFC 3501 6.3.8, RFC 9051 6.3.9; RFC 5258 LIST-EXTENDED, RFC 5819 LIST-STATUS, RFC 6154
 * SPECIAL-USE): what the client asks for, and which lines a list of mailboxes makes.
 *
 * Mailboxes come in the order of imap_name_cmp and are held only while something beneath them may follow: one
 * name and a few bytes per level. A level without a mailbox of its own is shown when a pattern fits it and
 * not all that lies beneath it is shown itself; so is, with RECURSIVEMATCH and in LSUB, a mailbox that is not
 * chosen but has chosen ones beneath it. A line comes when all that lies beneath its mailbox is known. */
#ifndef IMAP_LIST_H
#define IMAP_LIST_H

#include "imap/name.h"
#include "imap/pattern.h"
#include "imap/server.h"

enum imap_list_option {
    IMAP_LIST_SUBSCRIBED = 1,
    IMAP_LIST_REMOTE = 2, /* nothing is remote here */
    IMAP_LIST_RECURSIVE = 4,
    IMAP_LIST_SPECIAL_USE = 8,
    IMAP_LIST_CHILDREN = 16,
    IMAP_LIST_STATUS = 32
};

enum { IMAP_LIST_PATTERNS_MAX = 32, IMAP_LIST_LINE_MAX = 2 * IMAP_NAME_TEXT_MAX + 1024 };

struct imap_list {
    bool lsub;
    bool extended;   /* in the form of RFC 5258 */
    bool delimiter;  /* LIST "" "": only the delimiter is asked for */
    unsigned select; /* enum imap_list_option */
    unsigned returns;
    unsigned status;               /* RETURN (STATUS): enum imap_status_item */
    struct imap_pattern *patterns; /* in the arena */
    size_t pattern_count;
    bool utf8;
};

/* What stands behind "LIST " or "LSUB ". BRANT_ESYNTAX; BRANT_ELIMIT: too many patterns, or the arena is
 * full.
 */
int imap_list_parse(struct imap_lex *lex, bool lsub, bool utf8, unsigned extensions, struct imap_list *ret);

/* "(" status-att … ")" (RFC 3501 6.3.10). False: something unknown, or nothing. */
bool imap_status_items_parse(struct imap_lex *lex, unsigned extensions, unsigned *ret);
/* "* STATUS name (…)" CRLF. appendlimit is the engine's. */
void imap_status_put(struct buf *out, struct span name, unsigned items, const struct imap_status *status,
                     uint64_t appendlimit, bool utf8);

struct imap_list_level {
    size_t end; /* length of its name */
    bool exists, subscribed;
    bool children; /* something beneath it exists */
    bool hidden;   /* something beneath it is chosen and not shown */
    unsigned uses;
    struct imap_status status;
};

struct imap_list_walk {
    const struct imap_list *list; /* borrowed */
    struct buf name;              /* of the last mailbox */
    struct imap_list_level levels[IMAP_NAME_LEVELS_MAX];
    size_t depth;
    bool box_due, end;
    struct imap_mailbox box; /* the next one; its name is borrowed */
};

struct imap_list_line {
    struct span name; /* valid until the next call */
    struct imap_list_level level;
    bool childinfo;
};

void imap_list_walk_init(struct imap_list_walk *w, const struct imap_list *list);
void imap_list_walk_done(struct imap_list_walk *w);
/* The next mailbox, when imap_list_walk_next has answered false. Its name has to stay where it is until then
 * again. One that is out of order, or no name at all, is passed over. */
void imap_list_walk_feed(struct imap_list_walk *w, const struct imap_mailbox *box);
void imap_list_walk_finish(struct imap_list_walk *w); /* there are no more */
/* The next line; false: nothing before the next mailbox. */
bool imap_list_walk_next(struct imap_list_walk *w, struct imap_list_line *ret);

/* "* LIST (…) "/" name" CRLF */
void imap_list_line_put(struct buf *out, const struct imap_list *list, const struct imap_list_line *line);

#endif
