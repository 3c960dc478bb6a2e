/* Parameters, xtext, replies, trace fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "smtp/param.h"
#include "smtp/received.h"

static void test_params(void **state)
{
    struct span text = SPAN_LIT(" SIZE=10  BODY=8BITMIME SMTPUTF8");
    struct smtp_param p;

    (void)state;
    assert_int_equal(smtp_param_check(text), BRANT_OK);
    assert_int_equal(smtp_param_next(&text, &p), BRANT_OK);
    assert_true(span_eq_str(p.keyword, "SIZE") && span_eq_str(p.value, "10") && p.has_value);
    assert_int_equal(smtp_param_next(&text, &p), BRANT_OK);
    assert_true(span_eq_str(p.keyword, "BODY") && span_eq_str(p.value, "8BITMIME"));
    assert_int_equal(smtp_param_next(&text, &p), BRANT_OK);
    assert_true(span_eq_str(p.keyword, "SMTPUTF8") && !p.has_value);
    assert_int_equal(smtp_param_next(&text, &p), BRANT_ENOTFOUND);
}

static void test_params_refused(void **state)
{
    static const char *const bad[] = {" =x",  " A=",    " A==b", " A=b=c",  " A=b\tc", " -A",           "A",
                                      " A,B", " A a A", " a A",  " A=\x7f", " A=\xc3", " SIZE=1 size=2"};
    char many[256] = "";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(smtp_param_check(span_str(bad[i])), BRANT_ESYNTAX);
    for (int i = 0; i < 33; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), " X%d", i);
    assert_int_equal(smtp_param_check(span_str(many)), BRANT_ELIMIT);
    assert_int_equal(smtp_param_check(SPAN_LIT("")), BRANT_OK);
}

/* Every byte, raw and coded, in keyword, value and xtext. */
static void test_every_byte(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t keyword[] = {' ', 'A', (uint8_t)c, 'B'};
        uint8_t value[] = {' ', 'A', '=', 'x', (uint8_t)c, 'y'};
        char coded[8];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        _cleanup_buf_ struct buf out;

        buf_init(&out, 16);
        assert_int_equal(smtp_param_check(span_make(keyword, 4)) == BRANT_OK,
                         alnum || c == '-' || c == '=' || c == ' ');
        assert_int_equal(smtp_param_check(span_make(value, 6)) == BRANT_OK,
                         c >= 0x20 && c < 0x7f && c != '=');
        assert_int_equal(smtp_xtext_decode(span_make(value + 4, 1), &out) == BRANT_OK,
                         c > 0x20 && c < 0x7f && c != '=' && c != '+');
        buf_reset(&out);
        snprintf(coded, sizeof coded, "+%02X", c);
        assert_int_equal(smtp_xtext_decode(span_str(coded), &out) == BRANT_OK, c >= 0x20 && c < 0x7f);
        assert_int_equal(out.len, c >= 0x20 && c < 0x7f);
    }
}

static void test_xtext(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 8);
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("a+2Bb+3D"), &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), "a+b=");
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("a+2"), &out), BRANT_ESYNTAX);
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("a+"), &out), BRANT_ESYNTAX);
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("+2b"), &out), BRANT_ESYNTAX); /* capitals only */
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("+00"), &out), BRANT_ESYNTAX);
    assert_int_equal(smtp_xtext_decode(SPAN_LIT("12345"), &out), BRANT_ELIMIT);
    assert_string_equal(buf_cstr(&out), "a+b=");
}

static const char *reply(uint16_t code, const char *text, bool enhanced)
{
    static struct buf out;
    struct smtp_reply r = {code, 1, 1, text};

    buf_done(&out);
    buf_init(&out, 8192);
    assert_int_equal(smtp_reply_append(&out, &r, enhanced), BRANT_OK);
    return buf_cstr(&out);
}

static void test_reply(void **state)
{
    char text[4001];
    const char *got;
    size_t lines = 0;

    (void)state;
    assert_string_equal(reply(550, "no", false), "550 no\r\n");
    assert_string_equal(reply(550, "no", true), "550 5.1.1 no\r\n");
    assert_string_equal(reply(354, "go", true), "354 go\r\n");
    assert_string_equal(reply(550, "a\nb\n", true), "550-5.1.1 a\r\n550 5.1.1 b\r\n");
    assert_string_equal(reply(250, NULL, true), "250 2.1.1 \r\n");
    /* nothing in a text makes a line of its own */
    assert_string_equal(reply(550, "a\r\n250 ok\xc2\x85", true), "550-5.1.1 a?\r\n550 5.1.1 250 ok??\r\n");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    got = reply(550, text, true);
    for (const char *end; (end = strstr(got, "\r\n")); got = end + 2, lines++)
        assert_true(end + 2 - got <= SMTP_REPLY_LINE_MAX);
    assert_int_equal(lines, 5); /* SMTP_REPLY_BYTES_MAX in lines of SMTP_REPLY_TEXT_MAX */
}

