#include "net/stream.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/tls_link.h"

enum {
    LINGER_MS = 1000,
    LINGER_BYTES = 256 * 1024,
    DISCARD_BYTES = 256 * 1024, /* of plaintext behind STARTTLS; more than this is no client's mistake */
    CLOSE_RETRY_MS = 50,        /* when there is no room for a close_notify */
};

enum stream_state {
    STREAM_OPEN,
    STREAM_SWITCHING, /* to TLS, when the output is flushed */
    STREAM_HANDSHAKE,
    STREAM_FLUSHING,  /* finish was called, output is queued */
    STREAM_CLOSING,   /* the output is gone, close_notify is not */
    STREAM_LINGERING, /* our side is shut down; swallowing what the peer still sends */
    STREAM_DOOMED,    /* ends at the next turn of the loop, for `doom` */
    STREAM_ENDED
};

struct net_stream {
    const struct net_stream_ops *ops;
    void *context;
    struct net_stream_conf conf;
    struct net_loop *loop;
    struct bufferevent *bev;
    int fd;
    struct net_timer *timer; /* what for: the state says */
    enum stream_state state;
    enum net_stream_end doom;
    size_t swallowed;    /* while lingering */
    uint64_t close_wait; /* for close_notify, milliseconds */
    bool eof;            /* of the peer's side */
    bool cut;            /* it came without a close_notify, or the TLS is broken: no output any more */
    size_t unsent;       /* output that was lost by that */

    /* TLS; NULL: in clear, or not yet. */
    struct tls_link *tls;
    struct net_tls *tls_next;
    struct net_tls_conf tls_conf;
    size_t discarded;
    bool input_stopped;
};

static void end(struct net_stream *s, enum net_stream_end why)
{
    if (s->state == STREAM_ENDED)
        return;
    s->state = STREAM_ENDED;
    bufferevent_disable(s->bev, EV_READ | EV_WRITE);
    s->ops->ended(s->context, why);
}

/* Ends from the timer, because callbacks come from the loop only. */
static void doom(struct net_stream *s, enum net_stream_end why)
{
    if (s->state == STREAM_ENDED || s->state == STREAM_DOOMED)
        return;
    s->state = STREAM_DOOMED;
    s->doom = why;
    bufferevent_disable(s->bev, EV_READ | EV_WRITE);
    net_timer_set(s->timer, 0);
}

static size_t received(const struct net_stream *s)
{
    return evbuffer_get_length(bufferevent_get_input(s->bev));
}

/* The bound is kept by reading or not. Under TLS libevent's own watermark would leave the rest of a record
 * inside OpenSSL, where nothing wakes it up: so one record more than the bound may be held there. In clear
 * the watermark stops the reading, but calls us again and again while nothing is taken. */
static void bound_reading(struct net_stream *s)
{
    if (s->state != STREAM_OPEN || s->eof || s->input_stopped)
        return;
    bool wanted = received(s) < s->conf.input_max_bytes;
    bool reading = (bufferevent_get_enabled(s->bev) & EV_READ) != 0;
    if (wanted && !reading)
        bufferevent_enable(s->bev, EV_READ);
    else if (!wanted && reading)
        bufferevent_disable(s->bev, EV_READ);
}

static void start_linger(struct net_stream *s)
{
    s->state = STREAM_LINGERING;
    shutdown(s->fd, SHUT_WR);
    evbuffer_drain(bufferevent_get_input(s->bev), received(s));
    net_timer_set(s->timer, s->eof ? 0 : LINGER_MS);
    if (!s->eof)
        bufferevent_enable(s->bev, EV_READ);
}

/* The output is gone. */
static void close_our_side(struct net_stream *s)
{
    if (s->tls && tls_link_close(s->tls) == BRANT_ETRYLATER && s->close_wait < s->conf.output_timeout_ms) {
        s->state = STREAM_CLOSING;
        s->close_wait += CLOSE_RETRY_MS;
        net_timer_set(s->timer, CLOSE_RETRY_MS);
        return;
    }
    start_linger(s);
}

