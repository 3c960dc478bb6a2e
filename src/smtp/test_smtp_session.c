/* STARTTLS, AUTH and XCLIENT: what dialogue files cannot show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/err.h"
#include "smtp/rig.h"

#define HELLO      "EHLO client.example\r\n"
#define ALICE      "AGFsaWNlAHNlY3JldA==" /* \0alice\0secret */
#define AUTH_ALICE "AUTH PLAIN " ALICE "\r\n"

static struct smtp_server *greeted(const struct smtp_offer *offer)
{
    struct smtp_server_config c;
    struct smtp_server *s;

    smtp_server_config_init(&c, "mx.brant.test");
    s = smtp_server_new(&c, 1000);
    smtp_server_offer(s, offer);
    assert_int_equal(smtp_server_greet(s, 1000), BRANT_OK);
    smtp_server_output_used(s, smtp_server_output(s).len, 1000);
    return s;
}

static enum smtp_event_type say(struct smtp_server *s, const char *text, struct smtp_event *ret)
{
    struct span in = span_str(text);

    do {
        smtp_server_next(s, &in, 1000, ret);
    } while (ret->type == SMTP_EVENT_HELO);
    return ret->type;
}

static void expect_output(struct smtp_server *s, const char *text)
{
    struct span out = smtp_server_output(s);

    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.p, text, out.len);
    smtp_server_output_used(s, out.len, 1000);
}

static void drop_output(struct smtp_server *s)
{
    smtp_server_output_used(s, smtp_server_output(s).len, 1000);
}

/* ---- STARTTLS --------------------------------------------------------------------------------------------
 */

/* Whatever stands behind STARTTLS in the same span is left where it is. */
static void test_nothing_is_taken_behind_starttls(void **state)
{
    const struct smtp_offer offer = {.starttls = true};
    struct smtp_server *s = greeted(&offer);
    struct span in = SPAN_LIT(HELLO "STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n");
    struct smtp_event e;

    (void)state;
    assert_int_equal(smtp_server_next(s, &in, 1000, &e), SMTP_EVENT_HELO);
    assert_int_equal(smtp_server_next(s, &in, 1000, &e), SMTP_EVENT_STARTTLS);
    assert_int_equal(smtp_server_next(s, &in, 1000, &e), SMTP_EVENT_WAIT);
    assert_false(smtp_server_awaits_tls(s));
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_ESTATE); /* not answered yet */
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_OK);
    assert_true(smtp_server_awaits_tls(s));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(smtp_server_next(s, &in, 1000, &e), SMTP_EVENT_WAIT);
        assert_true(span_starts(in, SPAN_LIT("MAIL FROM")));
    }
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_ESTATE); /* 220 was not sent yet */
    drop_output(s);
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_ESTATE);
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_OK);
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_ESTATE);
    assert_true(smtp_server_tls(s) && !smtp_server_awaits_tls(s));
    assert_int_equal(smtp_server_helo(s).len, 0);
    assert_false(smtp_server_extended(s));
    assert_int_equal(say(s, "NOOP\r\n", &e), SMTP_EVENT_MORE);
    expect_output(s, "250 ok\r\n");
    smtp_server_free(s);
}

static void test_what_ehlo_announces(void **state)
{
    const struct smtp_offer clear = {.starttls = true}, tls = {true, "PLAIN LOGIN", true};
    struct smtp_server *s = greeted(&clear);
    struct smtp_event e;

    (void)state;
    assert_int_equal(say(s, HELLO "STARTTLS\r\n", &e), SMTP_EVENT_STARTTLS);
    expect_output(s, "250-mx.brant.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
                     "250-CHUNKING\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n"
                     "250-LIMITS RCPTMAX=1000 MAILMAX=1000\r\n250 HELP\r\n");
    smtp_server_answer(s, NULL, 1000);
    expect_output(s, "220 2.0.0 ready to start TLS\r\n");
    smtp_server_tls_started(s, 1000);
    smtp_server_offer(s, &tls);
    assert_int_equal(say(s, HELLO, &e), SMTP_EVENT_MORE);
    expect_output(s, "250-mx.brant.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
                     "250-CHUNKING\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN LOGIN\r\n"
                     "250-XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT\r\n"
                     "250-LIMITS RCPTMAX=1000 MAILMAX=1000\r\n250 HELP\r\n");
    smtp_server_free(s);
}

