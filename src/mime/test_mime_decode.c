#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/charset.h"
#include "mime/decode.h"

static struct span decode(enum mime_encoding e, struct span in, size_t cut, struct buf *out, uint64_t *errors)
{
    struct mime_decoder d;

    buf_reset(out);
    mime_decoder_init(&d, e);
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < in.len; i++)
            assert_int_equal(mime_decoder_feed(&d, span_sub(in, i, 1), out), BRANT_OK);
    } else {
        assert_int_equal(mime_decoder_feed(&d, span_sub(in, 0, cut), out), BRANT_OK);
        assert_int_equal(mime_decoder_feed(&d, span_from(in, cut), out), BRANT_OK);
    }
    assert_int_equal(mime_decoder_finish(&d, out), BRANT_OK);
    *errors = d.errors;
    return buf_span(out);
}

static void check(enum mime_encoding e, const char *in, const char *want, uint64_t want_errors)
{
    struct span text = span_str(in);
    struct buf out;
    uint64_t errors;

    buf_init(&out, 1 << 20);
    for (size_t cut = 0; cut <= text.len + 1; cut++) {
        struct span got = decode(e, text, cut > text.len ? SIZE_MAX : cut, &out, &errors);

        assert_true(span_eq_str(got, want));
        assert_int_equal(errors, want_errors);
    }
    buf_done(&out);
}

static void decodes_base64(void **state)
{
    (void)state;
    check(MIME_ENCODING_BASE64, "aGVsbG8=", "hello", 0);
    check(MIME_ENCODING_BASE64, "aGVs\r\n bG8=\r\n", "hello", 0);
    check(MIME_ENCODING_BASE64, "aGVsbG8", "hello", 1);
    check(MIME_ENCODING_BASE64, "aGVsbA==bG8=", "helllo", 0);
    check(MIME_ENCODING_BASE64, "aGVsb*G8=", "hello", 1);
    check(MIME_ENCODING_BASE64, "a", "", 1);
    check(MIME_ENCODING_BASE64, "=", "", 1);
    check(MIME_ENCODING_BASE64, "a===", "", 1);
    check(MIME_ENCODING_BASE64, "", "", 0);
    check(MIME_ENCODING_BASE64, "aGVs=bG8=", "hello", 1);
}

static void decodes_quoted_printable(void **state)
{
    (void)state;
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a=3Db=3d c", "a=b= c", 0);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "soft=\r\nbreak=  \t\r\nx=\ny", "softbreakxy", 0);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "trail  \t\r\nnext \nend ", "trail\r\nnext\nend ", 0);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a=zb=4", "a=zb=4", 2);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a=  b", "a=  b", 1);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a=", "a", 0);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a=4=41", "a=4A", 1);
    check(MIME_ENCODING_QUOTED_PRINTABLE, "a\rb \r c\r\r\n", "a\rb \r c\r\n", 0);
    check(MIME_ENCODING_7BIT, "a=3D \r\n", "a=3D \r\n", 0);
}

/* White space without end is neither lost nor kept in memory. */
static void long_white_space_is_bounded(void **state)
{
    struct buf in, out;
    uint64_t errors;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&out, 2 << 20);
    for (int i = 0; i < 100000; i++)
        buf_append_byte(&in, ' ');
    buf_append_str(&in, "x");
    assert_int_equal(decode(MIME_ENCODING_QUOTED_PRINTABLE, buf_span(&in), SIZE_MAX, &out, &errors).len,
                     100001);
    buf_done(&in);
    buf_done(&out);
}

static void encodes_and_back(void **state)
{
    struct buf in, coded, out;
    uint64_t errors;

    (void)state;
    buf_init(&in, 65536);
    buf_init(&coded, 1 << 20);
    buf_init(&out, 1 << 20);
    for (int i = 0; i < 3000; i++) {
        if (i % 97 == 0)
            buf_append_str(&in, i % 2 ? " \r\nFrom x\r\n.\r\n" : "\t\r\n");
        else
            buf_append_byte(&in, (uint8_t)(i * 7 + i / 256));
    }
    assert_int_equal(mime_base64_encode_lines(buf_span(&in), &coded), BRANT_OK);
    assert_true(span_eq(decode(MIME_ENCODING_BASE64, buf_span(&coded), 0, &out, &errors), buf_span(&in)));
    assert_int_equal(errors, 0);
    buf_reset(&coded);
    assert_int_equal(mime_qp_encode(buf_span(&in), &coded), BRANT_OK);
    assert_true(
        span_eq(decode(MIME_ENCODING_QUOTED_PRINTABLE, buf_span(&coded), 0, &out, &errors), buf_span(&in)));
    assert_int_equal(errors, 0);
    for (size_t i = 0, column = 0; i < coded.len; i++) {
        column = coded.data[i] == '\n' ? 0 : column + 1;
        assert_true(column <= 78 && coded.data[i] < 0x80);
    }
    assert_true(span_find(buf_span(&coded), SPAN_LIT("\n.")) == SPAN_NPOS);
    assert_true(span_find(buf_span(&coded), SPAN_LIT("\nFrom ")) == SPAN_NPOS);
    buf_reset(&coded);
    assert_int_equal(mime_param_encode("filename", SPAN_LIT("a \"b\".txt"), &coded), BRANT_OK);
    assert_string_equal(buf_cstr(&coded), "filename=\"a \\\"b\\\".txt\"");
    buf_reset(&coded);
    assert_int_equal(mime_param_encode("filename", SPAN_LIT("中\r\n.txt"), &coded), BRANT_OK);
    assert_string_equal(buf_cstr(&coded), "filename*=utf-8''%E4%B8%AD%20%20.txt");
    buf_done(&in);
    buf_done(&coded);
    buf_done(&out);
}

