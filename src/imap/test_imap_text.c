#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/frame.h"
#include "imap/lex.h"
#include "imap/set.h"
#include "imap/view.h"

/* ---- sets ---- */

static const char *set_text(const struct imap_set *s)
{
    static struct buf out;
    size_t at = 0;

    buf_done(&out);
    buf_init(&out, 65536);
    while (!imap_set_write(s, &at, IMAP_RANGE_TEXT_MAX, &out))
        ;
    return buf_cstr(&out);
}

static void test_set(void **state)
{
    struct imap_set s, gone;

    (void)state;
    imap_set_init(&s, 4);
    imap_set_init(&gone, 100);
    assert_string_equal(set_text(&s), "");
    assert_int_equal(imap_set_add(&s, 5, 6), BRANT_OK);
    assert_int_equal(imap_set_add(&s, 8, 8), BRANT_OK);
    assert_string_equal(set_text(&s), "5:6,8");
    assert_int_equal(imap_set_add(&s, 7, 7), BRANT_OK);
    assert_string_equal(set_text(&s), "5:8");
    assert_int_equal(imap_set_add(&s, 1, 1), BRANT_OK);
    assert_int_equal(imap_set_add(&s, 20, UINT32_MAX), BRANT_OK);
    assert_int_equal(imap_set_add(&s, 10, 10), BRANT_OK);
    assert_string_equal(set_text(&s), "1,5:8,10,20:4294967295");
    assert_int_equal(imap_set_add(&s, 3, 3), BRANT_ELIMIT);
    assert_int_equal(imap_set_count(&s), 4294967282);
    assert_true(imap_set_contains(&s, 5) && imap_set_contains(&s, UINT32_MAX));
    assert_false(imap_set_contains(&s, 4) || imap_set_contains(&s, 9) || imap_set_contains(&s, 19));
    imap_set_add(&gone, 6, 6);
    imap_set_add(&gone, 10, 30);
    assert_int_equal(imap_set_subtract(&s, &gone), BRANT_OK);
    assert_string_equal(set_text(&s), "1,5,7:8,31:4294967295");
    imap_set_reset(&gone);
    imap_set_add(&gone, 40, 40);
    assert_int_equal(imap_set_subtract(&s, &gone), BRANT_ELIMIT);
    assert_string_equal(set_text(&s), "1,5,7:8,31:4294967295");
    assert_int_equal(imap_set_add(&s, 1, UINT32_MAX), BRANT_OK);
    assert_string_equal(set_text(&s), "1:4294967295");
    imap_set_done(&s);
    imap_set_done(&gone);
}

static void test_set_assign(void **state)
{
    static const struct imap_range some[] = {{9, 9}, {1, 3}, {4, 4}, {2, 2}, {8, 10}, {7, 7}, {20, 21}};
    struct imap_set s;

    (void)state;
    imap_set_init(&s, 3);
    assert_int_equal(imap_set_assign(&s, some, 7), BRANT_OK);
    assert_string_equal(set_text(&s), "1:4,7:10,20:21");
    imap_set_done(&s);
    imap_set_init(&s, 2);
    assert_int_equal(imap_set_assign(&s, some, 7), BRANT_ELIMIT);
    imap_set_done(&s);
}

/* Random operations against an array of bits. */
static void test_set_model(void **state)
{
    bool in[64] = {0};
    struct imap_set s, one;
    unsigned seed = 7;

    (void)state;
    imap_set_init(&s, 64);
    imap_set_init(&one, 64);
    for (int round = 0; round < 3000; round++) {
        uint32_t first, last;

        seed = seed * 1103515245u + 12345u;
        first = seed >> 16 & 63;
        last = first + (seed >> 24 & 7);
        first = first ? first : 1;
        last = last > 63 ? 63 : last < first ? first : last;
        imap_set_reset(&one);
        imap_set_add(&one, first, last);
        if (seed >> 30 & 1)
            imap_set_add(&s, first, last);
        else
            imap_set_subtract(&s, &one);
        for (uint32_t n = first; n <= last; n++)
            in[n] = seed >> 30 & 1;
        for (uint32_t n = 1; n < 64; n++)
            assert_int_equal(imap_set_contains(&s, n), in[n]);
        for (size_t i = 1; i < s.len; i++)
            assert_true(s.r[i - 1].last + 1 < s.r[i].first);
    }
    imap_set_done(&s);
    imap_set_done(&one);
}

/* ---- views ---- */

