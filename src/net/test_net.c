/* The event side of the process frame over real sockets: timers, channels with honest and hostile peers,
 * control packets, the listener, and the pump with an engine that echoes lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/channel.h"
#include "net/control.h"
#include "net/listener.h"
#include "net/pump.h"
#include "os/fdpass.h"

static struct net_loop loop;

static void stop_loop(void *arg)
{
    (void)arg;
    net_loop_stop(&loop);
}

/* Runs until net_loop_stop; a test that hangs fails by the clock. */
static void run_loop(void)
{
    loop.stopping = false;
    struct net_timer *limit = net_timer_new(&loop, stop_loop, NULL);
    net_timer_set(limit, 4000);
    net_loop_run(&loop);
    net_timer_free(limit);
}

/* --- loop ------------------------------------------------------------------------------------------------
 */

static int calls[3];

static void count_first(void *arg)
{
    (void)arg;
    calls[0]++;
}

static void count_and_stop(void *arg)
{
    (void)arg;
    calls[1]++;
    net_loop_stop(&loop);
}

static void test_loop(void **state)
{
    (void)state;
    memset(calls, 0, sizeof calls);
    struct net_timer *early = net_timer_new(&loop, count_first, NULL);
    struct net_timer *never = net_timer_new(&loop, count_first, NULL);
    struct net_wake *wake = net_wake_new(&loop, count_and_stop, NULL);
    net_timer_set(never, 1);
    net_timer_stop(never);
    net_timer_set(early, 5000);
    net_timer_set(early, 0); /* replaces */
    net_wake_signal(wake);
    net_wake_signal(wake);
    run_loop();
    assert_int_equal(calls[0], 1);
    assert_int_equal(calls[1], 1);
    net_timer_free(early);
    net_timer_free(never);
    net_wake_free(wake);
    net_wake_free(NULL);
}

/* --- addresses --------------------------------------------------------------------------------------------
 */

static void test_addresses(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.1", "2001:db8::1"};
    for (size_t i = 0; i < 2; i++) {
        struct ip_addr a, b;
        struct sockaddr_storage ss;
        assert_int_equal(ip_parse(span_str(texts[i]), &a), BRANT_OK);
        a.port = 2525;
        assert_true(net_addr_to_sockaddr(&a, &ss) > 0);
        b = net_addr_from_sockaddr(&ss);
        assert_true(ip_eq(&a, &b) && b.port == 2525);
    }
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(25)};
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr);
    struct sockaddr_storage ss = {0};
    memcpy(&ss, &mapped, sizeof mapped);
    assert_int_equal(net_addr_from_sockaddr(&ss).family, IP_V4);
    ss.ss_family = AF_UNIX;
    assert_int_equal(net_addr_from_sockaddr(&ss).family, IP_NONE);
    assert_int_equal(net_addr_to_sockaddr(&(struct ip_addr){0}, &ss), 0);
}

/* --- channels ---------------------------------------------------------------------------------------------
 */

struct ear {
    unsigned messages, stop_after;
    bool ended, drained, pause_at_each;
    enum net_channel_end how;
    char text[64];
};

static void hear(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct ear *e = context;
    assert_int_equal(m->type, IPC_TYPE_RCPT_CHECK);
    assert_true(m->rcpt_check.size == e->messages);
    if (e->pause_at_each) {
        net_channel_pause(c, true);
        net_channel_pause(c, false);
    }
    if (++e->messages == e->stop_after)
        net_loop_stop(&loop);
}

static void hear_drained(void *context, struct net_channel *c)
{
    struct ear *e = context;
    e->drained = true;
    assert_false(net_channel_congested(c));
}

static void hear_end(void *context, struct net_channel *c, enum net_channel_end end, const char *text)
{
    struct ear *e = context;
    (void)c;
    assert_false(e->ended);
    e->ended = true;
    e->how = end;
    snprintf(e->text, sizeof e->text, "%s", text);
    net_loop_stop(&loop);
}

static const struct net_channel_ops ear_ops = {.message = hear, .drained = hear_drained, .ended = hear_end};

static void stream_pair(int out[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out), 0);
}

static struct ipc_message rcpt(uint64_t n)
{
    struct ipc_message m = {.type = IPC_TYPE_RCPT_CHECK, .tag = (uint32_t)n};
    m.rcpt_check.address = SPAN_LIT("alice@brant.test");
    m.rcpt_check.size = n;
    return m;
}

