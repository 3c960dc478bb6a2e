#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/address.h"
#include "mime/charset.h"
#include "mime/date.h"
#include "mime/encoded_word.h"
#include "mime/headers.h"
#include "mime/param.h"
#include "mime/received.h"

static void check_words(const char *raw, const char *want)
{
    struct buf out;

    buf_init(&out, 1 << 16);
    assert_int_equal(mime_words_decode(span_str(raw), &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
}

static void decodes_words(void **state)
{
    (void)state;
    check_words(" plain  text\r\n\tfolded ", "plain  text folded");
    check_words("=?utf-8?q?a?= =?utf-8?q?b?=\r\n =?utf-8?q?c?= d", "abc d");
    check_words("=?utf-8?B?5Lg=?= =?UTF-8?B?rQ==?=", "中");              /* one character over two words */
    check_words("=?utf-8?B?5Lg=?= =?gb2312?B?1tA=?=", "\xef\xbf\xbd中"); /* not over two charsets */
    check_words("=?x-nobody?q?a?= b", "=?x-nobody?q?a?= b");
    check_words("=?utf-8?x?a?= =?utf-8?q?b", "=?utf-8?x?a?= =?utf-8?q?b");
    check_words("=?utf-8?q?a=0D=0ABcc:_x=00?=", "a  Bcc: x ");             /* never a line end */
    check_words("=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=", "=?utf-8?q?x?="); /* decoded once */
    check_words("=?iso-2022-jp*ja?B?GyRCRnxLXBsoQg==?=", "日本");
    check_words("=?iso-8859-1?q?=93x=94?=", "“x”");
    check_words("\xff\xc3\xa4", "\xef\xbf\xbdä");
    check_words("=?*en?q?x?=", "=?*en?q?x?=");
}

static void words_are_linear(void **state)
{
    static const char *const units[] = {"=?utf-8?q?=?utf-8?q?", "=?",
                                        "=?utf-8?q?a?= =?gb2312?q?b?= ", "=?a?b?", " \r\n "};
    struct buf in, out;

    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        buf_init(&in, 4 << 20);
        buf_init(&out, 8 << 20);
        while (in.len < 1 << 18)
            buf_append_str(&in, units[i]);
        assert_int_equal(mime_words_decode(buf_span(&in), &out), BRANT_OK);
        buf_done(&in);
        buf_done(&out);
    }
}

static void encodes_words(void **state)
{
    static const char *const texts[] = {
        "plain",
        "café",
        "=?x",
        "a\r\nBcc: b",
        "\xff",
        "\xc2\x85\xe2\x80\xa8",
        "很长的中文主题很长的中文主题很长的中文主题很长的中文主题很长的中文主题很长的中文主题"};
    struct buf out, back, want;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        buf_init(&out, 4096);
        buf_init(&back, 4096);
        buf_init(&want, 4096);
        assert_int_equal(mime_words_encode(span_str(texts[i]), 9, &out), BRANT_OK);
        for (size_t at = 0, column = 9; at < out.len; at++) {
            column = out.data[at] == '\n' ? 0 : column + 1;
            assert_true(column <= 78 && out.data[at] < 0x80);
            if (out.data[at] == '\r')
                assert_true(at + 2 < out.len && out.data[at + 1] == '\n' && out.data[at + 2] == ' ');
        }
        mime_words_decode(buf_span(&out), &back);
        mime_utf8_repair(span_str(texts[i]), &want);
        for (size_t at = 0; at < want.len; at++)
            if (want.data[at] == '\r' || want.data[at] == '\n')
                want.data[at] = ' ';
        assert_true(span_eq(buf_span(&back), buf_span(&want)));
        buf_done(&out);
        buf_done(&back);
        buf_done(&want);
    }
}

/* The list as text: name|comment|route|local|domain; groups as [name … ]. */
static void check_addresses(const char *raw, const char *want)
{
    struct arena a;
    struct mime_address_list list;
    struct buf out;

    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 16);
    mime_addresses_parse(&a, span_str(raw), 100, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct mime_address *m = &list.items[i];

        if (m->kind == MIME_ADDRESS_GROUP_START)
            buf_printf(&out, "[%.*s ", SPAN_ARG(m->name));
        else if (m->kind == MIME_ADDRESS_GROUP_END)
            buf_printf(&out, "]");
        else
            buf_printf(&out, "%.*s|%.*s|%.*s|%.*s|%.*s;", SPAN_ARG(m->name), SPAN_ARG(m->comment),
                       SPAN_ARG(m->route), SPAN_ARG(m->local), SPAN_ARG(m->domain));
    }
    assert_false(list.truncated);
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
    arena_done(&a);
}

