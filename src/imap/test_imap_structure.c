#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "imap/bodystructure.h"
#include "imap/envelope.h"
#include "imap/parameter.h"
#include "imap/section.h"
#include "mime/parser.h"

/* A message as the store hands it back: its structure encoded and decoded. */
struct message {
    struct span text;
    struct arena arena;
    struct buf blob;
    struct mime_structure s;
};

static struct message message_of(const char *text)
{
    struct message m = {.text = span_str(text)};
    struct mime_parser *p = mime_parser_new(NULL);

    arena_init(&m.arena, 1 << 20);
    buf_init(&m.blob, 1 << 20);
    mime_parser_feed(p, m.text);
    mime_parser_finish(p);
    assert_int_equal(mime_structure_encode(mime_parser_structure(p), 65536, &m.blob), BRANT_OK);
    mime_parser_free(p);
    assert_int_equal(mime_structure_decode(buf_span(&m.blob), &m.arena, &m.s), BRANT_OK);
    return m;
}

static void message_done(struct message *m)
{
    arena_done(&m->arena);
    buf_done(&m->blob);
}

static void check_body(const char *text, bool extended, const char *expect)
{
    struct message m = message_of(text);
    struct buf out;

    buf_init(&out, 1 << 20);
    imap_bodystructure_put(&out, &m.s, extended, false);
    assert_string_equal(buf_cstr(&out), expect);
    buf_done(&out);
    message_done(&m);
}

static void check_envelope(const char *text, const char *expect)
{
    struct message m = message_of(text);
    struct buf out;

    buf_init(&out, 1 << 20);
    imap_envelope_put(&out, &m.s.parts[0], false);
    assert_string_equal(buf_cstr(&out), expect);
    buf_done(&out);
    message_done(&m);
}

