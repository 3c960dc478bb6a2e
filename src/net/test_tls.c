/* Handshakes with OpenSSL's client: versions and kinds of keys through a signer, certificates by name, ALPN,
 * client certificates, channel bindings, and signers that are away, slow, or lie. */
#include "net/rig_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/tls_names.h"
#include "os/clock.h"

enum { FIRST_EC, FIRST_RSA, OTHER_EC, WILD_RSA, BIG_EC, CERTIFICATES };
static struct rig_certificate certificates[CERTIFICATES];
static const struct rig_certificate *all[CERTIFICATES];
static struct net_signer *signer;
static unsigned lost_calls;
static bool lost_at_fault;

static void on_lost(void *context, bool at_fault, const char *text)
{
    (void)context;
    assert_true(text[0] != '\0');
    lost_calls++;
    lost_at_fault = at_fault;
}

static struct net_tls *make_set(const int *which, size_t count)
{
    struct net_tls_certificate list[CERTIFICATES];
    char why[NET_TLS_TEXT_MAX] = "";
    struct net_tls *t = NULL;
    for (size_t i = 0; i < count; i++)
        list[i] = (struct net_tls_certificate){span_make(certificates[which[i]].key_id, IPC_KEY_ID_BYTES),
                                               span_str(certificates[which[i]].pem)};
    int rc = net_tls_new(list, count, signer, &t, why);
    assert_string_equal(why, "");
    assert_int_equal(rc, BRANT_OK);
    return t;
}

/* --- what a client is like, and what it found --- */

struct wish {
    int version; /* 0: any */
    const char *signatures, *ciphers, *groups, *name;
    const char *alpn; /* in wire format */
    const struct rig_certificate *certificate;
    bool may_fail;

    bool connected;
    char reason[128];
    uint8_t leaf[32]; /* fingerprint of what it was shown */
    char alpn_chosen[16];
    uint8_t exporter[32];
    bool has_session_id, has_ticket;
};

static SSL_CTX *context_for(const struct wish *w)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (w->version) {
        SSL_CTX_set_min_proto_version(ctx, w->version);
        SSL_CTX_set_max_proto_version(ctx, w->version);
    }
    if (w->signatures)
        rig_signatures(ctx, w->signatures);
    if (w->ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, w->ciphers), 1);
    if (w->groups)
        rig_groups(ctx, w->groups);
    if (w->alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)w->alpn, (unsigned)strlen(w->alpn));
    if (w->certificate) {
        BIO *pem = BIO_new_mem_buf(w->certificate->pem, -1);
        X509 *x = PEM_read_bio_X509(pem, NULL, NULL, NULL);
        assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, w->certificate->key), 1);
        X509_free(x);
        BIO_free(pem);
    }
    return ctx;
}

static void look_around(SSL *ssl, struct wish *w)
{
    X509 *leaf = SSL_get1_peer_certificate(ssl);
    assert_non_null(leaf);
    X509_digest(leaf, EVP_sha256(), w->leaf, NULL);
    X509_free(leaf);
    const unsigned char *chosen;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &chosen, &len);
    snprintf(w->alpn_chosen, sizeof w->alpn_chosen, "%.*s", (int)len, (const char *)chosen);
    SSL_export_keying_material(ssl, w->exporter, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 0);
}

static void wishing_client(int fd, void *arg)
{
    struct wish *w = arg;
    int rc;
    SSL_CTX *ctx = context_for(w);
    SSL *ssl = rig_attempt(fd, ctx, w->name, &rc);
    if (rc == 1 && w->may_fail) { /* in TLS 1.3 a refusal of the client comes behind its handshake */
        char byte;
        rc = SSL_read(ssl, &byte, 1) == 1 ? 1 : -1;
        assert_int_equal(rc, -1);
    }
    w->connected = rc == 1;
    if (rc != 1) {
        assert_true(w->may_fail);
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        snprintf(w->reason, sizeof w->reason, "%s", reason ? reason : "");
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        shutdown(fd, SHUT_RDWR);
        return;
    }
    look_around(ssl, w);
    rig_expect(ssl, "hello\n");
    rig_say(ssl, "one\ntwo\nquit\n");
    rig_expect(ssl, "one\ntwo\nbye\n");
    unsigned id_len;
    SSL_SESSION_get_id(SSL_get0_session(ssl), &id_len);
    w->has_session_id = id_len > 0 && SSL_version(ssl) == TLS1_2_VERSION;
    w->has_ticket = SSL_SESSION_has_ticket(SSL_get0_session(ssl));
    /* Our side of the connection ends properly. */
    char byte;
    assert_int_equal(SSL_read(ssl, &byte, 1), 0);
    assert_int_equal(SSL_get_shutdown(ssl), SSL_RECEIVED_SHUTDOWN);
    rig_goodbye(ssl, ctx);
}

