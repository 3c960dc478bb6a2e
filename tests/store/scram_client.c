#include "scram_client.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "os/random.h"
#include "peer.h"

enum { TEXT_MAX = 8192 };

void scram_client_init(struct scram_client *c, const char *gs2, const char *name, const char *password,
                       struct span binding)
{
    *c = (struct scram_client){.gs2 = gs2, .name = name, .password = password, .binding = binding};
    buf_init(&c->first, TEXT_MAX);
    buf_init(&c->server_first, TEXT_MAX);
    buf_init(&c->final, TEXT_MAX);
}

void scram_client_done(struct scram_client *c)
{
    buf_done(&c->first);
    buf_done(&c->server_first);
    buf_done(&c->final);
}

struct span scram_client_first(struct scram_client *c)
{
    uint8_t nonce[15];
    os_random_fill(nonce, sizeof nonce);
    buf_reset(&c->first);
    buf_printf(&c->first, "%sn=%s,r=", c->gs2, c->name);
    codec_base64_encode(&c->first, span_make(nonce, sizeof nonce));
    return buf_span(&c->first);
}

static struct span attribute(struct span message, char name)
{
    while (message.len > 0) {
        struct span one = span_sub(message, 0, span_find_byte(message, ','));
        if (one.len > 2 && one.p[0] == name && one.p[1] == '=')
            return span_from(one, 2);
        message = span_from(message, one.len + 1);
    }
    fail("no %c= in a SCRAM message", name);
}

void scram_client_parameters(struct span server_first, struct span *ret_salt, unsigned *ret_iterations)
{
    uint64_t n;
    *ret_salt = attribute(server_first, 's');
    CHECK(span_to_u64(attribute(server_first, 'i'), 1000000, &n) == BRANT_OK && n >= 4096);
    *ret_iterations = (unsigned)n;
}

static void hmac(const uint8_t key[32], struct span text, uint8_t ret[32])
{
    unsigned len = 32;
    CHECK(HMAC(EVP_sha256(), key, 32, text.p, text.len, ret, &len));
}

static void prove(struct scram_client *c, struct span auth_message, uint8_t proof[32])
{
    struct span salt64;
    unsigned iterations;
    struct buf _cleanup_buf_ salt;
    uint8_t salted[32], client[32], stored[32], server[32], signature[32];
    buf_init(&salt, 64);
    scram_client_parameters(buf_span(&c->server_first), &salt64, &iterations);
    CHECK(codec_base64_decode(&salt, salt64) == BRANT_OK);
    CHECK(PKCS5_PBKDF2_HMAC(c->password, (int)strlen(c->password), salt.data, (int)salt.len, (int)iterations,
                            EVP_sha256(), 32, salted));
    hmac(salted, SPAN_LIT("Client Key"), client);
    SHA256(client, 32, stored);
    hmac(stored, auth_message, signature);
    for (size_t i = 0; i < 32; i++)
        proof[i] = client[i] ^ signature[i];
    hmac(salted, SPAN_LIT("Server Key"), server);
    hmac(server, auth_message, c->server_signature);
}

struct span scram_client_final(struct scram_client *c, struct span server_first)
{
    struct buf _cleanup_buf_ bound, auth_message;
    uint8_t proof[32];
    buf_init(&bound, TEXT_MAX);
    buf_init(&auth_message, TEXT_MAX);
    buf_reset(&c->server_first);
    buf_append(&c->server_first, server_first);
    buf_append_str(&bound, c->gs2);
    buf_append(&bound, c->binding);
    buf_reset(&c->final);
    buf_append_str(&c->final, "c=");
    codec_base64_encode(&c->final, buf_span(&bound));
    buf_append_str(&c->final, ",r=");
    buf_append(&c->final, attribute(server_first, 'r'));
    buf_append(&auth_message, span_from(buf_span(&c->first), strlen(c->gs2)));
    buf_append_byte(&auth_message, ',');
    buf_append(&auth_message, server_first);
    buf_append_byte(&auth_message, ',');
    buf_append(&auth_message, buf_span(&c->final));
    prove(c, buf_span(&auth_message), proof);
    buf_append_str(&c->final, ",p=");
    codec_base64_encode(&c->final, span_make(proof, sizeof proof));
    return buf_span(&c->final);
}

bool scram_client_accepts(const struct scram_client *c, struct span server_final)
{
    struct buf _cleanup_buf_ signature;
    buf_init(&signature, 64);
    return span_starts(server_final, SPAN_LIT("v=")) &&
           codec_base64_decode(&signature, span_from(server_final, 2)) == BRANT_OK &&
           span_eq(buf_span(&signature), span_make(c->server_signature, 32));
}
