#include "mime/fold.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

enum { DECOMPOSED_MAX = 18 }; /* UTF-16 units; U+FDFA has the most */

static bool is_whole(uint32_t code)
{
    return (code >= 0xac00 && code <= 0xd7a3) || (code >= 0x3040 && code <= 0x30ff);
}

static int put(uint32_t code, struct buf *out)
{
    return codec_utf8_put(out, (uint32_t)u_foldCase((UChar32)code, U_FOLD_CASE_DEFAULT));
}

static int fold_one(const UNormalizer2 *nfkd, uint32_t code, struct buf *out)
{
    UErrorCode status = U_ZERO_ERROR;
    UChar units[DECOMPOSED_MAX];
    int32_t len = -1;
    int err = BRANT_OK;

    if (nfkd && !is_whole(code))
        len = unorm2_getDecomposition(nfkd, (UChar32)code, units, DECOMPOSED_MAX, &status);
    if (len < 0 || len > DECOMPOSED_MAX || U_FAILURE(status))
        return put(code, out);
    for (int32_t i = 0; i < len && !err; i++) {
        uint32_t c = units[i];

        if (c >= 0xd800 && c < 0xdc00 && i + 1 < len)
            c = 0x10000 + ((c - 0xd800) << 10) + (units[++i] - 0xdc00U);
        err = put(c, out);
    }
    return err;
}

int mime_fold(struct span utf8, struct buf *out)
{
    UErrorCode status = U_ZERO_ERROR;
    const UNormalizer2 *nfkd = NULL;
    int err = BRANT_OK;

    while (utf8.len && !err) {
        size_t len = 0;
        uint32_t code;

        while (len < utf8.len && utf8.p[len] < 0x80)
            len++;
        if (len) {
            uint8_t *to = buf_reserve(out, len);

            if (!to)
                return BRANT_ELIMIT;
            for (size_t i = 0; i < len; i++)
                to[i] = ascii_lower(utf8.p[i]);
            buf_commit(out, len);
        } else if ((len = codec_utf8_next(utf8, &code)) == 0) {
            len = 1;
            err = buf_append_byte(out, utf8.p[0]);
        } else {
            if (!nfkd)
                nfkd = unorm2_getNFKDInstance(&status);
            err = fold_one(nfkd, code, out);
        }
        utf8 = span_from(utf8, len);
    }
    return err;
}
