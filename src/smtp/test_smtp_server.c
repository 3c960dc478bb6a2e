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

static void test_idle_memory(void **state)
{
    struct rig r = open_extended(NULL);

    (void)state;
    assert_true(smtp_server_memory_bytes(r.s) <= 2048);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_message),
        cmocka_unit_test(test_early_talk),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_idle_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
