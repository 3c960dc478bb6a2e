/* Submitted header sections: what is repaired and how, what is refused and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/err.h"
#include "msa/field.h"
#include "msa/header.h"
#include "msa/testing.h"

enum { BYTES_MAX = 65536 };

#define ID       "Message-ID: <1@client.test>\r\n"
#define DATE     "Date: Mon, 13 Nov 2023 09:00:00 +0800\r\n"
#define FROM     "From: alice@brant.test\r\n"
#define NEW_ID   "Message-ID: <000102030405060708090a0b0c0d0e0f.1700000000@mx.brant.test>\r\n"
#define NEW_DATE "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"

/* One way through, and the same from the output: nothing changes any more. */
static void check_run(struct span in, size_t step, const struct msa_facts *facts, struct span want,
                      unsigned repairs)
{
    for (int round = 0; round < 2; round++) {
        struct msa_header *h = msa_header_new(BYTES_MAX);
        struct msa_verdict v = {.text = ""};
        struct buf out;
        int rc;

        buf_init(&out, MSA_OUTPUT_BYTES_MAX(BYTES_MAX));
        rc = testing_run(h, round ? want : in, step, facts, &out, &v);
        if (rc || !span_eq(buf_span(&out), want))
            fail_msg("%.*s\n-- %s; round %d gave:\n%s", SPAN_ARG(in), v.text, round, buf_cstr(&out));
        assert_int_equal(msa_header_repairs(h), round ? 0 : repairs);
        buf_done(&out);
        msa_header_free(h);
    }
}

static void becomes_with(const struct msa_facts *facts, const char *in, const char *want, unsigned repairs)
{
    for (size_t step = 1; step < 4; step++)
        check_run(span_str(in), step, facts, span_str(want), repairs);
    check_run(span_str(in), SIZE_MAX, facts, span_str(want), repairs);
}

static void becomes(const char *in, const char *want, unsigned repairs)
{
    struct msa_facts facts = testing_facts(false);

    becomes_with(&facts, in, want, repairs);
}

static void refused_with(const struct msa_facts *facts, struct span in, const char *want)
{
    static const size_t steps[] = {1, 2, 7, SIZE_MAX};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct msa_header *h = msa_header_new(BYTES_MAX);
        struct msa_verdict v = {.text = ""};
        struct buf out;
        char text[600];

        buf_init(&out, MSA_OUTPUT_BYTES_MAX(BYTES_MAX));
        if (testing_run(h, in, steps[i], facts, &out, &v) != BRANT_EREFUSED)
            fail_msg("%.*s\n-- was accepted", SPAN_ARG(in));
        snprintf(text, sizeof text, "%d 5.%d.%d %s", v.code, v.subject, v.detail, v.text);
        assert_string_equal(text, want);
        assert_int_equal(out.len, 0);
        buf_done(&out);
        msa_header_free(h);
    }
}

static void refused(const char *in, const char *want)
{
    struct msa_facts facts = testing_facts(false);

    refused_with(&facts, span_str(in), want);
}

/* --- what stays --- */