static void test_implicit_tls(void **state)
{
    const struct smtp_offer offer = {.starttls = true};
    struct smtp_server_config c;
    struct smtp_server *s;
    struct smtp_event e;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    s = smtp_server_new(&c, 1000);
    smtp_server_offer(s, &offer);
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_OK);
    assert_int_equal(say(s, "", &e), SMTP_EVENT_WAIT); /* the greeting is due as ever */
    assert_int_equal(smtp_server_greet(s, 1000), BRANT_OK);
    expect_output(s, "220 mx.brant.test ESMTP\r\n");
    assert_int_equal(say(s, "STARTTLS\r\n", &e), SMTP_EVENT_MORE);
    expect_output(s, "503 TLS has begun already\r\n");
    assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_ESTATE);
    smtp_server_free(s);
}

/* Between 220 and TLS nothing may be said, and time goes on. */
static void test_ends_during_the_handshake(void **state)
{
    static const enum smtp_close_reason reasons[] = {SMTP_CLOSE_LOST, SMTP_CLOSE_TIMEOUT, SMTP_CLOSE_SHUTDOWN,
                                                     SMTP_CLOSE_RATE};
    const struct smtp_offer offer = {.starttls = true};
    struct smtp_event e;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct smtp_server *s = greeted(&offer);

        assert_int_equal(say(s, HELLO "STARTTLS\r\n", &e), SMTP_EVENT_STARTTLS);
        assert_true(smtp_server_timeout_ms(s, 1000) == SMTP_NO_TIMEOUT);
        smtp_server_answer(s, NULL, 1000);
        drop_output(s);
        assert_true(smtp_server_timeout_ms(s, 1000) <= 5 * 60 * 1000);
        smtp_server_end(s, reasons[i]);
        assert_int_equal(say(s, "", &e), SMTP_EVENT_CLOSE);
        assert_int_equal(e.reason, reasons[i]);
        expect_output(s, "");
        assert_int_equal(smtp_server_tls_started(s, 1000), BRANT_ESTATE);
        smtp_server_free(s);
    }
}

/* ---- AUTH ------------------------------------------------------------------------------------------------
 */

static void test_events_of_an_exchange(void **state)
{
    const struct smtp_offer offer = {.auth = "SCRAM-SHA-256 PLAIN"};
    static const char binary[] = "a\0\xff";
    struct smtp_server *s = greeted(&offer);
    struct smtp_event e;

    (void)state;
    assert_int_equal(say(s, HELLO "auth scram-sha-256\r\n", &e), SMTP_EVENT_AUTH);
    assert_true(span_eq_str(e.mechanism, "SCRAM-SHA-256"));
    assert_false(e.has_response);
    assert_int_equal(e.response.len, 0);
    drop_output(s);
    assert_int_equal(smtp_server_auth_challenge(s, span_make(binary, 3), 1000), BRANT_OK);
    assert_int_equal(smtp_server_auth_challenge(s, SPAN_NONE, 1000), BRANT_ESTATE);
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_ESTATE);
    expect_output(s, "334 YQD/\r\n");
    assert_int_equal(say(s, "YQD/\r\n", &e), SMTP_EVENT_AUTH_RESPONSE);
    assert_true(e.has_response && span_eq(e.response, span_make(binary, 3)));
    assert_int_equal(say(s, "", &e), SMTP_EVENT_WAIT);
    assert_false(smtp_server_authenticated(s));
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_OK);
    expect_output(s, "235 2.7.0 authentication successful\r\n");
    assert_true(smtp_server_authenticated(s));
    smtp_server_free(s);

    s = greeted(&offer);
    assert_int_equal(say(s, HELLO "AUTH PLAIN =\r\n", &e), SMTP_EVENT_AUTH);
    assert_true(e.has_response && e.response.len == 0);
    drop_output(s);
    assert_int_equal(smtp_server_auth_challenge(s, SPAN_NONE, 1000), BRANT_OK);
    expect_output(s, "334 \r\n");
    assert_int_equal(say(s, "*\r\n", &e), SMTP_EVENT_AUTH_CANCEL);
    assert_int_equal(say(s, "", &e), SMTP_EVENT_MORE);
    expect_output(s, "501 5.7.0 given up\r\n");
    smtp_server_free(s);
}

