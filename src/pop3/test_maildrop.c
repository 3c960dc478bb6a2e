#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "pop3/maildrop.h"

static void uids_ascend_and_the_count_holds(void **state)
{
    struct pop3_maildrop m;

    (void)state;
    pop3_maildrop_init(&m, 7, 3);
    assert_int_equal(pop3_maildrop_add(&m, 0, 1), BRANT_ESYNTAX);
    assert_int_equal(pop3_maildrop_add(&m, 5, UINT32_MAX), BRANT_OK);
    assert_int_equal(pop3_maildrop_add(&m, 5, 1), BRANT_ESYNTAX);
    assert_int_equal(pop3_maildrop_add(&m, 4, 1), BRANT_ESYNTAX);
    assert_int_equal(pop3_maildrop_add(&m, 6, UINT32_MAX), BRANT_OK);
    assert_int_equal(pop3_maildrop_add(&m, UINT32_MAX, 0), BRANT_OK);
    assert_int_equal(pop3_maildrop_add(&m, UINT32_MAX, 0), BRANT_ESYNTAX);
    assert_int_equal(m.count, 3);
    assert_true(m.size_bytes == 2 * (uint64_t)UINT32_MAX);
    pop3_maildrop_done(&m);
    pop3_maildrop_init(&m, 7, 1);
    assert_int_equal(pop3_maildrop_add(&m, 1, 1), BRANT_OK);
    assert_int_equal(pop3_maildrop_add(&m, 2, 1), BRANT_ELIMIT);
    pop3_maildrop_done(&m);
}

static void numbers_outside_are_no_message(void **state)
{
    struct pop3_maildrop m;

    (void)state;
    pop3_maildrop_init(&m, 1, 0);
    assert_null(pop3_maildrop_get(&m, 0));
    assert_null(pop3_maildrop_get(&m, 1));
    assert_int_equal(pop3_maildrop_delete(&m, 1), BRANT_ENOTFOUND);
    assert_int_equal(pop3_maildrop_next(&m, 0, false), 0);
    pop3_maildrop_done(&m);
    pop3_maildrop_init(&m, 1, 1);
    assert_null(pop3_maildrop_get(&m, 1)); /* announced, but not there */
    pop3_maildrop_add(&m, 9, 10);
    assert_int_equal(pop3_maildrop_get(&m, 1)->uid, 9);
    assert_null(pop3_maildrop_get(&m, 2));
    assert_null(pop3_maildrop_get(&m, UINT64_MAX));
    assert_null(pop3_maildrop_get(&m, (UINT64_C(1) << 32) + 1));
    pop3_maildrop_done(&m);
}

static void marks_count_and_come_off(void **state)
{
    struct pop3_maildrop m;
    uint32_t seen = 0;

    (void)state;
    pop3_maildrop_init(&m, 1, 200);
    for (uint32_t i = 1; i <= 200; i++)
        assert_int_equal(pop3_maildrop_add(&m, 2 * i, i), BRANT_OK);
    for (uint32_t i = 3; i <= 200; i += 3)
        assert_int_equal(pop3_maildrop_delete(&m, i), BRANT_OK);
    assert_int_equal(pop3_maildrop_delete(&m, 3), BRANT_ENOTFOUND);
    assert_int_equal(m.deleted_count, 66);
    assert_true(m.deleted_size_bytes == 3 * 66 * 67 / 2);
    for (uint32_t n = 0; (n = pop3_maildrop_next(&m, n, true)) != 0; seen++)
        assert_int_equal(n % 3, 0);
    assert_int_equal(seen, 66);
    seen = 0;
    for (uint32_t n = 0; (n = pop3_maildrop_next(&m, n, false)) != 0; seen++)
        assert_int_not_equal(n % 3, 0);
    assert_int_equal(seen, 134);
    pop3_maildrop_undelete(&m);
    assert_int_equal(m.deleted_count, 0);
    assert_true(m.deleted_size_bytes == 0);
    assert_non_null(pop3_maildrop_get(&m, 3));
    assert_int_equal(pop3_maildrop_next(&m, 0, true), 0);
    pop3_maildrop_done(&m);
}

static void a_million_messages(void **state)
{
    struct pop3_maildrop m;
    uint32_t n = 0, seen = 0;

    (void)state;
    pop3_maildrop_init(&m, 1, 1000000);
    for (uint32_t i = 1; i <= 1000000; i++)
        assert_int_equal(pop3_maildrop_add(&m, i, 1000), BRANT_OK);
    assert_int_equal(pop3_maildrop_delete(&m, 1000000), BRANT_OK);
    while ((n = pop3_maildrop_next(&m, n, false)) != 0)
        seen++;
    assert_int_equal(seen, 999999);
    pop3_maildrop_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uids_ascend_and_the_count_holds),
        cmocka_unit_test(numbers_outside_are_no_message),
        cmocka_unit_test(marks_count_and_come_off),
        cmocka_unit_test(a_million_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
