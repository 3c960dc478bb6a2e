/* Accepting connections on an inherited listening socket.
 *
 * When the process or the system is out of descriptors, a descriptor held in reserve is given up to take one
 * waiting connection at a time, tell it to come back later in its own protocol, and close it; then the
 * reserve is taken again. A few are told per round; then accepting pauses for a moment instead of spinning,
 * and goes on by itself.
 *
 * The last descriptors of the process are not for connections either: whatever clients do, a new channel to
 * another process can be received. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/ip.h"
#include "net/loop.h"

enum {
    NET_LISTENER_BATCH = 16,     /* connections accepted in one go, so that other work is not starved */
    NET_LISTENER_PAUSE_MS = 100, /* after running out of descriptors or memory */
    NET_LISTENER_HEADROOM = 8,   /* descriptors that connections leave to the process */
};

struct net_accepted {
    int fd;                     /* non-blocking, close-on-exec, TCP_NODELAY; the receiver's */
    struct ip_addr peer, local; /* IP_NONE on a Unix socket */
    struct ip_addr listener;    /* as configured: may be a wildcard; filled in by who has the listener */
    /* On a Unix socket: who connected, as the kernel says. trusted: root, the owner, or the group of conf. */
    bool is_local, is_trusted;
    uint32_t uid, gid;
    int32_t pid;
};

struct net_listener_conf {
    int fd; /* listening, non-blocking; owned by the listener from now on */
    struct span
        farewell; /* for a connection that cannot be served, e.g. "421 …\r\n"; borrowed, may be empty */
    void (*accepted)(void *context, const struct net_accepted *a);
    void *context;
    /* On a Unix socket: whom to trust besides root; UINT32_MAX: nobody. */
    uint32_t trusted_uid, trusted_gid;
};

struct net_listener_stats {
    uint64_t accepted; /* handed over */
    uint64_t shed;     /* told to come back later */
    uint64_t pauses;
};

struct net_listener;
struct net_listener *net_listener_new(struct net_loop *loop, const struct net_listener_conf *conf);
void net_listener_free(struct net_listener *l); /* closes its copy of the socket; NULL is allowed */
/* Stops and resumes accepting, for an owner that has enough to do. Waiting connections stay in the backlog,
 * where another process with the same socket may take them. */
void net_listener_pause(struct net_listener *l, bool paused);
struct net_listener_stats net_listener_stats(const struct net_listener *l);

/* Says farewell to a connection that the owner will not serve, and closes it. */
void net_listener_turn_away(int fd, struct span farewell);

#endif