static void test_a_challenge_has_its_limit(void **state)
{
    static const uint8_t zeros[SMTP_AUTH_BYTES_MAX + 1];
    const struct smtp_offer offer = {.auth = "PLAIN"};
    struct smtp_server *s = greeted(&offer);
    struct smtp_event e;

    (void)state;
    assert_int_equal(say(s, HELLO "AUTH PLAIN\r\n", &e), SMTP_EVENT_AUTH);
    drop_output(s);
    assert_int_equal(smtp_server_auth_challenge(s, span_make(zeros, sizeof zeros), 1000), BRANT_ELIMIT);
    expect_output(s, "");
    assert_int_equal(smtp_server_auth_challenge(s, span_make(zeros, sizeof zeros - 1), 1000), BRANT_OK);
    assert_int_equal(smtp_server_output(s).len, 4 + 2732 + 2);
    smtp_server_free(s);
}

static bool holds(struct span where, const char *what)
{
    return span_find(where, span_str(what)) != SPAN_NPOS;
}

/* The response is gone from the engine's memory when it was answered (the line it came in already before). */
static void test_responses_are_wiped(void **state)
{
    const struct smtp_offer offer = {.auth = "PLAIN"};
    struct smtp_event e;

    (void)state;
    for (int how = 0; how < 3; how++) {
        struct smtp_server *s = greeted(&offer);
        struct span seen;

        assert_int_equal(say(s, HELLO AUTH_ALICE, &e), SMTP_EVENT_AUTH);
        seen = e.response;
        assert_true(holds(seen, "secret"));
        if (how == 0)
            smtp_server_answer(s, NULL, 1000);
        else if (how == 1)
            smtp_server_auth_challenge(s, SPAN_NONE, 1000);
        else
            smtp_server_answer(s, &(struct smtp_reply){535, 7, 8, "wrong"}, 1000);
        assert_false(holds(seen, "secret"));
        for (size_t i = 0; i < seen.len; i++)
            assert_int_equal(seen.p[i], 0);
        smtp_server_free(s);
    }
}

static void test_time_for_a_response(void **state)
{
    const struct smtp_offer offer = {.auth = "PLAIN"};
    struct smtp_server_config c;
    struct smtp_server *s;
    struct smtp_event e;

    (void)state;
    smtp_server_config_init(&c, "mx.brant.test");
    c.auth_timeout_ms = 7000;
    c.first_rcpt_ms = 0;
    s = smtp_server_new(&c, 1000);
    smtp_server_offer(s, &offer);
    smtp_server_greet(s, 1000);
    assert_int_equal(say(s, HELLO "AUTH PLAIN\r\n", &e), SMTP_EVENT_AUTH);
    assert_true(smtp_server_timeout_ms(s, 1000) == SMTP_NO_TIMEOUT);
    assert_true(smtp_server_busy(s));
    smtp_server_auth_challenge(s, SPAN_NONE, 2000);
    assert_int_equal(smtp_server_timeout_ms(s, 3000), 6000);
    smtp_server_end(s, SMTP_CLOSE_TIMEOUT);
    assert_int_equal(say(s, "", &e), SMTP_EVENT_CLOSE);
    smtp_server_free(s);
}

