/* The pump joins a stream and a pure protocol engine, the same for every protocol.
 *
 * It gives the engine what has arrived, writes out what it has to say, calls it when its time is up, and ends
 * the connection when it has finished. The engine's side is the table below, filled by the role's glue; the
 * glue handles the engine's events inside `feed`, and calls net_pump_kick when an answer came from
 * elsewhere. Nothing here knows a protocol.
 *
 * Back-pressure: an engine that takes less than it is offered is offered the rest again after a kick, more
 * room for output, or a timeout; meanwhile the stream's bound stops reading.
 *
 * TLS: net_pump_start_tls from the first byte, or in the middle (STARTTLS, STLS). From then on the engine is
 * not fed until `secured`; what it had to say before goes out in clear first.
 *
 * Compression (net/deflate.h) may follow once, in clear or under TLS: net_pump_start_deflate. */
#ifndef NET_PUMP_H
#define NET_PUMP_H

#include "net/stream.h"
#include "net/tls.h"

#define NET_PUMP_NEVER UINT64_MAX

struct net_pump_ops {
    /* Takes bytes from the front of `in` (which may be empty: then only carries on with what it has) and
     * handles all events that are due. Returns how many bytes were taken. Unfinished lines are the
     * engine's to keep: what is not taken means that it cannot go on just now. */
    size_t (*feed)(void *session, struct span in, uint64_t now_ms);
    /* The peer has ended its stream; called once, when everything before it was taken. Under TLS only for a
     * proper end (close_notify); a connection that is cut off ends with NET_STREAM_LOST instead. */
    void (*eof)(void *session, uint64_t now_ms);
    /* What is to be written, and how much of it was. */
    struct span (*output)(void *session);
    void (*sent)(void *session, size_t len, uint64_t now_ms);
    /* When `timeout` is to be called: monotonic milliseconds, or NET_PUMP_NEVER. */
    uint64_t (*deadline_ms)(void *session, uint64_t now_ms);
    void (*timeout)(void *session, uint64_t now_ms);
    /* Nothing more will be fed or answered: write the output that is left and close. */
    bool (*finished)(void *session);
    /* The handshake is done; then the engine is fed again, at first with nothing. info is valid until this
     * returns. discarded: bytes that came in clear behind what started TLS, and were dropped. May be NULL
     * where TLS is never started. */
    void (*secured)(void *session, const struct net_tls_info *info, size_t discarded, uint64_t now_ms);
    /* The last call; the connection is closed and the pump is freed behind it. */
    void (*ended)(void *session, enum net_stream_end end);
};

struct net_pump;

/* Takes over fd. ops is borrowed; session belongs to the caller until `ended`. The first `feed` (empty) comes
 * from the loop, so that a greeting goes out without waiting for input. */
struct net_pump *net_pump_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                              const struct net_pump_ops *ops, void *session);

/* The same, but held: nothing is fed, read or written until the release; `deadline_ms`, `timeout` and
 * `finished` work. To ask somebody whether the connection may be served before anything is said. */
struct net_pump *net_pump_new_held(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                                   const struct net_pump_ops *ops, void *session);
void net_pump_release(struct net_pump *p);

/* Starts TLS, as soon as what the engine has put out so far is written; also from inside `feed`. The set is
 * referenced. Right after net_pump_new, or while held, it is TLS from the first byte. The engine's deadline
 * rests until `secured`; conf has its own. A handshake that fails ends the pump with NET_STREAM_TLS_FAILED.
 * BRANT_ESTATE: TLS was started before, or compression. */
int net_pump_start_tls(struct net_pump *p, struct net_tls *tls, const struct net_tls_conf *conf);
/* From here on the engine's input and output pass through DEFLATE (RFC 4978); usually from inside `feed`.
 * What `output` gives now still goes out as it is, and bytes that have arrived and are not taken by the end
 * of that `feed` are compressed already. Each burst of output is flushed. The peer's end of its compressed
 * stream is told by `eof`. Damaged input, or such that expands too much, ends the pump with
 * NET_STREAM_INFLATE_FAILED once everything before it was taken; net_pump_end_text has the reason. At most
 * NET_INFLATE_HELD_MAX inflated bytes wait for an engine that does not take them. BRANT_ESTATE: it is
 * compressed already, held, in the middle of starting TLS, or at its end. */
int net_pump_start_deflate(struct net_pump *p);
/* The binding of this TLS connection to itself; returns its length, 0: there is none (of that kind). */
size_t net_pump_tls_binding(struct net_pump *p, enum net_tls_binding kind, uint8_t ret[NET_TLS_BINDING_MAX]);
/* Inside `ended`: why, beyond the enum, for the log; "" when there is nothing to say. */
const char *net_pump_end_text(const struct net_pump *p);

/* Something outside changed (an answer arrived): run again, soon, from the loop. Safe from anywhere in the
 * loop's thread, callbacks included. */
void net_pump_kick(struct net_pump *p);

/* Changes the bound on what is read ahead. */
void net_pump_input_max(struct net_pump *p, size_t bytes);

/* Closes at once, without `ended`. Not from inside the ops. */
void net_pump_abort(struct net_pump *p);

#endif