static void output_room_is_asked_first(void **state)
{
    struct buf out;
    struct mime_decoder d;

    (void)state;
    buf_init(&out, MIME_DECODE_SLACK);
    mime_decoder_init(&d, MIME_ENCODING_BASE64);
    assert_int_equal(mime_decoder_feed(&d, SPAN_LIT("aGVs"), &out), BRANT_ELIMIT);
    assert_int_equal(d.pos, 0);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

/* Whole, and byte by byte. */
static void check_charset(const char *label, const char *in, const char *want)
{
    struct mime_charset *c;
    struct span text = span_str(in);
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(mime_charset_to_utf8(span_str(label), text, &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), want);
    buf_reset(&out);
    assert_int_equal(mime_charset_open(span_str(label), &c), BRANT_OK);
    for (size_t i = 0; i < text.len; i++)
        assert_int_equal(mime_charset_feed(c, span_sub(text, i, 1), &out), BRANT_OK);
    assert_int_equal(mime_charset_finish(c, &out), BRANT_OK);
    mime_charset_close(c);
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
}

static void converts_charsets(void **state)
{
    struct buf out;

    (void)state;
    check_charset("UTF-8", "caf\xc3\xa9", "café");
    check_charset("utf-8", "\xc3", "\xef\xbf\xbd");
    check_charset("utf-8", "\xed\xa0\x80!", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!");
    check_charset("us-ascii", "a\xff", "a\xef\xbf\xbd");
    check_charset("ISO-8859-1", "\x93\xe4\x94", "“ä”");
    check_charset("iso-8859-15", "\xa4", "€");
    check_charset("koi8-r", "\xf0\xf2", "ПР");
    check_charset("gb2312", "\xd6\xd0\xce\xc4\x84\x31\x95\x33", "中文\xef\xbb\xbf");
    check_charset("gbk", "\xd6\xd0\xff", "中\xef\xbf\xbd");
    check_charset("big5", "\xa4\xa4\xa4", "中\xef\xbf\xbd");
    check_charset("big5-hkscs", "\x88\x62\x88\xa5\xa4\xa4", "Ê̄ê̌中");
    check_charset("utf-7", "+Ti1lhw-!", "中文!");
    check_charset("iso-2022-jp", "\x1b$BF|K\\\x1b(B.", "日本.");
    check_charset("hz-gb-2312", "~{VPND~}.", "中文.");
    check_charset("euc-kr", "\xb0\xa1\xa4\xd4\xa4\xb6\xa4\xd0\xa4\xd4.", "가쓔.");
    check_charset("ks_c_5601-1987", "\xa4\xd4\xa4\xb6", "\xe3\x85\xa4ㅆ");
    check_charset("johab", "\x88\x61\x99\xb1\xda\x31\x88", "가똠！\xef\xbf\xbd");
    buf_init(&out, 64);
    assert_int_equal(mime_charset_to_utf8(SPAN_LIT("x-nobody"), SPAN_LIT("a"), &out), BRANT_ENOTFOUND);
    assert_int_equal(mime_charset_to_utf8(SPAN_LIT(""), SPAN_LIT("a"), &out), BRANT_ENOTFOUND);
    assert_int_equal(mime_charset_to_utf8(SPAN_LIT("utf-8,version=1"), SPAN_LIT("a"), &out), BRANT_ENOTFOUND);
    buf_done(&out);
}

/* Every charset here gives valid UTF-8 for every pair of bytes. */
static void any_bytes_give_utf8(void **state)
{
    static const char *const names[] = {"utf-8",          "iso-8859-1", "gb18030",      "big5",
                                        "big5-hkscs",     "euc-kr",     "johab",        "shift_jis",
                                        "shift_jisx0213", "euc-jp",     "euc-jisx0213", "iso-2022-jp",
                                        "iso-2022-kr",    "hz",         "utf-7",        "utf-16"};
    struct buf in, out;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_init(&out, 4 << 20);
    for (int i = 0; i < 65536; i++) {
        buf_append_byte(&in, (uint8_t)(i >> 8));
        buf_append_byte(&in, (uint8_t)i);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        buf_reset(&out);
        assert_int_equal(mime_charset_to_utf8(span_str(names[i]), buf_span(&in), &out), BRANT_OK);
        assert_true(codec_utf8_valid(buf_span(&out)));
    }
    buf_done(&in);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_base64),
        cmocka_unit_test(decodes_quoted_printable),
        cmocka_unit_test(long_white_space_is_bounded),
        cmocka_unit_test(encodes_and_back),
        cmocka_unit_test(output_room_is_asked_first),
        cmocka_unit_test(converts_charsets),
        cmocka_unit_test(any_bytes_give_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
