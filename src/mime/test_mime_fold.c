#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/fold.h"

static void check(const char *text, const char *expect)
{
    struct buf out;

    buf_init(&out, 1000);
    assert_int_equal(mime_fold(span_str(text), &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), expect);
    buf_done(&out);
}

static void test_fold(void **state)
{
    (void)state;
    check("", "");
    check("Hello, WORLD 1", "hello, world 1");
    check("Caf\xc3\x89", "cafe\xcc\x81");
    check("CAFE\xcc\x81", "cafe\xcc\x81");
    check("\xce\xa3\xcf\x82", "\xcf\x83\xcf\x83"); /* capital and final sigma */
    check("\xd0\x96", "\xd0\xb6");                 /* Cyrillic */
    check("\xef\xbc\xa1\xef\xbd\x81", "aa");       /* full width */
    check("\xef\xac\x81", "fi");                   /* a ligature */
    check("\xe6\x97\xa5\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac");
    check("\xe3\x81\x8c\xe3\x83\x91", "\xe3\x81\x8c\xe3\x83\x91"); /* kana with marks stay */
    check("\xea\xb0\x81", "\xea\xb0\x81");                         /* a syllable stays */
    check("\xf0\x90\x90\x80", "\xf0\x90\x90\xa8");                 /* beyond the first plane */
    check("a\xff\xc3", "a\xff\xc3");
}

static void test_bounds(void **state)
{
    struct buf out, one;

    (void)state;
    buf_init(&out, 3);
    assert_int_equal(mime_fold(SPAN_LIT("abcd"), &out), BRANT_ELIMIT);
    buf_done(&out);
    buf_init(&out, 1000);
    buf_init(&one, 4);
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        buf_reset(&one);
        buf_reset(&out);
        codec_utf8_put(&one, code);
        assert_int_equal(mime_fold(buf_span(&one), &out), BRANT_OK);
        assert_true(out.len <= one.len * MIME_FOLD_EXPANSION && codec_utf8_valid(buf_span(&out)));
    }
    buf_done(&out);
    buf_done(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fold), cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