static void good_mail_is_left_alone(void **state)
{
    static const char *const messages[] = {
        FROM DATE ID "\r\n",
        "Received: from a by b; Mon, 13 Nov 2023 09:00:00 +0800\r\n"
        "DKIM-Signature: v=1; a=rsa-sha256; d=brant.test;\r\n\tb=abc\r\n"
        "X-Mailer: x\r\nfrom: \"Alice A.\"\r\n <ALICE@Brant.Test>\r\nTO:bob@elsewhere.test\r\nSubject:\r\n a "
        "subject\r\n"
        "date: 13 Nov 23 09:00 EST\r\nMESSAGE-ID:<a@b>\r\nMIME-Version: 1.0\r\nContent-Type: "
        "text/plain\r\n\r\n",
        "From: Alice Q. Public <alice+news@brant.test> (home)\r\n" DATE ID "\r\n",
        "From: sales@brant.test\r\nSender: Alice <alice@brant.test>\r\n" DATE ID "\r\n",
        "From: sales@brant.test, alice@brant.test\r\nSender: alice@brant.test\r\n" DATE ID "\r\n",
        "From: \"a..b\"@brant.test\r\n" DATE ID "\r\n",
        "From: \"alice@brant.test\" <alice@brant.test>\r\n" DATE ID "\r\n",
        "From: \"'alice@brant.test' via sales@brant.test\" <alice@brant.test>\r\n" DATE ID "\r\n",
        "From: =?utf-8?B?54ix5Li95Lid?= <alice@brant.test>\r\n" DATE ID "\r\n",
        "From: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= <alice@brant.test>\r\n" DATE ID "\r\n",
        FROM DATE ID "To:\r\nCc: a@b.test,\r\n\tc@d.test\r\nReply-To: x@y.test\r\nX-1: 1\r\nX-1: "
                     "1\r\nComments: a\r\nComments: b\r\n\r\n",
        FROM DATE ID
        "Resent-From: sales@brant.test\r\nResent-To: z@z.test\r\nResent-From: alice@brant.test\r\n\r\n",
        FROM DATE "Message-ID: <20231113.1!x$y@[192.0.2.1]>\r\n\r\n",
        FROM DATE "Message-ID:\r\n <x@y>\r\n\r\n",
        /* other charsets, as old programs send them */
        "From: \xd5\xc5\xc8\xfd <alice@brant.test>\r\nSubject: \xb2\xe2\xca\xd4\r\n" DATE ID "\r\n",
        "From: \"\xd5\xc5\xc8\xfd\" <alice@brant.test>\r\nTo: \xc0\xee <a@b.test>\r\n" DATE ID "\r\n",
        FROM DATE ID "Content-Type: application/pdf; name=\"报告.pdf\"\r\nX-Note: é\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        becomes(messages[i], messages[i], 0);
}

static void the_body_is_not_taken(void **state)
{
    static const char text[] = FROM DATE ID "\r\nBcc: x@y.test\r\n\r\nmore";
    struct span in = span_make(text, sizeof text - 1);

    (void)state;
    for (size_t cut = 0; cut <= in.len; cut++) {
        struct msa_header *h = msa_header_new(BYTES_MAX);
        bool done = false;
        size_t taken = msa_header_feed(h, span_sub(in, 0, cut), &done);

        if (!done)
            taken += msa_header_feed(h, span_from(in, cut), &done);
        assert_true(done);
        assert_int_equal(taken, strlen(FROM DATE ID "\r\n"));
        assert_int_equal(msa_header_feed(h, in, &done), 0);
        assert_true(done);
        msa_header_free(h);
    }
}

static void messages_without_a_body(void **state)
{
    (void)state;
    becomes(FROM DATE ID, FROM DATE ID "\r\n", 0);
    becomes("", NEW_ID NEW_DATE "From: <alice@brant.test>\r\n\r\n",
            MSA_ADDED_FROM | MSA_ADDED_DATE | MSA_ADDED_MESSAGE_ID);
    becomes("\r\n", NEW_ID NEW_DATE "From: <alice@brant.test>\r\n\r\n",
            MSA_ADDED_FROM | MSA_ADDED_DATE | MSA_ADDED_MESSAGE_ID);
    refused("From: alice@brant.test", "550 5.6.0 The header section: a line that does not end with CRLF");
}

/* --- what is added and removed --- */

static void missing_fields(void **state)
{
    struct msa_facts facts = testing_facts(false);

    (void)state;
    becomes("Subject: x\r\n\r\n", NEW_ID NEW_DATE "From: <alice@brant.test>\r\nSubject: x\r\n\r\n",
            MSA_ADDED_FROM | MSA_ADDED_DATE | MSA_ADDED_MESSAGE_ID);
    becomes(FROM ID "\r\n", NEW_DATE FROM ID "\r\n", MSA_ADDED_DATE);
    becomes(FROM DATE "\r\n", NEW_ID FROM DATE "\r\n", MSA_ADDED_MESSAGE_ID);
    facts.zone_min = 330;
    becomes_with(&facts, FROM ID "\r\n", "Date: Wed, 15 Nov 2023 03:43:20 +0530\r\n" FROM ID "\r\n",
                 MSA_ADDED_DATE);
    facts.reverse_path = SPAN_LIT("sales@brant.test");
    becomes_with(&facts, DATE ID "\r\n", "From: <sales@brant.test>\r\n" DATE ID "\r\n", MSA_ADDED_FROM);
    facts.reverse_path = SPAN_NONE;
    becomes_with(&facts, DATE ID "\r\n", "From: <alice@brant.test>\r\n" DATE ID "\r\n", MSA_ADDED_FROM);
}

static void unusable_fields(void **state)
{
    unsigned date = MSA_ADDED_DATE | MSA_REMOVED_DATE, id = MSA_ADDED_MESSAGE_ID | MSA_REMOVED_MESSAGE_ID;
    static const char *const ids[] = {"",          "<>",      "x@y",         "<x>",       "<@y>",
                                      "<x@>",      "<x y@z>", "<x@y> <z@w>", "<x@y",      "<x@\xc3\xa9>",
                                      "(c) <x@y>", "<<x@y>>", "<x@y(c)>",    "<\r\n x@y>"};

    (void)state;
    becomes(FROM "Date:\r\n" ID "\r\n", NEW_DATE FROM ID "\r\n", date);
    becomes(FROM "Date: today\r\n" ID "\r\n", NEW_DATE FROM ID "\r\n", date);
    becomes(FROM "Date: 99 Nov 2023 00:00 +0000\r\n" ID "\r\n", NEW_DATE FROM ID "\r\n", date);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char in[256];

        snprintf(in, sizeof in, FROM DATE "Message-ID: %s\r\n\r\n", ids[i]);
        becomes(in, NEW_ID FROM DATE "\r\n", id);
    }
}

