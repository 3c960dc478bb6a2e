#include "mime/charset.h"

#include <stdlib.h>
#include <unicode/ucnv.h>
#include <unicode/ucnv_cb.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "charset_tables.h" /* made by gen_charset_tables.py */

enum kind { KIND_ICU, KIND_KOREAN, KIND_HKSCS, KIND_SJISX0213, KIND_EUCJISX0213, KIND_JOHAB };
enum { LABEL_MAX = 63, PIVOT = 512, REPLACEMENT = 0xfffd };
enum { HANGUL_FILLER = 0x3164 };

struct mime_charset {
    enum kind kind;
    UConverter *icu; /* owned; NULL for the table kinds */
    uint8_t held[2]; /* bytes of an unfinished character (table kinds, HKSCS) */
    size_t held_len;
    UChar surrogate;  /* the first half of a pair, or 0 */
    uint16_t jamo[4]; /* KOREAN: a composed syllable being collected */
    size_t jamo_len;
};

static const struct {
    const char *label;
    const char *icu; /* NULL for the table kinds */
    enum kind kind;
} labels[] = {
    {"utf8", "UTF-8", KIND_ICU},
    {"unicode-1-1-utf-8", "UTF-8", KIND_ICU},
    {"us-ascii", "UTF-8", KIND_ICU},
    {"ascii", "UTF-8", KIND_ICU},
    {"ansi_x3.4-1968", "UTF-8", KIND_ICU},
    {"iso-ir-6", "UTF-8", KIND_ICU},
    {"646", "UTF-8", KIND_ICU},
    {"unicode-1-1-utf-7", "UTF-7", KIND_ICU},
    {"iso-8859-1", "windows-1252", KIND_ICU},
    {"iso8859-1", "windows-1252", KIND_ICU},
    {"iso_8859-1", "windows-1252", KIND_ICU},
    {"latin1", "windows-1252", KIND_ICU},
    {"latin-1", "windows-1252", KIND_ICU},
    {"l1", "windows-1252", KIND_ICU},
    {"iso-8859-9", "windows-1254", KIND_ICU},
    {"latin5", "windows-1254", KIND_ICU},
    {"iso-8859-11", "windows-874", KIND_ICU},
    {"tis-620", "windows-874", KIND_ICU},
    {"iso-8859-8-i", "ISO-8859-8", KIND_ICU},
    {"iso-8859-8-e", "ISO-8859-8", KIND_ICU},
    {"gb2312", "GB18030", KIND_ICU},
    {"gb_2312-80", "GB18030", KIND_ICU},
    {"gb2312-80", "GB18030", KIND_ICU},
    {"csgb2312", "GB18030", KIND_ICU},
    {"euc-cn", "GB18030", KIND_ICU},
    {"x-euc-cn", "GB18030", KIND_ICU},
    {"gbk", "GB18030", KIND_ICU},
    {"x-gbk", "GB18030", KIND_ICU},
    {"cp936", "GB18030", KIND_ICU},
    {"ms936", "GB18030", KIND_ICU},
    {"windows-936", "GB18030", KIND_ICU},
    {"gb18030-2022", "GB18030", KIND_ICU},
    {"hz-gb-2312", "HZ", KIND_ICU},
    {"big5", "windows-950", KIND_ICU},
    {"csbig5", "windows-950", KIND_ICU},
    {"cp950", "windows-950", KIND_ICU},
    {"x-x-big5", "windows-950", KIND_ICU},
    {"big5-tw", "windows-950", KIND_ICU},
    {"big5-hkscs", "ibm-1375_P100-2008", KIND_HKSCS},
    {"big5hkscs", "ibm-1375_P100-2008", KIND_HKSCS},
    {"big5_hkscs", "ibm-1375_P100-2008", KIND_HKSCS},
    {"hkscs-big5", "ibm-1375_P100-2008", KIND_HKSCS},
    {"ks_c_5601-1987", "windows-949", KIND_KOREAN},
    {"ks_c_5601-1989", "windows-949", KIND_KOREAN},
    {"ks_c_5601", "windows-949", KIND_KOREAN},
    {"ksc5601", "windows-949", KIND_KOREAN},
    {"ksc_5601", "windows-949", KIND_KOREAN},
    {"ks_x_1001", "windows-949", KIND_KOREAN},
    {"csksc56011987", "windows-949", KIND_KOREAN},
    {"euc-kr", "windows-949", KIND_KOREAN},
    {"euc_kr", "windows-949", KIND_KOREAN},
    {"euckr", "windows-949", KIND_KOREAN},
    {"cseuckr", "windows-949", KIND_KOREAN},
    {"cp949", "windows-949", KIND_KOREAN},
    {"ms949", "windows-949", KIND_KOREAN},
    {"uhc", "windows-949", KIND_KOREAN},
    {"windows-949", "windows-949", KIND_KOREAN},
    {"korean", "windows-949", KIND_KOREAN},
    {"johab", NULL, KIND_JOHAB},
    {"cp1361", NULL, KIND_JOHAB},
    {"ms1361", NULL, KIND_JOHAB},
    {"x-johab", NULL, KIND_JOHAB},
    {"iso2022-kr", "ISO-2022-KR", KIND_ICU},
    {"iso2022_kr", "ISO-2022-KR", KIND_ICU},
    {"shift_jis", "windows-31j", KIND_ICU},
    {"shift-jis", "windows-31j", KIND_ICU},
    {"shiftjis", "windows-31j", KIND_ICU},
    {"sjis", "windows-31j", KIND_ICU},
    {"x-sjis", "windows-31j", KIND_ICU},
    {"csshiftjis", "windows-31j", KIND_ICU},
    {"ms_kanji", "windows-31j", KIND_ICU},
    {"cp932", "windows-31j", KIND_ICU},
    {"ms932", "windows-31j", KIND_ICU},
    {"shift_jisx0213", NULL, KIND_SJISX0213},
    {"shift_jis-2004", NULL, KIND_SJISX0213},
    {"shift_jis_2004", NULL, KIND_SJISX0213},
    {"euc-jisx0213", NULL, KIND_EUCJISX0213},
    {"euc_jisx0213", NULL, KIND_EUCJISX0213},
    {"euc-jis-2004", NULL, KIND_EUCJISX0213},
    {"euc_jis_2004", NULL, KIND_EUCJISX0213},
    {"euc_jp", "EUC-JP", KIND_ICU},
    {"x-euc-jp", "EUC-JP", KIND_ICU},
    {"iso-2022-jp", "ISO-2022-JP-2", KIND_ICU},
    {"iso2022-jp", "ISO-2022-JP-2", KIND_ICU},
    {"iso2022_jp", "ISO-2022-JP-2", KIND_ICU},
    {"csiso2022jp", "ISO-2022-JP-2", KIND_ICU},
    {"iso-2022-jp-ms", "ISO-2022-JP-2", KIND_ICU},
    {"iso-2022-jp-3", "ISO-2022-JP-2", KIND_ICU},
    {"iso-2022-jp-2004", "ISO-2022-JP-2", KIND_ICU},
    {"cp50220", "ISO-2022-JP-2", KIND_ICU},
    {"cp50221", "ISO-2022-JP-2", KIND_ICU},
};

