/* STLS and AUTH: what dialogue files (tests/dialogs/pop3) cannot show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "pop3/server.h"

#define ALICE "AGFsaWNlAHNlY3JldA==" /* \0alice\0secret */

static struct pop3_server *greeted(const struct pop3_offer *offer, size_t output_bytes_max)
{
    struct pop3_server_config c;
    struct pop3_server *s;

    pop3_server_config_init(&c, "mx.example");
    c.output_bytes_max = output_bytes_max;
    s = pop3_server_new(&c, 1000);
    pop3_server_offer(s, offer);
    assert_int_equal(pop3_server_greet(s, 1000), BRANT_OK);
    pop3_server_output_used(s, pop3_server_output(s).len, 1000);
    return s;
}

static enum pop3_event_type say(struct pop3_server *s, const char *text, struct pop3_event *ret)
{
    struct span in = span_str(text);

    return pop3_server_next(s, &in, 2000, ret);
}

static void expect_output(struct pop3_server *s, const char *text)
{
    struct span out = pop3_server_output(s);

    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.p, text, out.len);
    pop3_server_output_used(s, out.len, 2000);
}

/* Whatever stands behind STLS in the same span is left where it is. */
static void nothing_is_taken_behind_stls(void **state)
{
    const struct pop3_offer offer = {.stls = true};
    struct pop3_server *s = greeted(&offer, 65536);
    struct span in = SPAN_LIT("STLS\r\nUSER evil\r\n");
    struct pop3_event e;

    (void)state;
    assert_int_equal(pop3_server_next(s, &in, 2000, &e), POP3_EVENT_STLS);
    assert_int_equal(pop3_server_next(s, &in, 2000, &e), POP3_EVENT_WAIT);
    assert_false(pop3_server_awaits_tls(s));
    assert_int_equal(pop3_server_tls_started(s, 2000), BRANT_ESTATE); /* not answered yet */
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_ESTATE);
    assert_int_equal(pop3_server_stls_done(s, true), BRANT_OK);
    assert_int_equal(pop3_server_stls_done(s, true), BRANT_ESTATE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pop3_server_next(s, &in, 2000, &e), POP3_EVENT_WAIT);
        assert_true(span_eq_str(in, "USER evil\r\n"));
    }
    assert_true(pop3_server_awaits_tls(s));
    assert_int_equal(pop3_server_tls_started(s, 2000), BRANT_ESTATE); /* the reply was not sent yet */
    expect_output(s, "+OK begin TLS now\r\n");
    assert_int_equal(pop3_server_tls_started(s, 2000), BRANT_OK);
    assert_int_equal(pop3_server_tls_started(s, 2000), BRANT_ESTATE);
    assert_true(pop3_server_tls(s) && !pop3_server_awaits_tls(s));
    assert_int_equal(say(s, "QUIT\r\n", &e), POP3_EVENT_CLOSE);
    expect_output(s, "+OK bye\r\n");
    pop3_server_free(s);
}

static void implicit_tls_comes_before_the_greeting(void **state)
{
    const struct pop3_offer offer = {.stls = true, .password = true};
    struct pop3_server_config c;
    struct pop3_server *s;
    struct pop3_event e;

    (void)state;
    pop3_server_config_init(&c, "mx.example");
    s = pop3_server_new(&c, 0);
    pop3_server_offer(s, &offer);
    assert_int_equal(pop3_server_tls_started(s, 0), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_WAIT);
    assert_int_equal(pop3_server_greet(s, 0), BRANT_OK);
    expect_output(s, "+OK mx.example POP3 server ready\r\n");
    assert_int_equal(say(s, "STLS\r\n", &e), POP3_EVENT_MORE);
    expect_output(s, "-ERR TLS has begun already\r\n");
    pop3_server_free(s);
}

/* Between "+OK" and TLS nothing may be said, and time goes on. */
static void ends_during_the_handshake(void **state)
{
    static const enum pop3_close_reason reasons[] = {POP3_CLOSE_LOST, POP3_CLOSE_TIMEOUT, POP3_CLOSE_SHUTDOWN,
                                                     POP3_CLOSE_OVERLOAD};
    const struct pop3_offer offer = {.stls = true};
    struct pop3_event e;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct pop3_server *s = greeted(&offer, 65536);

        assert_int_equal(say(s, "STLS\r\n", &e), POP3_EVENT_STLS);
        assert_true(pop3_server_timeout_ms(s, 2000) == POP3_NO_TIMEOUT);
        pop3_server_stls_done(s, true);
        expect_output(s, "+OK begin TLS now\r\n");
        assert_int_equal(pop3_server_timeout_ms(s, 2000), 119000);
        pop3_server_end(s, reasons[i]);
        assert_int_equal(say(s, "", &e), POP3_EVENT_CLOSE);
        assert_int_equal(e.reason, reasons[i]);
        expect_output(s, "");
        assert_int_equal(pop3_server_tls_started(s, 2000), BRANT_ESTATE);
        pop3_server_free(s);
    }
}

