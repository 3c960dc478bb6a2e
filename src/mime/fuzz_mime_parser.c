/* A message, fed whole and in portions taken from its first byte: the structures must be the same, come back
 * from their blob, and have sound offsets; the explanation must be UTF-8. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/explain.h"

static struct mime_parser *parse(struct span text, size_t step)
{
    struct mime_limits limits = {
        .depth_max = 20, .parts_max = 50, .fields_max = 30, .field_bytes_max = 300, .memory_bytes_max = 4096};
    struct mime_parser *p = mime_parser_new(&limits);

    for (; text.len; text = span_from(text, step))
        mime_parser_feed(p, span_sub(text, 0, step));
    mime_parser_finish(p);
    return p;
}

static void check_blob(const struct mime_structure *s, const struct buf *blob)
{
    struct arena a;
    struct mime_structure d;

    arena_init(&a, 1 << 20);
    if (mime_structure_decode(buf_span(blob), &a, &d) != BRANT_OK || d.count != s->count)
        abort();
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_make(data, size);
    struct mime_parser *whole = parse(text, size ? size : 1),
                       *parts = parse(text, size ? 1 + data[0] % 7 : 1);
    size_t count, other;
    const struct mime_problem *a = mime_parser_problems(whole, &count),
                              *b = mime_parser_problems(parts, &other);
    struct buf blob, again, out;

    buf_init(&blob, 1 << 20);
    buf_init(&again, 1 << 20);
    buf_init(&out, 64 << 20);
    mime_structure_encode(mime_parser_structure(whole), 1 << 20, &blob);
    mime_structure_encode(mime_parser_structure(parts), 1 << 20, &again);
    if (!span_eq(buf_span(&blob), buf_span(&again)) || count != other)
        abort();
    for (size_t i = 0; i < count; i++)
        if (a[i].code != b[i].code || a[i].offset != b[i].offset || a[i].offset > size)
            abort();
    check_blob(mime_parser_structure(whole), &blob);
    if (mime_explain_json(whole, text, &out) != BRANT_OK || !codec_utf8_valid(buf_span(&out)))
        abort();
    buf_reset(&out);
    if (mime_explain_text(whole, text, &out) != BRANT_OK || !codec_utf8_valid(buf_span(&out)))
        abort();
    buf_done(&blob);
    buf_done(&again);
    buf_done(&out);
    mime_parser_free(whole);
    mime_parser_free(parts);
    return 0;
}