/* The end may come while a login is being checked: the answer comes too late. */
static void test_ends_during_a_login(void **state)
{
    const struct smtp_offer offer = {.auth = "PLAIN"};
    struct smtp_server *s = greeted(&offer);
    struct smtp_event e;

    (void)state;
    assert_int_equal(say(s, HELLO AUTH_ALICE, &e), SMTP_EVENT_AUTH);
    smtp_server_end(s, SMTP_CLOSE_SHUTDOWN);
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_ESTATE);
    assert_int_equal(smtp_server_auth_challenge(s, SPAN_NONE, 1000), BRANT_ESTATE);
    assert_false(smtp_server_authenticated(s));
    assert_int_equal(say(s, "", &e), SMTP_EVENT_CLOSE);
    assert_int_equal(e.reason, SMTP_CLOSE_SHUTDOWN);
    smtp_server_free(s);
}

/* What may be in the offer: nothing, one name, names in another order, and names that begin alike. */
static void test_offered_mechanisms(void **state)
{
    static const struct {
        const char *offer, *asked;
        enum smtp_event_type type;
    } cases[] = {
        {NULL, "PLAIN", SMTP_EVENT_MORE},
        {"", "PLAIN", SMTP_EVENT_MORE},
        {"PLAIN", "PLAIN", SMTP_EVENT_AUTH},
        {"PLAIN", "PLAI", SMTP_EVENT_MORE},
        {"PLAIN", "PLAINS", SMTP_EVENT_MORE},
        {"SCRAM-SHA-256-PLUS PLAIN", "SCRAM-SHA-256", SMTP_EVENT_MORE},
        {"SCRAM-SHA-256-PLUS SCRAM-SHA-256", "SCRAM-SHA-256", SMTP_EVENT_AUTH},
        {"SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", SMTP_EVENT_AUTH},
    };
    char text[100];
    struct smtp_event e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct smtp_offer offer = {.auth = cases[i].offer};
        struct smtp_server *s = greeted(&offer);

        snprintf(text, sizeof text, HELLO "AUTH %s\r\n", cases[i].asked);
        assert_int_equal(say(s, text, &e), cases[i].type);
        if (e.type == SMTP_EVENT_AUTH)
            assert_true(span_eq_str(e.mechanism, cases[i].asked));
        smtp_server_free(s);
    }
}

/* An idle session costs what it did, and what an exchange took is given back. */
static void test_memory(void **state)
{
    const struct smtp_offer offer = {.auth = "PLAIN"};
    struct smtp_server *s = greeted(&offer);
    struct smtp_event e;

    (void)state;
    say(s, HELLO, &e);
    drop_output(s);
    assert_true(smtp_server_memory_bytes(s) <= 2048);
    for (int i = 0; i < 2; i++) {
        say(s, "AUTH PLAIN ", &e);
        for (int n = 0; n < 680; n++)
            say(s, "AAAA", &e);
        assert_int_equal(say(s, "\r\n", &e), SMTP_EVENT_AUTH);
        assert_int_equal(e.response.len, 2040);
        assert_true(smtp_server_memory_bytes(s) <= 2048 + 4096 + 2 * 4096);
        smtp_server_answer(s, &(struct smtp_reply){535, 7, 8, "wrong"}, 1000);
        say(s, "", &e);
        drop_output(s);
        assert_true(smtp_server_memory_bytes(s) <= 2048);
    }
    smtp_server_free(s);
}

/* ---- XCLIENT ---------------------------------------------------------------------------------------------
 */

