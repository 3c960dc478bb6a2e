#include "net/rig_tls.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/frame.h"

struct net_loop rig_loop;

/* --- certificates
 * -------------------------------------------------------------------------------------------
 */

static EVP_PKEY *make_key(enum rig_key kind)
{
    switch (kind) {
    case RIG_RSA:
        return EVP_RSA_gen(2048);
    case RIG_P256:
        return EVP_EC_gen("P-256");
    case RIG_P384:
        return EVP_EC_gen("P-384");
    default:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    }
}

static void key_id(EVP_PKEY *key, uint8_t ret[IPC_KEY_ID_BYTES])
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0);
    assert_int_equal(EVP_Digest(der, (size_t)len, ret, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
}

void rig_certificate_make(struct rig_certificate *c, enum rig_key kind, const char *names,
                          const EVP_MD *digest)
{
    memset(c, 0, sizeof *c);
    c->key = make_key(kind);
    assert_non_null(c->key);
    key_id(c->key, c->key_id);
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, c->key);
    X509_NAME *subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)"rig.brant.test", -1, -1,
                               0);
    X509_set_issuer_name(x, subject);
    if (names) {
        X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
        assert_non_null(san);
        X509_add_ext(x, san, -1);
        X509_EXTENSION_free(san);
    }
    assert_true(X509_sign(x, c->key, kind == RIG_ED25519 ? NULL : digest ? digest : EVP_sha256()) > 0);
    X509_digest(x, EVP_sha256(), c->fingerprint, NULL);
    BIO *pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, x);
    int len = BIO_read(pem, c->pem, sizeof c->pem - 1);
    assert_true(len > 0);
    BIO_free(pem);
    X509_free(x);
}

void rig_certificate_done(struct rig_certificate *c)
{
    EVP_PKEY_free(c->key);
    c->key = NULL;
}

/* --- the signer
 * ---------------------------------------------------------------------------------------------
 */

struct rig_signer {
    pthread_t thread;
    int fd;
    enum rig_manners manners;
    const struct rig_certificate *certificates[8];
    size_t count;
};

static size_t sign(const struct rig_certificate *c, const struct ipc_sign *m, uint8_t *to, size_t room)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(c->key, NULL);
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    if (m->kind == IPC_SIGN_RSA_NONE)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
    else if (m->kind == IPC_SIGN_RSA_PKCS1)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, to, &room, m->data.p, m->data.len), 1);
    EVP_PKEY_CTX_free(ctx);
    return room;
}

static void answer(struct rig_signer *s, const struct ipc_message *ask)
{
    uint8_t signature[IPC_SIGN_DATA_MAX];
    struct ipc_message m = {.type = IPC_TYPE_SIGNED, .tag = ask->tag};
    m.signed_data.status = IPC_NOT_FOUND;
    for (size_t i = 0; i < s->count && s->manners != RIG_UNKNOWN_KEY; i++)
        if (span_eq(ask->sign.key_id, span_make(s->certificates[i]->key_id, IPC_KEY_ID_BYTES))) {
            m.signed_data.status = IPC_OK;
            m.signed_data.signature =
                span_make(signature, sign(s->certificates[i], &ask->sign, signature, sizeof signature));
        }
    if (s->manners == RIG_LATE)
        usleep(150 * 1000);
    m.tag += s->manners == RIG_WRONG_TAG;
    _cleanup_buf_ struct buf out;
    buf_init(&out, 8192);
    assert_int_equal(ipc_encode(&out, &m), BRANT_OK);
    if (s->manners == RIG_TWICE)
        ipc_encode(&out, &m);
    size_t step = s->manners == RIG_DRIBBLES ? 1 : out.len;
    for (size_t at = 0; at < out.len; at += step)
        send(s->fd, out.data + at, step, MSG_NOSIGNAL);
}

