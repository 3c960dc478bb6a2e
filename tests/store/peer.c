#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

enum { WAIT_MS = 20000, ARENA_BYTES_MAX = 4 << 20 };

_Noreturn void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

void peer_init_fd(struct peer *p, int fd)
{
    *p = (struct peer){.fd = fd};
    ipc_reader_init(&p->reader);
    arena_init(&p->arena, ARENA_BYTES_MAX);
}

int peer_init(struct peer *p)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    peer_init_fd(p, fds[0]);
    return fds[1];
}

void peer_done(struct peer *p)
{
    close(p->fd);
    ipc_reader_done(&p->reader);
    arena_done(&p->arena);
}

void peer_send_bytes(struct peer *p, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(p->fd, bytes.p, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        CHECK(n > 0 || errno == EINTR);
        bytes = span_from(bytes, n > 0 ? (size_t)n : 0);
    }
}

void peer_send(struct peer *p, const struct ipc_message *m)
{
    struct buf _cleanup_buf_ out;
    buf_init(&out, IPC_FRAME_MAX);
    CHECK(ipc_encode(&out, m) == BRANT_OK);
    peer_send_bytes(p, buf_span(&out));
}

uint32_t peer_ask(struct peer *p, struct ipc_message *m)
{
    m->tag = ++p->last_tag;
    peer_send(p, m);
    return m->tag;
}

bool peer_receive(struct peer *p, struct ipc_message *ret)
{
    uint8_t bytes[65536];
    for (;;) {
        struct span frame;
        int rc = ipc_reader_next(&p->reader, &frame);
        if (rc == BRANT_OK) {
            arena_reset(&p->arena);
            CHECK(ipc_decode(frame, &p->arena, ret) == BRANT_OK);
            return true;
        }
        CHECK(rc == BRANT_ETRYLATER);
        struct pollfd wait = {.fd = p->fd, .events = POLLIN};
        if (poll(&wait, 1, WAIT_MS) != 1)
            fail("no answer within %d ms", WAIT_MS);
        /* No more than the reader surely takes. */
        ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_PEEK);
        if (n <= 0)
            return false;
        size_t took = ipc_reader_feed(&p->reader, span_make(bytes, (size_t)n));
        CHECK(took > 0 && recv(p->fd, bytes, took, 0) == (ssize_t)took);
    }
}

void peer_expect(struct peer *p, uint16_t type, struct ipc_message *ret)
{
    if (!peer_receive(p, ret))
        fail("closed, while waiting for %s", ipc_type_name(type));
    if (ret->type != type)
        fail("%s came instead of %s", ipc_type_name(ret->type), ipc_type_name(type));
}

void peer_call(struct peer *p, struct ipc_message *m, struct ipc_message *ret)
{
    uint32_t tag = peer_ask(p, m);
    uint16_t type = m->type; /* both may be one */
    do {
        if (!peer_receive(p, ret))
            fail("closed, while waiting for the answer to %s", ipc_type_name(type));
    } while (ret->type == IPC_TYPE_BODY_CREDIT || ret->type == IPC_TYPE_PROGRESS);
    if (ret->type != ipc_answer(type))
        fail("%s answers %s", ipc_type_name(ret->type), ipc_type_name(type));
    CHECK(ret->tag == tag);
}

void peer_expect_closed(struct peer *p)
{
    struct ipc_message m;
    while (peer_receive(p, &m))
        continue;
}
