/* The signer without its process: which keys are taken and what is said of the others, what is signed, the
 * order of answers, sets of files that replace one another, and the server's own certificate over the years.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "ipc/frame.h"
#include "log/frame.h"
#include "log/log.h"
#include "roles/signer/calls.h"
#include "roles/signer/keys.h"
#include "roles/signer/own.h"
#include "roles/signer/secret_memory.h"

enum { DAY = 86400, TEXT_MAX = 65536 };

/* --- keys and certificates, made on the spot
 * ----------------------------------------------------------------
 */

struct made {
    EVP_PKEY *key;
    struct buf key_pem, chain_pem;
};

static void to_pem(BIO *b, struct buf *out)
{
    char *text;
    long len = BIO_get_mem_data(b, &text);
    assert_true(len > 0);
    assert_int_equal(buf_append(out, span_make(text, (size_t)len)), BRANT_OK);
    BIO_free(b);
}

static X509 *certificate_for(EVP_PKEY *key, EVP_PKEY *issuer_key, const char *name, const char *issuer,
                             long days)
{
    X509 *x = X509_new();
    X509_NAME *n = X509_NAME_new();
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, NULL);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                               -1, 0);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
    X509_set_issuer_name(x, n);
    X509_NAME_free(n);
    char san[300];
    snprintf(san, sizeof san, "DNS:%s", name);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, issuer_key, EVP_PKEY_is_a(issuer_key, "ED25519") ? NULL : EVP_sha256()) > 0);
    return x;
}

static void add_certificate(struct made *m, X509 *x)
{
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, x);
    to_pem(b, &m->chain_pem);
    X509_free(x);
}

static void wrap(struct made *m, EVP_PKEY *key, const char *name, long days)
{
    m->key = key;
    buf_init(&m->key_pem, TEXT_MAX);
    buf_init(&m->chain_pem, TEXT_MAX);
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
    to_pem(b, &m->key_pem);
    add_certificate(m, certificate_for(key, key, name, name, days));
}

static void made_done(struct made *m)
{
    EVP_PKEY_free(m->key);
    buf_done(&m->key_pem);
    buf_done(&m->chain_pem);
}

static EVP_PKEY *new_key(const char *kind)
{
    static EVP_PKEY *rsa; /* takes a while to make */
    if (strcmp(kind, "RSA") == 0) {
        if (!rsa)
            rsa = EVP_RSA_gen(2048);
        EVP_PKEY_up_ref(rsa);
        return rsa;
    }
    return strcmp(kind, "ED25519") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen(kind);
}

static struct pair *load(const struct made *m)
{
    char why[PAIR_WHY_MAX] = "";
    struct pair *p = NULL;
    int rc = pair_load(buf_span(&m->chain_pem), buf_span(&m->key_pem), &p, why);
    assert_string_equal(why, "");
    assert_int_equal(rc, BRANT_OK);
    return p;
}

static void refused(const struct made *m, struct span chain, struct span key, const char *reason)
{
    char why[PAIR_WHY_MAX] = "";
    struct pair *p = NULL;
    (void)m;
    assert_int_equal(pair_load(chain, key, &p, why), BRANT_ESYNTAX);
    assert_null(p);
    if (!strstr(why, reason))
        fail_msg("\"%s\" does not say \"%s\"", why, reason);
}

/* --- which keys are taken ---------------------------------------------------------------------------------
 */