static void *serve(void *arg)
{
    struct rig_signer *s = arg;
    struct ipc_reader reader;
    ipc_reader_init(&reader);
    uint8_t bytes[4096];
    for (ssize_t n; (n = recv(s->fd, bytes, sizeof bytes, 0)) > 0;) {
        ipc_reader_feed(&reader, span_make(bytes, (size_t)n));
        struct span frame;
        while (ipc_reader_next(&reader, &frame) == BRANT_OK) {
            struct arena arena;
            struct ipc_message m;
            arena_init(&arena, 4096);
            assert_int_equal(ipc_decode(frame, &arena, &m), BRANT_OK);
            assert_int_equal(m.type, IPC_TYPE_SIGN);
            if (s->manners == RIG_GARBAGE)
                send(s->fd, "\014\000\000\000garbage!", 12, MSG_NOSIGNAL);
            else if (s->manners == RIG_HANGS_UP)
                shutdown(s->fd, SHUT_RDWR);
            else if (s->manners != RIG_SILENT)
                answer(s, &m);
            arena_done(&arena);
        }
    }
    ipc_reader_done(&reader);
    return NULL;
}

struct rig_signer *rig_signer_start(struct net_signer *to, enum rig_manners manners,
                                    const struct rig_certificate *const *certificates, size_t count)
{
    struct rig_signer *s = mem_zalloc(sizeof *s);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    s->fd = ends[0];
    s->manners = manners;
    s->count = count;
    memcpy(s->certificates, certificates, count * sizeof *certificates);
    net_signer_channel(to, ends[1]);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

void rig_signer_stop(struct rig_signer *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    free(s);
}

/* --- the server
 * ---------------------------------------------------------------------------------------------
 */

uint8_t rig_flood_byte(size_t at)
{
    uint32_t mixed = (uint32_t)at * 2654435761u;
    return (uint8_t)('0' + (mixed >> 15) % 64);
}

static void flood(struct buf *out)
{
    for (size_t i = 0; i < RIG_FLOOD; i++)
        assert_int_equal(buf_append_byte(out, rig_flood_byte(i)), BRANT_OK);
}

static void compress(struct rig_server *s)
{
    assert_int_equal(net_pump_start_deflate(s->pump), BRANT_OK);
    assert_int_equal(net_pump_start_deflate(s->pump), BRANT_ESTATE);
    s->compressed = true;
}

static void obey(struct rig_server *s, struct span line)
{
    s->lines++;
    s->in_clear += !s->secured;
    if (span_eq_str(line, "quit\n")) {
        s->quit = true;
        buf_append_str(&s->out, "bye\n");
    } else if (span_eq_str(line, "starttls\n")) {
        buf_append_str(&s->out, "go ahead\n");
        assert_int_equal(net_pump_start_tls(s->pump, s->tls, &s->tls_conf), BRANT_OK);
        assert_int_equal(net_pump_start_tls(s->pump, s->tls, &s->tls_conf), BRANT_ESTATE);
        s->waiting = true;                      /* nothing more in clear */
    } else if (span_eq_str(line, "reload\n")) { /* the set is not wanted any more by anybody else */
        net_tls_unref(s->tls);
        s->tls = NULL;
        buf_append_str(&s->out, "reloaded\n");
    } else if (span_eq_str(line, "compress\n")) {
        buf_append_str(&s->out, "go ahead\n");
        compress(s);
    } else if (span_eq_str(line, "flood\n")) {
        flood(&s->out);
    } else if (span_eq_str(line, "wait\n") || span_eq_str(line, "later\n")) {
        s->waiting = true;
        s->later = span_eq_str(line, "later\n");
        net_timer_set(s->kick, s->wait_ms);
    } else
        buf_append(&s->out, line);
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct rig_server *s = context;
    (void)now_ms;
    size_t taken = 0;
    if (in.len > s->fed_max)
        s->fed_max = in.len;
    if (s->deaf)
        return 0;
    while (taken < in.len && s->proxy_bytes > 0 && !s->waiting) {
        taken++;
        if (--s->proxy_bytes == 0) {
            s->waiting = true;
            assert_int_equal(net_pump_start_tls(s->pump, s->tls, &s->tls_conf), BRANT_OK);
        }
    }
    bool compressed = s->compressed;
    while (taken < in.len && !s->waiting && !s->quit && s->out.len < 4096 && s->compressed == compressed) {
        assert_int_equal(buf_append_byte(&s->line, in.p[taken]), BRANT_OK);
        if (in.p[taken++] == '\n') {
            obey(s, buf_span(&s->line));
            buf_reset(&s->line);
        }
    }
    return taken;
}

static void on_eof(void *context, uint64_t now_ms)
{
    struct rig_server *s = context;
    (void)now_ms;
    s->saw_eof = s->quit = true;
}

static struct span output(void *context)
{
    return buf_span(&((struct rig_server *)context)->out);
}

static void sent(void *context, size_t len, uint64_t now_ms)
{
    (void)now_ms;
    buf_consume(&((struct rig_server *)context)->out, len);
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    (void)context;
    (void)now_ms;
    return NET_PUMP_NEVER;
}

static void timed_out(void *context, uint64_t now_ms)
{
    (void)context;
    (void)now_ms;
    fail();
}

static bool finished(void *context)
{
    return ((struct rig_server *)context)->quit;
}

static void on_secured(void *context, const struct net_tls_info *info, size_t discarded, uint64_t now_ms)
{
    struct rig_server *s = context;
    (void)now_ms;
    assert_false(s->secured);
    s->secured = true;
    s->waiting = false;
    s->info = *info;
    s->discarded = discarded;
    s->end_point_len = net_pump_tls_binding(s->pump, NET_TLS_SERVER_END_POINT, s->end_point);
    s->exporter_len = net_pump_tls_binding(s->pump, NET_TLS_EXPORTER, s->exporter);
    buf_append_str(&s->out, "hello\n");
}

static void on_ended(void *context, enum net_stream_end end)
{
    struct rig_server *s = context;
    assert_false(s->ended);
    s->ended = true;
    s->how = end;
    snprintf(s->text, sizeof s->text, "%s", net_pump_end_text(s->pump));
    net_loop_stop(&rig_loop);
}

static const struct net_pump_ops ops = {.feed = feed,
                                        .eof = on_eof,
                                        .output = output,
                                        .sent = sent,
                                        .deadline_ms = deadline_ms,
                                        .timeout = timed_out,
                                        .finished = finished,
                                        .secured = on_secured,
                                        .ended = on_ended};

static void kick(void *arg)
{
    struct rig_server *s = arg;
    s->waiting = s->deaf = false;
    if (s->later) {
        buf_append_str(&s->out, "go ahead\n");
        compress(s);
        s->later = false;
    } else
        net_pump_kick(s->pump);
}

/* --- both
 * ---------------------------------------------------------------------------------------------------
 */

struct client {
    rig_client *run;
    int fd;
    void *arg;
};

static void *run_client(void *arg)
{
    struct client *c = arg;
    c->run(c->fd, c->arg);
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static void too_late(void *arg)
{
    (void)arg;
    net_loop_stop(&rig_loop);
}

void rig_idle(unsigned ms)
{
    struct net_timer *limit = net_timer_new(&rig_loop, too_late, NULL);
    net_timer_set(limit, ms);
    rig_loop.stopping = false;
    net_loop_run(&rig_loop);
    net_timer_free(limit);
}

void rig_run(struct rig_server *s, rig_client *client, void *arg)
{
    enum { LIMIT_MS = 8000 };
    int ends[2];
    pthread_t thread;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(
        setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){6, 0}, sizeof(struct timeval)), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    struct client c = {client, ends[1], arg};
    buf_init(&s->line, 100000);
    buf_init(&s->out, 200000);
    if (s->stream.input_max_bytes == 0)
        s->stream = (struct net_stream_conf){4096, 8192, 2000, false};
    if (s->tls_conf.handshake_timeout_ms == 0)
        s->tls_conf.handshake_timeout_ms = 5000;
    s->kick = net_timer_new(&rig_loop, kick, s);
    if (s->deaf)
        net_timer_set(s->kick, s->wait_ms);
    s->pump = net_pump_new(&rig_loop, ends[0], &s->stream, &ops, s);
    if (s->implicit)
        assert_int_equal(net_pump_start_tls(s->pump, s->tls, &s->tls_conf), BRANT_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_client, &c), 0);
    rig_idle(LIMIT_MS);
    assert_true(s->ended);
    rig_idle(1); /* closes what waits to be closed */
    pthread_join(thread, NULL);
    close(ends[1]);
    net_timer_free(s->kick);
    buf_done(&s->line);
    buf_done(&s->out);
}

