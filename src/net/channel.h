/* One end of a channel between two processes: whole messages over a stream socket.
 *
 * What is sent in one round of the loop leaves in one write. The sender at the other end is taken as hostile:
 * bytes that are no message, a message its role may not send to ours, or a peer that lets its answers pile up
 * end the channel with NET_CHANNEL_FAULT; the owner reports that to the supervisor and carries on. */
#ifndef NET_CHANNEL_H
#define NET_CHANNEL_H

#include "ipc/messages.h"
#include "net/loop.h"

enum {
    NET_CHANNEL_HIGH_BYTES = 1 << 20,  /* queued output from which net_channel_congested is true */
    NET_CHANNEL_LOW_BYTES = 1 << 18,   /* `drained` is called when it falls below this again */
    NET_CHANNEL_QUEUE_BYTES = 1 << 26, /* queued output at which the peer is at fault: it does not read */
};

enum net_channel_end {
    NET_CHANNEL_CLOSED, /* the peer is gone: it died, or is being replaced */
    NET_CHANNEL_FAULT   /* the peer broke the rules: report it */
};

struct net_channel;

struct net_channel_ops {
    /* A permitted message. Spans and lists in it are valid until this returns. */
    void (*message)(void *context, struct net_channel *c, const struct ipc_message *m);
    /* Congestion is over. May be NULL. */
    void (*drained)(void *context, struct net_channel *c);
    /* The last call. The owner frees the channel, here or later. text says why, for the log. */
    void (*ended)(void *context, struct net_channel *c, enum net_channel_end end, const char *text);
};

/* Takes over fd (made non-blocking). ops is borrowed for the channel's life. */
struct net_channel *net_channel_new(struct net_loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
                                    uint32_t peer_instance, const struct net_channel_ops *ops, void *context);
/* May be called from the callbacks. Queued output that the socket does not take now is lost. NULL is allowed.
 */
void net_channel_free(struct net_channel *c);

/* Queues a message; it leaves at the end of this round. BRANT_ESTATE: the channel has ended. BRANT_ELIMIT: a
 * field is over its maximum (our bug), or the queue is full, and then `ended` follows from the loop.
 * BRANT_EREFUSED: our role may not send this to the peer (our bug). */
int net_channel_send(struct net_channel *c, const struct ipc_message *m);

/* More than NET_CHANNEL_HIGH_BYTES are queued: stop producing until `drained`. */
bool net_channel_congested(const struct net_channel *c);
/* Stops and resumes reading, for a receiver that has its hands full: the peer's writes then fill the socket.
 */
void net_channel_pause(struct net_channel *c, bool paused);
/* Ends the channel with NET_CHANNEL_FAULT because of what a well-formed message said. */
void net_channel_fault(struct net_channel *c, const char *text);

enum ipc_role net_channel_peer_role(const struct net_channel *c);
uint32_t net_channel_peer_instance(const struct net_channel *c);

#endif