static void handshake_late(struct net_stream *s)
{
    tls_link_say(s->tls, "timed out");
    s->tls->failed = true;
    end(s, NET_STREAM_TLS_FAILED);
}

static void on_timer(void *arg)
{
    struct net_stream *s = arg;
    switch (s->state) {
    case STREAM_DOOMED:
        end(s, s->doom);
        break;
    case STREAM_HANDSHAKE:
        handshake_late(s);
        break;
    case STREAM_CLOSING:
        close_our_side(s);
        break;
    case STREAM_LINGERING:
        end(s, NET_STREAM_FINISHED);
        break;
    default:
        break;
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct net_stream *s = arg;
    if (s->state == STREAM_OPEN) {
        bound_reading(s);
        s->ops->readable(s->context);
        return;
    }
    struct evbuffer *in = bufferevent_get_input(bev);
    s->swallowed += evbuffer_get_length(in);
    evbuffer_drain(in, evbuffer_get_length(in));
    if (s->state == STREAM_LINGERING && s->swallowed > LINGER_BYTES)
        end(s, NET_STREAM_FINISHED);
}

static void switch_to_tls(struct net_stream *s);

static void on_write(struct bufferevent *bev, void *arg)
{
    struct net_stream *s = arg;
    bool flushed = evbuffer_get_length(bufferevent_get_output(bev)) == 0;
    if (s->state == STREAM_OPEN)
        s->ops->writable(s->context);
    else if (s->state == STREAM_SWITCHING && flushed)
        switch_to_tls(s);
    else if (s->state == STREAM_FLUSHING && flushed)
        close_our_side(s);
}

/* --- the end of what the peer sends
 * -------------------------------------------------------------------------
 */

static void peer_ended(struct net_stream *s)
{
    s->eof = true;
    if (s->state == STREAM_LINGERING || s->state == STREAM_CLOSING)
        end(s, NET_STREAM_FINISHED);
    else if (s->state == STREAM_OPEN) {
        bufferevent_disable(s->bev, EV_READ);
        s->ops->eof(s->context);
    }
}

/* A close_notify. libevent stops writing at that, but half a connection is all we need to answer. */
static void peer_closed_tls(struct net_stream *s)
{
    if (s->state == STREAM_OPEN || s->state == STREAM_FLUSHING)
        bufferevent_enable(s->bev, EV_WRITE);
    peer_ended(s);
}

/* The TLS connection is broken or cut off: what came before is worth being looked at, the rest never comes.
 */
static void tls_broken(struct net_stream *s)
{
    unsigned long first = 0, error; /* they are given last first, with SSL_get_error's value among them */
    while ((error = bufferevent_get_openssl_error(s->bev)))
        if (ERR_GET_LIB(error) != 0 && ERR_GET_LIB(first) != ERR_LIB_USER)
            first = error;
    tls_link_explain(s->tls, first);
    s->tls->failed = true;
    if (s->state == STREAM_HANDSHAKE) {
        end(s, NET_STREAM_TLS_FAILED);
        return;
    }
    if (s->state != STREAM_OPEN) {
        end(s, NET_STREAM_FINISHED);
        return;
    }
    s->cut = true;
    s->unsent = net_stream_queued(s);
    peer_ended(s);
}

static void handshake_done(struct net_stream *s)
{
    struct net_tls_info info;
    s->state = STREAM_OPEN;
    s->input_stopped = false;
    net_timer_stop(s->timer);
    tls_link_secured(s->tls, &info);
    struct timeval timeout = {(time_t)(s->conf.output_timeout_ms / 1000),
                              (suseconds_t)(s->conf.output_timeout_ms % 1000) * 1000};
    bufferevent_set_timeouts(s->bev, NULL, &timeout);
    bufferevent_setwatermark(s->bev, EV_WRITE, s->conf.output_max_bytes / 2, 0);
    s->ops->secured(s->context, &info, s->discarded);
}

/* Deferred callbacks come together: after a reset the write has found the error and the read an end, and then
 * libevent neither reads nor writes any more. The error counts. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct net_stream *s = arg;
    (void)bev;
    if (s->state == STREAM_ENDED || s->state == STREAM_DOOMED)
        return;
    if (what & BEV_EVENT_CONNECTED)
        handshake_done(s);
    else if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_WRITING))
        end(s, s->state == STREAM_OPEN || s->state == STREAM_SWITCHING ? NET_STREAM_STALLED
                                                                       : NET_STREAM_FINISHED);
    else if ((what & BEV_EVENT_EOF) && !(what & BEV_EVENT_ERROR)) {
        if (s->tls && s->state != STREAM_HANDSHAKE)
            peer_closed_tls(s);
        else if (s->tls)
            tls_broken(s);
        else
            peer_ended(s);
    } else if (s->tls)
        tls_broken(s);
    else
        end(s,
            s->state == STREAM_OPEN || s->state == STREAM_SWITCHING ? NET_STREAM_LOST : NET_STREAM_FINISHED);
}

/* --- to TLS
 * -------------------------------------------------------------------------------------------------
 */

static void on_renegotiation(void *arg)
{
    struct net_stream *s = arg;
    tls_link_say(s->tls, "the client asked for a renegotiation");
    s->tls->failed = true;
    doom(s, NET_STREAM_LOST);
}

/* The descriptor is taken out of the plaintext bufferevent and put into one of TLS. */
static void switch_to_tls(struct net_stream *s)
{
    struct evbuffer *in = bufferevent_get_input(s->bev);
    size_t len = evbuffer_get_length(in);
    struct span first = len > 0 ? span_make(evbuffer_pullup(in, -1), len) : SPAN_NONE;
    s->tls = tls_link_new(s->tls_next, &s->tls_conf, s->fd, first);
    s->tls->renegotiation = on_renegotiation;
    s->tls->context = s;
    net_tls_unref(s->tls_next);
    s->tls_next = NULL;
    bufferevent_setcb(s->bev, NULL, NULL, NULL, NULL);
    bufferevent_setfd(s->bev, -1);
    bufferevent_free(s->bev);
    s->state = STREAM_HANDSHAKE;
    s->eof = false; /* the handshake will find out */
    s->bev = bufferevent_openssl_socket_new(s->loop->base, s->fd, s->tls->ssl, BUFFEREVENT_SSL_ACCEPTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    assert(s->bev);
    bufferevent_setcb(s->bev, on_read, on_write, on_event, s);
    bufferevent_enable(s->bev, EV_READ | EV_WRITE);
    net_timer_set(s->timer, s->tls_conf.handshake_timeout_ms);
}

void net_stream_stop_input(struct net_stream *s, bool discard)
{
    if (s->state != STREAM_OPEN || s->tls || s->input_stopped)
        return;
    s->input_stopped = true;
    bufferevent_disable(s->bev, EV_READ);
    if (!discard)
        return;
    s->discarded = received(s);
    evbuffer_drain(bufferevent_get_input(s->bev), s->discarded);
    /* What lies in the socket came before our answer as well. */
    uint8_t bytes[4096];
    ssize_t n = 1;
    while (n > 0 && s->discarded < DISCARD_BYTES) {
        n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        s->discarded += n > 0 ? (size_t)n : 0;
    }
}

int net_stream_start_tls(struct net_stream *s, struct net_tls *tls, const struct net_tls_conf *conf)
{
    if (s->state != STREAM_OPEN || s->tls)
        return BRANT_ESTATE;
    assert(s->ops->secured);
    net_stream_stop_input(s, false);
    s->tls_next = net_tls_ref(tls);
    s->tls_conf = *conf;
    s->state = STREAM_SWITCHING;
    bufferevent_setwatermark(s->bev, EV_WRITE, 0, 0);
    if (net_stream_queued(s) == 0)
        switch_to_tls(s);
    return BRANT_OK;
}

size_t net_stream_tls_binding(struct net_stream *s, enum net_tls_binding kind,
                              uint8_t ret[NET_TLS_BINDING_MAX])
{
    return s->tls && s->state == STREAM_OPEN && !s->cut ? tls_link_binding(s->tls, kind, ret) : 0;
}

bool net_stream_is_cut(const struct net_stream *s)
{
    return s->cut;
}

const char *net_stream_end_text(const struct net_stream *s)
{
    return s->tls ? s->tls->text : "";
}

/* --- life
 * ---------------------------------------------------------------------------------------------------
 */

struct net_stream *net_stream_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                                  const struct net_stream_ops *ops, void *context)
{
    struct net_stream *s = mem_zalloc(sizeof *s);
    s->ops = ops;
    s->context = context;
    s->conf = *conf;
    s->loop = loop;
    s->fd = fd;
    s->bev = bufferevent_socket_new(loop->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    assert(s->bev);
    s->timer = net_timer_new(loop, on_timer, s);
    bufferevent_setcb(s->bev, on_read, on_write, on_event, s);
    net_stream_input_max(s, conf->input_max_bytes);
    bufferevent_setwatermark(s->bev, EV_WRITE, conf->output_max_bytes / 2, 0);
    struct timeval timeout = {(time_t)(conf->output_timeout_ms / 1000),
                              (suseconds_t)(conf->output_timeout_ms % 1000) * 1000};
    bufferevent_set_timeouts(s->bev, NULL, &timeout);
    bufferevent_enable(s->bev, conf->held ? EV_WRITE : EV_READ | EV_WRITE);
    return s;
}

void net_stream_release(struct net_stream *s)
{
    if (s->state == STREAM_OPEN && !s->tls && !s->input_stopped)
        bufferevent_enable(s->bev, EV_READ);
}

void net_stream_free(struct net_stream *s)
{
    if (!s)
        return;
    net_timer_free(s->timer);
    bufferevent_setcb(s->bev, NULL, NULL, NULL, NULL);
    tls_link_free(s->tls);
    net_tls_unref(s->tls_next);
    bufferevent_free(s->bev);
    free(s);
}

struct span net_stream_input(struct net_stream *s)
{
    struct evbuffer *in = bufferevent_get_input(s->bev);
    size_t len = evbuffer_get_contiguous_space(in);
    if (len == 0 || s->state != STREAM_OPEN || s->input_stopped)
        return SPAN_NONE;
    return span_make(evbuffer_pullup(in, (ev_ssize_t)len), len);
}

/* What was taken is overwritten: a password must not stay behind in memory that is free. */
void net_stream_consume(struct net_stream *s, size_t len)
{
    struct evbuffer *in = bufferevent_get_input(s->bev);
    size_t first = evbuffer_get_contiguous_space(in);
    if (len > 0)
        mem_wipe(evbuffer_pullup(in, (ev_ssize_t)(len > first ? len : first)), len);
    evbuffer_drain(in, len);
    bound_reading(s);
}

void net_stream_input_max(struct net_stream *s, size_t bytes)
{
    s->conf.input_max_bytes = bytes;
    if (s->tls) {
        bound_reading(s);
        return;
    }
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
    if (s->cut) {
        s->unsent += bytes.len;
        if (s->unsent > s->conf.output_max_bytes)
            doom(s, NET_STREAM_LOST); /* no reason to go on working for it */
        return bytes.len;
    }
    bytes = span_sub(bytes, 0, net_stream_room(s));
    if (bytes.len > 0 && bufferevent_write(s->bev, bytes.p, bytes.len) < 0)
        abort(); /* out of memory */
    return bytes.len;
}

void net_stream_finish(struct net_stream *s)
{
    if (s->cut)
        doom(s, NET_STREAM_LOST);
    else if (s->state == STREAM_SWITCHING || s->state == STREAM_HANDSHAKE)
        doom(s, NET_STREAM_FINISHED);
    if (s->state != STREAM_OPEN)
        return;
    s->state = STREAM_FLUSHING;
    bufferevent_setwatermark(s->bev, EV_WRITE, 0, 0);
    if (net_stream_queued(s) == 0)
        close_our_side(s);
}
