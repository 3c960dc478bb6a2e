/* Ways to have one address checked and another one shown: the families of "Composition Kills" (Chen, Paxson,
 * Jiang; 2020) and of Mailsploit (2017), and their relatives. The account is alice@brant.test;
 * admin@bank.test is somebody else. Every one is refused, in every spelling, order and folding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/ascii.h"
#include "base/err.h"
#include "msa/header.h"
#include "msa/testing.h"

#define OWN      "alice@brant.test"
#define EVIL     "admin@bank.test"
#define EVIL_B64 "=?utf-8?B?PGFkbWluQGJhbmsudGVzdD4=?=" /* <admin@bank.test> */
#define EVIL_Q   "=?utf-8?Q?admin=40bank.test?="

static const struct span EVASIONS[] = {
    /* somebody else's address, plainly */
    SPAN_LIT("From: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" EVIL ">\r\nSender: " OWN "\r\n"),
    SPAN_LIT("From: <" EVIL ">\r\nResent-From: " OWN "\r\n"),
    SPAN_LIT("From: alice@brant.test.bank.test\r\n"),
    SPAN_LIT("From: alice@brant.testx\r\n"),
    SPAN_LIT("From: alice@bank.brant.test\r\n"),
    SPAN_LIT("From: alicex@brant.test\r\n"),
    /* several From fields */
    SPAN_LIT("From: <" OWN ">\r\nFrom: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT(" From: <" OWN ">\r\nFrom: <" EVIL ">\r\n"),
    SPAN_LIT("\tFrom: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nFrom : <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nFrom\t: <" EVIL ">\r\n"),
    SPAN_LIT("From : <" EVIL ">\r\n"),
    SPAN_LIT("From\r\n : <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From\r\n : <" OWN ">\r\nSender: <" EVIL ">\r\n"),
    SPAN_LIT("From\r\n : <" OWN ">\r\nResent-From: <" EVIL ">\r\n"),
    SPAN_LIT("From\r\n: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From\0: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From\xc2\xa0: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From\x0b: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("\xef\xbb\xbf"
             "From: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("Fr\xd0\xbem: <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nX: y\rFrom: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nX: y\nFrom: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nX: y\0\r\nFrom: <" EVIL ">\r\n"),
    SPAN_LIT("From <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT("From admin@bank.test Mon Nov 13 09:00:00 2023\r\nFrom: <" OWN ">\r\n"),
    SPAN_LIT(": <" EVIL ">\r\nFrom: <" OWN ">\r\n"),
    /* fields that readers show when From is gone */
    SPAN_LIT("From: <" OWN ">\r\nResent-From: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nResent-Sender: <" EVIL ">\r\n"),
    SPAN_LIT("Resent-From: <" EVIL ">\r\n"),
    SPAN_LIT("From:\r\nSender: <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nResent-From: " EVIL_B64 "\r\n"),
    SPAN_LIT("From: <" OWN ">\r\nSender: <" EVIL ">\r\nSender: <" OWN ">\r\n"),
    /* several addresses */
    SPAN_LIT("From: <" OWN ">, <" EVIL ">\r\n"),
    SPAN_LIT("From: <" EVIL ">, <" OWN ">\r\n"),
    SPAN_LIT("From: " EVIL ",<" OWN ">\r\n"),
    SPAN_LIT("From: " OWN ", " EVIL "\r\nSender: " OWN "\r\n"),
    SPAN_LIT("From: ,<" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">,\r\n"),
    SPAN_LIT("From: <" OWN ">; <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN "> <" EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN "><" EVIL ">\r\n"),
    SPAN_LIT("From: <" EVIL "> " OWN "\r\n"),
    SPAN_LIT("From: " EVIL " " OWN "\r\n"),
    SPAN_LIT("From: " EVIL " <" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN "," EVIL ">\r\n"),
    SPAN_LIT("From: <" OWN ">" EVIL "\r\n"),
    SPAN_LIT("From: <" EVIL ">\\,<" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">\\,<" EVIL ">\r\n"),
    /* routes */
    SPAN_LIT("From: <@brant.test,@any.test:" EVIL ">\r\n"),
    SPAN_LIT("From: <@bank.test:" OWN ">\r\n"),
    SPAN_LIT("From: @bank.test:" OWN "\r\n"),
    SPAN_LIT("From: <" EVIL ":" OWN ">\r\n"),
    SPAN_LIT("From: <" EVIL "," OWN ">\r\n"),
    /* groups */
    SPAN_LIT("From: " EVIL ": <" OWN ">;\r\n"),
    SPAN_LIT("From: team: " OWN ";\r\n"),
    SPAN_LIT("From: undisclosed:;\r\n"),
    SPAN_LIT("From: \"" EVIL "\":" OWN ";\r\n"),
    /* comments */
    SPAN_LIT("From: <" OWN "(>, <" EVIL ")>\r\n"),
    SPAN_LIT("From: alice(@bank.test)@brant.test\r\n"),
    SPAN_LIT("From: (<" EVIL ">) " OWN "\r\n"),
    SPAN_LIT("From: " OWN " (<" EVIL ">)\r\n"),
    SPAN_LIT("From: " OWN " (" EVIL ")\r\n"),
    SPAN_LIT("From: " OWN " (" EVIL_Q ")\r\n"),
    SPAN_LIT("From: " OWN " (a(b)c)\r\n"),
    SPAN_LIT("From: " OWN " (a\\)" EVIL ")\r\n"),
    SPAN_LIT("From: " OWN " (unclosed\r\n"),
    SPAN_LIT("From: " OWN " (a) (b)\r\n"),
    SPAN_LIT("From: Alice (\"<" EVIL ">\") <" OWN ">\r\n"),
    SPAN_LIT("From: <alice@brant.test (" EVIL ")>\r\n"),
    SPAN_LIT("From: <" OWN ">(<" EVIL ">)\r\n"),
    SPAN_LIT("From: <alice@(bank.test)brant.test>\r\n"),
    /* quoting */
    SPAN_LIT("From: \"" EVIL "\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"<" EVIL ">\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"Admin <" EVIL ">\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"a\\\" <" EVIL ">, \\\"b\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"" EVIL "\"@brant.test\r\n"),
    SPAN_LIT("From: \"admin@bank.test> x\"@brant.test\r\n"),
    SPAN_LIT("From: \"alice@brant.test,\"@bank.test\r\n"),
    SPAN_LIT("From: \"alice\\@brant.test\"@brant.test\r\n"),
    SPAN_LIT("From: \"unclosed <" EVIL ">, <" OWN ">\r\n"),
    SPAN_LIT("From: <" OWN ">\"<" EVIL ">\"\r\n"),
    SPAN_LIT("From: \"x\" " EVIL " <" OWN ">\r\n"),
    SPAN_LIT("From: \"\"@brant.test\r\n"),
    SPAN_LIT("From: \"alice \"@brant.test\r\n"),
    SPAN_LIT("From: \"ali\"ce@brant.test\r\n"),
    SPAN_LIT("From: a\\lice@brant.test\r\n"),
    /* encoded words */
    SPAN_LIT("From: " EVIL_B64 ",<" OWN ">\r\n"),
    SPAN_LIT("From: " EVIL_B64 " <" OWN ">\r\n"),
    SPAN_LIT("From: " EVIL_B64 "\r\n"),
    SPAN_LIT("From: " EVIL_Q " <" OWN ">\r\n"),
    SPAN_LIT("From: " EVIL_Q "@brant.test\r\n"),
    SPAN_LIT("From: <" EVIL_Q "@brant.test>\r\n"),
    SPAN_LIT("From: =?utf-8?Q?admin?=@bank.test\r\n"),
    SPAN_LIT("From: \"" EVIL_Q "\" <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?admin=40bank?= =?utf-8?Q?.test?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?admin?= =?utf-8?B?QGJhbms=?= =?utf-8?Q?.test?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?=3D=3Futf-8=3FQ=3Fadmin=3D40bank=2Etest=3F=3D?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-7?Q?admin+AEA-bank.test?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-16?B?AGEAQABiAC4AYw==?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?unknown?Q?admin=40bank.test?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?admin=40bank.test=00?=@brant.test\r\n"),
    SPAN_LIT("From: =?utf-8?Q?admin=40bank.=00test?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?B?YWRtaW5AYmFuay4AdGVzdA==?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?Alice=0D=0ASender:_x?= <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?Q?Alice=0A?= <" OWN ">\r\n"),
    SPAN_LIT(
        "From: "
        "=?utf-8?b?YWRtaW5AYmFuay50ZXN0?==?utf-8?Q?=00?==?utf-8?b?YWRtaW5AYmFuay50ZXN0?=@brant.test\r\n"),
    /* characters that look like others, turn the text or are not seen */
    SPAN_LIT("From: admin\xef\xbc\xa0"
             "bank.test <" OWN ">\r\n"),
    SPAN_LIT("From: admin@\xe2\x80\x8b"
             "bank.test <" OWN ">\r\n"),
    SPAN_LIT("From: \"admin\xe2\x80\x8b@bank.test\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"admin@b\xd0\xb0nk.test\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"admin@bank\xef\xbc\x8e"
             "test\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"\xe2\x80\xae"
             "tset.knab@nimda\" <" OWN ">\r\n"),
    SPAN_LIT("From: =?utf-8?B?4oCudHNldC5rbmFiQG5pbWRh?= <" OWN ">\r\n"),
    SPAN_LIT("From: \"Alice\xc2\x85\" <" OWN ">\r\n"),
    SPAN_LIT("From: \"Alice\xe2\x80\xa8" EVIL "\" <" OWN ">\r\n"),
    SPAN_LIT("From: \xe2\x80\x8b" OWN "\r\n"),
    SPAN_LIT("From: alice@brant\xe3\x80\x82test\r\n"),
    SPAN_LIT("From: alice\xef\xbc\xa0"
             "brant.test\r\n"),
    SPAN_LIT("From: \xc4@<" EVIL "> <" OWN ">\r\n"),
    SPAN_LIT("From: \"\xc4\\\" <" EVIL ">, \xc4\" <" OWN ">\r\n"),
    SPAN_LIT("From: \xc4[<" OWN ">\r\n"),
    SPAN_LIT("From: \xff" OWN "\r\n"),
    /* cut short */
    SPAN_LIT("From: <" OWN ">\0<" EVIL ">\r\n"),
    SPAN_LIT("From: <" EVIL "\0@brant.test>\r\n"),
    SPAN_LIT("From: <" EVIL "\x01@brant.test>\r\n"),
    SPAN_LIT("From: <alice@brant.test\t>\r\n"),
    SPAN_LIT("From: < alice@brant.test>\r\n"),
    SPAN_LIT("From: <alice @brant.test>\r\n"),
    SPAN_LIT("From: alice@ brant.test\r\n"),
    SPAN_LIT("From: alice@brant .test\r\n"),
    SPAN_LIT("From: <alice@brant.test\r\n"),
    SPAN_LIT("From: alice@brant.test>\r\n"),
    SPAN_LIT("From: <<" OWN ">>\r\n"),
    SPAN_LIT("From: <alice@brant.test>>\r\n"),
    SPAN_LIT("From: alice@brant.test.\r\n"),
    SPAN_LIT("From: .alice@brant.test\r\n"),
    SPAN_LIT("From: alice@@brant.test\r\n"),
    SPAN_LIT("From: alice@brant.test@bank.test\r\n"),
    SPAN_LIT("From: admin@bank.test@brant.test\r\n"),
    SPAN_LIT("From: alice@[192.0.2.1]\r\n"),
    SPAN_LIT("From: alice@-brant.test\r\n"),
    SPAN_LIT("From: alice@brant_.test\r\n"),
    SPAN_LIT("From: alice\r\n"),
    SPAN_LIT("From: <alice>\r\n"),
    SPAN_LIT("From: <>\r\n"),
    SPAN_LIT("From:\r\n"),
    SPAN_LIT("From: \r\n"),
    SPAN_LIT("From: Alice\r\n <" EVIL ">\r\n"),
    SPAN_LIT("From: " OWN "\r\n\t" EVIL "\r\n"),
    SPAN_LIT("From: alice@brant.test\r\n .bank.test\r\n"),
    SPAN_LIT("From: mailto:" OWN "\r\n"),
    SPAN_LIT("From: Alice [x] <" OWN ">\r\n"),
    SPAN_LIT("From: Alice = <" OWN ">; x\r\n"),
};

enum { BYTES_MAX = 8192 };

static size_t cases;

static void must_end_as(struct span in, bool smtputf8, int want)
{
    struct msa_facts facts = testing_facts(smtputf8);
    struct msa_header *h = msa_header_new(BYTES_MAX);
    struct msa_verdict v = {.code = 550, .text = ""};
    struct buf out;

    buf_init(&out, MSA_OUTPUT_BYTES_MAX(BYTES_MAX));
    if (testing_run(h, in, SIZE_MAX, &facts, &out, &v) != want)
        fail_msg("%s%.*s-- as\n%s", v.text, SPAN_ARG(in), buf_cstr(&out));
    assert_int_equal(v.code, 550);
    buf_done(&out);
    msa_header_free(h);
    cases++;
}

static void respell(struct buf *b, int spelling)
{
    for (size_t i = 0; i + 5 < b->len; i++) {
        struct span name = span_sub(buf_span(b), i, 4);

        if (span_eq_str(name, "From") && (i == 0 || b->data[i - 1] != ' ' || i == 1))
            for (size_t j = 0; j < 4; j++)
                b->data[i + j] = spelling == 1 || (spelling == 3 && j % 2) ? ascii_upper(b->data[i + j])
                                                                           : ascii_lower(b->data[i + j]);
    }
}

/* 0: as written; 1: nothing behind colons; 2: folded behind colons; 3: folded behind commas and before "<".
 */
static void respace(struct span text, int spacing, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i], next = i + 1 < text.len ? text.p[i + 1] : 0;

        if (spacing == 3 && c == '<' && i && text.p[i - 1] == ' ')
            buf_append_str(out, "\r\n\t");
        buf_append_byte(out, c);
        if (c == ':' && next == ' ' && spacing == 1)
            i++;
        if ((c == ':' && next == ' ' && spacing == 2) || (c == ',' && spacing == 3))
            buf_append_str(out, "\r\n  ");
    }
}

/* In every spelling, folding and place among the other fields. */
static void every_variant(struct span from, int want)
{
    static const char rest[] = "Date: Mon, 13 Nov 2023 09:00:00 +0800\r\nMessage-ID: <1@client.test>\r\n";
    bool at_front = from.p[0] == ' ' || from.p[0] == '\t';
    struct buf text, in;

    buf_init(&text, BYTES_MAX);
    buf_init(&in, BYTES_MAX);
    for (int variant = 0; variant < 64; variant++) {
        bool last = (variant & 16) && !at_front;

        buf_reset(&text);
        buf_reset(&in);
        respace(from, variant / 4 % 4, &text);
        if (variant % 4)
            respell(&text, variant % 4);
        if (last)
            buf_append_str(&in, rest);
        buf_append(&in, buf_span(&text));
        if (!last)
            buf_append_str(&in, rest);
        buf_append_str(&in, "\r\n");
        must_end_as(buf_span(&in), variant & 32, want);
    }
    buf_done(&text);
    buf_done(&in);
}

static void all_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof EVASIONS / sizeof *EVASIONS; i++)
        every_variant(EVASIONS[i], BRANT_EREFUSED);
    assert_true(cases >= 200);
}

