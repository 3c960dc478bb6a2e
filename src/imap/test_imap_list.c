#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "imap/fetch.h"
#include "imap/list.h"
#include "imap/preview.h"

/* ---- LIST ---- */

/* Boxes as "name:flags": s subscribed, - does not exist, J special use. */
static void check_list(const char *const *boxes, const char *command, bool lsub, const char *expect)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_list list;
    struct imap_list_walk w;
    struct imap_list_line line;
    struct buf out;

    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 16);
    lex = imap_lex_start(span_str(command), &a);
    assert_int_equal(imap_list_parse(&lex, lsub, false, IMAP_EXT_ALL, &list), BRANT_OK);
    imap_list_walk_init(&w, &list);
    for (; boxes && *boxes; boxes++) {
        struct span text = span_str(*boxes);
        size_t colon = span_find_byte(text, ':');
        struct imap_mailbox box = {.name = span_sub(text, 0, colon), .exists = true};

        for (size_t i = colon; i < text.len; i++) {
            box.subscribed |= text.p[i] == 's';
            box.exists &= text.p[i] != '-';
            box.uses |= text.p[i] == 'J' ? IMAP_USE_JUNK : 0;
        }
        imap_list_walk_feed(&w, &box);
        while (imap_list_walk_next(&w, &line))
            imap_list_line_put(&out, &list, &line);
    }
    imap_list_walk_finish(&w);
    while (imap_list_walk_next(&w, &line))
        imap_list_line_put(&out, &list, &line);
    assert_string_equal(buf_cstr(&out), expect);
    imap_list_walk_done(&w);
    buf_done(&out);
    arena_done(&a);
}

static const char *const some[] = {
    "INBOX:s", "a:", "a/b:s", "a/b/c:", "a.b:", "n/x/y:s", "old:s-", "spam:J", NULL};

static void test_list(void **state)
{
    (void)state;
    check_list(some, "\"\" *", false,
               "* LIST (\\HasNoChildren) \"/\" INBOX\r\n"
               "* LIST (\\HasNoChildren) \"/\" a/b/c\r\n"
               "* LIST (\\HasChildren) \"/\" a/b\r\n"
               "* LIST (\\HasChildren) \"/\" a\r\n"
               "* LIST (\\HasNoChildren) \"/\" a.b\r\n"
               "* LIST (\\HasNoChildren) \"/\" n/x/y\r\n"
               "* LIST (\\HasNoChildren \\Junk) \"/\" spam\r\n");
    check_list(some, "\"\" %", false,
               "* LIST (\\HasNoChildren) \"/\" INBOX\r\n"
               "* LIST (\\HasChildren) \"/\" a\r\n"
               "* LIST (\\HasNoChildren) \"/\" a.b\r\n"
               "* LIST (\\Noselect \\HasChildren) \"/\" n\r\n"
               "* LIST (\\HasNoChildren \\Junk) \"/\" spam\r\n");
    check_list(some, "n/ %", false, "* LIST (\\Noselect \\HasChildren) \"/\" n/x\r\n");
    check_list(some, "\"\" inbox", false, "* LIST (\\HasNoChildren) \"/\" INBOX\r\n");
    check_list(some, "\"\" &", false, "");
    check_list(some, "\"\" *", true,
               "* LSUB () \"/\" INBOX\r\n* LSUB () \"/\" a/b\r\n* LSUB () \"/\" n/x/y\r\n"
               "* LSUB (\\Noselect) \"/\" old\r\n");
    check_list(some, "\"\" %", true,
               "* LSUB () \"/\" INBOX\r\n* LSUB (\\Noselect) \"/\" a\r\n* LSUB (\\Noselect) \"/\" n\r\n"
               "* LSUB (\\Noselect) \"/\" old\r\n");
    check_list(NULL, "\"\" *", false, "");
}

