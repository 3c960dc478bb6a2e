/* A role for testing the process frame without mail: the same role.c, sandbox and channels as the shipped
 * roles, and a line protocol in place of SMTP and POP3 that does what it is told, misdeeds included. As the
 * store it agrees to everything. Never installed.
 *
 *   pid        the process id                    fds      open descriptors
 *   file       errno of opening /etc/passwd      uid      uid and gid
 *   socket     socket(2): forbidden              exec     execve(2): forbidden
 *   abort      an assertion                      ask      asks the store; "verdict" when it answers
 *   malformed  writes nonsense to the store      forbidden  writes a message only the store may send
 *   control    says nonsense to the supervisor   generation of the configuration
 *   quit */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/pump.h"
#include "roles/common/handover.h"
#include "roles/common/role.h"

enum { LINE_MAX_BYTES = 200, REPLY_MAX_BYTES = 8192, SESSIONS_MAX = 512 };

struct session {
    struct role *role;
    struct net_pump *pump;
    struct buf line, reply;
    bool quit, asked;
};

static struct session *sessions[SESSIONS_MAX];
static size_t session_count;

/* The first Unix stream that does not listen is the channel to the store: the supervisor gives it first. */
static int store_fd(void)
{
    for (int fd = ROLE_FD_COUNT; fd < 256; fd++) {
        int type = 0, domain = 0, listens = 0;
        socklen_t len = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
            getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens)
            return fd;
    }
    return -1;
}

/* It never asks the signer for anything, but it has the channel for it. */
static void call_channel(struct role *r, enum ipc_role peer, uint32_t instance, int fd)
{
    static int signer = -1;
    (void)r;
    (void)peer;
    (void)instance;
    if (signer >= 0)
        close(signer);
    signer = fd;
}

static void write_raw(int fd, struct span bytes)
{
    if (send(fd, bytes.p, bytes.len, MSG_NOSIGNAL) < 0)
        abort();
}

static void say_forbidden(void)
{
    _cleanup_buf_ struct buf frame;
    buf_init(&frame, 4096);
    struct ipc_message m = {.type = IPC_TYPE_SESSION_VERDICT};
    if (ipc_encode(&frame, &m) < 0)
        abort();
    write_raw(store_fd(), buf_span(&frame));
}

static void list_fds(struct buf *reply)
{
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            buf_printf(reply, "%d%s ", fd,
                       fd >= ROLE_FD_COUNT && !(fcntl(fd, F_GETFD) & FD_CLOEXEC) ? "!" : "");
}

static void ask_store(struct session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_SESSION_OPEN};
    m.session_open.service = IPC_SERVICE_SMTP;
    memcpy(m.session_open.session.b, &s, sizeof s);
    struct net_channel *store = role_store(s->role);
    if (store && net_channel_send(store, &m) == BRANT_OK)
        s->asked = true;
    else
        buf_append_str(&s->reply, "no store");
}

static void obey(struct session *s, struct span line)
{
    if (span_eq_str(line, "pid"))
        buf_printf(&s->reply, "%d", (int)getpid());
    else if (span_eq_str(line, "uid"))
        buf_printf(&s->reply, "%u %u", (unsigned)getuid(), (unsigned)getgid());
    else if (span_eq_str(line, "fds"))
        list_fds(&s->reply);
    else if (span_eq_str(line, "file"))
        buf_printf(&s->reply, "%d", open("/etc/passwd", O_RDONLY) < 0 ? errno : 0);
    else if (span_eq_str(line, "socket"))
        buf_printf(&s->reply, "%d", socket(AF_INET, SOCK_STREAM, 0));
    else if (span_eq_str(line, "exec"))
        execl("/bin/true", "true", (char *)NULL);
    else if (span_eq_str(line, "abort"))
        abort();
    else if (span_eq_str(line, "ask"))
        ask_store(s);
    else if (span_eq_str(line, "malformed"))
        write_raw(store_fd(), SPAN_LIT("\001\000\000\000this is no frame"));
    else if (span_eq_str(line, "forbidden"))
        say_forbidden();
    else if (span_eq_str(line, "control"))
        write_raw(ROLE_FD_CONTROL, SPAN_LIT("this is no message"));
    else if (span_eq_str(line, "generation"))
        buf_printf(&s->reply, "%llu", (unsigned long long)role_conf(s->role)->generation);
    else if (span_eq_str(line, "quit"))
        s->quit = true;
    else
        buf_append_str(&s->reply, "what?");
    if (!s->asked)
        buf_append_str(&s->reply, "\r\n");
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct session *s = context;
    (void)now_ms;
    size_t taken = 0;
    while (taken < in.len && !s->asked && !s->quit && s->reply.len < REPLY_MAX_BYTES / 2) {
        uint8_t c = in.p[taken++];
        if (c == '\n') {
            obey(s, span_trim(buf_span(&s->line)));
            buf_reset(&s->line);
        } else if (c != '\r' && buf_append_byte(&s->line, c) < 0)
            s->quit = true;
    }
    return taken;
}

