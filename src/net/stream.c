#include "net/stream.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { LINGER_MS = 1000, LINGER_BYTES = 256 * 1024 };

enum stream_state {
    STREAM_OPEN,
    STREAM_FLUSHING,  /* finish was called, output is queued */
    STREAM_LINGERING, /* our side is shut down; swallowing what the peer still sends */
    STREAM_ENDED
};

struct net_stream {
    const struct net_stream_ops *ops;
    void *context;
    struct net_stream_conf conf;
    struct bufferevent *bev;
    struct net_timer *linger;
    enum stream_state state;
    size_t swallowed; /* while lingering */
    bool eof;         /* of the peer's side */
};

static void end(struct net_stream *s, enum net_stream_end why)
{
    if (s->state == STREAM_ENDED)
        return;
    s->state = STREAM_ENDED;
    bufferevent_disable(s->bev, EV_READ | EV_WRITE);
    s->ops->ended(s->context, why);
}

static void start_linger(struct net_stream *s)
{
    s->state = STREAM_LINGERING;
    shutdown(bufferevent_getfd(s->bev), SHUT_WR);
    struct evbuffer *in = bufferevent_get_input(s->bev);
    evbuffer_drain(in, evbuffer_get_length(in));
    /* Ended from the timer and not here, because callbacks come from the loop only. */
    net_timer_set(s->linger, s->eof ? 0 : LINGER_MS);
    if (!s->eof)
        bufferevent_enable(s->bev, EV_READ);
}

static void linger_over(void *arg)
{
    end(arg, NET_STREAM_FINISHED);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct net_stream *s = arg;
    if (s->state == STREAM_OPEN) {
        s->ops->readable(s->context);
        return;
    }
    struct evbuffer *in = bufferevent_get_input(bev);
    s->swallowed += evbuffer_get_length(in);
    evbuffer_drain(in, evbuffer_get_length(in));
    if (s->state == STREAM_LINGERING && s->swallowed > LINGER_BYTES)
        end(s, NET_STREAM_FINISHED);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    struct net_stream *s = arg;
    if (s->state == STREAM_OPEN)
        s->ops->writable(s->context);
    else if (s->state == STREAM_FLUSHING && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
        start_linger(s);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct net_stream *s = arg;
    if (s->state == STREAM_ENDED)
        return;
    if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_WRITING)) {
        end(s, s->state == STREAM_OPEN ? NET_STREAM_STALLED : NET_STREAM_FINISHED);
        return;
    }
    if (what & BEV_EVENT_EOF) {
        s->eof = true;
        if (s->state == STREAM_LINGERING)
            end(s, NET_STREAM_FINISHED);
        else if (s->state == STREAM_OPEN) {
            bufferevent_disable(bev, EV_READ);
            s->ops->eof(s->context);
        }
        return;
    }
    end(s, s->state == STREAM_OPEN ? NET_STREAM_LOST : NET_STREAM_FINISHED);
}

struct net_stream *net_stream_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                                  const struct net_stream_ops *ops, void *context)
{
    struct net_stream *s = mem_zalloc(sizeof *s);
    s->ops = ops;
    s->context = context;
    s->conf = *conf;
    s->bev = bufferevent_socket_new(loop->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    assert(s->bev);
    s->linger = net_timer_new(loop, linger_over, s);
    bufferevent_setcb(s->bev, on_read, on_write, on_event, s);
    net_stream_input_max(s, conf->input_max_bytes);
    bufferevent_setwatermark(s->bev, EV_WRITE, conf->output_max_bytes / 2, 0);
    struct timeval timeout = {(time_t)(conf->output_timeout_ms / 1000),
                              (suseconds_t)(conf->output_timeout_ms % 1000) * 1000};
    bufferevent_set_timeouts(s->bev, NULL, &timeout);
    bufferevent_enable(s->bev, EV_READ | EV_WRITE);
    return s;
}

void net_stream_free(struct net_stream *s)
{
    if (!s)
        return;
    net_timer_free(s->linger);
    bufferevent_setcb(s->bev, NULL, NULL, NULL, NULL);
    bufferevent_free(s->bev);
    free(s);
}

struct span net_stream_input(struct net_stream *s)
{
    struct evbuffer *in = bufferevent_get_input(s->bev);
    size_t len = evbuffer_get_contiguous_space(in);
    if (len == 0 || s->state != STREAM_OPEN)
        return SPAN_NONE;
    return span_make(evbuffer_pullup(in, (ev_ssize_t)len), len);
}

void net_stream_consume(struct net_stream *s, size_t len)
{
    evbuffer_drain(bufferevent_get_input(s->bev), len);
}

void net_stream_input_max(struct net_stream *s, size_t bytes)
{
    bufferevent_setwatermark(s->bev, EV_READ, 0, bytes);
    bufferevent_set_max_single_read(s->bev, bytes);
}

size_t net_stream_queued(const struct net_stream *s)
{
    return evbuffer_get_length(bufferevent_get_output(s->bev));
}

size_t net_stream_room(const struct net_stream *s)
{
    size_t have = net_stream_queued(s);
    if (s->state != STREAM_OPEN || have >= s->conf.output_max_bytes)
        return 0;
    return s->conf.output_max_bytes - have;
}

size_t net_stream_write(struct net_stream *s, struct span bytes)
{
    bytes = span_sub(bytes, 0, net_stream_room(s));
    if (bytes.len > 0 && bufferevent_write(s->bev, bytes.p, bytes.len) < 0)
        abort(); /* out of memory */
    return bytes.len;
}

void net_stream_finish(struct net_stream *s)
{
    if (s->state != STREAM_OPEN)
        return;
    s->state = STREAM_FLUSHING;
    bufferevent_setwatermark(s->bev, EV_WRITE, 0, 0);
    if (net_stream_queued(s) == 0)
        start_linger(s);
}
