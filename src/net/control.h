/* Control channels: SOCK_SEQPACKET, one message per packet, with at most one descriptor beside it. Between
 * the supervisor and each role, and between the supervisor and the command line. The receiver takes the
 * sender as hostile. */
#ifndef NET_CONTROL_H
#define NET_CONTROL_H

#include "ipc/messages.h"

enum { NET_CONTROL_PACKET_MAX = 160 * 1024 };

/* Sends without waiting; fd -1: none, otherwise it stays the caller's. BRANT_ETRYLATER: the socket is full.
 * BRANT_ESTATE: the peer is gone. BRANT_ELIMIT: a field or the packet is over its maximum. BRANT_EIO. */
int net_control_send(int sock, const struct ipc_message *m, int fd);

struct net_control {
    struct arena arena;
    uint8_t *packet;            /* owned; NET_CONTROL_PACKET_MAX bytes */
    struct ipc_message message; /* points into packet and arena: valid until the next receive */
    int fd;                     /* received, or -1; the caller takes it by setting -1 */
};

void net_control_init(struct net_control *c);
void net_control_done(struct net_control *c); /* closes an fd not taken */

/* The next packet from a peer of role `from`. BRANT_ETRYLATER: none there. BRANT_ESTATE: the peer closed.
 * BRANT_ESYNTAX: not exactly one well-formed message with at most one descriptor. BRANT_EREFUSED: a message
 * that role may not send to `self`. BRANT_EIO. */
int net_control_receive(int sock, enum ipc_role from, enum ipc_role self, struct net_control *c);

/* As above, but waits for a packet, at most timeout_ms (BRANT_ETRYLATER). */
int net_control_wait(int sock, enum ipc_role from, enum ipc_role self, int timeout_ms, struct net_control *c);

#endif
