#include "roles/store/app_password.h"

#include <assert.h>
#include <openssl/evp.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "os/random.h"

enum { VERSION = 1, LETTERS = APP_PASSWORD_BITS / 5, GROUP = 4 };

void app_password_generate(char ret[APP_PASSWORD_TEXT_MAX])
{
    static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32 */
    uint8_t random[LETTERS];
    size_t at = 0;
    os_random_fill(random, sizeof random);
    for (size_t i = 0; i < LETTERS; i++) {
        if (i > 0 && i % GROUP == 0)
            ret[at++] = '-';
        ret[at++] = alphabet[random[i] % 32];
    }
    ret[at++] = 0;
    assert(at == APP_PASSWORD_TEXT_MAX);
    mem_wipe(random, sizeof random);
}

void app_password_sum(struct span password, uint8_t ret[32])
{
    static const char purpose[] = "brant app password 1"; /* with its NUL */
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned len = 32;
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(ctx, purpose, sizeof purpose) == 1 &&
             EVP_DigestUpdate(ctx, password.p, password.len) == 1 && EVP_DigestFinal_ex(ctx, ret, &len) == 1;
    EVP_MD_CTX_free(ctx);
    assert(ok && len == 32);
}

void app_password_encode(const struct app_password *p, uint8_t ret[APP_PASSWORD_DATA_BYTES])
{
    struct buf _cleanup_buf_ out;
    buf_init_secret(&out, APP_PASSWORD_DATA_BYTES);
    struct wire_writer w = wire_write(&out);
    wire_put_u8(&w, VERSION);
    wire_put_bytes(&w, span_make(p->sum, sizeof p->sum));
    wire_put_u32(&w, p->keys.iterations);
    wire_put_bytes(&w, span_make(p->keys.stored, sizeof p->keys.stored));
    wire_put_bytes(&w, span_make(p->keys.server, sizeof p->keys.server));
    assert(w.err == BRANT_OK && out.len == APP_PASSWORD_DATA_BYTES);
    memcpy(ret, out.data, out.len);
}

int app_password_decode(struct span data, struct app_password *ret)
{
    if (data.len != APP_PASSWORD_DATA_BYTES || data.p[0] != VERSION)
        return BRANT_ECORRUPT;
    struct wire_reader r = wire_read(span_from(data, 1));
    memcpy(ret->sum, wire_get_bytes(&r, sizeof ret->sum).p, sizeof ret->sum);
    ret->keys.iterations = wire_get_u32(&r);
    memcpy(ret->keys.stored, wire_get_bytes(&r, SCRAM_KEYS_BYTES).p, SCRAM_KEYS_BYTES);
    memcpy(ret->keys.server, wire_get_bytes(&r, SCRAM_KEYS_BYTES).p, SCRAM_KEYS_BYTES);
    return wire_get_end(&r) == BRANT_OK ? BRANT_OK : BRANT_ECORRUPT;
}