static void reads_addresses(void **state)
{
    (void)state;
    check_addresses("", "");
    check_addresses("a@b", "|||a|b;");
    check_addresses("A. B <a@b>, c@d", "A. B|||a|b;|||c|d;");
    check_addresses("\"A, B\" <\"a b\"@c>", "A, B|||a b|c;");
    check_addresses("a . b @ c . d", "|||a.b|c.d;");
    check_addresses("<@x,@y:a@b> (note)", "|note|@x,@y|a|b;");
    check_addresses("(who) a@b", "|who||a|b;");
    check_addresses("G: a@b, C <c@d>;, e@f", "[G |||a|b;C|||c|d;]|||e|f;");
    check_addresses("G:;", "[G ]");
    check_addresses("G: a@b", "[G |||a|b;]");
    check_addresses("u@[192.0.2.1]", "|||u|[192.0.2.1];");
    check_addresses("<>", "||||;");
    check_addresses("<a@b", "|||a|b;");
    check_addresses("<a@b, c@d", "|||a|b;|||c|d;");
    check_addresses("\"open <a@b>, c", "|||open <a@b>, c|;");
    check_addresses("(open a@b", "");
    check_addresses(",,;;a@b;", "|||a|b;");
    check_addresses("m\xc3\xbcller@b\xc3\xbc.example", "|||m\xc3\xbcller|b\xc3\xbc.example;");
    check_addresses("a@b@c", "|||a@b|c;");
    check_addresses("\"a@b\"@c", "|||a@b|c;");
    check_addresses("x <a@b> y <c@d>", "x y|||c|d;");
}

static void address_bombs_are_bounded(void **state)
{
    static const char *const units[] = {
        ",", ";", "(", "a@b,", "\"", "<", "<@a:", "G:", "(a", "[", "\\", ")", "@"};
    struct buf in;

    (void)state;
    buf_init(&in, 2 << 20);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct arena a;
        struct mime_address_list list;

        buf_reset(&in);
        while (in.len < 1000000)
            buf_append_str(&in, units[i]);
        arena_init(&a, 4 << 20);
        mime_addresses_parse(&a, buf_span(&in), 1000, &list);
        assert_true(list.count <= 1000);
        arena_done(&a);
    }
    buf_done(&in);
}

static void formats_addresses(void **state)
{
    struct mime_address m = {.local = SPAN_LIT("a b\"c"), .domain = SPAN_LIT("d")};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_int_equal(mime_address_format(&m, &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), "\"a b\\\"c\"@d");
    buf_reset(&out);
    m.local = SPAN_LIT("a.b");
    mime_address_format(&m, &out);
    assert_string_equal(buf_cstr(&out), "a.b@d");
    buf_reset(&out);
    m.local = SPAN_LIT("a..b");
    mime_address_format(&m, &out);
    assert_string_equal(buf_cstr(&out), "\"a..b\"@d");
    buf_done(&out);
}

static void reads_message_ids(void **state)
{
    struct span rest = SPAN_LIT("<a@b> (x) < c @ d >\r\n bare, <>"), id;
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 100);
    assert_true(mime_msgid_next(&rest, &scratch, &id));
    assert_true(span_eq_str(id, "a@b"));
    assert_true(mime_msgid_next(&rest, &scratch, &id));
    assert_true(span_eq_str(id, "c@d"));
    assert_true(mime_msgid_next(&rest, &scratch, &id));
    assert_true(span_eq_str(id, "bare"));
    assert_false(mime_msgid_next(&rest, &scratch, &id));
    buf_done(&scratch);
}

static void check_date(const char *raw, int64_t unix_s, int offset_min)
{
    struct mime_date d;

    assert_int_equal(mime_date_parse(span_str(raw), &d), BRANT_OK);
    assert_int_equal(d.unix_s, unix_s);
    assert_int_equal(d.offset_min, offset_min);
}

static void reads_dates(void **state)
{
    static const char *const bad[] = {"",
                                      "Mon",
                                      "23 Nov 2026",
                                      "32 Jan 2026 00:00:00 +0000",
                                      "29 Feb 2026 00:00 Z",
                                      "1 Jan 2026 24:00 Z",
                                      "1 Jan 2026 10:60 Z",
                                      "1 Jan 2026 10:00:61 Z",
                                      "1 Jan 2026 10:00 +0199",
                                      "1 Foo 2026 10:00 Z",
                                      "1 13 2026 10:00 Z",
                                      "1 Jan 99999999999999999999 10:00 Z",
                                      "1 Jan 2026 10: Z",
                                      "1 Jan 2026 10:00 +1",
                                      "1 Jan 2026 10:00 -110:1"};
    struct mime_date d;

    (void)state;
    check_date("Thu, 1 Jan 1970 00:00:00 +0000", 0, 0);
    check_date("Mon, 23 Nov 2026 09:12:16 +0100", 1795421536, 60);
    check_date("29 Feb 2024 23:59:60 -0330", 1709263800, -210);
    check_date("21 Nov 97 09:55:06 GMT", 880106106, 0);
    check_date("(c) Fri (d), 21 Nov 1997 09(comment):55 : 06 -0600", 880127706, -360);
    check_date("Fri Nov 21 09:55:06 1997", 880106106, 0);
    check_date("21-Nov-1997 09:55:06 EST", 880124106, -300);
    check_date("21 Nov 103 09:55 +01:00", 1069404900, 60);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mime_date_parse(span_str(bad[i]), &d), BRANT_ESYNTAX);
    assert_int_equal(mime_date_parse(span_str("1 Jan 2026 00:00 -0000"), &d), BRANT_OK);
    assert_false(d.zone_known);
}

