#include "net/deflate.h"

#include <assert.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/mem.h"

enum {
    INFLATE_WINDOW_BITS = -15, /* RFC 1951: distances go up to 32 KiB; negative: no header (RFC 4978 3) */
    DEFLATE_WINDOW_BITS = -11, /* why these: see the header */
    DEFLATE_MEM_LEVEL = 4,
    DEFLATE_LEVEL = 6,
    MARKS = NET_INFLATE_WINDOW / NET_INFLATE_STEP,
};

/* zlib's memory, counted. Zeroed, and out of memory aborts, like all of ours. */
static void *take_memory(void *counter, unsigned count, unsigned size)
{
    *(size_t *)counter += (size_t)count * size;
    return mem_array(count, size);
}

static void give_memory(void *counter, void *memory)
{
    (void)counter;
    free(memory);
}

static unsigned clamp(size_t n)
{
    return n < 1u << 30 ? (unsigned)n : 1u << 30;
}

/* --- what arrives
 * -------------------------------------------------------------------------------------------
 */

struct net_inflate {
    z_stream z;
    size_t memory;
    enum net_inflate_state state;
    bool more;     /* zlib had no room for all that it could say */
    uint8_t *held; /* NULL when nothing is */
    size_t start, len;
    uint64_t in_total, out_total;
    uint64_t marks[MARKS]; /* in_total when the last multiples of NET_INFLATE_STEP were out */
};

struct net_inflate *net_inflate_new(void)
{
    struct net_inflate *i = mem_zalloc(sizeof *i);
    i->z.zalloc = take_memory;
    i->z.zfree = give_memory;
    i->z.opaque = &i->memory;
    int rc = inflateInit2(&i->z, INFLATE_WINDOW_BITS);
    assert(rc == Z_OK);
    return i;
}

void net_inflate_free(struct net_inflate *i)
{
    if (!i)
        return;
    inflateEnd(&i->z);
    free(i->held);
    free(i);
}

/* At each multiple of the step: what have the last MARKS steps cost the peer? */
static void check_ratio(struct net_inflate *i)
{
    uint64_t step = i->out_total / NET_INFLATE_STEP;
    uint64_t *mark = &i->marks[step % MARKS];
    if (step >= MARKS && (i->in_total - *mark) * NET_INFLATE_RATIO_MAX < NET_INFLATE_WINDOW)
        i->state = NET_INFLATE_TOO_MUCH;
    *mark = i->in_total;
}

/* Half of it is used before the other half is moved to the front, so that little is moved for small bites. */
static size_t room(struct net_inflate *i)
{
    if (!i->held)
        i->held = mem_alloc(NET_INFLATE_HELD_MAX);
    if (i->start > 0 && i->len > NET_INFLATE_HELD_MAX / 2)
        return 0;
    if (i->start > 0)
        memmove(i->held, i->held + i->start, i->len);
    i->start = 0;
    return NET_INFLATE_HELD_MAX - i->len;
}

/* Inflates up to the next multiple of the step. False: it got nowhere. */
static bool advance(struct net_inflate *i, struct span *in)
{
    size_t space = room(i), to_step = NET_INFLATE_STEP - i->out_total % NET_INFLATE_STEP;
    unsigned offered = clamp(in->len), wanted = clamp(space < to_step ? space : to_step);
    if (wanted == 0)
        return false;
    i->z.next_in = in->p;
    i->z.avail_in = offered;
    i->z.next_out = i->held + i->len;
    i->z.avail_out = wanted;
    int rc = inflate(&i->z, Z_SYNC_FLUSH);
    size_t taken = offered - i->z.avail_in, made = wanted - i->z.avail_out;
    *in = span_from(*in, taken);
    i->more = i->z.avail_out == 0;
    i->len += made;
    i->in_total += taken;
    i->out_total += made;
    if (rc == Z_STREAM_END)
        i->state = NET_INFLATE_ENDED;
    else if (rc != Z_OK && rc != Z_BUF_ERROR) /* the latter: no more without more input or room */
        i->state = NET_INFLATE_CORRUPT;
    if (made > 0 && i->out_total % NET_INFLATE_STEP == 0)
        check_ratio(i);
    return taken > 0 || made > 0;
}

