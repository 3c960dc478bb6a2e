#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/target.h"
#include "ipc/frame.h"
#include "os/fdpass.h"

enum {
    ARENA_MAX = 64 << 20,   /* decoded lists of one answer */
    PACKET_MAX = 256 << 10, /* bytes of one packet of the control socket */
};

struct client {
    int fd;
    struct offline *offline; /* the store this process started; NULL when the server runs */
    uint64_t quota_default_bytes;
    uint32_t tag;
    uint8_t *packet;    /* owned; PACKET_MAX bytes */
    struct span unread; /* what of it the reader had no room for */
    struct ipc_reader reader;
    struct arena arena;
    struct ipc_message answer;
    bool progress_shown;
    int passed_fd; /* a descriptor that came with the answer, or -1 */
};

struct client *client_new(int fd)
{
    struct client *c = mem_zalloc(sizeof *c);

    c->packet = mem_alloc(PACKET_MAX);
    c->fd = fd;
    c->passed_fd = -1;
    ipc_reader_init(&c->reader);
    arena_init(&c->arena, ARENA_MAX);
    return c;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    if (c->passed_fd >= 0)
        close(c->passed_fd);
    offline_stop(c->offline);
    ipc_reader_done(&c->reader);
    arena_done(&c->arena);
    free(c->packet);
    free(c);
}

uint64_t client_quota_default(const struct client *c)
{
    return c->quota_default_bytes;
}

/* A connected socket, or -1 with errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int send_all(int fd, struct span bytes)
{
    while (bytes.len) {
        ssize_t n = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return BRANT_EIO;
        bytes = span_from(bytes, (size_t)n);
    }
    return BRANT_OK;
}

/* Waits for bytes, and keeps a descriptor that comes with them. */
static int receive(struct client *c)
{
    int fds[OS_FDPASS_MAX];
    size_t len, fd_count, taken;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    while (c->unread.len == 0) {
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return BRANT_EIO;
        if (os_fdpass_recv(c->fd, c->packet, PACKET_MAX, &len, fds, &fd_count) != BRANT_OK || len == 0)
            return BRANT_EIO;
        c->unread = span_make(c->packet, len);
        for (size_t i = 0; i < fd_count; i++) {
            if (c->passed_fd >= 0)
                close(c->passed_fd);
            c->passed_fd = fds[i];
        }
    }
    taken = ipc_reader_feed(&c->reader, c->unread);
    c->unread = span_from(c->unread, taken);
    return taken ? BRANT_OK : BRANT_ELIMIT;
}

static int next_message(struct client *c, struct ipc_message *ret)
{
    struct span frame;
    int rc;

    while ((rc = ipc_reader_next(&c->reader, &frame)) == BRANT_ETRYLATER) {
        rc = receive(c);
        if (rc != BRANT_OK)
            return rc;
    }
    if (rc != BRANT_OK)
        return rc;
    arena_reset(&c->arena);
    return ipc_decode(frame, &c->arena, ret);
}

static void show_progress(struct client *c, const struct ipc_progress *p)
{
    _cleanup_buf_ struct buf text;

    buf_init(&text, 1024);
    if (!isatty(STDERR_FILENO))
        return;
    codec_escape(&text, p->text);
    if (p->total)
        fprintf(stderr, "\r\033[K%s %llu%%", buf_cstr(&text), (unsigned long long)(p->done * 100 / p->total));
    else
        fprintf(stderr, "\r\033[K%s %llu", buf_cstr(&text), (unsigned long long)p->done);
    c->progress_shown = true;
}

int client_tell(struct client *c, const struct ipc_message *m, int fd)
{
    _cleanup_buf_ struct buf frame;
    int rc;

    buf_init(&frame, IPC_FRAME_MAX);
    if (ipc_encode(&frame, m) != BRANT_OK)
        return cli_refuse("too long for one message (%s)", ipc_type_name(m->type));
    rc = fd < 0 ? send_all(c->fd, buf_span(&frame)) : os_fdpass_send(c->fd, buf_span(&frame), &fd, 1);
    mem_wipe(frame.data, frame.len); /* it may hold a password */
    return rc == BRANT_OK ? CLI_DONE : cli_refuse("the connection to the server was lost");
}

