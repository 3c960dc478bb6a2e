#include "net/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/frame.h"
#include "os/clock.h"
#include "os/fdpass.h"

enum { ARENA_BYTES = 1 << 20 };

int net_control_send(int sock, const struct ipc_message *m, int fd)
{
    _cleanup_buf_ struct buf packet;
    buf_init(&packet, NET_CONTROL_PACKET_MAX);
    int rc = ipc_encode(&packet, m);
    if (rc < 0)
        return rc;
    return os_fdpass_send(sock, buf_span(&packet), &fd, fd >= 0 ? 1 : 0);
}

void net_control_init(struct net_control *c)
{
    *c = (struct net_control){.fd = -1};
    arena_init(&c->arena, ARENA_BYTES);
    c->packet = mem_alloc(NET_CONTROL_PACKET_MAX);
}

static void drop_fd(struct net_control *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void net_control_done(struct net_control *c)
{
    drop_fd(c);
    arena_done(&c->arena);
    free(c->packet);
    c->packet = NULL;
}

/* The packet must be one frame, whose own length says so too. */
static int decode(struct net_control *c, size_t len)
{
    struct ipc_reader reader;
    struct span frame;
    ipc_reader_init(&reader);
    size_t taken = ipc_reader_feed(&reader, span_make(c->packet, len));
    int rc = taken == len ? ipc_reader_next(&reader, &frame) : BRANT_ESYNTAX;
    if (rc == BRANT_OK && frame.len != len)
        rc = BRANT_ESYNTAX;
    ipc_reader_done(&reader);
    if (rc < 0)
        return BRANT_ESYNTAX;
    arena_reset(&c->arena);
    return ipc_decode(span_make(c->packet, len), &c->arena, &c->message) < 0 ? BRANT_ESYNTAX : BRANT_OK;
}

int net_control_receive(int sock, enum ipc_role from, enum ipc_role self, struct net_control *c)
{
    drop_fd(c);
    int fds[OS_FDPASS_MAX];
    size_t len, count;
    int rc = os_fdpass_recv(sock, c->packet, NET_CONTROL_PACKET_MAX, &len, fds, &count);
    if (rc < 0)
        return rc;
    if (count > 1) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return BRANT_ESYNTAX;
    }
    if (count == 1)
        c->fd = fds[0];
    if (len == 0)
        return BRANT_ESTATE;
    rc = decode(c, len);
    if (rc == BRANT_OK && !ipc_permitted(c->message.type, from, self))
        rc = BRANT_EREFUSED;
    if (rc < 0)
        drop_fd(c);
    return rc;
}

int net_control_wait(int sock, enum ipc_role from, enum ipc_role self, int timeout_ms, struct net_control *c)
{
    uint64_t end_ms = os_clock_mono_ms() + (uint64_t)timeout_ms;
    for (;;) {
        int rc = net_control_receive(sock, from, self, c);
        if (rc != BRANT_ETRYLATER)
            return rc;
        uint64_t now_ms = os_clock_mono_ms();
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        if (now_ms >= end_ms || (poll(&ready, 1, (int)(end_ms - now_ms)) < 0 && errno != EINTR))
            return BRANT_ETRYLATER;
    }
}