/* Every invalid sequence becomes U+FFFD; ICU alone would write U+001A for some. */
static void substitute(const void *context, UConverterToUnicodeArgs *args, const char *bytes, int32_t length,
                       UConverterCallbackReason reason, UErrorCode *err)
{
    static const UChar replacement = REPLACEMENT;

    (void)context;
    (void)bytes;
    (void)length;
    if (reason > UCNV_IRREGULAR)
        return;
    *err = U_ZERO_ERROR;
    ucnv_cbToUWriteUChars(args, &replacement, 1, 0, err);
}

static UConverter *icu_open(const char *name)
{
    UErrorCode err = U_ZERO_ERROR;
    UConverter *icu = ucnv_open(name, &err);

    if (U_FAILURE(err))
        return NULL;
    ucnv_setToUCallBack(icu, substitute, NULL, NULL, NULL, &err);
    return icu;
}

/* Commas and the like are options to ICU, not part of a label. */
static bool label_valid(struct span label)
{
    for (size_t i = 0; i < label.len; i++)
        if (!ascii_is_alnum(label.p[i]) && !memchr("-_.:+()", label.p[i], 7))
            return false;
    return label.len > 0 && label.len <= LABEL_MAX;
}

int mime_charset_open(struct span label, struct mime_charset **ret)
{
    struct mime_charset c = {.kind = KIND_ICU};
    char name[LABEL_MAX + 1];
    const char *icu_name = name;

    if (!label_valid(label))
        return BRANT_ENOTFOUND;
    memcpy(name, label.p, label.len);
    name[label.len] = '\0';
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        if (!span_eq_str_nocase(label, labels[i].label))
            continue;
        icu_name = labels[i].icu;
        c.kind = labels[i].kind;
        break;
    }
    if (icu_name && (c.icu = icu_open(icu_name)) == NULL)
        return BRANT_ENOTFOUND;
    *ret = mem_dup(&c, sizeof c);
    return BRANT_OK;
}

