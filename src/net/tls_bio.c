#include "net/tls_bio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/tls.h"

/* Reads along while the handshake is in clear. OpenSSL makes room for a message when its header has come, up
 * to 128 KiB of a ClientHello that may never follow; here such a header ends the connection first. */
struct guard {
    bool off;   /* what follows is encrypted, or no handshake at all */
    bool retry; /* we have sent a HelloRetryRequest: another ClientHello comes, maybe behind a CCS */
    uint8_t record[5], message[4];
    unsigned record_have, message_have; /* bytes of a header that is arriving */
    size_t record_left, message_left;   /* bytes of a body */
    bool skip;                          /* the body of this record is no handshake */
};

struct source {
    int fd;
    uint8_t *first; /* owned; NULL when all of it was read */
    size_t first_len, first_read;
    bool eof;
    int error;
    struct guard guard;
};

enum { RECORD_CCS = 20, RECORD_HANDSHAKE = 22, SERVER_HELLO = 2 };

static BIO_METHOD *method;

static void begin_record(struct guard *g)
{
    g->record_have = 0;
    g->record_left = (size_t)g->record[3] << 8 | g->record[4];
    g->skip = g->record[0] == RECORD_CCS && g->retry;
    g->off = g->record[0] != RECORD_HANDSHAKE && !g->skip;
}

/* One byte of a handshake record that is not inside a message's body. */
static bool message_header_byte(struct guard *g, uint8_t byte)
{
    g->message[g->message_have++] = byte;
    if (g->message_have < sizeof g->message)
        return true;
    g->message_have = 0;
    g->message_left = (size_t)g->message[1] << 16 | (size_t)g->message[2] << 8 | g->message[3];
    return g->message_left <= NET_TLS_MESSAGE_MAX;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* False: a message that is too long. */
static bool watch(struct guard *g, const uint8_t *p, size_t len)
{
    while (len > 0 && !g->off) {
        size_t step = 1;
        if (g->record_left == 0) {
            g->record[g->record_have++] = *p;
            if (g->record_have == sizeof g->record)
                begin_record(g);
        } else {
            if (g->skip)
                step = least(len, g->record_left);
            else if (g->message_left > 0) {
                step = least(len, least(g->record_left, g->message_left));
                g->message_left -= step;
            } else if (!message_header_byte(g, *p))
                return false;
            g->record_left -= step;
        }
        p += step;
        len -= step;
    }
    return true;
}

/* RFC 8446 4.1.3: a HelloRetryRequest is a ServerHello with this random. */
static void watch_output(struct guard *g, const char *from, size_t len)
{
    static const uint8_t retry[] = {0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11};
    enum { MESSAGE_AT = 5, RANDOM_AT = 11 };
    if (!g->off && len >= RANDOM_AT + sizeof retry && from[0] == RECORD_HANDSHAKE &&
        from[MESSAGE_AT] == SERVER_HELLO && memcmp(from + RANDOM_AT, retry, sizeof retry) == 0)
        g->retry = true;
}

static bool may_be_retried(struct source *s)
{
    if (errno == EAGAIN || errno == EINTR)
        return true;
    s->error = errno;
    return false;
}

static int read_first(struct source *s, char *to, size_t len)
{
    size_t left = s->first_len - s->first_read;
    len = len < left ? len : left;
    memcpy(to, s->first + s->first_read, len);
    s->first_read += len;
    if (s->first_read == s->first_len) {
        free(s->first);
        s->first = NULL;
    }
    return (int)len;
}

static int bio_read(BIO *bio, char *to, int len)
{
    struct source *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    ssize_t n = s->first ? read_first(s, to, (size_t)len) : recv(s->fd, to, (size_t)len, MSG_DONTWAIT);
    s->eof = s->eof || n == 0;
    if (n < 0 && may_be_retried(s))
        BIO_set_retry_read(bio);
    if (n > 0 && !watch(&s->guard, (const uint8_t *)to, (size_t)n)) {
        s->error = EMSGSIZE;
        return -1;
    }
    return (int)n;
}

static int bio_write(BIO *bio, const char *from, int len)
{
    struct source *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    watch_output(&s->guard, from, (size_t)len);
    ssize_t n = send(s->fd, from, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && may_be_retried(s))
        BIO_set_retry_write(bio);
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long arg, void *pointer)
{
    struct source *s = BIO_get_data(bio);
    (void)arg;
    switch (cmd) {
    case BIO_C_GET_FD:
        if (pointer)
            *(int *)pointer = s->fd;
        return s->fd;
    case BIO_CTRL_EOF:
        return s->eof;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_SET_CLOSE: /* the socket is never ours to close */
        return 1;
    default:
        return 0;
    }
}

static int bio_destroy(BIO *bio)
{
    struct source *s = BIO_get_data(bio);
    if (s)
        free(s->first);
    free(s);
    return 1;
}

void net_tls_bio_init(void)
{
    if (method)
        return;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "stream");
    assert(method);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO_meth_set_destroy(method, bio_destroy);
}

BIO *net_tls_bio_new(int fd, struct span first)
{
    BIO *bio = BIO_new(method);
    assert(bio);
    struct source *s = mem_zalloc(sizeof *s);
    s->fd = fd;
    if (first.len > 0) {
        s->first = mem_dup(first.p, first.len);
        s->first_len = first.len;
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    return bio;
}

bool net_tls_bio_eof(BIO *bio)
{
    return ((struct source *)BIO_get_data(bio))->eof;
}

int net_tls_bio_error(BIO *bio)
{
    return ((struct source *)BIO_get_data(bio))->error;
}
