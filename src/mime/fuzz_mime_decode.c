/* The first byte picks a transfer encoding and a charset, the second where the rest is cut: the result must
 * not depend on the cut, decoding must not grow, and text must be UTF-8. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/charset.h"
#include "mime/decode.h"

static void decode(enum mime_encoding e, struct span in, size_t cut, struct buf *out)
{
    struct mime_decoder d;

    mime_decoder_init(&d, e);
    mime_decoder_feed(&d, span_sub(in, 0, cut), out);
    mime_decoder_feed(&d, span_from(in, cut), out);
    mime_decoder_finish(&d, out);
    if (d.pos != in.len || (d.errors && d.first_error > in.len))
        abort();
}

static void convert(const char *label, struct span in, size_t cut, struct buf *out)
{
    struct mime_charset *c;

    if (mime_charset_open(span_str(label), &c) != BRANT_OK ||
        mime_charset_feed(c, span_sub(in, 0, cut), out) != BRANT_OK ||
        mime_charset_feed(c, span_from(in, cut), out) != BRANT_OK || mime_charset_finish(c, out) != BRANT_OK)
        abort();
    mime_charset_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const labels[] = {"utf-8",  "gb18030",      "big5",        "big5-hkscs",
                                         "euc-kr", "johab",        "shift_jis",   "shift_jisx0213",
                                         "euc-jp", "euc-jisx0213", "iso-2022-jp", "iso-2022-kr",
                                         "hz",     "utf-7",        "utf-16",      "iso-8859-1"};
    struct buf whole, cut;
    struct span in;

    if (size < 2)
        return 0;
    in = span_make(data + 2, size - 2);
    buf_init(&whole, 16 << 20);
    buf_init(&cut, 16 << 20);
    decode(data[0] & 16 ? MIME_ENCODING_BASE64 : MIME_ENCODING_QUOTED_PRINTABLE, in, in.len, &whole);
    decode(data[0] & 16 ? MIME_ENCODING_BASE64 : MIME_ENCODING_QUOTED_PRINTABLE, in, data[1], &cut);
    if (!span_eq(buf_span(&whole), buf_span(&cut)) || whole.len > in.len)
        abort();
    buf_reset(&whole);
    buf_reset(&cut);
    convert(labels[data[0] & 15], in, in.len, &whole);
    convert(labels[data[0] & 15], in, data[1], &cut);
    if (!span_eq(buf_span(&whole), buf_span(&cut)) || !codec_utf8_valid(buf_span(&whole)))
        abort();
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
