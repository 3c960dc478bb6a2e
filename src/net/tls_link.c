#include "net/tls_link.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/tls_bio.h"

struct tls_link *tls_link_new(struct net_tls *tls, const struct net_tls_conf *conf, int fd, struct span first)
{
    struct tls_link *l = mem_zalloc(sizeof *l);
    l->tls = net_tls_ref(tls);
    l->alpn = conf->alpn;
    l->ssl = SSL_new(net_tls_context(tls));
    assert(l->ssl);
    l->bio = net_tls_bio_new(fd, first);
    SSL_set_bio(l->ssl, l->bio, l->bio);
    SSL_set_app_data(l->ssl, l);
    if (conf->ask_certificate)
        SSL_set_verify(l->ssl, SSL_VERIFY_PEER, NULL);
    return l;
}

void tls_link_free(struct tls_link *l)
{
    if (!l)
        return;
    SSL_set_app_data(l->ssl, NULL);
    net_tls_unref(l->tls);
    free(l);
}

/* --- what the handshake has found
 * ---------------------------------------------------------------------------
 */

static void read_server_name(const SSL *ssl, char ret[NET_TLS_NAME_MAX])
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t len = 0;
    for (; name && name[len] && len < NET_TLS_NAME_MAX - 1; len++)
        ret[len] = (char)(name[len] >= 'A' && name[len] <= 'Z' ? name[len] + ('a' - 'A') : name[len]);
    ret[len] = '\0';
}

static void read_subject(X509 *peer, char ret[NET_TLS_SUBJECT_MAX])
{
    BIO *text = BIO_new(BIO_s_mem());
    assert(text);
    X509_NAME_print_ex(text, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253);
    int len = BIO_read(text, ret, NET_TLS_SUBJECT_MAX - 1);
    ret[len > 0 ? len : 0] = '\0';
    BIO_free(text);
}

void tls_link_secured(struct tls_link *l, struct net_tls_info *ret)
{
    *ret = (struct net_tls_info){.version = SSL_get_version(l->ssl)};
    const char *cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(l->ssl));
    ret->cipher = cipher ? cipher : SSL_CIPHER_get_name(SSL_get_current_cipher(l->ssl));
    read_server_name(l->ssl, ret->server_name);
    X509 *peer = SSL_get0_peer_certificate(l->ssl);
    unsigned len = 0;
    if (peer && X509_digest(peer, EVP_sha256(), ret->fingerprint, &len) == 1 &&
        len == NET_TLS_FINGERPRINT_BYTES) {
        ret->has_certificate = true;
        read_subject(peer, ret->subject);
    }
    net_tls_unref(l->tls);
    l->tls = NULL;
}

/* RFC 5929 4.1: the hash of the certificate's own signature, with SHA-256 in place of MD5 and SHA-1. A
 * signature without a hash of its own (Ed25519) has no such binding. */
static size_t server_end_point(struct tls_link *l, uint8_t ret[NET_TLS_BINDING_MAX])
{
    X509 *leaf = SSL_get_certificate(l->ssl);
    int hash = NID_undef;
    unsigned len = 0;
    if (!leaf || X509_get_signature_info(leaf, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef)
        return 0;
    if (hash == NID_md5 || hash == NID_sha1 || hash == NID_md5_sha1)
        hash = NID_sha256;
    const EVP_MD *md = EVP_get_digestbynid(hash);
    if (!md || EVP_MD_get_size(md) > NET_TLS_BINDING_MAX || X509_digest(leaf, md, ret, &len) != 1)
        return 0;
    return len;
}

/* RFC 9266 2. In TLS 1.2 its uniqueness would rest on the extended master secret; it is not offered there. */
static size_t exporter(struct tls_link *l, uint8_t ret[NET_TLS_BINDING_MAX])
{
    enum { LENGTH = 32 };
    static const char label[] = "EXPORTER-Channel-Binding";
    if (SSL_version(l->ssl) != TLS1_3_VERSION ||
        SSL_export_keying_material(l->ssl, ret, LENGTH, label, sizeof label - 1, NULL, 0, 0) != 1)
        return 0;
    return LENGTH;
}

size_t tls_link_binding(struct tls_link *l, enum net_tls_binding kind, uint8_t ret[NET_TLS_BINDING_MAX])
{
    size_t len = kind == NET_TLS_EXPORTER ? exporter(l, ret) : server_end_point(l, ret);
    ERR_clear_error();
    return len;
}

/* --- the end
 * ------------------------------------------------------------------------------------------------
 */

int tls_link_close(struct tls_link *l)
{
    if (l->failed || !SSL_is_init_finished(l->ssl))
        return BRANT_OK;
    ERR_clear_error();
    int rc = SSL_shutdown(l->ssl);
    bool full = rc < 0 && SSL_get_error(l->ssl, rc) == SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
    return full ? BRANT_ETRYLATER : BRANT_OK;
}

void tls_link_say(struct tls_link *l, const char *text)
{
    snprintf(l->text, sizeof l->text, "%s", text);
}

static bool is_fatal(int alert)
{
    return (alert >> 8) == SSL3_AL_FATAL;
}

void tls_link_explain(struct tls_link *l, unsigned long error)
{
    if (l->text[0])
        return; /* said already, by who knew best */
    int broken = net_tls_bio_error(l->bio);
    if (error && ERR_GET_LIB(error) == ERR_LIB_USER)
        tls_link_say(l, "the signer did not sign");
    else if (is_fatal(l->alert_received))
        snprintf(l->text, sizeof l->text, "alert from the client: %s",
                 SSL_alert_desc_string_long(l->alert_received));
    else if (broken == EMSGSIZE)
        tls_link_say(l, "a handshake message that is too long");
    else if (net_tls_bio_eof(l->bio))
        tls_link_say(l, "cut off by the client");
    else if (broken)
        snprintf(l->text, sizeof l->text, "%s", strerror(broken));
    else if (error && ERR_reason_error_string(error))
        tls_link_say(l, ERR_reason_error_string(error));
    else
        tls_link_say(l, "protocol error");
}
