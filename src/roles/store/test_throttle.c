/* The throttle and its parts with a clock of the test's: windows, bounded tables, known sources, delays; and
 * the limits of what an account may send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/err.h"
#include "roles/store/delays.h"
#include "roles/store/known.h"
#include "roles/store/rates.h"
#include "roles/store/throttle.h"
#include "roles/store/window.h"

static const struct map_key test_key = {1, 2};
static const uint8_t secret[KNOWN_SECRET_BYTES] = "a secret of thirty-two bytes...";

static struct ip_addr ip(const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_parse(span_str(text), &a), BRANT_OK);
    return a;
}

/* Numbers that follow from one another: the same in every run. */
static uint32_t pseudo(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* ---- window ---- */

static void test_window(void **state)
{
    (void)state;
    struct window w = {0};
    window_add(&w, 10, 1000, 3);
    assert_int_equal(window_total(&w, 10, 1000), 3);
    assert_int_equal(window_total(&w, 10, 1000 + 10 * WINDOW_SLICES + 9), 3);
    assert_int_equal(window_total(&w, 10, 1000 + 10 * (WINDOW_SLICES + 1)), 0);
    window_add(&w, 10, 5000, 2);
    window_add(&w, 10, 5050, 4);
    assert_int_equal(window_free_at(&w, 10, 5050, 6), 5050);
    assert_int_equal(window_free_at(&w, 10, 5050, 5), 5000 + 10 * (WINDOW_SLICES + 1));
    assert_int_equal(window_free_at(&w, 10, 5050, 4), 5000 + 10 * (WINDOW_SLICES + 1));
    assert_int_equal(window_free_at(&w, 10, 5050, 3), 5050 + 10 * (WINDOW_SLICES + 1));
    window_take_back(&w, 10, 5000, 5060, 1);
    assert_int_equal(window_total(&w, 10, 5060), 5);
    window_take_back(&w, 10, 5050, 5060, 100); /* never below nothing */
    assert_int_equal(window_total(&w, 10, 5060), 1);
    window_take_back(&w, 10, 10, 5060, 1); /* long over */
    assert_int_equal(window_total(&w, 10, 5060), 1);
    window_add(&w, 10, 5060, UINT32_MAX);
    window_add(&w, 10, 5060, UINT32_MAX);
    assert_true(window_total(&w, 10, 5060) >= UINT32_MAX);
}

/* Against a list of all that was counted: never less than the while holds, never more than a slice more. */
static void test_window_model(void **state)
{
    (void)state;
    enum { EVENTS = 20000, SLICE = 7 };
    static uint64_t at[EVENTS];
    struct window w = {0};
    uint64_t now = 123456;
    uint32_t x = 1;
    for (size_t n = 0; n < EVENTS; n++) {
        now += pseudo(&x) % 50 == 0 ? pseudo(&x) % 300 : pseudo(&x) % 4;
        at[n] = now;
        window_add(&w, SLICE, now, 1);
        uint64_t in_while = 0, with_slice = 0;
        for (size_t i = n + 1; i-- > 0 && now - at[i] <= SLICE * (WINDOW_SLICES + 1);) {
            in_while += now - at[i] < SLICE * WINDOW_SLICES;
            with_slice++;
        }
        uint64_t seen = window_total(&w, SLICE, now);
        assert_true(seen >= in_while && seen <= with_slice);
        uint64_t free_at = window_free_at(&w, SLICE, now, seen / 2);
        struct window later = w;
        assert_true(window_total(&later, SLICE, free_at) <= seen / 2);
        later = w;
        assert_true(free_at == now || window_total(&later, SLICE, free_at - 1) > seen / 2);
    }
}

/* ---- throttle ---- */

static struct throttle_try who(const char *source, const char *user, bool known)
{
    return (struct throttle_try){.source = ip(source), .user = span_str(user), .known_good = known};
}

static enum throttle_verdict look(struct throttle *t, const struct throttle_try *try, uint64_t now_ms)
{
    struct throttle_try copy = *try;
    enum throttle_verdict v = throttle_begin(t, &copy, now_ms);
    if (v == THROTTLE_GO)
        throttle_unchecked(t, &copy, now_ms);
    return v;
}

static enum throttle_verdict fail_once(struct throttle *t, struct throttle_try try, uint64_t now_ms)
{
    enum throttle_verdict v = throttle_begin(t, &try, now_ms);
    if (v == THROTTLE_GO)
        throttle_failed(t, &try, now_ms);
    return v;
}

static void throttle_make(struct throttle *t, size_t entries, uint64_t account, uint64_t source)
{
    throttle_init(t, entries, test_key);
    throttle_set_limits(t, &(struct throttle_limits){account, source});
}

static void test_pair(void **state)
{
    (void)state;
    struct throttle t;
    struct throttle_try alice = who("192.0.2.1", "Alice@Example.org", false);
    throttle_make(&t, 100, 1000, 1000);
    for (int i = 0; i < THROTTLE_PAIR_FAILURES; i++)
        assert_int_equal(fail_once(&t, alice, 1000), THROTTLE_GO);
    assert_int_equal(look(&t, &alice, 1000), THROTTLE_PAIR);
    struct throttle_try same = who("192.0.2.1", "alice@example.ORG", true);
    assert_int_equal(look(&t, &same, 1000), THROTTLE_PAIR); /* its own failures hit a known source, too */
    struct throttle_try elsewhere = who("192.0.2.2", "alice@example.org", false),
                        other = who("192.0.2.1", "bob@example.org", false);
    assert_int_equal(look(&t, &elsewhere, 1000), THROTTLE_GO);
    assert_int_equal(look(&t, &other, 1000), THROTTLE_GO);
    assert_int_equal(look(&t, &alice, 1000 + THROTTLE_SOURCE_MS - 1), THROTTLE_PAIR);
    assert_int_equal(look(&t, &alice, 1000 + 2 * THROTTLE_SOURCE_MS), THROTTLE_GO);
    /* a success clears */
    for (int i = 0; i < THROTTLE_PAIR_FAILURES - 1; i++)
        fail_once(&t, alice, 9000000);
    throttle_passed(&t, &alice, 9000000);
    assert_int_equal(fail_once(&t, alice, 9000000), THROTTLE_GO);
    assert_int_equal(look(&t, &alice, 9000000), THROTTLE_GO);
    throttle_done(&t);
}

static void test_account(void **state)
{
    (void)state;
    struct throttle t;
    char source[32];
    throttle_make(&t, 1000, 10, 1000);
    /* ten sources, one failure each: the eleventh waits, whether the name exists or not */
    for (int i = 0; i < 10; i++) {
        snprintf(source, sizeof source, "192.0.2.%d", i);
        assert_int_equal(fail_once(&t, who(source, "alice@example.org", false), 5000), THROTTLE_GO);
    }
    assert_int_equal(fail_once(&t, who("198.51.100.1", "ALICE@example.org", false), 5000), THROTTLE_ACCOUNT);
    assert_int_equal(fail_once(&t, who("198.51.100.1", "bob@example.org", false), 5000), THROTTLE_GO);
    /* who it belongs to, where he was before, is not hit */
    struct throttle_try owner = who("203.0.113.5", "alice@example.org", true);
    assert_int_equal(throttle_begin(&t, &owner, 5000), THROTTLE_GO);
    throttle_passed(&t, &owner, 5000);
    assert_int_equal(fail_once(&t, who("198.51.100.1", "alice@example.org", false), 5000), THROTTLE_ACCOUNT);
    assert_int_equal(
        fail_once(&t, who("198.51.100.1", "alice@example.org", false), 5000 + THROTTLE_ACCOUNT_MS - 1),
        THROTTLE_ACCOUNT);
    assert_int_equal(
        fail_once(&t, who("198.51.100.1", "alice@example.org", false), 5000 + 2 * THROTTLE_ACCOUNT_MS),
        THROTTLE_GO);
    throttle_done(&t);
}

/* Checks are counted when they begin: many at one moment are no way round. What was right or not checked
 * after all is given back. */
static void test_account_under_way(void **state)
{
    (void)state;
    struct throttle t;
    struct throttle_try tries[11];
    char source[32];
    throttle_make(&t, 1000, 10, 1000);
    for (int i = 0; i < 11; i++) {
        snprintf(source, sizeof source, "192.0.2.%d", i);
        tries[i] = who(source, "alice@example.org", false);
        assert_int_equal(throttle_begin(&t, &tries[i], 5000), i < 10 ? THROTTLE_GO : THROTTLE_ACCOUNT);
    }
    throttle_passed(&t, &tries[0], 5100);
    assert_int_equal(throttle_begin(&t, &tries[10], 5100), THROTTLE_GO);
    throttle_unchecked(&t, &tries[10], 5100);
    assert_int_equal(throttle_begin(&t, &tries[10], 5100), THROTTLE_GO);
    throttle_failed(&t, &tries[10], 5100);
    assert_int_equal(throttle_begin(&t, &tries[0], 5100), THROTTLE_ACCOUNT);
    throttle_done(&t);
}

static void test_source(void **state)
{
    (void)state;
    struct throttle t;
    char user[32];
    throttle_make(&t, 1000, 1000, 30);
    for (int i = 0; i < 30; i++) { /* one IPv6 /64 is one source */
        char source[64];
        snprintf(user, sizeof user, "user%d@example.org", i);
        snprintf(source, sizeof source, "2001:db8:0:1::%d", i + 1);
        assert_int_equal(fail_once(&t, who(source, user, false), 7000), THROTTLE_GO);
    }
    assert_int_equal(fail_once(&t, who("2001:db8:0:1:ffff::", "new@example.org", false), 7000),
                     THROTTLE_SOURCE);
    assert_int_equal(fail_once(&t, who("2001:db8:0:1:ffff::", "new@example.org", true), 7000),
                     THROTTLE_SOURCE);
    assert_int_equal(fail_once(&t, who("2001:db8:0:2::1", "new@example.org", false), 7000), THROTTLE_GO);
    assert_int_equal(
        fail_once(&t, who("2001:db8:0:1::1", "new@example.org", false), 7000 + 2 * THROTTLE_SOURCE_MS),
        THROTTLE_GO);
    /* the Unix sockets are nobody's prefix, but pairs count there, too */
    struct throttle_try local = {.user = SPAN_NONE};
    for (int i = 0; i < 100; i++) {
        snprintf(user, sizeof user, "user%d@example.org", i);
        local.user = span_str(user);
        assert_int_equal(fail_once(&t, local, 7000), THROTTLE_GO);
    }
    for (int i = 0; i < THROTTLE_PAIR_FAILURES - 1; i++)
        fail_once(&t, local, 7000);
    assert_int_equal(fail_once(&t, local, 7000), THROTTLE_PAIR);
    throttle_done(&t);
}

/* THREATS G1: 100,000 attempts from 1,000 sources over an hour, on 20 names. */
static void test_many_sources(void **state)
{
    (void)state;
    enum { ATTEMPTS = 100000, SOURCES = 1000, NAMES = 20 };
    static uint64_t checked[NAMES][ATTEMPTS];
    static size_t checks[NAMES];
    struct throttle t;
    uint32_t x = 7;
    throttle_make(&t, THROTTLE_ENTRIES_MAX, 10, 30);
    uint64_t now = 1000000, owner_in = 0;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        char source[32], user[32];
        unsigned s = pseudo(&x) % SOURCES, n = pseudo(&x) % NAMES;
        snprintf(source, sizeof source, "10.%u.%u.1", s / 250, s % 250);
        snprintf(user, sizeof user, "user%u@example.org", n);
        now += pseudo(&x) % 72;
        if (fail_once(&t, who(source, user, false), now) == THROTTLE_GO)
            checked[n][checks[n]++] = now;
        if (i % 1000 == 0) { /* the owner, from where he was before */
            struct throttle_try owner = who("198.51.100.9", user, true);
            assert_int_equal(throttle_begin(&t, &owner, now), THROTTLE_GO);
            throttle_passed(&t, &owner, now);
            owner_in++;
        }
    }
    for (unsigned n = 0; n < NAMES; n++) {
        for (size_t i = 10; i < checks[n]; i++)
            assert_true(checked[n][i] - checked[n][i - 10] >= THROTTLE_ACCOUNT_MS);
        assert_true(checks[n] > 10);
    }
    assert_int_equal(owner_in, ATTEMPTS / 1000);
    throttle_done(&t);
}

