/* Bytes and descriptors over a Unix socket (SCM_RIGHTS), bounded on both sides. Received descriptors are
 * close-on-exec. Works on SOCK_SEQPACKET (one call, one packet) and SOCK_STREAM. */
#ifndef OS_FDPASS_H
#define OS_FDPASS_H

#include "base/span.h"

enum { OS_FDPASS_MAX = 8 }; /* descriptors in one message */

/* Sends data (at least one byte) with count descriptors; the caller keeps them and their ownership.
 * BRANT_ETRYLATER: the socket is full, or too many descriptors are under way. BRANT_ESTATE: the peer is gone.
 * BRANT_ELIMIT: too many descriptors, or a packet larger than the socket takes. BRANT_EIO. */
int os_fdpass_send(int sock, struct span data, const int *fds, size_t count);

/* Receives one packet (or what is there of a stream) of at most cap bytes. *ret_len 0 means the peer closed.
 * The descriptors, at most OS_FDPASS_MAX, are stored in ret_fds and then the caller's.
 * BRANT_ETRYLATER: nothing there. BRANT_ESYNTAX: the packet or its descriptors did not fit; all of it was
 * dropped and the descriptors closed. BRANT_ESTATE: connection reset. BRANT_EIO. */
int os_fdpass_recv(int sock, void *data, size_t cap, size_t *ret_len, int ret_fds[OS_FDPASS_MAX],
                   size_t *ret_count);

#endif