static void test_xclient_fields(void **state)
{
    static const struct {
        const char *line, *log;
    } cases[] = {
        {"NAME=spike.example ADDR=192.0.2.168", "3300000 spike.example 192.0.2.168 0 0  - 0"},
        {"PORT=25 ADDR=192.0.2.168", "0330000  192.0.2.168 25 0  - 0"},
        {"ADDR=ipv6:2001:DB8::1 PORT=65535 PROTO=esmtp", "0333000  2001:db8::1 65535 1  - 0"},
        {"PROTO=SMTP HELO=+5B192.0.2.1]", "0003300  - 0 0 [192.0.2.1] - 0"},
        {"NAME=[UNAVAILABLE] ADDR=[tempunavail] HELO=[UNAVAILABLE]", "1200100  - 0 0  - 0"},
        {"DESTADDR=192.0.2.9 DESTPORT=587 PORT=[UNAVAILABLE]", "0010033  - 0 0  192.0.2.9 587"},
        {"NAME=+73pike.example", "3000000 spike.example - 0 0  - 0"},
    };
    const struct rig_offers offers = {.clear = {.xclient = true}};
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;

        rig_init(&r, NULL);
        rig_offer(&r, &offers);
        smtp_server_greet(r.s, r.now_ms);
        snprintf(text, sizeof text, "XCLIENT %s\r\n", cases[i].line);
        rig_feed_str(&r, text);
        snprintf(text, sizeof text, "XCLIENT %s\n", cases[i].log);
        assert_string_equal(buf_cstr(&r.log), text);
        rig_done(&r);
    }
}

/* Each byte, raw and coded, in the text values: no control, no space, nothing beyond ASCII. */
static void test_xclient_bytes(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool plain = c > 0x20 && c < 0x7f;
        uint8_t raw[] = {'H', 'E', 'L', 'O', '=', 'a', (uint8_t)c, 'b'};
        struct smtp_xclient x;
        char coded[16];

        for (int how = 0; how < 2; how++) {
            _cleanup_buf_ struct buf texts;
            int rc;

            buf_init(&texts, 600);
            snprintf(coded, sizeof coded, "HELO=a+%02Xb", c);
            rc = smtp_xclient_parse(how ? span_str(coded) : span_make(raw, sizeof raw), &texts, &x);
            if (how)
                assert_int_equal(rc == BRANT_OK, plain);
            else
                assert_int_equal(rc == BRANT_OK, plain && c != '+' && c != '=');
            if (rc == BRANT_OK)
                assert_true(x.helo.len == 3 && x.helo.p[1] == c);
        }
    }
}

static void test_xclient_out_of_turn(void **state)
{
    const struct smtp_offer offer = {.xclient = true};
    struct smtp_server *s = greeted(&offer);
    struct smtp_event e;

    (void)state;
    assert_int_equal(say(s, HELLO "XCLIENT ADDR=192.0.2.1\r\n", &e), SMTP_EVENT_XCLIENT);
    drop_output(s);
    assert_int_equal(smtp_server_auth_challenge(s, SPAN_NONE, 1000), BRANT_ESTATE);
    assert_int_equal(smtp_server_answer(s, &(struct smtp_reply){421, 7, 0, "too many"}, 1000), BRANT_OK);
    expect_output(s, "421 4.7.0 too many\r\n");
    assert_int_equal(say(s, "", &e), SMTP_EVENT_CLOSE);
    smtp_server_free(s);

    s = greeted(&offer);
    assert_int_equal(say(s, HELLO "XCLIENT ADDR=192.0.2.1\r\n", &e), SMTP_EVENT_XCLIENT);
    drop_output(s);
    assert_int_equal(smtp_server_answer(s, NULL, 1000), BRANT_OK);
    expect_output(s, "220 mx.brant.test ESMTP\r\n");
    assert_int_equal(smtp_server_helo(s).len, 0);
    assert_false(smtp_server_extended(s));
    smtp_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_taken_behind_starttls),
        cmocka_unit_test(test_what_ehlo_announces),
        cmocka_unit_test(test_implicit_tls),
        cmocka_unit_test(test_ends_during_the_handshake),
        cmocka_unit_test(test_events_of_an_exchange),
        cmocka_unit_test(test_a_challenge_has_its_limit),
        cmocka_unit_test(test_responses_are_wiped),
        cmocka_unit_test(test_time_for_a_response),
        cmocka_unit_test(test_ends_during_a_login),
        cmocka_unit_test(test_offered_mechanisms),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_xclient_fields),
        cmocka_unit_test(test_xclient_bytes),
        cmocka_unit_test(test_xclient_out_of_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
