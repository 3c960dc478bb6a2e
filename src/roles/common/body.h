/* The body of a message on its way to the store: its MIME structure, and its bytes in chunks as credit allows
 * (BODY_CHUNK, BODY_CREDIT).
 *
 *     body_begin(&b, number)
 *     body_add while body_room, body_flush(&b, peer, false) behind it; body_credit when the store gives more
 *     body_flush(&b, peer, true) until all has gone, then body_finish(&b, &structure, &message_id)
 *
 * Memory: the chunk buffer and the parser, both bounded; body_memory tells. */
#ifndef ROLES_BODY_H
#define ROLES_BODY_H

#include "mime/parser.h"
#include "roles/common/store_client.h"

enum { BODY_PIECE_MAX = IPC_CHUNK_MAX / 2 };

struct body {
    uint64_t number;            /* in this session; 0: none is under way */
    uint64_t bytes;             /* so far */
    struct buf chunk;           /* received, not yet sent */
    uint64_t credit;            /* bytes the store will still take */
    struct mime_parser *parser; /* NULL before the first byte, and once given up */
    uint8_t failed;             /* enum ipc_status: why it can't be committed; IPC_OK: it can */
};

void body_init(struct body *b);
void body_done(struct body *b); /* gives back its memory */
size_t body_memory(const struct body *b);

void body_begin(struct body *b, uint64_t number);
/* The next bytes, at most BODY_PIECE_MAX and only while body_room. */
bool body_room(const struct body *b); /* always, once it has failed */
void body_add(struct body *b, struct span bytes);
/* Sends what credit allows. False: some is left (all: everything has to go; otherwise only full chunks). */
bool body_flush(struct body *b, struct store_peer *peer, bool all);
/* It is lost or refused: what still arrives is dropped. */
void body_fail(struct body *b, uint8_t status);
/* Tells the store that it won't be used; not of one that has failed. */
void body_drop(const struct body *b, struct store_peer *peer);

/* The end of the message: appends the structure, or nothing where it is too large, to a buffer of
 * IPC_STRUCTURE_MAX. The Message-ID is valid until body_done. Not of one that has failed. */
void body_finish(struct body *b, struct buf *structure, struct span *ret_message_id);

#endif
