/* What dialogue files (tests/dialogs/pop3) cannot show: answers out of place, back-pressure, time, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "pop3/server.h"

static struct pop3_server *greeted(struct pop3_server_config *c)
{
    struct pop3_server *s;

    pop3_server_config_init(c, "mx.example");
    s = pop3_server_new(c, 1000);
    pop3_server_offer(s, &(struct pop3_offer){.password = true});
    assert_int_equal(pop3_server_greet(s, 1000), BRANT_OK);
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

/* A session in the TRANSACTION state with `count` messages of `size` bytes, UIDs 1 to count. */
static struct pop3_server *logged_in(struct pop3_server_config *c, uint32_t count, uint32_t size)
{
    struct pop3_server *s = greeted(c);
    struct pop3_event e;

    assert_int_equal(say(s, "USER alice\r\n", &e), POP3_EVENT_MORE);
    assert_int_equal(say(s, "PASS pa ss \r\n", &e), POP3_EVENT_LOGIN);
    assert_true(span_eq_str(e.user, "alice"));
    assert_true(span_eq_str(e.password, "pa ss "));
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_OPEN);
    assert_int_equal(pop3_server_maildrop_begin(s, 77, count), BRANT_OK);
    for (uint32_t uid = 1; uid <= count; uid++)
        assert_int_equal(pop3_server_maildrop_add(s, uid, size), BRANT_OK);
    assert_int_equal(pop3_server_maildrop_done(s), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_MORE);
    pop3_server_output_used(s, pop3_server_output(s).len, 2000);
    return s;
}

static void answers_out_of_place_change_nothing(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = greeted(&c);
    struct pop3_event e;

    (void)state;
    expect_output(s, "+OK mx.example POP3 server ready\r\n");
    assert_int_equal(pop3_server_greet(s, 1000), BRANT_ESTATE);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_ESTATE);
    assert_int_equal(pop3_server_maildrop_begin(s, 1, 1), BRANT_ESTATE);
    assert_int_equal(pop3_server_maildrop_add(s, 1, 1), BRANT_ESTATE);
    assert_int_equal(pop3_server_maildrop_done(s), BRANT_ESTATE);
    assert_int_equal(pop3_server_open_failed(s, POP3_OPEN_IN_USE), BRANT_ESTATE);
    assert_int_equal(pop3_server_read_done(s, SPAN_LIT("x")), BRANT_ESTATE);
    assert_int_equal(pop3_server_read_failed(s, POP3_READ_GONE), BRANT_ESTATE);
    assert_int_equal(pop3_server_update_done(s, true), BRANT_ESTATE);
    assert_int_equal(say(s, "STAT\r\n", &e), POP3_EVENT_MORE);
    expect_output(s, "-ERR log in first\r\n");
    pop3_server_free(s);
}

static void nothing_is_taken_while_an_answer_is_due(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s;
    struct span in = SPAN_LIT("USER a\r\nPASS b\r\nQUIT\r\n");
    struct pop3_event e;

    (void)state;
    pop3_server_config_init(&c, "mx.example");
    s = pop3_server_new(&c, 0);
    pop3_server_offer(s, &(struct pop3_offer){.password = true});
    assert_int_equal(pop3_server_next(s, &in, 0, &e), POP3_EVENT_WAIT); /* before the greeting */
    assert_int_equal(in.len, 22);
    assert_int_equal(pop3_server_greet(s, 0), BRANT_OK);
    assert_int_equal(pop3_server_next(s, &in, 0, &e), POP3_EVENT_LOGIN);
    assert_int_equal(in.len, 6);
    assert_int_equal(pop3_server_next(s, &in, 0, &e), POP3_EVENT_WAIT);
    assert_int_equal(in.len, 6);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_REFUSED), BRANT_OK);
    assert_int_equal(pop3_server_next(s, &in, 0, &e), POP3_EVENT_CLOSE);
    assert_int_equal(e.reason, POP3_CLOSE_QUIT);
    assert_int_equal(in.len, 0);
    pop3_server_free(s);
}

