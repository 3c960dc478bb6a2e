#include "roles/signer/pair.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, NAME_BYTES = 256 };

struct pair {
    EVP_PKEY *key;
    X509 *leaf;
    struct buf chain;
    uint8_t id[IPC_KEY_ID_BYTES];
    char name[NAME_BYTES];
    int64_t begins_s, expires_s;
    bool disordered;
};

static int refuse(char why[PAIR_WHY_MAX], const char *text)
{
    snprintf(why, PAIR_WHY_MAX, "%s", text);
    ERR_clear_error();
    return BRANT_ESYNTAX;
}

void pair_free(struct pair *p)
{
    if (!p)
        return;
    EVP_PKEY_free(p->key); /* clears the private numbers */
    X509_free(p->leaf);
    buf_done(&p->chain);
    free(p);
}

struct span pair_id(const struct pair *p)
{
    return span_make(p->id, sizeof p->id);
}

struct span pair_chain(const struct pair *p)
{
    return buf_span(&p->chain);
}

int64_t pair_expires_s(const struct pair *p)
{
    return p->expires_s;
}

int64_t pair_begins_s(const struct pair *p)
{
    return p->begins_s;
}

bool pair_is_disordered(const struct pair *p)
{
    return p->disordered;
}

const char *pair_name(const struct pair *p)
{
    return p->name;
}

