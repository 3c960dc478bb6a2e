#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "smtp/address.h"

enum { BAD = 0, OK = 1 };

static const char *canonical(struct span text)
{
    static struct buf out;
    struct smtp_mailbox m;

    buf_done(&out);
    buf_init(&out, SMTP_MAILBOX_BYTES_MAX);
    if (smtp_mailbox_parse(text, &m) != BRANT_OK)
        return NULL;
    assert_int_equal(smtp_mailbox_normalise(&m, &out), BRANT_OK);
    return buf_cstr(&out);
}

static void test_canonical(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"Alice@Brant.TEST", "Alice@brant.test"},
        {"\"alice\"@brant.test", "alice@brant.test"},
        {"\"a\\l\\ice\"@brant.test", "alice@brant.test"},
        {"\"a b\"@brant.test", "\"a b\"@brant.test"},
        {"\"a\\ b\"@brant.test", "\"a b\"@brant.test"},
        {"\"a@b\"@brant.test", "\"a@b\"@brant.test"},
        {"\"a\\\"b\\\\\"@brant.test", "\"a\\\"b\\\\\"@brant.test"},
        {"\"\"@brant.test", "\"\"@brant.test"},
        {"\".a\"@brant.test", "\".a\"@brant.test"},
        {"\"a..b\"@brant.test", "\"a..b\"@brant.test"},
        {"\"a.b\"@brant.test", "a.b@brant.test"},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
        {"a@[ipv6:2001:DB8:0:0:0:0:0:1]", "a@[IPv6:2001:db8::1]"},
        {"a@[IPv6:::ffff:192.0.2.1]", "a@[192.0.2.1]"},
        {"j\xc3\xb6rg@b\xc3\xbc"
         "cher.example",
         "j\xc3\xb6rg@b\xc3\xbc"
         "cher.example"},
        {"a%b!c@d", "a%b!c@d"},
        {"a@b.123", "a@b.123"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = canonical(span_str(cases[i].in));

        assert_non_null(got);
        assert_string_equal(got, cases[i].out);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *in;
        int rc;
    } cases[] = {
        {"", BRANT_ESYNTAX},
        {"a", BRANT_ESYNTAX},
        {"a@", BRANT_ESYNTAX},
        {"@b", BRANT_ESYNTAX},
        {"a@b.", BRANT_ESYNTAX},
        {"a@.b", BRANT_ESYNTAX},
        {"a@b..c", BRANT_ESYNTAX},
        {"a@-b", BRANT_ESYNTAX},
        {"a@b-.c", BRANT_ESYNTAX},
        {"a@b_c", BRANT_ESYNTAX},
        {"a@b@c", BRANT_ESYNTAX},
        {"a.@b", BRANT_ESYNTAX},
        {".a@b", BRANT_ESYNTAX},
        {"a..b@c", BRANT_ESYNTAX},
        {"a b@c", BRANT_ESYNTAX},
        {"(x)a@b", BRANT_ESYNTAX},
        {"\"a\".b@c", BRANT_ESYNTAX},
        {"\"a\"b@c", BRANT_ESYNTAX},
        {"\"a@c", BRANT_ESYNTAX},
        {"\"a\\\"@c", BRANT_ESYNTAX},
        {"\"a\tb\"@c", BRANT_ESYNTAX},
        {"a@[1.2.3]", BRANT_ESYNTAX},
        {"a@[1.2.3.256]", BRANT_ESYNTAX},
        {"a@[1.2.3.4", BRANT_ESYNTAX},
        {"a@[1.2.3.4]x", BRANT_ESYNTAX},
        {"a@[::1]", BRANT_ESYNTAX},
        {"a@[IPv6:1.2.3.4]", BRANT_ESYNTAX},
        {"a@[IPv6:1:2:3:4:5:6::8]", BRANT_ESYNTAX},
        {"a@[IPv6:1:2:3:4:5:6:7::]", BRANT_ESYNTAX},
        {"a@[IPv6:1:2:3:4:5::1.2.3.4]", BRANT_ESYNTAX},
        {"a@[X400:c=us]", BRANT_EUNSUPPORTED},
        {"a@[]", BRANT_ESYNTAX},
        {"a@[:x]", BRANT_ESYNTAX},
        {"a\xff@b", BRANT_ESYNTAX},
        {"a\xc2\x85@b", BRANT_ESYNTAX},     /* U+0085 */
        {"a\xe2\x80\xa8@b", BRANT_ESYNTAX}, /* U+2028 */
        {"a@b\xe3\x80\x82"
         "c",
         BRANT_ESYNTAX}, /* an ideographic full stop is a dot in disguise */
        {"\"\\\xc3\xa9\"@b", BRANT_ESYNTAX},
    };
    struct smtp_mailbox m;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(smtp_mailbox_parse(span_str(cases[i].in), &m), cases[i].rc);
    assert_int_equal(smtp_mailbox_parse(SPAN_LIT("a\0b@c"), &m), BRANT_ESYNTAX);
}

static int parse_lengths(size_t local, size_t label, size_t labels)
{
    char text[1024];
    size_t at = 0;
    struct smtp_mailbox m;

    memset(text, 'a', sizeof text);
    at = local;
    text[at++] = '@';
    for (size_t i = 0; i < labels; i++) {
        at += label;
        if (i + 1 < labels)
            text[at++] = '.';
    }
    return smtp_mailbox_parse(span_make(text, at), &m);
}