static void test_throttle_bounded(void **state)
{
    (void)state;
    struct throttle t;
    throttle_make(&t, 50, 10, 30);
    for (int i = 0; i < 10000; i++) {
        char source[32], user[32];
        snprintf(source, sizeof source, "10.0.%d.%d", i / 250, i % 250);
        snprintf(user, sizeof user, "u%d@example.org", i);
        fail_once(&t, who(source, user, false), 3000);
    }
    assert_int_equal(t.accounts.map.len, 50);
    assert_int_equal(t.sources.map.len, 50);
    assert_int_equal(t.pairs.map.len, 50);
    struct throttle_try any = who("192.0.2.1", "x@example.org", false);
    look(&t, &any, 3000 + 2 * THROTTLE_SOURCE_MS); /* what is over is forgotten */
    assert_int_equal(t.accounts.map.len + t.sources.map.len + t.pairs.map.len, 1);
    for (unsigned v = THROTTLE_ACCOUNT; v <= THROTTLE_PAIR; v++)
        assert_true(strlen(throttle_text(v)) > 0);
    throttle_done(&t);
}

/* ---- known sources ---- */

static const int64_t DAY_MS = 24 * 3600 * 1000;

static void test_known(void **state)
{
    (void)state;
    struct known k, again, other;
    struct ip_addr home = ip("192.0.2.1"), six = ip("2001:db8:0:1::1"), near = ip("2001:db8:0:1::2"),
                   none = {.family = IP_NONE};
    int64_t now = 20000 * DAY_MS;
    known_init(&k, 100, secret, test_key);
    assert_false(known_is(&k, 7, &home, now));
    known_add(&k, 7, &home, now);
    known_add(&k, 7, &six, now + DAY_MS);
    known_add(&k, 8, &none, now);
    assert_true(k.changed);
    assert_true(known_is(&k, 7, &home, now) && known_is(&k, 7, &near, now) && known_is(&k, 8, &none, now));
    assert_false(known_is(&k, 8, &home, now));
    assert_true(known_is(&k, 7, &home, now + KNOWN_DAYS * DAY_MS));
    assert_false(known_is(&k, 7, &home, now + (KNOWN_DAYS + 1) * DAY_MS));

    struct buf _cleanup_buf_ file;
    buf_init(&file, KNOWN_FILE_MAX);
    known_save(&k, &file, now);
    assert_false(k.changed);
    assert_null(memmem(file.data, file.len, home.bytes, 4)); /* it says nothing */
    known_init(&again, 100, secret, (struct map_key){9, 9});
    assert_int_equal(known_load(&again, buf_span(&file), now), BRANT_OK);
    assert_true(known_is(&again, 7, &home, now) && known_is(&again, 7, &six, now));
    known_add(&again, 7, &home, now); /* the same day: nothing new to write */
    assert_false(again.changed);
    known_add(&again, 7, &home, now + DAY_MS);
    assert_true(again.changed);

    /* damaged or cut in any way, or of another store: forgotten, nothing worse */
    known_init(&other, 100, (const uint8_t[KNOWN_SECRET_BYTES]){1}, test_key);
    assert_int_equal(known_load(&other, buf_span(&file), now), BRANT_ECORRUPT);
    known_done(&other);
    known_init(&other, 100, secret, test_key);
    for (size_t len = 0; len < file.len; len++)
        assert_int_equal(known_load(&other, span_make(file.data, len), now), BRANT_ECORRUPT);
    for (size_t i = 0; i < file.len; i++) {
        file.data[i] ^= 0x10;
        assert_int_equal(known_load(&other, buf_span(&file), now), BRANT_ECORRUPT);
        file.data[i] ^= 0x10;
    }
    assert_int_equal(other.sources.map.len, 0);
    assert_int_equal(known_load(&other, buf_span(&file), now + 31 * DAY_MS), BRANT_OK);
    assert_int_equal(other.sources.map.len, 1); /* the others are too old */
    known_done(&k);
    known_done(&again);
    known_done(&other);
}

