#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "roles/common/canonical.h"

static void one_spelling(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"Alice@Brant.TEST", "Alice@brant.test"},
        {"postmaster", "postmaster"},
        {"PostMaster", "postmaster"},
        {"@Brant.Test", "@brant.test"},
        {"\"a b\"@brant.test", "\"a b\"@brant.test"},
        {"\"plain\"@brant.test", "plain@brant.test"},
        {"用户@xn--fsqu00a.xn--0zwm56d", "用户@例子.测试"},
        {"用户@例子.测试", "用户@例子.测试"},
        {"a@XN--FSQU00A.test", "a@例子.test"},
        {"a@BÜCHER.test", "a@bücher.test"},
        {"e\xcc\x81@brant.test", "\xc3\xa9@brant.test"},
        {"a@[127.0.0.1]", "a@[127.0.0.1]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        _cleanup_buf_ struct buf once, twice;

        buf_init(&once, 320);
        buf_init(&twice, 320);
        assert_int_equal(canonical_address(span_str(cases[i].in), &once), BRANT_OK);
        assert_string_equal(buf_cstr(&once), cases[i].out);
        assert_int_equal(canonical_address(buf_span(&once), &twice), BRANT_OK);
        assert_string_equal(buf_cstr(&twice), cases[i].out);
    }
}

static void refused(void **state)
{
    static const char *const cases[] = {"user@\xef\xbd\x82rant.test", /* a full-width b */
                                        "",
                                        "@",
                                        "a",
                                        "a@",
                                        "@@",
                                        "a@b..c",
                                        "a@xn--a.test",
                                        "a@-x.test",
                                        "a@\xff",
                                        "a b@c.test",
                                        "a@\xe2\x80\xa8.test",
                                        "<a@b.test>"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        _cleanup_buf_ struct buf out;

        buf_init(&out, 320);
        if (canonical_address(span_str(cases[i]), &out) == BRANT_OK)
            fail_msg("%s became %s", cases[i], buf_cstr(&out));
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_spelling), cmocka_unit_test(refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
