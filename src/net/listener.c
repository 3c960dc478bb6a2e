#include "net/listener.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "os/limits.h"
#include "os/peercred.h"

struct net_listener {
    struct net_listener_conf conf;
    struct net_watch *watch;
    struct net_timer *resume;
    int fd_end;  /* a connection with this descriptor or a higher one is turned away */
    int reserve; /* given up to accept a connection that is only turned away; -1 while it is out */
    bool paused_by_owner, paused_by_us;
    struct net_listener_stats stats;
};

/* Any descriptor will do; an eventfd needs no file. */
static int take_reserve(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* The kernel gives the lowest that is free: those from here on are the last ones. */
static int first_of_headroom(void)
{
    uint64_t limit = os_limits_open_files();
    return limit > INT_MAX                                 ? INT_MAX
           : limit < (uint64_t)(4 * NET_LISTENER_HEADROOM) ? (int)limit
                                                           : (int)limit - NET_LISTENER_HEADROOM;
}

static void apply_pause(struct net_listener *l)
{
    net_watch_pause(l->watch, l->paused_by_owner || l->paused_by_us);
}

static void pause_for_a_moment(struct net_listener *l)
{
    l->stats.pauses++;
    l->paused_by_us = true;
    apply_pause(l);
    net_timer_set(l->resume, NET_LISTENER_PAUSE_MS);
}

void net_listener_turn_away(int fd, struct span farewell)
{
    if (farewell.len > 0) {
        ssize_t n = send(fd, farewell.p, farewell.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* a peer that cannot even take that learns it from the close */
        shutdown(fd, SHUT_WR);
        /* What the peer has sent already would turn the close into a reset and lose the farewell. */
        char rest[512];
        for (int i = 0; i < 8 && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++)
            ;
    }
    close(fd);
}

static int accept_one(const struct net_listener *l, struct sockaddr_storage *ret_peer)
{
    socklen_t len = sizeof *ret_peer;
    return accept4(l->conf.fd, (struct sockaddr *)ret_peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void shed(struct net_listener *l)
{
    for (int i = 0; i < NET_LISTENER_BATCH; i++) {
        if (l->reserve >= 0)
            close(l->reserve);
        l->reserve = -1;
        struct sockaddr_storage peer;
        int fd = accept_one(l, &peer);
        if (fd >= 0) {
            net_listener_turn_away(fd, l->conf.farewell);
            l->stats.shed++;
        }
        l->reserve = take_reserve();
        if (fd < 0)
            break;
    }
    pause_for_a_moment(l);
}

/* A program of this machine: who runs it, as the kernel saw it when it connected. */
static void ask_kernel(const struct net_listener *l, struct net_accepted *a)
{
    struct os_peer who;
    a->is_local = true;
    a->uid = a->gid = UINT32_MAX;
    if (os_peercred(a->fd, &who) < 0)
        return;
    a->uid = who.uid;
    a->gid = who.gid;
    a->pid = who.pid;
    a->is_trusted =
        who.uid == 0 || (l->conf.trusted_uid != UINT32_MAX && who.uid == l->conf.trusted_uid) ||
        (l->conf.trusted_gid != UINT32_MAX && os_peercred_in_group(a->fd, (gid_t)l->conf.trusted_gid));
}

static void hand_over(struct net_listener *l, int fd, const struct sockaddr_storage *peer)
{
    struct net_accepted a = {.fd = fd, .peer = net_addr_from_sockaddr(peer), .local = net_addr_local(fd)};
    int one = 1;
    if (peer->ss_family == AF_UNIX)
        ask_kernel(l, &a);
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->stats.accepted++;
    l->conf.accepted(l->conf.context, &a);
}

static void readable(void *arg)
{
    struct net_listener *l = arg;
    bool crowded = false;
    for (int i = 0; i < NET_LISTENER_BATCH; i++) {
        if (l->paused_by_owner)
            return;
        struct sockaddr_storage peer = {0};
        int fd = accept_one(l, &peer);
        if (fd >= l->fd_end) {
            net_listener_turn_away(fd, l->conf.farewell);
            l->stats.shed++;
            if (!crowded)
                pause_for_a_moment(l);
            crowded = true;
            continue;
        }
        if (fd >= 0) {
            hand_over(l, fd, &peer);
            continue;
        }
        switch (errno) {
        case EMFILE:
        case ENFILE:
            shed(l);
            return;
        case ENOBUFS:
        case ENOMEM:
            pause_for_a_moment(l);
            return;
        case ECONNABORTED:
        case EINTR:
        case EPERM:
        case EPROTO:
            continue; /* that connection is gone; the next may be fine */
        default:
            return; /* EAGAIN: all taken */
        }
    }
}

static void resume(void *arg)
{
    struct net_listener *l = arg;
    if (l->reserve < 0)
        l->reserve = take_reserve();
    l->paused_by_us = false;
    apply_pause(l);
}

struct net_listener *net_listener_new(struct net_loop *loop, const struct net_listener_conf *conf)
{
    struct net_listener *l = mem_zalloc(sizeof *l);
    l->conf = *conf;
    l->fd_end = first_of_headroom();
    l->reserve = take_reserve();
    l->resume = net_timer_new(loop, resume, l);
    l->watch = net_watch_new(loop, conf->fd, readable, l);
    return l;
}

void net_listener_free(struct net_listener *l)
{
    if (!l)
        return;
    net_watch_free(l->watch);
    net_timer_free(l->resume);
    if (l->reserve >= 0)
        close(l->reserve);
    close(l->conf.fd);
    free(l);
}

void net_listener_pause(struct net_listener *l, bool paused)
{
    l->paused_by_owner = paused;
    apply_pause(l);
}

struct net_listener_stats net_listener_stats(const struct net_listener *l)
{
    return l->stats;
}
