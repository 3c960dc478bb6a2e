/* Hostile payloads: decoding never reads outside; what decodes encodes to the same bytes again, and what an
 * older version says is the same when it is written as the newest. The first byte is the type, its two
 * highest bits how many versions ago it was written. */
#include <stdlib.h>

#include "base/err.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(struct buf *out, uint16_t type, const union record *rec)
{
    buf_init(out, 2 * RECORD_FIELDS_MAX);
    /* Only a record of an older version can be too long as one of today: by the fields it did not have. */
    if (record_encode(out, type, rec) && out->len)
        abort();
}

/* The fields alone, as a payload of their own: without prefixes and body only where there are none. */
static void again(uint16_t type, const struct buf *fields, uint64_t rest)
{
    struct arena arena;
    struct buf out;
    union record rec;
    size_t fields_len;

    arena_init(&arena, 2 * RECORD_ARENA_BYTES);
    if (record_decode(type, record_version(type), buf_span(fields), fields->len + rest, &arena, &rec,
                      &fields_len))
        abort();
    encode(&out, type, &rec);
    if (out.len != fields->len || memcmp(out.data, fields->data, out.len))
        abort();
    buf_done(&out);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buf out;
    union record rec;
    size_t fields_len;
    uint16_t type, version;

    if (size < 1)
        return 0;
    type = data[0] & 0x3f;
    version = record_version(type);
    for (uint8_t back = data[0] >> 6; back && version > 1; back--)
        version--;
    arena_init(&arena, RECORD_ARENA_BYTES);
    if (!record_decode(type, version, span_make(data + 1, size - 1), size - 1, &arena, &rec, &fields_len)) {
        encode(&out, type, &rec);
        if (version == record_version(type) && (out.len != fields_len || memcmp(out.data, data + 1, out.len)))
            abort();
        if (out.len)
            again(type, &out, size - 1 - fields_len);
        if (type == RECORD_MESSAGE && record_body_offset(&rec.message, fields_len) > UINT64_MAX / 2)
            abort();
        buf_done(&out);
    }
    arena_done(&arena);
    return 0;
}
