#include "os/fdpass.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(OS_FDPASS_MAX * sizeof(int))];
};

static int failure(void)
{
    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS: /* too many descriptors are on their way, of this user's in all */
        return BRANT_ETRYLATER;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case ECONNREFUSED:
        return BRANT_ESTATE;
    case EMSGSIZE:
        return BRANT_ELIMIT;
    default:
        return BRANT_EIO;
    }
}

int os_fdpass_send(int sock, struct span data, const int *fds, size_t count)
{
    if (count > OS_FDPASS_MAX)
        return BRANT_ELIMIT;
    struct iovec iov = {.iov_len = data.len};
    memcpy(&iov.iov_base, &data.p, sizeof data.p); /* sendmsg does not write through it */
    union control control;
    memset(&control, 0, sizeof control);
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return failure();
    return (size_t)n == data.len ? BRANT_OK : BRANT_EIO;
}

static size_t collect(struct msghdr *msg, int ret_fds[OS_FDPASS_MAX], bool *ret_surplus)
{
    size_t have = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (have < OS_FDPASS_MAX)
                ret_fds[have++] = fd;
            else {
                close(fd);
                *ret_surplus = true;
            }
        }
    }
    return have;
}

int os_fdpass_recv(int sock, void *data, size_t cap, size_t *ret_len, int ret_fds[OS_FDPASS_MAX],
                   size_t *ret_count)
{
    struct iovec iov = {.iov_base = data, .iov_len = cap};
    union control control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return failure();
    int fds[OS_FDPASS_MAX];
    bool surplus = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    size_t count = collect(&msg, fds, &surplus);
    if (surplus) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return BRANT_ESYNTAX;
    }
    memcpy(ret_fds, fds, count * sizeof(int));
    *ret_len = (size_t)n;
    *ret_count = count;
    return BRANT_OK;
}