static void test_known_bounded(void **state)
{
    (void)state;
    struct known k;
    struct ip_addr home = ip("192.0.2.1"), a = home;
    known_init(&k, 10, secret, test_key);
    for (uint8_t i = 0; i < 100; i++) {
        a.bytes[3] = i;
        known_add(&k, 1, &a, DAY_MS);
        known_add(&k, 1, &home, DAY_MS); /* used all the time: stays */
    }
    assert_int_equal(k.sources.map.len, 10);
    assert_true(known_is(&k, 1, &home, DAY_MS));
    a.bytes[3] = 50;
    assert_false(known_is(&k, 1, &a, DAY_MS));
    known_done(&k);
}

/* Somebody with an account and a whole network logs in from everywhere: the others stay known. */
static void test_known_is_shared(void **state)
{
    (void)state;
    struct known k;
    struct ip_addr home = ip("192.0.2.1"), a = ip("2001:db8::1");
    known_init(&k, 1000, secret, test_key);
    known_add(&k, 1, &home, DAY_MS);
    for (unsigned i = 0; i < 5000; i++) {
        a.bytes[6] = (uint8_t)(i >> 8);
        a.bytes[7] = (uint8_t)i;
        known_add(&k, 2, &a, DAY_MS + i);
        assert_int_equal(known_is(&k, 2, &a, DAY_MS), i < KNOWN_NEW_PER_DAY);
    }
    assert_int_equal(k.sources.map.len, 1 + KNOWN_NEW_PER_DAY);
    assert_true(known_is(&k, 1, &home, DAY_MS));
    known_add(&k, 2, &a, 3 * DAY_MS); /* another day */
    assert_true(known_is(&k, 2, &a, 3 * DAY_MS));
    known_done(&k);
}

