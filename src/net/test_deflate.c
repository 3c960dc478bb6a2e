/* The compressed stream on its own: in any pieces, with any honest compressor at the other end, and with
 * those that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/deflate.h"

enum { MIB = 1024 * 1024 };

/* --- the other end
 * ------------------------------------------------------------------------------------------
 */

static void peer_init(z_stream *p, int level, int window, int strategy)
{
    *p = (z_stream){0};
    assert_int_equal(deflateInit2(p, level, Z_DEFLATED, -window, 9, strategy), Z_OK);
}

static void peer_say(z_stream *p, struct span text, int flush, struct buf *ret)
{
    uint8_t piece[4096];
    p->next_in = text.p;
    p->avail_in = (unsigned)text.len;
    do {
        p->next_out = piece;
        p->avail_out = sizeof piece;
        assert_true(deflate(p, flush) != Z_STREAM_ERROR);
        assert_int_equal(buf_append(ret, span_make(piece, sizeof piece - p->avail_out)), 0);
    } while (p->avail_out == 0);
}

/* What one burst of an ordinary compressor looks like. */
static void compress_once(struct span text, int flush, struct buf *ret)
{
    z_stream p;
    peer_init(&p, 6, 15, Z_DEFAULT_STRATEGY);
    peer_say(&p, text, flush, ret);
    deflateEnd(&p);
}

/* Pseudo-random bytes, the same each time. */
static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static void noise(struct buf *b, size_t len)
{
    for (size_t k = 0; k < len; k++)
        buf_append_byte(b, (uint8_t)any(256));
}

static void repeat(struct buf *b, uint8_t byte, size_t len)
{
    memset(buf_reserve(b, len), byte, len);
    buf_commit(b, len);
}

static void commands(struct buf *b, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        buf_printf(b, "a%u UID FETCH %u:%u (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])\r\n", k, any(5000),
                   any(100000));
}

/* --- ours, with someone who takes at most `bite` bytes at a time
 * --------------------------------------------
 */

static enum net_inflate_state inflate_all(struct span in, size_t step, size_t bite, struct buf *ret)
{
    struct net_inflate *i = net_inflate_new();
    for (size_t idle = 0; idle < 2;) {
        struct span offered = span_sub(in, 0, step);
        size_t taken = net_inflate_put(i, offered);
        assert_true(taken <= offered.len);
        in = span_from(in, taken);
        struct span out = net_inflate_output(i);
        assert_true(out.len <= NET_INFLATE_HELD_MAX);
        out = span_sub(out, 0, bite);
        assert_int_equal(buf_append(ret, out), 0);
        net_inflate_used(i, out.len);
        idle = taken == 0 && out.len == 0 ? idle + 1 : 0;
    }
    enum net_inflate_state state = net_inflate_state(i);
    assert_true(state != NET_INFLATE_OPEN || in.len == 0);
    assert_int_equal(state == NET_INFLATE_OPEN, net_inflate_text(i)[0] == '\0');
    net_inflate_free(i);
    return state;
}

static void expect(struct span compressed, size_t step, size_t bite, struct span text,
                   enum net_inflate_state state)
{
    _cleanup_buf_ struct buf got;
    buf_init(&got, 64 * MIB);
    assert_int_equal(inflate_all(compressed, step, bite, &got), state);
    assert_int_equal(got.len, text.len);
    assert_true(span_eq(buf_span(&got), text));
}

/* In two pieces. */
static void expect_cut(struct span compressed, size_t cut, struct span text)
{
    struct net_inflate *i = net_inflate_new();
    _cleanup_buf_ struct buf got;
    buf_init(&got, MIB);
    assert_int_equal(net_inflate_put(i, span_sub(compressed, 0, cut)), cut);
    buf_append(&got, net_inflate_output(i));
    net_inflate_used(i, net_inflate_output(i).len);
    assert_int_equal(net_inflate_put(i, span_from(compressed, cut)), compressed.len - cut);
    buf_append(&got, net_inflate_output(i));
    assert_true(span_eq(buf_span(&got), text));
    net_inflate_free(i);
}