static void channel_carries(unsigned count, bool pause)
{
    int fds[2];
    stream_pair(fds);
    struct ear store = {.stop_after = count, .pause_at_each = pause}, smtp = {0};
    struct net_channel *a = net_channel_new(&loop, fds[0], IPC_ROLE_SMTP, IPC_ROLE_STORE, 1, &ear_ops, &smtp);
    struct net_channel *b =
        net_channel_new(&loop, fds[1], IPC_ROLE_STORE, IPC_ROLE_SMTP, 7, &ear_ops, &store);
    for (unsigned n = 0; n < count; n++) {
        struct ipc_message m = rcpt(n);
        assert_int_equal(net_channel_send(a, &m), BRANT_OK);
    }
    bool congested = net_channel_congested(a);
    run_loop();
    assert_int_equal(store.messages, count);
    assert_true(!congested || smtp.drained);
    assert_int_equal(net_channel_peer_role(b), IPC_ROLE_SMTP);
    assert_int_equal(net_channel_peer_instance(b), 7);
    /* Not ours to send: refused here, not there. */
    struct ipc_message wrong = {.type = IPC_TYPE_RCPT_VERDICT};
    assert_int_equal(net_channel_send(a, &wrong), BRANT_EREFUSED);
    net_channel_free(a);
    run_loop();
    assert_true(store.ended && store.how == NET_CHANNEL_CLOSED);
    struct ipc_message late = {.type = IPC_TYPE_RCPT_VERDICT};
    assert_int_equal(net_channel_send(b, &late), BRANT_ESTATE);
    net_channel_free(b);
}

static void test_channel(void **state)
{
    (void)state;
    channel_carries(1, false);
    channel_carries(1000, true);
    channel_carries(50000, false); /* more than the socket and the high mark hold */
}

static void hostile_bytes(struct span bytes, const char *reason)
{
    int fds[2];
    stream_pair(fds);
    struct ear store = {0};
    struct net_channel *c =
        net_channel_new(&loop, fds[1], IPC_ROLE_STORE, IPC_ROLE_SMTP, 1, &ear_ops, &store);
    assert_int_equal(write(fds[0], bytes.p, bytes.len), (ssize_t)bytes.len);
    run_loop();
    assert_true(store.ended && store.how == NET_CHANNEL_FAULT);
    assert_string_equal(store.text, reason);
    assert_int_equal(store.messages, 0);
    net_channel_free(c);
    close(fds[0]);
}

static void test_hostile_channel(void **state)
{
    (void)state;
    hostile_bytes(SPAN_LIT("\001\000\000\000"), "malformed message");
    hostile_bytes(SPAN_LIT("\377\377\377\377 and more"), "malformed message");
    _cleanup_buf_ struct buf frame;
    buf_init(&frame, 4096);
    struct ipc_message forbidden = {.type = IPC_TYPE_RCPT_VERDICT};
    assert_int_equal(ipc_encode(&frame, &forbidden), BRANT_OK);
    hostile_bytes(buf_span(&frame), "forbidden message");
    frame.data[4] = 0xff; /* no such type */
    frame.data[5] = 0xff;
    hostile_bytes(buf_span(&frame), "malformed message");
}

/* A peer that asks and never reads its answers costs a bounded queue and then its channel. */
static void test_deaf_peer(void **state)
{
    (void)state;
    int fds[2];
    stream_pair(fds);
    struct ear ear = {0};
    struct net_channel *c = net_channel_new(&loop, fds[0], IPC_ROLE_SMTP, IPC_ROLE_STORE, 1, &ear_ops, &ear);
    static uint8_t bytes[IPC_CHUNK_MAX];
    struct ipc_message m = {.type = IPC_TYPE_BODY_CHUNK};
    m.body_chunk.bytes = span_make(bytes, sizeof bytes);
    unsigned sent = 0;
    while (net_channel_send(c, &m) == BRANT_OK)
        sent++;
    assert_false(ear.ended); /* never from within a send */
    run_loop();
    assert_true(ear.ended && ear.how == NET_CHANNEL_FAULT);
    assert_true(sent * sizeof bytes <= NET_CHANNEL_QUEUE_BYTES &&
                sent > NET_CHANNEL_HIGH_BYTES / sizeof bytes);
    net_channel_free(c);
    close(fds[1]);
}

/* --- control packets
 * ---------------------------------------------------------------------------------------- */

