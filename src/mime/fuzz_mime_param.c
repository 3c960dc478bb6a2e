/* Any bytes as a value with parameters: every name once, every value UTF-8. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/param.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct mime_content c;

    arena_init(&a, 64 << 20);
    if (mime_content_parse(&a, span_make(data, size), &c) != BRANT_OK)
        abort();
    for (size_t i = 0; i < c.count; i++) {
        if (!codec_utf8_valid(c.params[i].value))
            abort();
        for (size_t j = 0; j < i; j++)
            if (span_eq_nocase(c.params[i].name, c.params[j].name))
                abort();
    }
    arena_done(&a);
    return 0;
}
