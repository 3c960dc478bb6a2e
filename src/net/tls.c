#include "net/tls.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/tls_bio.h"
#include "net/tls_key.h"
#include "net/tls_link.h"
#include "net/tls_names.h"

enum { ECDSA, RSA_, KINDS };

struct certificate {
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
    EVP_PKEY *key;          /* whose private part is the signer's */
    int kind;
    struct buf names;
};

struct net_tls {
    unsigned references;
    SSL_CTX *context;
    size_t count;
    struct certificate list[];
};

void net_tls_init(void)
{
    /* The rules are this file's, whatever a configuration file of the machine says. */
    uint64_t options =
        OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS;
    uint8_t byte;
    int ok = OPENSSL_init_ssl(options, NULL) == 1 && RAND_bytes(&byte, 1) == 1;
    assert(ok);
    SSL_CTX *warm = SSL_CTX_new(TLS_server_method()); /* loads providers and their algorithms */
    assert(warm);
    SSL_CTX_free(warm);
    net_tls_key_init();
    net_tls_bio_init();
}

/* --- which certificate
 * --------------------------------------------------------------------------------------- */

/* The counterpart of the first: of the other kind, with a name in common. */
static const struct certificate *counterpart(const struct net_tls *t)
{
    for (size_t i = 1; i < t->count; i++) {
        if (t->list[i].kind == t->list[0].kind)
            continue;
        struct span names = buf_span(&t->list[0].names);
        while (names.len > 0) {
            struct span one = span_sub(names, 0, span_find_byte(names, '\0'));
            if (net_tls_names_match(buf_span(&t->list[i].names), one) != NET_TLS_MATCH_NONE)
                return &t->list[i];
            names = span_from(names, one.len + 1);
        }
    }
    return NULL;
}

static void choose(const struct net_tls *t, struct span name, const struct certificate *ret[KINDS])
{
    enum net_tls_match best[KINDS] = {NET_TLS_MATCH_NONE, NET_TLS_MATCH_NONE};
    ret[ECDSA] = ret[RSA_] = NULL;
    for (size_t i = 0; i < t->count && name.len > 0; i++) {
        const struct certificate *c = &t->list[i];
        enum net_tls_match match = net_tls_names_match(buf_span(&c->names), name);
        if (match > best[c->kind]) {
            best[c->kind] = match;
            ret[c->kind] = c;
        }
    }
    if (ret[ECDSA] || ret[RSA_])
        return;
    ret[t->list[0].kind] = &t->list[0];
    ret[1 - t->list[0].kind] = counterpart(t);
}

/* The name a client asks for, as it is compared: in lower case, without a final dot. */
static struct span requested_name(const SSL *ssl, char text[NET_TLS_NAME_MAX])
{
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t len = 0;
    for (; asked && asked[len] && len < NET_TLS_NAME_MAX - 1; len++)
        text[len] = (char)(asked[len] >= 'A' && asked[len] <= 'Z' ? asked[len] + ('a' - 'A') : asked[len]);
    if (len > 0 && text[len - 1] == '.')
        len--;
    text[len] = '\0';
    return span_make(text, len);
}

static int on_certificate_needed(SSL *ssl, void *arg)
{
    (void)arg;
    struct tls_link *l = SSL_get_app_data(ssl);
    const struct certificate *use[KINDS];
    char text[NET_TLS_NAME_MAX];
    if (!l || !l->tls)
        return 0;
    choose(l->tls, requested_name(ssl, text), use);
    for (int kind = 0; kind < KINDS; kind++)
        if (use[kind] && SSL_use_cert_and_key(ssl, use[kind]->leaf, use[kind]->key, use[kind]->chain, 1) != 1)
            return 0;
    return 1;
}

/* --- the rules of the handshake
 * ------------------------------------------------------------------------------ */

/* RFC 7301 3.2: a client that offers names, none of which is ours, gets no_application_protocol. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned len, void *arg)
{
    (void)arg;
    const struct tls_link *l = SSL_get_app_data(ssl);
    if (!l || !l->alpn)
        return SSL_TLSEXT_ERR_NOACK;
    for (const char *const *name = l->alpn; *name; name++)
        for (unsigned at = 0; at + 1 + in[at] <= len; at += 1u + in[at]) {
            if (span_eq_str(span_make(in + at + 1, in[at]), *name)) {
                *out = in + at + 1;
                *out_len = in[at];
                return SSL_TLSEXT_ERR_OK;
            }
            if (at + 1u + in[at] == len)
                break;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Client certificates are recorded, not believed: no chain is built. */