void mime_charset_close(struct mime_charset *c)
{
    if (!c)
        return;
    if (c->icu)
        ucnv_close(c->icu);
    free(c);
}

/* ---- Hangul written as filler and three letters (KS X 1001 annex 3) ---- */

/* The place of a compatibility letter U+3131… in a syllable, or -1. */
static int jamo_initial(uint16_t c)
{
    static const int8_t places[30] = {0,  1, -1, 2, -1, -1, 3,  4,  5,  -1, -1, -1, -1, -1, -1,
                                      -1, 6, 7,  8, -1, 9,  10, 11, 12, 13, 14, 15, 16, 17, 18};

    return c >= 0x3131 && c < 0x3131 + 30 ? places[c - 0x3131] : -1;
}

static int jamo_final(uint16_t c)
{
    static const int8_t places[30] = {1,  2,  3,  4,  5,  6,  7,  -1, 8,  9,  10, 11, 12, 13, 14,
                                      15, 16, 17, -1, 18, 19, 20, 21, 22, -1, 23, 24, 25, 26, 27};

    if (c == HANGUL_FILLER)
        return 0;
    return c >= 0x3131 && c < 0x3131 + 30 ? places[c - 0x3131] : -1;
}

static int jamo_flush(struct mime_charset *c, struct buf *out)
{
    int err = BRANT_OK;

    for (size_t i = 0; i < c->jamo_len && !err; i++)
        err = codec_utf8_put(out, c->jamo[i]);
    c->jamo_len = 0;
    return err;
}

static int jamo_take(struct mime_charset *c, uint32_t code, struct buf *out)
{
    int initial, vowel, final, err;

    if (code < 0x3131 || code > HANGUL_FILLER || (c->jamo_len == 0 && code != HANGUL_FILLER)) {
        err = jamo_flush(c, out);
        return err ? err : codec_utf8_put(out, code);
    }
    c->jamo[c->jamo_len++] = (uint16_t)code;
    if (c->jamo_len < 4)
        return BRANT_OK;
    initial = jamo_initial(c->jamo[1]);
    vowel = c->jamo[2] - 0x314f;
    final = jamo_final(c->jamo[3]);
    if (initial < 0 || vowel < 0 || vowel > 20 || final < 0)
        return jamo_flush(c, out);
    c->jamo_len = 0;
    return codec_utf8_put(out, 0xac00 + (uint32_t)((initial * 21 + vowel) * 28 + final));
}

/* ---- output ---- */

static int put(struct mime_charset *c, uint32_t code, struct buf *out)
{
    return c->kind == KIND_KOREAN ? jamo_take(c, code, out) : codec_utf8_put(out, code);
}

static int put_utf16(struct mime_charset *c, const UChar *text, size_t len, struct buf *out)
{
    int err = BRANT_OK;

    for (size_t i = 0; i < len && !err; i++) {
        UChar u = text[i];

        if (c->surrogate && (u & 0xfc00) == 0xdc00) {
            err = put(c, 0x10000 + ((uint32_t)(c->surrogate & 0x3ff) << 10) + (u & 0x3ff), out);
            c->surrogate = 0;
            continue;
        }
        if (c->surrogate) {
            err = put(c, REPLACEMENT, out);
            c->surrogate = 0;
        }
        if ((u & 0xfc00) == 0xd800)
            c->surrogate = u;
        else if (!err)
            err = put(c, (u & 0xfc00) == 0xdc00 ? REPLACEMENT : u, out);
    }
    return err;
}

