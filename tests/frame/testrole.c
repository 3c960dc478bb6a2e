/* A role for testing the process frame without mail: the same role.c, sandbox and channels as the shipped
 * roles, and a line protocol in place of SMTP and POP3 that does what it is told, misdeeds included. As the
 * store it agrees to everything. Never installed. What it can be told is the table at the end. */
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
#include "roles/common/tls_client.h"

enum { LINE_MAX_BYTES = 200, REPLY_MAX_BYTES = 8192, SESSIONS_MAX = 512 };

struct session {
    struct role *role;
    struct net_pump *pump;
    enum ipc_service service;
    struct buf line, reply;
    bool quit, asked;
};

static struct session *sessions[SESSIONS_MAX];
static size_t session_count;
static struct tls_client *tls;
static uint64_t event_channels, call_channels; /* of the signer, that came so far */
static int store_fd = -1, events_fd = -1, calls_fd = -1;

/* --- channels ------------------------------------------------------------------------------------------- */

/* The linker puts this before the real one (tests/frame/meson.build): which descriptor is whose channel. */
struct net_channel *__real_net_channel_new(struct net_loop *loop, int fd, enum ipc_role self,
                                           enum ipc_role peer, uint32_t peer_instance,
                                           const struct net_channel_ops *ops, void *context);
struct net_channel *__wrap_net_channel_new(struct net_loop *loop, int fd, enum ipc_role self,
                                           enum ipc_role peer, uint32_t peer_instance,
                                           const struct net_channel_ops *ops, void *context);
struct net_channel *__wrap_net_channel_new(struct net_loop *loop, int fd, enum ipc_role self,
                                           enum ipc_role peer, uint32_t peer_instance,
                                           const struct net_channel_ops *ops, void *context)
{
    if (peer == IPC_ROLE_STORE)
        store_fd = fd;
    if (peer == IPC_ROLE_SIGNER)
        events_fd = fd;
    return __real_net_channel_new(loop, fd, self, peer, peer_instance, ops, context);
}

static void call_channel(struct role *r, enum ipc_role peer, uint32_t instance, int fd)
{
    (void)r;
    call_channels++;
    calls_fd = fd;
    tls_client_call_channel(tls, peer, instance, fd);
}

static void channel_up(struct role *r, struct net_channel *c)
{
    (void)r;
    event_channels += net_channel_peer_role(c) == IPC_ROLE_SIGNER;
}

static void edge_message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    (void)r;
    if (net_channel_peer_role(c) == IPC_ROLE_SIGNER)
        tls_client_message(tls, m);
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

/* --- what it can be told
 * ---------------------------------------------------------------------------------- */

static void write_raw(int fd, struct span bytes)
{
    if (send(fd, bytes.p, bytes.len, MSG_NOSIGNAL) < 0)
        abort();
}

static void write_message(int fd, const struct ipc_message *m)
{
    _cleanup_buf_ struct buf frame;
    buf_init(&frame, 4096);
    if (ipc_encode(&frame, m) < 0)
        abort();
    write_raw(fd, buf_span(&frame));
}

static void say_pid(struct session *s)
{
    buf_printf(&s->reply, "%d", (int)getpid());
}

static void say_uid(struct session *s)
{
    buf_printf(&s->reply, "%u %u", (unsigned)getuid(), (unsigned)getgid());
}

static void say_generation(struct session *s)
{
    buf_printf(&s->reply, "%llu", (unsigned long long)role_conf(s->role)->generation);
}

static void say_service(struct session *s)
{
    buf_printf(&s->reply, "%d", (int)s->service);
}

static void open_file(struct session *s)
{
    buf_printf(&s->reply, "%d", open("/etc/passwd", O_RDONLY) < 0 ? errno : 0);
}

static void open_socket(struct session *s)
{
    buf_printf(&s->reply, "%d", socket(AF_INET, SOCK_STREAM, 0));
}

static void execute(struct session *s)
{
    (void)s;
    execl("/bin/true", "true", (char *)NULL);
}

static void fail_assertion(struct session *s)
{
    (void)s;
    abort();
}

