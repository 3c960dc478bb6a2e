#include "net/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"

struct net_timer {
    struct event *event;
    net_call *call;
    void *context;
};

struct net_watch {
    struct event *event;
    net_call *call;
    void *context;
};

struct net_wake {
    int fd;
    struct net_watch *watch;
    net_call *call;
    void *context;
};

int net_loop_init(struct net_loop *loop)
{
    struct event_config *config = event_config_new();
    if (!config)
        return BRANT_EIO;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (!base)
        return BRANT_EIO;
    *loop = (struct net_loop){.base = base};
    return BRANT_OK;
}

void net_loop_done(struct net_loop *loop)
{
    if (loop->base)
        event_base_free(loop->base);
    loop->base = NULL;
}

void net_loop_run(struct net_loop *loop)
{
    while (!loop->stopping)
        if (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            break;
}

void net_loop_stop(struct net_loop *loop)
{
    loop->stopping = true;
    event_base_loopexit(loop->base, NULL);
}

uint64_t net_loop_now_ms(struct net_loop *loop)
{
    (void)loop;
    return os_clock_mono_ms();
}

static void timer_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct net_timer *t = arg;
    t->call(t->context);
}

struct net_timer *net_timer_new(struct net_loop *loop, net_call *call, void *context)
{
    struct net_timer *t = mem_zalloc(sizeof *t);
    t->call = call;
    t->context = context;
    t->event = evtimer_new(loop->base, timer_due, t);
    assert(t->event);
    return t;
}

void net_timer_free(struct net_timer *t)
{
    if (!t)
        return;
    event_free(t->event);
    free(t);
}

void net_timer_set(struct net_timer *t, uint64_t in_ms)
{
    if (in_ms > 7 * 86400000u)
        in_ms = 7 * 86400000u; /* far beyond every deadline; keeps the arithmetic of timeval safe */
    struct timeval tv = {(time_t)(in_ms / 1000), (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(t->event, &tv);
}

void net_timer_stop(struct net_timer *t)
{
    evtimer_del(t->event);
}

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct net_watch *w = arg;
    w->call(w->context);
}

struct net_watch *net_watch_new(struct net_loop *loop, int fd, net_call *call, void *context)
{
    struct net_watch *w = mem_zalloc(sizeof *w);
    w->call = call;
    w->context = context;
    w->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, watch_ready, w);
    assert(w->event);
    event_add(w->event, NULL);
    return w;
}

void net_watch_free(struct net_watch *w)
{
    if (!w)
        return;
    event_free(w->event);
    free(w);
}

void net_watch_pause(struct net_watch *w, bool paused)
{
    if (paused)
        event_del(w->event);
    else
        event_add(w->event, NULL);
}

static void wake_ready(void *arg)
{
    struct net_wake *w = arg;
    uint64_t count;
    if (read(w->fd, &count, sizeof count) == (ssize_t)sizeof count)
        w->call(w->context);
}

struct net_wake *net_wake_new(struct net_loop *loop, net_call *call, void *context)
{
    struct net_wake *w = mem_zalloc(sizeof *w);
    w->call = call;
    w->context = context;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert(w->fd >= 0);
    w->watch = net_watch_new(loop, w->fd, wake_ready, w);
    return w;
}

void net_wake_free(struct net_wake *w)
{
    if (!w)
        return;
    net_watch_free(w->watch);
    close(w->fd);
    free(w);
}

void net_wake_signal(struct net_wake *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->fd, &one, sizeof one);
    (void)n; /* full: a call is due already */
}
