#include "net/signer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/frame.h"
#include "os/clock.h"

enum { FRAME_MAX_BYTES = 4096 }; /* a question, or an answer */

struct net_signer {
    int fd; /* -1: no channel */
    uint32_t timeout_ms, tag;
    void (*lost)(void *context, bool at_fault, const char *text);
    void *context;
    struct net_signer_stats stats;
};

struct net_signer *net_signer_new(void (*lost)(void *context, bool at_fault, const char *text), void *context)
{
    struct net_signer *s = mem_zalloc(sizeof *s);
    s->fd = -1;
    s->timeout_ms = NET_SIGNER_TIMEOUT_MS;
    s->lost = lost;
    s->context = context;
    return s;
}

static void hang_up(struct net_signer *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void net_signer_free(struct net_signer *s)
{
    if (!s)
        return;
    hang_up(s);
    free(s);
}

void net_signer_channel(struct net_signer *s, int fd)
{
    hang_up(s);
    s->fd = fd;
}

bool net_signer_is_up(const struct net_signer *s)
{
    return s->fd >= 0;
}

void net_signer_set_timeout(struct net_signer *s, uint32_t timeout_ms)
{
    s->timeout_ms = timeout_ms;
}

struct net_signer_stats net_signer_stats(const struct net_signer *s)
{
    return s->stats;
}

/* The one way by which a channel becomes useless. */
static int lose(struct net_signer *s, bool at_fault, const char *text)
{
    hang_up(s);
    if (s->lost)
        s->lost(s->context, at_fault, text);
    return BRANT_ESTATE;
}

/* Until the socket is ready or the deadline has come. */
static int wait_for(struct net_signer *s, short events, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now_ms = os_clock_mono_ms();
        bool late = now_ms >= deadline_ms;
        struct pollfd ready = {.fd = s->fd, .events = events};
        int n = poll(&ready, 1, late ? 0 : (int)(deadline_ms - now_ms));
        if (n > 0)
            return BRANT_OK;
        if (n < 0 && errno != EINTR)
            return lose(s, false, "poll failed");
        if (late) /* and it was looked once more: it may be we who stood still */
            return lose(s, true, "no answer in time");
    }
}

/* Bytes that nobody asked for would be taken for the answer. */
static int check_quiet(struct net_signer *s)
{
    uint8_t byte;
    ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return lose(s, true, "an answer without a question");
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        return lose(s, false, "the signer is gone");
    return BRANT_OK;
}

static int send_all(struct net_signer *s, struct span out, uint64_t deadline_ms)
{
    while (out.len > 0) {
        ssize_t n = send(s->fd, out.p, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            out = span_from(out, (size_t)n);
        else if (n < 0 && errno == EAGAIN) {
            int rc = wait_for(s, POLLOUT, deadline_ms);
            if (rc < 0)
                return rc;
        } else if (n < 0 && errno != EINTR)
            return lose(s, false, "the signer is gone");
    }
    return BRANT_OK;
}

/* Reads exactly one frame; behind it nothing may follow. */
static int receive_frame(struct net_signer *s, struct ipc_reader *reader, uint64_t deadline_ms,
                         struct span *ret)
{
    size_t total = 0;
    for (;;) {
        uint8_t bytes[FRAME_MAX_BYTES];
        ssize_t n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0)
            return lose(s, false, "the signer is gone");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return lose(s, false, "the signer is gone");
        if (n > 0) {
            total += (size_t)n;
            ipc_reader_feed(reader, span_make(bytes, (size_t)n));
            int rc = ipc_reader_next(reader, ret);
            if (rc == BRANT_OK && ret->len == total)
                return BRANT_OK;
            if (rc != BRANT_ETRYLATER || total > FRAME_MAX_BYTES)
                return lose(s, true, "malformed answer");
            continue;
        }
        int rc = wait_for(s, POLLIN, deadline_ms);
        if (rc < 0)
            return rc;
    }
}

static int take_answer(struct net_signer *s, struct span frame, uint8_t *ret, size_t *ret_len)
{
    _cleanup_arena_ struct arena arena;
    arena_init(&arena, FRAME_MAX_BYTES);
    struct ipc_message m;
    if (ipc_decode(frame, &arena, &m) < 0 || m.type != IPC_TYPE_SIGNED || m.tag != s->tag)
        return lose(s, true, "malformed answer");
    if (m.signed_data.status == IPC_NOT_FOUND)
        return BRANT_ENOTFOUND;
    if (m.signed_data.status != IPC_OK)
        return BRANT_EREFUSED;
    struct span signature = m.signed_data.signature;
    if (signature.len == 0 || signature.len > *ret_len)
        return BRANT_ELIMIT;
    memcpy(ret, signature.p, signature.len);
    *ret_len = signature.len;
    return BRANT_OK;
}

static int call(struct net_signer *s, const struct ipc_message *m, uint8_t *ret, size_t *ret_len)
{
    uint64_t deadline_ms = os_clock_mono_ms() + s->timeout_ms;
    _cleanup_buf_ struct buf question;
    buf_init(&question, FRAME_MAX_BYTES);
    int rc = ipc_encode(&question, m);
    if (rc == BRANT_OK)
        rc = check_quiet(s);
    if (rc == BRANT_OK)
        rc = send_all(s, buf_span(&question), deadline_ms);
    if (rc < 0)
        return rc;
    struct ipc_reader reader;
    struct span frame;
    ipc_reader_init(&reader);
    rc = receive_frame(s, &reader, deadline_ms, &frame);
    if (rc == BRANT_OK)
        rc = take_answer(s, frame, ret, ret_len);
    ipc_reader_done(&reader);
    return rc;
}

int net_signer_call(struct net_signer *s, struct span key_id, enum ipc_sign_kind kind, struct span data,
                    uint8_t *ret, size_t *ret_len)
{
    struct ipc_message m = {.type = IPC_TYPE_SIGN, .tag = ++s->tag};
    m.sign.key_id = key_id;
    m.sign.kind = (uint8_t)kind;
    m.sign.data = data;
    s->stats.calls++;
    int rc = s->fd < 0 ? BRANT_ESTATE : call(s, &m, ret, ret_len);
    s->stats.failures += rc < 0;
    return rc;
}