static void test_view(void **state)
{
    struct imap_view v;
    struct imap_set gone;

    (void)state;
    imap_view_init(&v, 3);
    imap_set_init(&gone, 10);
    assert_int_equal(imap_view_last_uid(&v), 0);
    assert_int_equal(imap_view_uid(&v, 1), 0);
    assert_int_equal(imap_view_seq(&v, 1), 0);
    assert_int_equal(imap_view_append(&v, 10, 19), BRANT_OK);
    assert_int_equal(imap_view_append(&v, 20, 29), BRANT_OK);
    assert_int_equal(v.len, 1);
    assert_int_equal(imap_view_append(&v, 29, 30), BRANT_ESYNTAX);
    assert_int_equal(imap_view_append(&v, 100, 100), BRANT_OK);
    assert_int_equal(v.count, 21);
    assert_int_equal(imap_view_uid(&v, 21), 100);
    assert_int_equal(imap_view_seq(&v, 100), 21);
    assert_int_equal(imap_view_seq(&v, 30), 0);
    assert_int_equal(imap_view_next(&v, 1), 10);
    assert_int_equal(imap_view_next(&v, 30), 100);
    assert_int_equal(imap_view_next(&v, 101), 0);
    assert_int_equal(imap_view_between(&v, 1, UINT32_MAX), 21);
    assert_int_equal(imap_view_between(&v, 15, 99), 15);
    assert_int_equal(imap_view_between(&v, 30, 99), 0);
    imap_set_add(&gone, 12, 13);
    imap_set_add(&gone, 50, 60);
    assert_int_equal(imap_view_remove(&v, &gone), BRANT_OK);
    assert_int_equal(v.count, 19);
    assert_int_equal(imap_view_uid(&v, 3), 14);
    assert_int_equal(imap_view_seq(&v, 29), 18);
    assert_int_equal(imap_view_seq(&v, 12), 0);
    imap_set_reset(&gone);
    imap_set_add(&gone, 20, 20);
    assert_int_equal(imap_view_remove(&v, &gone), BRANT_ELIMIT);
    assert_int_equal(v.count, 19);
    assert_int_equal(imap_view_append(&v, 200, 200), BRANT_ELIMIT);
    assert_int_equal(imap_view_append(&v, 101, UINT32_MAX), BRANT_OK);
    assert_int_equal(imap_view_last_uid(&v), UINT32_MAX);
    imap_set_reset(&gone);
    imap_set_add(&gone, 1, UINT32_MAX);
    assert_int_equal(imap_view_remove(&v, &gone), BRANT_OK);
    assert_int_equal(v.count, 0);
    imap_view_done(&v);
    imap_set_done(&gone);
}

static void test_view_model(void **state)
{
    bool in[200] = {0};
    struct imap_view v;
    struct imap_set gone;
    unsigned seed = 99;

    (void)state;
    imap_view_init(&v, 1000);
    imap_set_init(&gone, 100);
    for (uint32_t uid = 1; uid < 200; uid++) {
        seed = seed * 1103515245u + 12345u;
        if (seed >> 28 & 3) {
            imap_view_append(&v, uid, uid);
            in[uid] = true;
        }
        if ((seed >> 24 & 7) == 0) {
            uint32_t first = seed >> 8 & 127, last = first + (seed >> 16 & 3);

            imap_set_reset(&gone);
            imap_set_add(&gone, first + 1, last + 1);
            assert_int_equal(imap_view_remove(&v, &gone), BRANT_OK);
            for (uint32_t n = first; n <= last && n + 1 < 200; n++)
                in[n + 1] = n + 1 > uid ? in[n + 1] : false;
        }
        for (uint32_t n = 1, seq = 0; n <= uid; n++) {
            seq += in[n];
            assert_int_equal(imap_view_seq(&v, n), in[n] ? seq : 0);
            if (in[n])
                assert_int_equal(imap_view_uid(&v, seq), n);
            assert_int_equal(imap_view_between(&v, 1, n), seq);
        }
    }
    imap_view_done(&v);
    imap_set_done(&gone);
}

/* ---- tokens ---- */

static struct imap_lex lex_of(struct arena *a, const char *text)
{
    return imap_lex_start(span_str(text), a);
}

static void check_astring(const char *text, const char *expect, size_t left)
{
    struct arena a;
    struct imap_lex lex;
    struct span got;

    arena_init(&a, 4096);
    lex = lex_of(&a, text);
    if (!expect) {
        assert_false(imap_lex_astring(&lex, &got));
        assert_int_equal(lex.pos, 0);
    } else {
        assert_true(imap_lex_astring(&lex, &got));
        assert_true(span_eq_str(got, expect));
        assert_int_equal(lex.in.len - lex.pos, left);
    }
    arena_done(&a);
}

