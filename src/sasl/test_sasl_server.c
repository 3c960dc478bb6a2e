#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "sasl/server.h"

static void test_names(void **state)
{
    static const char *const names[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "EXTERNAL"};
    char text[SASL_MECHANISMS_TEXT_MAX];

    (void)state;
    assert_string_equal(sasl_mechanisms_text(SASL_MECHANISM_ALL, text),
                        "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN EXTERNAL");
    assert_string_equal(sasl_mechanisms_text(0, text), "");
    assert_string_equal(sasl_mechanisms_text(SASL_MECHANISM_LOGIN | SASL_MECHANISM_SCRAM_SHA_256, text),
                        "SCRAM-SHA-256 LOGIN");
    for (unsigned i = 0; i < 5; i++)
        assert_string_equal(sasl_mechanism_name(1u << i), names[i]);
    assert_string_equal(sasl_mechanism_name(0), "");
    for (unsigned set = 0; set <= SASL_MECHANISM_ALL; set++)
        for (unsigned i = 0; i < 5; i++) {
            struct sasl_server x = {0};
            int rc = sasl_server_begin(&x, span_str(names[i]), set);

            assert_int_equal(rc, set & 1u << i ? BRANT_OK : BRANT_ENOTFOUND);
            assert_int_equal(x.mechanism, rc ? 0 : 1u << i);
        }
}

static void test_other_mechanisms(void **state)
{
    static const char *const others[] = {"",        "PLAI",     "PLAINS",     "plain ",      "CRAM-MD5",
                                         "NTLM",    "RPA",      "DIGEST-MD5", "SCRAM-SHA-1", "GSSAPI",
                                         "XOAUTH2", "ANONYMOUS"};
    struct sasl_server x = {0};
    struct sasl_event e;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(sasl_server_begin(&x, span_str(others[i]), SASL_MECHANISM_ALL), BRANT_ENOTFOUND);
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("x"), &e), SASL_MALFORMED);
    }
    assert_int_equal(sasl_server_begin(&x, SPAN_LIT("sCrAm-sHa-256"), SASL_MECHANISM_ALL), BRANT_OK);
    assert_int_equal(x.mechanism, SASL_MECHANISM_SCRAM_SHA_256);
}

static void begin(struct sasl_server *x, const char *mechanism)
{
    *x = (struct sasl_server){0};
    assert_int_equal(sasl_server_begin(x, span_str(mechanism), SASL_MECHANISM_ALL), BRANT_OK);
}

/* The last event was given: whatever comes now is malformed. */
static void check_over(struct sasl_server *x)
{
    struct sasl_event e;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(sasl_server_step(x, true, SPAN_NONE, &e), SASL_MALFORMED);
        assert_int_equal(sasl_server_step(x, false, SPAN_NONE, &e), SASL_MALFORMED);
    }
    sasl_server_end(x);
    for (size_t i = 0; i < sizeof *x; i++)
        assert_int_equal(((const uint8_t *)x)[i], 0);
}

static void test_plain(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *authzid, *user, *password;
    } good[] = {
        {"\0tim\0tanstaaftanstaaf", 21, "", "tim", "tanstaaftanstaaf"}, /* RFC 4616 4 */
        {"Ursel\0Kurt\0xipj3plmq", 20, "Ursel", "Kurt", "xipj3plmq"},
        {"\0a\0b", 4, "", "a", "b"},
        {"a\0a\0\xc3\xa9", 6, "a", "a", "\xc3\xa9"},
    };
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"", 0},
        {"\0", 1},
        {"\0\0", 2},
        {"\0a\0", 3},
        {"\0\0b", 3},
        {"a\0b", 3},
        {"ab", 2},
        {"\0a\0b\0", 5},
        {"\0a\0b\0c", 6},
        {"\0\0a\0b", 5},
        {"\xff\0a\0b", 5},
        {"\0\xff\0b", 5},
        {"\0a\0\xff", 5},
        {"\0a\0\xc3", 5},
        {"\0a\0\xed\xa0\x80", 6},
        {"\0a\0\xc0\x80", 5},
    };
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (int asked = 0; asked < 2; asked++) {
            begin(&x, "PLAIN");
            if (asked) {
                assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_CHALLENGE);
                assert_int_equal(e.challenge.len, 0);
            }
            assert_int_equal(sasl_server_step(&x, true, span_make(good[i].bytes, good[i].len), &e),
                             SASL_PASSWORD);
            assert_true(span_eq_str(e.authzid, good[i].authzid) && span_eq_str(e.user, good[i].user) &&
                        span_eq_str(e.password, good[i].password));
            assert_int_equal(x.mechanism, SASL_MECHANISM_PLAIN);
            check_over(&x);
        }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(&x, "PLAIN");
        assert_int_equal(sasl_server_step(&x, true, span_make(bad[i].bytes, bad[i].len), &e), SASL_MALFORMED);
        assert_int_equal(e.user.len + e.password.len + e.authzid.len, 0);
        check_over(&x);
    }
}

static void test_plain_lengths(void **state)
{
    static const struct {
        size_t authzid, user, password;
        bool ok;
    } cases[] = {{320, 320, 512, true},
                 {321, 1, 1, false},
                 {0, 321, 1, false},
                 {0, 1, 513, false},
                 {0, 1, 2100, false}};
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static uint8_t bytes[4000];
        size_t at = cases[i].authzid;

        memset(bytes, 'a', sizeof bytes);
        bytes[at] = 0;
        at += 1 + cases[i].user;
        bytes[at] = 0;
        begin(&x, "PLAIN");
        assert_int_equal(sasl_server_step(&x, true, span_make(bytes, at + 1 + cases[i].password), &e),
                         cases[i].ok ? SASL_PASSWORD : SASL_MALFORMED);
    }
}