static void test_control(void **state)
{
    (void)state;
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
    struct net_control c;
    net_control_init(&c);
    assert_int_equal(net_control_wait(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, 1, &c), BRANT_ETRYLATER);
    struct ipc_message m = {.type = IPC_TYPE_CHANNEL};
    m.channel.peer_instance = 5;
    assert_int_equal(net_control_send(s[0], &m, s[0]), BRANT_OK);
    assert_int_equal(net_control_wait(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, 1000, &c), BRANT_OK);
    assert_int_equal(c.message.channel.peer_instance, 5);
    assert_true(c.fd >= 0);
    /* Not taken: closed by the next receive. */
    int passed = c.fd;
    assert_int_equal(net_control_receive(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, &c), BRANT_ETRYLATER);
    assert_int_equal(fcntl(passed, F_GETFD), -1);

    assert_int_equal(net_control_send(s[0], &m, -1), BRANT_OK);
    assert_int_equal(net_control_receive(s[1], IPC_ROLE_STORE, IPC_ROLE_SMTP, &c), BRANT_EREFUSED);
    /* One packet is one message: no less, no more, and one descriptor at most. */
    _cleanup_buf_ struct buf frame;
    buf_init(&frame, 4096);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    for (size_t len = 1; len < frame.len; len++) {
        assert_int_equal(send(s[0], frame.data, len, 0), (ssize_t)len);
        assert_int_equal(net_control_receive(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, &c), BRANT_ESYNTAX);
    }
    size_t one = frame.len;
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    assert_int_equal(send(s[0], frame.data, frame.len, 0), (ssize_t)frame.len);
    assert_int_equal(net_control_receive(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, &c), BRANT_ESYNTAX);
    int two[] = {s[0], s[0]};
    assert_int_equal(os_fdpass_send(s[0], span_make(frame.data, one), two, 2), BRANT_OK);
    assert_int_equal(net_control_receive(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, &c), BRANT_ESYNTAX);
    assert_int_equal(c.fd, -1);
    close(s[0]);
    assert_int_equal(net_control_receive(s[1], IPC_ROLE_SUPERVISOR, IPC_ROLE_SMTP, &c), BRANT_ESTATE);
    net_control_done(&c);
    close(s[1]);
}

/* --- listener and pump
 * ---------------------------------------------------------------------------------------- */

/* Echoes lines; "quit" ends, an unanswered "wait" stops taking input until it is kicked, "flood" is answered
 * with more than the socket takes. */
struct echo {
    struct net_pump *pump;
    struct buf line, out;
    bool quit, waiting, timed_out;
    bool ended, saw_eof;
    uint64_t deadline_ms;
    enum net_stream_end how;
};

static void echo_line(struct echo *e, struct span line)
{
    if (span_eq_str(line, "quit\n"))
        e->quit = true;
    else if (span_eq_str(line, "wait\n"))
        e->waiting = true;
    else if (span_eq_str(line, "flood\n"))
        while (e->out.len < e->out.max)
            buf_append_byte(&e->out, 'x');
    else
        assert_int_equal(buf_append(&e->out, line), BRANT_OK);
}

static size_t echo_feed(void *context, struct span in, uint64_t now_ms)
{
    struct echo *e = context;
    size_t taken = 0;
    (void)now_ms;
    while (taken < in.len && !e->waiting && !e->quit && e->out.len < e->out.max / 2) {
        buf_append_byte(&e->line, in.p[taken]);
        if (in.p[taken++] == '\n') {
            echo_line(e, buf_span(&e->line));
            buf_reset(&e->line);
        }
    }
    return taken;
}

static void echo_eof(void *context, uint64_t now_ms)
{
    struct echo *e = context;
    (void)now_ms;
    e->saw_eof = e->quit = true;
}

static struct span echo_output(void *context)
{
    return buf_span(&((struct echo *)context)->out);
}

static void echo_sent(void *context, size_t len, uint64_t now_ms)
{
    (void)now_ms;
    buf_consume(&((struct echo *)context)->out, len);
}

static uint64_t echo_deadline(void *context, uint64_t now_ms)
{
    (void)now_ms;
    return ((struct echo *)context)->deadline_ms;
}

static void echo_timeout(void *context, uint64_t now_ms)
{
    struct echo *e = context;
    (void)now_ms;
    e->timed_out = e->quit = true;
}

