#include "net/pump.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/deflate.h"
#include "os/clock.h"

enum {
    ROUNDS_MAX = 64,   /* of feeding in one go; then other connections have their turn */
    PIECE_BYTES = 4096 /* of what was compressed */
};

enum tls_phase {
    TLS_NONE,
    TLS_WANTED,   /* the engine's output goes out first, and the engine rests */
    TLS_SECURING, /* the stream is at it */
    TLS_DONE
};

struct net_pump {
    const struct net_pump_ops *ops;
    void *session;
    struct net_stream *stream;
    struct net_timer *kick;     /* run once more, from the loop */
    struct net_timer *deadline; /* the engine's */
    enum tls_phase phase;
    struct net_tls *tls; /* a reference, while TLS is wanted */
    struct net_tls_conf tls_conf;
    bool held, fed, feeding;
    bool eof, eof_told, finishing;

    /* Compression; NULL: none. */
    struct net_inflate *inflate;
    struct net_deflate *deflate;
    size_t clear_left;   /* of what the engine puts out: so much was there before */
    bool inflate_failed; /* which is why it is finishing */
};

/* Moves some output into the stream as it is; returns how much. */
static size_t write_clear(struct net_pump *p, struct span out)
{
    if (p->clear_left > 0)
        out = span_sub(out, 0, p->clear_left);
    size_t n = net_stream_write(p->stream, out);
    p->clear_left -= p->clear_left < n ? p->clear_left : n;
    return n;
}

/* Moves some output into the stream through the compressor, or flushes that when there is none. False: there
 * was no room. */
static bool write_compressed(struct net_pump *p, struct span out, size_t *ret_taken)
{
    uint8_t bytes[PIECE_BYTES];
    struct span rest = out;
    size_t room = net_stream_room(p->stream), n;
    if (room < NET_DEFLATE_ROOM_MIN)
        return false;
    if (room > sizeof bytes)
        room = sizeof bytes;
    if (out.len > 0)
        n = net_deflate_put(p->deflate, &rest, bytes, room);
    else
        n = net_deflate_flush(p->deflate, bytes, room);
    net_stream_write(p->stream, span_make(bytes, n));
    *ret_taken = out.len - rest.len;
    return true;
}

/* Moves output into the stream; true when all of it went. *ret_moved: how much that was. What goes to a
 * stream that is cut goes nowhere, so it is not compressed. */
static bool write_out(struct net_pump *p, uint64_t now_ms, size_t *ret_moved)
{
    for (*ret_moved = 0;;) {
        struct span out = p->ops->output(p->session);
        bool compressed = p->deflate && p->clear_left == 0 && !net_stream_is_cut(p->stream);
        size_t n = 0;
        if (out.len == 0 && !(compressed && net_deflate_unflushed(p->deflate)))
            return true;
        if (!compressed)
            n = write_clear(p, out);
        if (compressed ? !write_compressed(p, out, &n) : n == 0)
            return false;
        if (n > 0)
            p->ops->sent(p->session, n, now_ms);
        *ret_moved += n;
    }
}

static void set_deadline(struct net_pump *p, uint64_t now_ms)
{
    uint64_t at = p->ops->deadline_ms(p->session, now_ms);
    if (at == NET_PUMP_NEVER)
        net_timer_stop(p->deadline);
    else
        net_timer_set(p->deadline, at > now_ms ? at - now_ms : 0);
}

static void finish(struct net_pump *p)
{
    p->finishing = true;
    net_timer_stop(p->deadline);
    net_stream_finish(p->stream);
}

static void begin_tls(struct net_pump *p)
{
    p->phase = TLS_SECURING;
    net_timer_stop(p->deadline);
    int rc = net_stream_start_tls(p->stream, p->tls, &p->tls_conf);
    net_tls_unref(p->tls);
    p->tls = NULL;
    if (rc < 0)
        finish(p); /* the stream has ended, and `ended` is on its way */
}

