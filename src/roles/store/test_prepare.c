/* OpaqueString (RFC 8265 4.2) against its RFC's examples, the code points of RFC 8264, and what must be
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <unicode/uchar.h>

#include "base/codec.h"
#include "base/err.h"
#include "roles/store/prepare.h"

static int prepare(struct span text, struct buf *out)
{
    buf_init_secret(out, PREPARE_BYTES_MAX);
    return prepare_opaque(text, out);
}

static const struct {
    const char *text, *prepared; /* NULL: refused */
} table[] = {
    /* RFC 8265 4.3, table 3: legal */
    {"correct horse battery staple", "correct horse battery staple"},
    {"Correct Horse Battery Staple", "Correct Horse Battery Staple"},
    {"\xcf\x80\xc3\x9f\xc3\xa5", "\xcf\x80\xc3\x9f\xc3\xa5"}, /* πßå */
    {"Jack of \xe2\x99\xa6s", "Jack of \xe2\x99\xa6s"},       /* Jack of ♦s */
    {"foo\xe1\x9a\x80"
     "bar",
     "foo bar"}, /* OGHAM SPACE MARK becomes SPACE */
    /* table 4: not */
    {"", NULL},
    {"my cat is a \x09"
     "by",
     NULL}, /* control */
    /* what is normalised */
    {"a\xcc\x8a", "\xc3\xa5"},                                /* a + ring is å */
    {"\xe2\x84\xab", "\xc3\x85"},                             /* ANGSTROM SIGN */
    {"\xef\xac\x81", "\xef\xac\x81"},                         /* the ligature fi stays: NFC, not NFKC */
    {"\xef\xbc\xa1", "\xef\xbc\xa1"},                         /* full-width A stays */
    {"\xc2\xa0x\xe3\x80\x80", " x "},                         /* NO-BREAK and IDEOGRAPHIC SPACE */
    {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* conjoining jamo make 한 */
    {"\xf0\x9f\x90\xb4\xf0\x9f\x94\x8b", "\xf0\x9f\x90\xb4\xf0\x9f\x94\x8b"}, /* 🐴🔋 */
    {"\xe5\xaf\x86\xe7\xa0\x81", "\xe5\xaf\x86\xe7\xa0\x81"},                 /* 密码 */
    {"\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d 1", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d 1"},
    /* refused */
    {"a\x7f", NULL},
    {"a\x01", NULL},
    {"a\xc2\x85", NULL},         /* NEXT LINE, a control */
    {"a\xe2\x80\xa8", NULL},     /* LINE SEPARATOR */
    {"a\xc2\xad", NULL},         /* SOFT HYPHEN: ignorable */
    {"a\xe2\x80\x8b", NULL},     /* ZERO WIDTH SPACE */
    {"a\xe2\x80\xae", NULL},     /* RIGHT-TO-LEFT OVERRIDE */
    {"a\xef\xbb\xbf", NULL},     /* BOM */
    {"a\xef\xbf\xbe", NULL},     /* noncharacter U+FFFE */
    {"a\xee\x80\x80", NULL},     /* private use */
    {"a\xcd\xb8", NULL},         /* U+0378, unassigned */
    {"a\xf3\xa0\x81\x81", NULL}, /* tag character */
    {"\xe1\x84\x80", NULL},      /* a jamo alone: old Hangul */
    {"\xd9\x80", NULL},          /* ARABIC TATWEEL, an exception */
    {"a\xff", NULL},             /* no UTF-8 */
    {"a\xc3", NULL},
    {"\xc0\xaf", NULL},
    {"\xed\xa0\x80", NULL},
    {"\xf4\x90\x80\x80", NULL},
    /* in context */
    {"l\xc2\xb7l", "l\xc2\xb7l"}, /* MIDDLE DOT between l's only */
    {"a\xc2\xb7l", NULL},
    {"\xc2\xb7", NULL},
    {"\xcd\xb5\xce\xb1", "\xcd\xb5\xce\xb1"}, /* KERAIA before Greek */
    {"\xcd\xb5x", NULL},
    {"\xd7\x90\xd7\xb3", "\xd7\x90\xd7\xb3"}, /* GERESH behind Hebrew */
    {"x\xd7\xb3", NULL},
    {"\xe3\x83\xbb\xe3\x82\xa2", "\xe3\x83\xbb\xe3\x82\xa2"}, /* KATAKANA MIDDLE DOT with Japanese */
    {"x\xe3\x83\xbbx", NULL},
    {"\xd9\xa1\xd9\xa2", "\xd9\xa1\xd9\xa2"}, /* Arabic digits, not mixed with extended ones */
    {"\xdb\xb1\xdb\xb2", "\xdb\xb1\xdb\xb2"},
    {"\xd9\xa1\xdb\xb2", NULL},
    {"\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d"}, /* ZWJ after virama */
    {"a\xe2\x80\x8d", NULL},
    {"\xe2\x80\x8d", NULL},
    {"\xd8\xa8\xe2\x80\x8c\xd8\xa8", "\xd8\xa8\xe2\x80\x8c\xd8\xa8"}, /* ZWNJ between joining letters */
    {"\xd8\xa7\xe2\x80\x8c\xd8\xa8", NULL},                           /* alef joins on its right only */
    {"\xd8\xa8\xe2\x80\x8c", NULL},
    {"a\xe2\x80\x8c"
     "b",
     NULL},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf _cleanup_buf_ out;
        int rc = prepare(span_str(table[i].text), &out);
        if (!table[i].prepared) {
            assert_int_equal(rc, BRANT_ESYNTAX);
            assert_int_equal(out.len, 0);
            continue;
        }
        if (rc != BRANT_OK || !span_eq_str(buf_span(&out), table[i].prepared))
            fail_msg("row %zu: %d \"%.*s\"", i, rc, SPAN_ARG(buf_span(&out)));
        struct buf _cleanup_buf_ again; /* idempotent: RFC 8264 7 */
        assert_int_equal(prepare(buf_span(&out), &again), BRANT_OK);
        assert_true(span_eq(buf_span(&again), buf_span(&out)));
    }
}

static void test_nul_and_lengths(void **state)
{
    (void)state;
    struct buf _cleanup_buf_ out;
    assert_int_equal(prepare(SPAN_LIT("a\0b"), &out), BRANT_ESYNTAX);
    char big[PREPARE_BYTES_MAX + 1];
    memset(big, 'a', sizeof big);
    assert_int_equal(prepare_opaque(span_make(big, sizeof big), &out), BRANT_ELIMIT);
    assert_int_equal(prepare_opaque(span_make(big, sizeof big - 1), &out), BRANT_OK);
    buf_reset(&out);
    /* U+0344 becomes two code points of two bytes each: 512 bytes become 1024 */
    for (size_t i = 0; i + 1 < sizeof big; i += 2)
        memcpy(big + i, "\xcd\x84", 2);
    assert_int_equal(prepare_opaque(span_make(big, sizeof big - 1), &out), BRANT_ELIMIT);
    assert_int_equal(prepare_opaque(span_make(big, 256), &out), BRANT_OK);
    assert_int_equal(out.len, 512);
    struct buf _cleanup_buf_ small;
    buf_init_secret(&small, 3);
    assert_int_equal(prepare_opaque(SPAN_LIT("four"), &small), BRANT_ELIMIT);
    assert_int_equal(prepare_opaque(SPAN_LIT("\xc3\xa5\xc3\xa5"), &small), BRANT_ELIMIT);
    assert_int_equal(small.len, 0);
}

/* Every code point there is: what RFC 8264 8 refuses by property is refused, whatever ICU's tables say of the
 * rest; none breaks anything, alone or between letters. */
static void test_all_code_points(void **state)
{
    (void)state;
    size_t free_count = 0;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        int8_t type = u_charType((UChar32)c);
        bool free = prepare_is_free(c);
        if (type == U_UNASSIGNED || type == U_CONTROL_CHAR || type == U_PRIVATE_USE_CHAR ||
            type == U_LINE_SEPARATOR || type == U_PARAGRAPH_SEPARATOR || type == U_FORMAT_CHAR)
            assert_false(free);
        if (c >= 0x20 && c < 0x7f)
            assert_true(free);
        free_count += free;
        if (c % 7 != 0 && c > 0x3000)
            continue;
        struct buf _cleanup_buf_ text, out;
        buf_init(&text, 16);
        buf_append_str(&text, "x");
        codec_utf8_put(&text, c);
        buf_append_str(&text, "y");
        int rc = prepare(buf_span(&text), &out);
        assert_true(rc == BRANT_OK || rc == BRANT_ESYNTAX);
    }
    assert_true(free_count > 140000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nul_and_lengths),
        cmocka_unit_test(test_all_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