static void on_eof(void *context, uint64_t now_ms)
{
    struct session *s = context;
    (void)now_ms;
    s->quit = true;
}

static struct span output(void *context)
{
    struct session *s = context;
    return buf_span(&s->reply);
}

static void sent(void *context, size_t len, uint64_t now_ms)
{
    struct session *s = context;
    (void)now_ms;
    buf_consume(&s->reply, len);
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    (void)context;
    (void)now_ms;
    return NET_PUMP_NEVER;
}

static void timed_out(void *context, uint64_t now_ms)
{
    (void)context;
    (void)now_ms;
}

static bool finished(void *context)
{
    struct session *s = context;
    return s->quit;
}

static void ended(void *context, enum net_stream_end end)
{
    struct session *s = context;
    (void)end;
    for (size_t i = 0; i < session_count; i++)
        if (sessions[i] == s)
            sessions[i] = sessions[--session_count];
    if (role_draining(s->role) && session_count == 0)
        role_stop(s->role);
    buf_done(&s->line);
    buf_done(&s->reply);
    free(s);
}

static const struct net_pump_ops pump_ops = {.feed = feed,
                                             .eof = on_eof,
                                             .output = output,
                                             .sent = sent,
                                             .deadline_ms = deadline_ms,
                                             .timeout = timed_out,
                                             .finished = finished,
                                             .ended = ended};

static void accepted(struct role *r, enum ipc_service service, const struct net_accepted *a)
{
    (void)service;
    if (session_count == SESSIONS_MAX) {
        net_listener_turn_away(a->fd, SPAN_LIT("421 full\r\n"));
        return;
    }
    struct session *s = mem_zalloc(sizeof *s);
    s->role = r;
    buf_init(&s->line, LINE_MAX_BYTES);
    buf_init(&s->reply, REPLY_MAX_BYTES);
    buf_append_str(&s->reply, "220 hello\r\n");
    sessions[session_count++] = s;
    struct net_stream_conf conf = {16384, 65536, 10000};
    s->pump = net_pump_new(role_loop(r), a->fd, &conf, &pump_ops, s);
}

static void drain(struct role *r, uint32_t deadline)
{
    (void)deadline;
    for (size_t i = 0; i < session_count; i++) {
        sessions[i]->quit = true;
        net_pump_kick(sessions[i]->pump);
    }
    if (session_count == 0)
        role_stop(r);
}

static void status(struct role *r, struct role_status *out)
{
    (void)r;
    role_status_add_u64(out, "sessions", session_count);
}

static void edge_message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    (void)c;
    if (m->type == IPC_TYPE_CERTIFICATES)
        role_tls_there(r);
    if (m->type != IPC_TYPE_SESSION_VERDICT)
        return;
    for (size_t i = 0; i < session_count; i++)
        if (sessions[i]->asked) {
            sessions[i]->asked = false;
            buf_append_str(&sessions[i]->reply, "verdict\r\n");
            net_pump_kick(sessions[i]->pump);
        }
}

static void store_message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    (void)r;
    struct ipc_message answer = {.type = (uint16_t)ipc_answer(m->type), .tag = m->tag};
    if (answer.type == IPC_TYPE_RESULT || answer.type == IPC_TYPE_SESSION_VERDICT)
        net_channel_send(c, &answer);
}

int main(int argc, char **argv)
{
    struct role_ops ops = {.farewell = SPAN_LIT("421 4.3.2 no room\r\n"), .drain = drain, .status = status};
#if defined(TESTROLE_STORE)
    ops.executable = "brant-store";
    ops.role = IPC_ROLE_STORE;
    ops.message = store_message;
    ops.drain = NULL;
    (void)edge_message;
    (void)accepted;
    (void)call_channel;
#elif defined(TESTROLE_POP3)
    ops.executable = "brant-pop3";
    ops.role = IPC_ROLE_POP3;
    ops.message = edge_message;
    ops.accepted = accepted;
    ops.call_channel = call_channel;
    (void)store_message;
#else
    ops.executable = "brant-smtp";
    ops.role = role_of_arguments(argc, argv, IPC_ROLE_SMTP);
    ops.message = edge_message;
    ops.accepted = accepted;
    ops.call_channel = call_channel;
    (void)store_message;
#endif
    return role_main(&ops, NULL, argc, argv);
}