static int icu_feed(struct mime_charset *c, struct span in, bool flush, struct buf *out)
{
    UChar pivot[PIVOT];
    const char *from = (const char *)in.p, *end = from + in.len;

    for (;;) {
        UErrorCode status = U_ZERO_ERROR;
        UChar *to = pivot;
        int err;

        ucnv_toUnicode(c->icu, &to, pivot + PIVOT, &from, end, NULL, flush, &status);
        err = put_utf16(c, pivot, (size_t)(to - pivot), out);
        if (err)
            return err;
        if (status != U_BUFFER_OVERFLOW_ERROR)
            return BRANT_OK; /* the callback leaves no other error */
    }
}

/* ---- tables ---- */

static int put_jisx0213(uint32_t plane, uint32_t row, uint32_t cell, struct mime_charset *c, struct buf *out)
{
    uint32_t entry = row < 94 && cell < 94 ? jisx0213[(plane * 94 + row) * 94 + cell] : 0;
    int err = put(c, entry ? entry & 0x1fffff : REPLACEMENT, out);

    if (!err && entry >> 21)
        err = put(c, jisx0213_combining[(entry >> 21) - 1], out);
    return err;
}

/* The second plane of JIS X 0213 in Shift_JIS: which row (from 1) a half lead byte stands for. */
static uint32_t sjis_plane2_row(uint32_t half)
{
    static const uint8_t rows[10] = {1, 8, 3, 4, 5, 12, 13, 14, 15, 78};

    return half < 10 ? rows[half] : 78 + half - 9;
}

static int sjis_pair(struct mime_charset *c, uint8_t lead, uint8_t trail, struct buf *out)
{
    uint32_t half, cell, row;

    if (trail < 0x40 || trail == 0x7f || trail > 0xfc)
        return put(c, REPLACEMENT, out);
    cell = (uint32_t)trail - (trail > 0x7f ? 0x41 : 0x40); /* 0 to 187: two rows */
    half = cell >= 94;
    cell %= 94;
    if (lead < 0xf0) {
        row = (uint32_t)(lead - (lead >= 0xe0 ? 0xc1 : 0x81)) * 2 + half;
        return put_jisx0213(0, row, cell, c, out);
    }
    row = (uint32_t)(lead - 0xf0) * 2 + half;
    return put_jisx0213(1, sjis_plane2_row(row) - 1, cell, c, out);
}

static int sjis_byte(struct mime_charset *c, uint8_t byte, struct buf *out)
{
    if (c->held_len) {
        c->held_len = 0;
        return sjis_pair(c, c->held[0], byte, out);
    }
    if (byte < 0x80)
        return put(c, byte, out);
    if (byte >= 0xa1 && byte <= 0xdf)
        return put(c, 0xff61U + byte - 0xa1, out);
    if (byte == 0x80 || byte == 0xa0 || byte > 0xfc)
        return put(c, REPLACEMENT, out);
    c->held[c->held_len++] = byte;
    return BRANT_OK;
}

static int eucjp_byte(struct mime_charset *c, uint8_t byte, struct buf *out)
{
    uint8_t lead = c->held_len ? c->held[0] : 0;

    if (!lead) {
        if (byte < 0x80)
            return put(c, byte, out);
        if (byte < 0x8e || (byte > 0x8f && byte < 0xa1) || byte == 0xff)
            return put(c, REPLACEMENT, out);
        c->held[c->held_len++] = byte;
        return BRANT_OK;
    }
    if (byte < 0xa1 || byte == 0xff) {
        c->held_len = 0;
        return put(c, REPLACEMENT, out);
    }
    if (lead == 0x8f && c->held_len == 1) {
        c->held[c->held_len++] = byte;
        return BRANT_OK;
    }
    c->held_len = 0;
    if (lead == 0x8e)
        return put(c, byte <= 0xdf ? 0xff61U + byte - 0xa1 : REPLACEMENT, out);
    if (lead == 0x8f)
        return put_jisx0213(1, c->held[1] - 0xa1U, byte - 0xa1U, c, out);
    return put_jisx0213(0, lead - 0xa1U, byte - 0xa1U, c, out);
}