static void test_envelope(void **state)
{
    (void)state;
    /* RFC 3501 8 */
    check_envelope("Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
                   "Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
                   "From: Terry Gray <gray@cac.washington.edu>\r\n"
                   "To: imap@cac.washington.edu\r\n"
                   "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
                   "Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\nx\r\n",
                   "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
                   "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                   "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                   "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                   "((NIL NIL \"imap\" \"cac.washington.edu\")) "
                   "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
                   "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
                   "\"<B27397-0100000@cac.washington.edu>\")");
    check_envelope("\r\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    check_envelope(
        "Subject:\r\nTo: ,\r\nFrom: root\r\nReply-To:\r\nSender: x@y\r\nBcc: a@b\r\nBcc: c@d\r\n\r\n",
        "(NIL \"\" ((NIL NIL \"root\" \"\")) ((NIL NIL \"x\" \"y\")) ((NIL NIL \"root\" \"\")) "
        "NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL)");
    check_envelope("To: friends: a@b, \"C \\\"D\" <c@d>;, <@x,@y:e@f> (old name)\r\nSubject: \xe4\r\n\r\n",
                   "(NIL {1}\r\n\xe4 NIL NIL NIL ((NIL NIL \"friends\" NIL)(NIL NIL \"a\" \"b\")"
                   "(\"C \\\"D\" NIL \"c\" \"d\")(NIL NIL NIL NIL)(\"old name\" \"@x,@y\" \"e\" \"f\")) "
                   "NIL NIL NIL NIL)");
    check_envelope("Subject: =?utf-8?q?x?=\r\n =?utf-8?q?y?=\r\nIn-Reply-To: <a>\r\n <b>\r\n\r\n",
                   "(NIL \"=?utf-8?q?x?= =?utf-8?q?y?=\" NIL NIL NIL NIL NIL NIL \"<a> <b>\" NIL)");
}

static void test_body(void **state)
{
    (void)state;
    check_body("\r\nhello\r\n", false,
               "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1)");
    check_body(
        "Content-Type: TEXT/x-MYOWN; Charset=us-ascii\r\nContent-Transfer-Encoding: BASE64 (x)\r\n"
        "Content-ID: <i>\r\nContent-Description: d\r\nContent-MD5: m\r\nContent-Language: en, de\r\n"
        "Content-Location: l\r\nContent-Disposition: attachment; filename=\"a b\"; size=3\r\n\r\nhello",
        true,
        "(\"TEXT\" \"x-MYOWN\" (\"Charset\" \"us-ascii\") \"<i>\" \"d\" \"BASE64\" 5 0 \"m\" "
        "(\"attachment\" (\"filename\" \"a b\" \"size\" \"3\")) (\"en\" \"de\") \"l\")");
    check_body("Content-Type: image/png\r\n\r\n....", true,
               "(\"image\" \"png\" NIL NIL NIL \"7bit\" 4 NIL NIL NIL NIL)");
    check_body("Content-Type: image\r\n\r\n....", false,
               "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 0)");
    /* not taken apart */
    check_body("Content-Type: multipart/mixed\r\n\r\nx", false,
               "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 1)");
    check_body("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nx", false,
               "(\"application\" \"octet-stream\" NIL NIL NIL \"base64\" 1)");
    /* nothing in it */
    check_body("Content-Type: multipart/mixed; boundary=b\r\n\r\nx", true,
               "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) "
               "\"mixed\" (\"boundary\" \"b\") NIL NIL NIL)");
    check_body(
        "Content-Type: multipart/mixed; boundary=\"foo\r\n bar\"\r\n\r\n"
        "--foo bar\r\nContent-Type: text/x-myown; charset=us-ascii\r\n\r\nhello\r\n\r\n--foo bar--\r\n",
        false, "((\"text\" \"x-myown\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1) \"mixed\")");
}

static const char nested[] = "From: a@b\r\n"
                             "Content-Type: multipart/mixed; boundary=x\r\n"
                             "\r\n"
                             "--x\r\n"
                             "\r\n"
                             "one\r\n"
                             "--x\r\n"
                             "Content-Type: message/rfc822\r\n"
                             "\r\n"
                             "Subject: in\r\n"
                             "Content-Type: multipart/alternative; boundary=y\r\n"
                             "\r\n"
                             "--y\r\n"
                             "Content-Type: text/html\r\n"
                             "\r\n"
                             "<p>\r\n"
                             "--y\r\n"
                             "\r\n"
                             "two\r\n"
                             "--y--\r\n"
                             "--x\r\n"
                             "Content-Type: message/rfc822\r\n"
                             "\r\n"
                             "Subject: single\r\n"
                             "\r\n"
                             "three\r\n"
                             "--x--\r\n";

static void test_body_nested(void **state)
{
    (void)state;
    check_body(nested, false,
               "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0)"
               "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 118 "
               "(NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
               "((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0)"
               "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0) \"alternative\") 10)"
               "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 24 "
               "(NIL \"single\" NIL NIL NIL NIL NIL NIL NIL NIL) "
               "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0) 2) \"mixed\")");
}

static void check_parameters(const char *text, const char *expect)
{
    struct mime_lex lex = mime_lex_start(span_str(text));
    struct imap_parameters params;
    struct arena a;
    struct buf out;

    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 16);
    imap_parameters_parse(&lex, &a, &params);
    for (size_t i = 0; i < params.count; i++) {
        buf_append(&out, params.items[i].name);
        buf_append_byte(&out, '=');
        buf_append(&out, params.items[i].value);
        buf_append_byte(&out, '|');
    }
    assert_string_equal(buf_cstr(&out), expect);
    buf_done(&out);
    arena_done(&a);
}

static void test_parameters(void **state)
{
    (void)state;
    check_parameters("", "");
    check_parameters("; a=b; C=\"d;\\\"e\" ;f= g (c) ; h", "a=b|C=d;\"e|f=g|");
    check_parameters("; charset=utf-8 format=flowed; name=a b.txt",
                     "charset=utf-8|format=flowed|name=a b.txt|");
    check_parameters("; name*=utf-8''%e4", "name*=utf-8''%e4|");
    check_parameters("; n*1*=%20c; x=y; n*0=\"a b\"; N*2=d", "x=y|n*=a%20b%20cd|");
    check_parameters("; n*0=a; n*1=b", "n=ab|");
    check_parameters("; n*0=a; n*2*=b", "n*0=a|n*2*=b|");
    check_parameters("; a*b=c; *=d; =e; f==?g?=", "a*b=c|*=d|f==?g?=|");
    check_parameters(";;; = ; \"x\"=y;", "\"x\"=y|");
}

/* ---- sections ---- */

static void check_section(const char *said, const char *put)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_section section;
    struct buf out;

    arena_init(&a, 1 << 16);
    buf_init(&out, 4096);
    lex = imap_lex_start(span_str(said), &a);
    assert_int_equal(imap_section_parse(&lex, false, &section), put != NULL);
    if (put) {
        imap_section_put(&out, &section);
        assert_string_equal(buf_cstr(&out), put);
        assert_true(out.len <= imap_section_put_max(&section));
    }
    buf_done(&out);
    arena_done(&a);
}

