/* The event loop: a thin hold on libevent's base, with the three things a role waits for besides its streams:
 * time, a descriptor, and a call from another thread. One loop per process, used from one thread, except
 * net_wake_signal. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;

struct net_loop {
    struct event_base *base; /* owned */
    bool stopping;
};

/* Makes the base with all its descriptors, so before the sandbox. BRANT_EIO. */
int net_loop_init(struct net_loop *loop);
void net_loop_done(struct net_loop *loop);

/* Runs until net_loop_stop. */
void net_loop_run(struct net_loop *loop);
/* The loop ends after the callbacks that are due now. */
void net_loop_stop(struct net_loop *loop);
uint64_t net_loop_now_ms(struct net_loop *loop); /* os_clock_mono_ms */

typedef void net_call(void *context);

/* A one-shot timer that can be set again and again. */
struct net_timer;
struct net_timer *net_timer_new(struct net_loop *loop, net_call *call, void *context);
void net_timer_free(struct net_timer *timer);                /* NULL is allowed */
void net_timer_set(struct net_timer *timer, uint64_t in_ms); /* replaces what was set; 0: in this round */
void net_timer_stop(struct net_timer *timer);

/* Calls while a descriptor is readable. The descriptor stays the caller's and is closed after the free. */
struct net_watch;
struct net_watch *net_watch_new(struct net_loop *loop, int fd, net_call *call, void *context);
void net_watch_free(struct net_watch *watch); /* NULL is allowed */
void net_watch_pause(struct net_watch *watch, bool paused);

/* A call into the loop's thread from any thread; several signals may become one call. */
struct net_wake;
struct net_wake *net_wake_new(struct net_loop *loop, net_call *call, void *context);
void net_wake_free(struct net_wake *wake); /* NULL is allowed */
void net_wake_signal(struct net_wake *wake);

#endif