static void writes_dates(void **state)
{
    char text[MIME_DATE_TEXT_MAX];

    (void)state;
    mime_date_format(1795421536, 60, text);
    assert_string_equal(text, "Mon, 23 Nov 2026 09:12:16 +0100");
    mime_date_format(0, -210, text);
    assert_string_equal(text, "Wed, 31 Dec 1969 20:30:00 -0330");
    for (int64_t t = -2000000000; t < 6000000000; t += 86400 * 13 + 12345) {
        struct mime_date d;

        mime_date_format(t, 345, text);
        assert_int_equal(mime_date_parse(span_str(text), &d), BRANT_OK);
        assert_int_equal(d.unix_s, t);
    }
    mime_date_format(INT64_MAX, INT32_MAX, text);
    mime_date_format(INT64_MIN, INT32_MIN, text);
    assert_in_range(strlen(text), 30, 31);
}

static void check_params(const char *raw, const char *want)
{
    struct arena a;
    struct mime_content c;
    struct buf out;

    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 16);
    assert_int_equal(mime_content_parse(&a, span_str(raw), &c), BRANT_OK);
    buf_printf(&out, "%.*s/%.*s", SPAN_ARG(c.type), SPAN_ARG(c.subtype));
    for (size_t i = 0; i < c.count; i++)
        buf_printf(&out, ";%.*s=%.*s", SPAN_ARG(c.params[i].name), SPAN_ARG(c.params[i].value));
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
    arena_done(&a);
}

static void reads_parameters(void **state)
{
    (void)state;
    check_params("text/plain", "text/plain");
    check_params("", "/");
    check_params("Text (c) / Plain (d) ; a = b (e) ; c=\"d\\\"e\"", "Text/Plain;a=b;c=d\"e");
    check_params("a/b; x=1 y=2;; z=my file.txt", "a/b;x=1;y=2;z=my file.txt");
    check_params("attachment; filename*=utf-8''%e4%b8%ad%2Fx; filename=x", "attachment/;filename=中/x");
    check_params("a/b; n*2=c; n*0*=iso-8859-1'de'%e4; n*1*=%62", "a/b;n=äbc");
    check_params("a/b; n*0=a; n*0=x; n*9=b; N*7=c", "a/b;n=acb");
    check_params("a/b; n=1; n=2; N=3", "a/b;n=1");
    check_params("a/b; n=\"=?utf-8?q?=C3=A4?=.txt\"", "a/b;n=ä.txt");
    check_params("a/b; n*=utf-8''%zz%4", "a/b;n=zz4");
    check_params("a/b; n*=x-none''%e4", "a/b;n=\xef\xbf\xbd");
    check_params("a/b; n=\"open", "a/b;n=open");
}

static void parameter_bombs_are_bounded(void **state)
{
    struct buf in;
    struct arena a;
    struct mime_content c;

    (void)state;
    buf_init(&in, 32 << 20);
    buf_append_str(&in, "a/b");
    for (int i = 1000000; i > 0; i--)
        buf_printf(&in, "; n*%d=x", i);
    arena_init(&a, 4 << 20);
    assert_int_equal(mime_content_parse(&a, buf_span(&in), &c), BRANT_OK);
    assert_true(c.truncated);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.params[0].value.len, MIME_PARAMS_MAX);
    arena_reset(&a);
    buf_reset(&in);
    while (in.len < 1 << 20)
        buf_append_str(&in, "; ===; a b ");
    mime_content_parse(&a, buf_span(&in), &c);
    arena_done(&a);
    buf_done(&in);
}