static void test_login(void **state)
{
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        begin(&x, "LOGIN");
        if (asked) {
            assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_CHALLENGE);
            assert_true(span_eq_str(e.challenge, "Username:"));
        }
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("alice"), &e), SASL_CHALLENGE);
        assert_true(span_eq_str(e.challenge, "Password:"));
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("se cret"), &e), SASL_PASSWORD);
        assert_true(span_eq_str(e.user, "alice") && span_eq_str(e.password, "se cret"));
        assert_int_equal(e.authzid.len, 0);
        check_over(&x);
    }
}

static void test_login_malformed(void **state)
{
    static uint8_t longest[600];
    const struct span bad[] = {SPAN_NONE, span_make("a\0b", 3), SPAN_LIT("\xff"),
                               span_make(longest, SASL_PASSWORD_BYTES_MAX + 1)};
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    memset(longest, 'a', sizeof longest);
    for (size_t i = 0; i < 4; i++) {
        begin(&x, "LOGIN");
        assert_int_equal(sasl_server_step(&x, true, bad[i], &e), SASL_MALFORMED);
        check_over(&x);
        begin(&x, "LOGIN");
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("alice"), &e), SASL_CHALLENGE);
        assert_int_equal(sasl_server_step(&x, true, bad[i], &e), SASL_MALFORMED);
        check_over(&x);
    }
    begin(&x, "LOGIN");
    assert_int_equal(sasl_server_step(&x, true, span_make(longest, SASL_NAME_BYTES_MAX + 1), &e),
                     SASL_MALFORMED);
    begin(&x, "LOGIN");
    assert_int_equal(sasl_server_step(&x, true, span_make(longest, SASL_NAME_BYTES_MAX), &e), SASL_CHALLENGE);
    assert_int_equal(sasl_server_step(&x, true, span_make(longest, SASL_PASSWORD_BYTES_MAX), &e),
                     SASL_PASSWORD);
    assert_true(span_eq(e.user, span_make(longest, SASL_NAME_BYTES_MAX)));
    begin(&x, "LOGIN"); /* a prompt is given once only */
    assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_CHALLENGE);
    assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_MALFORMED);
    check_over(&x);
}

static void test_scram(void **state)
{
    static const char *const names[] = {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"};
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    for (int i = 0; i < 4; i++) {
        begin(&x, names[i % 2]);
        if (i / 2) {
            assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_CHALLENGE);
            assert_int_equal(e.challenge.len, 0);
        }
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("\xff anything"), &e), SASL_SCRAM_FIRST);
        assert_true(span_eq_str(e.message, "\xff anything"));
        assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("x"), &e), SASL_SCRAM_FINAL);
        assert_true(span_eq_str(e.message, "x"));
        assert_int_equal(sasl_server_step(&x, true, SPAN_NONE, &e), SASL_FINISHED);
        check_over(&x);
    }
}

/* Each step with a response that has no place there. */
static void test_scram_malformed(void **state)
{
    static uint8_t longest[SASL_MESSAGE_BYTES_MAX + 1];
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    for (int step = 0; step < 3; step++)
        for (int what = 0; what < 3; what++) {
            const struct span odd[] = {step == 2 ? SPAN_LIT("x") : SPAN_NONE,
                                       span_make(longest, sizeof longest), SPAN_NONE};

            begin(&x, "SCRAM-SHA-256");
            for (int i = 0; i < step; i++)
                assert_int_not_equal(sasl_server_step(&x, true, SPAN_LIT("x"), &e), SASL_MALFORMED);
            if (what == 2 && step == 0)
                continue; /* no response is a fair beginning */
            assert_int_equal(sasl_server_step(&x, what != 2, odd[what], &e), SASL_MALFORMED);
            check_over(&x);
        }
    begin(&x, "SCRAM-SHA-256");
    assert_int_equal(sasl_server_step(&x, true, span_make(longest, sizeof longest - 1), &e),
                     SASL_SCRAM_FIRST);
}

static void test_external(void **state)
{
    struct sasl_server x;
    struct sasl_event e;

    (void)state;
    begin(&x, "EXTERNAL");
    assert_int_equal(sasl_server_step(&x, true, SPAN_NONE, &e), SASL_EXTERNAL);
    assert_int_equal(e.authzid.len, 0);
    check_over(&x);
    begin(&x, "EXTERNAL");
    assert_int_equal(sasl_server_step(&x, false, SPAN_NONE, &e), SASL_CHALLENGE);
    assert_int_equal(sasl_server_step(&x, true, SPAN_LIT("alice@brant.test"), &e), SASL_EXTERNAL);
    assert_true(span_eq_str(e.authzid, "alice@brant.test"));
    check_over(&x);
    begin(&x, "EXTERNAL");
    assert_int_equal(sasl_server_step(&x, true, span_make("a\0", 2), &e), SASL_MALFORMED);
    check_over(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_other_mechanisms),
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_plain_lengths),
        cmocka_unit_test(test_login),    cmocka_unit_test(test_login_malformed),
        cmocka_unit_test(test_scram),    cmocka_unit_test(test_scram_malformed),
        cmocka_unit_test(test_external),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