/* ---- what is sent ---- */

static void test_rates(void **state)
{
    (void)state;
    enum { MIN = 60 * 1000, HOUR = 60 * MIN };
    struct rates r;
    struct buf _cleanup_buf_ text;
    buf_init(&text, 1024);
    rates_init(&r, 100, test_key);
    assert_int_equal(rates_ask(&r, 1, 1000000, 0, NULL), BRANT_OK); /* no limit */
    rates_set_limits(&r, &(struct rates_limits){.messages_per_hour = 3, .recipients_per_day = 10});
    uint64_t now = 100 * HOUR;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rates_ask(&r, 1, 2, now, &text), BRANT_OK);
        rates_count(&r, 1, 2, now);
        now += MIN;
    }
    assert_int_equal(text.len, 0);
    assert_int_equal(rates_ask(&r, 1, 1, now, &text), BRANT_ELIMIT);
    assert_non_null(strstr(buf_cstr(&text), "the limit of 3 messages in an hour is reached; again in "));
    assert_int_equal(rates_ask(&r, 2, 1, now, NULL), BRANT_OK); /* others are not touched */
    assert_int_equal(rates_ask(&r, 1, 1, now + HOUR - 4 * MIN, NULL), BRANT_ELIMIT);
    now += 2 * HOUR;
    assert_int_equal(rates_ask(&r, 1, 4, now, NULL), BRANT_OK);
    buf_reset(&text);
    assert_int_equal(rates_ask(&r, 1, 5, now, &text), BRANT_ELIMIT);
    assert_non_null(strstr(buf_cstr(&text), "10 recipients in a day is reached; again in 2"));
    buf_reset(&text);
    assert_int_equal(rates_ask(&r, 1, 11, now, &text), BRANT_ELIMIT);
    assert_non_null(strstr(buf_cstr(&text), "more than that"));
    rates_count(&r, 1, 4, now);
    assert_int_equal(rates_ask(&r, 1, 1, now, NULL), BRANT_ELIMIT);
    rates_take_back(&r, 1, 4, now, now + 1);
    assert_int_equal(rates_ask(&r, 1, 4, now, NULL), BRANT_OK);
    assert_int_equal(rates_ask(&r, 1, 10, now + 27 * HOUR, NULL), BRANT_OK);
    for (uint64_t account = 1; account < 1000; account++)
        rates_count(&r, account, 1, now);
    assert_int_equal(r.accounts.map.len, 100);
    rates_done(&r);
}

