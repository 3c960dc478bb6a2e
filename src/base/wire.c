#include "base/wire.h"

#include <assert.h>

#include "base/err.h"

struct span wire_get_bytes(struct wire_reader *r, size_t len)
{
    struct span got;

    if (r->err)
        return SPAN_NONE;
    if (len > r->in.len) {
        r->err = BRANT_ESYNTAX;
        return SPAN_NONE;
    }
    got = span_sub(r->in, 0, len);
    r->in = span_from(r->in, len);
    return got;
}

static uint64_t get_uint(struct wire_reader *r, size_t size)
{
    struct span bytes = wire_get_bytes(r, size);
    uint64_t value = 0;

    for (size_t i = bytes.len; i > 0; i--)
        value = value << 8 | bytes.p[i - 1];
    return value;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    return (uint8_t)get_uint(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)get_uint(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)get_uint(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    return get_uint(r, 8);
}

struct span wire_get_span(struct wire_reader *r, size_t len_max)
{
    uint32_t len = wire_get_u32(r);

    if (!r->err && len > len_max)
        r->err = BRANT_ELIMIT;
    return wire_get_bytes(r, len);
}

int wire_get_end(const struct wire_reader *r)
{
    if (r->err)
        return r->err;
    return r->in.len ? BRANT_ESYNTAX : BRANT_OK;
}

void wire_put_bytes(struct wire_writer *w, struct span bytes)
{
    if (!w->err)
        w->err = buf_append(w->out, bytes);
}

static void put_uint(struct wire_writer *w, uint64_t value, size_t size)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size; i++, value >>= 8)
        bytes[i] = (uint8_t)value;
    wire_put_bytes(w, span_make(bytes, size));
}

void wire_put_u8(struct wire_writer *w, uint8_t value)
{
    put_uint(w, value, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t value)
{
    put_uint(w, value, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t value)
{
    put_uint(w, value, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t value)
{
    put_uint(w, value, 8);
}

void wire_put_span(struct wire_writer *w, struct span bytes)
{
    if (bytes.len > UINT32_MAX && !w->err)
        w->err = BRANT_ELIMIT;
    wire_put_u32(w, (uint32_t)bytes.len);
    wire_put_bytes(w, bytes);
}

void wire_patch_u32(struct wire_writer *w, size_t offset, uint32_t value)
{
    if (w->err)
        return;
    assert(offset <= w->out->len && w->out->len - offset >= 4);
    for (size_t i = 0; i < 4; i++, value >>= 8)
        w->out->data[offset + i] = (uint8_t)value;
}
