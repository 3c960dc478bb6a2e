/* A message on its way in: envelope and body.
 *
 * Memory: that of the body and the recipients, all bounded; smtp_message_memory tells, for the pool that all
 * sessions share. */
#ifndef ROLES_SMTP_MESSAGE_H
#define ROLES_SMTP_MESSAGE_H

#include "roles/common/body.h"

struct smtp_message {
    struct buf reverse_path; /* empty: the null reverse-path */
    struct buf recipients;   /* each a u16 length, then the address */
    uint32_t recipient_count;
    bool smtputf8;
    struct body body;
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
