/* Hostile payloads: decoding never reads outside, and what decodes encodes to the same bytes again. */
#include <stdlib.h>

#include "base/err.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buf out;
    union record rec;
    size_t fields_len;

    if (size < 1)
        return 0;
    arena_init(&arena, RECORD_ARENA_BYTES);
    if (!record_decode(data[0], record_version(data[0]), span_make(data + 1, size - 1), size - 1, &arena,
                       &rec, &fields_len)) {
        buf_init(&out, 2 * RECORD_FIELDS_MAX);
        if (record_encode(&out, data[0], &rec) || out.len != fields_len ||
            memcmp(out.data, data + 1, out.len))
            abort();
        if (data[0] == RECORD_MESSAGE && record_body_offset(&rec.message, fields_len) > UINT64_MAX / 2)
            abort();
        buf_done(&out);
    }
    arena_done(&arena);
    return 0;
}
