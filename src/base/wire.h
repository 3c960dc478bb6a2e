/* One cursor for all binary reading and writing, with a sticky error: do every step, check once at the end.
 * Integers are little-endian. After the first failure reads give zeros and empty spans, writes do nothing. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "base/buf.h"

struct wire_reader {
    struct span in; /* what is left to read */
    int err;        /* BRANT_OK, BRANT_ESYNTAX (too short) or BRANT_ELIMIT (a length over its maximum) */
};

static inline struct wire_reader wire_read(struct span in)
{
    return (struct wire_reader){in, 0};
}

uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
struct span wire_get_bytes(struct wire_reader *r, size_t len);    /* exactly len; points into the input */
struct span wire_get_span(struct wire_reader *r, size_t len_max); /* u32 length, then that many bytes */
/* The sticky error; trailing bytes count as BRANT_ESYNTAX. */
int wire_get_end(const struct wire_reader *r);

struct wire_writer {
    struct buf *out; /* borrowed */
    int err;         /* BRANT_OK or BRANT_ELIMIT */
};

static inline struct wire_writer wire_write(struct buf *out)
{
    return (struct wire_writer){out, 0};
}

void wire_put_u8(struct wire_writer *w, uint8_t value);
void wire_put_u16(struct wire_writer *w, uint16_t value);
void wire_put_u32(struct wire_writer *w, uint32_t value);
void wire_put_u64(struct wire_writer *w, uint64_t value);
void wire_put_bytes(struct wire_writer *w, struct span bytes);
void wire_put_span(struct wire_writer *w, struct span bytes); /* u32 length, then the bytes */
/* Overwrites four bytes written before, at an offset from the start of the buffer (a length known later). */
void wire_patch_u32(struct wire_writer *w, size_t offset, uint32_t value);

#endif
