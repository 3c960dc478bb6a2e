/* A message on its way in: envelope, MIME structure, and the body as it is handed to the store in chunks.
 *
 * Memory: the chunk buffer, the parser and the recipients, all bounded; smtp_message_memory tells, for the
 * pool that all sessions share. */
#ifndef ROLES_SMTP_MESSAGE_H
#define ROLES_SMTP_MESSAGE_H

#include "mime/parser.h"
#include "roles/common/store_client.h"

struct smtp_message {
    /* envelope */
    struct buf reverse_path; /* empty: the null reverse-path */
    struct buf recipients;   /* each a u16 length, then the address */
    uint32_t recipient_count;
    bool smtputf8;
    /* body */
    uint64_t body; /* its number in this session; 0: none under way */
    uint64_t body_bytes;
    struct buf chunk;           /* received, not yet sent */
    uint64_t credit;            /* bytes the store will still take */
    struct mime_parser *parser; /* NULL before the first byte, and once given up */
    uint8_t failed;             /* enum ipc_status: why this body can't be committed; IPC_OK: it can */
};

void smtp_message_init(struct smtp_message *m);
void smtp_message_done(struct smtp_message *m);
/* Back to a fresh transaction; memory is given back. */
void smtp_message_reset(struct smtp_message *m);
size_t smtp_message_memory(const struct smtp_message *m);

/* BRANT_ELIMIT: over the maximum of an address. */
int smtp_message_reverse_path(struct smtp_message *m, struct span mailbox);
int smtp_message_recipient(struct smtp_message *m, struct span mailbox);

/* The first recipient: for the Received field of a message that has no other. */
struct span smtp_message_first_recipient(const struct smtp_message *m);

void smtp_message_begin(struct smtp_message *m, uint64_t body);
/* The next bytes, at most SMTP_MESSAGE_PIECE_MAX and only while smtp_message_room. */
enum { SMTP_MESSAGE_PIECE_MAX = IPC_CHUNK_MAX / 2 };
bool smtp_message_room(const struct smtp_message *m); /* always, once it has failed */
void smtp_message_add(struct smtp_message *m, struct span bytes);
/* Sends what credit allows. False: some is left (all: everything has to go; otherwise only full chunks). */
bool smtp_message_flush(struct smtp_message *m, struct store_peer *peer, bool all);
/* The body is lost or refused: what still arrives is dropped, and COMMIT won't happen. */
void smtp_message_fail(struct smtp_message *m, uint8_t status);

/* Fills and asks the COMMIT. `prefix` goes in front of the body. BRANT_ESTATE: the store is away. */
struct smtp_message_trace {
    struct ipc_id commit;
    enum ipc_service service;
    bool each;               /* LMTP */
    struct span content_sum; /* submission: IPC_SUM_BYTES; else empty */
    struct span tls;
    struct ip_addr source;
    struct span protocol, helo, prefix;
};
int smtp_message_commit(struct smtp_message *m, struct store_peer *peer,
                        const struct smtp_message_trace *trace);

#endif