static void reads_received(void **state)
{
    struct mime_received r;
    char ip[IP_TEXT_MAX];

    (void)state;
    mime_received_parse(
        SPAN_LIT("from a.test (b.test [IPv6:2001:db8::1]) by c.test (Postfix) with Some SMTP id 12/3"
                 " for <x@y>; Mon, 23 Nov 2026 09:12:16 +0100"),
        &r);
    assert_true(span_eq_str(r.from, "a.test") && span_eq_str(r.by, "c.test") &&
                span_eq_str(r.with, "Some SMTP"));
    assert_true(span_eq_str(r.id, "12/3") && span_eq_str(r.for_, "x@y") && r.via.len == 0);
    assert_true(span_eq_str(r.from_comment, "(b.test [IPv6:2001:db8::1])"));
    assert_int_equal(ip_format(&r.from_ip, ip), BRANT_OK);
    assert_string_equal(ip, "2001:db8::1");
    assert_true(r.has_date && r.date.offset_min == 60);
    mime_received_parse(SPAN_LIT(""), &r);
    assert_true(!r.has_date && r.from.len == 0);
    mime_received_parse(SPAN_LIT("by x (1.2.3.4) from y"), &r);
    assert_int_equal(r.from_ip.family, IP_NONE);
}

static void headers_cannot_be_injected(void **state)
{
    static const char *const bad[] = {"a\r\nBcc: x", "a\nb",         "a\rb",  "a\r\n b\r\n\r\n c",
                                      "a\r\n ",      "a\r\n \r\n b", "a\x01", "a\x7f",
                                      "a\r\n"};
    static const char *const any[] = {
        "a\r\nBcc: x",
        "\r\n\r\nbody",
        "\xc2\x85 x",
        "\xe2\x80\xa8",
        "",
        " ",
        "\n",
        "a very long plain text that has to be folded somewhere because it goes on and on and on and on",
        "=?utf-8?q?=0D=0ABcc:_x?="};
    struct buf out;

    (void)state;
    buf_init(&out, 65536);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mime_header_put(&out, "X", span_str(bad[i])), BRANT_ESYNTAX);
    assert_int_equal(mime_header_put(&out, "X", SPAN_LIT("a\0b")), BRANT_ESYNTAX);
    assert_int_equal(mime_header_put(&out, "X:", SPAN_LIT("a")), BRANT_ESYNTAX);
    assert_int_equal(mime_header_put(&out, "", SPAN_LIT("a")), BRANT_ESYNTAX);
    assert_int_equal(mime_header_put_mailbox(&out, "X", SPAN_LIT("n"), SPAN_LIT("a@b>\r\nBcc: x")),
                     BRANT_ESYNTAX);
    assert_int_equal(out.len, 0);
    assert_int_equal(mime_header_put(&out, "X", SPAN_LIT("a\r\n\tb")), BRANT_OK);
    assert_string_equal(buf_cstr(&out), "X: a\r\n\tb\r\n");
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++) {
        for (int how = 0; how < 2; how++) {
            struct mime_raw_field f;
            struct span rest;

            buf_reset(&out);
            if (how)
                assert_int_equal(mime_header_put_text(&out, "Subject", span_str(any[i])), BRANT_OK);
            else
                assert_int_equal(mime_header_put_mailbox(&out, "Subject", span_str(any[i]), SPAN_LIT("a@b")),
                                 BRANT_OK);
            rest = buf_span(&out);
            assert_true(mime_raw_field_next(&rest, &f));
            assert_true(span_eq_str(f.name, "Subject"));
            assert_int_equal(f.all.len, out.len);
        }
    }
    buf_done(&out);
    buf_init(&out, 8);
    assert_int_equal(mime_header_put(&out, "X", SPAN_LIT("abcdefgh")), BRANT_ELIMIT);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void walks_raw_fields(void **state)
{
    struct span rest = SPAN_LIT("A: 1\r\nB:\r\n 2\r\n\tx\r\nbad\r\nC : 3\n\nbody");
    struct mime_raw_field f;

    (void)state;
    assert_true(mime_raw_field_next(&rest, &f));
    assert_true(span_eq_str(f.name, "A") && span_eq_str(f.value, " 1") && span_eq_str(f.all, "A: 1\r\n"));
    assert_true(mime_raw_field_next(&rest, &f));
    assert_true(span_eq_str(f.name, "B") && span_eq_str(f.value, "\r\n 2\r\n\tx"));
    assert_true(mime_raw_field_next(&rest, &f));
    assert_true(f.name.len == 0 && span_eq_str(f.all, "bad\r\n"));
    assert_true(mime_raw_field_next(&rest, &f));
    assert_true(span_eq_str(f.name, "C") && span_eq_str(f.value, " 3"));
    assert_false(mime_raw_field_next(&rest, &f));
    assert_true(span_eq_str(rest, "body"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_words),
        cmocka_unit_test(words_are_linear),
        cmocka_unit_test(encodes_words),
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(address_bombs_are_bounded),
        cmocka_unit_test(formats_addresses),
        cmocka_unit_test(reads_message_ids),
        cmocka_unit_test(reads_dates),
        cmocka_unit_test(writes_dates),
        cmocka_unit_test(reads_parameters),
        cmocka_unit_test(parameter_bombs_are_bounded),
        cmocka_unit_test(reads_received),
        cmocka_unit_test(headers_cannot_be_injected),
        cmocka_unit_test(walks_raw_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