int rig_open(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* the clients write through OpenSSL's own sockets */
    net_tls_init();
    return net_loop_init(&rig_loop) == BRANT_OK ? 0 : -1;
}

int rig_close(void **state)
{
    (void)state;
    net_loop_done(&rig_loop);
    return 0;
}

/* --- for clients
 * --------------------------------------------------------------------------------------------
 */

SSL *rig_attempt(int fd, SSL_CTX *ctx, const char *name, int *ret)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    char copy[256]; /* OpenSSL's macros cast `const` away */
    snprintf(copy, sizeof copy, "%s", name ? name : "");
    if (name)
        SSL_set_tlsext_host_name(ssl, copy);
    *ret = SSL_connect(ssl);
    return ssl;
}

void rig_groups(SSL_CTX *ctx, const char *list)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", list);
    assert_int_equal(SSL_CTX_set1_groups_list(ctx, copy), 1);
}

void rig_signatures(SSL_CTX *ctx, const char *list)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", list);
    assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, copy), 1);
}

SSL *rig_connect(int fd, SSL_CTX *ctx, const char *name)
{
    int rc;
    SSL *ssl = rig_attempt(fd, ctx, name, &rc);
    assert_int_equal(rc, 1);
    return ssl;
}

void rig_say(SSL *ssl, const char *text)
{
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

void rig_expect(SSL *ssl, const char *text)
{
    char got[4096];
    size_t have = 0;
    while (have < strlen(text)) {
        int n = SSL_read(ssl, got + have, (int)(strlen(text) - have));
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    got[have] = '\0';
    assert_string_equal(got, text);
}

void rig_say_clear(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void rig_expect_clear(int fd, const char *text)
{
    char got[4096];
    size_t have = 0;
    while (have < strlen(text)) {
        ssize_t n = recv(fd, got + have, strlen(text) - have, 0);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    got[have] = '\0';
    assert_string_equal(got, text);
}

void rig_goodbye(SSL *ssl, SSL_CTX *ctx)
{
    if (SSL_shutdown(ssl) == 0)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

/* --- a client whose bytes pass through our hands
 * ------------------------------------------------------------
 */

void rig_hands_init(struct rig_hands *h, int fd, SSL_CTX *ctx)
{
    *h = (struct rig_hands){.fd = fd, .ctx = ctx, .ssl = SSL_new(ctx)};
    h->in = BIO_new(BIO_s_mem());
    h->out = BIO_new(BIO_s_mem());
    SSL_set_bio(h->ssl, h->in, h->out);
    SSL_set_connect_state(h->ssl);
}

void rig_hands_done(struct rig_hands *h)
{
    SSL_free(h->ssl);
    SSL_CTX_free(h->ctx);
}

void rig_hands_send(struct rig_hands *h, size_t step, const char *first)
{
    static _Thread_local char bytes[200000];
    size_t len = first ? strlen(first) : 0;
    memcpy(bytes, first ? first : "", len);
    int n = BIO_read(h->out, bytes + len, (int)(sizeof bytes - len));
    len += n > 0 ? (size_t)n : 0;
    for (size_t at = 0; at < len; at += step) {
        send(h->fd, bytes + at, len - at < step ? len - at : step, MSG_NOSIGNAL);
        if (step < len)
            usleep(100);
    }
}

int rig_hands_shake(struct rig_hands *h, size_t step, const char *first)
{
    for (;;) {
        int rc = SSL_do_handshake(h->ssl);
        rig_hands_send(h, step, first);
        first = NULL;
        if (rc == 1)
            return BRANT_OK;
        if (SSL_get_error(h->ssl, rc) != SSL_ERROR_WANT_READ)
            return BRANT_EIO;
        char bytes[4096];
        ssize_t n = recv(h->fd, bytes, sizeof bytes, 0);
        if (n <= 0)
            return BRANT_EIO;
        BIO_write(h->in, bytes, (int)n);
    }
}
