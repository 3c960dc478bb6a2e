/* Compressed input: any bytes, whole, one at a time, and in pieces of a size that the first byte chooses with
 * someone who takes little, come to the same text and the same verdict, within the ratio. And what is said
 * goes through our own compressor and back. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 2 * NET_INFLATE_WINDOW };

/* Stops when there is enough. */
static enum net_inflate_state inflate_all(struct span in, size_t step, size_t bite, struct buf *ret)
{
    struct net_inflate *i = net_inflate_new();
    size_t len = in.len, taken;
    struct span out;
    do {
        taken = net_inflate_put(i, span_sub(in, 0, step));
        in = span_from(in, taken);
        out = span_sub(net_inflate_output(i), 0, bite);
        if (buf_append(ret, out) < 0)
            break;
        net_inflate_used(i, out.len);
        assert(net_inflate_memory_bytes(i) < 50 * 1024);
    } while (taken > 0 || out.len > 0);
    enum net_inflate_state state = net_inflate_state(i);
    assert(state != NET_INFLATE_OPEN || in.len == 0 || ret->overflowed);
    /* The first window is free, and one more step may be begun. */
    assert(ret->len <= len * NET_INFLATE_RATIO_MAX + NET_INFLATE_WINDOW + NET_INFLATE_STEP);
    net_inflate_free(i);
    return state;
}

static void there_and_back(struct span text, size_t room)
{
    struct net_deflate *d = net_deflate_new();
    struct buf compressed, got;
    buf_init(&compressed, 4096 + 2 * text.len + room);
    buf_init(&got, text.len);
    for (struct span rest = text; rest.len > 0;)
        buf_commit(&compressed, net_deflate_put(d, &rest, buf_reserve(&compressed, room), room));
    while (net_deflate_unflushed(d))
        buf_commit(&compressed, net_deflate_flush(d, buf_reserve(&compressed, room), room));
    inflate_all(buf_span(&compressed), SIZE_MAX, SIZE_MAX, &got);
    assert(span_eq(buf_span(&got), text));
    buf_done(&compressed);
    buf_done(&got);
    net_deflate_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct span in = span_make(data + 1, size - 1);
    struct buf whole, single, pieces;
    size_t step = 1u + data[0] % 64, room = NET_DEFLATE_ROOM_MIN + data[0];
    buf_init(&whole, TEXT_MAX);
    buf_init(&single, TEXT_MAX);
    buf_init(&pieces, TEXT_MAX);
    enum net_inflate_state verdict = inflate_all(in, SIZE_MAX, SIZE_MAX, &whole);
    enum net_inflate_state by_one = inflate_all(in, 1, SIZE_MAX, &single);
    enum net_inflate_state by_step = inflate_all(in, step, step * 16, &pieces);
    /* Where the window is full the ratio may hang on a byte that was looked at or not. */
    if (whole.len < NET_INFLATE_WINDOW) {
        assert(verdict == by_one && verdict == by_step);
        assert(span_eq(buf_span(&whole), buf_span(&single)) && span_eq(buf_span(&whole), buf_span(&pieces)));
        there_and_back(buf_span(&whole), room);
    }
    there_and_back(in, room);
    buf_done(&whole);
    buf_done(&single);
    buf_done(&pieces);
    return 0;
}
