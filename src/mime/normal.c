#include "mime/normal.h"

#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] >= 0x80)
            return false;
    return true;
}

int mime_nfc(struct span utf8, struct buf *out)
{
    UErrorCode status = U_ZERO_ERROR;
    int32_t wide_max, wide_len = 0, composed_max, composed_len, text_len = 0;

    if (is_ascii(utf8))
        return buf_append(out, utf8);
    if (utf8.len > MIME_NFC_BYTES_MAX)
        return BRANT_ELIMIT;
    if (!codec_utf8_valid(utf8))
        return BRANT_ESYNTAX;
    wide_max = (int32_t)utf8.len + 1;
    composed_max = MIME_NFC_EXPANSION * wide_max;
    _cleanup_free_ UChar *wide = mem_array((size_t)wide_max, sizeof *wide);
    _cleanup_free_ UChar *composed = mem_array((size_t)composed_max, sizeof *composed);
    _cleanup_free_ char *text = mem_array((size_t)composed_max, 3);
    u_strFromUTF8(wide, wide_max, &wide_len, (const char *)utf8.p, (int32_t)utf8.len, &status);
    composed_len =
        unorm2_normalize(unorm2_getNFCInstance(&status), wide, wide_len, composed, composed_max, &status);
    u_strToUTF8(text, 3 * composed_max, &text_len, composed, composed_len, &status);
    if (U_FAILURE(status))
        return BRANT_ESYNTAX;
    return buf_append(out, span_make(text, (size_t)text_len));
}
