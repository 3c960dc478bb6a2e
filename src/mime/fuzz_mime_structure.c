/* Any bytes as a structure blob: refused, or a tree that encodes and decodes to itself. */
#include <stdlib.h>

#include "base/err.h"
#include "mime/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct mime_structure s, again;
    struct buf out;

    arena_init(&a, 8 << 20);
    buf_init(&out, 16 << 20);
    if (mime_structure_decode(span_make(data, size), &a, &s) == BRANT_OK) {
        for (uint32_t i = 0; i < s.count; i++)
            if (s.parts[i].body_end > s.size || (i && s.parts[i].parent >= i))
                abort();
        if (mime_structure_encode(&s, 8 << 20, &out) != BRANT_OK ||
            mime_structure_decode(buf_span(&out), &a, &again) != BRANT_OK || again.count != s.count)
            abort();
    }
    buf_done(&out);
    arena_done(&a);
    return 0;
}
