#include "net/tls_names.h"

#include <openssl/x509v3.h>

enum { NAME_LEN_MAX = 253 };

static bool is_label_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A host name, or "*." and one. */
static bool is_well_formed(struct span name)
{
    if (span_starts(name, SPAN_LIT("*.")))
        name = span_from(name, 2);
    bool in_label = false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] == '.' ? !in_label : !is_label_byte(name.p[i]))
            return false;
        in_label = name.p[i] != '.';
    }
    return in_label;
}

static void add(struct buf *out, const ASN1_STRING *s)
{
    char text[NAME_LEN_MAX + 1];
    int len = ASN1_STRING_length(s);
    const unsigned char *p = ASN1_STRING_get0_data(s);
    if (len <= 0 || len > NAME_LEN_MAX)
        return;
    for (int i = 0; i < len; i++)
        text[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + ('a' - 'A') : p[i]);
    text[len] = '\0';
    if (is_well_formed(span_make(text, (size_t)len)))
        buf_append(out, span_make(text, (size_t)len + 1));
}

void net_tls_names_read(X509 *leaf, struct buf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    if (names) {
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
            const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
            if (n->type == GEN_DNS)
                add(out, n->d.dNSName);
        }
        GENERAL_NAMES_free(names);
        return;
    }
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0)
        add(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

enum net_tls_match net_tls_names_match(struct span names, struct span name)
{
    enum net_tls_match found = NET_TLS_MATCH_NONE;
    size_t dot = span_find_byte(name, '.');
    struct span parent = dot == SPAN_NPOS || dot == 0 ? SPAN_NONE : span_from(name, dot);
    while (names.len > 0) {
        size_t len = span_find_byte(names, '\0');
        struct span one = span_sub(names, 0, len);
        names = span_from(names, one.len + 1);
        if (one.len > 0 && span_eq(one, name))
            return NET_TLS_MATCH_EXACT;
        /* RFC 6125 6.4.3: the wildcard is the whole leftmost label and matches one. */
        if (parent.len > 0 && one.len > 2 && one.p[0] == '*' && span_eq(span_from(one, 1), parent))
            found = NET_TLS_MATCH_WILDCARD;
    }
    return found;
}