static void test_reply_many_lines(void **state)
{
    char text[3000];
    const char *got;
    size_t lines = 0;

    (void)state;
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    got = reply(550, text, true);
    for (; lines < SMTP_REPLY_LINES_MAX - 1; lines++, got += strlen("550-5.1.1 \r\n"))
        assert_memory_equal(got, "550-5.1.1 \r\n", strlen("550-5.1.1 \r\n"));
    assert_string_equal(got, "550 5.1.1 \r\n");
}

static void test_reply_full(void **state)
{
    struct smtp_reply r = {550, 1, 1, "a\nb"};
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 20);
    buf_append_str(&out, "x");
    assert_int_equal(smtp_reply_append(&out, &r, true), BRANT_ELIMIT);
    assert_string_equal(buf_cstr(&out), "x");
}

static void test_date(void **state)
{
    static const struct {
        int64_t time;
        const char *text;
    } cases[] = {
        {0, "Thu, 1 Jan 1970 00:00:00 +0000"},           {-1, "Wed, 31 Dec 1969 23:59:59 +0000"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},  {1709164799, "Wed, 28 Feb 2024 23:59:59 +0000"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 +0000"}, {2147483648, "Tue, 19 Jan 2038 03:14:08 +0000"},
        {4107542400, "Mon, 1 Mar 2100 00:00:00 +0000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _cleanup_buf_ struct buf out;

        buf_init(&out, 100);
        assert_int_equal(smtp_date_compose(cases[i].time, &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), cases[i].text);
    }
}

static const char *received(const struct smtp_received *r)
{
    static struct buf out;

    buf_done(&out);
    buf_init(&out, SMTP_RECEIVED_BYTES_MAX);
    assert_int_equal(smtp_received_compose(r, &out), BRANT_OK);
    return buf_cstr(&out);
}

static void test_received(void **state)
{
    struct smtp_received r = {.helo = SPAN_LIT("client.example"),
                              .hostname = "mx.brant.test",
                              .extended = true,
                              .id = SPAN_LIT("4f2a"),
                              .recipient = SPAN_LIT("alice@brant.test")};

    (void)state;
    assert_int_equal(ip_parse(SPAN_LIT("2001:db8::1"), &r.client), BRANT_OK);
    r.rdns = SPAN_LIT("host.example");
    assert_string_equal(received(&r), "Received: from client.example (host.example [IPv6:2001:db8::1])\r\n"
                                      "\tby mx.brant.test with ESMTP id 4f2a\r\n"
                                      "\tfor <alice@brant.test>;\r\n"
                                      "\tThu, 1 Jan 1970 00:00:00 +0000\r\n");
    r.tls = r.authenticated = r.smtputf8 = true;
    r.rdns = r.recipient = SPAN_NONE;
    assert_int_equal(ip_parse(SPAN_LIT("192.0.2.1"), &r.client), BRANT_OK);
    assert_string_equal(received(&r), "Received: from client.example ([192.0.2.1])\r\n"
                                      "\tby mx.brant.test with UTF8SMTPSA id 4f2a;\r\n"
                                      "\tThu, 1 Jan 1970 00:00:00 +0000\r\n");
    r = (struct smtp_received){.hostname = "h", .lmtp = true, .id = SPAN_LIT("1")};
    assert_string_equal(received(&r), "Received: from localhost\r\n\tby h with LMTP id 1;\r\n"
                                      "\tThu, 1 Jan 1970 00:00:00 +0000\r\n");
}

/* RFC 3848 and RFC 6531 4.3, every word of them. */
static void test_received_with(void **state)
{
    static const struct {
        const char *word;
        bool lmtp, extended, tls, authenticated, smtputf8;
    } words[] = {
        {"SMTP", 0, 0, 0, 0, 0},       {"ESMTP", 0, 1, 0, 0, 0},      {"ESMTPA", 0, 1, 0, 1, 0},
        {"ESMTPS", 0, 1, 1, 0, 0},     {"ESMTPSA", 0, 1, 1, 1, 0},    {"LMTP", 1, 1, 0, 0, 0},
        {"LMTPA", 1, 1, 0, 1, 0},      {"LMTPS", 1, 1, 1, 0, 0},      {"LMTPSA", 1, 1, 1, 1, 0},
        {"UTF8SMTP", 0, 1, 0, 0, 1},   {"UTF8SMTPA", 0, 1, 0, 1, 1},  {"UTF8SMTPS", 0, 1, 1, 0, 1},
        {"UTF8LMTP", 1, 1, 0, 0, 1},   {"UTF8LMTPA", 1, 1, 0, 1, 1},  {"UTF8LMTPS", 1, 1, 1, 0, 1},
        {"UTF8SMTPSA", 0, 1, 1, 1, 1}, {"UTF8LMTPSA", 1, 1, 1, 1, 1}, {"SMTP", 0, 0, 1, 0, 0},
    };
    char expect[64];

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct smtp_received r = {.hostname = "h",
                                  .lmtp = words[i].lmtp,
                                  .extended = words[i].extended,
                                  .tls = words[i].tls,
                                  .authenticated = words[i].authenticated,
                                  .smtputf8 = words[i].smtputf8,
                                  .id = SPAN_LIT("1")};

        snprintf(expect, sizeof expect, "\tby h with %s id 1;", words[i].word);
        assert_non_null(strstr(received(&r), expect));
    }
}

static void test_received_tls(void **state)
{
    struct smtp_received r = {.hostname = "h",
                              .extended = true,
                              .tls = true,
                              .tls_text = SPAN_LIT("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                              .id = SPAN_LIT("1")};

    (void)state;
    assert_string_equal(received(&r), "Received: from localhost\r\n"
                                      "\tby h with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
                                      "\tid 1;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n");
    r.tls_text = SPAN_LIT("x) (y\r\n z");
    assert_non_null(strstr(received(&r), " with ESMTPS (x? ?y???z)\r\n\tid 1;"));
    r.tls = false;
    assert_non_null(strstr(received(&r), " with ESMTP id 1;"));
}

/* Whatever the peer says, the field stays one field: a CRLF is always followed by a tab, except the last. */
static void test_received_injection(void **state)
{
    static const char evil[] = "x) \r\nBcc: y\r\n\r\n;(\\\"\x85\xe2\x80\xa8<@>,=\t\n";
    char longest[600];
    struct smtp_received r = {.hostname = "mx.brant.test",
                              .helo = span_str(evil),
                              .rdns = span_str(evil),
                              .id = span_str(evil),
                              .recipient = span_str(evil)};
    const char *text;

    (void)state;
    assert_int_equal(ip_parse(SPAN_LIT("192.0.2.1"), &r.client), BRANT_OK);
    text = received(&r);
    for (const char *p = text; (p = strstr(p, "\r\n")); p += 2)
        assert_true(p[2] == '\t' || p[2] == '\0');
    assert_int_equal(strcspn(text, "\x85\xe2\\\"<"), strlen(text));
    for (const char *p = text; *p; p++)
        assert_true(*p != '\n' || p[-1] == '\r');
    assert_non_null(strstr(text, "from unknown (HELO x????"));

    memset(longest, '(', sizeof longest);
    r.helo = r.rdns = r.id = span_make(longest, sizeof longest);
    text = received(&r);
    assert_true(strlen(text) < SMTP_RECEIVED_BYTES_MAX);
}

static void test_return_path(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 64);
    assert_int_equal(smtp_return_path_compose(SPAN_LIT("a@b"), &out), BRANT_OK);
    assert_int_equal(smtp_return_path_compose(SPAN_NONE, &out), BRANT_OK);
    assert_int_equal(smtp_return_path_compose(SPAN_LIT("a@b>\r\nX: y"), &out), BRANT_ESYNTAX);
    assert_string_equal(buf_cstr(&out), "Return-Path: <a@b>\r\nReturn-Path: <>\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),        cmocka_unit_test(test_params_refused),
        cmocka_unit_test(test_every_byte),    cmocka_unit_test(test_xtext),
        cmocka_unit_test(test_reply),         cmocka_unit_test(test_reply_many_lines),
        cmocka_unit_test(test_reply_full),    cmocka_unit_test(test_date),
        cmocka_unit_test(test_received),      cmocka_unit_test(test_received_injection),
        cmocka_unit_test(test_received_with), cmocka_unit_test(test_received_tls),
        cmocka_unit_test(test_return_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
