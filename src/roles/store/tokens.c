#include "roles/store/tokens.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"

int tokens_init(struct tokens *t, struct span key)
{
    if (key.len != TOKENS_KEY_BYTES)
        return BRANT_ESYNTAX;
    memcpy(t->key, key.p, sizeof t->key);
    t->ready = true;
    return BRANT_OK;
}

void tokens_done(struct tokens *t)
{
    mem_wipe(t, sizeof *t);
}

int tokens_make(const struct tokens *t, const struct tokens_subject *subject, uint8_t ret[TOKENS_BYTES])
{
    if (!t->ready)
        return BRANT_ESTATE;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 128);
    struct wire_writer w = wire_write(&bytes);
    wire_put_span(&w, SPAN_LIT("brant session token 1"));
    wire_put_u64(&w, subject->account);
    wire_put_u8(&w, subject->role);
    wire_put_u32(&w, subject->instance);
    wire_put_bytes(&w, span_make(subject->session.b, sizeof subject->session.b));
    assert(w.err == BRANT_OK);
    unsigned len = TOKENS_BYTES;
    unsigned char *done = HMAC(EVP_sha256(), t->key, sizeof t->key, bytes.data, bytes.len, ret, &len);
    assert(done && len == TOKENS_BYTES);
    return BRANT_OK;
}

bool tokens_verify(const struct tokens *t, const struct tokens_subject *subject, struct span token)
{
    uint8_t expected[TOKENS_BYTES];
    if (token.len != TOKENS_BYTES || tokens_make(t, subject, expected) != BRANT_OK)
        return false;
    bool same = CRYPTO_memcmp(expected, token.p, TOKENS_BYTES) == 0;
    mem_wipe(expected, sizeof expected);
    return same;
}
