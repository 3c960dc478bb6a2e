/* A TCP connection to a client: buffered both ways, bounded both ways.
 *
 * Input is read only up to input_max and left in the socket beyond that, so a slow consumer slows the peer.
 * Output is gathered up to output_max; a peer that takes none of it for output_timeout_ms is cut off.
 * Ending is one function with a reason: what is queued is sent, the peer's last bytes are swallowed for a
 * moment (so that a reset does not destroy our last reply), then the connection is closed.
 *
 * TLS may take over at any time (net_stream_start_tls), and then everything above holds for what is inside. A
 * peer that ends without close_notify has cut its stream off: what came before is handed out, and then the
 * owner finds that net_stream_is_cut and is told so by NET_STREAM_LOST when it finishes. What is written
 * meanwhile goes nowhere, and more than output_max of it ends the stream at once. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/span.h"
#include "net/loop.h"
#include "net/tls.h"

enum net_stream_end {
    NET_STREAM_FINISHED,      /* net_stream_finish was called and everything was delivered or given up */
    NET_STREAM_LOST,          /* the peer is gone: reset, an error of the network or of TLS, TLS cut off */
    NET_STREAM_STALLED,       /* the peer took no output for too long */
    NET_STREAM_TLS_FAILED,    /* the handshake came to nothing */
    NET_STREAM_INFLATE_FAILED /* from a pump only: compressed input that is damaged or expands too much */
};

struct net_stream_conf {
    size_t input_max_bytes;
    size_t output_max_bytes;
    uint64_t output_timeout_ms;
    bool held; /* read nothing until net_stream_release, or TLS */
};

struct net_stream;

struct net_stream_ops {
    void (*readable)(void *context); /* there is more input than before */
    void (*writable)(void *context); /* there is more room for output than before */
    void (*eof)(void *context);      /* the peer has sent all it will; output works unless it is cut */
    /* The handshake is done; discarded: see net_stream_stop_input. NULL where TLS is never started. */
    void (*secured)(void *context, const struct net_tls_info *info, size_t discarded);
    /* The last call; the owner frees the stream, here or later. */
    void (*ended)(void *context, enum net_stream_end end);
};

/* Takes over a connected, non-blocking fd. ops is borrowed for the stream's life. Callbacks come from the
 * loop only, never from within the functions below. */
struct net_stream *net_stream_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                                  const struct net_stream_ops *ops, void *context);
void net_stream_free(
    struct net_stream *s); /* closes at once; may be called from callbacks; NULL is allowed */
void net_stream_release(struct net_stream *s);

/* The first contiguous piece of what has arrived, empty when there is none; valid until the consume. */
struct span net_stream_input(struct net_stream *s);
void net_stream_consume(struct net_stream *s, size_t len);
/* Changes the bound, for instance when a peer has earned more than a stranger gets. */
void net_stream_input_max(struct net_stream *s, size_t bytes);

/* Bytes that net_stream_write will take now. */
size_t net_stream_room(const struct net_stream *s);
/* Queues up to room bytes; returns how many. */
size_t net_stream_write(struct net_stream *s, struct span bytes);
size_t net_stream_queued(const struct net_stream *s);

/* Input is over, before TLS: nothing more is read or handed out. discard: what has arrived by now, in the
 * socket too, is dropped and counted; otherwise it belongs to the handshake. Output goes on. */
void net_stream_stop_input(struct net_stream *s, bool discard);
/* When what is queued is written, the connection becomes TLS; then `secured`, or the end with
 * NET_STREAM_TLS_FAILED. BRANT_ESTATE: it is TLS, or has ended. */
int net_stream_start_tls(struct net_stream *s, struct net_tls *tls, const struct net_tls_conf *conf);
size_t net_stream_tls_binding(struct net_stream *s, enum net_tls_binding kind,
                              uint8_t ret[NET_TLS_BINDING_MAX]);
bool net_stream_is_cut(const struct net_stream *s);
/* Inside `ended`: why, as far as TLS knows; "". */
const char *net_stream_end_text(const struct net_stream *s);

/* No more input is wanted and no more output comes: deliver what is queued, then end with FINISHED. */
void net_stream_finish(struct net_stream *s);

#endif