static void test_any_compressor(void **state)
{
    (void)state;
    static const int levels[] = {0, 1, 6, 9}, windows[] = {9, 12, 15};
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE};
    static const int flushes[] = {Z_SYNC_FLUSH, Z_PARTIAL_FLUSH, Z_FULL_FLUSH};
    unsigned tried = 0;
    for (size_t k = 0; k < 4 * 3 * 4 * 3; k++) {
        _cleanup_buf_ struct buf text, compressed;
        buf_init(&text, MIB);
        buf_init(&compressed, 2 * MIB);
        z_stream p;
        peer_init(&p, levels[k % 4], windows[k / 4 % 3], strategies[k / 12 % 4]);
        for (int burst = 0; burst < 6; burst++) {
            size_t before = text.len;
            commands(&text, 1 + any(80));
            noise(&text, any(3000));
            peer_say(&p, span_from(buf_span(&text), before), flushes[k / 48], &compressed);
        }
        deflateEnd(&p);
        expect(buf_span(&compressed), SIZE_MAX, SIZE_MAX, buf_span(&text), NET_INFLATE_OPEN);
        expect(buf_span(&compressed), 1, SIZE_MAX, buf_span(&text), NET_INFLATE_OPEN);
        expect(buf_span(&compressed), 1 + any(100), 1 + any(100), buf_span(&text), NET_INFLATE_OPEN);
        tried++;
    }
    assert_int_equal(tried, 144);
}

static void test_cut_everywhere(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text, compressed;
    buf_init(&text, MIB);
    buf_init(&compressed, MIB);
    commands(&text, 40);
    noise(&text, 100);
    compress_once(buf_span(&text), Z_PARTIAL_FLUSH, &compressed);
    for (size_t cut = 0; cut <= compressed.len; cut++)
        expect_cut(buf_span(&compressed), cut, buf_span(&text));
}

/* Every byte that a flushed burst has to say can be had at once, however it came. */
static void test_no_byte_waits(void **state)
{
    (void)state;
    static const int flushes[] = {Z_SYNC_FLUSH, Z_PARTIAL_FLUSH};
    for (int k = 0; k < 2; k++) {
        z_stream p;
        peer_init(&p, 6, 15, Z_DEFAULT_STRATEGY);
        struct net_inflate *i = net_inflate_new();
        for (int burst = 0; burst < 500; burst++) {
            _cleanup_buf_ struct buf text, compressed;
            buf_init(&text, MIB);
            buf_init(&compressed, MIB);
            noise(&text, 1 + any(20));
            peer_say(&p, buf_span(&text), flushes[k], &compressed);
            for (size_t at = 0; at < compressed.len; at++)
                assert_int_equal(net_inflate_put(i, span_sub(buf_span(&compressed), at, 1)), 1);
            assert_true(span_eq(net_inflate_output(i), buf_span(&text)));
            net_inflate_used(i, text.len);
        }
        net_inflate_free(i);
        deflateEnd(&p);
    }
}

/* --- too much
 * -----------------------------------------------------------------------------------------------
 */

static void test_bomb(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf zeros, compressed, got;
    buf_init(&zeros, 64 * MIB);
    buf_init(&compressed, MIB);
    buf_init(&got, 64 * MIB);
    repeat(&zeros, 0, 64 * MIB);
    compress_once(buf_span(&zeros), Z_SYNC_FLUSH, &compressed);
    assert_true(compressed.len < 70000);
    for (size_t step = 1; step <= 100000; step *= 10) {
        buf_reset(&got);
        assert_int_equal(inflate_all(buf_span(&compressed), step, SIZE_MAX, &got), NET_INFLATE_TOO_MUCH);
        assert_int_equal(got.len, NET_INFLATE_WINDOW);
    }
    /* An engine that takes little gets no further. */
    buf_reset(&got);
    assert_int_equal(inflate_all(buf_span(&compressed), SIZE_MAX, 100, &got), NET_INFLATE_TOO_MUCH);
    assert_int_equal(got.len, NET_INFLATE_WINDOW);
}

