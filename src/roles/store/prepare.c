#include "roles/store/prepare.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/mem.h"

/* NFC makes at most three UTF-16 units of one. */
enum { WIDE_MAX = PREPARE_BYTES_MAX, COMPOSED_MAX = 3 * WIDE_MAX, BYTES_MAX = 3 * COMPOSED_MAX };

/* RFC 5892 2.6: what the algorithm would decide otherwise. */
static const struct {
    UChar32 first, last;
    bool free;
} exceptions[] = {
    {0x00b7, 0x00b7, false}, {0x00df, 0x00df, true},  {0x0375, 0x0375, false}, {0x03c2, 0x03c2, true},
    {0x05f3, 0x05f4, false}, {0x0640, 0x0640, false}, {0x0660, 0x0669, false}, {0x06f0, 0x06f9, false},
    {0x06fd, 0x06fe, true},  {0x07fa, 0x07fa, false}, {0x0f0b, 0x0f0b, true},  {0x3007, 0x3007, true},
    {0x302e, 0x302f, false}, {0x3031, 0x3035, false}, {0x303b, 0x303b, false}, {0x30fb, 0x30fb, false},
};

/* The general categories of RFC 8264 9.1, 9.8, 9.14 to 9.18: letters, digits, marks, symbols, punctuation and
 * spaces. What HasCompat (9.17) would add has one of these or is ignorable. */
static const uint32_t FREE_CATEGORIES =
    U_GC_LL_MASK | U_GC_LU_MASK | U_GC_LO_MASK | U_GC_ND_MASK | U_GC_LM_MASK | U_GC_MN_MASK | U_GC_MC_MASK |
    U_GC_LT_MASK | U_GC_NL_MASK | U_GC_NO_MASK | U_GC_ME_MASK | U_GC_ZS_MASK | U_GC_S_MASK | U_GC_P_MASK;

static bool is_old_hangul(UChar32 c)
{
    int32_t type = u_getIntPropertyValue(c, UCHAR_HANGUL_SYLLABLE_TYPE);
    return type == U_HST_LEADING_JAMO || type == U_HST_VOWEL_JAMO || type == U_HST_TRAILING_JAMO;
}

/* RFC 8264 8, in its order. */
bool prepare_is_free(uint32_t code_point)
{
    UChar32 c = (UChar32)code_point;
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (c >= exceptions[i].first && c <= exceptions[i].last)
            return exceptions[i].free;
    if (c < 0x80)
        return ascii_is_print((uint8_t)c);
    if (is_old_hangul(c) || u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) ||
        u_hasBinaryProperty(c, UCHAR_NONCHARACTER_CODE_POINT))
        return false;
    return (U_MASK((uint32_t)u_charType(c)) & FREE_CATEGORIES) != 0;
}

/* ---- code points that depend on their neighbours: RFC 5892 appendix A ---- */

/* The text is whole UTF-16. */
static UChar32 forward(const UChar *s, int32_t *i)
{
    UChar unit = s[(*i)++];
    return U16_IS_LEAD(unit) ? U16_GET_SUPPLEMENTARY(unit, s[(*i)++]) : unit;
}

static UChar32 backward(const UChar *s, int32_t *i)
{
    UChar unit = s[--*i];
    return U16_IS_TRAIL(unit) ? U16_GET_SUPPLEMENTARY(s[--*i], unit) : unit;
}

static bool is_script(UChar32 c, UScriptCode script)
{
    UErrorCode status = U_ZERO_ERROR;
    return uscript_getScript(c, &status) == script && U_SUCCESS(status);
}

/* A.1: a letter that joins on this side, over marks that don't count. */
static bool joins(const UChar *s, int32_t i, int32_t len, int step)
{
    for (;;) {
        if (step < 0 ? i <= 0 : i >= len)
            return false;
        UChar32 c = step < 0 ? backward(s, &i) : forward(s, &i);
        int32_t type = u_getIntPropertyValue(c, UCHAR_JOINING_TYPE);
        if (type == U_JT_TRANSPARENT)
            continue;
        return type == U_JT_DUAL_JOINING || type == (step < 0 ? U_JT_LEFT_JOINING : U_JT_RIGHT_JOINING);
    }
}

