/* Verifiers of ours and from elsewhere, SCRAM's keys against RFC 7677, app passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/codec.h"
#include "base/err.h"
#include "roles/store/app_password.h"
#include "roles/store/scram_keys.h"
#include "roles/store/verifier.h"

static const struct verifier_cost cheap = {.memory_kib = 8, .passes = 1};

static void test_argon2id(void **state)
{
    (void)state;
    char a[VERIFIER_TEXT_MAX], b[VERIFIER_TEXT_MAX], dummy[VERIFIER_TEXT_MAX];
    assert_int_equal(verifier_make(&cheap, SPAN_LIT("pass word"), a), BRANT_OK);
    assert_int_equal(verifier_make(&cheap, SPAN_LIT("pass word"), b), BRANT_OK);
    assert_string_not_equal(a, b);
    assert_true(verifier_is_argon2id(span_str(a)));
    assert_int_equal(verifier_check(a, SPAN_LIT("pass word")), BRANT_OK);
    assert_int_equal(verifier_check(a, SPAN_LIT("pass wore")), BRANT_EREFUSED);
    verifier_make_dummy(&cheap, dummy);
    assert_int_equal(strlen(dummy), strlen(a));
    assert_int_equal(verifier_check(dummy, SPAN_LIT("pass word")), BRANT_EREFUSED);
    assert_int_equal(verifier_check("", SPAN_LIT("pass word")), BRANT_EREFUSED);
    assert_int_equal(verifier_check("pass word", SPAN_LIT("pass word")), BRANT_EREFUSED);
    assert_int_equal(verifier_check("$", SPAN_LIT("pass word")), BRANT_EREFUSED);
    assert_int_equal(verifier_check("$argon2id$", SPAN_LIT("pass word")), BRANT_EREFUSED);
}

/* The published test values of SHA-crypt and of Argon2's authors; the others made by libxcrypt from Python.
 */
