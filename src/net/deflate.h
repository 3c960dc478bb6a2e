/* Raw DEFLATE (RFC 1951) both ways, as IMAP's COMPRESS has it (RFC 4978): a stream without an end, flushed at
 * the end of each burst. No socket, no clock; zlib inside, which only allocates.
 *
 * What arrives is distrusted: a byte of it can stand for a thousand, and what it says about itself is not
 * believed. Memory is fixed: the window, and NET_INFLATE_HELD_MAX bytes of what was inflated and not used
 * yet. And it may not expand more than a hundredfold: whenever another 64 KiB are out, the last MiB must have
 * taken at least a hundredth of that to say. So the first MiB of a stream is free, and mail and commands
 * (tenfold when they are dull) never come near it. A MiB of messages that say one line over and over does,
 * and ends the connection.
 *
 * Cost: inflating 7 KiB, and 32 KiB more from the first bytes on (the peer may refer so far back); what is
 * held, while something is held; compressing 22 KiB. The figures of our compressor were chosen by measuring,
 * in bursts of 8 KiB, answers to FETCH and mail:
 *
 *     window  memLevel  memory   FETCH  mail
 *      512 B     1        9 KiB   4.3    2.7
 *      2 KiB     4       22 KiB   6.2    3.7   this
 *      4 KiB     5       38 KiB   6.4    3.9
 *     32 KiB     8      262 KiB   6.4    4.4   zlib's own choice */
#ifndef NET_DEFLATE_H
#define NET_DEFLATE_H

#include "base/span.h"

enum {
    NET_INFLATE_HELD_MAX = 8192,
    NET_INFLATE_WINDOW = 1024 * 1024, /* over which the ratio is measured */
    NET_INFLATE_STEP = 64 * 1024,     /* and how often */
    NET_INFLATE_RATIO_MAX = 100,
    NET_DEFLATE_ROOM_MIN = 64, /* of output, where a flush is to get anywhere */
};

/* --- what arrives --- */

struct net_inflate;

enum net_inflate_state {
    NET_INFLATE_OPEN,
    NET_INFLATE_ENDED, /* the peer has ended its stream in due form; what comes behind it is not looked at */
    NET_INFLATE_CORRUPT, /* what came is no DEFLATE stream */
    NET_INFLATE_TOO_MUCH /* it expands more than it may */
};

struct net_inflate *net_inflate_new(void);
void net_inflate_free(struct net_inflate *i); /* NULL is allowed */

/* Inflates from the front of `in` as long as there is room to hold it; returns how many bytes were taken. An
 * empty `in` is worth a call too, once there is room again: some may wait inside. */
size_t net_inflate_put(struct net_inflate *i, struct span in);
/* What was inflated and not used, in one piece; valid until the next call. */
struct span net_inflate_output(const struct net_inflate *i);
void net_inflate_used(struct net_inflate *i, size_t len);
/* What was inflated before the stream ended or went wrong is good all the same, and comes out first. */
enum net_inflate_state net_inflate_state(const struct net_inflate *i);
/* "", or why nothing more comes, for the log. */
const char *net_inflate_text(const struct net_inflate *i);
size_t net_inflate_memory_bytes(const struct net_inflate *i);

/* --- what is sent --- */

struct net_deflate;

struct net_deflate *net_deflate_new(void);
void net_deflate_free(struct net_deflate *d); /* NULL is allowed */

/* Compresses from the front of *in into `to`; returns how many bytes were written there. Before all of *in is
 * taken, `to` is full. */
size_t net_deflate_put(struct net_deflate *d, struct span *in, uint8_t *to, size_t room);
/* Makes what was put readable for the peer, to the last byte (Z_SYNC_FLUSH); the same with more room as long
 * as net_deflate_unflushed says so. room: at least NET_DEFLATE_ROOM_MIN. */
size_t net_deflate_flush(struct net_deflate *d, uint8_t *to, size_t room);
bool net_deflate_unflushed(const struct net_deflate *d); /* something was put since the last flush came out */
size_t net_deflate_memory_bytes(const struct net_deflate *d);

#endif
