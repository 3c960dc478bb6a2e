#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "smtp/rig.h"

#define HELLO    "EHLO client.example\r\n"
#define ENVELOPE "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@brant.test>\r\n"
#define GREETING "220 mx.brant.test ESMTP\r\n"

static struct rig open_session(const struct smtp_server_config *c)
{
    struct rig r;

    rig_init(&r, c);
    assert_int_equal(smtp_server_greet(r.s, r.now_ms), BRANT_OK);
    rig_feed(&r, SPAN_NONE);
    assert_string_equal(rig_replies(&r), GREETING);
    return r;
}

static struct rig open_extended(const struct smtp_server_config *c)
{
    struct rig r = open_session(c);

    rig_feed_str(&r, HELLO);
    rig_replies(&r);
    return r;
}

static void test_first_message(void **state)
{
    struct rig r = open_session(NULL);

    (void)state;
    rig_feed_str(&r, HELLO);
    assert_string_equal(rig_replies(&r), "250-mx.brant.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n"
                                         "250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
                                         "250-ENHANCEDSTATUSCODES\r\n"
                                         "250-LIMITS RCPTMAX=1000 MAILMAX=1000\r\n250 HELP\r\n");
    rig_feed_str(&r, ENVELOPE "DATA\r\n");
    assert_string_equal(rig_replies(&r), "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n"
                                         "354 go on; end with CRLF . CRLF\r\n");
    rig_feed_str(&r, "Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    assert_string_equal(rig_replies(&r), "250 2.0.0 accepted\r\n221 2.0.0 goodbye\r\n");
    assert_int_equal(r.stored_count, 1);
    assert_true(span_eq_str(buf_span(&r.stored[0]), "Subject: x\r\n\r\n.dot\r\n"));
    assert_true(r.closed);
    assert_int_equal(r.reason, SMTP_CLOSE_QUIT);
    rig_done(&r);
}

static void test_early_talk(void **state)
{
    struct smtp_server_config c;
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    rig_feed_str(&r, "EHLO x\r\n");
    assert_string_equal(rig_replies(&r), "554 you spoke before the greeting\r\n");
    assert_true(r.closed);
    rig_done(&r);

    smtp_server_config_init(&c, "mx.brant.test");
    c.early_talk_refused = false;
    rig_init(&r, &c);
    rig_feed_str(&r, "EHLO x\r\n"); /* not taken: the engine waits for smtp_server_greet */
    assert_string_equal(rig_replies(&r), "");
    assert_false(r.closed);
    rig_done(&r);
}

/* The whole session must say and store the same however its bytes are cut. */
static void check_every_split(const char *text, size_t len, const char *expect_log)
{
    struct rig whole = open_session(NULL);
    struct rig bytes = open_session(NULL);
    struct span in = span_make(text, len);

    rig_feed(&whole, in);
    for (size_t i = 0; i < in.len; i++)
        rig_feed(&bytes, span_sub(in, i, 1));
    assert_true(span_eq(buf_span(&whole.out), buf_span(&bytes.out)));
    assert_true(span_eq(buf_span(&whole.log), buf_span(&bytes.log)));
    assert_string_equal(buf_cstr(&whole.log), expect_log);
    for (size_t cut = 0; cut <= in.len; cut++) {
        struct rig r = open_session(NULL);

        rig_feed(&r, span_sub(in, 0, cut));
        rig_feed(&r, span_from(in, cut));
        assert_true(span_eq(buf_span(&whole.out), buf_span(&r.out)));
        assert_true(span_eq(buf_span(&whole.log), buf_span(&r.log)));
        assert_int_equal(whole.stored_count, r.stored_count);
        for (size_t i = 0; i < r.stored_count; i++)
            assert_true(span_eq(buf_span(&whole.stored[i]), buf_span(&r.stored[i])));
        assert_int_equal(whole.closed, r.closed);
        assert_int_equal(whole.reason, r.reason);
        rig_done(&r);
    }
    rig_done(&whole);
    rig_done(&bytes);
}

#define CHECK_EVERY_SPLIT(text, log) check_every_split(text, sizeof(text) - 1, log)

static void test_splits(void **state)
{
    (void)state;
    CHECK_EVERY_SPLIT(
        HELLO ENVELOPE "DATA\r\nA: b\r\n\r\n..\r\n.x\r\n\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n",
        "HELO client.example\nMAIL a@b.example\nRCPT alice@brant.test\nDATA \nEND \nMAIL \nRESET \n");
    CHECK_EVERY_SPLIT(HELLO ENVELOPE "BDAT 10\r\nA: b\r\n\r\nxyBDAT 0\r\nBDAT 2 LAST\r\nzzNOOP\r\n",
                      "HELO client.example\nMAIL a@b.example\nRCPT alice@brant.test\nDATA \nEND \n");
    CHECK_EVERY_SPLIT(HELLO ENVELOPE "DATA\r\nA: b\r\n\r\nx\n.\r\nMAIL FROM:<c@d>\r\n.\r\nNOOP\r\n",
                      "HELO client.example\nMAIL a@b.example\nRCPT alice@brant.test\nDATA \nRESET \n");
    CHECK_EVERY_SPLIT(HELLO "BDAT 6\r\nRSET\r\nMAIL FROM:<a@b>\nRCPT TO:<alice@brant.test>\r\n",
                      "HELO client.example\n");
}

/* ---- limits of memory ---------------------------------------------------------------------------------- */

static void test_idle_memory(void **state)
{
    struct rig r = open_extended(NULL);

    (void)state;
    assert_true(smtp_server_memory_bytes(r.s) <= 2048);
    rig_feed_str(&r, ENVELOPE "DATA\r\nA: b\r\n\r\ntext\r\n.\r\n");
    assert_true(smtp_server_memory_bytes(r.s) <= 2048);
    rig_done(&r);
}

/* Whatever is sent before the first accepted recipient, 64 KiB are never passed, and it is given back. */
static void test_unauthenticated_memory(void **state)
{
    static char line[70000];
    struct smtp_server_config c;
    struct rig r;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    c.errors_max = c.idle_commands_max = 1000000;
    r = open_extended(&c);
    memset(line, 'x', sizeof line);
    for (size_t len = 1; len < 65536; len *= 2) {
        rig_feed(&r, span_make(line, len));
        assert_true(smtp_server_memory_bytes(r.s) <= 4096);
        rig_feed_str(&r, "\r\n");
        assert_true(smtp_server_memory_bytes(r.s) <= 2048);
    }
    for (int i = 0; i < 5000; i++)
        rig_feed_str(&r, "EHLO client.example\r\nHELP\r\nMAIL FROM:<a@b>\r\nRSET\r\n");
    assert_true(r.memory_max <= 65536);
    assert_true(smtp_server_memory_bytes(r.s) <= 2048);
    rig_done(&r);
}

static void test_tiny_chunks(void **state)
{
    struct rig r = open_extended(NULL);

    (void)state;
    rig_feed_str(&r, ENVELOPE);
    for (int i = 0; i < 100000; i++) {
        rig_feed_str(&r, "BDAT 1\r\nx");
        assert_true(smtp_server_memory_bytes(r.s) <= 2048);
        buf_reset(&r.out);
    }
    rig_feed_str(&r, "BDAT 0 LAST\r\n");
    assert_string_equal(rig_replies(&r), "250 2.0.0 accepted\r\n");
    assert_int_equal(r.stored[0].len, 100002);
    rig_done(&r);
}

/* A client that never reads: the engine stops taking its commands. */
static void test_slow_reader(void **state)
{
    struct smtp_server_config c;
    struct smtp_server *s;
    struct smtp_event e;
    struct buf commands;
    struct span in;
    size_t replies = 0;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    c.idle_commands_max = 100000;
    s = smtp_server_new(&c, 0);
    buf_init(&commands, SIZE_MAX);
    for (int i = 0; i < 10000; i++)
        buf_append_str(&commands, "NOOP\r\n");
    smtp_server_greet(s, 0);
    in = buf_span(&commands);
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_BLOCKED);
    assert_true(smtp_server_memory_bytes(s) < 16384 && in.len > 50000);
    assert_int_equal(smtp_server_timeout_ms(s, 0), 120000); /* and it is on the clock */
    while (smtp_server_next(s, &in, 0, &e) == SMTP_EVENT_BLOCKED) {
        replies += smtp_server_output(s).len;
        smtp_server_output_used(s, smtp_server_output(s).len, 0);
    }
    replies += smtp_server_output(s).len;
    assert_int_equal(e.type, SMTP_EVENT_MORE);
    assert_int_equal(replies, strlen(GREETING) + 10000 * strlen("250 ok\r\n"));
    smtp_server_free(s);
    buf_done(&commands);
}