static bool echo_finished(void *context)
{
    return ((struct echo *)context)->quit;
}

static void echo_ended(void *context, enum net_stream_end end)
{
    struct echo *e = context;
    e->ended = true;
    e->how = end;
    net_loop_stop(&loop);
}

static const struct net_pump_ops echo_ops = {.feed = echo_feed,
                                             .eof = echo_eof,
                                             .output = echo_output,
                                             .sent = echo_sent,
                                             .deadline_ms = echo_deadline,
                                             .timeout = echo_timeout,
                                             .finished = echo_finished,
                                             .ended = echo_ended};

static struct echo echo;

static void echo_accepted(void *context, const struct net_accepted *a)
{
    static const struct net_stream_conf conf = {4096, 8192, 200};
    (void)context;
    assert_int_equal(a->peer.family, IP_V4);
    assert_true(ip_is_loopback(&a->local));
    buf_init(&echo.line, 2000);
    buf_init(&echo.out, 65536);
    echo.pump = net_pump_new(&loop, a->fd, &conf, &echo_ops, &echo);
}

struct scene {
    struct net_listener *listener;
    int client;
};

static struct scene open_scene(uint64_t deadline_ms)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    echo = (struct echo){.deadline_ms = deadline_ms};
    struct net_listener_conf conf = {.fd = fd, .farewell = SPAN_LIT("421\r\n"), .accepted = echo_accepted};
    struct scene s = {.listener = net_listener_new(&loop, &conf)};
    s.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s.client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(s.client, (struct sockaddr *)&at, len), 0);
    return s;
}

static void close_scene(struct scene *s)
{
    assert_int_equal(net_listener_stats(s->listener).accepted, 1);
    net_listener_free(s->listener);
    close(s->client);
    buf_done(&echo.line);
    buf_done(&echo.out);
}

static void say(const struct scene *s, const char *text)
{
    assert_int_equal(write(s->client, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect(const struct scene *s, const char *text)
{
    char got[256] = "";
    size_t have = 0;
    for (ssize_t n; have < sizeof got - 1 && (n = read(s->client, got + have, sizeof got - 1 - have)) > 0;)
        have += (size_t)n;
    assert_string_equal(got, text);
}

static void test_pump_to_the_end(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    say(&s, "one\ntwo\nquit\nnever seen\n");
    shutdown(s.client, SHUT_WR);
    run_loop();
    assert_true(echo.ended && echo.how == NET_STREAM_FINISHED && !echo.saw_eof);
    expect(&s, "one\ntwo\n");
    close_scene(&s);
}

static void test_pump_eof(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    say(&s, "one\nhalf a li");
    shutdown(s.client, SHUT_WR);
    run_loop();
    assert_true(echo.ended && echo.how == NET_STREAM_FINISHED && echo.saw_eof);
    expect(&s, "one\n");
    close_scene(&s);
}

static void answer_comes(void *arg)
{
    (void)arg;
    assert_true(echo.waiting);
    assert_int_equal(echo.out.len, 0);
    echo.waiting = false;
    net_pump_kick(echo.pump);
}

static void test_pump_waits_for_an_answer(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    struct net_timer *answer = net_timer_new(&loop, answer_comes, NULL);
    net_timer_set(answer, 30);
    say(&s, "wait\nafter\nquit\n");
    shutdown(s.client, SHUT_WR);
    run_loop();
    assert_true(echo.ended);
    expect(&s, "after\n");
    net_timer_free(answer);
    close_scene(&s);
}

static void test_pump_timeout(void **state)
{
    (void)state;
    struct scene s = open_scene(1); /* long past */
    shutdown(s.client, SHUT_WR);
    run_loop();
    assert_true(echo.ended && (echo.timed_out || echo.saw_eof));
    close_scene(&s);
    s = open_scene(1);
    run_loop(); /* lingers for a peer that does not close, then ends */
    assert_true(echo.ended && echo.timed_out);
    close_scene(&s);
}

/* The peer pours lines in and reads nothing: bounded buffers, then the end. */
static void test_pump_stalled(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    char line[1024];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    fcntl(s.client, F_SETFL, O_NONBLOCK);
    int small = 4096;
    setsockopt(s.client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    pid_t writer = fork();
    if (writer == 0) {
        for (;;) {
            struct pollfd ready = {.fd = s.client, .events = POLLOUT};
            if (poll(&ready, 1, 3000) <= 0 || (ready.revents & (POLLERR | POLLHUP)) ||
                write(s.client, line, sizeof line) < 0)
                _exit(0);
        }
    }
    run_loop();
    assert_true(echo.ended);
    assert_int_equal(echo.how, NET_STREAM_STALLED);
    close_scene(&s);
}

static void test_pump_lost(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    struct linger reset = {1, 0};
    say(&s, "wait\n");
    setsockopt(s.client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(s.client);
    s.client = dup(0);
    run_loop();
    assert_true(echo.ended && echo.how == NET_STREAM_LOST);
    close_scene(&s);
}

static void leave_unread(void *arg)
{
    struct scene *s = arg;
    assert_true(echo.out.len > 0);
    close(s->client); /* a reset, since there is something that was not read */
    s->client = dup(0);
}

/* The reset is found by the write and by the read in the same turn of the loop. */
static void test_pump_lost_with_output(void **state)
{
    (void)state;
    struct scene s = open_scene(NET_PUMP_NEVER);
    struct net_timer *leave = net_timer_new(&loop, leave_unread, &s);
    net_timer_set(leave, 50);
    say(&s, "flood\nhalf a li");
    run_loop();
    assert_true(echo.ended);
    assert_int_equal(echo.how, NET_STREAM_LOST);
    net_timer_free(leave);
    close_scene(&s);
}

/* --- Unix sockets ------------------------------------------------------------------------------------------
 */

static struct net_accepted seen;

static void local_accepted(void *context, const struct net_accepted *a)
{
    (void)context;
    seen = *a;
    close(a->fd);
    net_loop_stop(&loop);
}

static struct net_accepted accept_local(uint32_t trusted_uid, uint32_t trusted_gid)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX}; /* the kernel finds a name */
    socklen_t len = sizeof at;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at.sun_family), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    const struct net_listener_conf conf = {
        .fd = fd, .accepted = local_accepted, .trusted_uid = trusted_uid, .trusted_gid = trusted_gid};
    struct net_listener *l = net_listener_new(&loop, &conf);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, len), 0);
    seen = (struct net_accepted){.fd = -1};
    run_loop();
    net_listener_free(l);
    close(client);
    return seen;
}