static const struct {
    const char *hash, *password;
} foreign[] = {
    {"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
    {"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
     "Hello world!"},
    {"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
     "YTBmSK6H9qs/y3RnOaw5v.",
     "Hello world!"},
    {"$2y$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW", "Hello world!"},
    {"$2b$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW", "Hello world!"},
    {"$2a$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW", "Hello world!"},
    {"$y$j75$F5Jx5fExrKuPp53xLKQ..1$f2itnMrRpK.7/qouLjCA8FmdTxLajBjBbFKcf7iQD2B", "Hello world!"},
    {"$gy$j75$F5Jx5fExrKuPp53xLKQ..1$oJX6Z.v6PkemSeD395yBzquWh/YkRVaHgdgpR3e0QI7", "Hello world!"},
    {"$7$6/..../....SodiumChloride$qgYZafGAzsYRm/feFfVY1Lmz3oZRpeFG50d0q/YDJk7", "Hello world!"},
    {"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
    {"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc", "password"},
    {"{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
    {"{sha256-crypt}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
    {"{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW", "Hello world!"},
};
enum { FOREIGN = sizeof foreign / sizeof *foreign };

static void test_published_hashes(void **state)
{
    (void)state;
    for (size_t i = 0; i < FOREIGN; i++) {
        struct buf _cleanup_buf_ out;
        const char *reason = "";
        buf_init(&out, VERIFIER_TEXT_MAX - 1);
        if (verifier_import(span_str(foreign[i].hash), &out, &reason) != BRANT_OK)
            fail_msg("%s: %s", foreign[i].hash, reason);
        if (verifier_check(buf_cstr(&out), span_str(foreign[i].password)) != BRANT_OK)
            fail_msg("%s is not that of %s", foreign[i].hash, foreign[i].password);
        assert_int_equal(verifier_check(buf_cstr(&out), SPAN_LIT("Hello world")), BRANT_EREFUSED);
        assert_int_equal(verifier_check(buf_cstr(&out), SPAN_NONE), BRANT_EREFUSED);
        assert_int_equal(verifier_is_argon2id(buf_span(&out)), foreign[i].hash[1] == 'a');
        /* the hash itself is no password, and neither is one with another last letter */
        assert_int_equal(verifier_check(buf_cstr(&out), buf_span(&out)), BRANT_EREFUSED);
        out.data[out.len - 2] ^= 1;
        assert_int_equal(verifier_check(buf_cstr(&out), span_str(foreign[i].password)), BRANT_EREFUSED);
    }
}

static void refused(struct span hash)
{
    struct buf _cleanup_buf_ out;
    const char *reason = NULL;
    buf_init(&out, VERIFIER_TEXT_MAX - 1);
    if (verifier_import(hash, &out, &reason) != BRANT_EREFUSED)
        fail_msg("taken: %.*s", SPAN_ARG(hash));
    assert_non_null(reason);
    assert_int_equal(out.len, 0);
}

static void test_refused_hashes(void **state)
{
    (void)state;
    static const char *const hashes[] = {
        "",
        "x",
        "plain text",
        "rl.3StKT.4T8M",                        /* DES */
        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",   /* MD5 */
        "$3$$8846f7eaee8fb117ad06bdd830b7586c", /* NT */
        "$sha1$40000$jtNX3nZ2$hBNaIXkt4wBI2o5rsi8KejSjNqIq",
        "$2x$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW",
        "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g",
        "{PLAIN}secret",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        /* too costly */
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=262144,t=5,p=4$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=2560,t=2,p=200$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$5$rounds=999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$2y$31$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW",
        "$y$jFT$F5Jx5fExrKuPp53xLKQ..1$f2itnMrRpK.7/qouLjCA8FmdTxLajBjBbFKcf7iQD2B",
        "$7$zU..../....SodiumChloride$qgYZafGAzsYRm/feFfVY1Lmz3oZRpeFG50d0q/YDJk7",
        "$7$6/z.../....SodiumChloride$qgYZafGAzsYRm/feFfVY1Lmz3oZRpeFG50d0q/YDJk7",
        /* no costs at all, or not numbers */
        "$argon2id$v=19$m=0,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$5$rounds=$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=99$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$2y$5$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW",
        "$2y$03$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW",
    };
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++)
        refused(span_str(hashes[i]));
    /* Every one of the good ones, cut anywhere, with a letter too many, with a NUL or a colon in it. */
    for (size_t i = 0; i < FOREIGN; i++) {
        char text[VERIFIER_TEXT_MAX];
        size_t len = strlen(foreign[i].hash);
        bool any_length = strstr(foreign[i].hash, "$argon2id$") == foreign[i].hash;
        for (size_t cut = 0; cut < len - (any_length ? 30 : 0); cut++)
            refused(span_make(foreign[i].hash, cut));
        for (size_t at = 0; at < len; at++) {
            memcpy(text, foreign[i].hash, len);
            text[at] = 0;
            refused(span_make(text, len));
            text[at] = ':';
            refused(span_make(text, len));
        }
        snprintf(text, sizeof text, "%s%s", foreign[i].hash, any_length ? "$" : "x");
        refused(span_str(text));
    }
    char longer[VERIFIER_TEXT_MAX + 20];
    memset(longer, 'a', sizeof longer);
    memcpy(longer, "$argon2id$", 10);
    refused(span_make(longer, sizeof longer));
}

/* ---- SCRAM ---- */

static const char RFC7677_AUTH_MESSAGE[] =
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

static void decode(const char *base64, uint8_t *ret, size_t len)
{
    struct buf _cleanup_buf_ out;
    buf_init(&out, 64);
    assert_int_equal(codec_base64_decode(&out, span_str(base64)), BRANT_OK);
    assert_int_equal(out.len, len);
    memcpy(ret, out.data, len);
}

static void test_rfc7677(void **state)
{
    (void)state;
    struct span message = span_str(RFC7677_AUTH_MESSAGE);
    uint8_t salt[16], proof[32], signature[32], expected[32];
    struct scram_keys keys, other;
    decode("W22ZaJ0SNY7soEsUEjb6gQ==", salt, sizeof salt);
    decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", proof, sizeof proof);
    decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", expected, sizeof expected);
    scram_keys_make(SPAN_LIT("pencil"), span_make(salt, sizeof salt), 4096, &keys);
    assert_int_equal(keys.iterations, 4096);
    assert_true(scram_keys_prove(&keys, message, proof));
    scram_keys_sign(&keys, message, signature);
    assert_memory_equal(signature, expected, sizeof expected);
    /* every bit of the proof counts, and so do message, password, salt, count */
    for (size_t bit = 0; bit < 8 * sizeof proof; bit++) {
        proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(scram_keys_prove(&keys, message, proof));
        proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(scram_keys_prove(&keys, span_sub(message, 0, message.len - 1), proof));
    scram_keys_make(SPAN_LIT("pencils"), span_make(salt, sizeof salt), 4096, &other);
    assert_false(scram_keys_prove(&other, message, proof));
    scram_keys_make(SPAN_LIT("pencil"), span_make(salt, sizeof salt), 4097, &other);
    assert_false(scram_keys_prove(&other, message, proof));
    salt[0] ^= 1;
    scram_keys_make(SPAN_LIT("pencil"), span_make(salt, sizeof salt), 4096, &other);
    assert_false(scram_keys_prove(&other, message, proof));
    keys.iterations = 0; /* there are none */
    assert_false(scram_keys_prove(&keys, message, proof));
}

static void test_salt(void **state)
{
    (void)state;
    static const uint8_t secret[32] = "a secret of thirty-two bytes...", secret2[32] = "another secret";
    uint8_t a[SCRAM_KEYS_SALT_BYTES], b[SCRAM_KEYS_SALT_BYTES];
    scram_keys_salt(secret, SPAN_LIT("alice@example.org"), a);
    scram_keys_salt(secret, SPAN_LIT("ALICE@example.ORG"), b);
    assert_memory_equal(a, b, sizeof a);
    scram_keys_salt(secret, SPAN_LIT("alicf@example.org"), b);
    assert_memory_not_equal(a, b, sizeof a);
    scram_keys_salt(secret2, SPAN_LIT("alice@example.org"), b);
    assert_memory_not_equal(a, b, sizeof a);
    char longer[2000];
    memset(longer, 'a', sizeof longer);
    scram_keys_salt(secret, span_make(longer, sizeof longer), a);
    scram_keys_salt(secret, SPAN_NONE, b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- app passwords ---- */

static void test_app_password(void **state)
{
    (void)state;
    char one[APP_PASSWORD_TEXT_MAX], two[APP_PASSWORD_TEXT_MAX];
    unsigned used[256] = {0};
    for (unsigned i = 0; i < 2000; i++) {
        app_password_generate(one);
        assert_int_equal(strlen(one), APP_PASSWORD_TEXT_MAX - 1);
        for (const char *c = one; *c; c++)
            used[(uint8_t)*c]++;
    }
    assert_int_equal(used['-'], 2000 * 5);
    assert_int_equal(used['l'] + used['o'] + used['0'] + used['1'], 0);
    for (const char *c = "abcdefghijkmnpqrstuvwxyz23456789"; *c; c++) /* 1,500 expected of each */
        assert_in_range(used[(uint8_t)*c], 1200, 1800);
    app_password_generate(two);
    assert_string_not_equal(one, two);

    struct app_password p, q;
    uint8_t data[APP_PASSWORD_DATA_BYTES], sum[32];
    static const uint8_t salt[16] = "sixteen bytes..";
    scram_keys_make(span_str(one), span_make(salt, sizeof salt), 4096, &p.keys);
    app_password_sum(span_str(one), p.sum);
    app_password_encode(&p, data);
    assert_int_equal(app_password_decode(span_make(data, sizeof data), &q), BRANT_OK);
    assert_memory_equal(p.sum, q.sum, sizeof p.sum);
    assert_memory_equal(&p.keys, &q.keys, sizeof p.keys);
    app_password_sum(span_str(two), sum);
    assert_memory_not_equal(p.sum, sum, sizeof sum);
    for (size_t len = 0; len < sizeof data; len++)
        assert_int_equal(app_password_decode(span_make(data, len), &q), BRANT_ECORRUPT);
    data[0]++;
    assert_int_equal(app_password_decode(span_make(data, sizeof data), &q), BRANT_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argon2id),       cmocka_unit_test(test_published_hashes),
        cmocka_unit_test(test_refused_hashes), cmocka_unit_test(test_rfc7677),
        cmocka_unit_test(test_salt),           cmocka_unit_test(test_app_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
