/* Any bytes as an unstructured value, decoded; and as text for a new header field, which must be one field.
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/encoded_word.h"
#include "mime/headers.h"

static void check_one_field(const struct buf *out)
{
    struct span rest = buf_span(out);
    struct mime_raw_field field;

    if (!mime_raw_field_next(&rest, &field) || field.all.len != out->len ||
        !span_eq_str(field.name, "Subject"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_make(data, size);
    struct buf out;

    buf_init(&out, 64 << 20);
    if (mime_words_decode(text, &out) != BRANT_OK || !codec_utf8_valid(buf_span(&out)))
        abort();
    buf_reset(&out);
    if (mime_header_put(&out, "Subject", text) == BRANT_OK)
        check_one_field(&out);
    buf_reset(&out);
    if (mime_header_put_text(&out, "Subject", text) != BRANT_OK)
        abort();
    check_one_field(&out);
    buf_reset(&out);
    if (mime_header_put_mailbox(&out, "Subject", text, SPAN_LIT("a@b")) != BRANT_OK)
        abort();
    check_one_field(&out);
    buf_reset(&out);
    if (mime_header_put_mailbox(&out, "Subject", SPAN_NONE, text) == BRANT_OK)
        check_one_field(&out);
    buf_done(&out);
    return 0;
}
