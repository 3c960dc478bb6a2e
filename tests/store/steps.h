/* What every case does: the steps of an administrator, of an smtp and of a pop3 instance. A step that does
 * not go as it must ends the test. */
#ifndef TESTS_STEPS_H
#define TESTS_STEPS_H

#include "peer.h"

/* What came while something else was awaited. */
typedef void other_message(void *context, const struct ipc_message *m);

struct maildrop {
    uint32_t count;
    struct ipc_maildrop_row *rows;
};

/* Values. */
struct ipc_id new_id(void);
struct ip_addr address(const char *text);

/* The command line: asks, and expects this status; a refusal must say why. */
void admin(struct peer *cli, struct ipc_message m, uint8_t status);
/* A figure of `brant status`. */
uint64_t store_figure(struct peer *cli, const char *key);
struct ipc_message domain_add(const char *domain);
struct ipc_message account_add(const char *name, const char *password, uint64_t quota);
struct ipc_message alias_add(const char *alias, const char *target);
void people(struct peer *cli);

/* Any role and smtp: the status of the answer. */
uint8_t session_open(struct peer *p, struct ipc_id id, uint8_t service, const char *from);
uint8_t rcpt_check(struct peer *p, struct ipc_id session, const char *to, uint64_t size);

/* A message whose every byte follows from its number, and one that was read checked against it. */
struct span message_bytes(struct buf *out, unsigned number, size_t len);

/* smtp: a body within the credit given; the COMMIT of one. */
void send_body(struct peer *p, struct ipc_id session, uint64_t body, struct span bytes, other_message *other,
               void *context);
struct ipc_message commit_message(struct ipc_id commit, struct ipc_id session, uint64_t body, size_t bytes,
                                  const struct ipc_recipient *to, uint32_t to_count);

/* pop3: a new session, logged in or refused with this status; its maildrop. */
struct ipc_id login(struct peer *pop3, const char *user, const char *password, uint8_t status,
                    struct ipc_message *ret);
struct ipc_message maildrop_open(struct peer *pop3, struct ipc_id session);
struct maildrop maildrop_list(struct peer *pop3, struct ipc_id session);
void read_message(struct peer *pop3, struct ipc_id session, uint32_t uid, struct buf *out);
unsigned check_stored(struct span stored, struct buf *scratch);

#endif