static void test_kinds(void **state)
{
    (void)state;
    static const char *const taken[] = {"RSA", "P-256", "P-384"};
    static const struct {
        const char *kind, *reason;
    } others[] = {
        {"P-521", "P-256 or P-384"}, {"secp256k1", "P-256 or P-384"}, {"ED25519", "neither RSA nor ECDSA"}};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        struct made m;
        wrap(&m, new_key(taken[i]), "mx.brant.test", 30);
        struct pair *p = load(&m);
        assert_string_equal(pair_name(p), "mx.brant.test");
        assert_int_equal(pair_id(p).len, IPC_KEY_ID_BYTES);
        assert_true(span_eq(pair_chain(p), buf_span(&m.chain_pem)));
        assert_true(pair_names(p, "MX.brant.test") && !pair_names(p, "other.brant.test"));
        assert_false(pair_is_disordered(p));
        pair_free(p);
        made_done(&m);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct made m;
        wrap(&m, new_key(others[i].kind), "mx.brant.test", 30);
        refused(&m, buf_span(&m.chain_pem), buf_span(&m.key_pem), others[i].reason);
        made_done(&m);
    }
    struct made m;
    wrap(&m, EVP_RSA_gen(1024), "mx.brant.test", 30);
    refused(&m, buf_span(&m.chain_pem), buf_span(&m.key_pem), "2048 to 8192 bits");
    made_done(&m);
    pair_free(NULL);
}

static void encrypted(const struct made *m, bool traditional)
{
    _cleanup_buf_ struct buf pem;
    buf_init(&pem, TEXT_MAX);
    BIO *b = BIO_new(BIO_s_mem());
    if (traditional)
        PEM_write_bio_PrivateKey_traditional(b, m->key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6,
                                             NULL, NULL);
    else
        PEM_write_bio_PKCS8PrivateKey(b, m->key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    to_pem(b, &pem);
    refused(m, buf_span(&m->chain_pem), buf_span(&pem), "passphrase");
    assert_false(pair_key_is_usable(buf_span(&pem)));
}

static void test_files_that_are_no_use(void **state)
{
    (void)state;
    struct made m, other;
    wrap(&m, new_key("P-256"), "mx.brant.test", 30);
    wrap(&other, new_key("P-256"), "mx.brant.test", 30);
    struct span chain = buf_span(&m.chain_pem), key = buf_span(&m.key_pem);
    assert_true(pair_key_is_usable(key) && !pair_key_is_usable(chain));
    refused(&m, chain, SPAN_NONE, "no private key");
    refused(&m, SPAN_NONE, key, "no certificate");
    refused(&m, chain, SPAN_LIT("nonsense"), "no private key");
    refused(&m, key, key, "no certificate");
    refused(&m, chain, chain, "no private key");
    refused(&m, chain, buf_span(&other.key_pem), "does not belong");
    refused(&m, buf_span(&other.chain_pem), key, "does not belong");
    for (size_t len = 0; len + 2 < key.len; len += 7) /* cut anywhere */
        refused(&m, chain, span_sub(key, 0, len), "no private key");
    for (size_t len = 0; len + 2 < chain.len; len += 13)
        refused(&m, span_sub(chain, 0, len), key, "no certificate");
    encrypted(&m, true);
    encrypted(&m, false);
    while (m.chain_pem.len < IPC_CHAIN_MAX + 1000)
        buf_append(&m.chain_pem, buf_span(&other.chain_pem));
    refused(&m, buf_span(&m.chain_pem), key, "too long");
    made_done(&m);
    made_done(&other);
}

static void test_chains(void **state)
{
    (void)state;
    struct made m, authority;
    wrap(&authority, new_key("P-384"), "authority", 30);
    m.key = new_key("P-256");
    buf_init(&m.key_pem, TEXT_MAX);
    buf_init(&m.chain_pem, TEXT_MAX);
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(b, m.key, NULL, NULL, 0, NULL, NULL);
    to_pem(b, &m.key_pem);
    add_certificate(&m, certificate_for(m.key, authority.key, "mx.brant.test", "authority", 30));
    size_t leaf = m.chain_pem.len;
    buf_append(&m.chain_pem, buf_span(&authority.chain_pem));
    /* The key in the same file, as some keep it: it is read from there and never sent along. */
    size_t chain = m.chain_pem.len;
    buf_append(&m.chain_pem, buf_span(&m.key_pem));
    char why[PAIR_WHY_MAX];
    struct pair *p = NULL;
    assert_int_equal(pair_load(buf_span(&m.chain_pem), buf_span(&m.chain_pem), &p, why), BRANT_OK);
    assert_true(span_eq(pair_chain(p), span_sub(buf_span(&m.chain_pem), 0, chain)));
    assert_int_equal(span_find(pair_chain(p), SPAN_LIT("PRIVATE")), SPAN_NPOS);
    assert_false(pair_is_disordered(p));
    pair_free(p);
    /* Out of order: the first has to be the server's own. */
    buf_reset(&m.key_pem);
    buf_append(&m.key_pem, buf_span(&authority.chain_pem));
    buf_append(&m.key_pem, span_sub(buf_span(&m.chain_pem), 0, leaf));
    assert_int_equal(pair_load(buf_span(&m.key_pem), buf_span(&authority.key_pem), &p, why), BRANT_OK);
    assert_true(pair_is_disordered(p));
    pair_free(p);
    made_done(&m);
    made_done(&authority);
}

/* --- what is signed
 * -----------------------------------------------------------------------------------------
 */

static void verify(EVP_PKEY *key, int padding, struct span data, struct span signature)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_verify_init(c), 1);
    if (padding)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, padding), 1);
    if (padding == RSA_PKCS1_PADDING)
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_verify(c, signature.p, signature.len, data.p, data.len), 1);
    EVP_PKEY_CTX_free(c);
}

