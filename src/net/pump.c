#include "net/pump.h"

#include <stdlib.h>

#include "base/mem.h"
#include "os/clock.h"

enum { ROUNDS_MAX = 64 }; /* of feeding in one go; then other connections have their turn */

struct net_pump {
    const struct net_pump_ops *ops;
    void *session;
    struct net_stream *stream;
    struct net_timer *kick;     /* run once more, from the loop */
    struct net_timer *deadline; /* the engine's */
    bool eof, eof_told, finishing;
};

/* Moves output into the stream; true when all of it went. */
static bool write_out(struct net_pump *p, uint64_t now_ms)
{
    for (;;) {
        struct span out = p->ops->output(p->session);
        if (out.len == 0)
            return true;
        size_t n = net_stream_write(p->stream, out);
        if (n == 0)
            return false;
        p->ops->sent(p->session, n, now_ms);
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

static void run(void *arg)
{
    struct net_pump *p = arg;
    uint64_t now_ms = os_clock_mono_ms();
    if (p->finishing)
        return;
    for (int round = 0;; round++) {
        struct span in = net_stream_input(p->stream);
        size_t taken = p->ops->feed(p->session, in, now_ms);
        net_stream_consume(p->stream, taken);
        bool all_out = write_out(p, now_ms);
        if (p->ops->finished(p->session)) {
            if (all_out) {
                p->finishing = true;
                net_timer_stop(p->deadline);
                net_stream_finish(p->stream);
                return;
            }
            break; /* `writable` runs us again */
        }
        if (in.len == 0 && p->eof && !p->eof_told) {
            p->eof_told = true;
            p->ops->eof(p->session, now_ms);
            continue;
        }
        if (taken == 0 || !all_out)
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

static void on_ended(void *arg, enum net_stream_end end)
{
    struct net_pump *p = arg;
    p->ops->ended(p->session, end);
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
    .ended = on_ended,
};

struct net_pump *net_pump_new(struct net_loop *loop, int fd, const struct net_stream_conf *conf,
                              const struct net_pump_ops *ops, void *session)
{
    struct net_pump *p = mem_zalloc(sizeof *p);
    p->ops = ops;
    p->session = session;
    p->stream = net_stream_new(loop, fd, conf, &stream_ops, p);
    p->kick = net_timer_new(loop, run, p);
    p->deadline = net_timer_new(loop, on_deadline, p);
    net_timer_set(p->kick, 0);
    return p;
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
    net_stream_free(p->stream);
    free(p);
}
