#include "roles/common/canonical.h"

#include <idn2.h>
#include <stdlib.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/ip.h"
#include "smtp/address.h"

enum { DOMAIN_MAX = SMTP_DOMAIN_BYTES_MAX, LOCAL_MAX = SMTP_LOCAL_BYTES_MAX };

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

static bool has_a_label(struct span domain)
{
    while (domain.len) {
        struct span label = span_sub(domain, 0, span_find_byte(domain, '.'));

        if (span_starts_nocase(label, SPAN_LIT("xn--")))
            return true;
        domain = span_from(domain, label.len + 1);
    }
    return false;
}

static int append_lower(struct span s, struct buf *out)
{
    int rc = BRANT_OK;

    for (size_t i = 0; i < s.len && !rc; i++)
        rc = buf_append_byte(out, ascii_lower(s.p[i]));
    return rc;
}

/* Full-width letters, ligatures and their like are no part of a U-label (RFC 5892 2.2): a name that becomes
 * ours only by replacing them is not ours. At most DOMAIN_MAX bytes. */
static bool is_lookalike(struct span domain)
{
    UErrorCode status = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&status), *nfkc = unorm2_getNFKCInstance(&status);
    UChar wide[DOMAIN_MAX], composed[4 * DOMAIN_MAX];
    int32_t wide_len = 0, composed_len;

    u_strFromUTF8(wide, DOMAIN_MAX, &wide_len, (const char *)domain.p, (int32_t)domain.len, &status);
    composed_len = unorm2_normalize(nfc, wide, wide_len, composed, 4 * DOMAIN_MAX, &status);
    return !unorm2_isNormalized(nfkc, composed, composed_len, &status) || U_FAILURE(status);
}

/* Through the A-label form, which checks it, to U-labels. */
static int append_idn(struct span domain, struct buf *out)
{
    char text[DOMAIN_MAX + 1], *ascii = NULL, *unicode = NULL;
    int rc = BRANT_ESYNTAX;

    if (is_lookalike(domain))
        return rc;
    memcpy(text, domain.p, domain.len);
    text[domain.len] = '\0';
    if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK &&
        smtp_domain_check(span_str(ascii)) == BRANT_OK && idn2_to_unicode_8z8z(ascii, &unicode, 0) == IDN2_OK)
        rc = smtp_domain_check(span_str(unicode)) ? BRANT_ESYNTAX : buf_append_str(out, unicode);
    idn2_free(ascii);
    idn2_free(unicode);
    return rc;
}

int canonical_domain(struct span domain, struct buf *out)
{
    struct ip_addr literal;
    int rc;

    if (domain.len > DOMAIN_MAX)
        return BRANT_ELIMIT;
    if (domain.len && domain.p[0] == '[') {
        rc = smtp_literal_parse(domain, &literal);
        return rc ? BRANT_ESYNTAX : append_lower(domain, out);
    }
    rc = smtp_domain_check(domain);
    if (rc)
        return rc;
    if (is_ascii(domain) && !has_a_label(domain))
        return append_lower(domain, out);
    return append_idn(domain, out);
}

/* Unicode normalisation form C; valid UTF-8 of at most LOCAL_MAX bytes. */
static int append_nfc(struct span local, struct buf *out)
{
    UErrorCode status = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&status);
    UChar wide[LOCAL_MAX], composed[4 * LOCAL_MAX];
    char text[4 * LOCAL_MAX];
    int32_t wide_len = 0, composed_len, text_len = 0;

    u_strFromUTF8(wide, LOCAL_MAX, &wide_len, (const char *)local.p, (int32_t)local.len, &status);
    composed_len = unorm2_normalize(nfc, wide, wide_len, composed, 4 * LOCAL_MAX, &status);
    u_strToUTF8(text, sizeof text, &text_len, composed, composed_len, &status);
    if (U_FAILURE(status))
        return BRANT_ESYNTAX;
    if (text_len > LOCAL_MAX)
        return BRANT_ELIMIT;
    return buf_append(out, span_make(text, (size_t)text_len));
}

static int append_mailbox(struct span address, struct buf *out)
{
    struct smtp_mailbox m;
    _cleanup_buf_ struct buf plain;
    size_t at;
    int rc = smtp_mailbox_parse(address, &m);

    buf_init(&plain, SMTP_MAILBOX_BYTES_MAX);
    if (rc == BRANT_OK)
        rc = smtp_mailbox_normalise(&m, &plain);
    if (rc)
        return rc == BRANT_ELIMIT ? rc : BRANT_ESYNTAX;
    at = span_rfind_byte(buf_span(&plain), '@');
    struct span local = span_sub(buf_span(&plain), 0, at);

    rc = is_ascii(local) ? buf_append(out, local) : append_nfc(local, out);
    if (!rc)
        rc = buf_append_byte(out, '@');
    return rc ? rc : canonical_domain(span_from(buf_span(&plain), at + 1), out);
}

int canonical_address(struct span address, struct buf *out)
{
    size_t start = out->len;
    int rc;

    if (span_eq_str_nocase(address, "postmaster")) {
        rc = buf_append_str(out, "postmaster");
    } else if (address.len && address.p[0] == '@') {
        rc = buf_append_byte(out, '@');
        if (!rc)
            rc = canonical_domain(span_from(address, 1), out);
    } else {
        rc = append_mailbox(address, out);
    }
    if (rc)
        out->len = start;
    return rc;
}
