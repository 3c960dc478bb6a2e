#include "roles/store/scram_keys.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/ascii.h"
#include "base/mem.h"

enum { N = SCRAM_KEYS_BYTES, NAME_BYTES_MAX = 512 };

static void hmac(const uint8_t key[N], struct span text, uint8_t ret[N])
{
    unsigned len = N;
    const unsigned char *done = HMAC(EVP_sha256(), key, N, text.p, text.len, ret, &len);
    assert(done && len == N);
}

void scram_keys_make(struct span password, struct span salt, uint32_t iterations, struct scram_keys *ret)
{
    uint8_t salted[N], client[N];
    int done = PKCS5_PBKDF2_HMAC((const char *)password.p, (int)password.len, salt.p, (int)salt.len,
                                 (int)iterations, EVP_sha256(), N, salted);
    assert(done == 1);
    hmac(salted, SPAN_LIT("Client Key"), client);
    SHA256(client, N, ret->stored);
    hmac(salted, SPAN_LIT("Server Key"), ret->server);
    ret->iterations = iterations;
    mem_wipe(salted, N);
    mem_wipe(client, N);
}

/* ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage) */
bool scram_keys_prove(const struct scram_keys *keys, struct span auth_message, const uint8_t proof[N])
{
    uint8_t client[N], stored[N];
    hmac(keys->stored, auth_message, client);
    for (size_t i = 0; i < N; i++)
        client[i] ^= proof[i];
    SHA256(client, N, stored);
    bool right = CRYPTO_memcmp(stored, keys->stored, N) == 0 && keys->iterations > 0;
    mem_wipe(client, N);
    return right;
}

void scram_keys_sign(const struct scram_keys *keys, struct span auth_message, uint8_t ret[N])
{
    hmac(keys->server, auth_message, ret);
}

void scram_keys_salt(const uint8_t secret[SCRAM_KEYS_SECRET_BYTES], struct span name,
                     uint8_t ret[SCRAM_KEYS_SALT_BYTES])
{
    static const char purpose[] = "brant scram salt 1"; /* with its NUL */
    uint8_t text[sizeof purpose + NAME_BYTES_MAX], mac[N];
    name = span_sub(name, 0, NAME_BYTES_MAX);
    memcpy(text, purpose, sizeof purpose);
    for (size_t i = 0; i < name.len; i++)
        text[sizeof purpose + i] = ascii_lower(name.p[i]);
    hmac(secret, span_make(text, sizeof purpose + name.len), mac);
    memcpy(ret, mac, SCRAM_KEYS_SALT_BYTES);
}
