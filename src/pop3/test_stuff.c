#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "pop3/stuff.h"

/* The response body for a message given in pieces of `piece` bytes, each into exactly the room promised. */
static void stuffed(struct span message, uint64_t lines, size_t piece, struct buf *out)
{
    struct pop3_stuff s;

    pop3_stuff_init(&s, lines);
    for (size_t at = 0; at < message.len; at += piece) {
        _cleanup_buf_ struct buf room;
        struct span part = span_sub(message, at, piece);

        buf_init(&room, pop3_stuff_bound(part.len));
        assert_int_equal(pop3_stuff_add(&s, part, &room), BRANT_OK);
        assert_int_equal(buf_append(out, buf_span(&room)), BRANT_OK);
    }
    assert_int_equal(pop3_stuff_end(&s, out), BRANT_OK);
}

/* What a client that reads lines up to LF makes of a response: the message, and how much of the response was
 * used. Nothing is left over when the end was found where it is. */
static size_t unstuffed(struct span response, struct buf *out)
{
    size_t used = 0;

    while (used < response.len) {
        struct span rest = span_from(response, used);
        size_t lf = span_find_byte(rest, '\n');
        struct span line = span_sub(rest, 0, lf + 1);

        assert_int_not_equal(lf, SPAN_NPOS);
        used += line.len;
        if (span_eq_str(line, ".\r\n") || span_eq_str(line, ".\n"))
            return used;
        if (line.p[0] == '.')
            line = span_from(line, 1);
        assert_int_equal(buf_append(out, line), BRANT_OK);
    }
    fail_msg("no end");
    return 0;
}

static void expect(const char *message, uint64_t lines, const char *response)
{
    size_t len = strlen(message);

    for (size_t piece = 1; piece <= len + 1; piece++) {
        _cleanup_buf_ struct buf out;

        buf_init(&out, 4096);
        stuffed(span_str(message), lines, piece, &out);
        assert_string_equal(buf_cstr(&out), response);
    }
}

static void dots_are_doubled(void **state)
{
    (void)state;
    expect("", POP3_STUFF_ALL, ".\r\n");
    expect("a: b\r\n\r\ntext\r\n", POP3_STUFF_ALL, "a: b\r\n\r\ntext\r\n.\r\n");
    expect(".\r\n", POP3_STUFF_ALL, "..\r\n.\r\n");
    expect("..\r\n...\r\nx.\r\n", POP3_STUFF_ALL, "...\r\n....\r\nx.\r\n.\r\n");
    expect(".", POP3_STUFF_ALL, "..\r\n.\r\n");
    expect("no end", POP3_STUFF_ALL, "no end\r\n.\r\n");
    expect("cr\r", POP3_STUFF_ALL, "cr\r\r\n.\r\n");
    expect("lf\n", POP3_STUFF_ALL, "lf\n\r\n.\r\n");
    expect("a\n.\nb\r.\rc\r\n", POP3_STUFF_ALL, "a\n..\nb\r.\rc\r\n.\r\n");
}

static void top_cuts_behind_its_lines(void **state)
{
    static const char message[] = "a: b\r\nc: d\r\n\r\n1\r\n.2\r\n\r\n4\r\n";

    (void)state;
    expect(message, 0, "a: b\r\nc: d\r\n\r\n.\r\n");
    expect(message, 1, "a: b\r\nc: d\r\n\r\n1\r\n.\r\n");
    expect(message, 2, "a: b\r\nc: d\r\n\r\n1\r\n..2\r\n.\r\n");
    expect(message, 3, "a: b\r\nc: d\r\n\r\n1\r\n..2\r\n\r\n.\r\n");
    expect(message, 4, "a: b\r\nc: d\r\n\r\n1\r\n..2\r\n\r\n4\r\n.\r\n");
    expect(message, 5, "a: b\r\nc: d\r\n\r\n1\r\n..2\r\n\r\n4\r\n.\r\n");
    expect(message, POP3_STUFF_ALL - 1, "a: b\r\nc: d\r\n\r\n1\r\n..2\r\n\r\n4\r\n.\r\n");
    expect("a: b\r\n", 0, "a: b\r\n.\r\n");               /* no empty line: all is header */
    expect("a: b\r\n\r\nx", 1, "a: b\r\n\r\nx\r\n.\r\n"); /* the last line is not ended */
    expect("\r\nx\r\n", 0, "\r\n.\r\n");                  /* no header */
    expect("a\n\nb\nc\n", 1, "a\n\nb\n\r\n.\r\n");
    expect("a\r\n\r \r\n\r\nb\r\n", 0, "a\r\n\r \r\n\r\n.\r\n"); /* "CR space" is no empty line */
    expect("a\r\n\r\r\n\r\nb\r\n", 0, "a\r\n\r\r\n\r\n.\r\n");   /* nor are two CRs */
}

static uint32_t random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Whatever the message: a client finds its end exactly where it is, and undoing the stuffing gives its bytes.
 */
static void unstuffing_gives_the_same_bytes(void **state)
{
    static const uint8_t alphabet[] = {'.', '\r', '\n', 'x', 0, 0xff};
    uint32_t seed = 2463534242;
    int cases = 0;

    (void)state;
    for (; cases < 20000; cases++) {
        _cleanup_buf_ struct buf out, back;
        uint8_t message[40];
        size_t len = random_next(&seed) % sizeof message, piece = random_next(&seed) % 7 + 1, used;

        for (size_t i = 0; i < len; i++)
            message[i] = alphabet[random_next(&seed) % sizeof alphabet];
        buf_init(&out, 256);
        buf_init(&back, 256);
        stuffed(span_make(message, len), POP3_STUFF_ALL, piece, &out);
        used = unstuffed(buf_span(&out), &back);
        assert_int_equal(used, out.len);
        assert_true(back.len == len || back.len == len + 2); /* a missing CRLF was added */
        assert_memory_equal(back.data, message, len);
        if (back.len == len + 2) {
            assert_false(span_ends(span_make(message, len), SPAN_LIT("\r\n")));
            assert_true(span_ends(buf_span(&back), SPAN_LIT("\r\n")));
        }
    }
    assert_int_equal(cases, 20000);
}

static void a_full_buffer_is_refused(void **state)
{
    _cleanup_buf_ struct buf out;
    struct pop3_stuff s;

    (void)state;
    buf_init(&out, 4);
    pop3_stuff_init(&s, POP3_STUFF_ALL);
    assert_int_equal(pop3_stuff_add(&s, SPAN_LIT("12345"), &out), BRANT_ELIMIT);
    assert_int_equal(pop3_stuff_end(&s, &out), BRANT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_are_doubled),
        cmocka_unit_test(top_cuts_behind_its_lines),
        cmocka_unit_test(unstuffing_gives_the_same_bytes),
        cmocka_unit_test(a_full_buffer_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