bool pair_names(const struct pair *p, const char *host)
{
    return X509_check_host(p->leaf, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* ---- loading ----------------------------------------------------------------------------------------------
 */

static int no_passphrase(char *text, int size, int writing, void *asked)
{
    (void)text;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static BIO *reader_of(struct span text)
{
    BIO *b = BIO_new_mem_buf(text.len > 0 ? (const void *)text.p : "", (int)text.len);
    if (!b)
        abort(); /* out of memory */
    return b;
}

static int read_key(struct pair *p, struct span pem, char why[PAIR_WHY_MAX])
{
    bool asked = false;
    BIO *text = reader_of(pem);
    p->key = PEM_read_bio_PrivateKey(text, NULL, no_passphrase, &asked);
    BIO_free(text);
    if (!p->key && asked)
        return refuse(why, "the key has a passphrase; store it without one, readable by root only "
                           "(openssl pkey -in OLD -out NEW)");
    return p->key ? BRANT_OK : refuse(why, "there is no private key in PEM in the file");
}

static int check_kind(const struct pair *p, char why[PAIR_WHY_MAX])
{
    char group[32] = "";
    int bits = EVP_PKEY_get_bits(p->key);
    switch (EVP_PKEY_get_base_id(p->key)) {
    case EVP_PKEY_RSA:
        return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX
                   ? BRANT_OK
                   : refuse(why, "an RSA key must have 2048 to 8192 bits");
    case EVP_PKEY_EC:
        EVP_PKEY_get_group_name(p->key, group, sizeof group, NULL);
        return strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0
                   ? BRANT_OK
                   : refuse(why, "an ECDSA key must be on P-256 or P-384");
    default:
        return refuse(why, "the key is neither RSA nor ECDSA; get a certificate for an ECDSA key on P-256");
    }
}

bool pair_key_is_usable(struct span key)
{
    struct pair p = {.key = NULL};
    char why[PAIR_WHY_MAX];
    bool usable = read_key(&p, key, why) == BRANT_OK && check_kind(&p, why) == BRANT_OK;
    EVP_PKEY_free(p.key);
    return usable;
}

static void write_certificate(X509 *x, struct buf *out)
{
    char *text = NULL;
    BIO *b = BIO_new(BIO_s_mem());
    if (!b || PEM_write_bio_X509(b, x) != 1)
        abort(); /* out of memory */
    long len = BIO_get_mem_data(b, &text);
    buf_append(out, span_make(text, (size_t)len));
    BIO_free(b);
}

static int read_chain(struct pair *p, struct span pem, char why[PAIR_WHY_MAX])
{
    BIO *text = reader_of(pem);
    X509 *before = NULL;
    for (X509 *x; (x = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL;) {
        write_certificate(x, &p->chain); /* nothing else: some keep the key in the same file */
        if (before && X509_NAME_cmp(X509_get_issuer_name(before), X509_get_subject_name(x)) != 0)
            p->disordered = true;
        if (before && before != p->leaf)
            X509_free(before);
        p->leaf = p->leaf ? p->leaf : x;
        before = x;
    }
    if (before != p->leaf)
        X509_free(before);
    BIO_free(text);
    ERR_clear_error(); /* the end of the text is an error to PEM_read */
    if (!p->leaf)
        return refuse(why, "there is no certificate in PEM in the file");
    return p->chain.overflowed ? refuse(why, "the chain is too long; leave out the root") : BRANT_OK;
}

static void read_name(struct pair *p)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(p->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !p->name[0]; i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_DNS)
            snprintf(p->name, sizeof p->name, "%.*s", ASN1_STRING_length(n->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(n->d.dNSName));
    }
    GENERAL_NAMES_free(names);
}

static int read_time(const ASN1_TIME *t, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return BRANT_ESYNTAX;
    *ret = timegm(&tm);
    return BRANT_OK;
}

static int read_facts(struct pair *p)
{
    unsigned char *der = NULL;
    unsigned len = 0;
    int der_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(p->leaf), &der);
    int ok = der_len > 0 && EVP_Digest(der, (size_t)der_len, p->id, &len, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    if (!ok || read_time(X509_get0_notBefore(p->leaf), &p->begins_s) < 0 ||
        read_time(X509_get0_notAfter(p->leaf), &p->expires_s) < 0)
        return BRANT_ESYNTAX;
    read_name(p);
    return BRANT_OK;
}

int pair_load(struct span chain, struct span key, struct pair **ret, char why[PAIR_WHY_MAX])
{
    struct pair *p = mem_zalloc(sizeof *p);
    buf_init(&p->chain, IPC_CHAIN_MAX);
    int rc = read_key(p, key, why);
    if (rc == BRANT_OK)
        rc = check_kind(p, why);
    if (rc == BRANT_OK)
        rc = read_chain(p, chain, why);
    if (rc == BRANT_OK && X509_check_private_key(p->leaf, p->key) != 1)
        rc = refuse(why, "the key does not belong to the first certificate of the chain");
    if (rc == BRANT_OK && read_facts(p) < 0)
        rc = refuse(why, "the certificate can't be read");
    if (rc < 0)
        pair_free(p);
    else
        *ret = p;
    return rc;
}

/* ---- signing ----------------------------------------------------------------------------------------------
 */

static bool is_digest(size_t len) /* SHA-256, SHA-384, SHA-512 */
{
    return len == 32 || len == 48 || len == 64;
}

/* RFC 8017 9.2: what PKCS #1 signs is a DigestInfo: an algorithm, and the digest. */
static bool is_digest_info(struct span data)
{
    static const char algorithm[] = "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02";
    static const uint8_t lengths[] = {0, 32, 48, 64}; /* by the number behind it */
    enum { ALGORITHM = sizeof algorithm - 1, HEAD = 2 + ALGORITHM + 5 };
    if (data.len <= HEAD || !is_digest(data.len - HEAD))
        return false;
    const uint8_t *p = data.p + 2 + ALGORITHM;
    return data.p[0] == 0x30 && data.p[1] == data.len - 2 && memcmp(data.p + 2, algorithm, ALGORITHM) == 0 &&
           p[0] >= 1 && p[0] <= 3 && lengths[p[0]] == data.len - HEAD && p[1] == 0x05 && p[2] == 0x00 &&
           p[3] == 0x04 && p[4] == data.len - HEAD;
}

/* Only what TLS signs: an asker that was broken into gets signatures, and nothing decrypted. */
static bool fits(const struct pair *p, enum ipc_sign_kind kind, struct span data)
{
    bool rsa = EVP_PKEY_get_base_id(p->key) == EVP_PKEY_RSA;
    switch (kind) {
    case IPC_SIGN_ECDSA:
        return !rsa && is_digest(data.len);
    case IPC_SIGN_RSA_PKCS1:
        return rsa && is_digest_info(data);
    case IPC_SIGN_RSA_NONE: /* RFC 8017 9.1.1: a block made by PSS ends so */
        return rsa && data.len == (size_t)EVP_PKEY_get_size(p->key) && data.p[data.len - 1] == 0xbc;
    default:
        return false;
    }
}

static bool set_padding(EVP_PKEY_CTX *c, enum ipc_sign_kind kind)
{
    if (kind == IPC_SIGN_ECDSA)
        return true;
    int padding = kind == IPC_SIGN_RSA_NONE ? RSA_NO_PADDING : RSA_PKCS1_PADDING;
    return EVP_PKEY_CTX_set_rsa_padding(c, padding) == 1;
}

int pair_sign(struct pair *p, enum ipc_sign_kind kind, struct span data, struct buf *out)
{
    size_t len = (size_t)EVP_PKEY_get_size(p->key);
    uint8_t *to = fits(p, kind, data) ? buf_reserve(out, len) : NULL;
    if (!to)
        return BRANT_EREFUSED;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(p->key, NULL);
    bool ok = c && EVP_PKEY_sign_init(c) == 1 && set_padding(c, kind) &&
              EVP_PKEY_sign(c, to, &len, data.p, data.len) == 1;
    EVP_PKEY_CTX_free(c);
    ERR_clear_error();
    if (!ok)
        return BRANT_EREFUSED;
    buf_commit(out, len);
    return BRANT_OK;
}

/* ---- making our own
 * ---------------------------------------------------------------------------------------- */

int pair_make_key(struct buf *out)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *b = BIO_new(BIO_s_secmem());
    char *text = NULL;
    int rc = BRANT_EIO;
    if (key && b && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(b, &text);
        rc = buf_append(out, span_make(text, (size_t)len));
        OPENSSL_cleanse(text, (size_t)len);
    }
    BIO_free(b);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool add_names(X509 *x, const char *host)
{
    char names[3 * NAME_BYTES];
    const char *domain = strchr(host, '.');
    bool in_domain = domain && strchr(domain + 1, '.');
    snprintf(names, sizeof names, "DNS:%s%s%s,DNS:localhost,IP:127.0.0.1,IP:::1", host,
             in_domain ? ",DNS:" : "", in_domain ? domain + 1 : "");
    X509_NAME *subject = X509_get_subject_name(x);
    /* RFC 5280 A.1: a common name has at most 64 characters; the names that count are below. */
    bool ok = strlen(host) > 64 || X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                              (const unsigned char *)host, -1, -1, 0) == 1;
    return ok && X509_set_issuer_name(x, subject) == 1 && add_extension(x, NID_subject_alt_name, names);
}

static bool fill(X509 *x, EVP_PKEY *key, const char *host, int64_t now_s, int days)
{
    enum { DAY_S = 86400 };
    BIGNUM *serial = BN_new();
    bool ok =
        serial && BN_rand(serial, 126, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
        BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) && X509_set_version(x, X509_VERSION_3) == 1 &&
        ASN1_TIME_set(X509_getm_notBefore(x), now_s - DAY_S) &&
        ASN1_TIME_set(X509_getm_notAfter(x), now_s + (int64_t)days * DAY_S) && X509_set_pubkey(x, key) == 1 &&
        add_names(x, host) && add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(x, NID_key_usage, "critical,digitalSignature") &&
        add_extension(x, NID_ext_key_usage, "serverAuth") &&
        add_extension(x, NID_subject_key_identifier, "hash");
    BN_free(serial);
    return ok && X509_sign(x, key, EVP_sha256()) > 0;
}

int pair_make_certificate(struct span key_pem, const char *host, int64_t now_s, int days, struct buf *out)
{
    bool asked = false;
    BIO *text = reader_of(key_pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, no_passphrase, &asked);
    X509 *x = X509_new();
    int rc = BRANT_EIO;
    if (key && x && fill(x, key, host, now_s, days)) {
        write_certificate(x, out);
        rc = out->overflowed ? BRANT_ELIMIT : BRANT_OK;
    }
    X509_free(x);
    EVP_PKEY_free(key);
    BIO_free(text);
    ERR_clear_error();
    return rc;
}