static int johab_byte(struct mime_charset *c, uint8_t byte, struct buf *out)
{
    uint32_t code = 0;

    if (!c->held_len) {
        if (byte < 0x80)
            return put(c, byte, out);
        if (byte < 0x84 || byte > 0xf9)
            return put(c, REPLACEMENT, out);
        c->held[c->held_len++] = byte;
        return BRANT_OK;
    }
    c->held_len = 0;
    if (byte >= 0x31 && byte != 0xff)
        code = johab[(c->held[0] - 0x84) * 206 + byte - 0x31];
    return put(c, code ? code : REPLACEMENT, out);
}

/* Big5-HKSCS through ICU, save for the four codes that stand for a letter and a combining mark. */
static int hkscs_byte(struct mime_charset *c, uint8_t byte, struct buf *out)
{
    uint8_t pair[2] = {c->held[0], byte};
    int err;

    if (!c->held_len) {
        if (byte <= 0x80 || byte == 0xff)
            return icu_feed(c, span_make(&byte, 1), false, out);
        c->held[c->held_len++] = byte;
        return BRANT_OK;
    }
    c->held_len = 0;
    if (pair[0] != 0x88 || (byte != 0x62 && byte != 0x64 && byte != 0xa3 && byte != 0xa5))
        return icu_feed(c, span_make(pair, 2), false, out);
    err = put(c, byte < 0x80 ? 0xca : 0xea, out);
    return err ? err : put(c, byte == 0x62 || byte == 0xa3 ? 0x304 : 0x30c, out);
}

static int table_byte(struct mime_charset *c, uint8_t byte, struct buf *out)
{
    switch (c->kind) {
    case KIND_HKSCS:
        return hkscs_byte(c, byte, out);
    case KIND_SJISX0213:
        return sjis_byte(c, byte, out);
    case KIND_EUCJISX0213:
        return eucjp_byte(c, byte, out);
    case KIND_JOHAB:
        return johab_byte(c, byte, out);
    case KIND_ICU:
    case KIND_KOREAN:
        break;
    }
    return BRANT_ESTATE;
}

int mime_charset_feed(struct mime_charset *c, struct span in, struct buf *out)
{
    int err = BRANT_OK;

    if (c->kind == KIND_ICU || c->kind == KIND_KOREAN)
        return in.len ? icu_feed(c, in, false, out) : BRANT_OK;
    for (size_t i = 0; i < in.len && !err; i++)
        err = table_byte(c, in.p[i], out);
    return err;
}

int mime_charset_finish(struct mime_charset *c, struct buf *out)
{
    int err = BRANT_OK;

    if (c->icu)
        err = icu_feed(c, SPAN_LIT(""), true, out);
    if (!err && (c->held_len || c->surrogate))
        err = put(c, REPLACEMENT, out);
    if (!err)
        err = jamo_flush(c, out);
    c->held_len = 0;
    c->surrogate = 0;
    return err;
}

int mime_charset_to_utf8(struct span label, struct span in, struct buf *out)
{
    struct mime_charset *c;
    int err = mime_charset_open(label, &c);

    if (err)
        return err;
    err = mime_charset_feed(c, in, out);
    if (!err)
        err = mime_charset_finish(c, out);
    mime_charset_close(c);
    return err;
}

int mime_utf8_repair(struct span in, struct buf *out)
{
    while (in.len) {
        uint32_t code;
        size_t len = codec_utf8_next(in, &code);
        int err = len ? buf_append(out, span_sub(in, 0, len)) : codec_utf8_put(out, REPLACEMENT);

        if (err)
            return err;
        in = span_from(in, len ? len : 1);
    }
    return BRANT_OK;
}