static void blind_copies_are_removed(void **state)
{
    (void)state;
    becomes("Bcc: a@b.test\r\n" FROM DATE "bcc:\r\n c@d.test,\r\n\te@f.test\r\n" ID
            "BCC:\r\nResent-Bcc: g@h.test\r\nTo: i@j.test\r\n\r\n",
            FROM DATE ID "To: i@j.test\r\n\r\n", MSA_REMOVED_BCC);
    becomes("Return-Path: <x@y.test>\r\n" FROM DATE ID "X-Bcc: kept\r\n\r\n",
            FROM DATE ID "X-Bcc: kept\r\n\r\n", MSA_REMOVED_RETURN_PATH);
    /* malformed as they may be */
    becomes(FROM DATE ID "Bcc: <<<\xff,\r\n\r\n", FROM DATE ID "\r\n", MSA_REMOVED_BCC);
}

static void duplicates(void **state)
{
    (void)state;
    becomes(FROM DATE ID "Subject: x\r\nSUBJECT:  x \r\nTo: a@b.test\r\nTo: a@b.test\r\n" DATE "\r\n",
            FROM DATE ID "Subject: x\r\nTo: a@b.test\r\n\r\n", MSA_REMOVED_DUPLICATE);
    becomes(FROM DATE ID "Sender: alice@brant.test\r\nSender: alice@brant.test\r\n\r\n",
            FROM DATE ID "Sender: alice@brant.test\r\n\r\n", MSA_REMOVED_DUPLICATE);
    static const char *const once[] = {"Sender",
                                       "Reply-To",
                                       "To",
                                       "Cc",
                                       "Date",
                                       "Message-ID",
                                       "In-Reply-To",
                                       "References",
                                       "Subject",
                                       "MIME-Version",
                                       "Content-Type",
                                       "Content-Transfer-Encoding",
                                       "Content-ID",
                                       "Content-Description",
                                       "Content-Disposition"};
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        char in[256], want[256];

        snprintf(in, sizeof in, FROM "%s: x\r\nX: y\r\n%s: z\r\n\r\n", once[i], once[i]);
        snprintf(want, sizeof want, "550 5.6.0 %s: more than one such field", once[i]);
        refused(in, want);
    }
}

static void sender(void **state)
{
    unsigned replaced = MSA_ADDED_SENDER | MSA_REMOVED_SENDER;

    (void)state;
    becomes("From: alice@brant.test, sales@brant.test\r\n" DATE ID "\r\n",
            "Sender: <alice@brant.test>\r\nFrom: alice@brant.test, sales@brant.test\r\n" DATE ID "\r\n",
            MSA_ADDED_SENDER);
    becomes("From: sales@brant.test\r\nSender: mallory@elsewhere.test\r\n" DATE ID "\r\n",
            "Sender: <alice@brant.test>\r\nFrom: sales@brant.test\r\n" DATE ID "\r\n", replaced);
    becomes("From: Alice@brant.test\r\nSender: root@localhost\r\n" DATE ID "\r\n",
            "From: Alice@brant.test\r\n" DATE ID "\r\n", MSA_REMOVED_SENDER);
    becomes("From: sales@brant.test\r\nSender: root\r\n" DATE ID "\r\n",
            "Sender: <alice@brant.test>\r\nFrom: sales@brant.test\r\n" DATE ID "\r\n", replaced);
    becomes("From: sales@brant.test\r\nSender: alice@brant.test, sales@brant.test\r\n" DATE ID "\r\n",
            "Sender: <alice@brant.test>\r\nFrom: sales@brant.test\r\n" DATE ID "\r\n", replaced);
    becomes("From: sales@brant.test\r\nSender: \"boss@bank.test\" <alice@brant.test>\r\n" DATE ID "\r\n",
            "Sender: <alice@brant.test>\r\nFrom: sales@brant.test\r\n" DATE ID "\r\n", replaced);
}

