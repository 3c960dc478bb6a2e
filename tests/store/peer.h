/* A peer of a role for tests: blocking, one message at a time, and able to send what no honest peer would.
 * Every failure ends the test program with a message. */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include "ipc/frame.h"
#include "ipc/messages.h"

struct peer {
    int fd;
    struct ipc_reader reader;
    struct arena arena; /* lists of the last message */
    uint32_t last_tag;
};

/* Both descriptors of a fresh pair: one is the peer's, the other is returned to be handed out. */
int peer_init(struct peer *p);
void peer_init_fd(struct peer *p, int fd); /* takes over the descriptor */
void peer_done(struct peer *p);

void peer_send(struct peer *p, const struct ipc_message *m);
void peer_send_bytes(struct peer *p, struct span bytes); /* raw; a closed peer is no failure */
/* Gives the message a fresh tag, sends it, and answers the tag. */
uint32_t peer_ask(struct peer *p, struct ipc_message *m);

/* The next message, valid until the next call. False: the peer closed. Waits at most 20 seconds. */
bool peer_receive(struct peer *p, struct ipc_message *ret);
/* The next message, which must be of this type. */
void peer_expect(struct peer *p, uint16_t type, struct ipc_message *ret);
/* Asks and expects the answer with its tag, skipping BODY_CREDIT and PROGRESS. */
void peer_call(struct peer *p, struct ipc_message *m, struct ipc_message *ret);
/* The peer must close now; what it still sends is skipped. */
void peer_expect_closed(struct peer *p);

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(condition) \
    ((condition) ? (void)0 : fail("%s:%d: %s: not so: %s", __FILE__, __LINE__, __func__, #condition))

#endif