static void events_of_an_exchange(void **state)
{
    const struct pop3_offer offer = {.sasl = "SCRAM-SHA-256 PLAIN"};
    struct pop3_server *s = greeted(&offer, 65536);
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "auth scram-sha-256\r\n", &e), POP3_EVENT_AUTH);
    assert_true(span_eq_str(e.mechanism, "SCRAM-SHA-256"));
    assert_true(!e.has_response && e.response.len == 0);
    assert_int_equal(pop3_server_auth_challenge(s, span_make("a\0\xff", 3)), BRANT_OK);
    assert_int_equal(pop3_server_auth_challenge(s, SPAN_NONE), BRANT_ESTATE);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_ESTATE);
    expect_output(s, "+ YQD/\r\n");
    assert_int_equal(say(s, "YQD/\r\n", &e), POP3_EVENT_AUTH_RESPONSE);
    assert_true(e.has_response && span_eq(e.response, span_make("a\0\xff", 3)));
    assert_int_equal(say(s, "", &e), POP3_EVENT_WAIT);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_OPEN);
    pop3_server_free(s);

    s = greeted(&offer, 65536);
    assert_int_equal(say(s, "AUTH PLAIN =\r\n", &e), POP3_EVENT_AUTH);
    assert_true(e.has_response && e.response.len == 0);
    assert_int_equal(pop3_server_auth_challenge(s, SPAN_NONE), BRANT_OK);
    expect_output(s, "+ \r\n");
    assert_int_equal(say(s, "*\r\n", &e), POP3_EVENT_AUTH_CANCEL);
    assert_int_equal(say(s, "", &e), POP3_EVENT_MORE);
    expect_output(s, "-ERR given up\r\n");
    pop3_server_free(s);
}

static void responses_are_wiped(void **state)
{
    const struct pop3_offer offer = {.sasl = "PLAIN"};
    struct pop3_server *s = greeted(&offer, 65536);
    struct span seen;
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "AUTH PLAIN " ALICE "\r\n", &e), POP3_EVENT_AUTH);
    seen = e.response;
    assert_true(span_eq(seen, span_make("\0alice\0secret", 13)));
    pop3_server_auth_challenge(s, SPAN_NONE);
    for (size_t i = 0; i < seen.len; i++)
        assert_int_equal(seen.p[i], 0);
    pop3_server_free(s);
}

/* The largest challenge fits into the smallest output, whatever was pipelined before. */
static void a_challenge_always_fits(void **state)
{
    static const uint8_t zeros[POP3_AUTH_BYTES_MAX + 1];
    const struct pop3_offer offer = {.sasl = "PLAIN"};
    struct pop3_server *s = greeted(&offer, 4096);
    _cleanup_buf_ struct buf text;
    struct pop3_event e;
    struct span in;
    int blocked = 0;

    (void)state;
    buf_init(&text, 65536);
    for (int i = 0; i < 20; i++)
        buf_append_str(&text, "CAPA\r\n");
    buf_append_str(&text, "AUTH PLAIN\r\n");
    in = buf_span(&text);
    while (pop3_server_next(s, &in, 2000, &e) == POP3_EVENT_BLOCKED) {
        pop3_server_output_used(s, 1, 2000);
        blocked++;
    }
    assert_true(blocked > 0);
    assert_int_equal(e.type, POP3_EVENT_AUTH);
    assert_int_equal(pop3_server_auth_challenge(s, span_make(zeros, sizeof zeros)), BRANT_ELIMIT);
    assert_int_equal(pop3_server_auth_challenge(s, span_make(zeros, sizeof zeros - 1)), BRANT_OK);
    assert_true(span_ends(pop3_server_output(s), SPAN_LIT("AAA=\r\n")));
    in = SPAN_LIT("AAAA\r\n");
    while (pop3_server_next(s, &in, 2000, &e) == POP3_EVENT_BLOCKED)
        pop3_server_output_used(s, 1, 2000);
    assert_int_equal(e.type, POP3_EVENT_AUTH_RESPONSE);
    assert_int_equal(pop3_server_auth_challenge(s, span_make(zeros, sizeof zeros - 1)), BRANT_OK);
    assert_true(span_ends(pop3_server_output(s), SPAN_LIT("AAA=\r\n")));
    pop3_server_free(s);
}

static void an_exchange_gives_its_memory_back(void **state)
{
    const struct pop3_offer offer = {.sasl = "PLAIN"};
    struct pop3_server *s = greeted(&offer, 65536);
    size_t before;
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "UTF8\r\n", &e), POP3_EVENT_MORE);
    pop3_server_output_used(s, pop3_server_output(s).len, 2000);
    before = pop3_server_memory_bytes(s);
    say(s, "AUTH PLAIN ", &e);
    for (int n = 0; n < 680; n++)
        say(s, "AAAA", &e);
    assert_int_equal(say(s, "\r\n", &e), POP3_EVENT_AUTH);
    assert_int_equal(e.response.len, 2040);
    assert_true(pop3_server_memory_bytes(s) <= before + 4096);
    pop3_server_login_done(s, POP3_LOGIN_REFUSED);
    pop3_server_output_used(s, pop3_server_output(s).len, 2000);
    assert_true(pop3_server_memory_bytes(s) <= before + 512);
    pop3_server_free(s);
}

static void the_end_comes_before_the_answer(void **state)
{
    const struct pop3_offer offer = {.sasl = "PLAIN"};
    struct pop3_server *s = greeted(&offer, 65536);
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "AUTH PLAIN " ALICE "\r\n", &e), POP3_EVENT_AUTH);
    pop3_server_end(s, POP3_CLOSE_LOST);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_ESTATE);
    assert_int_equal(pop3_server_auth_challenge(s, SPAN_NONE), BRANT_ESTATE);
    assert_int_equal(say(s, "", &e), POP3_EVENT_CLOSE);
    pop3_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_taken_behind_stls),
        cmocka_unit_test(implicit_tls_comes_before_the_greeting),
        cmocka_unit_test(ends_during_the_handshake),
        cmocka_unit_test(events_of_an_exchange),
        cmocka_unit_test(responses_are_wiped),
        cmocka_unit_test(a_challenge_always_fits),
        cmocka_unit_test(an_exchange_gives_its_memory_back),
        cmocka_unit_test(the_end_comes_before_the_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