/* Less than a MiB may be anything: 1 MiB less one of zeros, alone. */
static void test_small_bomb(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf zeros, compressed;
    buf_init(&zeros, MIB);
    buf_init(&compressed, MIB);
    repeat(&zeros, 0, MIB - 1);
    compress_once(buf_span(&zeros), Z_SYNC_FLUSH, &compressed);
    expect(buf_span(&compressed), SIZE_MAX, SIZE_MAX, buf_span(&zeros), NET_INFLATE_OPEN);
}

/* Long honest traffic earns nothing: it is the last MiB that counts. */
static void test_late_bomb(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text, compressed, got;
    buf_init(&text, 64 * MIB);
    buf_init(&compressed, 64 * MIB);
    buf_init(&got, 64 * MIB);
    noise(&text, 4 * MIB);
    repeat(&text, 'A', 4 * MIB);
    compress_once(buf_span(&text), Z_SYNC_FLUSH, &compressed);
    assert_int_equal(inflate_all(buf_span(&compressed), SIZE_MAX, SIZE_MAX, &got), NET_INFLATE_TOO_MUCH);
    assert_in_range(got.len, 5 * MIB, 5 * MIB + 2 * NET_INFLATE_STEP);
}

/* Of each 64 KiB `costly` bytes are noise; the rest costs 64. */
static enum net_inflate_state at_ratio(size_t costly)
{
    _cleanup_buf_ struct buf text, compressed, got;
    buf_init(&text, 8 * MIB);
    buf_init(&compressed, 8 * MIB);
    buf_init(&got, 8 * MIB);
    while (text.len < 4 * MIB) {
        noise(&text, costly);
        repeat(&text, 0, NET_INFLATE_STEP - costly);
    }
    compress_once(buf_span(&text), Z_SYNC_FLUSH, &compressed);
    return inflate_all(buf_span(&compressed), SIZE_MAX, SIZE_MAX, &got);
}

static void test_ratio(void **state)
{
    (void)state;
    assert_int_equal(at_ratio(700), NET_INFLATE_OPEN);     /* 86 */
    assert_int_equal(at_ratio(480), NET_INFLATE_TOO_MUCH); /* 120 */
}

/* What clients do, megabytes of it. */
static void test_honest_traffic(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text, compressed;
    buf_init(&text, 64 * MIB);
    buf_init(&compressed, 64 * MIB);
    commands(&text, 40000);
    for (unsigned k = 0; k < 100000; k++) /* the dullest that there is */
        buf_printf(&text, "%u NOOP\r\n", k);
    for (unsigned k = 0; k < 100000; k++)
        buf_printf(&text, "a UID STORE %u +FLAGS.SILENT (\\Seen)\r\n", k);
    z_stream p;
    peer_init(&p, 9, 15, Z_DEFAULT_STRATEGY);
    peer_say(&p, buf_span(&text), Z_SYNC_FLUSH, &compressed);
    deflateEnd(&p);
    printf("%zu bytes of commands in one burst: %zu to 1\n", text.len, text.len / compressed.len);
    expect(buf_span(&compressed), SIZE_MAX, SIZE_MAX, buf_span(&text), NET_INFLATE_OPEN);
}

/* --- damage and the end
 * -------------------------------------------------------------------------------------
 */