/* ---- answers, time, ends ------------------------------------------------------------------------------- */

static struct span output(struct smtp_server *s)
{
    static uint8_t copy[16384];
    struct span out = smtp_server_output(s);
    size_t len = out.len;

    assert_true(len <= sizeof copy);
    if (len)
        memcpy(copy, out.p, len);
    smtp_server_output_used(s, len, 0);
    return span_make(copy, len);
}

/* Nothing behind a waiting event is looked at, however often one asks. */
static void test_waiting(void **state)
{
    struct smtp_server_config c;
    struct smtp_server *s;
    struct smtp_event e;
    struct span in = SPAN_LIT("EHLO x\r\nMAIL FROM:<\"A b\"@B.example> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n"
                              "RCPT TO:<postmaster>\r\nQUIT\r\n");
    struct smtp_reply no = {550, 1, 1, "no"};

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    s = smtp_server_new(&c, 0);
    assert_int_equal(smtp_server_next(s, &(struct span){0}, 0, &e), SMTP_EVENT_WAIT);
    assert_int_equal(smtp_server_answer(s, NULL, 0), BRANT_ESTATE);
    assert_int_equal(smtp_server_greet(s, 0), BRANT_OK);
    assert_int_equal(smtp_server_greet(s, 0), BRANT_ESTATE);
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_HELO);
    assert_true(span_eq_str(smtp_server_helo(s), "x") && smtp_server_extended(s));
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_MAIL);
    assert_int_equal(e.kind, SMTP_PATH_MAILBOX);
    assert_true(span_eq_str(e.mailbox, "\"A b\"@b.example"));
    assert_true(span_eq_str(e.local, "\"A b\"") && span_eq_str(e.domain, "b.example"));
    assert_true(e.size_bytes == 7 && e.smtputf8 && e.eight_bit);
    output(s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_WAIT);
        assert_int_equal(smtp_server_output(s).len, 0);
        assert_int_equal(smtp_server_timeout_ms(s, 1000000000), SMTP_NO_TIMEOUT);
        assert_true(smtp_server_busy(s));
    }
    assert_int_equal(smtp_server_answer(s, NULL, 0), BRANT_OK);
    assert_int_equal(smtp_server_answer(s, NULL, 0), BRANT_ESTATE);
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_RCPT);
    assert_int_equal(e.kind, SMTP_PATH_POSTMASTER);
    assert_int_equal(smtp_server_answer(s, &no, 0), BRANT_OK);
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_CLOSE);
    assert_int_equal(smtp_server_next(s, &in, 0, &e), SMTP_EVENT_CLOSE);
    assert_true(span_eq_str(output(s), "250 2.1.0 sender ok\r\n550 5.1.1 no\r\n221 2.0.0 goodbye\r\n"));
    assert_false(smtp_server_busy(s));
    smtp_server_free(s);
}