static struct rig_server serve(struct net_tls *t, struct wish *w, const struct net_tls_conf *conf)
{
    struct rig_server s = {.tls = t, .implicit = true};
    if (conf)
        s.tls_conf = *conf;
    rig_run(&s, wishing_client, w);
    return s;
}

static bool shown(const struct wish *w, int which)
{
    return memcmp(w->leaf, certificates[which].fingerprint, 32) == 0;
}

/* --- versions, keys, ciphers
 * --------------------------------------------------------------------------------
 */

static void test_versions_and_keys(void **state)
{
    (void)state;
    static const struct {
        int version, certificate;
        const char *signatures, *ciphers, *cipher_found;
    } cases[] = {
        {TLS1_2_VERSION, FIRST_RSA, "RSA+SHA256", NULL, "TLS_ECDHE_RSA_WITH_"},
        {TLS1_2_VERSION, FIRST_RSA, "RSA+SHA512", NULL, "TLS_ECDHE_RSA_WITH_"},
        {TLS1_2_VERSION, FIRST_RSA, "RSA-PSS+SHA256", NULL, "TLS_ECDHE_RSA_WITH_"},
        {TLS1_2_VERSION, FIRST_RSA, "RSA-PSS+SHA384", "ECDHE-RSA-AES128-GCM-SHA256",
         "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
        {TLS1_2_VERSION, FIRST_EC, "ECDSA+SHA256", NULL, "TLS_ECDHE_ECDSA_WITH_"},
        {TLS1_2_VERSION, FIRST_EC, "ECDSA+SHA512", "ECDHE-ECDSA-CHACHA20-POLY1305",
         "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
        {TLS1_2_VERSION, BIG_EC, "ECDSA+SHA384", NULL, "TLS_ECDHE_ECDSA_WITH_"},
        {TLS1_3_VERSION, FIRST_RSA, "RSA-PSS+SHA256", NULL, "TLS_"},
        {TLS1_3_VERSION, FIRST_RSA, "RSA-PSS+SHA512", NULL, "TLS_"},
        {TLS1_3_VERSION, FIRST_EC, "ECDSA+SHA256", NULL, "TLS_"},
        {TLS1_3_VERSION, BIG_EC, "ECDSA+SHA384", NULL, "TLS_"},
    };
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_tls *t = make_set(&cases[i].certificate, 1);
        struct wish w = {
            .version = cases[i].version, .signatures = cases[i].signatures, .ciphers = cases[i].ciphers};
        struct rig_server server = serve(t, &w, NULL);
        assert_true(w.connected && shown(&w, cases[i].certificate));
        assert_int_equal(server.how, NET_STREAM_FINISHED);
        assert_true(span_starts(span_str(server.info.cipher), span_str(cases[i].cipher_found)));
        assert_string_equal(server.info.version, cases[i].version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
        assert_string_equal(server.info.server_name, "");
        assert_false(server.info.has_certificate);
        /* Nothing by which it could be resumed, here or at another service. */
        assert_false(w.has_session_id || w.has_ticket);
        net_tls_unref(t);
    }
    rig_signer_stop(s);
}

static void test_old_and_weak(void **state)
{
    (void)state;
    static const struct wish refused[] = {
        {.version = TLS1_1_VERSION, .may_fail = true},
        {.version = TLS1_2_VERSION, .ciphers = "AES256-SHA256", .may_fail = true},
        {.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES256-SHA384", .may_fail = true},
        {.version = TLS1_2_VERSION, .ciphers = "DHE-RSA-AES256-GCM-SHA384", .may_fail = true},
        {.groups = "P-521", .may_fail = true},
    };
    static const int both[] = {FIRST_RSA, FIRST_EC};
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct net_tls *t = make_set(both, 2);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct wish w = refused[i];
        struct rig_server server = serve(t, &w, NULL);
        assert_false(w.connected || server.secured);
        assert_int_equal(server.how, NET_STREAM_TLS_FAILED);
        assert_true(server.text[0] != '\0');
    }
    net_tls_unref(t);
    rig_signer_stop(s);
}

/* --- which certificate
 * --------------------------------------------------------------------------------------
 */

static void test_names(void **state)
{
    (void)state;
    static const int order[] = {FIRST_EC, FIRST_RSA, OTHER_EC, WILD_RSA};
    static const struct {
        const char *asked, *seen;
        const char *signatures;
        int shown; /* -1: no handshake */
    } cases[] = {
        {"mx.brant.test", "mx.brant.test", "ECDSA+SHA256", FIRST_EC},
        {"mx.brant.test", "mx.brant.test", "RSA-PSS+SHA256", FIRST_RSA},
        {"MX.Brant.TEST", "mx.brant.test", "ECDSA+SHA256", FIRST_EC},
        {"other.brant.test", "other.brant.test", "ECDSA+SHA256:RSA-PSS+SHA256", OTHER_EC},
        {"deep.wild.brant.test", "deep.wild.brant.test", "ECDSA+SHA256:RSA-PSS+SHA256", WILD_RSA},
        {"two.deep.wild.brant.test", "two.deep.wild.brant.test", "ECDSA+SHA256", FIRST_EC},
        {"wild.brant.test", "wild.brant.test", "ECDSA+SHA256", FIRST_EC},
        {"unknown.example", "unknown.example", "ECDSA+SHA256", FIRST_EC},
        {"unknown.example", "unknown.example", "RSA-PSS+SHA256", FIRST_RSA},
        {NULL, "", "RSA-PSS+SHA256", FIRST_RSA},
        {"other.brant.test", NULL, "RSA-PSS+SHA256", -1},
    };
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct net_tls *t = make_set(order, 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wish w = {
            .name = cases[i].asked, .signatures = cases[i].signatures, .may_fail = cases[i].shown < 0};
        struct rig_server server = serve(t, &w, NULL);
        assert_int_equal(w.connected, cases[i].shown >= 0);
        if (!w.connected)
            continue;
        assert_true(shown(&w, cases[i].shown));
        assert_string_equal(server.info.server_name, cases[i].seen);
    }
    net_tls_unref(t);
    rig_signer_stop(s);
}

static void names_are(const char *san, const char *expected, size_t len)
{
    struct rig_certificate c;
    _cleanup_buf_ struct buf names;
    buf_init(&names, NET_TLS_NAMES_BYTES);
    rig_certificate_make(&c, RIG_P256, san, NULL);
    BIO *pem = BIO_new_mem_buf(c.pem, -1);
    X509 *x = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    net_tls_names_read(x, &names);
    assert_int_equal(names.len, len);
    assert_memory_equal(names.data, expected, len);
    X509_free(x);
    BIO_free(pem);
    rig_certificate_done(&c);
}

static void test_names_of_certificates(void **state)
{
    (void)state;
    names_are("DNS:A.Example,IP:192.0.2.1,DNS:*.b.example,email:x@y.example", "a.example\0*.b.example",
              sizeof "a.example\0*.b.example");
    names_are("DNS:a*.example,DNS:*,DNS:a..b,DNS:.a,DNS:a b,DNS:*.*.c,DNS:ok.example", "ok.example",
              sizeof "ok.example");
    names_are(NULL, "rig.brant.test", sizeof "rig.brant.test");
    /* A subjectAltName without DNS names is an answer too: the common name is not asked. */
    names_are("IP:192.0.2.1", "", 0);

    const struct span names = SPAN_LIT("a.example\0*.b.example\0c.b.example\0");
    assert_int_equal(net_tls_names_match(names, SPAN_LIT("a.example")), NET_TLS_MATCH_EXACT);
    assert_int_equal(net_tls_names_match(names, SPAN_LIT("c.b.example")), NET_TLS_MATCH_EXACT);
    assert_int_equal(net_tls_names_match(names, SPAN_LIT("d.b.example")), NET_TLS_MATCH_WILDCARD);
    static const char *const none[] = {"",         ".", "b.example", ".b.example", "e.d.b.example",
                                       "a.exampl", "*", "example"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(net_tls_names_match(names, span_str(none[i])), NET_TLS_MATCH_NONE);
    assert_int_equal(net_tls_names_match(SPAN_NONE, SPAN_LIT("a.example")), NET_TLS_MATCH_NONE);
}

static void test_nul_in_a_name(void **state)
{
    (void)state;
    X509 *x = X509_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    static const char *const texts[] = {"bank.example\0.evil.example", "fine.example"};
    static const int lens[] = {26, 12};
    for (int i = 0; i < 2; i++) {
        GENERAL_NAME *n = GENERAL_NAME_new();
        ASN1_IA5STRING *s = ASN1_IA5STRING_new();
        ASN1_STRING_set(s, texts[i], lens[i]);
        GENERAL_NAME_set0_value(n, GEN_DNS, s);
        sk_GENERAL_NAME_push(names, n);
    }
    assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
    _cleanup_buf_ struct buf out;
    buf_init(&out, NET_TLS_NAMES_BYTES);
    net_tls_names_read(x, &out);
    assert_true(span_eq(buf_span(&out), SPAN_LIT("fine.example\0")));
    GENERAL_NAMES_free(names);
    X509_free(x);
}

static void test_many_names(void **state)
{
    (void)state;
    X509 *x = X509_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    for (int i = 0; i < 10000; i++) {
        char text[64];
        GENERAL_NAME *n = GENERAL_NAME_new();
        ASN1_IA5STRING *s = ASN1_IA5STRING_new();
        snprintf(text, sizeof text, "a-rather-long-name-to-fill-the-room-%d.example", i);
        ASN1_STRING_set(s, text, (int)strlen(text));
        GENERAL_NAME_set0_value(n, GEN_DNS, s);
        sk_GENERAL_NAME_push(names, n);
    }
    assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
    _cleanup_buf_ struct buf out;
    buf_init(&out, NET_TLS_NAMES_BYTES);
    net_tls_names_read(x, &out);
    assert_true(out.len > NET_TLS_NAMES_BYTES / 2 && out.len <= NET_TLS_NAMES_BYTES);
    assert_int_equal(out.data[out.len - 1], '\0');
    GENERAL_NAMES_free(names);
    X509_free(x);
}

static void test_unusable_sets(void **state)
{
    (void)state;
    char why[NET_TLS_TEXT_MAX];
    struct net_tls *t = NULL;
    assert_int_equal(net_tls_new(NULL, 0, signer, &t, why), BRANT_ESYNTAX);
    struct net_tls_certificate bad = {span_make(certificates[0].key_id, IPC_KEY_ID_BYTES),
                                      SPAN_LIT("no PEM")};
    assert_int_equal(net_tls_new(&bad, 1, signer, &t, why), BRANT_ESYNTAX);
    assert_string_equal(why, "the certificate cannot be read");
    bad = (struct net_tls_certificate){SPAN_LIT("short"), span_str(certificates[0].pem)};
    assert_int_equal(net_tls_new(&bad, 1, signer, &t, why), BRANT_ESYNTAX);
    struct rig_certificate c;
    rig_certificate_make(&c, RIG_ED25519, NULL, NULL);
    struct net_tls_certificate two[] = {
        {span_make(certificates[0].key_id, IPC_KEY_ID_BYTES), span_str(certificates[0].pem)},
        {span_make(c.key_id, IPC_KEY_ID_BYTES), span_str(c.pem)}};
    assert_int_equal(net_tls_new(two, 2, signer, &t, why), BRANT_ESYNTAX);
    assert_string_equal(why, "the key of the certificate is neither RSA nor ECDSA");
    assert_null(t);
    rig_certificate_done(&c);
}

/* --- ALPN, client certificates, bindings
 * --------------------------------------------------------------------
 */

static void test_alpn(void **state)
{
    (void)state;
    static const char *const ours[] = {"submission", "smtp", NULL};
    static const struct {
        const char *offered, *chosen; /* NULL: refused */
    } cases[] = {
        {NULL, ""},
        {"\004smtp", "smtp"},
        {"\010http/1.1\004smtp", "smtp"},
        {"\004smtp\012submission", "submission"},
        {"\002h2\010http/1.1", NULL},
        {"\004pop3", NULL},
        {"\005smtp2", NULL},
        {"\003smt", NULL},
    };
    static const int which = FIRST_EC;
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct net_tls *t = make_set(&which, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            const struct net_tls_conf conf = {.handshake_timeout_ms = 5000, .alpn = ours};
            struct wish w = {.alpn = cases[i].offered, .version = version, .may_fail = !cases[i].chosen};
            struct rig_server server = serve(t, &w, &conf);
            assert_int_equal(w.connected, cases[i].chosen != NULL);
            if (w.connected) {
                assert_string_equal(w.alpn_chosen, cases[i].chosen);
                continue;
            }
            assert_int_equal(server.how, NET_STREAM_TLS_FAILED);
            assert_string_equal(w.reason, "tlsv1 alert no application protocol");
        }
    /* A service without names of its own takes no part in it. */
    struct wish w = {.alpn = "\002h2"};
    serve(t, &w, NULL);
    assert_true(w.connected);
    assert_string_equal(w.alpn_chosen, "");
    net_tls_unref(t);
    rig_signer_stop(s);
}

static void test_client_certificate(void **state)
{
    (void)state;
    static const int which = FIRST_RSA;
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct net_tls *t = make_set(&which, 1);
    struct rig_certificate client;
    rig_certificate_make(&client, RIG_P256, NULL, NULL);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        for (int asked = 0; asked < 2; asked++)
            for (int has = 0; has < 2; has++) {
                const struct net_tls_conf conf = {.handshake_timeout_ms = 5000, .ask_certificate = asked};
                struct wish w = {.version = version, .certificate = has ? &client : NULL};
                struct rig_server server = serve(t, &w, &conf);
                assert_true(w.connected);
                assert_int_equal(server.info.has_certificate, asked && has);
                if (asked && has) {
                    assert_memory_equal(server.info.fingerprint, client.fingerprint, 32);
                    assert_string_equal(server.info.subject, "CN=rig.brant.test");
                }
            }
    rig_certificate_done(&client);
    net_tls_unref(t);
    rig_signer_stop(s);
}

static void hash_of(const struct rig_certificate *c, const EVP_MD *md, uint8_t ret[64])
{
    BIO *pem = BIO_new_mem_buf(c->pem, -1);
    X509 *x = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    X509_digest(x, md, ret, NULL);
    X509_free(x);
    BIO_free(pem);
}

static void test_bindings(void **state)
{
    (void)state;
    static const int which = FIRST_EC;
    static const struct {
        const char *digest, *expected;
        unsigned len;
    } cases[] = {
        {"SHA256", "SHA256", 32}, {"SHA384", "SHA384", 48}, {"SHA512", "SHA512", 64}, {"SHA1", "SHA256", 32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct rig_certificate kept = certificates[FIRST_EC];
            rig_certificate_make(&certificates[FIRST_EC], RIG_P256, "DNS:mx.brant.test",
                                 EVP_get_digestbyname(cases[i].digest));
            struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
            struct net_tls *t = make_set(&which, 1);
            struct wish w = {.version = version};
            struct rig_server server = serve(t, &w, NULL);
            uint8_t expected[64];
            hash_of(&certificates[FIRST_EC], EVP_get_digestbyname(cases[i].expected), expected);
            assert_int_equal(server.end_point_len, cases[i].len);
            assert_memory_equal(server.end_point, expected, cases[i].len);
            assert_int_equal(server.exporter_len, version == TLS1_3_VERSION ? 32 : 0);
            assert_memory_equal(server.exporter, w.exporter, server.exporter_len);
            net_tls_unref(t);
            rig_signer_stop(s);
            rig_certificate_done(&certificates[FIRST_EC]);
            certificates[FIRST_EC] = kept;
        }
}

/* --- signers of all manners
 * ---------------------------------------------------------------------------------
 */

static void refused_by(enum rig_manners manners, bool at_fault, bool stays_up)
{
    static const int both[] = {FIRST_RSA, FIRST_EC};
    struct net_tls *t = make_set(both, 2);
    struct rig_signer *s = rig_signer_start(signer, manners, all, CERTIFICATES);
    net_signer_set_timeout(signer, 100);
    lost_calls = 0;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        uint64_t before_ms = os_clock_mono_ms();
        struct wish w = {.version = version, .may_fail = true};
        struct rig_server server = serve(t, &w, NULL);
        assert_int_equal(server.how, NET_STREAM_TLS_FAILED);
        assert_string_equal(server.text, "the signer did not sign");
        assert_string_equal(w.reason, "tlsv1 alert internal error");
        assert_true(os_clock_mono_ms() - before_ms < 1000);
    }
    assert_int_equal(net_signer_is_up(signer), stays_up);
    assert_int_equal(lost_calls, stays_up ? 0 : 1);
    assert_true(stays_up || lost_at_fault == at_fault);
    rig_signer_stop(s);
    /* A new channel, and all is well; nothing of the old one is left. */
    s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct wish w = {0};
    serve(t, &w, NULL);
    assert_true(w.connected);
    rig_signer_stop(s);
    net_signer_set_timeout(signer, NET_SIGNER_TIMEOUT_MS);
    net_tls_unref(t);
}

static void test_bad_signers(void **state)
{
    (void)state;
    refused_by(RIG_SILENT, true, false);
    refused_by(RIG_LATE, true, false);
    refused_by(RIG_GARBAGE, true, false);
    refused_by(RIG_WRONG_TAG, true, false);
    refused_by(RIG_HANGS_UP, false, false);
    refused_by(RIG_UNKNOWN_KEY, false, true);
}

static void test_signer_that_says_too_much(void **state)
{
    (void)state;
    static const int which = FIRST_EC;
    struct net_tls *t = make_set(&which, 1);
    /* Honest, but byte by byte. */
    struct rig_signer *s = rig_signer_start(signer, RIG_DRIBBLES, all, CERTIFICATES);
    struct wish w = {0};
    serve(t, &w, NULL);
    assert_true(w.connected);
    rig_signer_stop(s);
    /* An answer and one more: the second is never taken for the answer to the next question. */
    s = rig_signer_start(signer, RIG_TWICE, all, CERTIFICATES);
    lost_calls = 0;
    w = (struct wish){.may_fail = true};
    serve(t, &w, NULL);
    assert_false(w.connected || net_signer_is_up(signer));
    assert_true(lost_calls == 1 && lost_at_fault);
    rig_signer_stop(s);
    net_tls_unref(t);
}

static void test_calls(void **state)
{
    (void)state;
    static uint8_t big[IPC_SIGN_DATA_MAX + 1], to[16];
    size_t len = sizeof to;
    struct span id = span_make(certificates[FIRST_EC].key_id, IPC_KEY_ID_BYTES);
    struct net_signer *alone = net_signer_new(NULL, NULL);
    assert_int_equal(net_signer_call(alone, id, IPC_SIGN_ECDSA, span_make(big, 32), to, &len), BRANT_ESTATE);
    struct rig_signer *s = rig_signer_start(alone, RIG_HONEST, all, CERTIFICATES);
    assert_int_equal(net_signer_call(alone, id, IPC_SIGN_ECDSA, span_make(big, sizeof big), to, &len),
                     BRANT_ELIMIT);
    assert_int_equal(net_signer_call(alone, id, IPC_SIGN_ECDSA, span_make(big, 32), to, &len), BRANT_ELIMIT);
    assert_int_equal(len, sizeof to); /* no room, untouched */
    assert_int_equal(net_signer_call(alone, SPAN_LIT("?"), IPC_SIGN_ECDSA, span_make(big, 32), to, &len),
                     BRANT_ENOTFOUND);
    assert_int_equal(net_signer_stats(alone).calls, 4);
    assert_int_equal(net_signer_stats(alone).failures, 4);
    net_signer_free(alone);
    rig_signer_stop(s);
    net_signer_free(NULL);
}

/* A new set of certificates while a connection runs: it keeps its own. */
static void test_reload(void **state)
{
    (void)state;
    static const int old = FIRST_RSA, new = OTHER_EC;
    struct rig_signer *s = rig_signer_start(signer, RIG_HONEST, all, CERTIFICATES);
    struct net_tls *t = make_set(&old, 1);
    struct wish w = {0};
    net_tls_ref(t);
    serve(t, &w, NULL);
    assert_true(shown(&w, old));
    net_tls_unref(t);
    net_tls_unref(t);
    t = make_set(&new, 1);
    serve(t, &w, NULL);
    assert_true(shown(&w, new));
    net_tls_unref(t);
    net_tls_unref(NULL);
    rig_signer_stop(s);
}

static int open_all(void **state)
{
    static const char *const names[CERTIFICATES] = {"DNS:mx.brant.test", "DNS:mx.brant.test",
                                                    "DNS:other.brant.test,DNS:x.wild.brant.test",
                                                    "DNS:*.wild.brant.test", "DNS:big.brant.test"};
    static const enum rig_key kinds[CERTIFICATES] = {RIG_P256, RIG_RSA, RIG_P256, RIG_RSA, RIG_P384};
    for (int i = 0; i < CERTIFICATES; i++) {
        rig_certificate_make(&certificates[i], kinds[i], names[i], NULL);
        all[i] = &certificates[i];
    }
    signer = net_signer_new(on_lost, NULL);
    return rig_open(state);
}

static int close_all(void **state)
{
    rig_close(state);
    net_signer_free(signer);
    for (int i = 0; i < CERTIFICATES; i++)
        rig_certificate_done(&certificates[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_and_keys),
        cmocka_unit_test(test_old_and_weak),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_of_certificates),
        cmocka_unit_test(test_nul_in_a_name),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_unusable_sets),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_bad_signers),
        cmocka_unit_test(test_signer_that_says_too_much),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
