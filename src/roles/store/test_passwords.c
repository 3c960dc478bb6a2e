/* Passwords: right and wrong ones, what is remembered, the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <poll.h>

#include "base/err.h"
#include "roles/store/passwords.h"

/* The least Argon2 takes: the logic is tested here, not the cost. */
static const struct passwords_config cheap = {
    .threads = 2, .queue_max = 8, .cache_max = 3, .cost = {.memory_kib = 8, .passes = 1}, .iterations = 4096};

static const uint8_t salt[SCRAM_KEYS_SALT_BYTES] = "sixteen bytes..";

static struct passwords_result wait_result(struct passwords *p, uint64_t now_ms)
{
    struct passwords_result r;
    while (passwords_next(p, now_ms, &r) != BRANT_OK) {
        struct pollfd fd = {.fd = passwords_fd(p), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 20000), 1);
    }
    return r;
}

static struct passwords_result hash(struct passwords *p, const char *password)
{
    assert_int_equal(passwords_hash(p, 7, span_str(password), salt), PASSWORDS_PENDING);
    struct passwords_result r = wait_result(p, 0);
    assert_int_equal(r.id, 7);
    assert_int_equal(r.outcome, PASSWORDS_HASHED);
    return r;
}

static enum passwords_outcome verify(struct passwords *p, uint64_t account, struct span password,
                                     const char *verifier, uint64_t now_ms)
{
    enum passwords_outcome o = passwords_verify(p, 9, account, password, span_str(verifier), now_ms);
    if (o != PASSWORDS_PENDING)
        return o;
    struct passwords_result r = wait_result(p, now_ms);
    assert_int_equal(r.id, 9);
    return r.outcome;
}

static void test_right_and_wrong(void **state)
{
    (void)state;
    struct passwords *p = passwords_new(&cheap);
    assert_non_null(p);
    struct passwords_result r = hash(p, "correct horse");
    assert_memory_equal(r.verifier, "$argon2id$v=19$m=8,t=1,p=1$", 27);
    struct passwords_result again = hash(p, "correct horse");
    assert_string_not_equal(r.verifier,
                            again.verifier); /* Argon2's salt is new each time, SCRAM's is given */
    assert_memory_equal(&r.keys, &again.keys, sizeof r.keys);
    assert_int_equal(r.keys.iterations, 4096);
    assert_int_equal(verify(p, 1, SPAN_LIT("correct hors"), r.verifier, 0), PASSWORDS_WRONG);
    assert_int_equal(verify(p, 1, SPAN_LIT("correct horse "), r.verifier, 0), PASSWORDS_WRONG);
    assert_int_equal(verify(p, 1, SPAN_LIT("correct horse"), r.verifier, 0), PASSWORDS_RIGHT);
    /* nobody: no verifier, one that is damaged, one that is too long */
    assert_int_equal(verify(p, 0, SPAN_LIT("correct horse"), "", 0), PASSWORDS_WRONG);
    assert_int_equal(verify(p, 0, SPAN_LIT("correct horse"), "$argon2id$nonsense", 0), PASSWORDS_WRONG);
    char longer[VERIFIER_TEXT_MAX + 1];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(verify(p, 0, SPAN_LIT("correct horse"), longer, 0), PASSWORDS_WRONG);
    assert_int_equal(passwords_pending(p), 0);
    passwords_free(p);
}

static void test_refused_bytes(void **state)
{
    (void)state;
    struct passwords *p = passwords_new(&cheap);
    struct passwords_result r = hash(p, "abc");
    assert_int_equal(passwords_hash(p, 1, SPAN_NONE, salt), PASSWORDS_FAILED);
    assert_int_equal(passwords_hash(p, 1, SPAN_LIT("ab\0c"), salt), PASSWORDS_FAILED);
    assert_int_equal(verify(p, 1, SPAN_LIT("abc\0"), r.verifier, 0), PASSWORDS_WRONG);
    assert_int_equal(verify(p, 1, SPAN_NONE, r.verifier, 0), PASSWORDS_WRONG);
    char big[PASSWORDS_BYTES_MAX + 1];
    memset(big, 'a', sizeof big);
    assert_int_equal(passwords_hash(p, 1, span_make(big, sizeof big), salt), PASSWORDS_FAILED);
    assert_int_equal(verify(p, 1, span_make(big, sizeof big), r.verifier, 0), PASSWORDS_WRONG);
    assert_int_equal(passwords_hash(p, 1, span_make(big, sizeof big - 1), salt), PASSWORDS_PENDING);
    r = wait_result(p, 0);
    assert_int_equal(verify(p, 1, span_make(big, sizeof big - 1), r.verifier, 0), PASSWORDS_RIGHT);
    /* every byte but NUL may be part of a password */
    char all[255];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)(i + 1);
    assert_int_equal(passwords_hash(p, 1, span_make(all, sizeof all), salt), PASSWORDS_PENDING);
    r = wait_result(p, 0);
    assert_int_equal(verify(p, 2, span_make(all, sizeof all), r.verifier, 0), PASSWORDS_RIGHT);
    passwords_free(p);
}

