/* Composed and decomposed spellings come to the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/normal.h"

static void check(const char *said, const char *expect)
{
    _cleanup_buf_ struct buf out = {0};

    buf_init(&out, 1000);
    buf_append_str(&out, "x");
    assert_int_equal(mime_nfc(span_str(said), &out), expect ? BRANT_OK : BRANT_ESYNTAX);
    assert_string_equal(buf_cstr(&out) + 1, expect ? expect : "");
}

static void test_spellings(void **state)
{
    (void)state;
    check("", "");
    check("plain ASCII", "plain ASCII");
    check("Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe");
    check("Entwu\xcc\x88rfe", "Entw\xc3\xbcrfe");
    check("q\xcc\xa3\xcc\x87 q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87 q\xcc\xa3\xcc\x87"); /* marks in order */
    check("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c");                       /* jamo */
    check("\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c");                                   /* kana */
    check("\xe2\x84\xab", "\xc3\x85");                                                   /* angstrom */
    check("\xef\xac\x81", "\xef\xac\x81"); /* compatibility characters stay */
    check("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
    check("\xff", NULL);
    check("e\xcc", NULL);
    check("\xed\xa0\x80", NULL);
}

/* Every character alone: what it becomes keeps the bound and does not change again. */
static void test_every_character(void **state)
{
    unsigned changed = 0;

    (void)state;
    for (uint32_t code = 1; code < 0x110000; code++) {
        struct buf in, once, twice;

        if (code >= 0xd800 && code < 0xe000)
            continue;
        buf_init(&in, 4);
        buf_init(&once, 64);
        buf_init(&twice, 64);
        codec_utf8_put(&in, code);
        assert_int_equal(mime_nfc(buf_span(&in), &once), BRANT_OK);
        assert_int_equal(mime_nfc(buf_span(&once), &twice), BRANT_OK);
        assert_true(once.len <= in.len * MIME_NFC_EXPANSION);
        assert_true(span_eq(buf_span(&once), buf_span(&twice)));
        /* Nothing that means something in a name comes out of another character. */
        for (size_t i = 0; i < once.len && code > 0x7f; i++)
            assert_true(once.data[i] >= 0x20 && !memchr("/%*&\\\"\x7f", once.data[i], 7));
        changed += !span_eq(buf_span(&once), buf_span(&in));
        buf_done(&in);
        buf_done(&once);
        buf_done(&twice);
    }
    assert_true(changed > 1000);
}

static void test_bounds(void **state)
{
    static uint8_t text[MIME_NFC_BYTES_MAX + 2];
    _cleanup_buf_ struct buf out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof text; i += 2) { /* U+0344 becomes two */
        text[i] = 0xcd;
        text[i + 1] = 0x84;
    }
    buf_init(&out, MIME_NFC_EXPANSION * MIME_NFC_BYTES_MAX);
    assert_int_equal(mime_nfc(span_make(text, sizeof text), &out), BRANT_ELIMIT);
    assert_int_equal(mime_nfc(span_make(text, MIME_NFC_BYTES_MAX), &out), BRANT_OK);
    assert_int_equal(out.len, 2 * MIME_NFC_BYTES_MAX);
    assert_int_equal(mime_nfc(span_make(text, MIME_NFC_BYTES_MAX), &out), BRANT_ELIMIT);
    assert_int_equal(out.len, 2 * MIME_NFC_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