int client_expect(struct client *c, enum ipc_type type, const struct ipc_message **ret)
{
    int rc;

    do
        rc = next_message(c, &c->answer);
    while (rc == BRANT_OK && c->answer.type == IPC_TYPE_PROGRESS &&
           (show_progress(c, &c->answer.progress), true));
    if (c->progress_shown)
        fputs("\r\033[K", stderr);
    c->progress_shown = false;
    if (rc != BRANT_OK)
        return cli_refuse("the connection was lost while waiting for the answer; the log says more");
    if (c->answer.type != (uint16_t)type)
        return cli_refuse(
            "an answer that does not belong to the question (%s); are the programs of one version?",
            ipc_type_name(c->answer.type));
    *ret = &c->answer;
    return CLI_DONE;
}

int client_ask(struct client *c, const struct ipc_message *ask, const struct ipc_message **ret)
{
    struct ipc_message tagged = *ask;

    tagged.tag = ++c->tag;
    if (client_tell(c, &tagged, -1) != CLI_DONE || client_expect(c, ipc_answer(ask->type), ret) != CLI_DONE)
        return CLI_REFUSED;
    if ((*ret)->tag != tagged.tag)
        return cli_refuse("an answer to another question came (%s)", ipc_type_name((*ret)->type));
    return CLI_DONE;
}

int client_do(struct client *c, const struct ipc_message *ask)
{
    const struct ipc_message *answer;

    if (client_ask(c, ask, &answer) != CLI_DONE)
        return CLI_REFUSED;
    if (answer->result.status != IPC_OK)
        return client_refused(answer->result.status, answer->result.text);
    return CLI_DONE;
}

int client_refused(uint8_t status, struct span text)
{
    _cleanup_buf_ struct buf escaped;

    buf_init(&escaped, 4 * IPC_TEXT_MAX);
    codec_escape(&escaped, text);
    if (text.len)
        return cli_refuse("%s", buf_cstr(&escaped));
    return cli_refuse("%s", ipc_status_text(status));
}

/* Nothing answers at the control socket: is that because nothing runs? */
static bool nothing_runs(int error)
{
    return error == ENOENT || error == ECONNREFUSED;
}

static int refuse_connect(const char *path)
{
    if (errno == EACCES)
        return cli_refuse("%s: permission denied; ask as root or as a member of control_group", path);
    if (nothing_runs(errno))
        return cli_refuse("no server runs here (%s: %s)", path, strerror(errno));
    return cli_refuse("%s: %s", path, strerror(errno));
}

static int attach(struct client *supervisor, struct client **ret)
{
    struct ipc_message ask = {.type = IPC_TYPE_ATTACH, .attach = {.version = IPC_VERSION}};
    const struct ipc_message *answer;

    if (client_ask(supervisor, &ask, &answer) != CLI_DONE)
        return CLI_REFUSED;
    if (answer->attached.status != IPC_OK)
        return client_refused(answer->attached.status, answer->attached.text);
    if (supervisor->passed_fd < 0)
        return cli_refuse("the supervisor sent no channel to the store");
    *ret = client_new(supervisor->passed_fd);
    supervisor->passed_fd = -1;
    return CLI_DONE;
}

static int start_offline(const struct conf *conf, struct client **ret)
{
    struct offline *offline;
    int fd, rc = offline_start(conf, &fd, &offline);

    if (rc != CLI_DONE)
        return rc;
    *ret = client_new(fd);
    (*ret)->offline = offline;
    return CLI_DONE;
}

static int open_with(const struct conf *conf, bool store, struct client **ret)
{
    _cleanup_buf_ struct buf path;
    struct client *supervisor;
    int fd, rc;

    buf_init(&path, 4096);
    buf_printf(&path, "%s/control.sock", conf->run_dir);
    fd = connect_to(buf_cstr(&path));
    if (fd < 0)
        return store && nothing_runs(errno) ? start_offline(conf, ret) : refuse_connect(buf_cstr(&path));
    supervisor = client_new(fd);
    if (!store) {
        *ret = supervisor;
        return CLI_DONE;
    }
    rc = attach(supervisor, ret);
    client_free(supervisor);
    return rc;
}

static int open_target(const struct cli *cli, bool store, struct client **ret)
{
    struct conf conf;
    int rc = target_find(cli, &conf);

    if (rc != CLI_DONE)
        return rc;
    rc = open_with(&conf, store, ret);
    if (rc == CLI_DONE)
        (*ret)->quota_default_bytes = conf.quota_default_bytes;
    conf_done(&conf);
    return rc;
}

int client_open_supervisor(const struct cli *cli, struct client **ret)
{
    return open_target(cli, false, ret);
}

int client_open_store(const struct cli *cli, struct client **ret)
{
    return open_target(cli, true, ret);
}