/* Held, or before the handshake is done: the engine has no part in it but to give up. */
static bool rests(struct net_pump *p, uint64_t now_ms)
{
    bool from_the_start = p->phase == TLS_WANTED && !p->fed;
    if (!p->held && p->phase != TLS_SECURING && !from_the_start)
        return false;
    if (p->ops->finished(p->session)) {
        size_t moved;
        if (p->phase == TLS_NONE)
            write_out(p, now_ms, &moved);
        finish(p);
    } else if (p->held)
        set_deadline(p, now_ms);
    else if (from_the_start)
        begin_tls(p);
    return true;
}

/* What has arrived behind the bytes that started TLS came in clear. Where nothing was fed yet, or another
 * header was before TLS, it is the handshake itself. */
static void stop_input(struct net_pump *p)
{
    net_stream_stop_input(p->stream, p->fed && !p->tls_conf.keep_input);
}

/* What is inflated and waits, after as much more was inflated as there is room for. */
static struct span inflated(struct net_pump *p)
{
    size_t n;
    do {
        n = net_inflate_put(p->inflate, net_stream_input(p->stream));
        net_stream_consume(p->stream, n);
    } while (n > 0);
    return net_inflate_output(p->inflate);
}

/* True when the engine took something, or looks at its input in another way now. */
static bool feed(struct net_pump *p, uint64_t now_ms, size_t *ret_offered)
{
    *ret_offered = 0;
    if (p->phase == TLS_WANTED)
        return false;
    struct net_inflate *inflate = p->inflate;
    struct span in = inflate ? inflated(p) : net_stream_input(p->stream);
    p->feeding = true;
    size_t taken = p->ops->feed(p->session, in, now_ms);
    p->feeding = false;
    p->fed = true;
    *ret_offered = in.len;
    if (inflate)
        net_inflate_used(inflate, taken);
    else
        net_stream_consume(p->stream, taken);
    if (p->phase == TLS_WANTED)
        stop_input(p);
    return taken > 0 || inflate != p->inflate;
}

/* Nothing more comes out of what the peer has sent, however much there is of it. */
static bool inflate_ended(const struct net_pump *p)
{
    return p->inflate && net_inflate_state(p->inflate) != NET_INFLATE_OPEN;
}

/* The peer will send no more, and everything was taken. */
static void tell_eof(struct net_pump *p, uint64_t now_ms)
{
    p->eof_told = true;
    p->inflate_failed = inflate_ended(p) && net_inflate_state(p->inflate) != NET_INFLATE_ENDED;
    if (p->inflate_failed || net_stream_is_cut(p->stream))
        finish(p); /* ends as lost */
    else
        p->ops->eof(p->session, now_ms);
}

static void run(void *arg)
{
    struct net_pump *p = arg;
    uint64_t now_ms = os_clock_mono_ms();
    if (p->finishing || rests(p, now_ms))
        return;
    for (int round = 0;; round++) {
        size_t offered, moved;
        bool progress = feed(p, now_ms, &offered);
        bool all_out = write_out(p, now_ms, &moved);
        if (p->ops->finished(p->session)) {
            if (all_out) {
                finish(p);
                return;
            }
            break; /* `writable` runs us again */
        }
        if (p->phase == TLS_WANTED) {
            if (!all_out)
                break;
            begin_tls(p);
            return;
        }
        if (offered == 0 && (p->eof || inflate_ended(p)) && !p->eof_told) {
            tell_eof(p, now_ms);
            if (p->finishing)
                return;
            continue;
        }
        /* Output that was in the engine's way is gone; of a stream that was cut, `writable` does not tell it.
         */
        bool again = progress || (moved > 0 && net_stream_is_cut(p->stream));
        if (!again || !all_out)
            break;
        if (round >= ROUNDS_MAX) {
            net_timer_set(p->kick, 0);
            break;
        }
    }
    set_deadline(p, now_ms);
}

static void on_eof(void *arg)
{
    struct net_pump *p = arg;
    p->eof = true;
    run(p);
}