static int accept_any(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1;
}

static void on_info(const SSL *ssl, int where, int what)
{
    struct tls_link *l = SSL_get_app_data(ssl);
    if (!l)
        return;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        l->alert_received = what;
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT) {
        l->alert_sent = what;
        if ((what & 0xff) == SSL_AD_NO_RENEGOTIATION)
            l->renegotiation(l->context);
    }
}

static SSL_CTX *make_context(void)
{
    int groups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1};
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    assert(c);
    int ok = SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
             SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
             SSL_CTX_set_ciphersuites(c, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
                                         "TLS_AES_128_GCM_SHA256") == 1 &&
             SSL_CTX_set1_groups(c, groups, sizeof groups / sizeof *groups) == 1 &&
             SSL_CTX_set_num_tickets(c, 0) == 1;
    assert(ok);
    /* Ours is the preference, but for clients whose own is ChaCha20: they have no AES in hardware. */
    SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET |
                               SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    /* A client that sends nothing but key updates gets its turn like any other, and no more. */
    SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_max_cert_list(c, NET_TLS_MESSAGE_MAX);
    SSL_CTX_set_cert_cb(c, on_certificate_needed, NULL);
    SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
    SSL_CTX_set_cert_verify_callback(c, accept_any, NULL);
    SSL_CTX_set_info_callback(c, on_info);
    return c;
}

SSL_CTX *net_tls_context(const struct net_tls *t)
{
    return t->context;
}

/* --- making a set
 * -------------------------------------------------------------------------------------------- */

static int refuse(char *ret_why, const char *text)
{
    snprintf(ret_why, NET_TLS_TEXT_MAX, "%s", text);
    ERR_clear_error();
    return BRANT_ESYNTAX;
}

static int read_certificate(struct certificate *c, const struct net_tls_certificate *from,
                            struct net_signer *signer, char *ret_why)
{
    buf_init(&c->names, NET_TLS_NAMES_BYTES);
    if (from->key_id.len != IPC_KEY_ID_BYTES || from->chain.len > IPC_CHAIN_MAX)
        return refuse(ret_why, "not a certificate of the signer");
    BIO *text = BIO_new_mem_buf(from->chain.p, (int)from->chain.len);
    assert(text);
    c->leaf = PEM_read_bio_X509(text, NULL, NULL, NULL);
    c->chain = sk_X509_new_null();
    assert(c->chain);
    for (X509 *next; c->leaf && (next = PEM_read_bio_X509(text, NULL, NULL, NULL));)
        sk_X509_push(c->chain, next);
    BIO_free(text);
    ERR_clear_error(); /* the end of the text is an error to PEM_read */
    EVP_PKEY *public_key = c->leaf ? X509_get0_pubkey(c->leaf) : NULL;
    if (!public_key)
        return refuse(ret_why, "the certificate cannot be read");
    c->kind = EVP_PKEY_get_base_id(public_key) == EVP_PKEY_RSA ? RSA_ : ECDSA;
    c->key = net_tls_key_new(public_key, from->key_id, signer);
    if (!c->key)
        return refuse(ret_why, "the key of the certificate is neither RSA nor ECDSA");
    net_tls_names_read(c->leaf, &c->names);
    return BRANT_OK;
}

int net_tls_new(const struct net_tls_certificate *list, size_t count, struct net_signer *signer,
                struct net_tls **ret, char *ret_why)
{
    if (count == 0)
        return refuse(ret_why, "no certificate");
    struct net_tls *t = mem_zalloc(sizeof *t + count * sizeof *t->list);
    t->references = 1;
    t->context = make_context();
    for (; t->count < count; t->count++) {
        int rc = read_certificate(&t->list[t->count], &list[t->count], signer, ret_why);
        if (rc < 0) {
            t->count++;
            net_tls_unref(t);
            return rc;
        }
    }
    *ret = t;
    return BRANT_OK;
}

struct net_tls *net_tls_ref(struct net_tls *t)
{
    t->references++;
    return t;
}

void net_tls_unref(struct net_tls *t)
{
    if (!t || --t->references > 0)
        return;
    SSL_CTX_free(t->context);
    for (size_t i = 0; i < t->count; i++) {
        X509_free(t->list[i].leaf);
        sk_X509_pop_free(t->list[i].chain, X509_free);
        EVP_PKEY_free(t->list[i].key);
        buf_done(&t->list[i].names);
    }
    free(t);
}
