/* Sessions, their counters and locks; tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/err.h"
#include "roles/store/sessions.h"
#include "roles/store/tokens.h"

static const struct map_key test_key = {1, 2};

static struct ip_addr ip(const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_parse(span_str(text), &a), BRANT_OK);
    return a;
}

static struct ipc_id id(uint8_t n)
{
    return (struct ipc_id){{n}};
}

static const struct sessions_limits limits = {.per_source = 3, .total = 6, .service = {0, 5, 2}};

static int open_one(struct sessions *s, struct session_owner *o, uint8_t n, uint8_t service, const char *from)
{
    struct ipc_id i = id(n);
    struct ip_addr a = ip(from);
    struct session *ret;
    return sessions_open(s, o, &i, service, &a, true, &ret);
}

static void test_counters(void **state)
{
    (void)state;
    struct sessions s;
    struct session_owner a = {.channel = 1}, b = {.channel = 2};
    sessions_init(&s, &limits, test_key);
    assert_int_equal(open_one(&s, &a, 1, IPC_SERVICE_SMTP, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &a, 1, IPC_SERVICE_SMTP, "192.0.2.9"), BRANT_EEXISTS);
    assert_int_equal(open_one(&s, &b, 1, IPC_SERVICE_SMTP, "192.0.2.1"), BRANT_OK); /* its own ids */
    assert_int_equal(open_one(&s, &b, 2, IPC_SERVICE_POP3, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 3, IPC_SERVICE_SMTP, "192.0.2.1"), BRANT_ELIMIT); /* source */
    assert_int_equal(open_one(&s, &b, 3, 0, "192.0.2.2"), BRANT_ESYNTAX);
    assert_int_equal(open_one(&s, &b, 3, IPC_SERVICE_COUNT, "192.0.2.2"), BRANT_ESYNTAX);
    /* one IPv6 /64 is one source */
    assert_int_equal(open_one(&s, &b, 4, IPC_SERVICE_SMTP, "2001:db8:0:1::1"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 5, IPC_SERVICE_SMTP, "2001:db8:0:1:ffff::"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 6, IPC_SERVICE_SMTP, "2001:db8:0:1::2"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 7, IPC_SERVICE_POP3, "2001:db8:0:1::2"), BRANT_ELIMIT);
    assert_int_equal(s.total, 6);
    assert_int_equal(open_one(&s, &b, 7, IPC_SERVICE_POP3, "192.0.2.77"), BRANT_ELIMIT); /* in all */
    sessions_close_all(&s, &b);
    assert_int_equal(b.count, 0);
    assert_int_equal(s.total, 1);
    assert_int_equal(s.service[IPC_SERVICE_SMTP], 1);
    assert_int_equal(s.service[IPC_SERVICE_POP3], 0);
    assert_int_equal(open_one(&s, &b, 8, IPC_SERVICE_POP3, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 9, IPC_SERVICE_POP3, "192.0.2.2"), BRANT_OK);
    assert_int_equal(open_one(&s, &b, 10, IPC_SERVICE_POP3, "192.0.2.3"), BRANT_ELIMIT); /* service */
    struct ipc_id one = id(1);
    assert_non_null(sessions_find(&s, &a, &one));
    assert_null(sessions_find(&s, &b, &one));
    sessions_close_all(&s, &a);
    sessions_close_all(&s, &b);
    sessions_done(&s);
}

/* What comes by a Unix socket has no address: it is counted in all and by service, not by source. */
static void test_unix_sockets(void **state)
{
    (void)state;
    struct sessions s;
    struct session_owner a = {.channel = 1};
    struct session *session;
    struct ip_addr none = {.family = IP_NONE};
    struct sessions_limits all = {.per_source = 1, .total = 5, .service = {0, 5, 2, 5, 5, 4}};
    sessions_init(&s, &all, test_key);
    for (uint8_t n = 0; n < 4; n++) {
        struct ipc_id i = id(n);
        assert_int_equal(sessions_open(&s, &a, &i, IPC_SERVICE_SUBMISSION_LOCAL, &none, true, &session),
                         BRANT_OK);
    }
    assert_int_equal(s.sources.len, 0);
    assert_int_equal(s.service[IPC_SERVICE_SUBMISSION_LOCAL], 4);
    struct ipc_id i = id(9);
    assert_int_equal(sessions_open(&s, &a, &i, IPC_SERVICE_SUBMISSION_LOCAL, &none, true, &session),
                     BRANT_ELIMIT); /* the service's */
    assert_int_equal(open_one(&s, &a, 10, IPC_SERVICE_SMTP, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &a, 11, IPC_SERVICE_SMTP, "192.0.2.2"), BRANT_ELIMIT); /* in all */
    sessions_close_all(&s, &a);
    assert_int_equal(s.total, 0);
    sessions_done(&s);
}

