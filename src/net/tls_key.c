/* OpenSSL 3.0 asks a provider for signatures, and has no asynchronous call for one. What it does respect is a
 * foreign method on a key of the old kind, if it is there before the key enters its EVP_PKEY: then the key is
 * never exported to a provider, and its signatures come from the method. The functions for that are
 * deprecated without a successor. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "net/tls_key.h"

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct key {
    struct net_signer *signer; /* borrowed */
    uint8_t id[IPC_KEY_ID_BYTES];
};

static EC_KEY_METHOD *ec_method;
static RSA_METHOD *rsa_method;
static int ec_slot, rsa_slot; /* of our struct in the key's extra data */

static void free_key(void *parent, void *key, CRYPTO_EX_DATA *data, int slot, long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)slot;
    (void)argl;
    (void)argp;
    free(key);
}

/* 1 when signed, as OpenSSL wants it. */
static int ask(const struct key *k, enum ipc_sign_kind kind, struct span data, uint8_t *to, size_t *len)
{
    if (!k || net_signer_call(k->signer, span_make(k->id, sizeof k->id), kind, data, to, len) < 0) {
        ERR_raise_data(ERR_LIB_USER, ERR_R_OPERATION_FAIL, "no signature from the signer");
        return 0;
    }
    return 1;
}

static int sign_ec(int type, const unsigned char *digest, int len, unsigned char *to, unsigned int *to_len,
                   const BIGNUM *kinv, const BIGNUM *r, EC_KEY *ec)
{
    (void)type;
    (void)kinv;
    (void)r;
    size_t room = (size_t)ECDSA_size(ec);
    if (len < 0 ||
        !ask(EC_KEY_get_ex_data(ec, ec_slot), IPC_SIGN_ECDSA, span_make(digest, (size_t)len), to, &room))
        return 0;
    *to_len = (unsigned)room;
    return 1;
}

/* The length of the signature, or -1. OpenSSL pads itself for PSS and calls with RSA_NO_PADDING; for PKCS #1
 * it gives the DigestInfo. */
static int sign_rsa(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
    size_t room = (size_t)RSA_size(rsa);
    size_t whole = room;
    if (len < 0 || (padding != RSA_PKCS1_PADDING && padding != RSA_NO_PADDING))
        return -1;
    if (!ask(RSA_get_ex_data(rsa, rsa_slot),
             padding == RSA_NO_PADDING ? IPC_SIGN_RSA_NONE : IPC_SIGN_RSA_PKCS1, span_make(from, (size_t)len),
             to, &room) ||
        room != whole)
        return -1;
    return (int)room;
}

static int refuse_rsa(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
    (void)len;
    (void)from;
    (void)to;
    (void)rsa;
    (void)padding;
    return -1; /* nobody decrypts with our keys: there is no RSA key exchange */
}

void net_tls_key_init(void)
{
    if (ec_method)
        return;
    ec_method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    rsa_method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
    assert(ec_method && rsa_method);
    EC_KEY_METHOD_set_sign(ec_method, sign_ec, NULL, NULL);
    RSA_meth_set1_name(rsa_method, "signer");
    RSA_meth_set_priv_enc(rsa_method, sign_rsa);
    RSA_meth_set_priv_dec(rsa_method, refuse_rsa);
    ec_slot = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, free_key);
    rsa_slot = RSA_get_ex_new_index(0, NULL, NULL, NULL, free_key);
    assert(ec_slot >= 0 && rsa_slot >= 0);
}

static struct key *key_of(struct span id, struct net_signer *signer)
{
    assert(id.len == IPC_KEY_ID_BYTES);
    struct key *k = mem_zalloc(sizeof *k);
    k->signer = signer;
    memcpy(k->id, id.p, sizeof k->id);
    return k;
}

static EVP_PKEY *wrap_ec(EVP_PKEY *public_key, struct span id, struct net_signer *signer)
{
    EC_KEY *ec = EVP_PKEY_get1_EC_KEY(public_key);
    EC_KEY *own = ec ? EC_KEY_dup(ec) : NULL;
    EC_KEY_free(ec);
    EVP_PKEY *key = EVP_PKEY_new();
    if (!own || !key || EC_KEY_set_method(own, ec_method) != 1 ||
        EC_KEY_set_ex_data(own, ec_slot, key_of(id, signer)) != 1 || EVP_PKEY_assign_EC_KEY(key, own) != 1) {
        EVP_PKEY_free(key);
        EC_KEY_free(own);
        return NULL;
    }
    return key;
}

static EVP_PKEY *wrap_rsa(EVP_PKEY *public_key, struct span id, struct net_signer *signer)
{
    RSA *rsa = EVP_PKEY_get1_RSA(public_key);
    RSA *own = rsa ? RSAPublicKey_dup(rsa) : NULL;
    RSA_free(rsa);
    EVP_PKEY *key = EVP_PKEY_new();
    if (!own || !key || RSA_set_method(own, rsa_method) != 1 ||
        RSA_set_ex_data(own, rsa_slot, key_of(id, signer)) != 1 || EVP_PKEY_assign_RSA(key, own) != 1) {
        EVP_PKEY_free(key);
        RSA_free(own);
        return NULL;
    }
    return key;
}

EVP_PKEY *net_tls_key_new(EVP_PKEY *public_key, struct span key_id, struct net_signer *signer)
{
    switch (EVP_PKEY_get_base_id(public_key)) {
    case EVP_PKEY_EC:
        return wrap_ec(public_key, key_id, signer);
    case EVP_PKEY_RSA:
        return wrap_rsa(public_key, key_id, signer);
    default:
        return NULL;
    }
}