static void a_listing_out_of_order_is_refused(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = greeted(&c);
    struct pop3_event e;

    (void)state;
    say(s, "USER a\r\n", &e);
    assert_int_equal(say(s, "PASS b\r\n", &e), POP3_EVENT_LOGIN);
    assert_int_equal(pop3_server_login_done(s, POP3_LOGIN_OK), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_OPEN);
    assert_int_equal(pop3_server_maildrop_begin(s, 1, 2), BRANT_OK);
    assert_int_equal(pop3_server_maildrop_begin(s, 1, 2), BRANT_ESTATE);
    assert_int_equal(pop3_server_maildrop_add(s, 8, 1), BRANT_OK);
    assert_int_equal(pop3_server_maildrop_add(s, 8, 1), BRANT_ESYNTAX);
    assert_int_equal(pop3_server_open_failed(s, POP3_OPEN_TRY_LATER), BRANT_OK);
    pop3_server_output_used(s, pop3_server_output(s).len, 2000);
    assert_int_equal(say(s, "STAT\r\n", &e), POP3_EVENT_MORE);
    expect_output(s, "-ERR log in first\r\n");
    pop3_server_free(s);
}

static void a_larger_maildrop_shows_its_oldest_messages(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s;
    struct pop3_event e;

    (void)state;
    pop3_server_config_init(&c, "mx.example");
    c.messages_max = 2;
    s = pop3_server_new(&c, 0);
    pop3_server_offer(s, &(struct pop3_offer){.password = true});
    pop3_server_greet(s, 0);
    say(s, "USER a\r\n", &e);
    say(s, "PASS b\r\n", &e);
    pop3_server_login_done(s, POP3_LOGIN_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_OPEN);
    assert_int_equal(pop3_server_maildrop_begin(s, 1, UINT32_MAX), BRANT_OK);
    assert_true(pop3_server_memory_bytes(s) < 4096);
    assert_int_equal(pop3_server_maildrop_add(s, 1, 10), BRANT_OK);
    assert_int_equal(pop3_server_maildrop_add(s, 2, 10), BRANT_OK);
    assert_int_equal(pop3_server_maildrop_add(s, 3, 10), BRANT_ELIMIT);
    assert_int_equal(pop3_server_maildrop_done(s), BRANT_OK);
    pop3_server_output_used(s, SIZE_MAX, 0);
    say(s, "STAT\r\n", &e);
    expect_output(s, "+OK 2 20\r\n");
    pop3_server_free(s);
}

/* A message of a size that never fits into the output, all lone dots: it arrives whole, what waits stays
 * under the maximum, and nothing is asked for while the peer takes nothing. */
static void a_message_moves_at_the_pace_of_the_reader(void **state)
{
    enum { SIZE = 3 * 50000 };
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 1, SIZE);
    struct pop3_event e;
    enum pop3_event_type type = say(s, "RETR 1\r\n", &e);
    size_t sent = 0, reads = 0;
    char piece[3 * 11000];

    (void)state;
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = ".\r\n"[i % 3];
    for (;; type = say(s, "", &e)) {
        assert_true(pop3_server_memory_bytes(s) < c.output_bytes_max + 4096);
        if (type == POP3_EVENT_MORE)
            break;
        if (type == POP3_EVENT_BLOCKED) {
            assert_int_equal(say(s, "", &e), POP3_EVENT_BLOCKED);
            assert_true(pop3_server_output(s).len > 1000);
            pop3_server_output_used(s, 1000, 2000); /* one kilobyte at a time */
            sent += 1000;
            continue;
        }
        assert_int_equal(type, POP3_EVENT_READ);
        assert_true(e.size_bytes > 0 && e.size_bytes <= c.read_bytes_max);
        assert_int_equal(e.uid, 1);
        assert_int_equal(pop3_server_read_done(s, SPAN_NONE), BRANT_ELIMIT);
        assert_int_equal(pop3_server_read_done(
                             s, span_make(piece + e.offset % 3, e.size_bytes > 9000 ? 9000 : e.size_bytes)),
                         BRANT_OK);
        reads++;
    }
    sent += pop3_server_output(s).len;
    assert_int_equal(sent, strlen("+OK 150000 octets\r\n") + SIZE / 3 * 4 + strlen(".\r\n"));
    assert_int_equal(reads, (SIZE + 8999) / 9000);
    assert_int_equal(pop3_server_stats(s).retrieved, 1);
    pop3_server_free(s);
}