static struct buf signature_of(struct pair *p, enum ipc_sign_kind kind, struct span data)
{
    struct buf out;
    buf_init(&out, IPC_SIGN_DATA_MAX);
    assert_int_equal(pair_sign(p, kind, data, &out), BRANT_OK);
    return out;
}

static void not_signed(struct pair *p, enum ipc_sign_kind kind, const uint8_t *data, size_t len)
{
    struct buf out;
    buf_init(&out, IPC_SIGN_DATA_MAX);
    assert_int_equal(pair_sign(p, kind, span_make(data, len), &out), BRANT_EREFUSED);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void test_signatures(void **state)
{
    (void)state;
    static const uint8_t prefix[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    uint8_t data[IPC_SIGN_DATA_MAX] = {1, 2, 3};
    struct made ec, rsa;
    wrap(&ec, new_key("P-256"), "ec", 30);
    wrap(&rsa, new_key("RSA"), "rsa", 30);
    struct pair *e = load(&ec), *r = load(&rsa);
    struct buf s = signature_of(e, IPC_SIGN_ECDSA, span_make(data, 32));
    verify(ec.key, 0, span_make(data, 32), buf_span(&s));
    buf_done(&s);
    for (size_t len = 0; len <= 100; len++)
        if (len != 32 && len != 48 && len != 64)
            not_signed(e, IPC_SIGN_ECDSA, data, len);
    not_signed(r, IPC_SIGN_ECDSA, data, 32);

    uint8_t info[sizeof prefix + 32];
    memcpy(info, prefix, sizeof prefix);
    memcpy(info + sizeof prefix, data, 32);
    s = signature_of(r, IPC_SIGN_RSA_PKCS1, span_make(info, sizeof info));
    verify(rsa.key, RSA_PKCS1_PADDING, span_make(data, 32), buf_span(&s));
    buf_done(&s);
    for (size_t i = 0; i < sizeof prefix; i++) { /* anything else in its place */
        info[i] ^= 1;
        not_signed(r, IPC_SIGN_RSA_PKCS1, info, sizeof info);
        info[i] ^= 1;
    }
    for (size_t len = 0; len < sizeof info; len++)
        not_signed(r, IPC_SIGN_RSA_PKCS1, info, len);
    not_signed(e, IPC_SIGN_RSA_PKCS1, info, sizeof info);

    data[255] = 0xbc;
    s = signature_of(r, IPC_SIGN_RSA_NONE, span_make(data, 256));
    assert_int_equal(s.len, 256);
    buf_done(&s);
    data[255] = 0xbb;
    not_signed(r, IPC_SIGN_RSA_NONE, data, 256);
    data[255] = data[254] = data[256] = 0xbc;
    not_signed(r, IPC_SIGN_RSA_NONE, data, 255);
    not_signed(r, IPC_SIGN_RSA_NONE, data, 257);
    not_signed(r, IPC_SIGN_RSA_NONE, data, 0);
    not_signed(e, IPC_SIGN_RSA_NONE, data, 256);
    not_signed(r, IPC_SIGN_COUNT, data, 32);
    memset(data, 0xff, sizeof data); /* larger than the modulus */
    data[255] = 0xbc;
    not_signed(r, IPC_SIGN_RSA_NONE, data, 256);
    pair_free(e);
    pair_free(r);
    made_done(&ec);
    made_done(&rsa);
}

/* --- questions and their order
 * ------------------------------------------------------------------------------
 */

static struct net_loop loop;
static unsigned faults;
static char fault_text[64];

static void on_fault(void *context, enum ipc_role peer, uint32_t instance, const char *text)
{
    (void)context;
    assert_int_equal(peer, IPC_ROLE_SMTP);
    assert_int_equal(instance, 7);
    faults++;
    snprintf(fault_text, sizeof fault_text, "%s", text);
}

static void stop_loop(void *arg)
{
    (void)arg;
    net_loop_stop(&loop);
}

static void run_for(unsigned ms)
{
    struct net_timer *t = net_timer_new(&loop, stop_loop, NULL);
    net_timer_set(t, ms);
    loop.stopping = false;
    net_loop_run(&loop);
    net_timer_free(t);
}

static int caller(struct calls *c, enum ipc_role role, uint32_t instance)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    calls_add(c, role, instance, ends[1]);
    return ends[0];
}

static void ask(int fd, const struct ipc_message *m)
{
    _cleanup_buf_ struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(ipc_encode(&out, m), BRANT_OK);
    assert_int_equal(send(fd, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

static struct ipc_message question(uint32_t tag, const struct pair *p)
{
    static const uint8_t digest[32] = {9};
    struct ipc_message m = {.type = IPC_TYPE_SIGN, .tag = tag};
    m.sign.key_id = p ? pair_id(p) : SPAN_NONE;
    m.sign.kind = IPC_SIGN_ECDSA;
    m.sign.data = span_make(digest, sizeof digest);
    return m;
}

/* The answers that are there now; the last one's tag and status. */
static unsigned answers(int fd, uint32_t *ret_tag, uint8_t *ret_status)
{
    static uint8_t bytes[65536];
    struct ipc_reader reader;
    struct span frame;
    unsigned count = 0;
    ipc_reader_init(&reader);
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        ipc_reader_feed(&reader, span_make(bytes, (size_t)n));
    while (ipc_reader_next(&reader, &frame) == BRANT_OK) {
        struct arena arena;
        struct ipc_message m;
        arena_init(&arena, 4096);
        assert_int_equal(ipc_decode(frame, &arena, &m), BRANT_OK);
        assert_int_equal(m.type, IPC_TYPE_SIGNED);
        assert_true((m.signed_data.signature.len > 0) == (m.signed_data.status == IPC_OK));
        *ret_tag = m.tag;
        *ret_status = m.signed_data.status;
        count++;
        arena_done(&arena);
    }
    ipc_reader_done(&reader);
    return count;
}

static bool is_closed(int fd)
{
    uint8_t byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

struct table {
    struct made made;
    struct keys keys;
    struct calls *calls;
};

static void table_init(struct table *t)
{
    wrap(&t->made, new_key("P-256"), "mx.brant.test", 30);
    keys_init(&t->keys);
    t->keys.list[0] = load(&t->made);
    t->keys.count = 1;
    t->calls = calls_new(&loop, &t->keys, on_fault, NULL);
    faults = 0;
}

static void table_done(struct table *t)
{
    calls_free(t->calls);
    keys_done(&t->keys);
    made_done(&t->made);
}

static void test_answers(void **state)
{
    (void)state;
    struct table t;
    table_init(&t);
    uint32_t tag = 0;
    uint8_t status = 0;
    int fd = caller(t.calls, IPC_ROLE_SMTP, 7);
    struct ipc_message m = question(41, t.keys.list[0]);
    ask(fd, &m);
    run_for(20);
    assert_int_equal(answers(fd, &tag, &status), 1);
    assert_true(tag == 41 && status == IPC_OK);
    /* Unknown keys, and data that is no digest. */
    m = question(42, NULL);
    ask(fd, &m);
    run_for(20);
    assert_int_equal(answers(fd, &tag, &status), 1);
    assert_true(tag == 42 && status == IPC_NOT_FOUND);
    static const uint8_t long_data[IPC_SIGN_DATA_MAX] = {1};
    m = question(43, t.keys.list[0]);
    m.sign.data = span_make(long_data, sizeof long_data);
    ask(fd, &m);
    m.sign.data = SPAN_NONE;
    ask(fd, &m);
    run_for(20);
    assert_int_equal(answers(fd, &tag, &status), 2);
    assert_int_equal(status, IPC_REFUSED);
    assert_int_equal(faults, 0);
    struct calls_stats stats = calls_stats(t.calls);
    assert_true(stats.callers == 1 && stats.signatures == 1 && stats.refused == 3);
    /* The process has died: its successor's channel takes the place. */
    int next = caller(t.calls, IPC_ROLE_SMTP, 7);
    assert_true(is_closed(fd));
    assert_int_equal(calls_stats(t.calls).callers, 1);
    close(next);
    run_for(20);
    assert_int_equal(calls_stats(t.calls).callers, 0);
    close(fd);
    table_done(&t);
}

static void breaks_the_rules(const void *bytes, size_t len, const char *text)
{
    struct table t;
    table_init(&t);
    int fd = caller(t.calls, IPC_ROLE_SMTP, 7), other = caller(t.calls, IPC_ROLE_POP3, 1);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    run_for(20);
    assert_int_equal(faults, 1);
    assert_string_equal(fault_text, text);
    assert_true(is_closed(fd) && !is_closed(other));
    /* Nobody else notices. */
    uint32_t tag;
    uint8_t status;
    struct ipc_message m = question(1, t.keys.list[0]);
    ask(other, &m);
    run_for(20);
    assert_int_equal(answers(other, &tag, &status), 1);
    assert_int_equal(status, IPC_OK);
    close(fd);
    close(other);
    table_done(&t);
}

static void test_malformed(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf frame;
    buf_init(&frame, 8192);
    struct ipc_message m = question(1, NULL);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    breaks_the_rules("nonsense nonsense", 17, "malformed message");
    breaks_the_rules("\001\000\000\000", 4, "malformed message");
    /* A field that is longer than its maximum: key_id of 33 bytes. */
    frame.data[12] = 33;
    breaks_the_rules(frame.data, frame.len, "malformed message");
    buf_reset(&frame);
    struct ipc_message forbidden = {.type = IPC_TYPE_SIGNED};
    assert_int_equal(ipc_encode(&frame, &forbidden), BRANT_OK);
    breaks_the_rules(frame.data, frame.len, "forbidden message");
    /* More questions than an asker that waits can have. */
    buf_reset(&frame);
    for (int i = 0; i <= CALLS_MAX; i++)
        assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    breaks_the_rules(frame.data, frame.len, "more calls than anybody waits for");
}

static void test_fairness(void **state)
{
    (void)state;
    struct table t;
    table_init(&t);
    int greedy = caller(t.calls, IPC_ROLE_SMTP, 7), modest = caller(t.calls, IPC_ROLE_POP3, 1);
    struct ipc_message m = question(1, t.keys.list[0]);
    for (int i = 0; i < CALLS_MAX; i++)
        ask(greedy, &m);
    ask(modest, &m);
    /* After each turn of the loop: how many answers each has. */
    unsigned got_greedy = 0, got_modest = 0;
    uint32_t tag;
    uint8_t status;
    while (got_modest == 0) {
        struct net_timer *soon = net_timer_new(&loop, stop_loop, NULL);
        net_timer_set(soon, 0);
        loop.stopping = false;
        net_loop_run(&loop);
        net_timer_free(soon);
        got_greedy += answers(greedy, &tag, &status);
        got_modest += answers(modest, &tag, &status);
    }
    assert_true(got_greedy <= 2);
    run_for(50);
    got_greedy += answers(greedy, &tag, &status);
    assert_int_equal(got_greedy, CALLS_MAX);
    assert_int_equal(faults, 0);
    close(greedy);
    close(modest);
    table_done(&t);
}

/* --- sets of files
 * ------------------------------------------------------------------------------------------
 */

static char logged[8192];

static void on_log(void *context, struct span frame)
{
    struct log_message m;
    (void)context;
    assert_int_equal(log_frame_decode(frame, &m), BRANT_OK);
    size_t at = strlen(logged);
    snprintf(logged + at, sizeof logged - at, "%.*s", SPAN_ARG(m.name));
    for (size_t i = 0; i < m.value_count; i++) {
        at = strlen(logged);
        if (m.values[i].type == LOG_TYPE_TEXT)
            snprintf(logged + at, sizeof logged - at, " %.*s=%.*s", SPAN_ARG(m.values[i].key),
                     SPAN_ARG(m.values[i].bytes));
    }
    at = strlen(logged);
    snprintf(logged + at, sizeof logged - at, "\n");
}

static void log_has(const char *text)
{
    if (!strstr(logged, text))
        fail_msg("the log does not say \"%s\":\n%s", text, logged);
}

static int file_of(struct span text)
{
    int fd = memfd_create("key", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.p, text.len), (ssize_t)text.len);
    return fd; /* its offset is at the end, as one that was read before */
}

static void give(struct keys *k, uint32_t number, enum ipc_key_file_kind kind, struct span text)
{
    char path[64];
    snprintf(path, sizeof path, "/etc/brant/%u.%s", number, kind == IPC_KEY_FILE_KEY ? "key" : "crt");
    struct ipc_key_file m = {.number = number, .kind = (uint8_t)kind, .path = span_str(path)};
    keys_take_file(k, &m, file_of(text));
}

static void begin(struct keys *k, uint64_t generation, uint32_t pairs)
{
    const struct ipc_key_files m = {.generation = generation, .pairs = pairs};
    logged[0] = '\0';
    keys_begin(k, &m);
}

static void test_sets(void **state)
{
    (void)state;
    struct made one, two;
    struct keys k;
    wrap(&one, new_key("P-256"), "one.brant.test", 400);
    wrap(&two, new_key("RSA"), "two.brant.test", 5);
    keys_init(&k);
    begin(&k, 1, 2);
    give(&k, 1, IPC_KEY_FILE_KEY, buf_span(&two.key_pem)); /* in any order */
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&one.chain_pem));
    assert_false(keys_due(&k));
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&one.chain_pem)); /* twice: not taken */
    log_has("key-file-unexpected file=/etc/brant/0.crt");
    give(&k, 2, IPC_KEY_FILE_CHAIN, buf_span(&one.chain_pem));
    give(&k, 0, IPC_KEY_FILE_KEY, buf_span(&one.key_pem));
    give(&k, 1, IPC_KEY_FILE_CHAIN, buf_span(&two.chain_pem));
    assert_true(keys_due(&k));
    assert_int_equal(keys_load(&k, "mx.brant.test", time(NULL)), BRANT_OK);
    assert_false(keys_due(&k));
    assert_true(k.count == 2 && k.generation == 1 && !k.own);
    log_has("certificate name=one.brant.test");
    log_has("certificate-ends name=two.brant.test");
    struct span id = pair_id(k.list[0]);
    assert_ptr_equal(keys_find(&k, id), k.list[0]);
    uint8_t first[IPC_KEY_ID_BYTES];
    memcpy(first, id.p, sizeof first);
    assert_null(keys_find(&k, SPAN_LIT("unknown")));

    /* One bad file: everything stays, and the log says which and why. */
    begin(&k, 2, 2);
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&two.chain_pem));
    give(&k, 0, IPC_KEY_FILE_KEY, buf_span(&two.key_pem));
    give(&k, 1, IPC_KEY_FILE_CHAIN, buf_span(&one.chain_pem));
    give(&k, 1, IPC_KEY_FILE_KEY, buf_span(&two.key_pem));
    assert_int_equal(keys_load(&k, "mx.brant.test", time(NULL)), BRANT_ESYNTAX);
    log_has("key-refused file=/etc/brant/1.crt with /etc/brant/1.key reason=the key does not belong");
    assert_true(k.count == 2 && k.generation == 1);
    assert_string_equal(pair_name(k.list[0]), "one.brant.test");

    /* A set that never became whole is forgotten when the next begins. */
    begin(&k, 3, 2);
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&two.chain_pem));
    begin(&k, 4, 1);
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&two.chain_pem));
    give(&k, 0, IPC_KEY_FILE_KEY, buf_span(&two.key_pem));
    assert_int_equal(keys_load(&k, "mx.brant.test", time(NULL) + 10 * DAY), BRANT_OK);
    assert_true(k.count == 1 && k.generation == 4);
    /* Who began with the set before still gets signatures, for a while. */
    struct pair *former = keys_find(&k, span_make(first, sizeof first));
    assert_true(former && former != k.list[0]);
    assert_string_equal(pair_name(former), "one.brant.test");
    keys_forget_former(&k);
    assert_null(keys_find(&k, span_make(first, sizeof first)));
    assert_ptr_equal(keys_find(&k, pair_id(k.list[0])), k.list[0]);
    log_has("certificate-expired name=two.brant.test");
    logged[0] = '\0';
    assert_false(keys_check_time(&k, "mx.brant.test", time(NULL) - 2 * DAY));
    log_has("certificate-not-yet-good");
    keys_done(&k);
    made_done(&one);
    made_done(&two);
}