/* ---- delays ---- */

static void test_delays(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct delayed items[COUNT + 1];
    struct delays d = {.max = COUNT};
    uint32_t x = 3;
    for (size_t i = 0; i < COUNT; i++)
        assert_true(delays_add(&d, &items[i], 1000 + pseudo(&x) % 300));
    assert_false(delays_add(&d, &items[COUNT], 1000));
    for (size_t i = 0; i < COUNT; i += 3)
        delays_remove(&d, &items[i]);
    size_t left = d.count, taken = 0;
    assert_null(delays_due(&d, 999));
    for (uint64_t now = 1000; now < 1300; now++)
        for (struct delayed *i; (i = delays_due(&d, now)) != NULL; taken++)
            assert_int_equal(i->due_ms, now);
    assert_int_equal(taken, left);
    assert_int_equal(d.count, 0);
    assert_null(d.first);
    assert_null(d.last);

    assert_int_equal(delays_due_ms(1000, 500, 1000), 1500);
    assert_int_equal(delays_due_ms(1000, 500, 1001), 1500);
    assert_int_equal(delays_due_ms(1000, 500, 1500), 1500);
    assert_int_equal(delays_due_ms(1000, 500, 1501), 2000);
    assert_int_equal(delays_due_ms(1000, 0, 1700), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_model),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_account),
        cmocka_unit_test(test_account_under_way),
        cmocka_unit_test(test_source),
        cmocka_unit_test(test_many_sources),
        cmocka_unit_test(test_throttle_bounded),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_known_bounded),
        cmocka_unit_test(test_known_is_shared),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_delays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