static void a_read_larger_than_asked_is_refused(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 1, 10);
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "RETR 1\r\n", &e), POP3_EVENT_READ);
    assert_int_equal(e.size_bytes, 10);
    assert_int_equal(pop3_server_read_done(s, SPAN_LIT("0123456789x")), BRANT_ELIMIT);
    assert_int_equal(pop3_server_read_done(s, SPAN_LIT("0123456789")), BRANT_OK);
    expect_output(s, "+OK 10 octets\r\n0123456789\r\n.\r\n");
    pop3_server_free(s);
}

/* LIST of a maildrop far larger than the output: streamed, each number once. */
static void a_long_list_is_streamed(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 100000, 4000000000);
    struct pop3_event e;
    enum pop3_event_type type = say(s, "LIST\r\nUIDL\r\n", &e);
    size_t lines = 0, blocked = 0;

    (void)state;
    for (;; type = say(s, "", &e)) {
        struct span out = pop3_server_output(s);

        assert_true(out.len <= c.output_bytes_max);
        for (size_t i = 0; i < out.len; i++)
            lines += out.p[i] == '\n';
        pop3_server_output_used(s, out.len, 2000);
        if (type == POP3_EVENT_MORE)
            break;
        assert_int_equal(type, POP3_EVENT_BLOCKED);
        blocked++;
    }
    assert_true(blocked > 10);
    assert_int_equal(lines, 100000 + 2); /* LIST only: say() forgets what BLOCKED did not take */
    pop3_server_free(s);
}

static void an_idle_session_is_small(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 1000, 1);

    (void)state;
    assert_true(pop3_server_memory_bytes(s) < 8 * 1000 + 1536);
    pop3_server_free(s);
}

static void time_runs_out(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = greeted(&c);
    struct pop3_event e;

    (void)state;
    expect_output(s, "+OK mx.example POP3 server ready\r\n");
    /* The login time counts from the start, whatever is sent. */
    assert_int_equal(pop3_server_timeout_ms(s, 1000), 120000);
    say(s, "CAPA\r\n", &e);
    pop3_server_output_used(s, pop3_server_output(s).len, 100000);
    assert_int_equal(pop3_server_timeout_ms(s, 100000), 21000);
    assert_int_equal(pop3_server_timeout_ms(s, 121000), 0);
    pop3_server_end(s, POP3_CLOSE_TIMEOUT);
    assert_int_equal(say(s, "", &e), POP3_EVENT_CLOSE);
    assert_int_equal(e.reason, POP3_CLOSE_TIMEOUT);
    assert_int_equal(pop3_server_output(s).len, 0); /* RFC 1939 3: no response */
    assert_true(pop3_server_timeout_ms(s, 500000) == POP3_NO_TIMEOUT);
    pop3_server_free(s);

    s = logged_in(&c, 1, 10);
    assert_int_equal(pop3_server_timeout_ms(s, 2000), 600000);
    /* Half a command is no activity. */
    assert_int_equal(pop3_server_next(s, &SPAN_LIT("NO"), 300000, &e), POP3_EVENT_MORE);
    assert_int_equal(pop3_server_timeout_ms(s, 300000), 302000);
    assert_int_equal(pop3_server_next(s, &SPAN_LIT("OP\r\n"), 300000, &e), POP3_EVENT_MORE);
    assert_int_equal(pop3_server_timeout_ms(s, 300000), 120000); /* the reply waits */
    pop3_server_output_used(s, 1, 400000);
    assert_int_equal(pop3_server_timeout_ms(s, 400000), 120000);
    pop3_server_output_used(s, 100, 400000);
    assert_int_equal(pop3_server_timeout_ms(s, 400000), 600000);
    assert_int_equal(say(s, "RETR 1\r\n", &e), POP3_EVENT_READ);
    assert_true(pop3_server_timeout_ms(s, 400000) == POP3_NO_TIMEOUT);
    pop3_server_free(s);
}