static void test_large_files(void **state)
{
    (void)state;
    struct keys k;
    struct made one;
    wrap(&one, new_key("P-256"), "one.brant.test", 400);
    static char large[100000];
    memset(large, 'x', sizeof large);
    keys_init(&k);
    begin(&k, 1, 1);
    give(&k, 0, IPC_KEY_FILE_CHAIN, buf_span(&one.chain_pem));
    give(&k, 0, IPC_KEY_FILE_KEY, span_make(large, sizeof large));
    assert_int_equal(keys_load(&k, "mx.brant.test", time(NULL)), BRANT_ESYNTAX);
    log_has("key-refused file=/etc/brant/0.key reason=can't be read, or is over 64 KiB");
    assert_int_equal(k.count, 0);
    keys_done(&k);
    made_done(&one);
}

/* --- our own
 * ------------------------------------------------------------------------------------------------
 */

static struct pair *own(const char *host, int64_t now_s)
{
    struct pair *p = NULL;
    logged[0] = '\0';
    assert_int_equal(own_load(host, now_s, &p), BRANT_OK);
    return p;
}

static void spoil(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_own(void **state)
{
    (void)state;
    int64_t now = time(NULL);
    struct stat st;
    struct pair *first = own("mx.brant.test", now);
    log_has("own-key-made");
    log_has("own-certificate-made");
    assert_int_equal(stat("tls.key", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    static const char *const names[] = {"mx.brant.test", "brant.test", "localhost"};
    for (size_t i = 0; i < 3; i++)
        assert_true(pair_names(first, names[i]));
    assert_false(pair_names(first, "test"));
    /* The same after a restart, until its time has come; then another for the same key. */
    struct pair *p = own("mx.brant.test", now + 100 * DAY);
    assert_string_equal(logged, "");
    assert_true(span_eq(pair_chain(p), pair_chain(first)));
    pair_free(p);
    p = own("mx.brant.test", now + (OWN_DAYS - OWN_RENEW_DAYS + 1) * (int64_t)DAY);
    log_has("own-certificate-made");
    assert_true(span_eq(pair_id(p), pair_id(first)) && !span_eq(pair_chain(p), pair_chain(first)));
    pair_free(p);
    /* The clock was wrong: a certificate of the future is no use today. */
    p = own("mx.brant.test", now);
    log_has("own-certificate-made");
    assert_true(own_is_in_time(p, now) && span_eq(pair_id(p), pair_id(first)));
    pair_free(p);
    /* Another host name. */
    p = own("mail.example.org", now);
    log_has("own-certificate-made");
    assert_true(pair_names(p, "example.org") && !pair_names(p, "mx.brant.test"));
    assert_true(span_eq(pair_id(p), pair_id(first)));
    pair_free(p);
    /* A damaged certificate is made again; a damaged key is not replaced by itself. */
    spoil("tls.crt", "what is this?");
    p = own("mail.example.org", now);
    log_has("own-certificate-made");
    pair_free(p);
    spoil("tls.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    logged[0] = '\0';
    assert_int_equal(own_load("mail.example.org", now, &p), BRANT_EIO);
    log_has("own-key-failed file=tls.key reason=it holds no key that can be used");
    unlink("tls.key");
    p = own("mail.example.org", now);
    assert_false(span_eq(pair_id(p), pair_id(first)));
    pair_free(p);
    pair_free(first);
}

static void test_own_renewed(void **state)
{
    (void)state;
    int64_t now = time(NULL);
    struct keys k;
    keys_init(&k);
    begin(&k, 1, 0);
    assert_true(keys_due(&k));
    assert_int_equal(keys_load(&k, "mx.brant.test", now), BRANT_OK);
    assert_true(k.own && k.count == 1);
    assert_false(keys_check_time(&k, "mx.brant.test", now + DAY));
    int64_t then = pair_expires_s(k.list[0]);
    assert_true(keys_check_time(&k, "mx.brant.test", now + 365 * (int64_t)DAY));
    assert_true(pair_expires_s(k.list[0]) > then);
    keys_done(&k);
}

/* A long host name, as long as the DNS allows: more than a common name may have. */
static void test_own_with_a_long_name(void **state)
{
    (void)state;
    char host[254];
    memset(host, 'a', sizeof host - 1);
    for (size_t i = 63; i < sizeof host - 1; i += 64)
        host[i] = '.';
    host[sizeof host - 1] = '\0';
    struct pair *p = own(host, time(NULL));
    assert_true(pair_names(p, host));
    pair_free(p);
    p = own("localhost.test", time(NULL));
    pair_free(p);
}

/* All of this program runs with it. That it overwrites is seen in the memory of the whole system
 * (test_keys.py). */
static void test_secret_memory(void **state)
{
    (void)state;
    char *p = OPENSSL_realloc(NULL, 16);
    assert_non_null(p);
    memcpy(p, "0123456789abcdef", 16);
    assert_non_null(p = OPENSSL_realloc(p, 100000));
    assert_memory_equal(p, "0123456789abcdef", 16);
    memset(p + 16, 'x', 100000 - 16);
    assert_non_null(p = OPENSSL_realloc(p, 4));
    assert_memory_equal(p, "0123", 4);
    assert_null(OPENSSL_realloc(p, 0));
    OPENSSL_free(NULL);
}

static char directory[] = "/tmp/brant-signer-XXXXXX";

static int open_all(void **state)
{
    (void)state;
    log_to_function(on_log, NULL, LOG_INFO);
    umask(077);
    return mkdtemp(directory) && chdir(directory) == 0 && net_loop_init(&loop) == BRANT_OK ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    net_loop_done(&loop);
    static const char *const names[] = {"tls.key", "tls.crt", "new"};
    for (size_t i = 0; i < 3; i++)
        unlink(names[i]);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_files_that_are_no_use),
        cmocka_unit_test(test_chains),        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_answers),       cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_fairness),      cmocka_unit_test(test_sets),
        cmocka_unit_test(test_large_files),   cmocka_unit_test(test_own),
        cmocka_unit_test(test_own_renewed),   cmocka_unit_test(test_own_with_a_long_name),
        cmocka_unit_test(test_secret_memory),
    };
    secret_memory_init();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
