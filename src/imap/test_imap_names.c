#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "imap/date.h"
#include "imap/flag.h"
#include "imap/name.h"
#include "imap/pattern.h"
#include "imap/put.h"

static void check_utf7(const char *utf7, const char *utf8)
{
    struct buf out;

    buf_init(&out, 4096);
    if (!utf8) {
        assert_int_equal(imap_utf7_to_utf8(span_str(utf7), &out), BRANT_ESYNTAX);
    } else {
        assert_int_equal(imap_utf7_to_utf8(span_str(utf7), &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), utf8);
        buf_reset(&out);
        assert_int_equal(imap_utf8_to_utf7(span_str(utf8), &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), utf7);
    }
    buf_done(&out);
}

static void test_utf7(void **state)
{
    (void)state;
    check_utf7("", "");
    check_utf7("INBOX/a b", "INBOX/a b");
    check_utf7("a&-b", "a&b");
    /* RFC 3501 5.1.3 */
    check_utf7("~peter/mail/&U,BTFw-/&ZeVnLIqe-",
               "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac"
               "\xe8\xaa\x9e");
    check_utf7("&Jjo-!", "\xe2\x98\xba!");
    check_utf7("p&AOQA5A-", "p\xc3\xa4\xc3\xa4");
    check_utf7("&2D3eAA-&-", "\xf0\x9f\x98\x80&");
    check_utf7("&Jjo!", NULL);              /* no end */
    check_utf7("&U,BTFw-&ZeVnLIqe-", NULL); /* a superfluous shift */
    check_utf7("&AGE-", NULL);              /* "a" in base64 */
    check_utf7("&", NULL);
    check_utf7("&A-", NULL);
    check_utf7("&AAA", NULL);
    check_utf7("&2D0-", NULL);     /* half a pair */
    check_utf7("&3gDYPQ-", NULL);  /* the halves the wrong way round */
    check_utf7("&AOR-", NULL);     /* bits left over */
    check_utf7("&AOQAA-", NULL);   /* a character left over */
    check_utf7("a\xc3\xa4", NULL); /* 8-bit */
    check_utf7("a\tb", NULL);
    check_utf7("!#$$&'+,-.", NULL);
}

static void check_name(const char *said, bool utf8, bool fresh, const char *expect)
{
    struct buf out;
    int err;

    buf_init(&out, IMAP_NAME_BYTES_MAX * 4);
    err =
        fresh ? imap_name_parse_new(span_str(said), utf8, &out) : imap_name_parse(span_str(said), utf8, &out);
    assert_int_equal(err == BRANT_OK, expect != NULL);
    assert_string_equal(buf_cstr(&out), expect ? expect : "");
    buf_done(&out);
}