size_t net_inflate_put(struct net_inflate *i, struct span in)
{
    size_t offered = in.len;
    while (i->state == NET_INFLATE_OPEN && (in.len > 0 || i->more) && advance(i, &in))
        ;
    net_inflate_used(i, 0);
    return offered - in.len;
}

struct span net_inflate_output(const struct net_inflate *i)
{
    return i->len > 0 ? span_make(i->held + i->start, i->len) : SPAN_NONE;
}

void net_inflate_used(struct net_inflate *i, size_t len)
{
    assert(len <= i->len);
    i->start += len;
    i->len -= len;
    if (i->len > 0)
        return;
    free(i->held);
    i->held = NULL;
    i->start = 0;
}

enum net_inflate_state net_inflate_state(const struct net_inflate *i)
{
    return i->state;
}

const char *net_inflate_text(const struct net_inflate *i)
{
    switch (i->state) {
    case NET_INFLATE_ENDED:
        return "the compressed stream has ended";
    case NET_INFLATE_CORRUPT:
        return "the compressed stream is damaged";
    case NET_INFLATE_TOO_MUCH:
        return "the compressed stream expands too much";
    default:
        return "";
    }
}

size_t net_inflate_memory_bytes(const struct net_inflate *i)
{
    return sizeof *i + i->memory + (i->held ? NET_INFLATE_HELD_MAX : 0);
}

/* --- what is sent
 * -------------------------------------------------------------------------------------------
 */

struct net_deflate {
    z_stream z;
    size_t memory;
    bool unflushed;
};

struct net_deflate *net_deflate_new(void)
{
    struct net_deflate *d = mem_zalloc(sizeof *d);
    d->z.zalloc = take_memory;
    d->z.zfree = give_memory;
    d->z.opaque = &d->memory;
    int rc = deflateInit2(&d->z, DEFLATE_LEVEL, Z_DEFLATED, DEFLATE_WINDOW_BITS, DEFLATE_MEM_LEVEL,
                          Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    return d;
}

void net_deflate_free(struct net_deflate *d)
{
    if (!d)
        return;
    deflateEnd(&d->z);
    free(d);
}

size_t net_deflate_put(struct net_deflate *d, struct span *in, uint8_t *to, size_t room)
{
    unsigned offered = clamp(in->len), wanted = clamp(room);
    if (offered == 0 || wanted == 0)
        return 0;
    d->z.next_in = in->p;
    d->z.avail_in = offered;
    d->z.next_out = to;
    d->z.avail_out = wanted;
    int rc = deflate(&d->z, Z_NO_FLUSH);
    assert(rc == Z_OK);
    d->unflushed = true;
    *in = span_from(*in, offered - d->z.avail_in);
    return wanted - d->z.avail_out;
}

size_t net_deflate_flush(struct net_deflate *d, uint8_t *to, size_t room)
{
    unsigned wanted = clamp(room);
    assert(wanted >= NET_DEFLATE_ROOM_MIN);
    if (!d->unflushed)
        return 0;
    d->z.next_in = NULL;
    d->z.avail_in = 0;
    d->z.next_out = to;
    d->z.avail_out = wanted;
    int rc = deflate(&d->z, Z_SYNC_FLUSH);
    assert(rc == Z_OK || rc == Z_BUF_ERROR);
    d->unflushed = d->z.avail_out == 0;
    return wanted - d->z.avail_out;
}

bool net_deflate_unflushed(const struct net_deflate *d)
{
    return d->unflushed;
}

size_t net_deflate_memory_bytes(const struct net_deflate *d)
{
    return sizeof *d + d->memory;
}