static void test_damage(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text, compressed;
    buf_init(&text, MIB);
    buf_init(&compressed, MIB);
    commands(&text, 12);
    compress_once(buf_span(&text), Z_SYNC_FLUSH, &compressed);
    unsigned corrupt = 0;
    for (size_t bit = 0; bit < compressed.len * 8; bit++) {
        _cleanup_buf_ struct buf whole, single;
        buf_init(&whole, 4 * MIB);
        buf_init(&single, 4 * MIB);
        compressed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum net_inflate_state verdict = inflate_all(buf_span(&compressed), SIZE_MAX, SIZE_MAX, &whole);
        assert_int_equal(inflate_all(buf_span(&compressed), 1, 7, &single), verdict);
        assert_true(span_eq(buf_span(&whole), buf_span(&single)));
        corrupt += verdict == NET_INFLATE_CORRUPT;
        compressed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(corrupt > 20); /* most bits change only what is said */
}

static void test_no_deflate_at_all(void **state)
{
    (void)state;
    static const char *const said[] = {"a1 NOOP\r\n",
                                       "\xff\xff\xff\xff",
                                       "\x78\x9c\x03\x00",
                                       "\x1f\x8b\x08\x00\x00\x00\x00\x00",
                                       "\x01\x05\x00\x05\x00hello",
                                       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};
    for (size_t k = 0; k < sizeof said / sizeof said[0]; k++) {
        _cleanup_buf_ struct buf whole, single;
        buf_init(&whole, MIB);
        buf_init(&single, MIB);
        struct span in = span_make(said[k], k == 2 ? 4 : k == 3 ? 8 : k == 4 ? 10 : strlen(said[k]));
        enum net_inflate_state verdict = inflate_all(in, SIZE_MAX, SIZE_MAX, &whole);
        assert_int_equal(inflate_all(in, 1, 1, &single), verdict);
        assert_true(whole.len < 8 && span_eq(buf_span(&whole), buf_span(&single)));
    }
}

static void test_end(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf compressed;
    struct span text = SPAN_LIT("a LOGOUT\r\n");
    buf_init(&compressed, MIB);
    compress_once(text, Z_FINISH, &compressed);
    expect(buf_span(&compressed), SIZE_MAX, SIZE_MAX, text, NET_INFLATE_ENDED);
    expect(buf_span(&compressed), 1, 1, text, NET_INFLATE_ENDED);
    size_t end = compressed.len;
    compress_once(SPAN_LIT("b NOOP\r\n"), Z_SYNC_FLUSH, &compressed);
    expect(buf_span(&compressed), SIZE_MAX, SIZE_MAX, text, NET_INFLATE_ENDED);
    struct net_inflate *i = net_inflate_new();
    assert_int_equal(net_inflate_put(i, buf_span(&compressed)), end);
    assert_int_equal(net_inflate_put(i, buf_span(&compressed)), 0);
    net_inflate_free(i);
}

/* Blocks with nothing in them, and those that cost most to prepare for what they say. */
static void test_costly_input(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf empty, tables;
    buf_init(&empty, 8 * MIB);
    buf_init(&tables, 8 * MIB);
    while (empty.len < 4 * MIB)
        buf_append(&empty, span_make("\x00\x00\x00\xff\xff", 5));
    while (tables.len < 4 * MIB) { /* a dynamic block for a few hundred bytes, and on to the next */
        uint8_t few[300];
        for (size_t k = 0; k < sizeof few; k++)
            few[k] = (uint8_t)any(1 + any(1 + any(256)));
        compress_once(span_make(few, sizeof few), Z_FULL_FLUSH, &tables);
    }
    clock_t start = clock();
    expect(buf_span(&empty), SIZE_MAX, SIZE_MAX, SPAN_NONE, NET_INFLATE_OPEN);
    _cleanup_buf_ struct buf got;
    buf_init(&got, 64 * MIB);
    assert_int_equal(inflate_all(buf_span(&tables), SIZE_MAX, SIZE_MAX, &got), NET_INFLATE_OPEN);
    printf("8 MiB of costly blocks: %.2f s\n", (double)(clock() - start) / CLOCKS_PER_SEC);
}

/* --- what is sent
 * -------------------------------------------------------------------------------------------
 */

/* Through our compressor with at most `room` bytes at a time, each burst flushed; the peer reads each burst
 * whole, with the window that it has to expect. */
static void send_bursts(size_t room, size_t room_flush)
{
    struct net_deflate *d = net_deflate_new();
    z_stream z = {0};
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    for (int burst = 0; burst < 30; burst++) {
        _cleanup_buf_ struct buf text, compressed, got;
        buf_init(&text, MIB);
        buf_init(&compressed, MIB);
        buf_init(&got, MIB);
        commands(&text, any(50));
        noise(&text, any(2) * any(20000));
        struct span rest = buf_span(&text);
        assert_false(net_deflate_unflushed(d));
        while (rest.len > 0) {
            uint8_t *to = buf_reserve(&compressed, room);
            size_t n = net_deflate_put(d, &rest, to, room);
            assert_true(n <= room && (rest.len == 0 || n == room));
            buf_commit(&compressed, n);
        }
        assert_int_equal(net_deflate_unflushed(d), text.len > 0);
        while (net_deflate_unflushed(d))
            buf_commit(&compressed, net_deflate_flush(d, buf_reserve(&compressed, room_flush), room_flush));
        assert_int_equal(net_deflate_flush(d, buf_reserve(&compressed, room_flush), room_flush), 0);
        z.next_in = compressed.data;
        z.avail_in = (unsigned)compressed.len;
        z.next_out = buf_reserve(&got, text.len + 1);
        z.avail_out = (unsigned)text.len + 1;
        int rc = inflate(&z, Z_SYNC_FLUSH);
        assert_true(rc == Z_OK || (rc == Z_BUF_ERROR && text.len == 0));
        buf_commit(&got, text.len + 1 - z.avail_out);
        assert_int_equal(z.avail_in, 0);
        assert_true(span_eq(buf_span(&got), buf_span(&text)));
    }
    inflateEnd(&z);
    net_deflate_free(d);
}

static void test_sending(void **state)
{
    (void)state;
    for (size_t room = 1; room <= 70000; room = room * 3 / 2 + 1)
        send_bursts(room, room < NET_DEFLATE_ROOM_MIN ? NET_DEFLATE_ROOM_MIN : room);
}

/* --- what it costs
 * ------------------------------------------------------------------------------------------
 */

static void test_memory(void **state)
{
    (void)state;
    struct net_inflate *i = net_inflate_new();
    struct net_deflate *d = net_deflate_new();
    size_t fresh = net_inflate_memory_bytes(i);
    _cleanup_buf_ struct buf text, compressed;
    buf_init(&text, MIB);
    buf_init(&compressed, MIB);
    commands(&text, 1000);
    compress_once(buf_span(&text), Z_SYNC_FLUSH, &compressed);
    struct span rest = buf_span(&compressed);
    while (net_inflate_output(i).len < NET_INFLATE_HELD_MAX)
        rest = span_from(rest, net_inflate_put(i, rest));
    size_t busy = net_inflate_memory_bytes(i);
    net_inflate_used(i, NET_INFLATE_HELD_MAX);
    size_t idle = net_inflate_memory_bytes(i);
    printf("inflating: %zu bytes at first, %zu idle, %zu with input waiting; compressing: %zu\n", fresh, idle,
           busy, net_deflate_memory_bytes(d));
    assert_true(fresh < 8 * 1024 && idle < 42 * 1024 && busy == idle + NET_INFLATE_HELD_MAX);
    assert_true(net_deflate_memory_bytes(d) < 23 * 1024);
    net_inflate_free(i);
    net_deflate_free(d);
    net_inflate_free(NULL);
    net_deflate_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_compressor),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_no_byte_waits),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_small_bomb),
        cmocka_unit_test(test_late_bomb),
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_honest_traffic),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_deflate_at_all),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_costly_input),
        cmocka_unit_test(test_sending),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