/* --- addresses to ask for --- */

static void each_address_is_asked_once(void **state)
{
    static const char text[] = "Resent-From: Alice@BRANT.test\r\nSender: sales@brant.test\r\n"
                               "From: \"x@y.test\" <sales@Brant.Test>, \"alice\"@brant.test "
                               "(=?utf-8?q?q=40r.test?=), a@b.test\r\n\r\n";
    static const struct {
        const char *address;
        unsigned places;
    } want[] = {
        {"Alice@brant.test", MSA_PLACE_RESENT}, {"sales@brant.test", MSA_PLACE_FROM | MSA_PLACE_SENDER},
        {"x@y.test", MSA_PLACE_SHOWN},          {"alice@brant.test", MSA_PLACE_FROM},
        {"q@r.test", MSA_PLACE_SHOWN},          {"a@b.test", MSA_PLACE_FROM}};
    struct msa_facts facts = testing_facts(false);
    struct msa_header *h = msa_header_new(BYTES_MAX);
    struct msa_verdict v;
    struct msa_sender s;
    size_t taken;

    (void)state;
    testing_feed(h, span_make(text, sizeof text - 1), SIZE_MAX, &taken);
    assert_int_equal(msa_header_finish(h, &facts, &v), BRANT_OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(msa_header_sender_next(h, &s) && msa_header_sender_next(h, &s));
        assert_true(span_eq_str(s.address, want[i].address));
        assert_int_equal(s.places, want[i].places);
        msa_header_sender_answer(h, true);
    }
    assert_false(msa_header_sender_next(h, &s));
    msa_header_free(h);
}

static void addresses_of_others(void **state)
{
    (void)state;
    refused("From: bob@brant.test\r\n\r\n", "550 5.7.1 From: the account may not use bob@brant.test");
    refused("From: alice@brant.test,\r\n bob@Brant.test\r\n\r\n",
            "550 5.7.1 From: the account may not use bob@brant.test");
    refused("From: \"bob@brant.test\" <alice@brant.test>\r\n\r\n",
            "550 5.7.1 A display name shows an address: the account may not use bob@brant.test");
    refused(FROM "Resent-From: bob@brant.test\r\n\r\n",
            "550 5.7.1 Resent-From or Resent-Sender: the account may not use bob@brant.test");
    refused(FROM "Resent-From: alice@brant.test\r\nResent-Sender: bob@brant.test\r\n\r\n",
            "550 5.7.1 Resent-From or Resent-Sender: the account may not use bob@brant.test");
    refused(FROM "Resent-From: alice@brant.test\r\nResent-From: bob@brant.test\r\n\r\n",
            "550 5.7.1 Resent-From or Resent-Sender: the account may not use bob@brant.test");
    /* somebody else's message, resent */
    refused("Resent-From: alice@brant.test\r\nFrom: bob@elsewhere.test\r\n\r\n",
            "550 5.7.1 From: the account may not use bob@elsewhere.test");
}

static void too_many_addresses(void **state)
{
    struct buf in;

    (void)state;
    buf_init(&in, BYTES_MAX);
    buf_append_str(&in, "From: alice@brant.test");
    for (int i = 0; i < 60; i++)
        buf_append_str(&in, ", alice@brant.test");
    buf_append_str(&in, "\r\n\r\n");
    refused(buf_cstr(&in), "550 5.6.0 From: too many mailboxes");
    buf_reset(&in);
    buf_append_str(&in, FROM);
    for (int i = 0; i < 70; i++)
        buf_printf(&in, "Resent-From: a%d@brant.test\r\n", i);
    refused(buf_cstr(&in), "550 5.6.0 Resent-From: too many addresses");
    buf_reset(&in);
    buf_append_str(&in, "From: \"");
    for (int i = 0; i < 70; i++)
        buf_printf(&in, "a%d@brant.test ", i);
    buf_append_str(&in, "\" <alice@brant.test>\r\n\r\n");
    refused(buf_cstr(&in), "550 5.6.0 From: a display name with too many or too long addresses");
    buf_done(&in);
}

