#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/codec.h"
#include "base/err.h"
#include "sasl/scram.h"

/* RFC 7677 3 */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define CLIENT_BARE  "n=user,r=" CLIENT_NONCE
#define CLIENT_FIRST "n,," CLIENT_BARE
#define SERVER_FIRST "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL_BARE   "c=biws,r=" CLIENT_NONCE SERVER_NONCE
#define PROOF        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define CLIENT_FINAL FINAL_BARE ",p=" PROOF
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static void test_the_example(void **state)
{
    struct scram_client_first first;
    struct scram_client_final final;
    _cleanup_buf_ struct buf out;
    _cleanup_buf_ struct buf bytes;

    (void)state;
    buf_init(&out, 1000);
    buf_init(&bytes, 100);
    assert_int_equal(scram_client_first_parse(SPAN_LIT(CLIENT_FIRST), &first), SCRAM_OK);
    assert_int_equal(first.flag, SCRAM_BINDING_NONE);
    assert_true(span_eq_str(first.gs2_header, "n,,") && first.authzid.len == 0);
    assert_true(span_eq_str(first.user, "user") && span_eq_str(first.nonce, CLIENT_NONCE));
    assert_true(span_eq_str(first.bare, CLIENT_BARE));
    assert_int_equal(scram_binding_check(&first, false, true, false), SCRAM_OK);

    codec_base64_decode(&bytes, SPAN_LIT("W22ZaJ0SNY7soEsUEjb6gQ=="));
    scram_server_first_compose(&out, first.nonce, SPAN_LIT(SERVER_NONCE), buf_span(&bytes), 4096);
    assert_string_equal(buf_cstr(&out), SERVER_FIRST);

    assert_int_equal(scram_client_final_parse(SPAN_LIT(CLIENT_FINAL), &final), SCRAM_OK);
    assert_true(span_eq_str(final.without_proof, FINAL_BARE));
    buf_reset(&bytes);
    codec_base64_decode(&bytes, SPAN_LIT(PROOF));
    assert_memory_equal(final.proof, bytes.data, SCRAM_PROOF_BYTES);
    assert_true(scram_nonce_matches(&final, first.nonce, SPAN_LIT(SERVER_NONCE)));
    assert_true(scram_binding_matches(&final, first.gs2_header, SPAN_NONE));

    buf_reset(&out);
    scram_auth_message_compose(&out, first.bare, SPAN_LIT(SERVER_FIRST), final.without_proof);
    assert_string_equal(buf_cstr(&out), CLIENT_BARE "," SERVER_FIRST "," FINAL_BARE);
    buf_reset(&out);
    buf_reset(&bytes);
    codec_base64_decode(&bytes, SPAN_LIT("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    scram_server_final_compose(&out, buf_span(&bytes));
    assert_string_equal(buf_cstr(&out), SERVER_FINAL);
}

static void test_client_first(void **state)
{
    static const struct {
        const char *message;
        enum scram_binding_flag flag;
        const char *binding, *gs2, *authzid, *user, *nonce;
    } good[] = {
        {"y,,n=u,r=x", SCRAM_BINDING_UNUSED, "", "y,,", "", "u", "x"},
        {"p=tls-exporter,,n=u,r=x", SCRAM_BINDING_REQUIRED, "tls-exporter", "p=tls-exporter,,", "", "u", "x"},
        {"n,a=b,n=u,r=x", SCRAM_BINDING_NONE, "", "n,a=b,", "b", "u", "x"},
        {"p=a.b-9,a=z=2C,n==3D=2C,r=!~", SCRAM_BINDING_REQUIRED, "a.b-9", "p=a.b-9,a=z=2C,", "z=2C", "=3D=2C",
         "!~"},
        {"n,,n=u,r=x,e=f", SCRAM_BINDING_NONE, "", "n,,", "", "u", "x"}, /* an optional extension */
        {"n,,n=u,r=x,Z==,y=a=b", SCRAM_BINDING_NONE, "", "n,,", "", "u", "x"},
        {"n,,n=\xc3\xa9\x01,r=x", SCRAM_BINDING_NONE, "", "n,,", "", "\xc3\xa9\x01", "x"},
        {"n,,n=u,r=a=b", SCRAM_BINDING_NONE, "", "n,,", "", "u", "a=b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct scram_client_first f;

        assert_int_equal(scram_client_first_parse(span_str(good[i].message), &f), SCRAM_OK);
        assert_int_equal(f.flag, good[i].flag);
        assert_true(span_eq_str(f.binding_name, good[i].binding) && span_eq_str(f.gs2_header, good[i].gs2));
        assert_true(span_eq_str(f.authzid, good[i].authzid) && span_eq_str(f.user, good[i].user));
        assert_true(span_eq_str(f.nonce, good[i].nonce));
        assert_true(span_eq_str(f.bare, good[i].message + strlen(good[i].gs2)));
    }
}

static const struct {
    const char *message;
    enum scram_error error;
} BAD_FIRST[] = {
    {"", SCRAM_INVALID_ENCODING},
    {"n", SCRAM_INVALID_ENCODING},
    {"n,", SCRAM_INVALID_ENCODING},
    {"n,,", SCRAM_INVALID_ENCODING},
    {"n=u,r=x", SCRAM_INVALID_ENCODING},
    {"N,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"nn,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {",,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"F,n,,n=u,r=x", SCRAM_INVALID_ENCODING}, /* GS2's mark of a non-standard token */
    {"p,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"p=,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"p=tls_unique,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"y=x,,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"n,b,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"n,b=c,n=u,r=x", SCRAM_INVALID_ENCODING},
    {"n,a=,n=u,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,a==,n=u,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,u,r=x", SCRAM_INVALID_ENCODING},
    {"n,,n=,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n==,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n==2,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n==2c,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n==3d,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n==41,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n=a=,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n=a=b,r=x", SCRAM_INVALID_USERNAME_ENCODING},
    {"n,,n=u", SCRAM_INVALID_ENCODING},
    {"n,,n=u,", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=a b", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=\x7f", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=\xc3\xa9", SCRAM_INVALID_ENCODING},
    {"n,,n=u,s=x", SCRAM_INVALID_ENCODING},
    {"n,,r=x,n=u", SCRAM_INVALID_ENCODING},
    {"n,,N=u,r=x", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,e", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,e=", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,1=b", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,ab=c", SCRAM_INVALID_ENCODING},
    {"n,,n=u,r=x,,e=f", SCRAM_INVALID_ENCODING},
    {"n,,n=\xff,r=x", SCRAM_INVALID_ENCODING},
    {"n,,n=\xed\xa0\x80,r=x", SCRAM_INVALID_ENCODING},
    {"n,,m=x,n=u,r=x", SCRAM_EXTENSIONS_NOT_SUPPORTED},
    {"n,,n=u,r=x,m=y", SCRAM_EXTENSIONS_NOT_SUPPORTED},
    {"n,,n=u,r=x,e=f,m=y", SCRAM_EXTENSIONS_NOT_SUPPORTED},
};

static void test_client_first_refused(void **state)
{
    static char nul[] = "n,,n=a?b,r=x", long_name[400], long_nonce[400], long_message[2100];
    struct scram_client_first f = {.nonce = SPAN_LIT("untouched")};

    (void)state;
    for (size_t i = 0; i < sizeof BAD_FIRST / sizeof *BAD_FIRST; i++) {
        enum scram_error rc = scram_client_first_parse(span_str(BAD_FIRST[i].message), &f);

        if (rc != BAD_FIRST[i].error)
            printf("%s: %s\n", BAD_FIRST[i].message, scram_error_text(rc));
        assert_int_equal(rc, BAD_FIRST[i].error);
        assert_true(span_eq_str(f.nonce, "untouched"));
    }
    nul[6] = '\0';
    assert_int_equal(scram_client_first_parse(span_make(nul, 12), &f), SCRAM_INVALID_ENCODING);
    for (int extra = 0; extra < 2; extra++) {
        snprintf(long_name, sizeof long_name, "n,,n=%0*d,r=x", SCRAM_NAME_BYTES_MAX + extra, 1);
        assert_int_equal(scram_client_first_parse(span_str(long_name), &f),
                         extra ? SCRAM_INVALID_USERNAME_ENCODING : SCRAM_OK);
        snprintf(long_nonce, sizeof long_nonce, "n,,n=u,r=%0*d", SCRAM_NONCE_BYTES_MAX + extra, 1);
        assert_int_equal(scram_client_first_parse(span_str(long_nonce), &f),
                         extra ? SCRAM_INVALID_ENCODING : SCRAM_OK);
        snprintf(long_message, sizeof long_message, "n,,n=u,r=x,e=%0*d", SCRAM_MESSAGE_BYTES_MAX - 13 + extra,
                 1);
        assert_int_equal(scram_client_first_parse(span_str(long_message), &f),
                         extra ? SCRAM_INVALID_ENCODING : SCRAM_OK);
    }
}

static void test_client_final_refused(void **state)
{
    static const struct {
        const char *message;
        enum scram_error error;
    } bad[] = {
        {"", SCRAM_INVALID_ENCODING},
        {"c=biws", SCRAM_INVALID_ENCODING},
        {"c=biws,", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,e=f", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,p=", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,p=*", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,p=AAAA", SCRAM_INVALID_PROOF},
        {"c=biws,r=x,p=" PROOF ",", SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,p=" PROOF ",e=f", SCRAM_INVALID_ENCODING},
        {"c=biws,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"r=x,c=biws,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=,r=x,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biw,r=x,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biwt=,r=x,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=a b,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,e=,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,e,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,\xff=a,p=" PROOF, SCRAM_INVALID_ENCODING},
        {"c=biws,r=x,m=a,p=" PROOF, SCRAM_EXTENSIONS_NOT_SUPPORTED},
        {"m=a,c=biws,r=x,p=" PROOF, SCRAM_EXTENSIONS_NOT_SUPPORTED},
        {"e=no-resources", SCRAM_INVALID_ENCODING},
    };
    struct scram_client_final f;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum scram_error rc = scram_client_final_parse(span_str(bad[i].message), &f);

        if (rc != bad[i].error)
            printf("%s: %s\n", bad[i].message, scram_error_text(rc));
        assert_int_equal(rc, bad[i].error);
    }
    assert_int_equal(scram_client_final_parse(SPAN_LIT("c=biws,r=x,e=f,q==,p=" PROOF), &f), SCRAM_OK);
    assert_true(span_eq_str(f.without_proof, "c=biws,r=x,e=f,q=="));
}

/* Every message cut short at every place, and with every single byte changed to a NUL, is refused or another
 * message, never half a one. */
static void test_cut_messages(void **state)
{
    struct scram_client_first first;
    struct scram_client_final final;

    (void)state;
    for (size_t n = 0; n < strlen(CLIENT_FINAL); n++)
        assert_int_not_equal(scram_client_final_parse(span_make(CLIENT_FINAL, n), &final), SCRAM_OK);
    for (size_t n = 0; n < strlen(CLIENT_FIRST); n++) {
        enum scram_error rc = scram_client_first_parse(span_make(CLIENT_FIRST, n), &first);

        assert_int_equal(rc == SCRAM_OK, n > strlen("n,,n=user,r="));
    }
    for (size_t at = 0; at < strlen(CLIENT_FINAL); at++) {
        char message[] = CLIENT_FINAL;

        message[at] = '\0';
        assert_int_equal(scram_client_final_parse(span_make(message, strlen(CLIENT_FINAL)), &final),
                         SCRAM_INVALID_ENCODING);
    }
}

static void test_nonces(void **state)
{
    struct scram_client_final f = {.nonce = SPAN_LIT("abcd")};

    (void)state;
    assert_true(scram_nonce_matches(&f, SPAN_LIT("ab"), SPAN_LIT("cd")));
    assert_false(scram_nonce_matches(&f, SPAN_LIT("ab"), SPAN_LIT("c")));
    assert_false(scram_nonce_matches(&f, SPAN_LIT("ab"), SPAN_LIT("cde")));
    assert_false(scram_nonce_matches(&f, SPAN_LIT("xb"), SPAN_LIT("cd")));
    assert_false(scram_nonce_matches(&f, SPAN_LIT("ab"), SPAN_LIT("CD")));
    assert_false(scram_nonce_matches(&f, SPAN_LIT("abcd"), SPAN_NONE)); /* ours must be in it */
    assert_false(scram_nonce_matches(&f, SPAN_LIT("abcde"), SPAN_LIT("f")));
}

static void test_bindings(void **state)
{
    struct scram_client_final f = {.binding = SPAN_LIT("cD10bHMtZXhwb3J0ZXIsLAAB/w==")};
    static const uint8_t data[] = {0, 1, 255};

    (void)state;
    assert_true(scram_binding_matches(&f, SPAN_LIT("p=tls-exporter,,"), span_make(data, 3)));
    assert_false(scram_binding_matches(&f, SPAN_LIT("p=tls-exporter,,"), span_make(data, 2)));
    assert_false(scram_binding_matches(&f, SPAN_LIT("p=tls-exporter,,"), SPAN_NONE));
    assert_false(scram_binding_matches(&f, SPAN_LIT("n,,"), span_make(data, 3)));
    f.binding = SPAN_LIT("biws");
    assert_true(scram_binding_matches(&f, SPAN_LIT("n,,"), SPAN_NONE));
    assert_false(scram_binding_matches(&f, SPAN_LIT("y,,"), SPAN_NONE)); /* the flag was changed on the way */
}

static void test_binding_flags(void **state)
{
    static const struct {
        enum scram_binding_flag flag;
        bool plus, plus_offered, supported;
        enum scram_error error;
    } cases[] = {
        {SCRAM_BINDING_NONE, false, false, false, SCRAM_OK},
        {SCRAM_BINDING_NONE, false, true, true, SCRAM_OK},
        {SCRAM_BINDING_NONE, true, true, true, SCRAM_CHANNEL_BINDINGS_DONT_MATCH},
        {SCRAM_BINDING_UNUSED, false, false, false, SCRAM_OK},
        {SCRAM_BINDING_UNUSED, false, true, true, SCRAM_SERVER_DOES_SUPPORT_CHANNEL_BINDING},
        {SCRAM_BINDING_UNUSED, true, true, true, SCRAM_CHANNEL_BINDINGS_DONT_MATCH},
        {SCRAM_BINDING_REQUIRED, true, true, true, SCRAM_OK},
        {SCRAM_BINDING_REQUIRED, true, true, false, SCRAM_UNSUPPORTED_CHANNEL_BINDING_TYPE},
        {SCRAM_BINDING_REQUIRED, false, true, true, SCRAM_CHANNEL_BINDING_NOT_SUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scram_client_first f = {.flag = cases[i].flag};

        assert_int_equal(scram_binding_check(&f, cases[i].plus, cases[i].plus_offered, cases[i].supported),
                         cases[i].error);
    }
}

static void test_names(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 8);
    assert_int_equal(scram_name_decode(SPAN_LIT("a=2Cb=3D"), &out), BRANT_OK);
    assert_string_equal(buf_cstr(&out), "a,b=");
    assert_int_equal(scram_name_decode(SPAN_LIT("a=2Cb="), &out), BRANT_ESYNTAX);
    assert_int_equal(scram_name_decode(SPAN_LIT("a,b"), &out), BRANT_ESYNTAX);
    assert_int_equal(scram_name_decode(SPAN_LIT("\xc3"), &out), BRANT_ESYNTAX);
    assert_int_equal(scram_name_decode(SPAN_LIT("12345"), &out), BRANT_ELIMIT);
    assert_string_equal(buf_cstr(&out), "a,b=");
}

static void test_composing_in_too_little_room(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 10);
    buf_append_str(&out, "ab");
    assert_int_equal(scram_server_first_compose(&out, SPAN_LIT("x"), SPAN_LIT("y"), SPAN_LIT("salt"), 4096),
                     BRANT_ELIMIT);
    assert_int_equal(scram_auth_message_compose(&out, SPAN_LIT("xxx"), SPAN_LIT("yyy"), SPAN_LIT("zzz")),
                     BRANT_ELIMIT);
    assert_int_equal(scram_server_final_compose(&out, SPAN_LIT("signature")), BRANT_ELIMIT);
    assert_int_equal(scram_error_compose(&out, SCRAM_INVALID_PROOF), BRANT_ELIMIT);
    assert_string_equal(buf_cstr(&out), "ab");
}

static void test_errors(void **state)
{
    (void)state;
    for (enum scram_error e = SCRAM_OK + 1; e < SCRAM_ERROR_COUNT; e++) {
        _cleanup_buf_ struct buf out;

        buf_init(&out, 100);
        assert_int_equal(scram_error_compose(&out, e), BRANT_OK);
        assert_true(span_starts(buf_span(&out), SPAN_LIT("e=")) && out.len > 8);
    }
    assert_string_equal(scram_error_text(SCRAM_OK), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),
        cmocka_unit_test(test_client_first),
        cmocka_unit_test(test_client_first_refused),
        cmocka_unit_test(test_client_final_refused),
        cmocka_unit_test(test_cut_messages),
        cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_binding_flags),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_composing_in_too_little_room),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
