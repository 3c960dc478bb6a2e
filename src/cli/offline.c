#include "cli/offline.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/client.h"
#include "log/frame.h"
#include "log/out.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/spawn.h"

enum { STOP_WAIT_MS = 30000, TOKEN_KEY_BYTES = 32 };

struct offline {
    struct os_child child;
    struct client *control;
    int log_fd;
};

/* Where the roles are: beside this program, or where `make install` puts them. */
static int find_store(struct buf *out)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (len <= 0)
        return cli_refuse("/proc/self/exe: %s", strerror(errno));
    self[len] = '\0';
    slash = strrchr(self, '/');
    *slash = '\0';
    buf_printf(out, "%s/brant-store", self);
    if (access(buf_cstr(out), X_OK) == 0)
        return CLI_DONE;
    buf_reset(out);
    buf_printf(out, "%s/../libexec/brant/brant-store", self);
    if (access(buf_cstr(out), X_OK) == 0)
        return CLI_DONE;
    return cli_refuse("brant-store is neither in %s nor in %s/../libexec/brant", self, self);
}

/* What the store has to complain about, on standard error. */
static void show_log(const struct offline *o)
{
    struct log_stamp stamp = {.time_ms = os_clock_wall_ms(), .role = "store", .pid = o->child.pid};
    struct log_decoder decoder;
    struct log_message m;
    ssize_t n;

    log_decoder_init(&decoder);
    do {
        size_t room;
        uint8_t *p = log_decoder_room(&decoder, &room);

        n = read(o->log_fd, p, room);
        log_decoder_fed(&decoder, n > 0 ? (size_t)n : 0);
        while (log_decoder_next(&decoder, &m) == BRANT_OK) {
            _cleanup_buf_ struct buf line;

            buf_init(&line, 2 * LOG_LINE_MAX);
            log_line(&line, LOG_FORMAT_KV, &stamp, &m);
            if (m.level >= LOG_WARNING)
                fputs(buf_cstr(&line), stderr);
        }
    } while (n > 0);
    log_decoder_done(&decoder);
}

/* The orders a store needs before it serves, as the supervisor gives them. */
static int give_orders(struct offline *o, const struct conf *conf, int channel_fd)
{
    _cleanup_buf_ struct buf text;
    uint8_t key[TOKEN_KEY_BYTES];
    const struct ipc_message *answer;
    struct ipc_message m = {.type = IPC_TYPE_CONFIG};

    buf_init(&text, IPC_CONFIG_MAX);
    if (conf_dump(conf, &text) != BRANT_OK)
        return cli_refuse("the configuration is too long");
    if (client_expect(o->control, IPC_TYPE_HELLO, &answer) != CLI_DONE)
        return CLI_REFUSED;
    m.config = (struct ipc_config){.generation = 1, .text = buf_span(&text)};
    if (client_ask(o->control, &m, &answer) != CLI_DONE)
        return CLI_REFUSED;
    os_random_fill(key, sizeof key);
    m = (struct ipc_message){.type = IPC_TYPE_TOKEN_KEY, .token_key = {.key = span_make(key, sizeof key)}};
    if (client_tell(o->control, &m, -1) != CLI_DONE)
        return CLI_REFUSED;
    m = (struct ipc_message){.type = IPC_TYPE_CHANNEL, .channel = {.peer_role = IPC_ROLE_CLI}};
    if (client_tell(o->control, &m, channel_fd) != CLI_DONE)
        return CLI_REFUSED;
    m = (struct ipc_message){.type = IPC_TYPE_START, .start = {.generation = 1}};
    if (client_tell(o->control, &m, -1) != CLI_DONE)
        return CLI_REFUSED;
    return client_expect(o->control, IPC_TYPE_READY, &answer); /* a report, which carries no tag */
}

struct pipes {
    int control[2], channel[2], log[2]; /* [0] is ours */
};

static int open_pipes(struct pipes *p)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->control) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->channel) != 0 ||
        pipe2(p->log, O_CLOEXEC | O_NONBLOCK) != 0)
        return cli_refuse("%s", strerror(errno));
    return CLI_DONE;
}

int offline_start(const struct conf *conf, int *ret_fd, struct offline **ret)
{
    char name[] = "brant-store", option[] = "--offline";
    char *argv[] = {name, option, NULL};
    _cleanup_buf_ struct buf path;
    struct offline *o;
    struct pipes p;

    buf_init(&path, 8192);
    if (find_store(&path) != CLI_DONE || open_pipes(&p) != CLI_DONE)
        return CLI_REFUSED;
    o = mem_zalloc(sizeof *o);
    if (os_spawn(&(struct os_spawn){.path = buf_cstr(&path),
                                    .argv = argv,
                                    .fds = (int[]){STDERR_FILENO, p.control[1], p.log[1]},
                                    .fd_count = 3},
                 &o->child) != BRANT_OK) {
        free(o);
        return cli_refuse("%s: %s", buf_cstr(&path), strerror(errno));
    }
    close(p.control[1]);
    close(p.log[1]);
    o->control = client_new(p.control[0]);
    o->log_fd = p.log[0];
    if (give_orders(o, conf, p.channel[1]) != CLI_DONE) {
        close(p.channel[0]);
        close(p.channel[1]);
        offline_stop(o);
        return CLI_REFUSED;
    }
    close(p.channel[1]);
    *ret_fd = p.channel[0];
    *ret = o;
    return CLI_DONE;
}

void offline_stop(struct offline *o)
{
    int status = 0;
    struct pollfd p;

    if (!o)
        return;
    client_free(o->control); /* a role ends when its control channel does */
    p = (struct pollfd){.fd = o->child.pidfd, .events = POLLIN};
    while (os_spawn_reap(&o->child, &status) != BRANT_OK && poll(&p, 1, STOP_WAIT_MS) != 0)
        ;
    show_log(o);
    close(o->child.pidfd);
    close(o->log_fd);
    free(o);
}
