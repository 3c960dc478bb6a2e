/* Any bytes as a stream of frames: what decodes must encode to the same bytes. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "ipc/frame.h"
#include "ipc/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct span frame)
{
    _cleanup_arena_ struct arena arena;
    _cleanup_buf_ struct buf again;
    struct ipc_message m;

    arena_init(&arena, 1u << 20);
    buf_init(&again, IPC_FRAME_MAX);
    if (ipc_decode(frame, &arena, &m) != BRANT_OK)
        return;
    if (ipc_encode(&again, &m) != BRANT_OK || !span_eq(buf_span(&again), frame))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size), frame;
    struct ipc_reader r;
    int rc = BRANT_ETRYLATER;

    ipc_reader_init(&r);
    while (in.len && rc == BRANT_ETRYLATER) {
        size_t taken = ipc_reader_feed(&r, span_sub(in, 0, 1 + in.p[0] % 64u));

        assert(taken > 0);
        in = span_from(in, taken);
        while ((rc = ipc_reader_next(&r, &frame)) == BRANT_OK)
            decode(frame);
    }
    ipc_reader_done(&r);
    return 0;
}