static void test_lengths(void **state)
{
    (void)state;
    assert_int_equal(parse_lengths(64, 10, 2), BRANT_OK);
    assert_int_equal(parse_lengths(65, 10, 2), BRANT_ELIMIT);
    assert_int_equal(parse_lengths(1, 63, 2), BRANT_OK);
    assert_int_equal(parse_lengths(1, 64, 2), BRANT_ELIMIT);
    assert_int_equal(parse_lengths(2, 62, 4), BRANT_OK);     /* 254 */
    assert_int_equal(parse_lengths(3, 62, 4), BRANT_ELIMIT); /* 255 */
    assert_int_equal(parse_lengths(1, 63, 5), BRANT_ELIMIT);
}

static int path(const char *text, enum smtp_path_use use, enum smtp_path_kind *ret_kind, const char *rest)
{
    struct smtp_path p;
    struct span left;
    int rc = smtp_path_parse(span_str(text), use, &p, &left);

    if (rc == BRANT_OK) {
        assert_true(span_eq_str(left, rest));
        *ret_kind = p.kind;
    }
    return rc;
}

static void test_paths(void **state)
{
    static const struct {
        const char *text, *rest;
        enum smtp_path_kind kind;
        int reverse, forward;
    } cases[] = {
        {"<>", "", SMTP_PATH_NULL, OK, BAD},
        {"<> SIZE=1", " SIZE=1", SMTP_PATH_NULL, OK, BAD},
        {"<Postmaster>", "", SMTP_PATH_POSTMASTER, BAD, OK},
        {"<a@b>", "", SMTP_PATH_MAILBOX, OK, OK},
        {"a@b", "", SMTP_PATH_MAILBOX, OK, OK},
        {"a@b X=y", " X=y", SMTP_PATH_MAILBOX, OK, OK},
        {"<\">\"@b> X", " X", SMTP_PATH_MAILBOX, OK, OK},
        {"\"a b\"@c X", " X", SMTP_PATH_MAILBOX, OK, OK},
        {"<@x,@y.z:a@b>", "", SMTP_PATH_MAILBOX, OK, OK},
        {"<@x:a@b>", "", SMTP_PATH_MAILBOX, OK, OK},
        {"", "", 0, BAD, BAD},
        {"<", "", 0, BAD, BAD},
        {"<a@b", "", 0, BAD, BAD},
        {"a@b>", "", 0, BAD, BAD},
        {"<a@b>X", "", 0, BAD, BAD},
        {"<a@b>>", "", 0, BAD, BAD},
        {"<<a@b>>", "", 0, BAD, BAD},
        {"< a@b>", "", 0, BAD, BAD},
        {"<a@b >", "", 0, BAD, BAD},
        {"<@x a@b>", "", 0, BAD, BAD},
        {"<@x,y:a@b>", "", 0, BAD, BAD},
        {"<@:a@b>", "", 0, BAD, BAD},
        {"<@x,:a@b>", "", 0, BAD, BAD},
        {"<@x:>", "", 0, BAD, BAD},
        {"<@x:postmaster>", "", 0, BAD, BAD},
        {"postmaster", "", 0, BAD, BAD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum smtp_path_kind kind = SMTP_PATH_NULL;

        assert_int_equal(path(cases[i].text, SMTP_PATH_REVERSE, &kind, cases[i].rest) == BRANT_OK,
                         cases[i].reverse);
        if (cases[i].reverse)
            assert_int_equal(kind, cases[i].kind);
        assert_int_equal(path(cases[i].text, SMTP_PATH_FORWARD, &kind, cases[i].rest) == BRANT_OK,
                         cases[i].forward);
        if (cases[i].forward)
            assert_int_equal(kind, cases[i].kind);
    }
}

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void draw_pieces(uint32_t *seed, const char *const *pieces, size_t count, uint32_t most, char *text)
{
    for (uint32_t n = draw(seed, most) + 1; n > 0; n--)
        strcat(text, pieces[draw(seed, (uint32_t)count)]);
}

/* Whatever parses has a canonical form that parses to itself, and is no longer than what was written. */
static void test_canonical_is_fixed(void **state)
{
    static const char *const plain[] = {"a", "B", ".", "%", "!", "9", "-", "\xc3\xa9", "\"", "@", "xn--"};
    static const char *const quoted[] = {"a", "B", ".", "\\\"", "\\\\",     "\\a", " ", "\\ ",
                                         "@", "<", ">", ",",    "\xc3\xa9", "\t",  "(", "\""};
    static const char *const domain[] = {"a", "B-c", ".", ".d", ".E", "9", "-", "\xc3\xa9"};
    static const char *const literals[] = {"[1.2.3.4]",        "[IPv6:::]",
                                           "[IPv6:A::b]",      "[IPv6:1:2:3:4:5:6:7:8]",
                                           "[ipv6:::1.2.3.4]", "[IPv6:0:0:1:0:0:0:2:3]",
                                           "[IPv6:1::]",       "[x:y]"};
    uint32_t seed = 1;
    size_t parsed = 0;

    (void)state;
    for (int round = 0; round < 100000; round++) {
        char text[256] = "", first[256];
        const char *once;

        if (draw(&seed, 2)) {
            draw_pieces(&seed, plain, sizeof plain / sizeof *plain, 4, text);
        } else {
            strcat(text, "\"");
            draw_pieces(&seed, quoted, sizeof quoted / sizeof *quoted, 5, text);
            strcat(text, "\"");
        }
        strcat(text, "@");
        if (draw(&seed, 4))
            draw_pieces(&seed, domain, sizeof domain / sizeof *domain, 3, text);
        else
            strcat(text, literals[draw(&seed, sizeof literals / sizeof *literals)]);
        once = canonical(span_str(text));
        if (!once)
            continue;
        parsed++;
        assert_true(strlen(once) <= strlen(text));
        snprintf(first, sizeof first, "%s", once);
        once = canonical(span_str(first));
        assert_non_null(once);
        assert_string_equal(once, first);
    }
    assert_true(parsed > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_canonical_is_fixed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