static void test_names(void **state)
{
    char long_name[IMAP_NAME_BYTES_MAX + 2] = {0};

    (void)state;
    check_name("inbox", false, false, "INBOX");
    check_name("InBoX/Sub", false, false, "INBOX/Sub");
    check_name("inboxes", false, false, "inboxes");
    check_name("a/inbox", false, false, "a/inbox");
    check_name("a.b/c d", false, false, "a.b/c d");
    check_name("&ZeVnLIqe-", false, false, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    check_name("&ZeVnLIqe-", true, false, "&ZeVnLIqe-");
    check_name("\xe6\x97\xa5", true, false, "\xe6\x97\xa5");
    check_name("\xe6\x97\xa5", false, false, NULL);
    check_name("\xe6\x97", true, false, NULL);
    check_name("", false, false, NULL);
    check_name("/", false, false, NULL);
    check_name("/a", false, false, NULL);
    check_name("a/", false, false, NULL);
    check_name("a/", false, true, "a");
    check_name("a//", false, true, NULL);
    check_name("a//b", false, false, NULL);
    check_name("a%", false, false, "a%");
    check_name("a%", false, true, NULL);
    check_name("*", false, true, NULL);
    check_name("..", false, true, "..");
    /* Composed or not, said in UTF-7 or UTF-8: the same mailbox. */
    check_name("Entw\xc3\xbcrfe", true, true, "Entw\xc3\xbcrfe");
    check_name("Entwu\xcc\x88rfe", true, true, "Entw\xc3\xbcrfe");
    check_name("Entwu&Awg-rfe", false, true, "Entw\xc3\xbcrfe");
    check_name("inbox/u\xcc\x88", true, false, "INBOX/\xc3\xbc");
    check_name("a/\xcc\xb8", true, false, "a/\xcc\xb8"); /* nothing is composed with a delimiter */
    check_name("&AAA-", false, false, NULL);             /* NUL */
    check_name("&ICg-", false, false, NULL);             /* a line separator */
    check_name("\x7f", true, false, NULL);
    check_name("1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2", false, false,
               "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2");
    check_name("1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3", false, false, NULL);
    memset(long_name, 'x', IMAP_NAME_BYTES_MAX);
    check_name(long_name, false, false, long_name);
    long_name[IMAP_NAME_BYTES_MAX] = 'x';
    check_name(long_name, false, false, NULL);
}

static void test_name_order(void **state)
{
    static const char *const names[] = {"A", "A/B", "A/B/c", "A/b", "A B", "A-B", "A.B", "AA", "a"};

    (void)state;
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < 9; j++)
            assert_int_equal(imap_name_cmp(span_str(names[i]), span_str(names[j])), i < j ? -1 : i > j);
    assert_true(imap_name_within(SPAN_LIT("a/b"), SPAN_LIT("a")));
    assert_true(imap_name_within(SPAN_LIT("a"), SPAN_LIT("a")));
    assert_false(imap_name_within(SPAN_LIT("ab"), SPAN_LIT("a")));
}

static bool matches(const char *pattern, const char *name)
{
    struct imap_pattern p;
    struct arena a;
    bool yes = false;

    arena_init(&a, 1 << 20);
    if (imap_pattern_compile(SPAN_NONE, span_str(pattern), false, &a, &p) == BRANT_OK)
        yes = imap_pattern_match(&p, span_str(name));
    arena_done(&a);
    return yes;
}