/* --- lines --- */

static void lines_that_are_no_fields(void **state)
{
    (void)state;
    refused("Hello\r\n\r\n", "550 5.6.0 Field 1 of the header section: a line without a colon");
    refused(" X: y\r\n" FROM "\r\n",
            "550 5.6.0 Field 1 of the header section: a continuation line before the first field");
    refused(FROM ": y\r\n\r\n", "550 5.6.0 Field 2 of the header section: a field without a name");
    refused(
        FROM "X y: z\r\n\r\n",
        "550 5.6.0 Field 2 of the header section: white space in the name of a field or before its colon");
    refused(FROM "X\r\n : z\r\n\r\n", "550 5.6.0 Field 2 of the header section: a line without a colon");
    refused(FROM "X\xc3\xa9: z\r\n\r\n",
            "550 5.6.0 Field 2 of the header section: a character that is not ASCII in the name of a field");
    refused(
        "From alice Mon Nov 13 09:00:00 2023\r\n" FROM "\r\n",
        "550 5.6.0 Field 1 of the header section: white space in the name of a field or before its colon");
    refused(FROM "X: a\x01\r\n\r\n", "550 5.6.0 Field 2 of the header section: a control character");
    refused(FROM "X: a\x7f\r\n\r\n", "550 5.6.0 Field 2 of the header section: a control character");
    refused(FROM "X: a\rb\r\n\r\n", "550 5.6.0 Field 2 of the header section: CR or LF alone");
    refused(FROM "X: a\r\r\n\r\n", "550 5.6.0 Field 2 of the header section: CR or LF alone");
    refused(FROM "X: a\nY: b\r\n\r\n",
            "550 5.6.0 Field 2 of the header section: a line that does not end with CRLF");
    refused(FROM "X: a\n\n", "550 5.6.0 The header section: a line that does not end with CRLF");
    struct msa_facts facts = testing_facts(false);
    refused_with(&facts, SPAN_LIT(FROM "X: a\0b\r\n\r\n"),
                 "550 5.6.0 Field 2 of the header section: a control character");
    refused_with(&facts, SPAN_LIT("From\0: alice@brant.test\r\n\r\n"),
                 "550 5.6.0 Field 1 of the header section: a control character");
}

static void blank_continuation_lines(void **state)
{
    (void)state;
    becomes(FROM DATE ID "Subject: a\r\n \t\r\n b\r\n \r\nX:\r\n \r\n\r\n",
            FROM DATE ID "Subject: a\r\n b\r\nX:\r\n\r\n", MSA_FOLDED);
    becomes("From:\r\n  \r\n alice@brant.test\r\n" DATE ID "\r\n",
            "From:\r\n alice@brant.test\r\n" DATE ID "\r\n", MSA_FOLDED);
}

static void append_times(struct buf *b, char c, size_t n)
{
    while (n--)
        buf_append_byte(b, (uint8_t)c);
}

static void long_lines(void **state)
{
    struct buf in, want;

    (void)state;
    buf_init(&in, BYTES_MAX);
    buf_init(&want, BYTES_MAX);
    /* the longest that stays */
    buf_append_str(&in, FROM DATE ID "X:");
    append_times(&in, 'a', 996);
    buf_append_str(&in, "\r\n\r\n");
    becomes(buf_cstr(&in), buf_cstr(&in), 0);
    /* one more has no place to fold */
    buf_reset(&in);
    buf_append_str(&in, FROM "X: ");
    append_times(&in, 'a', 998);
    buf_append_str(&in, "\r\n\r\n");
    refused(buf_cstr(&in), "550 5.6.0 A field: a line over 998 octets without white space");
    /* at the last white space; white space at the end goes */
    buf_reset(&in);
    buf_append_str(&in, FROM DATE ID "Subject: ");
    append_times(&in, 'a', 500);
    buf_append_str(&in, "  ");
    append_times(&in, 'b', 600);
    append_times(&in, ' ', 600);
    buf_append_str(&in, "\r\n\r\n");
    buf_append_str(&want, FROM DATE ID "Subject: ");
    append_times(&want, 'a', 500);
    buf_append_str(&want, " \r\n ");
    append_times(&want, 'b', 600);
    buf_append_str(&want, "\r\n\r\n");
    becomes(buf_cstr(&in), buf_cstr(&want), MSA_FOLDED);
    buf_done(&in);
    buf_done(&want);
}