static void test_section_names(void **state)
{
    (void)state;
    check_section("[]", "[]");
    check_section("[text]", "[TEXT]");
    check_section("[Header]<", "[HEADER]");
    check_section("[1.20.3]", "[1.20.3]");
    check_section("[1.mime]", "[1.MIME]");
    check_section("[4.2.text]", "[4.2.TEXT]");
    check_section("[HEADER.FIELDS (from \"To\")]", "[HEADER.FIELDS (from To)]");
    check_section("[1.HEADER.FIELDS.NOT ({3}\r\nx y)]", "[1.HEADER.FIELDS.NOT (\"x y\")]");
    check_section("[mime]", NULL);
    check_section("[1.]", NULL);
    check_section("[.1]", NULL);
    check_section("[0]", NULL);
    check_section("[1.0]", NULL);
    check_section("[1..2]", NULL);
    check_section("[4294967296]", NULL);
    check_section("[HEADER.FIELDS]", NULL);
    check_section("[HEADER.FIELDS ()]", NULL);
    check_section("[HEADER.FIELDS (\"\")]", NULL);
    check_section("[HEADER.FIELDS (a b]", NULL);
    check_section("[foo]", NULL);
    check_section("[1", NULL);
}

static void check_extent(const struct message *m, const char *said, const char *expect)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_section section;
    struct imap_extent extent;
    const struct mime_part *part;

    arena_init(&a, 1 << 16);
    lex = imap_lex_start(span_str(said), &a);
    assert_true(imap_section_parse(&lex, false, &section));
    assert_int_equal(imap_section_find(&m->s, &section, &extent, &part), expect != NULL);
    if (expect) {
        struct span got = span_sub(m->text, extent.start, extent.end - extent.start);

        assert_int_equal(got.len, strlen(expect));
        assert_memory_equal(got.p, expect, got.len);
        assert_int_equal(part != NULL, section.path_len > 0);
    }
    arena_done(&a);
}

static void test_sections(void **state)
{
    struct message m = message_of(nested);

    (void)state;
    check_extent(&m, "[]", nested);
    check_extent(&m, "[HEADER]", "From: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n");
    check_extent(&m, "[TEXT]", strstr(nested, "--x"));
    check_extent(&m, "[1]", "one");
    check_extent(&m, "[1.MIME]", "\r\n");
    check_extent(&m, "[1.1]", NULL);
    check_extent(&m, "[1.HEADER]", NULL);
    check_extent(&m, "[2.MIME]", "Content-Type: message/rfc822\r\n\r\n");
    check_extent(&m, "[2.HEADER]", "Subject: in\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n");
    check_extent(&m, "[2.HEADER.FIELDS (x)]",
                 "Subject: in\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n");
    check_extent(&m, "[2.1]", "<p>");
    check_extent(&m, "[2.2]", "two");
    check_extent(&m, "[2.2.MIME]", "\r\n");
    check_extent(&m, "[2.3]", NULL);
    check_extent(&m, "[3]", "Subject: single\r\n\r\nthree");
    check_extent(&m, "[3.TEXT]", "three");
    check_extent(&m, "[3.1]", "three");
    check_extent(&m, "[3.1.MIME]", "Subject: single\r\n\r\n");
    check_extent(&m, "[3.2]", NULL);
    check_extent(&m, "[4]", NULL);
    message_done(&m);
    m = message_of("A: b\r\n\r\nbody");
    check_extent(&m, "[1]", "body");
    check_extent(&m, "[1.MIME]", "A: b\r\n\r\n");
    check_extent(&m, "[1.1]", NULL);
    check_extent(&m, "[1.TEXT]", NULL);
    check_extent(&m, "[2]", NULL);
    message_done(&m);
    m = message_of("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nbody");
    check_extent(&m, "[1]", "A: b\r\n\r\nbody");
    check_extent(&m, "[1.1]", "body");
    check_extent(&m, "[1.TEXT]", "body");
    check_extent(&m, "[1.HEADER]", "A: b\r\n\r\n");
    message_done(&m);
    m = message_of("Content-Type: multipart/mixed; boundary=b\r\n\r\nx");
    check_extent(&m, "[1]", "");
    check_extent(&m, "[1.MIME]", "");
    check_extent(&m, "[1.1]", NULL);
    check_extent(&m, "[2]", NULL);
    message_done(&m);
}