static void test_remembered(void **state)
{
    (void)state;
    struct passwords *p = passwords_new(&cheap);
    struct passwords_result r = hash(p, "pw");
    struct span pw = SPAN_LIT("pw"), v = span_str(r.verifier);
    assert_int_equal(passwords_verify(p, 1, 5, pw, v, 1000), PASSWORDS_PENDING);
    assert_int_equal(wait_result(p, 1000).outcome, PASSWORDS_RIGHT);
    assert_int_equal(passwords_verify(p, 1, 5, pw, v, 1001), PASSWORDS_RIGHT);
    assert_int_equal(passwords_verify(p, 1, 5, pw, v, 1000 + PASSWORDS_CACHE_MS - 1), PASSWORDS_RIGHT);
    /* another account, another verifier, another password, an hour later: checked anew */
    assert_int_equal(verify(p, 6, SPAN_LIT("no"), r.verifier, 1001), PASSWORDS_WRONG);
    struct passwords_result other = hash(p, "pw2");
    assert_int_equal(passwords_verify(p, 1, 5, pw, span_str(other.verifier), 1001), PASSWORDS_PENDING);
    assert_int_equal(wait_result(p, 1001).outcome, PASSWORDS_WRONG);
    assert_int_equal(passwords_verify(p, 1, 5, pw, v, 1000 + PASSWORDS_CACHE_MS), PASSWORDS_PENDING);
    assert_int_equal(wait_result(p, 1000 + PASSWORDS_CACHE_MS).outcome, PASSWORDS_RIGHT);
    /* bounded: the oldest makes room */
    for (uint64_t account = 10; account < 20; account++)
        assert_int_equal(verify(p, account, pw, r.verifier, 2000), PASSWORDS_RIGHT);
    assert_int_equal(passwords_cached(p), cheap.cache_max);
    assert_int_equal(passwords_verify(p, 1, 19, pw, v, 2000), PASSWORDS_RIGHT);
    assert_int_equal(passwords_verify(p, 1, 16, pw, v, 2000), PASSWORDS_PENDING);
    wait_result(p, 2000);
    passwords_free(p);
}

static void test_keys_alone(void **state)
{
    (void)state;
    struct passwords *p = passwords_new(&cheap);
    struct scram_keys expected;
    scram_keys_make(SPAN_LIT("pw"), span_make(salt, sizeof salt), 5000, &expected);
    assert_int_equal(passwords_keys(p, 3, SPAN_LIT("pw"), salt, 5000), PASSWORDS_PENDING);
    struct passwords_result r = wait_result(p, 0);
    assert_int_equal(r.outcome, PASSWORDS_HASHED);
    assert_string_equal(r.verifier, "");
    assert_memory_equal(&r.keys, &expected, sizeof expected);
    assert_int_equal(passwords_keys(p, 3, SPAN_NONE, salt, 5000), PASSWORDS_FAILED);
    passwords_free(p);
}

static void test_queue_bound(void **state)
{
    (void)state;
    struct passwords *p = passwords_new(&cheap);
    /* Results that nobody fetched count too, so the bound does not depend on how fast the threads are. */
    for (uint64_t i = 0; i < cheap.queue_max; i++)
        assert_int_equal(passwords_verify(p, i, i, SPAN_LIT("x"), SPAN_NONE, 0), PASSWORDS_PENDING);
    assert_int_equal(passwords_verify(p, 99, 99, SPAN_LIT("x"), SPAN_NONE, 0), PASSWORDS_BUSY);
    assert_int_equal(passwords_hash(p, 99, SPAN_LIT("x"), salt), PASSWORDS_BUSY);
    uint64_t seen = 0;
    for (size_t i = 0; i < cheap.queue_max; i++) {
        struct passwords_result r = wait_result(p, 0);
        assert_int_equal(r.outcome, PASSWORDS_WRONG);
        seen |= UINT64_C(1) << r.id;
    }
    assert_int_equal(seen, 0xff);
    assert_int_equal(passwords_hash(p, 99, SPAN_LIT("x"), salt), PASSWORDS_PENDING);
    passwords_free(p); /* with work under way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_and_wrong), cmocka_unit_test(test_refused_bytes),
        cmocka_unit_test(test_remembered),      cmocka_unit_test(test_keys_alone),
        cmocka_unit_test(test_queue_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
