#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "imap/search.h"
#include "mime/encoded_word.h"
#include "mime/fold.h"
#include "mime/headers.h"
#include "mime/parser.h"

/* ---- matching ---- */

static void check_match(const char *needle, const char *text, bool expect)
{
    struct arena a;
    struct imap_needle n;
    struct span in = span_str(text);

    arena_init(&a, 1 << 16);
    assert_true(imap_needle_make(&a, span_str(needle), &n));
    for (size_t cut = 0; cut <= in.len; cut++) {
        for (size_t step = 1; step <= in.len + 2; step += in.len + 1) {
            struct imap_match m = {0};
            bool found = imap_match_feed(&m, &n, span_sub(in, 0, cut));

            for (size_t at = cut; at < in.len && !found; at += step)
                found = imap_match_feed(&m, &n, span_sub(in, at, step));
            assert_int_equal(found, expect);
        }
    }
    arena_done(&a);
}

static void test_match(void **state)
{
    (void)state;
    check_match("", "", true);
    check_match("", "x", true);
    check_match("a", "", false);
    check_match("abc", "ab", false);
    check_match("abc", "xababcx", true);
    check_match("aab", "aaaaab", true);
    check_match("abacabad", "abacabacabad", true);
    check_match("abacabad", "abacabacaba", false);
    check_match("\xe6\x97\xa5", "\xe6\x97\xa4\xe6\x97\xa5", true);
}

/* ---- searching one message ---- */

static const char message[] = "Received: from x\r\n"
                              "From: \"Real From\" (c) <user-from@ (x) Domain.org>\r\n"
                              "To: groupname: gu1@domain.org, gu2@domain.org;,\r\n  other@domain.org\r\n"
                              "Subject: =?utf-8?q?Caf=C3=A9?=\r\n =?utf-8?q?_M=C3=BCller?=\r\n"
                              "Date: Sat, 24 Mar 2007 23:30:00 -0200\r\n"
                              "X-Header: =?iso-2022-jp?b?GyRCRnxLXBsoQg==?=\r\n"
                              "X-Empty:\r\n"
                              "\r\n"
                              "Body text ROBIN \xe6\x97\xa5\xe6\x9c\xac\r\n";

struct fixture {
    struct imap_view view;
    struct imap_set recent, saved;
    struct imap_keywords keywords;
    struct imap_entry entry;
    struct mime_parser *parser;
};

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.entry = {.uid = 12,
                                    .flags = IMAP_FLAG_SEEN | IMAP_FLAG_FLAGGED | 1 << IMAP_KEYWORD_SHIFT,
                                    .modseq = 70,
                                    .size = 1000,
                                    .time_ms = 86400000LL * 100 + 3600000,
                                    .email = 0x2a}};
    f->keywords.names[0] = SPAN_LIT("$Label1");
    f->keywords.names[1] = SPAN_LIT("other");
    f->keywords.count = 2;
    imap_view_init(&f->view, 100);
    imap_view_append(&f->view, 10, 14);
    imap_set_init(&f->recent, 100);
    imap_set_add(&f->recent, 12, 14);
    imap_set_init(&f->saved, 100);
    imap_set_add(&f->saved, 12, 12);
    f->parser = mime_parser_new(NULL);
    mime_parser_feed(f->parser, span_str(message));
    mime_parser_finish(f->parser);
}

static void fixture_done(struct fixture *f)
{
    imap_view_done(&f->view);
    imap_set_done(&f->recent);
    imap_set_done(&f->saved);
    mime_parser_free(f->parser);
}

/* All stages, whether they are needed or not. */
static bool evaluate(const struct fixture *f, const struct imap_search *search, uint8_t *truths, int stages)
{
    struct imap_search_context c = {&f->keywords, &f->recent, 86400000LL * 101};
    const struct mime_structure *s = mime_parser_structure(f->parser);
    struct span rest = span_str(message);
    struct mime_raw_field field;
    struct imap_match matches[200] = {0};
    uint8_t scratch[200];
    struct buf folded;

    imap_search_entry(search, &c, &f->entry, truths);
    if (stages & 1)
        imap_search_structure(search, &s->parts[0], truths);
    while (mime_raw_field_next(&rest, &field))
        imap_search_field(search, IMAP_WHERE_MESSAGE, field.name, field.value, truths);
    imap_search_header_end(search, truths);
    buf_init(&folded, 10000);
    mime_fold(rest, &folded);
    for (size_t i = 0; i < folded.len; i++)
        imap_search_text(search, span_sub(buf_span(&folded), i, 1), matches, truths);
    buf_done(&folded);
    imap_search_end(search, truths);
    return imap_search_value(search, truths, scratch) == IMAP_YES;
}