static void test_local_peers(void **state)
{
    (void)state;
    bool root = geteuid() == 0;
    struct net_accepted a = accept_local(UINT32_MAX, UINT32_MAX);
    assert_true(a.is_local && a.uid == geteuid() && a.gid == getegid() && a.pid == getpid());
    assert_true(a.peer.family == IP_NONE && a.local.family == IP_NONE);
    assert_int_equal(a.is_trusted, root);
    assert_true(accept_local(geteuid(), UINT32_MAX).is_trusted);
    assert_true(accept_local(UINT32_MAX, getegid()).is_trusted);
    assert_int_equal(accept_local(geteuid() + 1, getegid() + 12345).is_trusted, root);
    if (!root)
        return;
    /* Somebody else, alone and as one of the group. */
    pid_t pid = fork();
    if (pid == 0) {
        gid_t group = 54321;
        if (setgroups(1, &group) < 0 || setresgid(12345, 12345, 12345) < 0 ||
            setresuid(12345, 12345, 12345) < 0)
            _exit(1);
        bool right =
            !accept_local(UINT32_MAX, UINT32_MAX).is_trusted && accept_local(12345, UINT32_MAX).is_trusted &&
            accept_local(UINT32_MAX, 54321).is_trusted && !accept_local(UINT32_MAX, 54322).is_trusted &&
            accept_local(UINT32_MAX, 12345).is_trusted;
        _exit(right ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) &&
                WEXITSTATUS(status) <= 1); /* 1: root, but not allowed to be anybody else */
}

static int open_all(void **state)
{
    (void)state;
    return net_loop_init(&loop) == BRANT_OK ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    net_loop_done(&loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_channel),
        cmocka_unit_test(test_hostile_channel),
        cmocka_unit_test(test_deaf_peer),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_pump_to_the_end),
        cmocka_unit_test(test_pump_eof),
        cmocka_unit_test(test_pump_waits_for_an_answer),
        cmocka_unit_test(test_pump_timeout),
        cmocka_unit_test(test_pump_stalled),
        cmocka_unit_test(test_pump_lost),
        cmocka_unit_test(test_pump_lost_with_output),
        cmocka_unit_test(test_local_peers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