static void too_long_a_header_section(void **state)
{
    struct msa_facts facts = testing_facts(false);

    (void)state;
    for (size_t max = 0; max < 70; max++) {
        struct msa_header *h = msa_header_new(max);
        static const char text[] = FROM DATE "\r\n";
        struct msa_verdict v;
        size_t taken;
        int rc;

        testing_feed(h, span_make(text, sizeof text - 1), 5, &taken);
        rc = msa_header_finish(h, &facts, &v);
        assert_int_equal(rc, max < sizeof text - 1 ? BRANT_EREFUSED : BRANT_OK);
        if (rc) {
            assert_int_equal(v.code, 552);
            assert_int_equal(v.subject, 3);
            assert_int_equal(v.detail, 4);
        }
        msa_header_free(h);
    }
}

/* --- beyond ASCII --- */

static void utf8_becomes_encoded_words(void **state)
{
    (void)state;
    becomes(FROM DATE ID "Subject: 你好, world\r\n\r\n",
            FROM DATE ID "Subject: =?utf-8?B?5L2g5aW9LCB3b3JsZA==?=\r\n\r\n", MSA_ENCODED);
    becomes("From: 爱丽丝 <alice@brant.test>\r\n" DATE ID "\r\n",
            "From: =?utf-8?B?54ix5Li95Lid?= <alice@brant.test>\r\n" DATE ID "\r\n", MSA_ENCODED);
    becomes("From:\"Zoë, Ltd.\"<alice@brant.test>\r\n" DATE ID "\r\n",
            "From: =?utf-8?B?Wm/DqywgTHRkLg==?= <alice@brant.test>\r\n" DATE ID "\r\n", MSA_ENCODED);
    becomes("From: alice@brant.test (Zoë)\r\n" DATE ID "\r\n",
            "From: alice@brant.test (=?utf-8?B?Wm/Dqw==?=)\r\n" DATE ID "\r\n", MSA_ENCODED);
    becomes(FROM DATE ID "To: Zoë A <z@x.test>, plain@y.test (\xc3\xa9),\r\n Ünal: b@c.test;\r\n\r\n",
            FROM DATE ID "To: =?utf-8?B?Wm/DqyBB?= <z@x.test>, plain@y.test (=?utf-8?B?w6k=?=),\r\n "
                         "=?utf-8?B?w5xuYWw=?= : b@c.test;\r\n\r\n",
            MSA_ENCODED);
    /* encoded words beside it are taken up */
    becomes(FROM DATE ID "To: =?iso-8859-1?q?=E9?= Zoë <z@x.test>\r\nSubject: =?gb2312?B?1tA=?= é\r\n\r\n",
            FROM DATE ID "To: =?utf-8?B?w6kgWm/Dqw==?= <z@x.test>\r\nSubject: =?utf-8?B?5LitIMOp?=\r\n\r\n",
            MSA_ENCODED);
}

static void utf8_addresses_need_smtputf8(void **state)
{
    static const char mail[] =
        "From: 爱丽丝@例子.test\r\nTo: 鲍勃 <é@x.test>\r\nSubject: 你好\r\n" DATE ID "\r\n";
    struct msa_facts utf8 = testing_facts(true), plain = testing_facts(false);
    static const char *const fields[] = {"To: é@x.test",     "To: a@é.test",           "Cc: <é@x.test>",
                                         "To: a b é@x.test", "Reply-To: \"é\"@x.test", "To: a@[é]"};

    (void)state;
    becomes_with(&utf8, mail, mail, 0);
    refused(mail, "550 5.6.7 From: a non-ASCII address needs SMTPUTF8");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char in[256], want[256];

        snprintf(in, sizeof in, FROM "%s\r\n\r\n", fields[i]);
        snprintf(want, sizeof want, "550 5.6.7 %.*s: a non-ASCII address needs SMTPUTF8",
                 (int)(strchr(fields[i], ':') - fields[i]), fields[i]);
        refused(in, want);
    }
    plain.reverse_path = plain.account = SPAN_LIT("爱丽丝@例子.test");
    refused_with(&plain, SPAN_LIT("\r\n"), "550 5.6.7 From: a non-ASCII address needs SMTPUTF8");
    refused_with(&plain, SPAN_LIT("From: alice@brant.test, sales@brant.test\r\n\r\n"),
                 "550 5.6.7 Sender: a non-ASCII address needs SMTPUTF8");
    utf8.reverse_path = utf8.account = plain.account;
    becomes_with(&utf8, DATE ID "\r\n", "From: <爱丽丝@例子.test>\r\n" DATE ID "\r\n", MSA_ADDED_FROM);
}