static void check(const char *text, bool expect)
{
    struct fixture f;
    struct arena a;
    struct imap_lex lex;
    struct imap_search search;
    struct imap_set candidates;
    uint8_t truths[200];

    fixture_init(&f);
    arena_init(&a, 1 << 20);
    imap_set_init(&candidates, 100);
    lex = imap_lex_start(span_str(text), &a);
    assert_int_equal(imap_search_parse(&lex, 200, false, &search), IMAP_SEARCH_OK);
    assert_int_equal(imap_search_resolve(&search, &f.view, &f.saved, &candidates), BRANT_OK);
    if (evaluate(&f, &search, truths, 1) != expect || evaluate(&f, &search, truths, 0) != expect)
        fail_msg("%s: not %d", text, expect);
    if (expect)
        assert_true(imap_set_contains(&candidates, 12));
    imap_search_done(&search);
    imap_set_done(&candidates);
    arena_done(&a);
    fixture_done(&f);
}

static void test_flags_and_sets(void **state)
{
    (void)state;
    check("ALL", true);
    check("SEEN", true);
    check("unseen", false);
    check("FLAGGED SEEN", true);
    check("ANSWERED", false);
    check("KEYWORD $label1", true);
    check("KEYWORD other", false);
    check("UNKEYWORD nobody", true);
    check("RECENT", true);
    check("NEW", false);
    check("OLD", false);
    check("3", true);
    check("1:2", false);
    check("1:*", true);
    check("4:100", false);
    check("100", false);
    check("UID 12", true);
    check("UID 1:11,13:*", false);
    check("UID *:12", true);
    check("$", true);
    check("NOT $", false);
    check("OR 1 3", true);
    check("OR (1 3) (3 4)", false);
    check("NOT (NOT SEEN)", true);
    check("NOT NOT SEEN", true);
    check("OR UNSEEN OR DELETED (SEEN FLAGGED)", true);
    check("OR NOT SEEN NOT FLAGGED", false);
}

static void test_numbers_and_dates(void **state)
{
    (void)state;
    check("LARGER 999", true);
    check("LARGER 1000", false);
    check("SMALLER 1001", true);
    check("ON 11-Apr-1970", true);
    check("BEFORE 11-Apr-1970", false);
    check("SINCE \"11-Apr-1970\"", true);
    check("SAVEDON 11-Apr-1970", true);
    check("SENTON 24-Mar-2007", true);
    check("SENTBEFORE 25-Mar-2007 SENTSINCE 24-Mar-2007", true);
    check("SENTSINCE 25-Mar-2007", false);
    check("OLDER 82800", true);
    check("OLDER 82801", false);
    check("YOUNGER 82800", true);
    check("MODSEQ 70", true);
    check("MODSEQ 71", false);
    check("MODSEQ \"/flags/\\\\draft\" all 70", true);
    check("EMAILID M2a", true);
    check("EMAILID M2b", false);
    check("EMAILID foo", false);
    check("THREADID T2a", false);
}

static void test_texts(void **state)
{
    (void)state;
    check("FROM user-from@domain.org", true);
    check("FROM \"Real From <user\"", true);
    check("FROM realfrom", false);
    check("FROM \"real from\"", true);
    check("TO groupname", true);
    check("TO gu2@d", true);
    check("TO gu3", false);
    check("CC x", false);
    check("HEADER to \"\"", true);
    check("HEADER cc \"\"", false);
    check("HEADER X-Empty \"\"", true);
    check("HEADER X-Empty x", false);
    check("HEADER received FROM", true);
    check("SUBJECT \"caf\xc3\xa9 m\xc3\x9cller\"", true);
    check("SUBJECT cafe", true);
    check("SUBJECT cafee", false);
    check("CHARSET utf-8 SUBJECT {6}\r\nCafe\xcc\x81", true);
    check("CHARSET iso-8859-1 SUBJECT {4}\r\ncaf\xe9", true);
    check("HEADER X-HEADER \"\xe6\x97\xa5\"", true);
    check("CHARSET iso-2022-jp TEXT \"\x1b$BF|K\\\\\x1b(B\"", true);
    check("BODY \"\xe6\x97\xa5\xe6\x9c\xac\"", true);
    check("BODY \"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\"", false);
    check("BODY robin", true);
    check("BODY user-from", false);
    check("TEXT user-from", true);
    check("TEXT \"subject: caf\"", true);
    check("TEXT robin", true);
    check("TEXT robins", false);
    check("NOT TEXT robins", true);
    check("SUBJECT NIL", false);
    check("OR BODY nothing FROM domain.org", true);
}

