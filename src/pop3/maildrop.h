/* The maildrop a POP3 session sees: the messages that were there when it was opened, in the order of their
 * UIDs, and which of them the session has marked as deleted (RFC 1939 sections 4 and 5).
 *
 * It costs 8 bytes per message, and one bit each once something is deleted. Messages are counted from 1, as
 * POP3 does. Nothing here touches the store: marks are only a wish until the glue carries them out. */
#ifndef POP3_MAILDROP_H
#define POP3_MAILDROP_H

#include "base/span.h"

struct pop3_message {
    uint32_t uid;        /* ascending, never 0 */
    uint32_t size_bytes; /* exact octets as they are stored, line ends counted as CRLF */
};

struct pop3_maildrop {
    struct pop3_message *messages; /* owned */
    uint64_t *deleted;             /* owned; one bit per message, NULL until the first mark */
    uint32_t uidvalidity;
    uint32_t capacity, count;    /* messages announced, messages added */
    uint32_t deleted_count;      /* marked */
    uint64_t size_bytes;         /* of all */
    uint64_t deleted_size_bytes; /* of the marked ones */
};

/* Room for exactly `capacity` messages. */
void pop3_maildrop_init(struct pop3_maildrop *m, uint32_t uidvalidity, uint32_t capacity);
void pop3_maildrop_done(struct pop3_maildrop *m);

/* Appends one. BRANT_ESYNTAX: UIDs do not ascend from 1. BRANT_ELIMIT: more than were announced. */
int pop3_maildrop_add(struct pop3_maildrop *m, uint32_t uid, uint32_t size_bytes);

/* The message with that number, or NULL when there is none or it is marked as deleted. */
const struct pop3_message *pop3_maildrop_get(const struct pop3_maildrop *m, uint64_t number);
/* BRANT_ENOTFOUND as pop3_maildrop_get. */
int pop3_maildrop_delete(struct pop3_maildrop *m, uint64_t number);
void pop3_maildrop_undelete(struct pop3_maildrop *m); /* removes every mark */

/* The numbers of the messages that are not marked (marked ones with `deleted`), ascending: the first number
 * after `after`, or 0 at the end. Start with 0. */
uint32_t pop3_maildrop_next(const struct pop3_maildrop *m, uint32_t after, bool deleted);

#endif
