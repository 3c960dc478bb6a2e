#include "net/channel.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/frame.h"

enum { READ_BYTES = 65536, READS_PER_ROUND = 8, ARENA_BYTES = 4 << 20 };

struct net_channel {
    const struct net_channel_ops *ops;
    void *context;
    int fd;
    enum ipc_role self, peer;
    uint32_t peer_instance;
    struct event *readable, *writable;
    struct ipc_reader reader;
    struct arena arena; /* the lists of the message being handled */
    struct buf out;
    size_t sent; /* bytes at the front of `out` that are gone already */
    bool flush_due, was_congested, paused;
    bool overflowed;   /* the queue is full: ended from the loop, never from within a send */
    bool ended, freed; /* freed: by the owner, in the middle of one of our loops */
    unsigned depth;    /* of our functions on the stack that still need the object */
};

static size_t queued(const struct net_channel *c)
{
    return c->out.len - c->sent;
}

static void destroy(struct net_channel *c)
{
    event_free(c->readable);
    event_free(c->writable);
    ipc_reader_done(&c->reader);
    arena_done(&c->arena);
    buf_done(&c->out);
    close(c->fd);
    free(c);
}

static void enter(struct net_channel *c)
{
    c->depth++;
}

static void leave(struct net_channel *c)
{
    if (--c->depth == 0 && c->freed)
        destroy(c);
}

static void end(struct net_channel *c, enum net_channel_end why, const char *text)
{
    if (c->ended)
        return;
    c->ended = true;
    event_del(c->readable);
    event_del(c->writable);
    enter(c);
    c->ops->ended(c->context, c, why, text);
    leave(c);
}

void net_channel_fault(struct net_channel *c, const char *text)
{
    end(c, NET_CHANNEL_FAULT, text);
}

static void flush(struct net_channel *c)
{
    while (!c->ended && queued(c) > 0) {
        ssize_t n = send(c->fd, c->out.data + c->sent, queued(c), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            c->sent += (size_t)n;
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            event_add(c->writable, NULL);
            break;
        } else {
            end(c, NET_CHANNEL_CLOSED, "the peer is gone");
            return;
        }
    }
    if (queued(c) == 0) {
        buf_reset(&c->out);
        c->out.secret = false;
        c->sent = 0;
        if (c->out.cap > NET_CHANNEL_LOW_BYTES)
            buf_shrink(&c->out);
    } else if (c->sent > c->out.len / 2) {
        buf_consume(&c->out, c->sent);
        c->sent = 0;
    }
    if (!c->ended && c->was_congested && queued(c) < NET_CHANNEL_LOW_BYTES) {
        c->was_congested = false;
        if (c->ops->drained)
            c->ops->drained(c->context, c);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct net_channel *c = arg;
    c->flush_due = false;
    enter(c);
    if (c->overflowed)
        end(c, NET_CHANNEL_FAULT, "the peer does not read its messages");
    else
        flush(c);
    leave(c);
}

int net_channel_send(struct net_channel *c, const struct ipc_message *m)
{
    if (c->ended || c->overflowed)
        return BRANT_ESTATE;
    if (!ipc_permitted(m->type, c->self, c->peer))
        return BRANT_EREFUSED;
    c->out.secret = c->out.secret || ipc_is_secret(m->type); /* until it is empty */
    int rc = ipc_encode(&c->out, m);
    if (rc < 0) {
        if (c->out.overflowed) {
            c->overflowed = true;
            event_active(c->writable, EV_WRITE, 0);
        }
        return rc;
    }
    if (queued(c) > NET_CHANNEL_HIGH_BYTES)
        c->was_congested = true;
    if (!c->flush_due) { /* the active queue is first in, first out: behind the callbacks already due */
        c->flush_due = true;
        event_active(c->writable, EV_WRITE, 0);
    }
    return BRANT_OK;
}

/* Hands out every whole message; false when the channel ended. */
static bool deliver(struct net_channel *c)
{
    struct span frame;
    int rc;
    while (!c->paused && (rc = ipc_reader_next(&c->reader, &frame)) != BRANT_ETRYLATER) {
        struct ipc_message m;
        if (rc == BRANT_OK) {
            arena_reset(&c->arena);
            rc = ipc_decode(frame, &c->arena, &m);
        }
        if (rc < 0) {
            end(c, NET_CHANNEL_FAULT, "malformed message");
            return false;
        }
        if (!ipc_permitted(m.type, c->peer, c->self)) {
            end(c, NET_CHANNEL_FAULT, "forbidden message");
            return false;
        }
        c->ops->message(c->context, c, &m);
        if (c->ended || c->freed)
            return false;
    }
    return true;
}

/* False when the channel ended. */
static bool take(struct net_channel *c, struct span in)
{
    while (in.len > 0) {
        size_t taken = ipc_reader_feed(&c->reader, in);
        in = span_from(in, taken);
        if (!deliver(c))
            return false;
        /* Whole frames were taken out, or paused before one more read: there is always room. */
        assert(taken > 0);
    }
    return true;
}

static void read_and_deliver(struct net_channel *c)
{
    static uint8_t bytes[READ_BYTES];
    for (int i = 0; i < READS_PER_ROUND && !c->paused; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c, NET_CHANNEL_CLOSED, "the peer closed");
            return;
        }
        bool secret = c->reader.in.secret;
        bool goes_on = take(c, span_make(bytes, (size_t)n));
        if (secret)
            mem_wipe(bytes, (size_t)n);
        if (!goes_on || (size_t)n < sizeof bytes)
            return;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct net_channel *c = arg;
    enter(c);
    if (deliver(c)) /* what a pause left behind */
        read_and_deliver(c);
    leave(c);
}

struct net_channel *net_channel_new(struct net_loop *loop, int fd, enum ipc_role self, enum ipc_role peer,
                                    uint32_t peer_instance, const struct net_channel_ops *ops, void *context)
{
    struct net_channel *c = mem_zalloc(sizeof *c);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    c->ops = ops;
    c->context = context;
    c->fd = fd;
    c->self = self;
    c->peer = peer;
    c->peer_instance = peer_instance;
    ipc_reader_init(&c->reader);
    c->reader.in.secret = ipc_may_be_secret(peer, self);
    arena_init(&c->arena, ARENA_BYTES);
    buf_init(&c->out, NET_CHANNEL_QUEUE_BYTES);
    c->readable = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(loop->base, fd, EV_WRITE, on_writable, c);
    assert(c->readable && c->writable);
    event_add(c->readable, NULL);
    return c;
}

void net_channel_free(struct net_channel *c)
{
    if (!c || c->freed)
        return;
    if (!c->ended && queued(c) > 0) {
        ssize_t n = send(c->fd, c->out.data + c->sent, queued(c), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)n;
    }
    c->ended = true;
    event_del(c->readable);
    event_del(c->writable);
    c->freed = true;
    if (c->depth == 0)
        destroy(c);
}

bool net_channel_congested(const struct net_channel *c)
{
    return queued(c) > NET_CHANNEL_HIGH_BYTES;
}

void net_channel_pause(struct net_channel *c, bool paused)
{
    if (c->ended || c->paused == paused)
        return;
    c->paused = paused;
    if (paused)
        event_del(c->readable);
    else {
        event_add(c->readable, NULL);
        event_active(c->readable, EV_READ, 0); /* messages may be waiting in our own buffer */
    }
}

enum ipc_role net_channel_peer_role(const struct net_channel *c)
{
    return c->peer;
}

uint32_t net_channel_peer_instance(const struct net_channel *c)
{
    return c->peer_instance;
}