static void test_strings(void **state)
{
    (void)state;
    check_astring("abc d", "abc", 2);
    check_astring("a]b", "a]b", 0);
    check_astring("a\"b", "a", 2);
    check_astring("\"\"", "", 0);
    check_astring("\"a b\\\\c\\\"d\" x", "a b\\c\"d", 2);
    check_astring("\"a\\nb\"", NULL, 0);
    check_astring("\"a", NULL, 0);
    check_astring("\"a\\", NULL, 0);
    check_astring("\"a\\\"", NULL, 0);
    check_astring("\"\xc3\xa9\"", "\xc3\xa9", 0);
    check_astring("\"\xc3\"", NULL, 0);
    check_astring("\xc3\xa9", NULL, 0);
    check_astring("{3}\r\na\"b)", "a\"b", 1);
    check_astring("{3+}\r\nabc", "abc", 0);
    check_astring("{0}\r\n", "", 0);
    check_astring("{3}\r\nab", NULL, 0);
    check_astring("{}\r\n", NULL, 0);
    check_astring("{-1}\r\na", NULL, 0);
    check_astring("{99999999999999999999}\r\na", NULL, 0);
    check_astring("{3}abc", NULL, 0);
    check_astring("(", NULL, 0);
    check_astring("%", NULL, 0);
    check_astring("", NULL, 0);
}

static void check_seq_set(const char *text, const char *expect)
{
    struct arena a;
    struct imap_lex lex;
    struct imap_seq_set set;
    struct buf out;

    arena_init(&a, 65536);
    buf_init(&out, 4096);
    lex = lex_of(&a, text);
    if (!expect) {
        assert_false(imap_lex_seq_set(&lex, &set));
        assert_int_equal(lex.pos, 0);
    } else {
        assert_true(imap_lex_seq_set(&lex, &set));
        if (set.saved)
            buf_append_str(&out, "saved");
        for (size_t i = 0; i < set.count; i++)
            buf_printf(&out, "%s%u-%u", i ? " " : "", set.ranges[i].first, set.ranges[i].last);
        assert_string_equal(buf_cstr(&out), expect);
    }
    buf_done(&out);
    arena_done(&a);
}

static void test_seq_sets(void **state)
{
    (void)state;
    check_seq_set("1", "1-1");
    check_seq_set("1:*", "1-0");
    check_seq_set("*", "0-0");
    check_seq_set("*:4,5,7:6 x", "0-4 5-5 7-6");
    check_seq_set("4294967295:*", "4294967295-0");
    check_seq_set("$", "saved");
    check_seq_set("0", NULL);
    check_seq_set("4294967296", NULL);
    check_seq_set("1:", NULL);
    check_seq_set("1,", NULL);
    check_seq_set(",1", NULL);
    check_seq_set("1x", NULL);
    check_seq_set("1:2:3", NULL);
    check_seq_set("$1", NULL);
    check_seq_set("-1", NULL);
    check_seq_set("", NULL);
}

/* ---- framing ---- */

struct frame_run {
    struct buf log;
    size_t keep_max;
    bool pass;
};

/* One line of log per event; literals of the letters p… pass, those over keep_max are refused. */
static void frame_events(struct frame_run *r, struct imap_frame *f, struct span in)
{
    struct span bytes;

    for (;;) {
        enum imap_frame_event e = imap_frame_feed(f, &in, &bytes);

        switch (e) {
        case IMAP_FRAME_MORE:
            assert_int_equal(in.len, 0);
            return;
        case IMAP_FRAME_COMMAND:
            if (r->pass)
                buf_append_str(&r->log, "\n");
            r->pass = false;
            buf_append_str(&r->log, "command ");
            buf_append(&r->log, imap_frame_text(f));
            buf_append_str(&r->log, "\n");
            imap_frame_next_command(f);
            break;
        case IMAP_FRAME_LITERAL:
            buf_printf(&r->log, "literal %llu%s%s\n", (unsigned long long)f->literal_octets,
                       f->literal_sync ? "" : "+", f->literal8 ? " 8" : "");
            if (f->text.len && f->text.data[0] == 'p') {
                imap_frame_literal_pass(f);
                r->pass = true;
                buf_append_str(&r->log, "bytes ");
            } else if (f->literal_octets > r->keep_max || !imap_frame_literal_fits(f)) {
                imap_frame_literal_refuse(f);
            } else {
                imap_frame_literal_keep(f);
            }
            break;
        case IMAP_FRAME_BYTES:
            buf_append(&r->log, bytes);
            break;
        case IMAP_FRAME_PASSED:
            buf_append_str(&r->log, "\npassed\n");
            r->pass = false;
            break;
        case IMAP_FRAME_LONG:
            buf_append_str(&r->log, "long\n");
            break;
        case IMAP_FRAME_BARE:
        case IMAP_FRAME_ENDLESS:
            if (!r->log.len || r->log.data[r->log.len - 1] != '!')
                buf_append_str(&r->log, e == IMAP_FRAME_BARE ? "bare!" : "endless!");
            return;
        }
    }
}