static void check_error(const char *text, enum imap_search_error expect, bool utf8)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_search search;

    arena_init(&a, 1 << 20);
    lex = imap_lex_start(span_str(text), &a);
    if (imap_search_parse(&lex, 20, utf8, &search) != expect)
        fail_msg("%s", text);
    arena_done(&a);
}

static void test_wrong(void **state)
{
    static const char *const wrong[] = {"",
                                        " ",
                                        "FOO",
                                        "(",
                                        "()",
                                        "(SEEN",
                                        "SEEN)",
                                        "NOT",
                                        "NOT ",
                                        "OR SEEN",
                                        "OR",
                                        "OR SEEN ",
                                        "BEFORE",
                                        "BEFORE x",
                                        "BEFORE 31-Feb-2000",
                                        "LARGER",
                                        "LARGER x",
                                        "LARGER -1",
                                        "KEYWORD",
                                        "KEYWORD \\Seen",
                                        "UID",
                                        "UID 0",
                                        "UID x",
                                        "0",
                                        "1,",
                                        "HEADER",
                                        "HEADER x",
                                        "SUBJECT",
                                        "SUBJECT (",
                                        "OLDER 0",
                                        "MODSEQ",
                                        "MODSEQ \"x\" all 1",
                                        "MODSEQ \"/flags/x\" 1",
                                        "CHARSET",
                                        "CHARSET utf-8",
                                        "SEEN  SEEN",
                                        "RETURN",
                                        "RETURN ALL",
                                        "RETURN (FOO) ALL",
                                        "RETURN (MIN MAX",
                                        "RETURN (MIN)",
                                        "RETURN (MIN) ",
                                        "(SEEN)(SEEN)",
                                        "SEEN(SEEN)",
                                        "NOT (",
                                        "1 x",
                                        "EMAILID",
                                        "$ 1x"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_error(wrong[i], IMAP_SEARCH_SYNTAX, false);
    check_error("SEEN ", IMAP_SEARCH_OK, false);
    check_error("CHARSET x-nobody SEEN", IMAP_SEARCH_CHARSET, false);
    check_error("CHARSET utf-8 SEEN", IMAP_SEARCH_SYNTAX, true);
}

static void test_limits(void **state)
{
    char deep[3000];

    (void)state;
    check_error("1 2 3 4 5 6 7 8 9 10 11", IMAP_SEARCH_LIMIT, false);
    check_error("1 2 3 4 5 6 7 8 9 10", IMAP_SEARCH_OK, false);
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    check_error(deep, IMAP_SEARCH_LIMIT, false);
    for (size_t i = 0; i + 4 < sizeof deep; i += 4)
        memcpy(deep + i, "NOT ", 5);
    check_error(deep, IMAP_SEARCH_LIMIT, false);
    for (size_t i = 0; i + 3 < sizeof deep; i += 3)
        memcpy(deep + i, "OR ", 4);
    check_error(deep, IMAP_SEARCH_LIMIT, false);
}

static void test_returns(void **state)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_search search;

    (void)state;
    arena_init(&a, 1 << 20);
    lex =
        imap_lex_start(SPAN_LIT("RETURN (MIN COUNT SAVE) UNSEEN NOT DELETED FLAGGED MODSEQ 1 LARGER 1"), &a);
    assert_int_equal(imap_search_parse(&lex, 20, false, &search), IMAP_SEARCH_OK);
    assert_int_equal(search.returns, IMAP_RETURN_MIN | IMAP_RETURN_COUNT | IMAP_RETURN_SAVE);
    assert_int_equal(search.flags_all, IMAP_FLAG_FLAGGED);
    assert_int_equal(search.flags_none, IMAP_FLAG_SEEN);
    assert_int_equal(search.fields, IMAP_ENTRY_FLAGS | IMAP_ENTRY_MODSEQ | IMAP_ENTRY_SIZE);
    assert_true(search.modseq && !search.structure && !search.body);
    lex = imap_lex_start(SPAN_LIT("RETURN () ALL"), &a);
    assert_int_equal(imap_search_parse(&lex, 20, false, &search), IMAP_SEARCH_OK);
    assert_int_equal(search.returns, IMAP_RETURN_ALL);
    lex = imap_lex_start(SPAN_LIT("TEXT x"), &a);
    assert_int_equal(imap_search_parse(&lex, 20, false, &search), IMAP_SEARCH_OK);
    assert_int_equal(search.returns, 0);
    assert_true(search.structure && search.body);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_flags_and_sets),
        cmocka_unit_test(test_numbers_and_dates),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_returns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