/* Many short words: each line short, time linear. */
static void encoding_is_linear(void **state)
{
    struct msa_facts facts = testing_facts(false);
    struct buf in, out;
    struct msa_header *h;
    struct msa_verdict v;

    (void)state;
    static const char *const units[] = {"é:", "(é)", "é<a@b.test>,", "\"é\" ,", "=?utf-8?q?x?= é,"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        buf_init(&in, 1 << 20);
        buf_init(&out, MSA_OUTPUT_BYTES_MAX(1 << 20));
        buf_append_str(&in, FROM DATE ID "To: ");
        while (in.len < 1 << 18)
            buf_append_str(&in, units[i]);
        buf_append_str(&in, "\r\n\r\n");
        h = msa_header_new(1 << 20);
        assert_int_equal(testing_run(h, buf_span(&in), SIZE_MAX, &facts, &out, &v), BRANT_OK);
        msa_header_free(h);
        buf_done(&in);
        buf_done(&out);
    }
}

/* Large From fields of every kind end soon, one way or the other. */
static void checking_is_linear(void **state)
{
    static const char *const units[] = {"a ", "\"", "\"=?\" ", "=?x?q?a ", "=?utf-8?q?a?= ", "é ",
                                        "\\", "(",  "a@b",     "a.",       "@b.test",        "\r\n ",
                                        ",",  "<",  ":",       "\xc4 "};
    struct msa_facts facts = testing_facts(false);

    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        struct msa_header *h = msa_header_new(1 << 20);
        struct msa_verdict v;
        struct buf in, out;
        int rc;

        buf_init(&in, 1 << 20);
        buf_init(&out, MSA_OUTPUT_BYTES_MAX(1 << 20));
        buf_append_str(&in, "From: ");
        while (in.len < 1 << 18)
            buf_append_str(&in, units[i]);
        buf_append_str(&in, " <alice@brant.test>\r\n\r\n");
        rc = testing_run(h, buf_span(&in), SIZE_MAX, &facts, &out, &v);
        assert_true(rc == BRANT_OK || rc == BRANT_EREFUSED);
        buf_done(&in);
        buf_done(&out);
        msa_header_free(h);
    }
}

static void repairs_have_names(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 256);
    assert_int_equal(msa_repairs_text(MSA_ADDED_FROM | MSA_REMOVED_BCC | MSA_ENCODED, &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), "added-from,removed-bcc,encoded");
    assert_int_equal(msa_repairs_text(MSA_REPAIR_ALL, &out), BRANT_OK);
    assert_int_equal(msa_repairs_text(MSA_REPAIR_ALL, &out), BRANT_ELIMIT);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_mail_is_left_alone),
        cmocka_unit_test(the_body_is_not_taken),
        cmocka_unit_test(messages_without_a_body),
        cmocka_unit_test(missing_fields),
        cmocka_unit_test(unusable_fields),
        cmocka_unit_test(blind_copies_are_removed),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(sender),
        cmocka_unit_test(each_address_is_asked_once),
        cmocka_unit_test(addresses_of_others),
        cmocka_unit_test(too_many_addresses),
        cmocka_unit_test(lines_that_are_no_fields),
        cmocka_unit_test(blank_continuation_lines),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(too_long_a_header_section),
        cmocka_unit_test(utf8_becomes_encoded_words),
        cmocka_unit_test(utf8_addresses_need_smtputf8),
        cmocka_unit_test(encoding_is_linear),
        cmocka_unit_test(checking_is_linear),
        cmocka_unit_test(repairs_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