static void test_pop3_together(void **state)
{
    (void)state;
    struct sessions s;
    struct session_owner a = {.channel = 1};
    sessions_init(&s, &limits, test_key); /* two of POP3 */
    assert_int_equal(open_one(&s, &a, 1, IPC_SERVICE_POP3S, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &a, 2, IPC_SERVICE_POP3, "192.0.2.1"), BRANT_OK);
    assert_int_equal(open_one(&s, &a, 3, IPC_SERVICE_POP3, "192.0.2.2"), BRANT_ELIMIT);
    assert_int_equal(open_one(&s, &a, 4, IPC_SERVICE_POP3S, "192.0.2.2"), BRANT_ELIMIT);
    sessions_close_all(&s, &a);
    sessions_done(&s);
}

static void test_readmitted(void **state)
{
    (void)state;
    struct sessions s;
    struct session_owner a = {.channel = 1};
    struct session *session;
    struct sessions_limits none = {0};
    sessions_init(&s, &none, test_key);
    struct ipc_id i = id(1);
    struct ip_addr from = ip("192.0.2.1");
    assert_int_equal(sessions_open(&s, &a, &i, IPC_SERVICE_POP3, &from, true, &session), BRANT_ELIMIT);
    assert_int_equal(sessions_open(&s, &a, &i, IPC_SERVICE_POP3, &from, false, &session), BRANT_OK);
    assert_ptr_equal(sessions_find_serial(&s, session->serial), session);
    uint64_t serial = session->serial;
    sessions_close(&s, session);
    assert_null(sessions_find_serial(&s, serial));
    sessions_done(&s);
}

static void test_maildrop_lock(void **state)
{
    (void)state;
    struct sessions s;
    struct session_owner a = {.channel = 1}, b = {.channel = 2};
    struct session *one, *two;
    sessions_init(&s, &limits, test_key);
    struct ipc_id i = id(1);
    struct ip_addr x = ip("192.0.2.1"), y = ip("::1");
    assert_int_equal(sessions_open(&s, &a, &i, IPC_SERVICE_POP3, &x, true, &one), BRANT_OK);
    assert_int_equal(sessions_open(&s, &b, &i, IPC_SERVICE_POP3, &y, true, &two), BRANT_OK);
    one->account = two->account = 42;
    assert_int_equal(sessions_maildrop_lock(&s, one), BRANT_OK);
    assert_int_equal(sessions_maildrop_lock(&s, one), BRANT_OK);
    assert_int_equal(sessions_maildrop_lock(&s, two), BRANT_ESTATE);
    sessions_close_all(&s, &a); /* the channel died */
    assert_int_equal(sessions_maildrop_lock(&s, two), BRANT_OK);
    sessions_close_all(&s, &b);
    assert_int_equal(s.by_account.len, 0);
    sessions_done(&s);
}

static void test_tokens(void **state)
{
    (void)state;
    struct tokens t = {0}, other = {0};
    struct tokens_subject me = {.account = 7, .role = IPC_ROLE_POP3, .instance = 3, .session = id(9)};
    uint8_t token[TOKENS_BYTES], again[TOKENS_BYTES];
    struct span presented = span_make(token, sizeof token);
    assert_int_equal(tokens_make(&t, &me, token), BRANT_ESTATE);
    memset(token, 0, sizeof token);
    assert_false(tokens_verify(&t, &me, presented));
    assert_int_equal(tokens_init(&t, SPAN_LIT("too short")), BRANT_ESYNTAX);
    assert_int_equal(tokens_init(&t, SPAN_LIT("0123456789abcdef0123456789abcdef")), BRANT_OK);
    assert_int_equal(tokens_init(&other, SPAN_LIT("0123456789abcdef0123456789abcdeF")), BRANT_OK);
    assert_int_equal(tokens_make(&t, &me, token), BRANT_OK);
    assert_int_equal(tokens_make(&t, &me, again), BRANT_OK);
    assert_memory_equal(token, again, sizeof token);
    assert_true(tokens_verify(&t, &me, presented));
    assert_false(tokens_verify(&other, &me, presented));
    assert_false(tokens_verify(&t, &me, span_sub(presented, 0, TOKENS_BYTES - 1)));
    struct tokens_subject changed[4] = {me, me, me, me};
    changed[0].account++;
    changed[1].instance++;
    changed[2].session.b[15] ^= 1;
    changed[3].role = IPC_ROLE_SMTP;
    for (size_t i = 0; i < 4; i++)
        assert_false(tokens_verify(&t, &changed[i], presented));
    for (size_t bit = 0; bit < 8 * sizeof token; bit++) {
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(tokens_verify(&t, &me, presented));
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    tokens_done(&t);
    assert_false(tokens_verify(&t, &me, presented));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters),      cmocka_unit_test(test_unix_sockets),
        cmocka_unit_test(test_pop3_together), cmocka_unit_test(test_readmitted),
        cmocka_unit_test(test_maildrop_lock), cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
