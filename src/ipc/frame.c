#include "ipc/frame.h"

#include "base/err.h"
#include "base/wire.h"
#include "ipc/messages.h"

void ipc_reader_init(struct ipc_reader *r)
{
    *r = (struct ipc_reader){0};
    buf_init(&r->in, IPC_FRAME_MAX);
}

void ipc_reader_done(struct ipc_reader *r)
{
    buf_done(&r->in);
}

size_t ipc_reader_feed(struct ipc_reader *r, struct span bytes)
{
    size_t room;

    buf_consume(&r->in, r->taken);
    r->taken = 0;
    room = r->in.max - r->in.len;
    bytes = span_sub(bytes, 0, room);
    buf_append(&r->in, bytes);
    return bytes.len;
}

int ipc_reader_next(struct ipc_reader *r, struct span *ret)
{
    struct span left = span_from(buf_span(&r->in), r->taken);
    struct wire_reader header = wire_read(left);
    uint32_t length = wire_get_u32(&header);

    if (left.len == 0) {
        buf_reset(&r->in);
        r->taken = 0;
    }
    if (header.err)
        return BRANT_ETRYLATER;
    if (length < IPC_HEADER_BYTES)
        return BRANT_ESYNTAX;
    if (length > IPC_FRAME_MAX)
        return BRANT_ELIMIT;
    if (left.len < length)
        return BRANT_ETRYLATER;
    *ret = span_sub(left, 0, length);
    r->taken += length;
    return BRANT_OK;
}