static void test_timeouts(void **state)
{
    struct rig r = open_extended(NULL);

    (void)state;
    /* born at 1000; the first recipient is due within two minutes */
    assert_int_equal(smtp_server_timeout_ms(r.s, 1000), 120000);
    r.now_ms = 100000;
    rig_feed_str(&r, "NOOP\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 100000), 21000);
    assert_int_equal(smtp_server_timeout_ms(r.s, 121000), 0);
    assert_int_equal(smtp_server_timeout_ms(r.s, 999000), 0);
    rig_feed_str(&r, ENVELOPE);
    assert_int_equal(smtp_server_timeout_ms(r.s, 100000), 300000); /* RFC 5321 4.5.3.2.7 */
    rig_feed_str(&r, "DATA\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 100000), 60000); /* the first look at the rate */
    r.now_ms = 160000;
    rig_feed_str(&r, "A: b\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 160000), 0); /* too slow */
    smtp_server_resumed(r.s, r.now_ms);                       /* no: we had not been reading */
    assert_int_equal(smtp_server_timeout_ms(r.s, 160000), 60000);
    for (int i = 0; i < 600; i++)
        rig_feed_str(&r, "12345678\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 160000), 180000); /* fast enough: 4.5.3.2.5 */
    r.now_ms = 220000;
    rig_feed_str(&r, "x\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 220000), 60000); /* the next minute */
    rig_feed_str(&r, ".\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, 220000), 300000);
    r.now_ms = 1000 + 7200000 - 5;
    rig_feed_str(&r, "NOOP\r\n");
    assert_int_equal(smtp_server_timeout_ms(r.s, r.now_ms), 5); /* no session is longer than two hours */
    rig_replies(&r);
    smtp_server_end(r.s, SMTP_CLOSE_TIMEOUT);
    rig_feed_str(&r, "NOOP\r\n");
    assert_string_equal(rig_replies(&r), "421 4.4.2 time-out\r\n");
    assert_int_equal(r.reason, SMTP_CLOSE_TIMEOUT);
    assert_int_equal(smtp_server_timeout_ms(r.s, r.now_ms), SMTP_NO_TIMEOUT);
    rig_done(&r);
}

static void test_ends(void **state)
{
    static const struct {
        enum smtp_close_reason reason;
        const char *text;
    } cases[] = {{SMTP_CLOSE_TIMEOUT, "421 time-out\r\n"},
                 {SMTP_CLOSE_SHUTDOWN, "421 not now; try again later\r\n"},
                 {SMTP_CLOSE_OVERLOAD, "421 not now; try again later\r\n"},
                 {SMTP_CLOSE_RATE, "421 too much from your side; try again later\r\n"},
                 {SMTP_CLOSE_LOST, ""}};
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) { /* in place of the greeting */
        rig_init(&r, NULL);
        smtp_server_end(r.s, cases[i].reason);
        rig_feed(&r, SPAN_NONE);
        assert_string_equal(rig_replies(&r), cases[i].text);
        assert_int_equal(r.reason, cases[i].reason);
        assert_int_equal(smtp_server_greet(r.s, 0), BRANT_ESTATE);
        rig_done(&r);

        r = open_extended(NULL); /* inside a message */
        rig_feed_str(&r, ENVELOPE "DATA\r\nA: b\r\n");
        smtp_server_end(r.s, cases[i].reason);
        rig_feed_str(&r, ".\r\n");
        assert_int_equal(r.reason, cases[i].reason);
        assert_int_equal(r.stored_count, 0);
        rig_done(&r);
    }
    for (int reason = SMTP_CLOSE_NONE; reason <= SMTP_CLOSE_COMMANDS; reason++)
        assert_string_not_equal(smtp_close_reason_text((enum smtp_close_reason)reason), "unknown");
}

/* While the store is committing, an end from outside waits for its answer: the client must learn it. */
static void test_end_while_committing(void **state)
{
    struct smtp_server_config c;
    struct span in = SPAN_LIT("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nNOOP\r\n");
    struct smtp_event e;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    for (int lost = 0; lost < 2; lost++) {
        struct smtp_server *s = smtp_server_new(&c, 0);
        struct span rest = in, out;

        smtp_server_greet(s, 0);
        while (smtp_server_next(s, &rest, 0, &e) != SMTP_EVENT_END)
            if (e.type != SMTP_EVENT_HELO)
                assert_int_equal(smtp_server_answer(s, NULL, 0), BRANT_OK);
        output(s);
        smtp_server_end(s, lost ? SMTP_CLOSE_LOST : SMTP_CLOSE_SHUTDOWN);
        assert_int_equal(smtp_server_answer(s, NULL, 0), lost ? BRANT_ESTATE : BRANT_OK);
        assert_int_equal(smtp_server_next(s, &rest, 0, &e), SMTP_EVENT_CLOSE);
        out = output(s);
        assert_true(
            span_eq_str(out, lost ? "" : "250 2.0.0 accepted\r\n421 4.3.2 not now; try again later\r\n"));
        smtp_server_free(s);
    }
}

static void test_lmtp_each(void **state)
{
    struct smtp_server_config c;
    struct span in =
        SPAN_LIT("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nQUIT\r\n");
    struct smtp_reply replies[3] = {{250, 0, 0, "one"}, {452, 2, 2, "two\nlines"}, {250, 0, 0, NULL}};
    struct smtp_server *s;
    struct smtp_event e;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    c.role = SMTP_ROLE_LMTP;
    s = smtp_server_new(&c, 0);
    smtp_server_greet(s, 0);
    while (smtp_server_next(s, &in, 0, &e) != SMTP_EVENT_END)
        if (e.type != SMTP_EVENT_HELO)
            assert_int_equal(smtp_server_answer(s, NULL, 0), BRANT_OK);
    output(s);
    assert_int_equal(smtp_server_recipients(s), 2);
    assert_int_equal(smtp_server_answer_each(s, replies, 3, 0), BRANT_ESTATE);
    assert_int_equal(smtp_server_answer_each(s, replies, 2, 0), BRANT_OK);
    assert_true(span_eq_str(output(s), "250 2.0.0 one\r\n452 4.2.2 two\r\n"));
    smtp_server_free(s);
}

/* A refused message that never ends is cut off. */
static void test_endless_message(void **state)
{
    static char block[65536];
    struct smtp_server_config c;
    struct rig r;
    size_t sent = 0;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    c.message_bytes_max = 100000;
    r = open_extended(&c);
    memset(block, 'x', sizeof block);
    rig_feed_str(&r, ENVELOPE "DATA\r\n");
    rig_replies(&r);
    for (; !r.closed && sent < 10000000; sent += sizeof block)
        rig_feed(&r, span_make(block, sizeof block));
    assert_true(r.closed && sent < 2000000);
    assert_int_equal(r.reason, SMTP_CLOSE_ENDLESS);
    assert_string_equal(rig_replies(&r), "552 5.3.4 message too big\r\n");
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_message),
        cmocka_unit_test(test_early_talk),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_idle_memory),
        cmocka_unit_test(test_unauthenticated_memory),
        cmocka_unit_test(test_tiny_chunks),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_end_while_committing),
        cmocka_unit_test(test_lmtp_each),
        cmocka_unit_test(test_endless_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