static void test_list_extended(void **state)
{
    (void)state;
    check_list(some, "(SUBSCRIBED) \"\" *", false,
               "* LIST (\\Subscribed) \"/\" INBOX\r\n* LIST (\\Subscribed) \"/\" a/b\r\n"
               "* LIST (\\Subscribed) \"/\" n/x/y\r\n* LIST (\\NonExistent \\Subscribed) \"/\" old\r\n");
    check_list(some, "(SUBSCRIBED RECURSIVEMATCH) \"\" %", false,
               "* LIST (\\Subscribed) \"/\" INBOX\r\n* LIST () \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
               "* LIST (\\NonExistent) \"/\" n (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
               "* LIST (\\NonExistent \\Subscribed) \"/\" old\r\n");
    check_list(some, "(SUBSCRIBED RECURSIVEMATCH) \"\" (a a/b)", false,
               "* LIST (\\Subscribed) \"/\" a/b\r\n");
    check_list(some, "\"\" (% a/%) RETURN (SUBSCRIBED CHILDREN)", false,
               "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX\r\n"
               "* LIST (\\Subscribed \\HasChildren) \"/\" a/b\r\n"
               "* LIST (\\HasChildren) \"/\" a\r\n"
               "* LIST (\\HasNoChildren) \"/\" a.b\r\n"
               "* LIST (\\NonExistent \\HasChildren) \"/\" n\r\n"
               "* LIST (\\HasNoChildren \\Junk) \"/\" spam\r\n");
    check_list(some, "(SPECIAL-USE) \"\" *", false, "* LIST (\\Junk) \"/\" spam\r\n");
    check_list(some, "(REMOTE) \"\" INBOX", false, "* LIST () \"/\" INBOX\r\n");
}

static void check_list_error(const char *command, bool lsub)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_list list;

    arena_init(&a, 1 << 20);
    lex = imap_lex_start(span_str(command), &a);
    if (imap_list_parse(&lex, lsub, false, 0, &list) == BRANT_OK && imap_lex_end(&lex))
        fail_msg("%s", command);
    arena_done(&a);
}

static void test_list_errors(void **state)
{
    static const char *const wrong[] = {"",
                                        "\"\"",
                                        "\"\" ",
                                        "(FOO) \"\" \"\"",
                                        "(RECURSIVEMATCH) \"\" \"\"",
                                        "(RECURSIVEMATCH REMOTE) \"\" \"\"",
                                        "\"\" \"\" RETURN (FOO)",
                                        "\"\" ()",
                                        "\"\" (a",
                                        "(SUBSCRIBED)\"\" *",
                                        "\"\" * RETURN",
                                        "\"\" * RETURN (STATUS)",
                                        "\"\" * RETURN (STATUS ())",
                                        "\"\" * RETURN (STATUS (FOO))",
                                        "\"\" * x",
                                        "(SPECIAL-USE) \"\" *",
                                        "\"\" * RETURN (STATUS (HIGHESTMODSEQ))",
                                        "( SUBSCRIBED) \"\" *"};
    struct arena a;
    struct imap_lex lex;
    struct imap_list list;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_list_error(wrong[i], false);
    check_list_error("\"\" (a b)", true);
    arena_init(&a, 1 << 20);
    lex = imap_lex_start(SPAN_LIT("\"\" \"\""), &a);
    assert_int_equal(imap_list_parse(&lex, false, false, 0, &list), BRANT_OK);
    assert_true(list.delimiter);
    lex = imap_lex_start(SPAN_LIT("() \"\" (a b) RETURN (CHILDREN STATUS (MESSAGES SIZE))"), &a);
    assert_int_equal(imap_list_parse(&lex, false, false, 0, &list), BRANT_OK);
    assert_int_equal(list.status, IMAP_STATUS_MESSAGES | IMAP_STATUS_SIZE);
    assert_int_equal(list.returns, IMAP_LIST_CHILDREN | IMAP_LIST_STATUS);
    assert_true(!list.delimiter && list.extended && list.pattern_count == 2);
    arena_done(&a);
}

/* What is out of order or no name is passed over. */
static void test_list_hostile(void **state)
{
    static const char *const bad[] = {
        "b:",  "a:",   "b:", "/x:", "c//d:",
        "c/:", "c/d:", "c:", ":",   "z/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2:",
        NULL};

    (void)state;
    check_list(bad, "\"\" *", false,
               "* LIST (\\HasNoChildren) \"/\" b\r\n* LIST (\\HasNoChildren) \"/\" c/d\r\n");
}

/* ---- FETCH ---- */

static void check_fetch(const char *text, int expect, const char *names, bool seen)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_fetch fetch;
    struct buf out;
    int err;

    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 16);
    lex = imap_lex_start(span_str(text), &a);
    err = imap_fetch_parse(&lex, IMAP_EXT_ALL & ~(unsigned)IMAP_EXT_SAVEDATE, &fetch);
    if (err == BRANT_OK && !imap_lex_end(&lex))
        err = BRANT_ESYNTAX;
    if (err != expect)
        fail_msg("%s: %d", text, err);
    if (!err) {
        for (size_t i = 0; i < fetch.count; i++) {
            size_t before = out.len;

            imap_fetch_name_put(&out, &fetch.items[i]);
            assert_true(out.len - before <= imap_fetch_name_max(&fetch.items[i]));
            buf_append_byte(&out, ' ');
        }
        assert_string_equal(buf_cstr(&out), names);
        assert_int_equal(fetch.seen, seen);
    }
    buf_done(&out);
    arena_done(&a);
}