/* Names that look strange and hide nothing. */
static void honest_names_pass(void **state)
{
    static const char *const names[] = {
        "",
        "Alice",
        "Alice A. B. Public",
        "\"Alice, Ltd.\"",
        "\"Alice \\\"The\\\" A\"",
        "=?utf-8?Q?Alice=2C_Ltd?=",
        "=?gb2312?B?1tDOxA==?=",
        "=?utf-8?B?5byg5LiJQOWFrOWPuA==?=" /* 张三@公司 */,
        "\"Alice @ Work\"",
        "\"Alice@Work\"",
        "\"@alice\"",
        "\"alice@brant.test\"",
        "\"'alice@brant.test'\"",
        "\"sales@brant.test (by Alice)\"",
        "=?utf-8?Q?alice=40brant.test?=",
        "\xe5\xbc\xa0\xe4\xb8\x89",
        "\"\xe5\xbc\xa0\xe4\xb8\x89\xef\xbc\x88Work\xef\xbc\x89\"",
        "\xd5\xc5\xc8\xfd",
        "A 'B' C!",
        "=?utf-8?Q?=D7=90=E2=80=8F?=",
        "Alice =?utf-8?Q?=C3=A9?= B",
        "=?utf-8?Q?a?= =?utf-8?Q?b?=",
        "\"=?utf-8?Q?a?=\"",
        "=?utf-8?Q?cut",
        "\"\"",
        "\"a <b>\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf from;

        buf_init(&from, BYTES_MAX);
        buf_printf(&from, "From: %s <" OWN ">\r\n", names[i]);
        every_variant(buf_span(&from), BRANT_OK);
        buf_done(&from);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_refused),
        cmocka_unit_test(honest_names_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