static struct buf frame_log(struct span in, size_t cut, size_t step)
{
    struct imap_frame f;
    struct frame_run r = {.keep_max = 20};

    buf_init(&r.log, 65536);
    imap_frame_init(&f, 40, 60, cut % 2);
    frame_events(&r, &f, span_sub(in, 0, cut));
    for (size_t at = cut; at < in.len; at += step)
        frame_events(&r, &f, span_sub(in, at, step));
    imap_frame_done(&f);
    return r.log;
}

static void check_frame(const char *text, size_t len, const char *expect)
{
    struct span in = span_make(text, len);

    for (size_t cut = 0; cut <= in.len; cut++) {
        for (size_t step = 1; step <= in.len + 2; step += in.len + 1) {
            struct buf log = frame_log(in, cut, step);

            assert_string_equal(buf_cstr(&log), expect);
            buf_done(&log);
        }
    }
}

#define CHECK_FRAME(text, expect) check_frame(text, sizeof(text) - 1, expect)

static void test_frame(void **state)
{
    (void)state;
    CHECK_FRAME("a b\r\n\r\nc\r\n", "command a b\ncommand \ncommand c\n");
    CHECK_FRAME("a {3}\r\nx\ny {2+}\r\n\r\n z\r\nb\r\n",
                "literal 3\nliteral 2+\ncommand a {3}\r\nx\ny {2+}\r\n\r\n z\ncommand b\n");
    CHECK_FRAME("a {0}\r\n\r\nb ~{1}\r\nc\r\n",
                "literal 0\ncommand a {0}\r\n\nliteral 1 8\ncommand b ~{1}\r\nc\n");
    /* inside quotes, not at the end, not a number: no literal */
    CHECK_FRAME("a \"{3}\r\nb {3} \r\nc {x}\r\nd {}\r\ne {3\r\nf {3++}\r\n",
                "command a \"{3}\ncommand b {3} \ncommand c {x}\ncommand d {}\ncommand e {3\n"
                "command f {3++}\n");
    CHECK_FRAME("a \"\\\"{3}\" {1}\r\nx\r\n", "literal 1\ncommand a \"\\\"{3}\" {1}\r\nx\n");
    CHECK_FRAME("a {99999999999999999999999}\r\nb\r\n",
                "literal 18446744073709551615\ncommand a {99999999999999999999999}\ncommand b\n");
    CHECK_FRAME("a {99999999999999999999999+}\r\nb\r\n", "literal 18446744073709551615+\nendless!");
    /* refused: what comes unasked is swallowed, literals behind it as well */
    CHECK_FRAME("a {30}\r\nb {30+}\r\n123456789012345678901234567890 {2+}\r\n\r\n x {9}\r\nc\r\n",
                "literal 30\ncommand a {30}\nliteral 30+\ncommand b {30+}\ncommand c\n");
    /* passing */
    CHECK_FRAME("p {5}\r\nab\r\nc {2}\r\nxy\r\nd\r\n",
                "literal 5\nbytes ab\r\nc\npassed\nliteral 2\ncommand  {2}\r\nxy\ncommand d\n");
    CHECK_FRAME("p {0}\r\n\r\n", "literal 0\nbytes \npassed\ncommand \n");
    CHECK_FRAME("a\nb\r\n", "bare!");
    CHECK_FRAME("a\rb\r\n", "bare!");
    CHECK_FRAME("a\r\r\n", "bare!");
    /* 45 bytes of line: the first 40 are kept */
    CHECK_FRAME("123456789012345678901234567890123456789012345\r\nb\r\n",
                "long\ncommand 1234567890123456789012345678901234567890\ncommand b\n");
    CHECK_FRAME("1234567890123456789012345678901234567890"
                "1234567890123456789012345678901234567890123456789012345678901\r\nb\r\n",
                "long\nendless!");
    /* NUL is nothing to the frame */
    CHECK_FRAME("a\0b\r\nc\r\n", "command a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),      cmocka_unit_test(test_set_assign), cmocka_unit_test(test_set_model),
        cmocka_unit_test(test_view),     cmocka_unit_test(test_view_model), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_seq_sets), cmocka_unit_test(test_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