static bool any_japanese(const UChar *s, int32_t len)
{
    for (int32_t i = 0; i < len;) {
        UChar32 c = forward(s, &i);
        if (is_script(c, USCRIPT_HIRAGANA) || is_script(c, USCRIPT_KATAKANA) || is_script(c, USCRIPT_HAN))
            return true;
    }
    return false;
}

static bool any_between(const UChar *s, int32_t len, UChar first, UChar last)
{
    for (int32_t i = 0; i < len; i++)
        if (s[i] >= first && s[i] <= last)
            return true;
    return false;
}

/* The code point c from i to end, which is not free by itself. */
static bool fits_context(const UChar *s, int32_t i, int32_t end, int32_t len, UChar32 c)
{
    enum { VIRAMA = 9 };
    int32_t to_left = i, to_right = end;
    UChar32 prev = i > 0 ? backward(s, &to_left) : 0, next = end < len ? forward(s, &to_right) : 0;
    switch (c) {
    case 0x200c: /* A.1 zero width non-joiner */
        return u_getCombiningClass(prev) == VIRAMA || (joins(s, i, len, -1) && joins(s, end, len, 1));
    case 0x200d: /* A.2 zero width joiner */
        return u_getCombiningClass(prev) == VIRAMA;
    case 0x00b7: /* A.3 middle dot: Catalan l·l */
        return prev == 'l' && next == 'l';
    case 0x0375: /* A.4 Greek keraia */
        return is_script(next, USCRIPT_GREEK);
    case 0x05f3: /* A.5, A.6 Hebrew geresh and gershayim */
    case 0x05f4:
        return is_script(prev, USCRIPT_HEBREW);
    case 0x30fb: /* A.7 Katakana middle dot */
        return any_japanese(s, len);
    default:
        if (c >= 0x0660 && c <= 0x0669) /* A.8, A.9: the two kinds of Arabic digits are not mixed */
            return !any_between(s, len, 0x06f0, 0x06f9);
        return c >= 0x06f0 && c <= 0x06f9 && !any_between(s, len, 0x0660, 0x0669);
    }
}

static bool all_allowed(const UChar *s, int32_t len)
{
    for (int32_t i = 0; i < len;) {
        int32_t at = i;
        UChar32 c = forward(s, &i);
        if (!prepare_is_free((uint32_t)c) && !fits_context(s, at, i, len, c))
            return false;
    }
    return true;
}

/* ---- the profile ---- */

struct scratch {
    UChar wide[WIDE_MAX], composed[COMPOSED_MAX];
    char text[BYTES_MAX];
};

/* RFC 8264 7: additional mapping, normalisation, then what is allowed. */
static int prepare(struct span text, struct scratch *s, int32_t *ret_len)
{
    UErrorCode status = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&status);
    int32_t wide_len = 0;
    u_strFromUTF8(s->wide, WIDE_MAX, &wide_len, (const char *)text.p, (int32_t)text.len, &status);
    if (U_FAILURE(status))
        return BRANT_ESYNTAX;
    for (int32_t i = 0; i < wide_len; i++) /* RFC 8265 4.2.2: every space is the space */
        if (u_charType(s->wide[i]) == U_SPACE_SEPARATOR)
            s->wide[i] = ' ';
    int32_t len = unorm2_normalize(nfc, s->wide, wide_len, s->composed, COMPOSED_MAX, &status);
    if (U_FAILURE(status) || !all_allowed(s->composed, len))
        return BRANT_ESYNTAX;
    u_strToUTF8(s->text, BYTES_MAX, ret_len, s->composed, len, &status);
    return U_FAILURE(status) ? BRANT_ESYNTAX : BRANT_OK;
}

static bool is_plain(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!ascii_is_print(text.p[i]))
            return false;
    return true;
}

int prepare_opaque(struct span text, struct buf *out)
{
    if (text.len == 0)
        return BRANT_ESYNTAX;
    if (text.len > PREPARE_BYTES_MAX)
        return BRANT_ELIMIT;
    if (is_plain(text))
        return buf_append(out, text);
    struct scratch scratch;
    int32_t len = 0;
    int rc = prepare(text, &scratch, &len);
    if (rc == BRANT_OK && len > PREPARE_BYTES_MAX)
        rc = BRANT_ELIMIT;
    if (rc == BRANT_OK)
        rc = buf_append(out, span_make(scratch.text, (size_t)len));
    mem_wipe(&scratch, sizeof scratch);
    return rc;
}
