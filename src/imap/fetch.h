/* What FETCH asks for (RFC 3501 6.4.5, RFC 9051 6.4.5; RFC 3516 BINARY, RFC 7162, RFC 8474, RFC 8514, RFC
 * 8970). */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include "imap/section.h"

enum imap_fetch_kind {
    IMAP_FETCH_UID,
    IMAP_FETCH_FLAGS,
    IMAP_FETCH_INTERNALDATE,
    IMAP_FETCH_SIZE,
    IMAP_FETCH_MODSEQ,
    IMAP_FETCH_EMAILID,
    IMAP_FETCH_THREADID,
    IMAP_FETCH_SAVEDATE,
    IMAP_FETCH_ENVELOPE,
    IMAP_FETCH_BODY, /* the short form of BODYSTRUCTURE */
    IMAP_FETCH_BODYSTRUCTURE,
    IMAP_FETCH_PREVIEW,
    IMAP_FETCH_SECTION, /* BODY[…] and from here on: bytes */
    IMAP_FETCH_RFC822,
    IMAP_FETCH_RFC822_HEADER,
    IMAP_FETCH_RFC822_TEXT,
    IMAP_FETCH_BINARY,
    IMAP_FETCH_BINARY_SIZE
};

enum { IMAP_FETCH_ITEMS_MAX = 256 };

struct imap_fetch_item {
    enum imap_fetch_kind kind;
    bool partial;
    uint64_t start, len; /* of the octets, when partial */
    struct imap_section section;
};

struct imap_fetch {
    struct imap_fetch_item *items; /* in the arena */
    size_t count;
    unsigned fields; /* enum imap_entry_field: what they need */
    bool seen;       /* an item without PEEK: the messages get \Seen */
    uint64_t changed_since;
    bool has_changed_since, vanished;
};

/* What stands behind "FETCH sequence-set ". BRANT_ESYNTAX; BRANT_ELIMIT: too many items, or the arena is
 * full; BRANT_EUNSUPPORTED: an item of an extension that is not offered (enum imap_extension). */
int imap_fetch_parse(struct imap_lex *lex, unsigned extensions, struct imap_fetch *ret);

/* The item's name as it stands in the response: "BODY[1]<0>". */
void imap_fetch_name_put(struct buf *out, const struct imap_fetch_item *item);
size_t imap_fetch_name_max(const struct imap_fetch_item *item);

#endif
