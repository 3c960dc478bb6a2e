/* One connection's TLS, between net/stream.c and OpenSSL. For src/net only. */
#ifndef NET_TLS_LINK_H
#define NET_TLS_LINK_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct tls_link {
    SSL *ssl;            /* the bufferevent's */
    BIO *bio;            /* the SSL's */
    struct net_tls *tls; /* referenced until the handshake is done */
    const char *const *alpn;
    int alert_received, alert_sent; /* level and description as OpenSSL has them; 0: none */
    bool failed;                    /* nothing more can be sent, not even a close_notify */
    /* Called from inside OpenSSL when the client asks for a renegotiation. */
    void (*renegotiation)(void *context);
    void *context;
    char text[NET_TLS_TEXT_MAX]; /* why it failed */
};

/* Makes the SSL for a socket; `first` are bytes that were read from it already. */
struct tls_link *tls_link_new(struct net_tls *tls, const struct net_tls_conf *conf, int fd,
                              struct span first);
/* The SSL may live a little longer, without us. NULL is allowed. */
void tls_link_free(struct tls_link *l);

/* After the handshake: what it has found; and the certificates are let go. */
void tls_link_secured(struct tls_link *l, struct net_tls_info *ret);
size_t tls_link_binding(struct tls_link *l, enum net_tls_binding kind, uint8_t ret[NET_TLS_BINDING_MAX]);

/* Says close_notify. BRANT_ETRYLATER: the socket is full, try again. Anything else is as good as said. */
int tls_link_close(struct tls_link *l);

/* Fills `text`, from what OpenSSL says (an error code, or 0) and what was noted before. */
void tls_link_explain(struct tls_link *l, unsigned long error);
void tls_link_say(struct tls_link *l, const char *text);

/* From net/tls.c: the context of a set. */
SSL_CTX *net_tls_context(const struct net_tls *t);

#endif