static void test_fetch(void **state)
{
    static const char *const wrong[] = {"",
                                        "()",
                                        "(FLAGS",
                                        "FLAGS)",
                                        "FOO",
                                        "(FLAGS  UID)",
                                        "BODY[",
                                        "BODY[]<0>",
                                        "BODY[]<0.0>",
                                        "BODY[]<a.1>",
                                        "BODYSTRUCTURE[]",
                                        "BODY.PEEK",
                                        "BODY.FOO[]",
                                        "BINARY[TEXT]",
                                        "BINARY",
                                        "BINARY.SIZE[1]<0.1>",
                                        "RFC822[]",
                                        "(ALL FLAGS)",
                                        "ALL FLAGS",
                                        "FLAGS (CHANGEDSINCE)",
                                        "FLAGS (VANISHED)",
                                        "FLAGS (CHANGEDSINCE 1 FOO)",
                                        "FLAGS ()",
                                        "PREVIEW (FOO)",
                                        "BODY[1]x",
                                        "BODYX[]"};

    (void)state;
    check_fetch("ALL", BRANT_OK, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE ", false);
    check_fetch("full", BRANT_OK, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY ", false);
    check_fetch("(UID flags BODY[])", BRANT_OK, "UID FLAGS BODY[] ", true);
    check_fetch("BODY.PEEK[header.fields (a b)]<5.10>", BRANT_OK, "BODY[HEADER.FIELDS (a b)]<5> ", false);
    check_fetch("(BINARY.PEEK[1.2]<0.9> BINARY.SIZE[] BINARY[3])", BRANT_OK,
                "BINARY[1.2]<0> BINARY.SIZE[] BINARY[3] ", true);
    check_fetch("RFC822.HEADER", BRANT_OK, "RFC822.HEADER ", false);
    check_fetch("RFC822.TEXT", BRANT_OK, "RFC822.TEXT ", true);
    check_fetch("(PREVIEW (LAZY) MODSEQ PREVIEW)", BRANT_OK, "PREVIEW MODSEQ PREVIEW ", false);
    check_fetch("FLAGS (CHANGEDSINCE 5 VANISHED)", BRANT_OK, "FLAGS ", false);
    check_fetch("FLAGS ", BRANT_OK, "FLAGS ", false);
    check_fetch("SAVEDATE", BRANT_EUNSUPPORTED, NULL, false);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_fetch(wrong[i], BRANT_ESYNTAX, NULL, false);
}

/* ---- previews ---- */

static void check_preview(const char *text, bool html, const char *expect)
{
    struct span in = span_str(text);

    for (size_t step = 1; step <= in.len + 1; step += in.len) {
        struct imap_preview p;

        imap_preview_init(&p, html);
        for (size_t at = 0; at < in.len; at += step)
            imap_preview_feed(&p, span_sub(in, at, step));
        assert_string_equal(buf_cstr(&p.text), expect);
        imap_preview_done(&p);
        if (!in.len)
            break;
    }
}

static void test_preview(void **state)
{
    char text[1000] = {0};

    (void)state;
    check_preview("", false, "");
    check_preview("  Hello,\r\n\r\n  world \r\n> quoted\r\n >too\r\nx>y", false, "Hello, world x>y");
    check_preview(
        "<html><head><title>t</title></head><style>a{}</style><body class=\"a>b\"> A&amp;B&nbsp;&#67;"
        "&#x44; &foo; &<!-- c > d -->e<br>f<p>g</p></body>",
        true, "A&B CD &e f g");
    check_preview("a < b", true, "a");
    check_preview("a &b", true, "a");
    check_preview("&amp", true, "");
    check_preview("a&longerthananyentity;", true, "a&longerthananyentity;");
    for (size_t i = 0; i < 900; i++)
        text[i] = i % 3 ? 'x' : ' ';
    {
        struct imap_preview p;

        imap_preview_init(&p, false);
        assert_false(imap_preview_feed(&p, span_str(text)));
        assert_int_equal(p.text.len, 200);
        imap_preview_done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),        cmocka_unit_test(test_list_extended),
        cmocka_unit_test(test_list_errors), cmocka_unit_test(test_list_hostile),
        cmocka_unit_test(test_fetch),       cmocka_unit_test(test_preview),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
