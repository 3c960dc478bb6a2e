#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "ipc/frame.h"
#include "net/channel.h"

/* A channel under test at one end of a socket pair; the test holds the other end as a raw descriptor. */
struct bench {
    struct net_loop loop;
    struct net_channel *channel;
    struct net_timer *limit;
    int other;
    unsigned messages, drained;
    uint16_t last_type;
    bool ended, free_in_callback, stop_when_drained;
    enum net_channel_end end;
};

static void on_message(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct bench *b = context;

    b->messages++;
    b->last_type = m->type;
    if (b->free_in_callback) {
        net_channel_free(c);
        b->channel = NULL;
        net_loop_stop(&b->loop);
    }
}

static void on_drained(void *context, struct net_channel *c)
{
    struct bench *b = context;

    (void)c;
    b->drained++;
    net_loop_stop(&b->loop);
}

static void on_ended(void *context, struct net_channel *c, enum net_channel_end end, const char *text)
{
    struct bench *b = context;

    assert_non_null(text);
    b->ended = true;
    b->end = end;
    net_channel_free(c);
    b->channel = NULL;
    net_loop_stop(&b->loop);
}

static const struct net_channel_ops OPS = {.message = on_message, .drained = on_drained, .ended = on_ended};

static void on_limit(void *context)
{
    net_loop_stop(context);
}

/* The channel is the store's, to an smtp process: the test plays the smtp process. */
static void bench_open(struct bench *b)
{
    int pair[2];

    *b = (struct bench){.other = -1};
    assert_int_equal(net_loop_init(&b->loop), BRANT_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    b->other = pair[1];
    b->channel = net_channel_new(&b->loop, pair[0], IPC_ROLE_STORE, IPC_ROLE_SMTP, 7, &OPS, b);
    b->limit = net_timer_new(&b->loop, on_limit, &b->loop);
}

static void bench_close(struct bench *b)
{
    net_channel_free(b->channel);
    net_timer_free(b->limit);
    if (b->other >= 0)
        close(b->other);
    net_loop_done(&b->loop);
}

/* Runs the loop until something stops it, or until nothing more can be expected. */
static void spin(struct bench *b)
{
    net_timer_set(b->limit, 200);
    b->loop.stopping = false;
    net_loop_run(&b->loop);
}

static void say(struct bench *b, struct span bytes)
{
    assert_int_equal(send(b->other, bytes.p, bytes.len, MSG_NOSIGNAL), (ssize_t)bytes.len);
}

static void say_message(struct bench *b, struct ipc_message m)
{
    _cleanup_buf_ struct buf frame;

    buf_init(&frame, IPC_FRAME_MAX);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    say(b, buf_span(&frame));
}

static void permitted_messages_arrive(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    say_message(&b, (struct ipc_message){.type = IPC_TYPE_RCPT_CHECK});
    say_message(&b, (struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE});
    spin(&b);
    assert_int_equal(b.messages, 2);
    assert_int_equal(b.last_type, IPC_TYPE_SESSION_CLOSE);
    assert_false(b.ended);
    bench_close(&b);
}

static void a_forbidden_message_is_a_fault(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    say_message(&b, (struct ipc_message){.type = IPC_TYPE_ACCOUNT_ADD});
    spin(&b);
    assert_true(b.ended);
    assert_int_equal(b.end, NET_CHANNEL_FAULT);
    assert_int_equal(b.messages, 0);
    bench_close(&b);
}

static void malformed_bytes_are_a_fault(void **state)
{
    static const struct span CASES[] = {
        {(const uint8_t *)"\x04\0\0\0", 4},                        /* shorter than a header */
        {(const uint8_t *)"\xff\xff\xff\xff", 4},                  /* longer than any message */
        {(const uint8_t *)"\x0c\0\0\0\xff\xff\x01\0\0\0\0\0", 12}, /* no such type */
        {(const uint8_t *)"\x0c\0\0\0\x21\0\x01\0\0\0\0\0", 12},   /* RCPT_CHECK without its fields */
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct bench b;

        bench_open(&b);
        say(&b, CASES[i]);
        spin(&b);
        assert_true(b.ended);
        assert_int_equal(b.end, NET_CHANNEL_FAULT);
        bench_close(&b);
    }
}

static void a_peer_that_goes_is_no_fault(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    close(b.other);
    b.other = -1;
    spin(&b);
    assert_true(b.ended);
    assert_int_equal(b.end, NET_CHANNEL_CLOSED);
    bench_close(&b);
}

static void the_owner_may_free_it_in_a_callback(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    b.free_in_callback = true;
    say_message(&b, (struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE});
    say_message(&b, (struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE});
    spin(&b);
    assert_int_equal(b.messages, 1);
    assert_false(b.ended);
    bench_close(&b);
}

static int send_data(struct bench *b)
{
    static uint8_t chunk[IPC_TEXT_MAX];
    const struct ipc_message m = {.type = IPC_TYPE_RCPT_VERDICT,
                                  .rcpt_verdict = {.text = {chunk, sizeof chunk}}};

    return net_channel_send(b->channel, &m);
}

static void congestion_is_seen_and_ends(void **state)
{
    static uint8_t sink[1 << 20];
    struct bench b;

    (void)state;
    bench_open(&b);
    while (!net_channel_congested(b.channel))
        assert_int_equal(send_data(&b), BRANT_OK);
    for (int i = 0; i < 100 && b.drained == 0; i++) {
        while (recv(b.other, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
        spin(&b);
    }
    assert_int_equal(b.drained, 1);
    assert_false(net_channel_congested(b.channel));
    bench_close(&b);
}

static void a_peer_that_never_reads_is_a_fault(void **state)
{
    struct bench b;
    int rc = BRANT_OK;

    (void)state;
    bench_open(&b);
    for (size_t sent = 0; rc == BRANT_OK && sent <= 2ul * NET_CHANNEL_QUEUE_BYTES; sent += IPC_TEXT_MAX)
        rc = send_data(&b);
    assert_int_equal(rc, BRANT_ELIMIT);
    assert_false(b.ended); /* who sends is never called back from within the send */
    assert_int_equal(send_data(&b), BRANT_ESTATE);
    spin(&b);
    assert_true(b.ended);
    assert_int_equal(b.end, NET_CHANNEL_FAULT);
    bench_close(&b);
}

static void our_own_mistakes_are_refused(void **state)
{
    const struct ipc_message forbidden = {.type = IPC_TYPE_COMMIT};
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_int_equal(net_channel_send(b.channel, &forbidden), BRANT_EREFUSED);
    assert_false(b.ended);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permitted_messages_arrive),
        cmocka_unit_test(a_forbidden_message_is_a_fault),
        cmocka_unit_test(malformed_bytes_are_a_fault),
        cmocka_unit_test(a_peer_that_goes_is_no_fault),
        cmocka_unit_test(the_owner_may_free_it_in_a_callback),
        cmocka_unit_test(congestion_is_seen_and_ends),
        cmocka_unit_test(a_peer_that_never_reads_is_a_fault),
        cmocka_unit_test(our_own_mistakes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
