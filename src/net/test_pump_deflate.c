/* Compression in the pump: from inside `feed` and from outside, in clear and under TLS, in pieces, with much
 * to say and little room, and with a peer that is not honest. */
#include "net/rig_tls.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/deflate.h"
#include "os/clock.h"

static struct rig_certificate certificate;
static const struct rig_certificate *all[] = {&certificate};
static struct net_signer *signer;
static struct rig_signer *signing;
static struct net_tls *tls;

static struct rig_server server(bool with_tls)
{
    return (struct rig_server){.tls = tls, .implicit = with_tls};
}

/* --- a client that compresses
 * -------------------------------------------------------------------------------
 */

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    z_stream in, out;
    size_t step; /* at most so many bytes in one write; 0: all */
};

static void client_init(struct client *c, int fd, bool with_tls)
{
    *c = (struct client){.fd = fd};
    assert_int_equal(inflateInit2(&c->in, -15), Z_OK);
    assert_int_equal(deflateInit2(&c->out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    if (!with_tls)
        return;
    c->ctx = SSL_CTX_new(TLS_client_method());
    c->ssl = rig_connect(fd, c->ctx, NULL);
    rig_expect(c->ssl, "hello\n");
}

static void client_done(struct client *c)
{
    inflateEnd(&c->in);
    deflateEnd(&c->out);
    if (c->ssl)
        rig_goodbye(c->ssl, c->ctx);
}

static ssize_t read_some(struct client *c, void *to, size_t len)
{
    return c->ssl ? SSL_read(c->ssl, to, (int)len) : recv(c->fd, to, len, 0);
}

/* False: the server has gone. */
static bool write_all(struct client *c, struct span bytes)
{
    size_t step = c->step > 0 ? c->step : bytes.len;
    while (bytes.len > 0) {
        struct span piece = span_sub(bytes, 0, step);
        ssize_t n = c->ssl ? SSL_write(c->ssl, piece.p, (int)piece.len)
                           : send(c->fd, piece.p, piece.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes = span_from(bytes, (size_t)n);
        if (c->step > 0)
            usleep(200);
    }
    return true;
}

/* What text becomes; for the one buffer that the caller has until the next call. */
static struct span squeeze(struct client *c, struct span text, int flush)
{
    static _Thread_local uint8_t bytes[400000];
    c->out.next_in = text.p;
    c->out.avail_in = (unsigned)text.len;
    c->out.next_out = bytes;
    c->out.avail_out = sizeof bytes;
    deflate(&c->out, flush);
    assert_true(c->out.avail_out > 0);
    return span_make(bytes, sizeof bytes - c->out.avail_out);
}

static bool say(struct client *c, const char *text)
{
    return write_all(c, squeeze(c, span_str(text), Z_SYNC_FLUSH));
}

/* The next bytes of what the server says, inflated; len of them, or fewer when it ends. */
static size_t hear(struct client *c, void *to, size_t len)
{
    static _Thread_local uint8_t bytes[4096];
    c->in.next_out = to;
    c->in.avail_out = (unsigned)len;
    while (c->in.avail_out > 0) {
        int rc = inflate(&c->in, Z_SYNC_FLUSH);
        assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
        if (c->in.avail_out == 0 || c->in.avail_in > 0)
            continue;
        ssize_t n = read_some(c, bytes, sizeof bytes);
        if (n <= 0)
            break;
        c->in.next_in = bytes;
        c->in.avail_in = (unsigned)n;
    }
    return len - c->in.avail_out;
}

static void expect(struct client *c, const char *text)
{
    char got[4096];
    got[hear(c, got, strlen(text))] = '\0';
    assert_string_equal(got, text);
}

/* And nothing more. */
static void expect_end(struct client *c)
{
    char more;
    assert_int_equal(hear(c, &more, 1), 0);
}

static void start(struct client *c, int fd, bool with_tls)
{
    client_init(c, fd, with_tls);
    if (with_tls) {
        rig_say(c->ssl, "one\ncompress\n");
        rig_expect(c->ssl, "one\ngo ahead\n");
    } else {
        rig_say_clear(fd, "one\ncompress\n");
        rig_expect_clear(fd, "one\ngo ahead\n");
    }
}

/* --- the ordinary way
 * ---------------------------------------------------------------------------------------
 */

static void polite_client(int fd, void *arg)
{
    struct client c;
    start(&c, fd, *(bool *)arg);
    say(&c, "two\n");
    expect(&c, "two\n");
    say(&c, "three\nfour\nquit\n");
    expect(&c, "three\nfour\nbye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_polite(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct rig_server s = server(with_tls);
        bool arg = with_tls;
        rig_run(&s, polite_client, &arg);
        assert_true(s.compressed && s.how == NET_STREAM_FINISHED);
        assert_int_equal(s.lines, 6);
        assert_string_equal(s.text, "");
    }
}

struct pieces {
    bool with_tls;
    size_t cut, step; /* SIZE_MAX: no cut */
};

/* Everything in one go: the command, and behind it what is compressed already. */
static void eager_client(int fd, void *arg)
{
    const struct pieces *p = arg;
    struct client c;
    uint8_t text[1000];
    client_init(&c, fd, p->with_tls);
    struct span first = SPAN_LIT("one\ncompress\n");
    struct span rest = squeeze(&c, SPAN_LIT("two\nthree\nquit\nnever\n"), Z_PARTIAL_FLUSH);
    memcpy(text, first.p, first.len);
    memcpy(text + first.len, rest.p, rest.len);
    struct span whole = span_make(text, first.len + rest.len);
    c.step = p->step;
    assert_true(write_all(&c, span_sub(whole, 0, p->cut)));
    if (p->cut < whole.len)
        usleep(2000);
    write_all(&c, span_from(whole, p->cut)); /* "never" may be too late */
    if (c.ssl)
        rig_expect(c.ssl, "one\ngo ahead\n");
    else
        rig_expect_clear(fd, "one\ngo ahead\n");
    expect(&c, "two\nthree\nbye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_pieces(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 45; cut++) {
        struct rig_server s = server(false);
        struct pieces p = {.cut = cut};
        rig_run(&s, eager_client, &p);
        assert_int_equal(s.lines, 5);
        assert_int_equal(s.how, NET_STREAM_FINISHED);
    }
    for (int with_tls = 0; with_tls < 2; with_tls++)
        for (size_t step = 0; step < 4; step++) {
            struct rig_server s = server(with_tls);
            struct pieces p = {.with_tls = with_tls, .cut = SIZE_MAX, .step = step};
            rig_run(&s, eager_client, &p);
            assert_int_equal(s.lines, 5);
            assert_int_equal(s.how, NET_STREAM_FINISHED);
        }
}

/* Started from outside `feed`, with compressed bytes waiting, and then with nothing. */
static void later_client(int fd, void *arg)
{
    struct client c;
    client_init(&c, fd, false);
    rig_say_clear(fd, "one\nlater\n");
    if (*(bool *)arg)
        say(&c, "two\nquit\n");
    rig_expect_clear(fd, "one\ngo ahead\n");
    if (!*(bool *)arg)
        say(&c, "two\nquit\n");
    expect(&c, "two\nbye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_from_outside(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        struct rig_server s = server(false);
        bool arg = early;
        s.wait_ms = 20;
        rig_run(&s, later_client, &arg);
        assert_true(s.compressed && s.how == NET_STREAM_FINISHED);
        assert_int_equal(s.lines, 4);
    }
}

static void test_not_now(void **state)
{
    (void)state;
    struct rig_server s = server(false);
    int ends[2];
    static const struct net_pump_ops none;
    static const struct net_stream_conf conf = {4096, 8192, 1000, false};
    static const struct net_tls_conf tls_conf = {.handshake_timeout_ms = 50};
    static const struct net_pump_ops *ops = &none;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    struct net_pump *p = net_pump_new_held(&rig_loop, ends[0], &conf, ops, &s);
    assert_int_equal(net_pump_start_deflate(p), BRANT_ESTATE); /* held */
    net_pump_release(p);
    net_pump_abort(p);
    close(ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    static const struct net_pump_ops secured = {
        .secured = (void (*)(void *, const struct net_tls_info *, size_t, uint64_t))1};
    p = net_pump_new(&rig_loop, ends[0], &conf, &secured, &s);
    assert_int_equal(net_pump_start_tls(p, tls, &tls_conf), BRANT_OK);
    assert_int_equal(net_pump_start_deflate(p), BRANT_ESTATE); /* TLS is on its way */
    net_pump_abort(p);
    close(ends[1]);
}

/* --- much to say, little room
 * ---------------------------------------------------------------------------------
 */

static void expect_flood(struct client *c)
{
    static _Thread_local uint8_t got[RIG_FLOOD];
    assert_int_equal(hear(c, got, RIG_FLOOD), RIG_FLOOD);
    for (size_t i = 0; i < RIG_FLOOD; i++)
        if (got[i] != rig_flood_byte(i))
            fail_msg("the flood differs at %zu", i);
}

static void flooded_client(int fd, void *arg)
{
    struct client c;
    start(&c, fd, *(bool *)arg);
    say(&c, "flood\ntwo\nflood\nquit\n");
    usleep(50000);
    expect_flood(&c);
    expect(&c, "two\n");
    expect_flood(&c);
    expect(&c, "bye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_much_output(void **state)
{
    (void)state;
    static const size_t rooms[] = {200, 4096, 8192, 65536};
    for (int with_tls = 0; with_tls < 2; with_tls++)
        for (size_t k = 0; k < sizeof rooms / sizeof rooms[0]; k++) {
            struct rig_server s = server(with_tls);
            bool arg = with_tls;
            s.stream = (struct net_stream_conf){4096, rooms[k], 5000, false};
            rig_run(&s, flooded_client, &arg);
            assert_int_equal(s.how, NET_STREAM_FINISHED);
        }
}

/* Much clear output before the command, which is still on its way when it is carried out. */
static void flooded_before_client(int fd, void *arg)
{
    (void)arg;
    struct client c;
    static _Thread_local char got[RIG_FLOOD];
    client_init(&c, fd, false);
    rig_say_clear(fd, "flood\ncompress\n");
    say(&c, "two\nquit\n");
    usleep(20000);
    assert_int_equal(recv(fd, got, RIG_FLOOD, MSG_WAITALL), RIG_FLOOD);
    rig_expect_clear(fd, "go ahead\n");
    expect(&c, "two\nbye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_much_clear_output(void **state)
{
    (void)state;
    struct rig_server s = server(false);
    rig_run(&s, flooded_before_client, NULL);
    assert_int_equal(s.how, NET_STREAM_FINISHED);
    assert_int_equal(s.lines, 4);
}

/* --- much to read, and an engine that rests
 * -----------------------------------------------------------------
 */

enum { LINES = 40000 };

struct load {
    bool with_tls;
    size_t accepted; /* compressed bytes, while the server took nothing */
};

/* Writes what goes without waiting. */
static size_t write_some(struct client *c, struct span bytes)
{
    bytes = span_sub(bytes, 0, 1000);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    ssize_t n =
        c->ssl ? SSL_write(c->ssl, bytes.p, (int)bytes.len) : send(c->fd, bytes.p, bytes.len, MSG_NOSIGNAL);
    fcntl(c->fd, F_SETFL, 0);
    return n > 0 ? (size_t)n : 0;
}

static void pouring_client(int fd, void *arg)
{
    struct load *l = arg;
    struct client c;
    static _Thread_local char text[LINES * 16 + 1], back[sizeof text];
    start(&c, fd, l->with_tls);
    say(&c, "wait\n");
    for (size_t i = 0; i < LINES; i++)
        snprintf(text + i * 16, 17, "%08x line %zu\n", rig_flood_byte(i) * 77777u ^ (unsigned)i * 9973u,
                 i % 10);
    struct span all_of_it = squeeze(&c, span_make(text, LINES * 16), Z_SYNC_FLUSH), rest = all_of_it;
    for (uint64_t until_ms = os_clock_mono_ms() + 300; rest.len > 0 && os_clock_mono_ms() < until_ms;) {
        size_t n = write_some(&c, rest);
        rest = span_from(rest, n);
        if (n == 0)
            usleep(5000);
    }
    l->accepted = all_of_it.len - rest.len;
    size_t have = 0;
    while (rest.len > 0) {
        size_t n = write_some(&c, rest);
        rest = span_from(rest, n);
        if (n == 0) /* it waits for us */
            have += hear(&c, back + have, LINES * 16 - have < 2000 ? LINES * 16 - have : 2000);
    }
    have += hear(&c, back + have, LINES * 16 - have);
    assert_int_equal(have, LINES * 16);
    assert_memory_equal(back, text, LINES * 16);
    say(&c, "quit\n");
    expect(&c, "bye\n");
    expect_end(&c);
    client_done(&c);
}

static void test_back_pressure(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct rig_server s = server(with_tls);
        struct load l = {.with_tls = with_tls};
        s.wait_ms = 500;
        s.stream = (struct net_stream_conf){4096, 8192, 5000, false};
        rig_run(&s, pouring_client, &l);
        assert_int_equal(s.how, NET_STREAM_FINISHED);
        assert_int_equal(s.lines, LINES + 4);
        assert_true(s.fed_max <= NET_INFLATE_HELD_MAX);
        /* It went no further than the bound, one record, and the two sockets' buffers. */
        assert_true(l.accepted < 300 * 1024);
    }
}

static void deaf_client(int fd, void *arg)
{
    struct client c;
    start(&c, fd, *(bool *)arg);
    struct timeval limit = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    while (say(&c, "flood\n"))
        ;
    inflateEnd(&c.in);
    deflateEnd(&c.out);
    SSL_free(c.ssl);
    SSL_CTX_free(c.ctx);
}

static void test_stalled(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct rig_server s = server(with_tls);
        bool arg = with_tls;
        s.stream = (struct net_stream_conf){4096, 8192, 200, false};
        rig_run(&s, deaf_client, &arg);
        assert_int_equal(s.how, NET_STREAM_STALLED);
    }
}

/* --- those that are not honest
 * ------------------------------------------------------------------------------
 */

static void bombing_client(int fd, void *arg)
{
    struct client c;
    static _Thread_local uint8_t lines[200000], back[200000];
    start(&c, fd, *(bool *)arg);
    say(&c, "two\n");
    expect(&c, "two\n");
    memset(lines, 'x', sizeof lines);
    for (size_t i = 49999; i < sizeof lines; i += 50000)
        lines[i] = '\n';
    int written = 0;
    do /* reads all the answers, so that it is not stopped by having too much to say */
        written++;
    while (write_all(&c, squeeze(&c, span_make(lines, sizeof lines), Z_SYNC_FLUSH)) &&
           hear(&c, back, sizeof back) == sizeof back);
    assert_in_range(written, 5, 6);
    client_done(&c);
}

static void test_bomb(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct rig_server s = server(with_tls);
        bool arg = with_tls;
        rig_run(&s, bombing_client, &arg);
        assert_int_equal(s.how, NET_STREAM_INFLATE_FAILED);
        assert_string_equal(s.text, "the compressed stream expands too much");
        assert_in_range(s.lines, 20, 27); /* the first MiB */
    }
}

/* What came before the damage is answered, and then it is over. */
static void damaged_client(int fd, void *arg)
{
    struct client c;
    start(&c, fd, *(bool *)arg);
    say(&c, "two\nthree\n");
    write_all(&c, SPAN_LIT("\xff\xff\xff\xff four\nquit\n"));
    expect(&c, "two\nthree\n");
    expect_end(&c);
    client_done(&c);
}

static void test_damage(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct rig_server s = server(with_tls);
        bool arg = with_tls;
        rig_run(&s, damaged_client, &arg);
        assert_int_equal(s.how, NET_STREAM_INFLATE_FAILED);
        assert_string_equal(s.text, "the compressed stream is damaged");
        assert_int_equal(s.lines, 4);
        assert_false(s.saw_eof);
    }
}

/* Commands in clear behind the command are no way in. */
static void clear_client(int fd, void *arg)
{
    (void)arg;
    char rest[100];
    rig_say_clear(fd, "compress\nfour\nfive\nquit\n");
    rig_expect_clear(fd, "go ahead\n");
    assert_int_equal(recv(fd, rest, sizeof rest, 0), 0);
}

static void test_clear_behind(void **state)
{
    (void)state;
    struct rig_server s = server(false);
    rig_run(&s, clear_client, NULL);
    assert_int_equal(s.how, NET_STREAM_INFLATE_FAILED);
    assert_int_equal(s.lines, 1);
}

/* --- ends
 * ---------------------------------------------------------------------------------------------------
 */

enum ending { END_OF_DEFLATE, END_OF_CONNECTION, END_CUT };
struct end {
    bool with_tls;
    enum ending how;
};

static void ending_client(int fd, void *arg)
{
    const struct end *e = arg;
    struct client c;
    start(&c, fd, e->with_tls);
    if (e->how == END_OF_DEFLATE) {
        write_all(&c, squeeze(&c, SPAN_LIT("two\n"), Z_FINISH));
        write_all(&c, SPAN_LIT("three\n")); /* not looked at */
    } else {
        say(&c, "two\n");
    }
    expect(&c, "two\n");
    if (e->how == END_OF_CONNECTION && c.ssl)
        SSL_shutdown(c.ssl);
    else if (e->how != END_OF_DEFLATE)
        shutdown(fd, SHUT_WR);
    expect_end(&c);
    client_done(&c);
}

static void test_ends(void **state)
{
    (void)state;
    for (int with_tls = 0; with_tls < 2; with_tls++)
        for (enum ending how = END_OF_DEFLATE; how <= END_CUT; how++) {
            struct rig_server s = server(with_tls);
            struct end e = {with_tls, how};
            bool cut = with_tls && how == END_CUT;
            rig_run(&s, ending_client, &e);
            assert_int_equal(s.how, cut ? NET_STREAM_LOST : NET_STREAM_FINISHED);
            assert_int_equal(s.saw_eof, !cut);
            assert_int_equal(s.lines, 3);
        }
}

/* The end comes while the engine rests and inflated lines wait: they are taken first. */
static void hasty_client(int fd, void *arg)
{
    (void)arg;
    struct client c;
    start(&c, fd, false);
    say(&c, "wait\ntwo\nthree\n");
    shutdown(fd, SHUT_WR);
    expect(&c, "two\nthree\n");
    expect_end(&c);
    client_done(&c);
}

static void test_end_while_waiting(void **state)
{
    (void)state;
    struct rig_server s = server(false);
    s.wait_ms = 50;
    rig_run(&s, hasty_client, NULL);
    assert_true(s.saw_eof && s.how == NET_STREAM_FINISHED);
    assert_int_equal(s.lines, 5);
}

/* --- what it costs
 * ------------------------------------------------------------------------------------------
 */

static void short_client(int fd, void *arg)
{
    (void)arg;
    struct client c;
    start(&c, fd, false);
    say(&c, "two\nquit\n");
    expect(&c, "two\nbye\n");
    client_done(&c);
}

/* One connection behind the other costs nothing that stays. */
static void test_nothing_stays(void **state)
{
    (void)state;
    size_t first = 0;
    for (int k = 0; k < 20; k++) {
        struct rig_server s = server(false);
        rig_run(&s, short_client, NULL);
        if (k == 1)
            first = mallinfo2().uordblks;
    }
    size_t last = mallinfo2().uordblks;
    printf("behind 18 compressed connections stay %zd bytes\n", (ssize_t)(last - first));
    assert_true((ssize_t)(last - first) < 16 * 1024);
}

static int open_all(void **state)
{
    char why[NET_TLS_TEXT_MAX];
    if (rig_open(state) != 0)
        return -1;
    rig_certificate_make(&certificate, RIG_P256, "DNS:mx.brant.test", NULL);
    signer = net_signer_new(NULL, NULL);
    signing = rig_signer_start(signer, RIG_HONEST, all, 1);
    const struct net_tls_certificate one = {span_make(certificate.key_id, IPC_KEY_ID_BYTES),
                                            span_str(certificate.pem)};
    return net_tls_new(&one, 1, signer, &tls, why);
}

static int close_all(void **state)
{
    net_tls_unref(tls);
    rig_close(state);
    net_signer_free(signer);
    rig_signer_stop(signing);
    rig_certificate_done(&certificate);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_polite),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_from_outside),
        cmocka_unit_test(test_not_now),
        cmocka_unit_test(test_much_output),
        cmocka_unit_test(test_much_clear_output),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_clear_behind),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_end_while_waiting),
        cmocka_unit_test(test_nothing_stays),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