static void on_secured(void *arg, const struct net_tls_info *info, size_t discarded)
{
    struct net_pump *p = arg;
    p->phase = TLS_DONE;
    p->eof = p->eof_told = false;
    p->ops->secured(p->session, info, discarded, os_clock_mono_ms());
    run(p);
}

static void on_ended(void *arg, enum net_stream_end end)
{
    struct net_pump *p = arg;
    p->ops->ended(p->session, p->inflate_failed ? NET_STREAM_INFLATE_FAILED : end);
    net_pump_abort(p);
}

static void on_deadline(void *arg)
{
    struct net_pump *p = arg;
    uint64_t now_ms = os_clock_mono_ms();
    if (p->finishing)
        return;
    if (p->ops->deadline_ms(p->session, now_ms) <= now_ms)
        p->ops->timeout(p->session, now_ms);
    run(p);
}

static const struct net_stream_ops stream_ops = {
    .readable = run,
    .writable = run,
    .eof = on_eof,
    .secured = on_secured,
    .ended = on_ended,
};

static struct net_pump *make(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                             const struct net_pump_ops *ops, void *session, bool held)
{
    struct net_pump *p = mem_zalloc(sizeof *p);
    struct net_stream_conf stream = *conf;
    stream.held = held;
    p->ops = ops;
    p->session = session;
    p->held = held;
    p->stream = net_stream_new(loop, fd, &stream, &stream_ops, p);
    p->kick = net_timer_new(loop, run, p);
    p->deadline = net_timer_new(loop, on_deadline, p);
    net_timer_set(p->kick, 0);
    return p;
}

struct net_pump *net_pump_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                              const struct net_pump_ops *ops, void *session)
{
    return make(loop, fd, conf, ops, session, false);
}

struct net_pump *net_pump_new_held(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                                   const struct net_pump_ops *ops, void *session)
{
    return make(loop, fd, conf, ops, session, true);
}

void net_pump_release(struct net_pump *p)
{
    if (!p->held)
        return;
    p->held = false;
    if (p->phase == TLS_NONE)
        net_stream_release(p->stream);
    net_timer_set(p->kick, 0);
}

int net_pump_start_tls(struct net_pump *p, struct net_tls *tls, const struct net_tls_conf *conf)
{
    if (p->phase != TLS_NONE || p->finishing || p->inflate)
        return BRANT_ESTATE;
    assert(p->ops->secured);
    p->phase = TLS_WANTED;
    p->tls = net_tls_ref(tls);
    p->tls_conf = *conf;
    if (!p->feeding) {
        stop_input(p);
        net_timer_set(p->kick, 0);
    }
    return BRANT_OK;
}

int net_pump_start_deflate(struct net_pump *p)
{
    if (p->inflate || p->held || p->finishing || p->phase == TLS_WANTED || p->phase == TLS_SECURING)
        return BRANT_ESTATE;
    p->inflate = net_inflate_new();
    p->deflate = net_deflate_new();
    p->clear_left = p->ops->output(p->session).len;
    if (!p->feeding)
        net_timer_set(p->kick, 0);
    return BRANT_OK;
}

size_t net_pump_tls_binding(struct net_pump *p, enum net_tls_binding kind, uint8_t ret[NET_TLS_BINDING_MAX])
{
    return net_stream_tls_binding(p->stream, kind, ret);
}

const char *net_pump_end_text(const struct net_pump *p)
{
    return p->inflate_failed ? net_inflate_text(p->inflate) : net_stream_end_text(p->stream);
}

void net_pump_kick(struct net_pump *p)
{
    net_timer_set(p->kick, 0);
}

void net_pump_input_max(struct net_pump *p, size_t bytes)
{
    net_stream_input_max(p->stream, bytes);
}

void net_pump_abort(struct net_pump *p)
{
    net_timer_free(p->kick);
    net_timer_free(p->deadline);
    net_tls_unref(p->tls);
    net_inflate_free(p->inflate);
    net_deflate_free(p->deflate);
    net_stream_free(p->stream);
    free(p);
}
