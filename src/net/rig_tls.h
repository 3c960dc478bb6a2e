/* What the tests of TLS share: keys and certificates made on the spot, a signer of any manners in a thread, a
 * server that echoes lines through a pump (also compressed), and a client in a thread of its own. */
#ifndef NET_RIG_TLS_H
#define NET_RIG_TLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/buf.h"
#include "net/pump.h"
#include "net/signer.h"

enum rig_key { RIG_RSA, RIG_P256, RIG_P384, RIG_ED25519 };

struct rig_certificate {
    EVP_PKEY *key;
    uint8_t key_id[IPC_KEY_ID_BYTES];
    char pem[IPC_CHAIN_MAX];
    uint8_t fingerprint[32];
};
/* names: what subjectAltName says, "DNS:mx.brant.test,DNS:*.brant.test"; NULL: no such extension. digest:
 * NULL for SHA-256. */
void rig_certificate_make(struct rig_certificate *c, enum rig_key kind, const char *names,
                          const EVP_MD *digest);
void rig_certificate_done(struct rig_certificate *c);

/* --- the signer --- */

enum rig_manners {
    RIG_HONEST,
    RIG_SILENT,      /* reads and never answers */
    RIG_LATE,        /* answers after the deadline */
    RIG_GARBAGE,     /* answers with nonsense */
    RIG_WRONG_TAG,   /* answers another question */
    RIG_TWICE,       /* answers, and once more */
    RIG_HANGS_UP,    /* closes instead of answering */
    RIG_UNKNOWN_KEY, /* says that it does not have the key */
    RIG_DRIBBLES     /* honest, one byte at a time */
};
struct rig_signer;
/* The keys of these certificates; the asker's end is given to `to`. */
struct rig_signer *rig_signer_start(struct net_signer *to, enum rig_manners manners,
                                    const struct rig_certificate *const *certificates, size_t count);
void rig_signer_stop(struct rig_signer *s);

/* --- the server: echoes lines; "starttls", "compress" and "quit" do as they say, "wait" takes nothing for a
 * while, "later" does and is compressed behind it, "flood" is answered with RIG_FLOOD bytes that do not
 * compress well (rig_flood_byte), and "reload" lets go of the certificates --- */

enum { RIG_FLOOD = 150000 };
uint8_t rig_flood_byte(size_t at);

struct rig_server {
    struct net_tls *tls;
    struct net_tls_conf tls_conf;
    struct net_stream_conf stream;
    bool implicit;      /* TLS from the first byte */
    size_t proxy_bytes; /* so many bytes come before TLS, in clear */
    uint64_t wait_ms;   /* how long "wait" waits */
    bool deaf;          /* takes no line before it is kicked by the test */

    struct net_pump *pump;
    struct buf line, out;
    bool quit, waiting, saw_eof, ended, secured, compressed, later;
    struct net_tls_info info;
    uint8_t end_point[NET_TLS_BINDING_MAX], exporter[NET_TLS_BINDING_MAX];
    size_t end_point_len, exporter_len;
    size_t discarded, lines, fed_max, in_clear; /* in_clear: lines taken before `secured` */
    enum net_stream_end how;
    char text[NET_TLS_TEXT_MAX];
    struct net_timer *kick;
};
extern struct net_loop rig_loop;

typedef void rig_client(int fd, void *arg);
/* Serves one connection from the client, which runs in a thread, until both are done. */
void rig_run(struct rig_server *s, rig_client *client, void *arg);
/* Runs the loop for so long, for what ends later. */
void rig_idle(unsigned ms);
int rig_open(void **state);  /* group set-up */
int rig_close(void **state); /* and its end */

/* --- for clients --- */

SSL *rig_connect(int fd, SSL_CTX *ctx, const char *name);           /* the handshake must succeed */
SSL *rig_attempt(int fd, SSL_CTX *ctx, const char *name, int *ret); /* may fail: SSL_connect's answer */
void rig_groups(SSL_CTX *ctx, const char *list);
void rig_signatures(SSL_CTX *ctx, const char *list);
void rig_say(SSL *ssl, const char *text);
void rig_expect(SSL *ssl, const char *text);
void rig_expect_clear(int fd, const char *text);
void rig_say_clear(int fd, const char *text);
/* SSL_shutdown both ways, and everything is freed. */
void rig_goodbye(SSL *ssl, SSL_CTX *ctx);

/* A client whose bytes pass through our hands: what it wants to send is in `out`. */
struct rig_hands {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
};
void rig_hands_init(struct rig_hands *h, int fd, SSL_CTX *ctx);
void rig_hands_done(struct rig_hands *h);
/* Sends what is in `out`, in pieces of at most `step` bytes; first, if any, goes before it in the same bytes.
 */
void rig_hands_send(struct rig_hands *h, size_t step, const char *first);
/* Goes on with the handshake to its end; BRANT_OK, or BRANT_EIO. */
int rig_hands_shake(struct rig_hands *h, size_t step, const char *first);

#endif