static void test_patterns(void **state)
{
    struct arena a;
    struct imap_pattern p;

    (void)state;
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("*", "a/b/c"));
    assert_true(matches("%", "abc"));
    assert_false(matches("%", "a/b"));
    assert_true(matches("%/%", "a/b"));
    assert_false(matches("%/%", "a/b/c"));
    assert_true(matches("a%*", "a/b/c"));
    assert_true(matches("a*%", "a/b/c"));
    assert_true(matches("%t*4", "test3/test4"));
    assert_true(matches("*test*", "x/test3/y"));
    assert_true(matches("%3/%4", "test3/test4"));
    assert_false(matches("%3/%4", "test3/x/test4"));
    assert_true(matches("a*b*c", "abbc/c"));
    assert_false(matches("a*b*c", "abbc/d"));
    assert_true(matches("inbox", "INBOX"));
    assert_true(matches("inBOX/x", "INBOX/x"));
    assert_true(matches("i%", "INBOX"));
    assert_true(matches("%x", "INBOX"));
    assert_false(matches("i%", "INBO"));
    assert_false(matches("A", "a"));
    assert_true(matches("&ZeVnLIqe-%", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e!"));
    assert_false(matches("&ZeVnLIq-", "\xe6\x97\xa5"));
    assert_true(matches("%u&Awg-r*", "Entw\xc3\xbcrfe")); /* as it would be in a name */
    arena_init(&a, 1 << 20);
    assert_int_equal(imap_pattern_compile(SPAN_LIT("a/"), SPAN_LIT("%"), true, &a, &p), BRANT_OK);
    assert_true(imap_pattern_match(&p, SPAN_LIT("a/b")));
    assert_false(imap_pattern_match(&p, SPAN_LIT("b")));
    arena_done(&a);
}

/* The same answer as the obvious recursion, on all short patterns and names. */
static bool slow(const char *p, const char *n)
{
    if (!*p)
        return !*n;
    if (*p == '*' || *p == '%')
        return slow(p + 1, n) || (*n && (*p == '*' || *n != '/') && slow(p, n + 1));
    return *n == *p && slow(p + 1, n + 1);
}

static void test_pattern_model(void **state)
{
    static const char letters[] = "a/*%";

    (void)state;
    for (int i = 0; i < 4 * 4 * 4 * 4 * 4; i++) {
        char pattern[6] = {0};

        for (int k = 0, n = i; k < 5; k++, n /= 4)
            pattern[k] = letters[n % 4];
        for (int j = 0; j < 16; j++) {
            char name[5] = {0};

            for (int k = 0; k < 4; k++)
                name[k] = letters[j >> k & 1];
            for (size_t from = 0; from < 5; from++)
                assert_int_equal(matches(pattern, name + from), slow(pattern, name + from));
        }
    }
}

static void test_pattern_long(void **state)
{
    char pattern[IMAP_PATTERN_BYTES_MAX + 1] = {0}, name[IMAP_NAME_BYTES_MAX + 1] = {0};
    struct arena a;
    struct imap_pattern p;

    (void)state;
    for (size_t i = 0; i < IMAP_PATTERN_BYTES_MAX; i++)
        pattern[i] = i % 2 ? '*' : 'a';
    memset(name, 'a', IMAP_NAME_BYTES_MAX);
    arena_init(&a, 1 << 20);
    assert_int_equal(imap_pattern_compile(SPAN_NONE, span_str(pattern), false, &a, &p), BRANT_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(imap_pattern_match(&p, span_str(name)));
    name[IMAP_NAME_BYTES_MAX - 1] = 'b';
    assert_true(imap_pattern_match(&p, span_str(name)));
    assert_int_equal(imap_pattern_compile(SPAN_LIT("x"), span_str(pattern), false, &a, &p), BRANT_ELIMIT);
    arena_done(&a);
}

static void check_date_time(const char *text, bool valid, int64_t expect, const char *printed)
{
    struct buf out;
    int64_t got;

    buf_init(&out, 100);
    assert_int_equal(imap_date_time_parse(span_str(text), &got) == BRANT_OK, valid);
    if (valid) {
        assert_int_equal(got, expect);
        imap_date_time_put(&out, got);
        assert_string_equal(buf_cstr(&out), printed);
    }
    buf_done(&out);
}

static void test_dates(void **state)
{
    int64_t day;

    (void)state;
    check_date_time("17-Jul-1996 02:44:25 -0700", true, 837596665, "\"17-Jul-1996 09:44:25 +0000\"");
    check_date_time(" 1-Jan-1970 00:00:00 +0000", true, 0, "\" 1-Jan-1970 00:00:00 +0000\"");
    check_date_time("01-jan-1970 01:00:00 +0130", true, -1800, "\"31-Dec-1969 23:30:00 +0000\"");
    check_date_time("29-Feb-2024 23:59:60 +0000", true, 1709251200, "\" 1-Mar-2024 00:00:00 +0000\"");
    check_date_time("31-Dec-9999 23:59:59 -9959", true, 253402660739, "\"31-Dec-9999 23:59:59 +0000\"");
    check_date_time("29-Feb-2023 00:00:00 +0000", false, 0, NULL);
    check_date_time("17-Jul-1996", false, 0, NULL);
    check_date_time("17-Jul-1996 02:44:25 -07000", false, 0, NULL);
    check_date_time("17-Jul-1996 24:44:25 -0700", false, 0, NULL);
    check_date_time("17-Jux-1996 02:44:25 -0700", false, 0, NULL);
    check_date_time("17-Jul-0000 02:44:25 -0700", false, 0, NULL);
    check_date_time("", false, 0, NULL);
    assert_int_equal(imap_date_parse(SPAN_LIT("1-Feb-1994"), &day), BRANT_OK);
    assert_int_equal(day, 8797);
    assert_int_equal(imap_date_parse(SPAN_LIT("01-feb-1994"), &day), BRANT_OK);
    assert_int_equal(imap_date_parse(SPAN_LIT("1-Feb-94"), &day), BRANT_ESYNTAX);
    assert_int_equal(imap_date_parse(SPAN_LIT("1-Feb-1994 "), &day), BRANT_ESYNTAX);
    assert_int_equal(imap_date_parse(SPAN_LIT("0-Feb-1994"), &day), BRANT_ESYNTAX);
    assert_int_equal(imap_day(-1, 0), -1);
    assert_int_equal(imap_day(86399, 1), 1);
}

static void check_flags(const char *text, bool bare, const char *expect)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_flag_list list;
    struct imap_keywords k = {0};
    struct buf out;

    arena_init(&a, 65536);
    buf_init(&out, 4096);
    lex = imap_lex_start(span_str(text), &a);
    assert_int_equal(imap_flag_list_parse(&lex, bare, &list), expect != NULL);
    if (expect) {
        uint64_t flags = list.flags;

        for (size_t i = 0; i < list.keyword_count; i++)
            k.names[k.count++] = list.keywords[i];
        for (size_t i = 0; i < list.keyword_count; i++)
            flags |= imap_keyword_bit(&k, list.keywords[i]);
        imap_flags_put(&out, flags, false, &k);
        assert_string_equal(buf_cstr(&out), expect);
    }
    buf_done(&out);
    arena_done(&a);
}

static void test_flags(void **state)
{
    struct buf out;

    (void)state;
    check_flags("()", false, "()");
    check_flags("(\\seen $Forwarded NIL $forwarded)", false, "(\\Seen $Forwarded NIL)");
    check_flags("(\\Deleted \\FLAGGED \\Answered \\Draft)", true, "(\\Answered \\Flagged \\Deleted \\Draft)");
    check_flags("\\Seen x", true, "(\\Seen x)");
    check_flags("\\Seen ", true, "(\\Seen)");
    check_flags("\\Seen", false, NULL);
    check_flags("(\\Recent)", false, NULL);
    check_flags("(\\Foo)", false, NULL);
    check_flags("(\\Seen", false, NULL);
    check_flags("(a  b)", false, NULL);
    check_flags("", true, NULL);
    check_flags("(xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)", false, NULL);
    buf_init(&out, 100);
    imap_special_uses_put(&out, IMAP_USE_JUNK | IMAP_USE_ALL);
    assert_string_equal(buf_cstr(&out), " \\All \\Junk");
    assert_int_equal(imap_special_use_parse(SPAN_LIT("\\drafts")), IMAP_USE_DRAFTS);
    assert_int_equal(imap_special_use_parse(SPAN_LIT("drafts")), 0);
    buf_done(&out);
}

static void check_string(struct span text, bool utf8, const char *expect)
{
    struct buf out;

    buf_init(&out, 10000);
    imap_put_nstring(&out, text, utf8);
    assert_string_equal(buf_cstr(&out), expect);
    buf_done(&out);
}

static void test_put(void **state)
{
    struct buf out;

    (void)state;
    check_string(SPAN_NONE, false, "NIL");
    check_string(SPAN_LIT(""), false, "\"\"");
    check_string(SPAN_LIT("a\"b\\"), false, "\"a\\\"b\\\\\"");
    check_string(SPAN_LIT("a\r\nb"), false, "{4}\r\na\r\nb");
    check_string(SPAN_LIT("a\0b"), true,
                 "{3}\r\na\x80"
                 "b");
    check_string(SPAN_LIT("\xc3\xa4"), false, "{2}\r\n\xc3\xa4");
    check_string(SPAN_LIT("\xc3\xa4"), true, "\"\xc3\xa4\"");
    check_string(SPAN_LIT("\xc3"), true, "{1}\r\n\xc3");
    buf_init(&out, 1000);
    imap_put_astring(&out, SPAN_LIT("a/b"), false);
    imap_put_astring(&out, SPAN_LIT("nil"), false);
    imap_put_astring(&out, SPAN_LIT("a]b"), false);
    imap_name_put(&out, SPAN_LIT("a&b"), false);
    imap_name_put(&out, SPAN_LIT("\xc3\xa4"), false);
    imap_name_put(&out, SPAN_LIT("\xc3\xa4"), true);
    assert_string_equal(buf_cstr(&out), "a/b\"nil\"\"a]b\"a&-b&AOQ-\"\xc3\xa4\"");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf7),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_order),    cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_pattern_model), cmocka_unit_test(test_pattern_long),
        cmocka_unit_test(test_dates),         cmocka_unit_test(test_flags),
        cmocka_unit_test(test_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