static void shutdown_lets_a_response_end(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 1, 4);
    struct pop3_event e;

    (void)state;
    assert_int_equal(say(s, "RETR 1\r\n", &e), POP3_EVENT_READ);
    pop3_server_end(s, POP3_CLOSE_SHUTDOWN);
    assert_int_equal(say(s, "", &e), POP3_EVENT_WAIT);
    assert_int_equal(pop3_server_read_done(s, SPAN_LIT("ab\r\n")), BRANT_OK);
    assert_int_equal(say(s, "NOOP\r\n", &e), POP3_EVENT_CLOSE);
    assert_int_equal(e.reason, POP3_CLOSE_SHUTDOWN);
    expect_output(s, "+OK 4 octets\r\nab\r\n.\r\n");
    pop3_server_free(s);

    s = greeted(&c);
    pop3_server_end(s, POP3_CLOSE_LOST);
    assert_int_equal(say(s, "QUIT\r\n", &e), POP3_EVENT_CLOSE);
    assert_int_equal(e.reason, POP3_CLOSE_LOST);
    pop3_server_free(s);
}

static void a_full_house_is_told_in_the_greeting(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s;
    struct pop3_event e;

    (void)state;
    pop3_server_config_init(&c, "mx.example");
    s = pop3_server_new(&c, 0);
    pop3_server_offer(s, &(struct pop3_offer){.password = true});
    pop3_server_end(s, POP3_CLOSE_OVERLOAD);
    assert_int_equal(say(s, "", &e), POP3_EVENT_CLOSE);
    expect_output(s, "-ERR [SYS/TEMP] too many connections, try again later\r\n");
    assert_int_equal(pop3_server_greet(s, 0), BRANT_ESTATE);
    pop3_server_free(s);
}

static void only_quit_names_what_to_delete(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = logged_in(&c, 5, 4);
    struct pop3_event e;
    uint32_t cursor = 0, uid = 0;

    (void)state;
    say(s, "DELE 2\r\nDELE 5\r\n", &e);
    assert_int_equal(pop3_server_deleted_count(s), 2);
    assert_int_equal(say(s, "QUIT\r\n", &e), POP3_EVENT_UPDATE);
    assert_true(pop3_server_deleted_next(s, &cursor, &uid));
    assert_int_equal(uid, 2);
    assert_true(pop3_server_deleted_next(s, &cursor, &uid));
    assert_int_equal(uid, 5);
    assert_false(pop3_server_deleted_next(s, &cursor, &uid));
    assert_int_equal(pop3_server_update_done(s, true), BRANT_OK);
    assert_int_equal(say(s, "", &e), POP3_EVENT_CLOSE);
    assert_int_equal(e.reason, POP3_CLOSE_QUIT);
    pop3_server_free(s);

    s = logged_in(&c, 5, 4);
    say(s, "DELE 2\r\n", &e);
    pop3_server_end(s, POP3_CLOSE_LOST);
    assert_int_equal(say(s, "QUIT\r\n", &e), POP3_EVENT_CLOSE);
    assert_int_equal(pop3_server_deleted_count(s), 0);
    pop3_server_free(s);
}

/* The password is not left behind in the session once it was checked. */
static void the_password_is_wiped(void **state)
{
    struct pop3_server_config c;
    struct pop3_server *s = greeted(&c);
    struct pop3_event e;

    (void)state;
    say(s, "USER a\r\n", &e);
    assert_int_equal(say(s, "PASS canary-password\r\n", &e), POP3_EVENT_LOGIN);
    pop3_server_login_done(s, POP3_LOGIN_OK);
    for (size_t i = 0; i < e.password.len; i++)
        assert_int_equal(e.password.p[i], 0);
    pop3_server_free(s);
}

static void every_reason_has_a_word(void **state)
{
    (void)state;
    for (int r = POP3_CLOSE_NONE; r <= POP3_CLOSE_READ; r++)
        assert_string_not_equal(pop3_close_reason_text((enum pop3_close_reason)r), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_out_of_place_change_nothing),
        cmocka_unit_test(nothing_is_taken_while_an_answer_is_due),
        cmocka_unit_test(a_listing_out_of_order_is_refused),
        cmocka_unit_test(a_larger_maildrop_shows_its_oldest_messages),
        cmocka_unit_test(a_message_moves_at_the_pace_of_the_reader),
        cmocka_unit_test(a_read_larger_than_asked_is_refused),
        cmocka_unit_test(a_long_list_is_streamed),
        cmocka_unit_test(an_idle_session_is_small),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(shutdown_lets_a_response_end),
        cmocka_unit_test(a_full_house_is_told_in_the_greeting),
        cmocka_unit_test(only_quit_names_what_to_delete),
        cmocka_unit_test(the_password_is_wiped),
        cmocka_unit_test(every_reason_has_a_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