static void test_shift(void **state)
{
    struct message m = message_of(nested);
    struct buf longer;

    (void)state;
    buf_init(&longer, 10000);
    buf_append_str(&longer, "Received: x\r\n");
    buf_append(&longer, m.text);
    buf_cstr(&longer);
    m.text = buf_span(&longer);
    assert_false(imap_structure_shift(&m.s, m.s.size - 1));
    assert_true(imap_structure_shift(&m.s, m.text.len));
    check_extent(&m, "[HEADER]",
                 "Received: x\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n");
    check_extent(&m, "[TEXT]", strstr(nested, "--x"));
    check_extent(&m, "[1.MIME]", "\r\n");
    check_extent(&m, "[2.2]", "two");
    check_extent(&m, "[]", (const char *)longer.data);
    buf_done(&longer);
    message_done(&m);
}

static void check_fields(const char *said, const char *header, const char *expect)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_section section;
    struct span in = span_str(header);

    arena_init(&a, 1 << 16);
    lex = imap_lex_start(span_str(said), &a);
    assert_true(imap_section_parse(&lex, false, &section));
    for (size_t cut = 0; cut <= in.len; cut++) {
        for (size_t step = 1; step <= in.len + 2; step += in.len + 1) {
            struct imap_fields f;
            struct buf out;

            buf_init(&out, in.len);
            imap_fields_init(&f, &section);
            assert_int_equal(imap_fields_feed(&f, span_sub(in, 0, cut), &out), BRANT_OK);
            for (size_t at = cut; at < in.len; at += step)
                assert_int_equal(imap_fields_feed(&f, span_sub(in, at, step), &out), BRANT_OK);
            assert_int_equal(imap_fields_finish(&f, &out), BRANT_OK);
            assert_string_equal(buf_cstr(&out), expect);
            imap_fields_done(&f);
            buf_done(&out);
        }
    }
    arena_done(&a);
}

static void test_fields(void **state)
{
    static const char header[] = "From: a\r\nTo : b\r\n c\r\nX: d\r\nbad line\r\n more\r\nFROM: e\r\n\r\n";
    char name[IMAP_FIELD_NAME_MAX * 2 + 20];

    (void)state;
    check_fields("[HEADER.FIELDS (from)]", header, "From: a\r\nFROM: e\r\n\r\n");
    check_fields("[HEADER.FIELDS (to x)]", header, "To : b\r\n c\r\nX: d\r\n\r\n");
    check_fields("[HEADER.FIELDS (y)]", header, "\r\n");
    check_fields("[HEADER.FIELDS.NOT (from x)]", header, "To : b\r\n c\r\nbad line\r\n more\r\n\r\n");
    check_fields("[HEADER.FIELDS.NOT (y)]", header, header);
    check_fields("[HEADER.FIELDS (a)]", "A: b", "A: b");
    check_fields("[HEADER.FIELDS (a)]", "A", "");
    check_fields("[HEADER.FIELDS (a)]", "B: c\nA: b\n\n", "A: b\n\n");
    check_fields("[HEADER.FIELDS (a)]", "", "");
    memset(name, 'x', sizeof name);
    memcpy(name + sizeof name - 15, ": y\r\nA: b\r\n\r\n", 14);
    check_fields("[HEADER.FIELDS (a)]", name, "A: b\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope),      cmocka_unit_test(test_body),
        cmocka_unit_test(test_body_nested),   cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_section_names), cmocka_unit_test(test_sections),
        cmocka_unit_test(test_shift),         cmocka_unit_test(test_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
