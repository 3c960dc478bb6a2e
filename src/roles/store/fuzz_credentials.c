/* What comes from clients, administrators and files and is read by the store role itself: passwords, hashes
 * from elsewhere, app passwords' data, the file of known sources. The first byte says which. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/codec.h"
#include "base/err.h"
#include "roles/store/app_password.h"
#include "roles/store/known.h"
#include "roles/store/prepare.h"
#include "roles/store/verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is prepared is valid, bounded, and prepared already. */
static void fuzz_prepare(struct span text)
{
    struct buf _cleanup_buf_ once, twice;
    buf_init(&once, PREPARE_BYTES_MAX);
    buf_init(&twice, PREPARE_BYTES_MAX);
    if (prepare_opaque(text, &once) != BRANT_OK) {
        assert(once.len == 0);
        return;
    }
    assert(once.len > 0 && codec_utf8_valid(buf_span(&once)));
    assert(span_find_byte(buf_span(&once), 0) == SPAN_NPOS);
    assert(prepare_opaque(buf_span(&once), &twice) == BRANT_OK && span_eq(buf_span(&once), buf_span(&twice)));
}

/* What is taken has no blanks, NULs or colons, and is taken again as it is. */
static void fuzz_import(struct span text)
{
    struct buf _cleanup_buf_ once, twice;
    const char *reason = NULL;
    buf_init(&once, VERIFIER_TEXT_MAX - 1);
    buf_init(&twice, VERIFIER_TEXT_MAX - 1);
    if (verifier_import(text, &once, &reason) != BRANT_OK) {
        assert(reason && once.len == 0);
        return;
    }
    for (size_t i = 0; i < once.len; i++)
        assert(once.data[i] > ' ' && once.data[i] < 0x7f && once.data[i] != ':');
    assert(verifier_import(buf_span(&once), &twice, &reason) == BRANT_OK);
    assert(span_eq(buf_span(&once), buf_span(&twice)));
}

static void fuzz_app_password(struct span text)
{
    struct app_password p;
    uint8_t again[APP_PASSWORD_DATA_BYTES];
    if (app_password_decode(text, &p) != BRANT_OK)
        return;
    app_password_encode(&p, again);
    assert(span_eq(text, span_make(again, sizeof again)));
}

/* Nobody without the secret makes a file that is read. */
static void fuzz_known(struct span text)
{
    struct known k;
    static const uint8_t secret[KNOWN_SECRET_BYTES] = "not known to who made this file";
    known_init(&k, 100, secret, (struct map_key){1, 2});
    assert(known_load(&k, text, INT64_C(1700000000000)) == BRANT_ECORRUPT && k.sources.map.len == 0);
    known_done(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(struct span) = {fuzz_prepare, fuzz_import, fuzz_app_password, fuzz_known};
    if (size > 0)
        targets[data[0] % 4](span_make(data + 1, size - 1));
    return 0;
}