static void quit(struct session *s)
{
    s->quit = true;
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

static void start_tls(struct session *s)
{
    struct net_tls_conf conf = tls_client_conf(&role_conf(s->role)->conf, s->service);
    bool can = tls_client_current(tls) && net_pump_start_tls(s->pump, tls_client_current(tls), &conf) == 0;
    buf_append_str(&s->reply, can ? "go ahead" : "no");
}

static void accuse_signer(struct session *s)
{
    role_accuse(s->role, IPC_ROLE_SIGNER, 1, "as it was told");
}

static void accuse_store(struct session *s)
{
    role_accuse(s->role, IPC_ROLE_STORE, 1, "as it was told");
}

/* There is no channel between two such roles. */
static void accuse_pop3(struct session *s)
{
    role_accuse(s->role, IPC_ROLE_POP3, 1, "as it was told");
}

static void nonsense_to_store(struct session *s)
{
    (void)s;
    write_raw(store_fd, SPAN_LIT("\001\000\000\000this is no frame"));
}

static void nonsense_to_signer(struct session *s)
{
    (void)s;
    write_raw(events_fd, SPAN_LIT("\001\000\000\000this is no frame"));
}

static void nonsense_call(struct session *s)
{
    (void)s;
    write_raw(calls_fd, SPAN_LIT("\001\000\000\000this is no frame"));
}

static void nonsense_to_supervisor(struct session *s)
{
    (void)s;
    write_raw(ROLE_FD_CONTROL, SPAN_LIT("this is no message"));
}

static void speak_as_store(struct session *s)
{
    (void)s;
    write_message(store_fd, &(struct ipc_message){.type = IPC_TYPE_SESSION_VERDICT});
}

static void speak_as_signer(struct session *s)
{
    (void)s;
    write_message(calls_fd, &(struct ipc_message){.type = IPC_TYPE_SIGNED});
}

static const struct {
    const char *word;
    void (*obey)(struct session *s);
} orders[] = {
    {"pid", say_pid},
    {"uid", say_uid},
    {"generation", say_generation},
    {"service", say_service},
    {"ask", ask_store}, /* the store; "verdict" when it answers */
    {"tls", start_tls},
    {"quit", quit},
    {"abort", fail_assertion},
    /* forbidden by the sandbox: the number of an error, or death */
    {"file", open_file},
    {"socket", open_socket},
    {"exec", execute},
    /* against the rules of the frame */
    {"malformed", nonsense_to_store},
    {"malformed-events", nonsense_to_signer},
    {"malformed-call", nonsense_call},
    {"control", nonsense_to_supervisor},
    {"forbidden", speak_as_store},
    {"forbidden-call", speak_as_signer},
    {"accuse-store", accuse_store},
    {"accuse-signer", accuse_signer},
    {"accuse-pop3", accuse_pop3},
};

static void obey(struct session *s, struct span line)
{
    size_t n = 0, count = sizeof orders / sizeof *orders;
    while (n < count && !span_eq_str(line, orders[n].word))
        n++;
    if (n < count)
        orders[n].obey(s);
    else
        buf_append_str(&s->reply, "what?");
    if (!s->asked)
        buf_append_str(&s->reply, "\r\n");
}

/* --- sessions
 * --------------------------------------------------------------------------------------------- */

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

static void secured(void *context, const struct net_tls_info *info, size_t discarded, uint64_t now_ms)
{
    struct session *s = context;
    (void)discarded;
    (void)now_ms;
    buf_printf(&s->reply, "220 %s\r\n", info->version);
}

static void ended(void *context, enum net_stream_end end)
{
    struct session *s = context;
    (void)end;
    for (size_t i = 0; i < session_count; i++)
        if (sessions[i] == s)
            sessions[i] = sessions[--session_count];
    if (role_takes_no_more(s->role) && session_count == 0)
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
                                             .secured = secured,
                                             .ended = ended};

/* --- the role
 * --------------------------------------------------------------------------------------------- */

static int prepare(struct role *r)
{
    tls = tls_client_new(r);
    return 0;
}

static void accepted(struct role *r, enum ipc_service service, const struct net_accepted *a)
{
    if (session_count == SESSIONS_MAX) {
        net_listener_turn_away(a->fd, SPAN_LIT("421 full\r\n"));
        return;
    }
    struct session *s = mem_zalloc(sizeof *s);
    s->role = r;
    s->service = service;
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
    role_status_add_u64(out, "event_channels", event_channels);
    role_status_add_u64(out, "call_channels", call_channels);
    tls_client_status(tls, out);
}

static struct role_ops edge_ops(const char *executable, enum ipc_role role)
{
    return (struct role_ops){.executable = executable,
                             .role = role,
                             .farewell = SPAN_LIT("421 4.3.2 no room\r\n"),
                             .prepare = prepare,
                             .accepted = accepted,
                             .call_channel = call_channel,
                             .channel_up = channel_up,
                             .message = edge_message,
                             .drain = drain,
                             .status = status};
}

static struct role_ops store_ops(void)
{
    return (struct role_ops){.executable = "brant-store", .role = IPC_ROLE_STORE, .message = store_message};
}

/* One source for several executables; which one is TESTROLE. */
int main(int argc, char **argv)
{
    enum ipc_role role = role_of_arguments(argc, argv, TESTROLE);
    struct role_ops ops = role == IPC_ROLE_STORE  ? store_ops()
                          : role == IPC_ROLE_POP3 ? edge_ops("brant-pop3", role)
                          : role == IPC_ROLE_IMAP ? edge_ops("brant-imap", role)
                                                  : edge_ops("brant-smtp", role);
    return role_main(&ops, NULL, argc, argv);
}
