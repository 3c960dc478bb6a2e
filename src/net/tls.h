/* TLS as a server: the set of certificates with the rules of the handshake, and what a handshake has found.
 *
 * TLS 1.2 and 1.3, ECDHE with AEAD ciphers. No session is ever resumed: there are no tickets and no cache, so
 * a ticket of one service can be of no use at another. No renegotiation, no compression, no early data.
 * Private keys are not here: every signature is made by the signer (net/signer.h).
 *
 * Which certificate a client gets: of those that have the name it asks for (SNI), exact names before
 * wildcards, one with an ECDSA key and one with an RSA key, as the client can use them; for a name that none
 * has, or without SNI, the first of the list, and its counterpart of the other kind of key. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/span.h"

enum {
    NET_TLS_FINGERPRINT_BYTES = 32, /* SHA-256 of a certificate */
    NET_TLS_NAME_MAX = 256,
    NET_TLS_SUBJECT_MAX = 256,
    NET_TLS_BINDING_MAX = 64,
    NET_TLS_TEXT_MAX = 160,
    NET_TLS_MESSAGE_MAX = 16384, /* of a handshake message, whatever its header claims */
};

struct net_signer;
struct net_tls;

/* Opens what OpenSSL will need, which is not possible in the sandbox: to be called once before it. */
void net_tls_init(void);

struct net_tls_certificate {
    struct span key_id; /* as the signer knows it */
    struct span chain;  /* PEM, leaf first */
};

/* A set with one reference. The signer must outlive it. BRANT_ESYNTAX: a chain cannot be read or its key is
 * neither RSA nor ECDSA; why tells (at most NET_TLS_TEXT_MAX bytes, NUL included). */
int net_tls_new(const struct net_tls_certificate *list, size_t count, struct net_signer *signer,
                struct net_tls **ret, char *ret_why);
/* A connection keeps the set it began with. */
struct net_tls *net_tls_ref(struct net_tls *t);
void net_tls_unref(struct net_tls *t); /* NULL is allowed */

/* How one connection is to be secured. Copied, but for the texts of alpn, which stay. */
struct net_tls_conf {
    uint64_t handshake_timeout_ms;
    /* Names of this service, ended by NULL: a client that offers ALPN (RFC 7301) must offer one of them, or
     * gets no_application_protocol. NULL: what it offers is ignored. */
    const char *const *alpn;
    /* Ask for a certificate: never required, never checked against an authority, only recorded. The client
     * has proved that it holds the key. */
    bool ask_certificate;
    /* Bytes that were read from the socket and not taken by the engine belong to the handshake (the PROXY
     * header was before them). Otherwise they are discarded: RFC 3207 4.2, RFC 2595 4. */
    bool keep_input;
};

/* What a handshake has found. */
struct net_tls_info {
    const char *version;                /* "TLSv1.3"; static */
    const char *cipher;                 /* "TLS_AES_256_GCM_SHA384", RFC 8446's kind of name; static */
    char server_name[NET_TLS_NAME_MAX]; /* asked for, in lower case, any bytes but NUL; "" */
    bool has_certificate;               /* the client showed one; then the next two are filled */
    uint8_t fingerprint[NET_TLS_FINGERPRINT_BYTES];
    char subject[NET_TLS_SUBJECT_MAX]; /* RFC 4514, cut if long */
};

/* Channel bindings: `tls-server-end-point` (RFC 5929 4), and `tls-exporter` (RFC 9266), which exists in TLS
 * 1.3 only. tls-unique is not offered. */
enum net_tls_binding { NET_TLS_SERVER_END_POINT, NET_TLS_EXPORTER };

#endif
